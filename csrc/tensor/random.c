/* random.c - the generator of the CPU: mt19937, consumed draw for draw as the peer does.
 *
 * Seeding takes the low 32 bits of the seed; a 64-bit draw is two 32-bit draws, the first one the
 * high half; a float takes 24 bits of one draw, a double 53 bits of two. A normal is one half of a
 * Box-Muller pair, the other half waits for the next call and is part of the saved state, whose
 * layout is the peer's byte for byte.
 */
#include "tensor/random.h"

#include "tensor/iter.h"
#include "tensor/mt19937.h"

#include <math.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

enum { WORDS = FAC_MT_WORDS };
#define DEFAULT_SEED UINT64_C(67280421310721)

/* --- mt19937 ---------------------------------------------------------------------------------- */

static void
seed_words(uint32_t *state, uint32_t seed)
{
    state[0] = seed;
    for (uint32_t i = 1; i < WORDS; i++)
        state[i] = 1812433253u * (state[i - 1] ^ (state[i - 1] >> 30)) + i;
}

uint32_t
fac_random_u32(FacGenerator *g)
{
    if (FAC_UNLIKELY(g->left == 1)) fac_mt_renew(g);
    g->left--;
    uint32_t y = g->state[g->next++];
    FAC_MT_TEMPER(y);
    return y;
}

void
fac_random_fill_u32(FacGenerator *g, uint32_t *out, int64_t n)
{
    fac_mt_fill(g, out, n);
}

/* --- numbers ---------------------------------------------------------------------------------- */

uint64_t
fac_random_u64(FacGenerator *g)
{
    uint64_t high = fac_random_u32(g);
    return high << 32 | fac_random_u32(g);
}

float
fac_random_float(FacGenerator *g)
{
    return (float)(fac_random_u32(g) & 0xffffffu) * 0x1p-24f;
}

double
fac_random_double(FacGenerator *g)
{
    return (double)(fac_random_u64(g) & ((UINT64_C(1) << 53) - 1)) * 0x1p-53;
}

double
fac_random_normal_double(FacGenerator *g)
{
    if (g->has_next_double) {
        g->has_next_double = false;
        return g->next_double;
    }
    double u1 = fac_random_double(g), u2 = fac_random_double(g);
    double r = sqrt(-2.0 * log1p(-u2)), theta = 2.0 * 3.14159265358979323846 * u1;
    g->next_double = r * sin(theta);
    g->has_next_double = true;
    return r * cos(theta);
}

/* --- generators ------------------------------------------------------------------------------- */

static void
seed_unlocked(FacGenerator *g, uint64_t seed)
{
    g->seed = seed;
    seed_words(g->state, (uint32_t)seed);
    g->left = 1;
    g->next = 0;
    g->has_next_float = g->has_next_double = false;
    g->next_float = 0;
    g->next_double = 0;
}

FacStatus
fac_generator_new(FacDevice device, FacGenerator **out)
{
    if (device.type != FAC_DEV_CPU) {
        char text[32];
        FAC_RETURN_IF_ERROR(fac_device_check(device));
        return fac_error(FAC_RUNTIME_ERROR, "there is no random generator for device %s",
                         fac_device_text(device, text));
    }
    FacGenerator *g = fac_mem_zalloc(sizeof *g);
    if (!g) return fac_mem_error(sizeof *g);
    atomic_init(&g->refs, 1);
    g->device = FAC_CPU_DEVICE;
    pthread_mutex_init(&g->lock, NULL);
    seed_unlocked(g, DEFAULT_SEED);
    *out = g;
    return FAC_OK;
}

void
fac_generator_retain(FacGenerator *g)
{
    fac_refs_up(&g->refs);
}

void
fac_generator_release(FacGenerator *g)
{
    if (!g || !fac_refs_down(&g->refs)) return;
    pthread_mutex_destroy(&g->lock);
    fac_mem_free(g);
}

static FacGenerator default_generator = {.refs = 1, .lock = PTHREAD_MUTEX_INITIALIZER};
static pthread_once_t default_once = PTHREAD_ONCE_INIT;

static void
start_default(void)
{
    default_generator.device = FAC_CPU_DEVICE;
    seed_unlocked(&default_generator, DEFAULT_SEED);
}

