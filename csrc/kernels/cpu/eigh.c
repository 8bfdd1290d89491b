/* eigh.c - eigenvectors of real symmetric matrices: to tridiagonal form and back on the product.
 *
 * Panels of EIGH_PANEL rows become reflectors, each with one product of the matrix and a vector, and
 * change the rest of it by a product: of the matrix only the upper triangle is read and written. The tridiagonal matrix is divided and conquered
 * (tridiagonal.h); then the reflectors are applied to its eigenvectors, panel by panel, from the right:
 * they lie as rows. Complex matrices are LAPACK's altogether.
 */
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/reflector.h"
#include "kernels/cpu/small.h"
#include "kernels/cpu/tridiagonal.h"
#include "kernels/matrices.h"

#include <stdint.h>
#include <string.h>

#pragma GCC optimize("fp-contract=fast")
#pragma GCC diagnostic ignored "-Wpsabi" /* vectors go to static functions only */

/* Rows of the product with a vector that are taken together; of zeros below the matrix; of an update. */
enum { EIGH_PANEL = 32, EIGH_ROWS = 8, EIGH_BEHIND = 16, EIGH_BLOCK = 64 };

/* With fewer rows eigenvalues alone are LAPACK's: its QL has no roots to take. */
enum { EIGH_LEAST = 32 };

/* One matrix of n x n, and where it works. */
typedef struct Eigh {
    FacDType dtype;
    bool serial, upper, vectors;
    int64_t n, size, step; /* step: from row to row of a, odd in lines of the cache */
    char *from, *to[2];    /* of the whole batch: matrices, eigenvalues, eigenvectors */
    int32_t *infos;
    char *v, *pair, *w, *minus, *d, *e, *tau, *numbers;
    char *a, *work; /* in turn the matrix, what the tridiagonal one takes, products of reflectors */
} Eigh;

/* No function gives a vector: tiers without such long ones would not agree how. */
#define EIGH_LOAD(x) (*(const NAME(Vec) *)(x))

#define T float
#define INDEX int32_t
#define NAME(x) x##_f32
#define DTYPE FAC_DT_F32
#include "kernels/cpu/eigh_body.h"
#define T double
#define INDEX int64_t
#define NAME(x) x##_f64
#define DTYPE FAC_DT_F64
#include "kernels/cpu/eigh_body.h"

static int64_t
eigh_place(Eigh *q, char *scratch)
{
    const int64_t n = q->n, panel = EIGH_PANEL * q->step, wide = 8 / q->size;
    char **const places[] = {&q->v, &q->pair, &q->minus, &q->d, &q->e, &q->tau, &q->numbers};
    const int64_t lengths[] = {n * q->step + panel, 2 * panel, 2 * panel, n, n, n, 2 * n * wide};
    const int64_t later[] = {(n + EIGH_BEHIND) * q->step * q->size,
                             3 * EIGH_PANEL * EIGH_PANEL * q->size,
                             FAC_TIERED(tridiagonal_scratch)(n, q->dtype, q->vectors)};
    int64_t total = 0, most = 0;
    scratch += -(uintptr_t)scratch % 64; /* whole vectors are loaded from whole lines */
    for (int i = 0; i < 7; i++) {
        *places[i] = scratch + total;
        total += (lengths[i] * q->size + 63) / 64 * 64;
    }
    for (int i = 0; i < 3; i++) most = later[i] > most ? later[i] : most;
    q->w = q->pair + panel * q->size;
    q->a = q->work = scratch + total;
    return total + most + 64;
}

static FacStatus
multiply(const Eigh *q, FacGemm g)
{
    g.dtype = q->dtype;
    if (!q->serial) return FAC_TIERED(gemm)(&g);
    FAC_TIERED(gemm_serial)(&g);
    return FAC_OK;
}

/* a -= v w^T + w v^T for the rows and columns from `first` on, with the panel that ends there: the upper
 * triangle, in blocks of rows. */
static FacStatus
update_rest(const Eigh *q, int64_t first)
{
    const int64_t n = q->n, panel = EIGH_PANEL * q->step, bytes = panel * q->size;
    const char *v = q->v + (first - EIGH_PANEL) * q->step * q->size;
    void (*negate)(const char *, int64_t, char *) = q->size == 4 ? negate_f32 : negate_f64;
    memcpy(q->pair, v, (size_t)bytes);
    negate(q->w, panel, q->minus);
    negate(v, panel, q->minus + bytes);
    for (int64_t i = first; i < n; i += EIGH_BLOCK)
        FAC_RETURN_IF_ERROR(multiply(q, (FacGemm){.m = n - i < EIGH_BLOCK ? n - i : EIGH_BLOCK,
                                                  .n = n - i,
                                                  .k = 2 * EIGH_PANEL,
                                                  .a = q->pair + i * q->size,
                                                  .a_row = 1,
                                                  .a_col = q->step,
                                                  .b = q->minus + i * q->size,
                                                  .b_row = q->step,
                                                  .b_col = 1,
                                                  .c = q->a + i * (q->step + 1) * q->size,
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
    const char *v = q->v + first * (q->step + 1) * q->size;
    char *gram = q->work, *factor = gram + k * k * q->size, *unused = factor + k * k * q->size;
    char *part = q->pair, *times = q->minus;
    if (k <= 0) return FAC_OK;
    FAC_RETURN_IF_ERROR(multiply(q, (FacGemm){.m = k,
                                              .n = k,
                                              .k = rest,
                                              .a = v,
                                              .a_row = q->step,
                                              .a_col = 1,
                                              .b = v,
                                              .b_row = 1,
                                              .b_col = q->step,
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
                                              .b_col = q->step,
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
                                 .b_row = q->step,
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
    (single ? take_f32 : take_f64)(&q, q.from + index * area, q.upper);
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
    if (!FAC_IS_COMPLEX(q.dtype) && w->numel && q.n <= SMALL_SPECTRUM)
        return FAC_TIERED(small_eigh)(call);
    if (FAC_IS_COMPLEX(q.dtype) || !w->numel ||
        (!fac_v_is_true(FAC_ARG(call, 2)) && q.n < EIGH_LEAST))
        return fac_k_eigh(call);
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
