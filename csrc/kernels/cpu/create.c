/* create.c - filling fresh tensors, copies, and the rows that only move or set elements.
 *
 * A result of a factory may have any dense strides, so fills go through the storage as one run where
 * the layout is dense and through the strided engine elsewhere.
 */
#include "kernels/cpu/kernel.h"
#include "tensor/strided.h"

#include <math.h>

FacStatus
FAC_KERNEL(nothing)(FacCall *call)
{
    (void)call;
    return FAC_OK;
}

/* --- one value everywhere --------------------------------------------------------------------------- */

typedef struct Fill {
    char element[16];
    int size;
} Fill;

static void
fill_run(char *at, int64_t n, const Fill *fill)
{
    switch (fill->size) {
    case 1: memset(at, fill->element[0], (size_t)n); break;
#define FILL_CASE(bytes, type)                                                                     \
    case bytes: {                                                                                  \
        type value, *to = (type *)at;                                                              \
        memcpy(&value, fill->element, bytes);                                                      \
        for (int64_t i = 0; i < n; i++) to[i] = value;                                             \
        break;                                                                                     \
    }
        FILL_CASE(2, uint16_t)
        FILL_CASE(4, uint32_t)
        FILL_CASE(8, uint64_t)
    default:
        for (int64_t i = 0; i < n; i++) memcpy(at + 16 * i, fill->element, 16);
#undef FILL_CASE
    }
}

static void
fill_row(char *const *data, const FacDim *strides, int64_t n, void *context)
{
    const Fill *fill = context;
    if (strides[0] == fill->size) {
        fill_run(data[0], n, fill);
        return;
    }
    fac_move_row(data[0], strides[0], (const char *)fill->element, 0, n, fill->size);
}

static FacStatus
fill(FacTensor *t, FacValue number)
{
    Fill value = {.size = fac_dtype_size((FacDType)t->dtype)};
    FacIter it;
    if (!t->numel) return FAC_OK;
    fac_v_store(number, (FacDType)t->dtype, value.element);
    if (t->contiguous && t->numel <= FAC_BLOCK) {
        fill_run(fac_data(t), t->numel, &value);
        return FAC_OK;
    }
    FAC_RETURN_IF_ERROR(fac_iter_init(&it, 1, &t, 0, NULL, FAC_DT_NONE, FAC_DT_NONE));
    fac_iter_rows(&it, 0, fill_row, &value);
    return FAC_OK;
}

FacStatus
FAC_KERNEL(zeros)(FacCall *call)
{
    FacTensor *t = fac_result_tensor(call, 0);
    if (t->contiguous && fac_nbytes(t) <= 4096) {
        if (t->numel) memset(fac_data(t), 0, fac_nbytes(t));
        return FAC_OK;
    }
    return fill(t, fac_v_int(0));
}

FacStatus
FAC_KERNEL(ones)(FacCall *call)
{
    return fill(fac_result_tensor(call, 0), fac_v_int(1));
}

FacStatus
FAC_KERNEL(full)(FacCall *call)
{
    return fill(fac_result_tensor(call, 0), call->args[1]);
}

FacStatus
FAC_KERNEL(new_full)(FacCall *call)
{
    return fill(fac_result_tensor(call, 0), call->args[2]);
}

FacStatus
FAC_KERNEL(zero)(FacCall *call)
{
    return fill(fac_arg_tensor(call, 0), fac_v_int(0));
}

FacStatus
FAC_KERNEL(fill)(FacCall *call)
{
    FacTensor *value = fac_arg_tensor(call, 1);
    FacValue number = call->args[1];
    double c[2];
    if (value) FAC_RETURN_IF_ERROR(fac_tensor_item(value, c, &number));
    return fill(fac_arg_tensor(call, 0), number);
}

/* --- copies --------------------------------------------------------------------------------------------- */

FacStatus
FAC_KERNEL(copy_to_result)(FacCall *call)
{
    return fac_tensor_copy(fac_result_tensor(call, 0), fac_arg_tensor(call, 0));
}

FacStatus
FAC_KERNEL(copy_into)(FacCall *call)
{
    return fac_tensor_copy(fac_arg_tensor(call, 0), fac_arg_tensor(call, 1));
}

/* The elements in C order into another shape: the result is contiguous, so it can be seen in the shape
 * of the source. */
