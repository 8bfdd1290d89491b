/* product.c - the kernels of mm, bmm, addmm, baddbmm, mv, addmv, linear and dot.
 *
 * Each says where its matrices lie and leaves the rest to gemm.c: transposed and strided operands
 * are read in place. float16 and bfloat16 are multiplied and summed in float32, the sum with the
 * last operand included, and rounded once.
 */
#include "kernels/cpu/gemm.h"

#pragma GCC optimize("fp-contract=fast")

enum { LOOK_AT_BLOCKS = 1 << 15 }; /* smaller results stay in the cache anyway */

typedef struct Product {
    FacGemm g;
    FacTensor *a, *b, *add; /* in the compute dtype; owned */
    FacTensor *c;           /* owned: the result, or a stand-in in the compute dtype */
    FacTensor *out;         /* borrowed */
    int64_t count, a_step, b_step, c_step, add_step;
} Product;

/* The dtype of a product's operands: halves are converted inside. */
static FacDType
product_dtype(FacDType dt)
{
    return dt == FAC_DT_F16 || dt == FAC_DT_BF16 ? dt : (FacDType)fac_dtype_info[dt].compute;
}

/* A reference to t in dtype dt: t itself with its strides where it has that dtype. */
static FacStatus
operand(FacTensor *t, FacDType dt, FacTensor **out)
{
    if (t->dtype != dt) return fac_contiguous(t, dt, out);
    *out = fac_tensor_retain(t);
    return FAC_OK;
}

static void
product_close(Product *p)
{
    fac_tensor_release(p->a);
    fac_tensor_release(p->b);
    fac_tensor_release(p->add);
    fac_tensor_release(p->c);
}

/* add may be NULL. Sets what does not depend on the shapes. */
static FacStatus
product_open(Product *p, FacTensor *a, FacTensor *b, FacTensor *add, FacTensor *out)
{
    const FacDType dt = product_dtype(out->dtype);
    FacStatus st = FAC_OK;
    *p = (Product){.out = out, .count = 1};
    p->g = (FacGemm){.dtype = dt, .alpha = {1, 0}, .beta = {1, 0}, .int_alpha = 1, .int_beta = 1};
    FAC_TRY(operand(a, dt, &p->a));
    FAC_TRY(operand(b, dt, &p->b));
    if (add) FAC_TRY(operand(add, dt, &p->add));
    if (out->dtype == dt)
        p->c = fac_tensor_retain(out);
    else
        FAC_TRY(fac_tensor_new(dt, out->device, out->ndim, out->sizes, &p->c));
    p->g.a = fac_data(p->a);
    p->g.b = fac_data(p->b);
    p->g.c = fac_data(p->c);
    p->g.add = p->add ? fac_data(p->add) : NULL;
done:
    if (st) product_close(p);
    return st;
}

/* Fills in the last two dims of A, B and C. */
static void
product_matrices(Product *p)
{
    const FacTensor *a = p->a, *b = p->b;
    FacGemm *g = &p->g;
    g->m = a->sizes[a->ndim - 2];
    g->k = a->sizes[a->ndim - 1];
    g->n = b->sizes[b->ndim - 1];
    g->a_row = a->strides[a->ndim - 2];
    g->a_col = a->strides[a->ndim - 1];
    g->b_row = b->strides[b->ndim - 2];
    g->b_col = b->strides[b->ndim - 1];
    g->c_row = g->n;
    if (a->ndim == 3) {
        p->count = a->sizes[0];
        p->a_step = a->strides[0];
        p->b_step = b->strides[0];
        p->c_step = g->m * g->n;
    }
}

/* The strides of D, which broadcasts to C. */
static int64_t
add_stride(const FacTensor *t, int from_last)
{
    const int i = t->ndim - 1 - from_last;
    return i < 0 || t->sizes[i] == 1 ? 0 : t->strides[i];
}

