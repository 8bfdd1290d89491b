/* sort.c - sort, topk, unique, searchsorted, bincount.
 *
 * The bodies for each type are in sort_body.h, sorting by digits in radix.h. Half types sort as
 * float32, bool as uint8, the rare uint16 and uint32 as wider integers: exact both ways.
 */
#include "kernels/cpu/radix.h"

#include <stdatomic.h>

typedef enum How { SORT, SORT_STABLE, SELECT, SELECT_SORTED } How;

/* Rows along one dimension of contiguous tensors: element i of a row is `stride` further. */
typedef struct Rows {
    const void *from;
    void *values;
    int64_t *indices;
    int64_t n, k, stride; /* stride: product of the sizes behind the dimension */
    How how;
    bool digits; /* long rows by radix.h */
    bool descending;
    _Atomic bool *failed;
} Rows;

static inline int64_t
row_start(const Rows *r, int64_t row)
{
    return row / r->stride * (r->n * r->stride) + row % r->stride;
}

static inline int64_t
result_start(const Rows *r, int64_t row)
{
    return row / r->stride * (r->k * r->stride) + row % r->stride;
}

typedef struct Search {
    const void *sequence, *values;
    const int64_t *order;
    int64_t *out;
    int64_t n, per_row; /* length of a sequence; values that look into the same one */
    bool right, shared;
} Search;

#define LESS(a, b) ((a) < (b))
#define T uint8_t
#define NAME(x) u8_##x
#define KEY(x) (x)
#include "kernels/cpu/sort_body.h"
#undef T
#undef KEY
#undef NAME
#define T int8_t
#define NAME(x) i8_##x
#define KEY(x) ((uint8_t)(x) ^ 0x80u)
#include "kernels/cpu/sort_body.h"
#undef T
#undef KEY
#undef NAME
#define T int16_t
#define NAME(x) i16_##x
#define KEY(x) ((uint16_t)(x) ^ 0x8000u)
#include "kernels/cpu/sort_body.h"
#undef T
#undef KEY
#undef NAME
#define T int32_t
#define NAME(x) i32_##x
#define KEY(x) ((uint32_t)(x) ^ 0x80000000u)
#include "kernels/cpu/sort_body.h"
#undef T
#undef KEY
#undef NAME
#define T uint64_t
#define NAME(x) u64_##x
#define KEY(x) (x)
#include "kernels/cpu/sort_body.h"
#undef T
#undef KEY
#undef NAME
#define T int64_t
#define NAME(x) i64_##x
#define KEY(x) ((uint64_t)(x) ^ UINT64_C(1) << 63)
#include "kernels/cpu/sort_body.h"
#undef T
#undef KEY
#undef NAME
#undef LESS
#define LESS(a, b) ((a) < (b) || ((b) != (b) && (a) == (a)))
#define T float
#define NAME(x) f32_##x
#define KEY(x) radix_key_f32(x)
#include "kernels/cpu/sort_body.h"
#undef T
#undef KEY
#undef NAME
#define T double
#define NAME(x) f64_##x
#define KEY(x) radix_key_f64(x)
#include "kernels/cpu/sort_body.h"
#undef T
#undef KEY
#undef NAME
#undef LESS

typedef struct Bodies {
    FacBody rows, search;
} Bodies;

/* The dtype to work in: one that keeps the order and every value. */
static FacDType
working_dtype(FacDType dtype)
{
    switch (dtype) {
    case FAC_DT_U16: return FAC_DT_I32;
    case FAC_DT_U32: return FAC_DT_I64;
    default: return FAC_IS_FLOAT(dtype) && dtype != FAC_DT_F64 ? FAC_DT_F32 : dtype;
    }
}

static Bodies
bodies_of(FacDType dtype)
{
    switch (dtype) {
    case FAC_DT_BOOL:
    case FAC_DT_U8: return (Bodies){u8_sort_rows, u8_search};
    case FAC_DT_I8: return (Bodies){i8_sort_rows, i8_search};
    case FAC_DT_I16: return (Bodies){i16_sort_rows, i16_search};
    case FAC_DT_I32: return (Bodies){i32_sort_rows, i32_search};
    case FAC_DT_U64: return (Bodies){u64_sort_rows, u64_search};
    case FAC_DT_I64: return (Bodies){i64_sort_rows, i64_search};
    case FAC_DT_F64: return (Bodies){f64_sort_rows, f64_search};
    default: return (Bodies){f32_sort_rows, f32_search};
    }
}