FacStatus
FAC_KERNEL(copy_reshaped)(FacCall *call)
{
    FacTensor *from = fac_arg_tensor(call, 0), *seen = NULL, *to = fac_result_tensor(call, 0);
    FacDim strides[FAC_MAX_NDIM];
    fac_strides_contiguous(from->ndim, from->sizes, strides);
    FAC_RETURN_IF_ERROR(fac_tensor_view(to, from->ndim, from->sizes, strides, to->offset, &seen));
    FacStatus st = fac_tensor_copy(seen, from);
    fac_tensor_release(seen);
    return st;
}

/* --- ranges --------------------------------------------------------------------------------------------- */

/* Results are computed in double or int64 (complex: in parts) and stored through fac_casts by blocks. */
typedef struct Range {
    double start, step, end; /* linspace: counts from both ends, so that the last is exact */
    double start_im, step_im, end_im;
    double base; /* logspace; 0 otherwise */
    int64_t istart, istep, n;
    FacDType dtype;
    char *data;
} Range;

static void
range_ints(int64_t begin, int64_t end, void *context)
{
    const Range *r = context;
    int64_t block[FAC_BLOCK];
    for (int64_t at = begin; at < end; at += FAC_BLOCK) {
        int64_t n = end - at < FAC_BLOCK ? end - at : FAC_BLOCK;
        for (int64_t i = 0; i < n; i++) block[i] = r->istart + (at + i) * r->istep;
        fac_casts[FAC_DT_I64][r->dtype](block, r->data + at * fac_dtype_size(r->dtype), n);
    }
}

static void
range_floats(int64_t begin, int64_t end, void *context)
{
    const Range *r = context;
    double block[FAC_BLOCK];
    for (int64_t at = begin; at < end; at += FAC_BLOCK) {
        int64_t n = end - at < FAC_BLOCK ? end - at : FAC_BLOCK;
        for (int64_t i = 0; i < n; i++) block[i] = r->start + (double)(at + i) * r->step;
        fac_casts[FAC_DT_F64][r->dtype](block, r->data + at * fac_dtype_size(r->dtype), n);
    }
}

static FacStatus
arange(FacTensor *t, FacValue start, FacValue step)
{
    Range r = {.dtype = (FacDType)t->dtype, .data = fac_data(t)};
    bool integral = start.tag <= FAC_V_INT && step.tag <= FAC_V_INT;
    if (integral) {
        r.istart = fac_v_as_int(start);
        r.istep = fac_v_as_int(step);
        fac_parallel(t->numel, 1 << 15, range_ints, &r);
        return FAC_OK;
    }
    if (FAC_IS_INT(t->dtype)) { /* as the peer: both are truncated first */
        r.istart = fac_v_as_int(start);
        r.istep = fac_v_as_int(step);
        fac_parallel(t->numel, 1 << 15, range_ints, &r);
        return FAC_OK;
    }
    r.start = fac_v_as_float(start);
    r.step = fac_v_as_float(step);
    fac_parallel(t->numel, 1 << 15, range_floats, &r);
    return FAC_OK;
}

FacStatus
FAC_KERNEL(arange_end)(FacCall *call)
{
    return arange(fac_result_tensor(call, 0), fac_v_int(0), fac_v_int(1));
}

FacStatus
FAC_KERNEL(arange)(FacCall *call)
{
    return arange(fac_result_tensor(call, 0), call->args[0], call->args[2]);
}

static FacStatus
number_arg(const FacCall *call, int i, double out[2])
{
    FacTensor *t = fac_arg_tensor(call, i);
    FacValue v = call->args[i];
    double c[2];
    if (t) FAC_RETURN_IF_ERROR(fac_tensor_item(t, c, &v));
    fac_v_as_complex(v, out);
    return FAC_OK;
}

/* float32 results step in float32, as the peer's do. */
static double
step_of(double start, double end, int64_t n, FacDType dtype)
{
    if (n < 2) return 0;
    if (dtype == FAC_DT_F32 || dtype == FAC_DT_C64 || fac_dtype_size(dtype) == 2)
        return ((float)end - (float)start) / (float)(n - 1);
    return (end - start) / (double)(n - 1);
}

static double
linspace_at(int64_t i, int64_t n, double start, double step, double end, bool single)
{
    if (single)
        return i < n / 2 ? (float)start + (float)step * (float)i
                         : (float)end - (float)step * (float)(n - i - 1);
    return i < n / 2 ? start + step * (double)i : end - step * (double)(n - i - 1);
}

