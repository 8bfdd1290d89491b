/* conv_winograd.h - convolutions with windows of 3x3 and stride 1 in float32, by Winograd's F(2x2, 3x3).
 *
 * Tensors are [batch, groups * channels, rows, columns]. The same serves the adjoint in the input,
 * whose channels are the outputs and whose windows are turned around.
 */
#ifndef FAC_KERNELS_CPU_CONV_WINOGRAD_H
#define FAC_KERNELS_CPU_CONV_WINOGRAD_H

#include "kernels/cpu/kernel.h"

typedef struct FacWinograd {
    int64_t batch, groups, channels, outputs; /* the last two of one group */
    int64_t in[2], out[2], before[2];         /* rows and columns; the zeros in front of them */
    const float *x, *w, *bias;                /* bias may be NULL */
    float *y;
    int64_t w_output, w_channel, w_group; /* strides of the weight; windows are 9 elements */
    bool turned;
} FacWinograd;

/* Whether it pays: a question of the sizes of one sample. */
bool FAC_TIERED(winograd_pays)(const FacWinograd *p);
/* Sets again[sample] where results are not finite: those of the sample are to be computed as sums. */
FacStatus FAC_TIERED(winograd)(const FacWinograd *p, bool *again) FAC_MUST_CHECK;

#endif
