/* cpu.h - which processor this is: feature bits, never model names.
 *
 * Kernel files are compiled once a tier. The tier is chosen at load; FACULA_CPU=v2, v3 or v4
 * forces a lower one (never a higher one than the machine has).
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
bool fac_cpu_vnni(void);                /* beside tier v4, AVX512-VNNI, which no tier has */
const char *fac_cpu_tier_name(FacTier); /* "base", "x86-64-v2", ... */
int fac_cpu_count(void);                /* processors that this process may run on */
const char *fac_cpu_model(void);        /* for reports only */
/* Bytes of L1d, L2 and L3; a plausible guess where the system does not tell. */
int64_t fac_cpu_cache(int level);

#endif
