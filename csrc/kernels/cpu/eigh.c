/* eigh.c - eigenvectors of real symmetric matrices: to tridiagonal form and back on the product.
 *
 * Panels of EIGH_PANEL rows become reflectors, each with one product of the matrix and a vector, and
 * change the rest of it by two products. The tridiagonal matrix is divided and conquered
 * (tridiagonal.h); then the reflectors are applied to its eigenvectors, panel by panel, from the right:
 * they lie as rows. Complex matrices are LAPACK's altogether.
 */
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/reflector.h"
#include "kernels/cpu/tridiagonal.h"
#include "kernels/matrices.h"

#include <string.h>

#pragma GCC optimize("fp-contract=fast")

enum { EIGH_PANEL = 32 };

/* One matrix of n x n, and where it works. */
typedef struct Eigh {
    FacDType dtype;
    bool serial, upper, vectors;
    int64_t n, size, step; /* step: from row to row of a, odd in lines of the cache */
    char *from, *to[2];    /* of the whole batch: matrices, eigenvalues, eigenvectors */
    int32_t *infos;
    char *v, *w, *minus, *d, *e, *tau, *numbers;
    char *a, *work; /* in turn the matrix, what the tridiagonal one takes, products of reflectors */
} Eigh;

#define T float
#define NAME(x) x##_f32
#define DTYPE FAC_DT_F32
#include "kernels/cpu/eigh_body.h"
#define T double
#define NAME(x) x##_f64
#define DTYPE FAC_DT_F64
#include "kernels/cpu/eigh_body.h"

static int64_t
eigh_place(Eigh *q, char *scratch)
{
    const int64_t n = q->n, panel = EIGH_PANEL * n, wide = 8 / q->size;
    char **const places[] = {&q->v, &q->w, &q->minus, &q->d, &q->e, &q->tau, &q->numbers};
    const int64_t lengths[] = {n * n, panel, 2 * panel, n, n, n, 2 * n * wide};
    const int64_t later[] = {n * q->step * q->size, 3 * EIGH_PANEL * EIGH_PANEL * q->size,
                             FAC_TIERED(tridiagonal_scratch)(n, q->dtype, q->vectors)};
    int64_t total = 0, most = 0;
    for (int i = 0; i < 7; i++) {
        *places[i] = scratch + total;
        total += (lengths[i] * q->size + 63) / 64 * 64;
    }
    for (int i = 0; i < 3; i++) most = later[i] > most ? later[i] : most;
    q->a = q->work = scratch + total;
    return total + most;
}

static FacStatus
multiply(const Eigh *q, FacGemm g)
{
    g.dtype = q->dtype;
    if (!q->serial) return FAC_TIERED(gemm)(&g);
    FAC_TIERED(gemm_serial)(&g);
    return FAC_OK;
}

/* a -= v w^T + w v^T for the rows and columns from `first` on, with the panel that ends there. */
static FacStatus
update_rest(const Eigh *q, int64_t first)
{
    const int64_t n = q->n, panel = EIGH_PANEL * n;
    const char *v = q->v + (first - EIGH_PANEL) * n * q->size, *w = q->w;
    void (*negate)(const char *, int64_t, char *) = q->size == 4 ? negate_f32 : negate_f64;
    negate(w, panel, q->minus);
    negate(v, panel, q->minus + panel * q->size);
    for (int i = 0; i < 2; i++)
        FAC_RETURN_IF_ERROR(multiply(q, (FacGemm){.m = n - first,
                                                  .n = n - first,
                                                  .k = EIGH_PANEL,
                                                  .a = (i ? w : v) + first * q->size,
                                                  .a_row = 1,
                                                  .a_col = n,
                                                  .b = q->minus + (i * panel + first) * q->size,
                                                  .b_row = n,
                                                  .b_col = 1,
                                                  .c = q->a + first * (q->step + 1) * q->size,
                                                  .c_row = q->step,
                                                  .accumulate = true}));
    return FAC_OK;
}