static void
linspace_block(int64_t begin, int64_t end, void *context)
{
    const Range *r = context;
    bool single = r->dtype == FAC_DT_F32 || r->dtype == FAC_DT_C64,
         complex = FAC_IS_COMPLEX(r->dtype);
    double block[2 * FAC_BLOCK];
    for (int64_t at = begin; at < end; at += FAC_BLOCK) {
        int64_t n = end - at < FAC_BLOCK ? end - at : FAC_BLOCK;
        for (int64_t i = 0; i < n; i++) {
            double *to = complex ? block + 2 * i : block + i;
            to[0] = linspace_at(at + i, r->n, r->start, r->step, r->end, single);
            if (complex)
                to[1] = linspace_at(at + i, r->n, r->start_im, r->step_im, r->end_im, single);
            if (r->base != 0 && complex) { /* base ** (x + iy) */
                double size = pow(r->base, to[0]), angle = to[1] * log(r->base);
                to[0] = size * cos(angle);
                to[1] = size * sin(angle);
            } else if (r->base != 0) {
                to[0] = single ? powf((float)r->base, (float)to[0]) : pow(r->base, to[0]);
            }
        }
        fac_casts[complex ? FAC_DT_C128 : FAC_DT_F64][r->dtype](
            block, r->data + at * fac_dtype_size(r->dtype), n);
    }
}

static FacStatus
linspace(FacCall *call, double base)
{
    FacTensor *t = fac_result_tensor(call, 0);
    double a[2], b[2];
    FAC_RETURN_IF_ERROR(number_arg(call, 0, a));
    FAC_RETURN_IF_ERROR(number_arg(call, 1, b));
    if (FAC_IS_INT(t->dtype)) { /* the ends are numbers of the dtype */
        a[0] = trunc(a[0]);
        b[0] = trunc(b[0]);
    }
    Range r = {.start = a[0],
               .end = b[0],
               .start_im = a[1],
               .end_im = b[1],
               .base = base,
               .n = t->numel,
               .dtype = (FacDType)t->dtype,
               .data = fac_data(t)};
    r.step = step_of(a[0], b[0], r.n, r.dtype);
    r.step_im = step_of(a[1], b[1], r.n, r.dtype);
    if (r.n == 1) {
        r.end = a[0];
        r.end_im = a[1];
    }
    fac_parallel(t->numel, 1 << 14, linspace_block, &r);
    return FAC_OK;
}

FacStatus
FAC_KERNEL(linspace)(FacCall *call)
{
    return linspace(call, 0);
}

FacStatus
FAC_KERNEL(logspace)(FacCall *call)
{
    return linspace(call, fac_v_as_float(call->args[3]));
}

FacStatus
FAC_KERNEL(eye)(FacCall *call)
{
    FacTensor *t = fac_result_tensor(call, 0), *diagonal = NULL;
    int64_t n = t->sizes[0] < t->sizes[1] ? t->sizes[0] : t->sizes[1];
    FAC_RETURN_IF_ERROR(fill(t, fac_v_int(0)));
    FAC_RETURN_IF_ERROR(
        fac_tensor_view(t, 1, &n, (FacDim[]){t->strides[0] + t->strides[1]}, t->offset, &diagonal));
    FacStatus st = fill(diagonal, fac_v_int(1));
    fac_tensor_release(diagonal);
    return st;
}

static FacStatus
tri_indices(FacCall *call, bool lower)
{
    FacTensor *t = fac_result_tensor(call, 0);
    int64_t rows = call->args[0].v.i, cols = call->args[1].v.i, offset = call->args[2].v.i;
    int64_t n = t->sizes[1], at = 0;
    offset = offset < -rows ? -rows : offset > cols ? cols : offset;
    for (int64_t i = lower && offset < 0 ? -offset : 0; at < n; i++) {
        int64_t edge = lower ? i + offset + 1 : i + offset;
        edge = edge < 0 ? 0 : edge > cols ? cols : edge;
        for (int64_t j = lower ? 0 : edge; j < (lower ? edge : cols); j++, at++) {
            if (t->dtype == FAC_DT_I64) {
                ((int64_t *)fac_data(t))[at] = i;
                ((int64_t *)fac_data(t))[n + at] = j;
            } else {
                ((int32_t *)fac_data(t))[at] = (int32_t)i;
                ((int32_t *)fac_data(t))[n + at] = (int32_t)j;
            }
        }
    }
    return FAC_OK;
}

FacStatus
FAC_KERNEL(tri_indices_lower)(FacCall *call)
{
    return tri_indices(call, true);
}

