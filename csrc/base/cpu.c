/* cpu.c - feature bits, caches and the processors that this process may use.
 *
 * A tier needs its instructions from the processor and its registers from the operating system
 * (xgetbv). Of the tiers that were compiled in, the best that runs here is taken; FACULA_CPU asks
 * for a lower one. The count of processors respects the affinity mask and a container's quota, so
 * that the pool does not start threads that would only be throttled.
 */
#include "base/cpu.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

static pthread_once_t once = PTHREAD_ONCE_INIT;
static FacTier best_tier, used_tier;
static char model[64] = "unknown";
static int64_t caches[4] = {0, 32 << 10, 1 << 20, 8 << 20};
static int processors = 1;

/* What is known of a feature. */
typedef enum State { ABSENT, LEFT_OUT, FOUND, REFUSED, WRONG } State;
static _Atomic int states[FAC_CPU_FEATURES];

#if defined(__x86_64__)
static bool
has_all(unsigned value, unsigned bits)
{
    return (value & bits) == bits;
}

static unsigned
os_register_state(void)
{
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static FacTier
detect_tier(void)
{
    const unsigned v2 =
        bit_SSE3 | bit_SSSE3 | bit_SSE4_1 | bit_SSE4_2 | bit_POPCNT | bit_CMPXCHG16B;
    const unsigned v3 = bit_AVX | bit_FMA | bit_F16C | bit_MOVBE | bit_OSXSAVE;
    const unsigned v3_leaf7 = bit_AVX2 | bit_BMI | bit_BMI2;
    const unsigned v4_leaf7 =
        bit_AVX512F | bit_AVX512DQ | bit_AVX512CD | bit_AVX512BW | bit_AVX512VL;
    const unsigned ymm_state = 0x06, zmm_state = 0xe6;
    unsigned a, b, c, d, leaf7 = 0, extended = 0, state = 0;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) leaf7 = b;
    if (__get_cpuid(0x80000001, &a, &b, &c, &d)) extended = c;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !has_all(c, v2)) return FAC_TIER_BASE;
    if (has_all(c, v3)) state = os_register_state();
    if (!has_all(state, ymm_state) || !has_all(leaf7, v3_leaf7) || !has_all(extended, bit_LZCNT))
        return FAC_TIER_V2;
    return has_all(state, zmm_state) && has_all(leaf7, v4_leaf7) ? FAC_TIER_V4 : FAC_TIER_V3;
}

/* The form of AMX's registers that kernels are written for: 8 tiles of 16 rows of 64 bytes. */
static bool
has_eight_tiles(void)
{
    unsigned a, b, c, d;
    return __get_cpuid_count(0x1d, 1, &a, &b, &c, &d) && b == (8u << 16 | 64) && (c & 0xffff) == 16;
}

/* Beside tier v4: a bit for each FacCpuFeature. AMX needs registers of its own from the system, too. */
static unsigned
detect_features(void)
{
    const unsigned tile_state = 3u << 17, bf16 = 1u << 5; /* subleaf 1, eax */
    const unsigned amx_bf16 = 1u << 22, amx_tile = 1u << 24, amx_int8 = 1u << 25; /* edx */
    unsigned subleaves, a, b, c, d, found = 0;
    if (!__get_cpuid_count(7, 0, &subleaves, &b, &c, &d)) return 0;
    if (has_all(c, bit_AVX512VNNI)) found |= 1u << FAC_CPU_VNNI;
    if (has_all(d, amx_tile) && has_all(os_register_state(), tile_state) && has_eight_tiles()) {
        if (has_all(d, amx_int8)) found |= 1u << FAC_CPU_AMX_INT8;
        if (has_all(d, amx_bf16)) found |= 1u << FAC_CPU_AMX_BF16;
    }
    if (subleaves >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d) && has_all(a, bf16))
        found |= 1u << FAC_CPU_BF16;
    return found;
}