/* beta in args[i], alpha in args[i + 1]. */
static void
product_numbers(Product *p, const FacCall *call, int i)
{
    FacGemm *g = &p->g;
    fac_v_as_complex(FAC_ARG(call, i), g->beta);
    fac_v_as_complex(FAC_ARG(call, i + 1), g->alpha);
    if (FAC_IS_INT(g->dtype)) {
        g->int_beta = fac_v_as_int(FAC_ARG(call, i));
        g->int_alpha = fac_v_as_int(FAC_ARG(call, i + 1));
    }
    g->scale = g->alpha[0] != 1 || g->alpha[1] != 0 || g->beta[0] != 1 || g->beta[1] != 0;
    if (g->beta[0] == 0 && g->beta[1] == 0) g->add = NULL;
}

/* Computes, rounds to the dtype of the result, and closes. */
static FacStatus
product_run(FacCall *call, Product *p)
{
    FacStatus st = FAC_OK;
    _Atomic bool hit = false;
    const bool worth = p->c->numel >= LOOK_AT_BLOCKS && !FAC_IS_INT(p->g.dtype);
    if (p->c == p->out && worth) p->g.hit = fac_look_start(call, &hit);
    FAC_TRY(
        FAC_TIERED(gemm_batched)(&p->g, p->count, p->a_step, p->b_step, p->c_step, p->add_step));
    if (p->c != p->out) FAC_TRY(fac_tensor_copy(p->out, p->c));
    if (p->g.hit) fac_look_end(call, &hit);
done:
    product_close(p);
    return st;
}

FacStatus
FAC_KERNEL(mm)(FacCall *call)
{
    Product p;
    FAC_RETURN_IF_ERROR(product_open(&p, fac_arg_tensor(call, 0), fac_arg_tensor(call, 1), NULL,
                                     fac_result_tensor(call, 0)));
    product_matrices(&p);
    return product_run(call, &p);
}

/* (self, a, b, *, beta, alpha) */
static FacStatus
addmm_open(Product *p, FacCall *call)
{
    FAC_RETURN_IF_ERROR(product_open(p, fac_arg_tensor(call, 1), fac_arg_tensor(call, 2),
                                     fac_arg_tensor(call, 0), fac_result_tensor(call, 0)));
    product_matrices(p);
    product_numbers(p, call, 3);
    p->g.add_col = add_stride(p->add, 0);
    p->g.add_row = add_stride(p->add, 1);
    p->add_step = add_stride(p->add, 2);
    return FAC_OK;
}

/* addmm and baddbmm */
FacStatus
FAC_KERNEL(addmm)(FacCall *call)
{
    Product p;
    FAC_RETURN_IF_ERROR(addmm_open(&p, call));
    return product_run(call, &p);
}

extern FacLoops FAC_TIERED(loops_relu), FAC_TIERED(loops__gelu_erf);

/* addmm with use_gelu behind beta and alpha. */
FacStatus
FAC_KERNEL(addmm_activation)(FacCall *call)
{
    Product p;
    const bool gelu = fac_v_is_true(FAC_ARG(call, 5));
    FAC_RETURN_IF_ERROR(addmm_open(&p, call));
    p.g.activate = (gelu ? FAC_TIERED(loops__gelu_erf) : FAC_TIERED(loops_relu))
                       .loop[fac_dtype_info[p.g.dtype].compute];
    return product_run(call, &p);
}

/* int8 or uint8 times int8: exact sums, that wrap in int32. */
FacStatus
FAC_KERNEL(int_mm)(FacCall *call)
{
    Product p = {.a = fac_tensor_retain(fac_arg_tensor(call, 0)),
                 .b = fac_tensor_retain(fac_arg_tensor(call, 1)),
                 .c = fac_tensor_retain(fac_result_tensor(call, 0)),
                 .out = fac_result_tensor(call, 0)};
    p.g = (FacGemm){.dtype = (FacDType)p.a->dtype, .bytes = true};
    p.g.a = fac_data(p.a);
    p.g.b = fac_data(p.b);
    p.g.c = fac_data(p.c);
    product_matrices(&p);
    const FacStatus st = FAC_TIERED(gemm)(&p.g);
    product_close(&p);
    return st;
}

