/* conv.h - a convolution as its kernels see it, and the ways of computing it that have files of their own.
 */
#ifndef FAC_KERNELS_CPU_CONV_H
#define FAC_KERNELS_CPU_CONV_H

#include "kernels/cpu/kernel.h"

typedef struct Conv {
    FacDType dtype;
    int64_t in[3], out[3], kernel[3], stride[3], before[3], dilation[3];
    int64_t wide[3];                          /* of the padded image: what the windows reach */
    int64_t batch, groups, channels, outputs; /* the last two of one group */
    int64_t taps, area, room, positions;      /* of a window; of planes in, padded, and out */
    bool direct;                              /* the columns are the image itself */
    bool adjoint;                             /* of the input: y, w are read and x written */
    const char *x, *w, *y, *bias;
    char *images;  /* padded, or x itself */
    char *columns; /* in memory */
    int64_t *tap;  /* where each tap lies from its position in the padded image, in elements */
    int64_t item, image, output, weight, column; /* bytes: an element, and per group */
    int64_t first;                               /* of the samples that are in work */
} Conv;

/* How many taps of groups of one channel have their sums in registers at a time, of 1, 3, 5, 7 and 9; what is
 * left of the window goes one by one. */
static inline int
depthwise_step(int64_t taps)
{
    return taps % 9 == 0 ? 9 : taps % 7 == 0 ? 7 : taps % 5 == 0 ? 5 : taps % 3 == 0 ? 3 : 9;
}

/* With the channels last in x and y (w is in C order): whether it pays, forward or the adjoint in the
 * input, and the adjoint in the weight. */
bool FAC_TIERED(conv_last_pays)(const Conv *c);
FacStatus FAC_TIERED(conv_last)(const Conv *c) FAC_MUST_CHECK;
FacStatus FAC_TIERED(conv_last_weight)(const Conv *c) FAC_MUST_CHECK;

#endif