/* Asks Linux for the registers of AMX, for all threads of the process, and whether it gave them. */
static bool
tiles_are_allowed(void)
{
#if defined(__linux__)
    enum {
        GET = 0x1022,
        REQUEST = 0x1023,
        TILES = 18
    }; /* ARCH_..._XCOMP_PERM, and the bit of XCR0 */
    unsigned long allowed = 0;
    return syscall(SYS_arch_prctl, REQUEST, TILES) == 0 &&
           syscall(SYS_arch_prctl, GET, &allowed) == 0 && allowed >> TILES & 1;
#else
    return false;
#endif
}

static void
read_model(void)
{
    unsigned brand[12];
    for (unsigned i = 0; i < 3; i++) {
        unsigned *r = brand + 4 * i;
        if (!__get_cpuid(0x80000002 + i, &r[0], &r[1], &r[2], &r[3])) return;
    }
    memcpy(model, brand, sizeof brand);
    model[sizeof brand] = 0;
}
#else
static FacTier
detect_tier(void)
{
    return FAC_TIER_BASE;
}

static unsigned
detect_features(void)
{
    return 0;
}

static bool
tiles_are_allowed(void)
{
    return false;
}

static void
read_model(void)
{
}
#endif

static FacTier
tier_from_environment(FacTier best)
{
    const char *text = getenv("FACULA_CPU");
    if (!text || !*text) return best;
    const size_t length = strcspn(text, "+"); /* features follow */
    for (int t = FAC_TIER_BASE; t < FAC_TIERS; t++) {
        const char *name = fac_cpu_tier_name((FacTier)t), *dash = strrchr(name, '-');
        const char *last = dash ? dash + 1 : name;
        const bool whole = strlen(name) == length && memcmp(text, name, length) == 0;
        if (!whole && (strlen(last) != length || memcmp(text, last, length) != 0)) continue;
        return t < (int)best ? (FacTier)t : best;
    }
    fprintf(stderr, "facula: FACULA_CPU=%s is not known; it takes v2, v3 or v4\n", text);
    return best;
}

/* A bit for each feature that FACULA_CPU allows: all where it says nothing. */
static unsigned
features_from_environment(void)
{
    static const char *const words[FAC_CPU_FEATURES] = {"vnni", "bf16", "amx", "amx"};
    const char *text = getenv("FACULA_CPU");
    if (!text || !*text) return ~0u;
    unsigned allowed = 0;
    for (text = strchr(text, '+'); text; text = strchr(text, '+')) {
        const size_t length = strcspn(++text, "+");
        for (int f = 0; f < FAC_CPU_FEATURES; f++)
            if (strlen(words[f]) == length && memcmp(text, words[f], length) == 0)
                allowed |= 1u << f;
    }
    return allowed;
}

/* The highest tier of this build that is not above `limit`; base if there is none. */
static FacTier
highest_built(FacTier limit)
{
    int t = limit;
    while (t > FAC_TIER_BASE && !(FAC_BUILT_TIERS & 1 << t)) t--;
    return (FacTier)t;
}

static bool
read_line(const char *path, char *line, int size)
{
    FILE *file = fopen(path, "r");
    if (!file) return false;
    bool got = fgets(line, size, file) != NULL;
    fclose(file);
    return got;
}

static void
read_caches(void)
{
    for (int i = 0; i < 8; i++) {
        char path[96], line[32];
        static const char *const at = "/sys/devices/system/cpu/cpu0/cache/index%d/%s";
        snprintf(path, sizeof path, at, i, "type");
        if (!read_line(path, line, sizeof line)) return;
        if (line[0] == 'I') continue; /* instructions */
        snprintf(path, sizeof path, at, i, "level");
        if (!read_line(path, line, sizeof line)) continue;
        int level = atoi(line);
        snprintf(path, sizeof path, at, i, "size");
        if (level < 1 || level > 3 || !read_line(path, line, sizeof line)) continue;
        char *unit;
        int64_t size = strtoll(line, &unit, 10);
        size <<= *unit == 'K' ? 10 : *unit == 'M' ? 20 : 0;
        if (size > 0) caches[level] = size;
    }
}