/* --- sort and topk ---------------------------------------------------------------------------------------- */

static FacStatus
sort_along(FacTensor *self, int64_t dim, int64_t k, bool descending, How how, FacTensor *values,
           FacTensor *indices)
{
    FacDType dtype = working_dtype((FacDType)self->dtype);
    FacTensor *plain = NULL, *wide = NULL;
    FacStatus st = FAC_OK;
    _Atomic bool failed = false;
    int d;
    if (!values->numel) return FAC_OK;
    FAC_TRY(fac_wrap_dim(dim, self->ndim, &d));
    FAC_TRY(fac_contiguous(self, dtype, &plain));
    if (values->dtype == dtype)
        wide = fac_tensor_retain(values);
    else
        FAC_TRY(fac_tensor_new(dtype, values->device, values->ndim, values->sizes, &wide));
    Rows rows = {.from = fac_data(plain),
                 .values = fac_data(wide),
                 .indices = fac_data(indices),
                 .n = self->ndim ? self->sizes[d] : 1,
                 .k = self->ndim ? k : 1,
                 .stride = 1,
                 .descending = descending,
                 .how = how,
                 .digits = how == SORT_STABLE ||
                           (how == SORT && fac_dtype_size((FacDType)self->dtype) > 2),
                 .failed = &failed};
    for (int i = d + 1; i < self->ndim; i++) rows.stride *= self->sizes[i];
    int64_t grain = fac_grain(16) / (rows.n + 1);
    fac_parallel(self->numel / rows.n, grain < 1 ? 1 : grain, bodies_of(dtype).rows, &rows);
    if (atomic_load(&failed))
        FAC_FAIL(FAC_MEMORY_ERROR, "no memory to sort rows of %lld elements", (long long)rows.n);
    if (wide != values) FAC_TRY(fac_tensor_copy(values, wide));
done:
    fac_tensor_release(plain);
    fac_tensor_release(wide);
    return st;
}

static FacStatus
sort_whole(FacCall *call, int dim_at, How how)
{
    FacTensor *self = fac_arg_tensor(call, 0);
    int64_t dim = call->args[dim_at].v.i;
    int d;
    FAC_RETURN_IF_ERROR(fac_wrap_dim(dim, self->ndim, &d));
    return sort_along(self, d, self->ndim ? self->sizes[d] : 1, call->args[dim_at + 1].v.b, how,
                      fac_result_tensor(call, 0), fac_result_tensor(call, 1));
}

FacStatus
FAC_KERNEL(sort)(FacCall *call)
{
    return sort_whole(call, 1, SORT);
}

FacStatus
FAC_KERNEL(sort_stable)(FacCall *call)
{
    FacValue stable = call->args[1];
    return sort_whole(call, 2, stable.tag == FAC_V_BOOL && stable.v.b ? SORT_STABLE : SORT);
}

FacStatus
FAC_KERNEL(topk)(FacCall *call)
{
    How how = call->args[4].v.b ? SELECT_SORTED : SELECT;
    return sort_along(fac_arg_tensor(call, 0), call->args[2].v.i, call->args[1].v.i,
                      call->args[3].v.b, how, fac_result_tensor(call, 0),
                      fac_result_tensor(call, 1));
}

/* --- unique --------------------------------------------------------------------------------------------------- */

/* Elements first[0], first[1], ... of `size` bytes. */
static void
pick(char *to, const char *from, size_t size, const int64_t *first, int64_t n)
{
#define PICK(type)                                                                                 \
    for (int64_t g = 0; g < n; g++) ((type *)to)[g] = ((const type *)from)[first[g]]
    switch (size) {
    case 1: PICK(uint8_t); break;
    case 2: PICK(uint16_t); break;
    case 4: PICK(uint32_t); break;
    default: PICK(uint64_t);
    }
#undef PICK
}

/* The three results of unique from the groups that equal elements (or slices) form. `group[i]` is that of
 * element i, `first[g]` an element of group g. Slices have `width` elements. */