/* A matrix times a column. */
static void
product_vector(Product *p)
{
    const FacTensor *matrix = p->a, *vector = p->b;
    FacGemm *g = &p->g;
    g->m = matrix->sizes[0];
    g->n = 1;
    g->k = matrix->sizes[1];
    g->a_row = matrix->strides[0];
    g->a_col = matrix->strides[1];
    g->b_row = vector->strides[0];
    g->c_row = 1;
}

FacStatus
FAC_KERNEL(mv)(FacCall *call)
{
    Product p;
    FAC_RETURN_IF_ERROR(product_open(&p, fac_arg_tensor(call, 0), fac_arg_tensor(call, 1), NULL,
                                     fac_result_tensor(call, 0)));
    product_vector(&p);
    return product_run(call, &p);
}

FacStatus
FAC_KERNEL(addmv)(FacCall *call)
{
    Product p;
    FAC_RETURN_IF_ERROR(product_open(&p, fac_arg_tensor(call, 1), fac_arg_tensor(call, 2),
                                     fac_arg_tensor(call, 0), fac_result_tensor(call, 0)));
    product_vector(&p);
    product_numbers(&p, call, 3);
    p.g.add_row = add_stride(p.add, 0);
    return product_run(call, &p);
}

/* x [..., k], weight [n, k] or [k], bias [n]. */
FacStatus
FAC_KERNEL(linear)(FacCall *call)
{
    Product p;
    FacTensor *x = fac_arg_tensor(call, 0), *rows = NULL;
    FacStatus st = FAC_OK;
    if (x->ndim > 2 && !x->contiguous) {
        FAC_TRY(fac_contiguous(x, FAC_DT_NONE, &rows));
        x = rows;
    }
    FAC_TRY(product_open(&p, x, fac_arg_tensor(call, 1), fac_arg_tensor(call, 2),
                         fac_result_tensor(call, 0)));
    FacGemm *g = &p.g;
    g->k = x->sizes[x->ndim - 1];
    g->n = p.b->ndim == 2 ? p.b->sizes[0] : 1;
    g->m = g->n ? p.c->numel / g->n : 0;
    g->a_row = x->ndim == 2 ? p.a->strides[0] : g->k;
    g->a_col = p.a->strides[x->ndim - 1];
    g->b_row = p.b->strides[p.b->ndim - 1];
    g->b_col = p.b->ndim == 2 ? p.b->strides[0] : 0;
    g->c_row = g->n;
    g->add_col = p.add ? add_stride(p.add, 0) : 0;
    st = product_run(call, &p);
done:
    fac_tensor_release(rows);
    return st;
}

/* --- dot ------------------------------------------------------------------------------------------ */

/* Sums of DOT_RUN products in DOT_LANES interleaved parts; runs are added up in turn. */
enum { DOT_RUN = 8192, DOT_LANES = 32 };

typedef struct Dot {
    const void *x, *y;
    int64_t n, x_step, y_step;
    double (*partial)[2];
    FacDType dtype;
} Dot;

#define DOT_REAL(DT, T)                                                                            \
    static void dot_run_##DT(const Dot *d, int64_t begin, int64_t end, double out[2])              \
    {                                                                                              \
        const T *x = (const T *)d->x + begin * d->x_step,                                          \
                *y = (const T *)d->y + begin * d->y_step;                                          \
        T lanes[DOT_LANES] = {0}, sum = 0;                                                         \
        int64_t n = end - begin, i = 0;                                                            \
        if (d->x_step == 1 && d->y_step == 1)                                                      \
            for (; i + DOT_LANES <= n; i += DOT_LANES)                                             \
                for (int j = 0; j < DOT_LANES; j++) lanes[j] += x[i + j] * y[i + j];               \
        for (; i < n; i++) lanes[i % DOT_LANES] += x[i * d->x_step] * y[i * d->y_step];            \
        for (int j = 0; j < DOT_LANES; j++) sum += lanes[j];                                       \
        out[0] = (double)sum;                                                                      \
        out[1] = 0;                                                                                \
    }
FAC_FLOAT_TYPES(DOT_REAL)
#undef DOT_REAL