FacStatus
FAC_KERNEL(tri_indices_upper)(FacCall *call)
{
    return tri_indices(call, false);
}

/* --- complex numbers from parts ---------------------------------------------------------------------------- */

static void
complex_loop_f32(void *const *data, int64_t n, const void *params)
{
    float *to = data[0];
    const float *re = data[1], *im = data[2];
    (void)params;
    for (int64_t i = 0; i < n; i++) {
        to[2 * i] = re[i];
        to[2 * i + 1] = im[i];
    }
}

static void
complex_loop_f64(void *const *data, int64_t n, const void *params)
{
    double *to = data[0];
    const double *re = data[1], *im = data[2];
    (void)params;
    for (int64_t i = 0; i < n; i++) {
        to[2 * i] = re[i];
        to[2 * i + 1] = im[i];
    }
}

static void
polar_loop_f32(void *const *data, int64_t n, const void *params)
{
    float *to = data[0];
    const float *size = data[1], *angle = data[2];
    (void)params;
    for (int64_t i = 0; i < n; i++) {
        to[2 * i] = size[i] * cosf(angle[i]);
        to[2 * i + 1] = size[i] * sinf(angle[i]);
    }
}

static void
polar_loop_f64(void *const *data, int64_t n, const void *params)
{
    double *to = data[0];
    const double *size = data[1], *angle = data[2];
    (void)params;
    for (int64_t i = 0; i < n; i++) {
        to[2 * i] = size[i] * cos(angle[i]);
        to[2 * i + 1] = size[i] * sin(angle[i]);
    }
}

static FacStatus
from_parts(FacCall *call, FacLoop single, FacLoop twice)
{
    FacTensor *t = fac_result_tensor(call, 0);
    bool wide = t->dtype == FAC_DT_C128;
    FacIter it;
    FAC_RETURN_IF_ERROR(fac_iter_init(&it, 1, &t, 2, call->args, wide ? FAC_DT_C128 : FAC_DT_C64,
                                      wide ? FAC_DT_F64 : FAC_DT_F32));
    fac_iter_blocks(&it, wide ? twice : single, NULL);
    return FAC_OK;
}

FacStatus
FAC_KERNEL(complex)(FacCall *call)
{
    return from_parts(call, complex_loop_f32, complex_loop_f64);
}

FacStatus
FAC_KERNEL(polar)(FacCall *call)
{
    return from_parts(call, polar_loop_f32, polar_loop_f64);
}

/* --- where ---------------------------------------------------------------------------------------------------- */

#define WHERE_LOOP(bits, type)                                                                     \
    static void where_##bits(void *const *data, int64_t n, const void *params)                     \
    {                                                                                              \
        type *to = data[0];                                                                        \
        const uint8_t *choose = data[1];                                                           \
        const type *a = data[2], *b = data[3];                                                     \
        (void)params;                                                                              \
        for (int64_t i = 0; i < n; i++) to[i] = choose[i] ? a[i] : b[i];                           \
    }
WHERE_LOOP(8, uint8_t)
WHERE_LOOP(16, uint16_t)
WHERE_LOOP(32, uint32_t)
WHERE_LOOP(64, uint64_t)

static void
where_128(void *const *data, int64_t n, const void *params)
{
    char *to = data[0];
    const uint8_t *choose = data[1];
    const char *a = data[2], *b = data[3];
    (void)params;
    for (int64_t i = 0; i < n; i++) memmove(to + 16 * i, (choose[i] ? a : b) + 16 * i, 16);
}

FacStatus
FAC_KERNEL(where)(FacCall *call)
{
    FacTensor *t = fac_result_tensor(call, 0);
    FacDType dtype = (FacDType)t->dtype;
    FacIter it;
    FAC_RETURN_IF_ERROR(fac_iter_init(&it, 1, &t, 3, call->args, dtype, dtype));
    it.operand[1].loop_dtype = FAC_DT_BOOL;
    if (it.operand[1].dtype != FAC_DT_BOOL) it.contiguous = false;
    switch (fac_dtype_size(dtype)) {
    case 1: fac_iter_blocks(&it, where_8, NULL); break;
    case 2: fac_iter_blocks(&it, where_16, NULL); break;
    case 4: fac_iter_blocks(&it, where_32, NULL); break;
    case 8: fac_iter_blocks(&it, where_64, NULL); break;
    default: fac_iter_blocks(&it, where_128, NULL);
    }
    return FAC_OK;
}