static FacStatus
unique_results(FacCall *call, FacTensor *self, int dim, int64_t n, int64_t groups,
               const int64_t *group, const int64_t *first, bool inverse, bool counts)
{
    FacDim sizes[FAC_MAX_NDIM] = {groups};
    int ndim = 1;
    FacTensor *from = NULL, *out;
    FacStatus st = FAC_OK;
    if (dim >= 0) {
        ndim = self->ndim;
        memcpy(sizes, self->sizes, (size_t)ndim * sizeof *sizes);
        sizes[dim] = groups;
    }
    FAC_TRY(fac_out(call, 0, (FacDType)self->dtype, self->device, ndim, sizes));
    out = fac_result_tensor(call, 0);
    FAC_TRY(fac_contiguous(self, (FacDType)self->dtype, &from));
    size_t size = (size_t)fac_dtype_size((FacDType)self->dtype);
    int64_t outer = 1, inner = 1;
    for (int i = 0; dim >= 0 && i < dim; i++) outer *= self->sizes[i];
    for (int i = dim + 1; dim >= 0 && i < self->ndim; i++) inner *= self->sizes[i];
    if (outer == 1 && inner == 1) pick(fac_data(out), fac_data(from), size, first, groups);
    for (int64_t o = 0; (outer > 1 || inner > 1) && o < outer && out->numel; o++)
        for (int64_t g = 0; g < groups; g++)
            memcpy((char *)fac_data(out) + (size_t)((o * groups + g) * inner) * size,
                   (const char *)fac_data(from) + (size_t)((o * n + first[g]) * inner) * size,
                   (size_t)inner * size);
    if (inverse) {
        FacDim along = n;
        if (dim >= 0)
            FAC_TRY(fac_out(call, 1, FAC_DT_I64, self->device, 1, &along));
        else
            FAC_TRY(fac_out(call, 1, FAC_DT_I64, self->device, self->ndim, self->sizes));
        if (n) memcpy(fac_data(fac_result_tensor(call, 1)), group, (size_t)n * sizeof *group);
    } else {
        FAC_TRY(fac_out(call, 1, FAC_DT_I64, self->device, 1, (FacDim[]){0}));
    }
    FAC_TRY(fac_out(call, 2, FAC_DT_I64, self->device, 1, (FacDim[]){counts ? groups : 0}));
    if (counts && groups) {
        int64_t *count = fac_data(fac_result_tensor(call, 2));
        memset(count, 0, (size_t)groups * sizeof *count);
        for (int64_t i = 0; i < n; i++) count[group[i]]++;
    }
done:
    fac_tensor_release(from);
    return st;
}

/* Groups of equal neighbours in `order` (NULL: as they lie). Returns how many. */
static int64_t
group_neighbours(const int64_t *order, int64_t n, bool (*equal)(const void *, int64_t, int64_t),
                 const void *context, int64_t *group, int64_t *first)
{
    int64_t groups = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t at = order ? order[i] : i, last = i ? (order ? order[i - 1] : i - 1) : 0;
        if (!i || !equal(context, last, at)) first[groups++] = at;
        group[at] = groups - 1;
    }
    return groups;
}

/* The same for elements that are known: value i is element order[i], or i where order is NULL. group
 * may be NULL. */
static int64_t
group_sorted(FacDType dtype, const void *values, const int64_t *order, int64_t n, int64_t *group,
             int64_t *first)
{
    int64_t groups = 0;
#define GROUP(suffix, type)                                                                        \
    case FAC_DT_##suffix: {                                                                        \
        const type *v = values;                                                                    \
        for (int64_t i = 0; !order && i < n; i++) {                                                \
            first[groups] = i;                                                                     \
            groups += i == 0 || !(v[i] == v[i - 1]);                                               \
            if (group) group[i] = groups - 1;                                                      \
        }                                                                                          \
        for (int64_t i = 0; order && i < n; i++) {                                                 \
            if (i == 0 || !(v[i] == v[i - 1])) first[groups++] = order[i];                         \
            if (group) group[order[i]] = groups - 1;                                               \
        }                                                                                          \
        break;                                                                                     \
    }
    switch (dtype) {
        FAC_REAL_TYPES(GROUP)
        GROUP(BOOL, uint8_t)
    default: break;
    }
#undef GROUP
    return groups;
}

/* The same for integers whose range is below 2 n, which are counted and not sorted; -1 for others. The
 * table has room for 2 n numbers. */
