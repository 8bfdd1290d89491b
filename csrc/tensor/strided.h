/* strided.h - moving elements between strided places; for tensor/ and kernels/.
 *
 * Sizes and strides are in bytes, `size` is that of one element: 1, 2, 4, 8 or 16.
 */
#ifndef FAC_TENSOR_STRIDED_H
#define FAC_TENSOR_STRIDED_H

#include "facula.h"

/* n elements from one row to another; rows that overlap leave numbers of either. */
void fac_move_row(char *to, FacDim to_stride, const char *from, FacDim from_stride, int64_t n,
                  int size);
/* to[r * to_row + c * size] = from[c * from_column + r * size] for r < rows, c < columns. */
void fac_transpose(char *to, FacDim to_row, const char *from, FacDim from_column, int64_t rows,
                   int64_t columns, int size);
/* n elements in the order of an odometer over sizes (innermost first) that stands at index, from
 * (or to) the strided place `at`, which points to index[0] = 0 of the current row. */
void fac_gather_box(char *to, const char *at, int ndim, const FacDim *sizes, const FacDim *strides,
                    const int64_t *index, int64_t n, int size);
void fac_scatter_box(char *at, const char *from, int ndim, const FacDim *sizes,
                     const FacDim *strides, const int64_t *index, int64_t n, int size);
/* Conjugates and negates n contiguous elements in place. */
void fac_apply_lazy(FacDType dtype, void *at, int64_t n, bool conj, bool neg);

#endif
