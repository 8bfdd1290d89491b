/* matrix_exp.c - exponentials of matrices, by scaling and squaring on the product.
 *
 * A matrix is halved until its norm is small enough for the series to be cut after the 16th power with an
 * error below a rounding: 2 in single precision, 3/4 in double. Each halving more would double the
 * roundings. The series is taken as four polynomials of degree 3 by Horner's rule in A^4. Then
 * the result is squared as often. Complex matrices are pairs of reals but for products and the diagonal.
 */
#include "kernels/cpu/gemm.h"
#include "kernels/matrices.h"

#include <math.h>
#include <string.h>

typedef struct Expm {
    FacDType dtype;
    bool serial;
    int64_t n, area, size;
    const char *from;
    char *to;
    char *a[5], *sum; /* powers 1 to 4, and room; a[0] is not used */
} Expm;

static FacStatus
multiply(const Expm *e, const char *a, const char *b, char *c)
{
    const FacGemm g = {.dtype = e->dtype,
                       .m = e->n,
                       .n = e->n,
                       .k = e->n,
                       .a = a,
                       .a_row = e->n,
                       .a_col = 1,
                       .b = b,
                       .b_row = e->n,
                       .b_col = 1,
                       .c = c,
                       .c_row = e->n};
    if (!e->serial) return FAC_TIERED(gemm)(&g);
    FAC_TIERED(gemm_serial)(&g);
    return FAC_OK;
}

/* The norm that bounds a matrix: the largest sum of a row's absolute values; and for reals x of the same
 * type: scaling, and to += c0 + c1 A + c2 A^2 + c3 A^3 (to the diagonal: every `step`-th real). */
#define EXPM(DT, T)                                                                                \
    static double norm_##DT(const void *memory, int64_t n, int64_t reals)                          \
    {                                                                                              \
        const T *a = memory;                                                                       \
        double most = 0;                                                                           \
        for (int64_t i = 0; i < n; i++) {                                                          \
            double sum = 0;                                                                        \
            for (int64_t j = 0; j < reals; j++) sum += fabs((double)a[i * reals + j]);             \
            if (!(sum <= most)) most = sum;                                                        \
        }                                                                                          \
        return most;                                                                               \
    }                                                                                              \
    static void scale_##DT(void *memory, int64_t n, double by)                                     \
    {                                                                                              \
        T *a = memory;                                                                             \
        for (int64_t i = 0; i < n; i++) a[i] *= (T)by;                                             \
    }                                                                                              \
    static void add_##DT(char *const *powers, const double *c, int64_t n, int64_t parts, void *to) \
    {                                                                                              \
        const T *a = (const T *)powers[1], *b = (const T *)powers[2], *d = (const T *)powers[3];   \
        const T c0 = (T)c[0], c1 = (T)c[1], c2 = (T)c[2], c3 = (T)c[3];                            \
        T *out = to;                                                                               \
        for (int64_t i = 0; i < n * n * parts; i++)                                                \
            out[i] = out[i] + (c1 * a[i] + (c2 * b[i] + c3 * d[i]));                               \
        for (int64_t i = 0; i < n; i++) out[i * (n + 1) * parts] += c0;                            \
    }
EXPM(F32, float)
EXPM(F64, double)
#undef EXPM

static FacStatus
expm_item(int64_t index, char *scratch, bool serial, void *context)
{
    Expm e = *(const Expm *)context;
    const bool single = fac_dtype_info[e.dtype].real == FAC_DT_F32;
    const int64_t bytes = e.area * e.size, parts = FAC_IS_COMPLEX(e.dtype) ? 2 : 1;
    double c[17];
    int squarings = 0;
    char *out = e.to + index * bytes;
    e.serial = serial;
    for (int i = 1; i <= 4; i++) e.a[i] = scratch + (i - 1) * bytes;
    e.sum = scratch + 4 * bytes;
    memcpy(e.a[1], e.from + index * bytes, (size_t)bytes);
    const double norm = (single ? norm_F32 : norm_F64)(e.a[1], e.n, e.n * parts);
    const double enough = single ? 2 : 0.75;
    if (norm > enough && norm <= 1e300) frexp(norm / enough, &squarings);
    (single ? scale_F32 : scale_F64)(e.a[1], e.area * parts, ldexp(1, -squarings));
    c[0] = 1;
    for (int i = 1; i <= 16; i++) c[i] = c[i - 1] / i;
    FAC_RETURN_IF_ERROR(multiply(&e, e.a[1], e.a[1], e.a[2]));
    FAC_RETURN_IF_ERROR(multiply(&e, e.a[1], e.a[2], e.a[3]));
    FAC_RETURN_IF_ERROR(multiply(&e, e.a[2], e.a[2], e.a[4]));
    memcpy(out, e.a[4], (size_t)bytes);
    (single ? scale_F32 : scale_F64)(out, e.area * parts, c[16]);
    for (int i = 12; i >= 0; i -= 4) {
        (single ? add_F32 : add_F64)(e.a, c + i, e.n, parts, out);
        if (i == 0) break;
        FAC_RETURN_IF_ERROR(multiply(&e, e.a[4], out, e.sum));
        memcpy(out, e.sum, (size_t)bytes);
    }
    for (int i = 0; i < squarings; i++) {
        FAC_RETURN_IF_ERROR(multiply(&e, out, out, e.sum));
        memcpy(out, e.sum, (size_t)bytes);
    }
    return FAC_OK;
}

FacStatus
FAC_KERNEL(matrix_exp)(FacCall *call)
{
    FacTensor *a = fac_arg_tensor(call, 0), *out = fac_result_tensor(call, 0), *plain;
    Expm e = {.dtype = (FacDType)a->dtype, .n = a->sizes[a->ndim - 1], .to = fac_data(out)};
    if (!out->numel) return FAC_OK;
    FAC_RETURN_IF_ERROR(fac_contiguous(a, e.dtype, &plain));
    e.area = e.n * e.n;
    e.size = fac_dtype_size(e.dtype);
    e.from = fac_data(plain);
    const double work = 8.0 * (double)e.area * (double)e.n;
    const FacStatus st =
        fac_each_matrix(fac_matrix_count(a, 2), work, (size_t)(5 * e.area * e.size), expm_item, &e);
    fac_tensor_release(plain);
    return st;
}