static int64_t
group_counted(FacDType dtype, const void *values, int64_t n, int64_t *table, int64_t *group,
              int64_t *first)
{
    int64_t groups = 0;
#define GROUP(suffix, type)                                                                        \
    case FAC_DT_##suffix: {                                                                        \
        const type *v = values;                                                                    \
        type least = v[0], most = v[0];                                                            \
        for (int64_t i = 1; i < n; i++) {                                                          \
            least = v[i] < least ? v[i] : least;                                                   \
            most = v[i] > most ? v[i] : most;                                                      \
        }                                                                                          \
        const uint64_t from = (uint64_t)least, range = (uint64_t)most - from;                      \
        if (range >= 2 * (uint64_t)n) return -1;                                                   \
        for (uint64_t k = 0; k <= range; k++) table[k] = -1;                                       \
        for (int64_t i = 0; i < n; i++) table[(uint64_t)v[i] - from] = i;                          \
        for (uint64_t k = 0; k <= range; k++) {                                                    \
            if (table[k] < 0) continue;                                                            \
            first[groups] = table[k];                                                              \
            table[k] = groups++;                                                                   \
        }                                                                                          \
        for (int64_t i = 0; group && i < n; i++) group[i] = table[(uint64_t)v[i] - from];          \
        return groups;                                                                             \
    }
    switch (dtype) {
        FAC_INT_TYPES(GROUP)
    default: return -1;
    }
#undef GROUP
}

/* Slices along a dimension of a contiguous tensor. */
typedef struct Slices {
    const char *data;
    FacDType dtype;
    int64_t n, outer, inner;
} Slices;

static int
compare_elements(FacDType dtype, const void *a, const void *b)
{
#define COMPARE(suffix, type)                                                                      \
    case FAC_DT_##suffix: {                                                                        \
        type x = *(const type *)a, y = *(const type *)b;                                           \
        return x < y ? -1 : x > y ? 1 : x == y ? 0 : x == x ? -1 : y == y ? 1 : -1;                \
    }
    switch (dtype) {
        FAC_REAL_TYPES(COMPARE)
    default: {
        uint8_t x = *(const uint8_t *)a, y = *(const uint8_t *)b;
        return x < y ? -1 : x > y;
    }
    }
#undef COMPARE
}

static int
compare_slices(const Slices *s, int64_t a, int64_t b)
{
    size_t size = (size_t)fac_dtype_size(s->dtype);
    for (int64_t o = 0; o < s->outer; o++)
        for (int64_t i = 0; i < s->inner; i++) {
            int order =
                compare_elements(s->dtype, s->data + (size_t)((o * s->n + a) * s->inner + i) * size,
                                 s->data + (size_t)((o * s->n + b) * s->inner + i) * size);
            if (order) return order;
        }
    return 0;
}

static bool
equal_slices(const void *context, int64_t a, int64_t b)
{
    return compare_slices(context, a, b) == 0;
}

/* Stable merge sort of indices by slices. */
static void
sort_slices(const Slices *s, int64_t *order, int64_t *spare, int64_t n)
{
    if (n < 2) return;
    int64_t half = n / 2, a = 0, b = half;
    sort_slices(s, order, spare, half);
    sort_slices(s, order + half, spare, n - half);
    for (int64_t i = 0; i < n; i++)
        spare[i] = b < n && (a >= half || compare_slices(s, order[b], order[a]) < 0) ? order[b++]
                                                                                     : order[a++];
    memcpy(order, spare, (size_t)n * sizeof *order);
}

static FacStatus
check_order(const FacTensor *t)
{
    if (FAC_IS_COMPLEX(t->dtype))
        return fac_error(FAC_NOT_IMPLEMENTED, "\"unique\" not implemented for '%s'",
                         fac_dtype_info[t->dtype].legacy);
    return FAC_OK;
}

