/* kernel.h - what every tier file includes.
 *
 * Files in kernels/cpu/ are compiled once a tier with -DFAC_TIER=v2, v3, v4 or base. A kernel is
 *
 *     FacStatus FAC_KERNEL(cumsum)(FacCall *call) { ... }
 *
 * and everything else in the file is static. It reads call->args, writes call->results (allocated by
 * the rule), and takes call->compute as the dtype of its arithmetic. It fails only on data. Bodies
 * for several dtypes go into a macro-free file of their own that is included once a dtype with T and
 * SUFFIX defined, or into static inline functions.
 */
#ifndef FAC_KERNELS_CPU_KERNEL_H
#define FAC_KERNELS_CPU_KERNEL_H

#include "base/half.h"
#include "base/pool.h"
#include "tensor/call.h"
#include "tensor/iter.h"
#include "tensor/layout.h"

#define FAC_JOIN_(a, b, c) a##b##_##c
#define FAC_JOIN(a, b, c) FAC_JOIN_(a, b, c)
#define FAC_KERNEL(name) FAC_JOIN(fac_k_, name, FAC_TIER)
#define FAC_TIERED(name) FAC_JOIN(fac_, name, FAC_TIER) /* shared between files of one tier */

/* Beside loops and kernels, what a tier's table (generated) holds. */
void FAC_TIERED(fill_casts)(FacCast (*casts)[FAC_DTYPES]);               /* cast.c */
extern const FacTunedLoop FAC_TIERED(tuned_loops)[];                     /* elementary.c */
extern const FacTunedLoop FAC_TIERED(half_loops)[];                      /* halves.c */
extern const FacTunedLoop FAC_TIERED(beside_loops)[];                    /* beside.c */
bool FAC_TIERED(all_finite)(FacDType real, const void *data, int64_t n); /* finite.c */

/* X(enumerator suffix, C type) */
#define FAC_INT_TYPES(X)                                                                           \
    X(U8, uint8_t)                                                                                 \
    X(I8, int8_t)                                                                                  \
    X(U16, uint16_t)                                                                               \
    X(I16, int16_t)                                                                                \
    X(U32, uint32_t)                                                                               \
    X(I32, int32_t)                                                                                \
    X(U64, uint64_t)                                                                               \
    X(I64, int64_t)
#define FAC_FLOAT_TYPES(X) X(F32, float) X(F64, double)
#define FAC_REAL_TYPES(X) FAC_INT_TYPES(X) FAC_FLOAT_TYPES(X)

#endif