/* Eigenvectors z as rows, times (1 - v t v^T)^T for the panel of reflectors from `first` on. */
static FacStatus
apply_panel(const Eigh *q, int64_t first, char *z)
{
    const int64_t n = q->n, rest = n - first, least = n - first - 1;
    const int64_t k = least < EIGH_PANEL ? least : EIGH_PANEL;
    const char *v = q->v + first * (n + 1) * q->size;
    char *gram = q->work, *factor = gram + k * k * q->size, *unused = factor + k * k * q->size;
    char *part = q->w, *times = q->minus;
    if (k <= 0) return FAC_OK;
    FAC_RETURN_IF_ERROR(multiply(q, (FacGemm){.m = k,
                                              .n = k,
                                              .k = rest,
                                              .a = v,
                                              .a_row = n,
                                              .a_col = 1,
                                              .b = v,
                                              .b_row = 1,
                                              .b_col = n,
                                              .c = gram,
                                              .c_row = k}));
    FAC_TIERED(reflector_product)(q->dtype, gram, q->tau + first * q->size, k, factor, unused);
    z += first * q->size;
    FAC_RETURN_IF_ERROR(multiply(q, (FacGemm){.m = n,
                                              .n = k,
                                              .k = rest,
                                              .a = z,
                                              .a_row = n,
                                              .a_col = 1,
                                              .b = v,
                                              .b_row = 1,
                                              .b_col = n,
                                              .c = part,
                                              .c_row = k}));
    FAC_RETURN_IF_ERROR(multiply(q, (FacGemm){.m = n,
                                              .n = k,
                                              .k = k,
                                              .a = part,
                                              .a_row = k,
                                              .a_col = 1,
                                              .b = factor,
                                              .b_row = 1,
                                              .b_col = k,
                                              .c = times,
                                              .c_row = k}));
    return multiply(q, (FacGemm){.m = n,
                                 .n = rest,
                                 .k = k,
                                 .a = times,
                                 .a_row = k,
                                 .a_col = 1,
                                 .b = v,
                                 .b_row = n,
                                 .b_col = 1,
                                 .c = z,
                                 .c_row = n,
                                 .accumulate = true});
}

static FacStatus
eigh_item(int64_t index, char *scratch, bool serial, void *context)
{
    Eigh q = *(const Eigh *)context;
    const bool single = q.size == 4;
    const int64_t area = q.n * q.n * q.size;
    char *z = q.vectors ? q.to[1] + index * area : NULL;
    q.serial = serial;
    eigh_place(&q, scratch);
    (single ? mirror_f32 : mirror_f64)(&q, q.from + index * area, q.upper);
    for (int64_t j = 0; j < q.n; j += EIGH_PANEL) {
        const int64_t left = q.n - j;
        (single ? panel_f32 : panel_f64)(&q, j, left < EIGH_PANEL ? left : EIGH_PANEL);
        if (left > EIGH_PANEL) FAC_RETURN_IF_ERROR(update_rest(&q, j + EIGH_PANEL));
    }
    const bool finite = single ? is_finite_f32(q.d, q.n) && is_finite_f32(q.e, q.n - 1)
                               : is_finite_f64(q.d, q.n) && is_finite_f64(q.e, q.n - 1);
    q.infos[index] = !finite;
    if (!finite) return FAC_OK;
    double *d = (double *)q.numbers, *e = d + q.n;
    (single ? widen_f32 : widen_f64)(&q, d, e);
    FAC_RETURN_IF_ERROR(
        FAC_TIERED(tridiagonal_eigen)(q.n, d, e, q.dtype, z, q.work, serial, q.infos + index));
    if (q.infos[index]) return FAC_OK;
    (single ? narrow_f32 : narrow_f64)(&q, d, q.to[0] + index * q.n * q.size);
    if (!z) return FAC_OK;
    for (int64_t j = (q.n - 1) / EIGH_PANEL * EIGH_PANEL; j >= 0; j -= EIGH_PANEL)
        FAC_RETURN_IF_ERROR(apply_panel(&q, j, z));
    return FAC_OK;
}

/* (A, UPLO, compute_v) -> (eigenvalues, eigenvectors); the vectors lie by columns. */
FacStatus
FAC_KERNEL(eigh)(FacCall *call)
{
    FacTensor *a = fac_arg_tensor(call, 0), *w = fac_result_tensor(call, 0), *plain = NULL;
    Eigh q = {.dtype = (FacDType)a->dtype, .n = a->sizes[a->ndim - 1]};
    FacStatus st = FAC_OK;
    if (FAC_IS_COMPLEX(q.dtype) || !w->numel) return fac_k_eigh(call);
    const int64_t count = w->numel / q.n;
    q.size = fac_dtype_size(q.dtype);
    q.vectors = fac_v_is_true(FAC_ARG(call, 2));
    q.step = (q.n * q.size / 64 | 1) * 64 / q.size + 64 / q.size * 2;
    q.upper = FAC_ARG(call, 1).v.s[0] == 'U' || FAC_ARG(call, 1).v.s[0] == 'u';
    FAC_TRY(fac_contiguous(a, q.dtype, &plain));
    q.infos = fac_mem_zalloc((size_t)count * sizeof *q.infos);
    if (!q.infos) FAC_FAIL(FAC_MEMORY_ERROR, "no memory for %lld numbers", (long long)count);
    q.from = fac_data(plain);
    q.to[0] = fac_data(w);
    q.to[1] = fac_data(fac_result_tensor(call, 1));
    Eigh sized = q;
    const size_t scratch = (size_t)eigh_place(&sized, NULL);
    FAC_TRY(fac_each_matrix(count, 10.0 * (double)q.n * (double)q.n * (double)q.n, scratch,
                            eigh_item, &q));
    st = fac_check_infos(q.infos, count, w->ndim > 1, fac_eigh_failed);
done:
    fac_mem_free(q.infos);
    fac_tensor_release(plain);
    return st;
}