#define DOT_COMPLEX(DT, T)                                                                         \
    static void dot_run_##DT(const Dot *d, int64_t begin, int64_t end, double out[2])              \
    {                                                                                              \
        const T *x = (const T *)d->x + 2 * begin * d->x_step;                                      \
        const T *y = (const T *)d->y + 2 * begin * d->y_step;                                      \
        T re[8] = {0}, im[8] = {0};                                                                \
        for (int64_t i = 0; i < end - begin; i++) {                                                \
            const T *a = x + 2 * i * d->x_step, *b = y + 2 * i * d->y_step;                        \
            re[i % 8] += a[0] * b[0] - a[1] * b[1];                                                \
            im[i % 8] += a[0] * b[1] + a[1] * b[0];                                                \
        }                                                                                          \
        out[0] = out[1] = 0;                                                                       \
        for (int j = 0; j < 8; j++) {                                                              \
            out[0] += (double)re[j];                                                               \
            out[1] += (double)im[j];                                                               \
        }                                                                                          \
    }
DOT_COMPLEX(C64, float)
DOT_COMPLEX(C128, double)
#undef DOT_COMPLEX

#define DOT_INT(DT, T)                                                                             \
    static void dot_int_##DT(const Dot *d, void *out)                                              \
    {                                                                                              \
        const T *x = d->x, *y = d->y;                                                              \
        uint64_t sum = 0;                                                                          \
        for (int64_t i = 0; i < d->n; i++)                                                         \
            sum += (uint64_t)x[i * d->x_step] * (uint64_t)y[i * d->y_step];                        \
        *(T *)out = (T)sum;                                                                        \
    }
FAC_INT_TYPES(DOT_INT)
#undef DOT_INT

static void
dot_runs(int64_t begin, int64_t end, void *context)
{
    const Dot *d = context;
    for (; begin < end; begin++) {
        const int64_t from = begin * DOT_RUN, to = from + DOT_RUN < d->n ? from + DOT_RUN : d->n;
        double *out = d->partial[begin];
        switch (d->dtype) {
        case FAC_DT_F32: dot_run_F32(d, from, to, out); break;
        case FAC_DT_F64: dot_run_F64(d, from, to, out); break;
        case FAC_DT_C64: dot_run_C64(d, from, to, out); break;
        default: dot_run_C128(d, from, to, out); break;
        }
    }
}

static FacStatus
dot_float(Dot *d, FacTensor *out)
{
    const int64_t runs = d->n ? fac_chunks(d->n, DOT_RUN) : 0;
    double few[8][2], sum[2] = {0, 0};
    d->partial = few;
    if (runs > 8) {
        d->partial = fac_mem_alloc((size_t)runs * sizeof *d->partial);
        if (!d->partial) return fac_mem_error((size_t)runs * sizeof *d->partial);
    }
    fac_parallel(runs, 4, dot_runs, d);
    for (int64_t i = 0; i < runs; i++) {
        sum[0] += d->partial[i][0];
        sum[1] += d->partial[i][1];
    }
    fac_v_store((FacValue){.tag = FAC_V_COMPLEX, .v.c = sum}, (FacDType)out->dtype, fac_data(out));
    if (d->partial != few) fac_mem_free(d->partial);
    return FAC_OK;
}

FacStatus
FAC_KERNEL(dot)(FacCall *call)
{
    FacTensor *x = NULL, *y = NULL, *out = fac_result_tensor(call, 0);
    const FacDType dt = (FacDType)fac_dtype_info[out->dtype].compute;
    FacStatus st = FAC_OK;
    FAC_TRY(operand(fac_arg_tensor(call, 0), dt, &x));
    FAC_TRY(operand(fac_arg_tensor(call, 1), dt, &y));
    Dot d = {.x = fac_data(x),
             .y = fac_data(y),
             .n = x->numel,
             .x_step = x->strides[0],
             .y_step = y->strides[0],
             .dtype = dt};
    switch (dt) {
#define DOT_CASE(DT, T)                                                                            \
    case FAC_DT_##DT: dot_int_##DT(&d, fac_data(out)); break;
        FAC_INT_TYPES(DOT_CASE)
#undef DOT_CASE
    default: FAC_TRY(dot_float(&d, out));
    }
done:
    fac_tensor_release(x);
    fac_tensor_release(y);
    return st;
}