/* dim < 0: over all elements. `ordered`: sort first. */
static FacStatus
unique(FacCall *call, int dim, bool ordered, bool inverse, bool counts)
{
    FacTensor *self = fac_arg_tensor(call, 0), *plain = NULL;
    FacDType dtype = working_dtype((FacDType)self->dtype);
    FacTensor *scratch = NULL;
    int64_t n = dim >= 0 ? self->sizes[dim] : self->numel, groups = 0, counted = -1;
    FacStatus st = FAC_OK;
    Slices s = {.dtype = dtype, .n = n, .outer = 1, .inner = 1};
    FAC_TRY(check_order(self));
    FAC_TRY(fac_contiguous(self, dtype, &plain));
    s.data = fac_data(plain);
    for (int i = 0; dim >= 0 && i < dim; i++) s.outer *= self->sizes[i];
    for (int i = dim + 1; dim >= 0 && i < self->ndim; i++) s.inner *= self->sizes[i];
    if (dim >= 0 && n && !self->numel)
        FAC_FAIL(
            FAC_RUNTIME_ERROR,
            "There are 0 sized dimensions, and they aren't selected, so unique cannot be applied");
    FAC_TRY(fac_tensor_new(FAC_DT_I64, FAC_CPU_DEVICE, 1, (FacDim[]){4 * n}, &scratch));
    int64_t *memory = fac_data(scratch);
    int64_t *order = memory, *spare = order + n, *group = spare + n, *first = group + n;
    if (ordered && dim < 0 && n)
        counted = group_counted(dtype, s.data, n, order, inverse || counts ? group : NULL, first);
    if (counted >= 0) {
        groups = counted;
    } else if (ordered && dim < 0 && n) { /* along one row: the sort of sort() */
        FacTensor *values = NULL, *indices = NULL, *row = NULL;
        st = fac_tensor_view(plain, 1, &n, (FacDim[]){1}, plain->offset, &row);
        if (st == FAC_OK) st = fac_tensor_new(dtype, self->device, 1, &n, &values);
        if (st == FAC_OK) st = fac_tensor_new(FAC_DT_I64, self->device, 1, &n, &indices);
        if (st == FAC_OK) st = sort_along(row, 0, n, false, SORT_STABLE, values, indices);
        if (st == FAC_OK)
            groups = group_sorted(dtype, fac_data(values), fac_data(indices), n,
                                  inverse || counts ? group : NULL, first);
        fac_tensor_release(row);
        fac_tensor_release(values);
        fac_tensor_release(indices);
        if (st != FAC_OK) goto done;
    } else if (dim < 0) {
        groups = group_sorted(dtype, s.data, NULL, n, inverse || counts ? group : NULL, first);
    } else {
        for (int64_t i = 0; i < n; i++) order[i] = i;
        if (ordered) sort_slices(&s, order, spare, n);
        groups = group_neighbours(order, n, equal_slices, &s, group, first);
    }
    FAC_TRY(unique_results(call, self, dim, n, groups, group, first, inverse, counts));
done:
    fac_tensor_release(plain);
    fac_tensor_release(scratch);
    return st;
}

FacStatus
FAC_KERNEL(unique)(FacCall *call)
{
    return unique(call, -1, true, call->args[2].v.b, call->args[3].v.b);
}

FacStatus
FAC_KERNEL(unique_dim)(FacCall *call)
{
    FacTensor *self = fac_arg_tensor(call, 0);
    int dim;
    FAC_RETURN_IF_ERROR(fac_wrap_dim(call->args[1].v.i, self->ndim, &dim));
    return unique(call, self->ndim ? dim : -1, true, call->args[3].v.b, call->args[4].v.b);
}

FacStatus
FAC_KERNEL(unique_consecutive)(FacCall *call)
{
    FacTensor *self = fac_arg_tensor(call, 0);
    int dim = -1;
    if (call->args[3].tag != FAC_V_NONE)
        FAC_RETURN_IF_ERROR(fac_wrap_dim(call->args[3].v.i, self->ndim, &dim));
    return unique(call, self->ndim ? dim : -1, false, call->args[1].v.b, call->args[2].v.b);
}

/* --- searching --------------------------------------------------------------------------------------------------- */

