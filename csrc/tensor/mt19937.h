/* mt19937.h - the words of the generator, inline: kernels compile them for the tier of the processor.
 *
 * `left - 1` numbers are still to be had from the state, from `next` on. Making the state anew and
 * tempering work on vectors: the recurrence looks 227 numbers back at the least, so that sixteen
 * neighbours never depend on each other. The numbers are the same on every tier.
 */
#ifndef FAC_TENSOR_MT19937_H
#define FAC_TENSOR_MT19937_H

#include "tensor/random.h"

#include <string.h>

enum {
    FAC_MT_WORDS = 624,
    FAC_MT_SHIFT = 397,
    FAC_MT_BACK = FAC_MT_WORDS - FAC_MT_SHIFT,
    FAC_MT_LANES = 16
};

typedef uint32_t FacMtLanes __attribute__((vector_size(4 * FAC_MT_LANES)));

/* The recurrence on the words, of which `a` and its successor `b` are neighbours. For one word and
 * for vectors of them. */
#define FAC_MT_TWIST(far, a, b)                                                                    \
    ((far) ^ ((((a) & 0x80000000u) | ((b) & 0x7fffffffu)) >> 1) ^ (-((b) & 1u) & 0x9908b0dfu))

/* state[begin, end) anew from the words at distance `far`, which may be negative. */
static inline void
fac_mt_twist(uint32_t *state, int begin, int end, int far)
{
    int i = begin;
    for (; i + FAC_MT_LANES <= end; i += FAC_MT_LANES) {
        FacMtLanes a, b, c;
        memcpy(&a, state + i, sizeof a);
        memcpy(&b, state + i + 1, sizeof b);
        memcpy(&c, state + i + far, sizeof c);
        c = FAC_MT_TWIST(c, a, b);
        memcpy(state + i, &c, sizeof c);
    }
    for (; i < end; i++) state[i] = FAC_MT_TWIST(state[i + far], state[i], state[i + 1]);
}

static inline void
fac_mt_renew(FacGenerator *g)
{
    uint32_t *state = g->state;
    fac_mt_twist(state, 0, FAC_MT_BACK, FAC_MT_SHIFT);
    fac_mt_twist(state, FAC_MT_BACK, FAC_MT_WORDS - 1, -FAC_MT_BACK);
    state[FAC_MT_WORDS - 1] =
        FAC_MT_TWIST(state[FAC_MT_SHIFT - 1], state[FAC_MT_WORDS - 1], state[0]);
    g->left = FAC_MT_WORDS + 1;
    g->next = 0;
}

#define FAC_MT_TEMPER(y)                                                                           \
    do {                                                                                           \
        y ^= y >> 11;                                                                              \
        y ^= (y << 7) & 0x9d2c5680u;                                                               \
        y ^= (y << 15) & 0xefc60000u;                                                              \
        y ^= y >> 18;                                                                              \
    } while (0)

static inline void
fac_mt_temper(const uint32_t *state, uint32_t *out, int64_t n)
{
    int64_t i = 0;
    for (; i + FAC_MT_LANES <= n; i += FAC_MT_LANES) {
        FacMtLanes y;
        memcpy(&y, state + i, sizeof y);
        FAC_MT_TEMPER(y);
        memcpy(out + i, &y, sizeof y);
    }
    for (; i < n; i++) {
        uint32_t y = state[i];
        FAC_MT_TEMPER(y);
        out[i] = y;
    }
}

/* n draws. */
static inline void
fac_mt_fill(FacGenerator *g, uint32_t *out, int64_t n)
{
    while (n > 0) {
        if (g->left == 1) fac_mt_renew(g);
        int64_t m = g->left - 1 < n ? g->left - 1 : n;
        fac_mt_temper(g->state + g->next, out, m);
        g->left -= (int32_t)m;
        g->next += (int32_t)m;
        out += m;
        n -= m;
    }
}

#endif
