/* cpu.h - which processor this is: feature bits, never model names.
 *
 * Kernel files are compiled once a tier. The tier is chosen at load; FACULA_CPU=v2, v3 or v4
 * forces a lower one (never a higher one than the machine has). Features are instructions that no tier
 * has, beside v4: FACULA_CPU=v4 leaves all of them out, v4+vnni+bf16 all but these.
 */
#ifndef FAC_BASE_CPU_H
#define FAC_BASE_CPU_H

#include "facula.h"

typedef enum FacTier { FAC_TIER_BASE, FAC_TIER_V2, FAC_TIER_V3, FAC_TIER_V4, FAC_TIERS } FacTier;

/* Bit t for each FacTier t that this build has; the build sets it when it leaves some out. */
#ifndef FAC_BUILT_TIERS
#if defined(__x86_64__)
#define FAC_BUILT_TIERS 14 /* v2, v3, v4 */
#else
#define FAC_BUILT_TIERS 1
#endif
#endif

/* The one in use; FAC_TIER_BASE on a machine below all the tiers of this build. */
FacTier fac_cpu_tier(void);
FacTier fac_cpu_tier_best(void);        /* the best that the machine has */
const char *fac_cpu_tier_name(FacTier); /* "base", "x86-64-v2", ... */

typedef enum FacCpuFeature {
    FAC_CPU_VNNI, /* AVX512-VNNI */
    FAC_CPU_BF16, /* AVX512-BF16 */
    FAC_CPU_AMX_INT8,
    FAC_CPU_AMX_BF16,
    FAC_CPU_FEATURES
} FacCpuFeature;

bool fac_cpu_has(FacCpuFeature);
/* Before the first use: the system lets a process use the registers of AMX when it is asked. */
bool fac_cpu_enable(FacCpuFeature);
/* It does not do what it should: fac_cpu_has is false from now on. */
void fac_cpu_give_up(FacCpuFeature);
const char *fac_cpu_feature_name(FacCpuFeature);
const char *fac_cpu_feature_state(FacCpuFeature); /* for reports only */

int fac_cpu_count(void);         /* processors that this process may run on */
const char *fac_cpu_model(void); /* for reports only */
/* Bytes of L1d, L2 and L3; a plausible guess where the system does not tell. */
int64_t fac_cpu_cache(int level);

#endif