/* Processors that the container's quota allows, rounded up; 0 where there is no quota. */
static int
quota(void)
{
    char line[64];
    long long share = 0, period = 0;
    if (read_line("/sys/fs/cgroup/cpu.max", line, sizeof line)) {
        if (sscanf(line, "%lld %lld", &share, &period) != 2) return 0;
    } else {
        static const char *const v1_share = "/sys/fs/cgroup/cpu/cpu.cfs_quota_us";
        static const char *const v1_period = "/sys/fs/cgroup/cpu/cpu.cfs_period_us";
        if (read_line(v1_share, line, sizeof line)) share = atoll(line);
        if (read_line(v1_period, line, sizeof line)) period = atoll(line);
    }
    return share > 0 && period > 0 ? (int)((share + period - 1) / period) : 0;
}

static void
count_processors(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) processors = CPU_COUNT(&set);
    int allowed = quota();
    if (allowed && allowed < processors) processors = allowed;
    if (processors < 1) processors = 1;
}

static void
detect(void)
{
    FacTier machine = detect_tier();
    best_tier = highest_built(machine);
    used_tier = highest_built(tier_from_environment(best_tier));
    if (used_tier == FAC_TIER_BASE) used_tier = best_tier; /* this build has nothing lower */
    const unsigned found = machine == FAC_TIER_V4 ? detect_features() : 0;
    const unsigned allowed = used_tier == FAC_TIER_V4 ? features_from_environment() : 0;
    for (int f = 0; f < FAC_CPU_FEATURES; f++)
        states[f] = !(found & 1u << f) ? ABSENT : !(allowed & 1u << f) ? LEFT_OUT : FOUND;
    read_model();
    read_caches();
    count_processors();
}

FacTier
fac_cpu_tier(void)
{
    pthread_once(&once, detect);
    return used_tier;
}

FacTier
fac_cpu_tier_best(void)
{
    pthread_once(&once, detect);
    return best_tier;
}

bool
fac_cpu_has(FacCpuFeature feature)
{
    pthread_once(&once, detect);
    return states[feature] == FOUND;
}

bool
fac_cpu_enable(FacCpuFeature feature)
{
    if (!fac_cpu_has(feature)) return false;
    if ((feature == FAC_CPU_AMX_INT8 || feature == FAC_CPU_AMX_BF16) && !tiles_are_allowed())
        states[feature] = REFUSED;
    return fac_cpu_has(feature);
}

void
fac_cpu_give_up(FacCpuFeature feature)
{
    states[feature] = WRONG;
}

const char *
fac_cpu_feature_name(FacCpuFeature feature)
{
    static const char *const names[FAC_CPU_FEATURES] = {"AVX512-VNNI", "AVX512-BF16", "AMX-INT8",
                                                        "AMX-BF16"};
    return names[feature];
}

const char *
fac_cpu_feature_state(FacCpuFeature feature)
{
    static const char *const texts[] = {
        [ABSENT] = "absent",
        [LEFT_OUT] = "left out",
        [FOUND] = "found",
        [REFUSED] = "refused by the system",
        [WRONG] = "found, but its results are wrong",
    };
    pthread_once(&once, detect);
    return texts[states[feature]];
}

const char *
fac_cpu_tier_name(FacTier tier)
{
    static const char *const names[FAC_TIERS] = {"base", "x86-64-v2", "x86-64-v3", "x86-64-v4"};
    return names[tier];
}

int
fac_cpu_count(void)
{
    pthread_once(&once, detect);
    return processors;
}

const char *
fac_cpu_model(void)
{
    pthread_once(&once, detect);
    return model;
}

int64_t
fac_cpu_cache(int level)
{
    pthread_once(&once, detect);
    return level < 1 || level > 3 ? 0 : caches[level];
}