static FacStatus
search(FacCall *call, FacTensor *values)
{
    FacTensor *sequence = fac_arg_tensor(call, 0), *sorter = fac_arg_tensor(call, 5),
              *out = fac_result_tensor(call, 0);
    FacTensor *plain = NULL, *wanted = NULL, *order = NULL, *wide = NULL;
    FacDType dtype = working_dtype((FacDType)sequence->dtype);
    FacValue side = call->args[4];
    FacStatus st = FAC_OK;
    if (!values->numel) return FAC_OK;
    FAC_TRY(fac_contiguous(sequence, dtype, &plain));
    FAC_TRY(fac_contiguous(values, dtype, &wanted));
    if (sorter) FAC_TRY(fac_contiguous(sorter, FAC_DT_I64, &order));
    if (out->dtype == FAC_DT_I64)
        wide = fac_tensor_retain(out);
    else
        FAC_TRY(fac_tensor_new(FAC_DT_I64, out->device, out->ndim, out->sizes, &wide));
    Search s = {.sequence = fac_data(plain),
                .values = fac_data(wanted),
                .order = order ? fac_data(order) : NULL,
                .out = fac_data(wide),
                .n = sequence->sizes[sequence->ndim - 1],
                .per_row = values->ndim ? values->sizes[values->ndim - 1] : 1,
                .shared = sequence->ndim == 1,
                .right = side.tag == FAC_V_STR ? side.v.s[0] == 'r' : call->args[3].v.b};
    for (int64_t i = 0; order && i < order->numel; i++)
        if (s.order[i] < 0 || s.order[i] >= s.n)
            FAC_FAIL(FAC_RUNTIME_ERROR, "sorter index out of range");
    fac_parallel(values->numel, fac_grain(32), bodies_of(dtype).search, &s);
    if (wide != out) FAC_TRY(fac_tensor_copy(out, wide));
done:
    fac_tensor_release(plain);
    fac_tensor_release(wanted);
    fac_tensor_release(order);
    fac_tensor_release(wide);
    return st;
}

FacStatus
FAC_KERNEL(searchsorted)(FacCall *call)
{
    return search(call, fac_arg_tensor(call, 1));
}

FacStatus
FAC_KERNEL(searchsorted_number)(FacCall *call)
{
    FacTensor *value = NULL;
    FAC_RETURN_IF_ERROR(
        fac_tensor_from_number(call->args[1], (FacDType)fac_arg_tensor(call, 0)->dtype, &value));
    FacStatus st = search(call, value);
    fac_tensor_release(value);
    return st;
}

/* --- counting ------------------------------------------------------------------------------------------------------- */

FacStatus
FAC_KERNEL(bincount)(FacCall *call)
{
    FacTensor *self = fac_arg_tensor(call, 0), *weights = fac_arg_tensor(call, 1), *plain = NULL,
              *scale = NULL;
    int64_t bins = call->args[2].v.i;
    FacDType dtype = !weights ? FAC_DT_I64 : weights->dtype == FAC_DT_F32 ? FAC_DT_F32 : FAC_DT_F64;
    FacStatus st = FAC_OK;
    if (bins < 0) FAC_FAIL(FAC_RUNTIME_ERROR, "minlength should be >= 0");
    if (self->ndim != 1 || FAC_IS_FLOAT(self->dtype) || FAC_IS_COMPLEX(self->dtype) ||
        self->dtype == FAC_DT_BOOL)
        FAC_FAIL(FAC_RUNTIME_ERROR, "bincount only supports 1-d non-negative integral inputs.");
    if (weights && (weights->ndim != 1 || weights->numel != self->numel))
        FAC_FAIL(FAC_RUNTIME_ERROR, "weights should be 1-d and have the same length as input");
    FAC_TRY(fac_contiguous(self, FAC_DT_I64, &plain));
    const int64_t *at = fac_data(plain);
    for (int64_t i = 0; i < self->numel; i++) {
        if (at[i] < 0)
            FAC_FAIL(FAC_RUNTIME_ERROR, "bincount only supports 1-d non-negative integral inputs.");
        if (at[i] == INT64_MAX)
            FAC_FAIL(FAC_MEMORY_ERROR, "a bin for each number up to %lld is too many",
                     (long long)INT64_MAX);
        if (at[i] >= bins) bins = at[i] + 1;
    }
    FAC_TRY(fac_out(call, 0, dtype, self->device, 1, &bins));
    FacTensor *out = fac_result_tensor(call, 0);
    if (bins) memset(fac_data(out), 0, fac_nbytes(out));
    if (weights) FAC_TRY(fac_contiguous(weights, dtype, &scale));
    for (int64_t i = 0; i < self->numel; i++) {
        if (dtype == FAC_DT_I64)
            ((int64_t *)fac_data(out))[at[i]]++;
        else if (dtype == FAC_DT_F32)
            ((float *)fac_data(out))[at[i]] += ((float *)fac_data(scale))[i];
        else
            ((double *)fac_data(out))[at[i]] += ((double *)fac_data(scale))[i];
    }
done:
    fac_tensor_release(plain);
    fac_tensor_release(scale);
    return st;
}
