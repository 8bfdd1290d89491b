/* random.h - generators. The CPU's is mt19937, consumed exactly as the peer consumes it, so that
 * the same seed gives the same numbers; the kernels that draw are in kernels/cpu/random.c and hold
 * the generator's lock while they do.
 */
#ifndef FAC_TENSOR_RANDOM_H
#define FAC_TENSOR_RANDOM_H

#include "tensor/tensor.h"

#include <pthread.h>

struct FacGenerator {
    FacRefs refs;
    FacDevice device;
    pthread_mutex_t lock;
    uint64_t seed;
    uint32_t state[624];
    int32_t left; /* numbers left in the state before it is made anew */
    int32_t next;
    bool has_next_float, has_next_double; /* the second normal of a Box-Muller pair */
    float next_float;
    double next_double;
    _Atomic(void *) wrapper; /* bindings */
};

/* Seeded with the peer's default seed. */
FacStatus fac_generator_new(FacDevice device, FacGenerator **out) FAC_MUST_CHECK;
void fac_generator_retain(FacGenerator *g);
void fac_generator_release(FacGenerator *g);
FacGenerator *fac_default_generator(void); /* borrowed; of the CPU */
void fac_generator_seed(FacGenerator *g, uint64_t seed);
uint64_t fac_generator_seed_random(FacGenerator *g); /* from the system's entropy */
/* The state as a uint8 tensor, laid out byte by byte as the peer's get_state (5056 bytes). */
FacStatus fac_generator_state(FacGenerator *g, FacTensor **out) FAC_MUST_CHECK;
FacStatus fac_generator_set_state(FacGenerator *g, FacTensor *state) FAC_MUST_CHECK;

/* Unlocked: the caller holds g->lock. */
uint32_t fac_random_u32(FacGenerator *g);
/* n draws of fac_random_u32 at once, several times faster than one by one. */
void fac_random_fill_u32(FacGenerator *g, uint32_t *out, int64_t n);
uint64_t fac_random_u64(FacGenerator *g);         /* two draws, in the peer's order */
float fac_random_float(FacGenerator *g);          /* [0, 1), 24 bits */
double fac_random_double(FacGenerator *g);        /* [0, 1), 53 bits */
double fac_random_normal_double(FacGenerator *g); /* the peer's scalar normal, with its cache */

#endif
