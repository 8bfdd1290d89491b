/* fft_plan.h - how a Fourier transform of one length is computed, and the numbers that this takes.
 *
 * A length whose prime factors are at most FAC_FFT_ODD is a sequence of passes, one a factor. A pass
 * reads x[i + rest * (j + radix * k)] for i < rest, j < radix, k < before, transforms over j, turns
 * the j-th by exp(-2 pi i * i * j / (rest * radix)), and writes it at i + rest * (k + before * j): so
 * the last pass leaves the result in order, and all passes write runs. Any other length is a
 * convolution with a chirp (Bluestein's way), through the plan of a longer, convenient length.
 *
 * Of a length of FAC_FFT_LONG bytes and more, passes would go through memory again and again. It is a matrix of
 * `rows->n` by `columns->n` numbers instead: columns are transformed, number k of column i is turned by
 * exp(-2 pi i * i * k / n), rows are transformed, and what they give is the transpose of the result.
 *
 * A plan depends on the length, the dtype and the lanes of a vector alone. Plans are shared and
 * cached; the cache is bounded, and whoever uses a plan holds a reference.
 */
#ifndef FAC_KERNELS_FFT_PLAN_H
#define FAC_KERNELS_FFT_PLAN_H

#include "base/mem.h"

enum { FAC_FFT_PASSES = 40, FAC_FFT_ODD = 13, FAC_FFT_RADIX = 16, FAC_FFT_LONG = 1 << 20 };

typedef struct FacFftPass {
    int radix;
    int64_t before, rest; /* n = before * radix * rest */
    /* Turns in blocks for a vector of i each: for j = 1, 2, ... the cosines, then the sines. Where a vector
     * is longer than `rest`, they are repeated for every k; behind a block that is not whole comes one for the
     * last whole vector. NULL for rest = 1. */
    const void *turns;
    const void *roots; /* of odd radices: cos(2 pi j / radix) for all j, then the sines */
} FacFftPass;

typedef struct FacFftPlan {
    FacRefs refs;
    int64_t n;
    int lanes, size; /* of a vector; bytes of a real number */
    bool flat;
    bool narrow; /* every pass writes runs of at least a vector: one row can be vectorized */
    int npasses;
    FacFftPass pass[FAC_FFT_PASSES];
    /* For a real transform of 2n: exp(-pi i k / n) for k from 0 to `half`, cosines, then sines. */
    const void *halves;
    int64_t half;
    /* Bluestein: the convenient length, exp(-pi i k^2 / n) for k < n, and the transform of its
     * conjugate over `inner->n`, divided by that; cosines, then sines. */
    struct FacFftPlan *inner;
    const void *chirp, *spectrum;
    /* Long lengths: the transform of a column, of `rows->n` numbers, and of a row. Column i is turned by
     * near[k][i % lanes] (cosines, then sines, of a vector) times far[i / lanes][k] (pairs). */
    struct FacFftPlan *rows, *columns;
    const void *near, *far;
    void *memory;
    size_t bytes;
} FacFftPlan;

/* n >= 1; size 4 or 8. `flat`: by passes or a convolution, however long. */
FacStatus fac_fft_plan(int64_t n, int size, int lanes, bool flat, FacFftPlan **out) FAC_MUST_CHECK;
void fac_fft_plan_release(FacFftPlan *plan);
/* The length that a plan works on: its own, or that of its convolution. */
static inline int64_t
fac_fft_work(const FacFftPlan *plan)
{
    return plan->inner ? plan->inner->n : plan->n;
}

#endif