FacGenerator *
fac_default_generator(void)
{
    pthread_once(&default_once, start_default);
    return &default_generator;
}

void
fac_generator_seed(FacGenerator *g, uint64_t seed)
{
    pthread_mutex_lock(&g->lock);
    seed_unlocked(g, seed);
    pthread_mutex_unlock(&g->lock);
}

uint64_t
fac_generator_seed_random(FacGenerator *g)
{
    uint64_t seed = 0;
    if (getrandom(&seed, sizeof seed, 0) != sizeof seed) {
        struct timespec now; /* no entropy device in this sandbox: the clock must do */
        clock_gettime(CLOCK_REALTIME, &now);
        seed = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    }
    seed &= (UINT64_C(1) << 53) - 1; /* exact as a double, as the peer's */
    fac_generator_seed(g, seed);
    return seed;
}

/* --- saved states ----------------------------------------------------------------------------- */

/* The peer's state in bytes. Without the last three fields it is its older form, in which the
 * waiting normal is rho * sin(2 pi x). */
typedef struct SavedState {
    uint64_t seed;
    int32_t left, seeded;
    uint64_t next;
    uint64_t words[WORDS];
    double normal_x, normal_y, normal_rho;
    int32_t normal_is_valid, unused;
    float next_float;
    uint8_t next_float_is_valid, padding[3];
} SavedState;
_Static_assert(sizeof(SavedState) == 5056, "the peer's layout");
enum { OLD_STATE = 5048 };

FacStatus
fac_generator_state(FacGenerator *g, FacTensor **out)
{
    FacDim size = sizeof(SavedState);
    FacTensor *t;
    FAC_RETURN_IF_ERROR(fac_tensor_new(FAC_DT_U8, FAC_CPU_DEVICE, 1, &size, &t));
    SavedState *saved = fac_data(t);
    memset(saved, 0, sizeof *saved);
    pthread_mutex_lock(&g->lock);
    saved->seed = g->seed;
    saved->left = g->left;
    saved->seeded = 1;
    saved->next = (uint64_t)g->next;
    for (int i = 0; i < WORDS; i++) saved->words[i] = g->state[i];
    saved->normal_is_valid = g->has_next_double;
    saved->normal_y = g->has_next_double ? g->next_double : 0;
    saved->next_float_is_valid = g->has_next_float;
    saved->next_float = g->has_next_float ? g->next_float : 0;
    pthread_mutex_unlock(&g->lock);
    *out = t;
    return FAC_OK;
}

FacStatus
fac_generator_set_state(FacGenerator *g, FacTensor *state)
{
    if (state->dtype != FAC_DT_U8 || state->device.type != FAC_DEV_CPU)
        return fac_error(FAC_TYPE_ERROR, "RNG state must be a torch.ByteTensor");
    if (state->numel != (int64_t)sizeof(SavedState) && state->numel != OLD_STATE)
        return fac_error(FAC_RUNTIME_ERROR,
                         "Expected a CPUGeneratorImplState of size %zu but "
                         "found the input RNG state size to be %lld",
                         sizeof(SavedState), (long long)state->numel);
    FacTensor *plain;
    SavedState saved = {0};
    bool old = state->numel == OLD_STATE;
    FAC_RETURN_IF_ERROR(fac_contiguous(state, FAC_DT_NONE, &plain));
    memcpy(&saved, fac_data(plain), fac_nbytes(plain));
    fac_tensor_release(plain);
    if (!saved.seeded || saved.left < 1 || saved.left > WORDS || saved.next > WORDS ||
        saved.next + (uint64_t)saved.left - 1 > WORDS)
        return fac_error(FAC_RUNTIME_ERROR, "Invalid mt19937 state");
    pthread_mutex_lock(&g->lock);
    g->seed = saved.seed;
    g->left = saved.left;
    g->next = (int32_t)saved.next;
    for (int i = 0; i < WORDS; i++) g->state[i] = (uint32_t)saved.words[i];
    g->has_next_double = saved.normal_is_valid;
    g->next_double =
        old ? saved.normal_rho * sin(2 * 3.14159265358979323846 * saved.normal_x) : saved.normal_y;
    g->has_next_float = saved.next_float_is_valid;
    g->next_float = saved.next_float;
    pthread_mutex_unlock(&g->lock);
    return FAC_OK;
}
