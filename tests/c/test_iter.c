/* test_iter.c - the strided engine against element-by-element access.
 *
 * Random layouts (permuted, sliced, broadcast, of other dtypes) over random shapes go through
 * blocks, rows and copies; an independent walk over all indices says what must come out. Shapes
 * are chosen so that every way through the engine is taken: in place, long rows, short rows,
 * tiles. The casts are the few that these tests need.
 */
#include "check.h"

#include "base/pool.h"
#include "base/value.h"
#include "tensor/iter.h"

#include <stdlib.h>

/* --- casts ------------------------------------------------------------------------------------ */

#define CAST(name, from_type, to_type)                                                             \
    static void name(const void *from, void *to, int64_t n)                                        \
    {                                                                                              \
        const from_type *x = from;                                                                 \
        to_type *y = to;                                                                           \
        for (int64_t i = 0; i < n; i++) y[i] = (to_type)x[i];                                      \
    }
CAST(f32_f64, float, double)
CAST(f64_f32, double, float)
CAST(f32_i32, float, int32_t)
CAST(i32_f32, int32_t, float)
CAST(i32_f64, int32_t, double)
CAST(f64_i32, double, int32_t)

static void
start(void)
{
    fac_tensor_start();
    fac_casts[FAC_DT_F32][FAC_DT_F64] = f32_f64;
    fac_casts[FAC_DT_F64][FAC_DT_F32] = f64_f32;
    fac_casts[FAC_DT_F32][FAC_DT_I32] = f32_i32;
    fac_casts[FAC_DT_I32][FAC_DT_F32] = i32_f32;
    fac_casts[FAC_DT_I32][FAC_DT_F64] = i32_f64;
    fac_casts[FAC_DT_F64][FAC_DT_I32] = f64_i32;
}

/* --- random tensors --------------------------------------------------------------------------- */

static uint32_t seed = 1;

static int
below(int n)
{
    seed = seed * 1664525u + 1013904223u;
    return (int)((seed >> 8) % (uint32_t)n);
}

static void *
element(const FacTensor *t, const int64_t *index)
{
    int64_t at = t->offset;
    for (int d = 0; d < t->ndim; d++) at += index[d] * t->strides[d];
    return (char *)t->storage->data + at * fac_dtype_size((FacDType)t->dtype);
}

/* Of t broadcast to ndim dimensions. */
static double
value_at(const FacTensor *t, int ndim, const int64_t *index)
{
    int64_t own[FAC_MAX_NDIM];
    double c[2];
    for (int d = 0; d < t->ndim; d++) own[d] = t->sizes[d] == 1 ? 0 : index[d + ndim - t->ndim];
    return fac_v_as_float(fac_v_load((FacDType)t->dtype, element(t, own), c));
}

static bool
next_index(int ndim, const FacDim *sizes, int64_t *index)
{
    for (int d = ndim - 1; d >= 0; d--) {
        if (++index[d] < sizes[d]) return true;
        index[d] = 0;
    }
    return false;
}

/* A view of the given shape with its dimensions in any order in memory and gaps between elements;
 * where `spread`, sizes may be 1 or missing in front. Filled with small integers. */
static FacTensor *
random_tensor(FacDType dt, int ndim, const FacDim *shape, bool spread)
{
    FacDim sizes[FAC_MAX_NDIM], whole[FAC_MAX_NDIM], strides[FAC_MAX_NDIM];
    int perm[FAC_MAX_NDIM], skip = spread ? below(ndim + 1) * (below(3) == 0) : 0, n = ndim - skip;
    for (int d = 0; d < n; d++) {
        sizes[d] = spread && below(4) == 0 ? 1 : shape[d + skip];
        perm[d] = d;
    }
    for (int d = n - 1; d > 0 && below(2); d--) {
        int other = below(d + 1), keep = perm[d];
        perm[d] = perm[other];
        perm[other] = keep;
    }
    int64_t stride = below(4) ? 1 : 2, numel;
    for (int i = n - 1; i >= 0; i--) {
        strides[perm[i]] = stride;
        whole[perm[i]] = sizes[perm[i]] + (below(4) == 0);
        stride *= whole[perm[i]] ? whole[perm[i]] : 1;
    }
    FacTensor *memory = NULL, *view = NULL;
    numel = stride + 3;
    OK(fac_tensor_new(dt, FAC_CPU_DEVICE, 1, &numel, &memory));
    for (int64_t i = 0; i < numel; i++) fac_v_store(fac_v_int(below(100)), dt, element(memory, &i));
    OK(fac_tensor_view(memory, n, sizes, strides, below(3), &view));
    CHECK(!fac_tensor_check(view));
    fac_tensor_release(memory);
    return view;
}

static int
random_shape(FacDim *sizes)
{
    static const FacDim choice[] = {1, 2, 3, 3, 5, 8, 17, 40, 70, 130, 600};
    int ndim = below(5), numel = 1;
    for (int d = 0; d < ndim; d++) {
        sizes[d] = below(40) == 0 ? 0 : choice[below(11)];
        if (numel * sizes[d] > 200000) sizes[d] = 2;
        numel *= sizes[d] ? (int)sizes[d] : 1;
    }
    return ndim;
}

/* --- blocks ----------------------------------------------------------------------------------- */

static void
combine_f32(void *const *data, int64_t n, const void *params)
{
    float *out = data[0];
    const float *a = data[1], *b = data[2], *scale = params;
    for (int64_t i = 0; i < n; i++) out[i] = a[i] * *scale + b[i];
}

static FacDType
random_dtype(void)
{
    static const FacDType choice[] = {FAC_DT_F32, FAC_DT_F32, FAC_DT_F64, FAC_DT_I32};
    return choice[below(4)];
}

static void
check_combined(const FacTensor *out, const FacTensor *a, const FacTensor *b, double number)
{
    int64_t index[FAC_MAX_NDIM] = {0}, wrong = 0;
    if (out->numel == 0) return;
    do {
        double x = value_at(a, out->ndim, index);
        double y = b ? value_at(b, out->ndim, index) : number;
        wrong += value_at(out, out->ndim, index) != x * 3 + y;
    } while (next_index(out->ndim, out->sizes, index));
    CHECK(wrong == 0);
}

TEST(blocks_of_random_layouts)
{
    const float scale = 3;
    start();
    for (int round = 0; round < 600; round++) {
        FacDim sizes[FAC_MAX_NDIM];
        int ndim = random_shape(sizes);
        bool plain = below(4) == 0;
        FacTensor *out = random_tensor(plain ? FAC_DT_F32 : random_dtype(), ndim, sizes, false);
        FacTensor *a = random_tensor(plain ? FAC_DT_F32 : random_dtype(), ndim, sizes, true);
        FacTensor *b = below(4) ? random_tensor(random_dtype(), ndim, sizes, true) : NULL;
        FacValue operands[] = {fac_v_tensor(a), b ? fac_v_tensor(b) : fac_v_float(7)};
        FacIter it;
        OK(fac_iter_init(&it, 1, &out, 2, operands, FAC_DT_F32, FAC_DT_F32));
        CHECK(it.numel == out->numel);
        fac_iter_blocks(&it, combine_f32, &scale);
        check_combined(out, a, b, 7);
        fac_tensor_release(out);
        fac_tensor_release(a);
        fac_tensor_release(b);
    }
}

TEST(blocks_in_place)
{
    const float scale = 3;
    start();
    for (int round = 0; round < 200; round++) {
        FacDim sizes[FAC_MAX_NDIM];
        int ndim = random_shape(sizes);
        FacTensor *t = random_tensor(random_dtype(), ndim, sizes, false), *before;
        FacTensor *b = random_tensor(random_dtype(), ndim, sizes, true);
        OK(fac_tensor_new((FacDType)t->dtype, FAC_CPU_DEVICE, ndim, sizes, &before));
        OK(fac_tensor_copy(before, t));
        FacValue operands[] = {fac_v_tensor(t), fac_v_tensor(b)};
        FacIter it;
        OK(fac_iter_init(&it, 1, &t, 2, operands, FAC_DT_F32, FAC_DT_F32));
        fac_iter_blocks(&it, combine_f32, &scale);
        check_combined(t, before, b, 0);
        fac_tensor_release(before);
        fac_tensor_release(t);
        fac_tensor_release(b);
    }
}

TEST(contiguous_is_one_row)
{
    FacDim sizes[] = {3, 4, 5}, lower[] = {1, 5};
    FacTensor *a, *b, *row;
    FacIter it;
    start();
    OK(fac_tensor_from_data(NULL, FAC_DT_F32, 3, sizes, &a));
    OK(fac_tensor_from_data(NULL, FAC_DT_F32, 3, sizes, &b));
    OK(fac_tensor_from_data(NULL, FAC_DT_F32, 2, lower, &row));
    FacValue operands[] = {fac_v_tensor(b), fac_v_int(2)};
    OK(fac_iter_init(&it, 1, &a, 1, operands, FAC_DT_NONE, FAC_DT_NONE));
    CHECK(it.contiguous && it.ndim == 1 && it.sizes[0] == 60);
    OK(fac_iter_init(&it, 1, &a, 2, operands, FAC_DT_NONE, FAC_DT_F32));
    CHECK(!it.contiguous && it.ndim == 1 && it.operand[2].strides[0] == 0);
    CHECK(*(float *)it.operand[2].data == 2);
    operands[1] = fac_v_tensor(row);
    OK(fac_iter_init(&it, 1, &a, 2, operands, FAC_DT_NONE, FAC_DT_NONE));
    CHECK(!it.contiguous && it.ndim == 2 && it.sizes[0] == 5 && it.sizes[1] == 12);
    FAILS(FAC_RUNTIME_ERROR, "does not broadcast to shape [1, 5]",
          fac_iter_init(&it, 1, &row, 1, operands, FAC_DT_NONE, FAC_DT_NONE));
    operands[0] = fac_v_str("text");
    FAILS(FAC_TYPE_ERROR, "neither a tensor nor a number",
          fac_iter_init(&it, 1, &row, 1, operands, FAC_DT_NONE, FAC_DT_NONE));
    fac_tensor_release(a);
    fac_tensor_release(b);
    fac_tensor_release(row);
}

/* --- rows ------------------------------------------------------------------------------------- */

static void
sum_rows(char *const *data, const FacDim *strides, int64_t n, void *context)
{
    const int64_t *length = context;
    for (int64_t i = 0; i < n; i++) {
        const float *from = (const float *)(data[1] + i * strides[1]);
        float sum = 0;
        for (int64_t j = 0; j < *length; j++) sum += from[j];
        *(float *)(data[0] + i * strides[0]) = sum;
    }
}

TEST(rows_without_a_dimension)
{
    FacDim sizes[] = {7, 300, 11}, kept[] = {7, 300, 1};
    int64_t length = 11, index[3] = {0};
    FacTensor *tensors[2];
    FacIter it;
    start();
    OK(fac_tensor_new(FAC_DT_F32, FAC_CPU_DEVICE, 3, kept, &tensors[0]));
    OK(fac_tensor_new(FAC_DT_F32, FAC_CPU_DEVICE, 3, sizes, &tensors[1]));
    for (int64_t i = 0; i < tensors[1]->numel; i++)
        ((float *)fac_data(tensors[1]))[i] = (float)(i % 13);
    OK(fac_iter_init_skip(&it, 2, tensors, 3, sizes, 4));
    CHECK(it.numel == 2100 && it.ndim == 1);
    fac_iter_rows(&it, 64, sum_rows, &length);
    do {
        double sum = 0;
        for (index[2] = 0; index[2] < 11; index[2]++) sum += value_at(tensors[1], 3, index);
        index[2] = 0;
        CHECK(value_at(tensors[0], 3, index) == sum);
    } while (next_index(3, kept, index));
    fac_tensor_release(tensors[0]);
    fac_tensor_release(tensors[1]);
}

/* --- copies ----------------------------------------------------------------------------------- */

static void
check_copied(const FacTensor *to, const FacTensor *from)
{
    int64_t index[FAC_MAX_NDIM] = {0}, wrong = 0;
    if (to->numel == 0) return;
    do {
        wrong += value_at(to, to->ndim, index) != value_at(from, to->ndim, index);
    } while (next_index(to->ndim, to->sizes, index));
    CHECK(wrong == 0);
}

TEST(copies_of_random_layouts)
{
    static const FacDType sized[] = {FAC_DT_U8, FAC_DT_I16, FAC_DT_F32, FAC_DT_F64, FAC_DT_C128};
    start();
    for (int round = 0; round < 600; round++) {
        FacDim sizes[FAC_MAX_NDIM];
        int ndim = random_shape(sizes);
        FacDType dt = sized[below(5)];
        bool cast = below(2);
        FacTensor *to = random_tensor(cast ? random_dtype() : dt, ndim, sizes, false), *plain;
        FacTensor *from = random_tensor(cast ? random_dtype() : dt, ndim, sizes, true);
        OK(fac_tensor_copy(to, from));
        check_copied(to, from);
        OK(fac_contiguous(from, FAC_DT_NONE, &plain));
        CHECK(plain->contiguous && !fac_tensor_check(plain));
        CHECK((plain == from) == from->contiguous);
        check_copied(plain, from);
        fac_tensor_release(plain);
        fac_tensor_release(to);
        fac_tensor_release(from);
    }
}

TEST(lazy_bits_of_copies)
{
    FacDim size = 700;
    FacTensor *t, *view, *plain;
    FacValue v;
    double c[2];
    start();
    OK(fac_tensor_new(FAC_DT_C64, FAC_CPU_DEVICE, 1, &size, &t));
    for (int i = 0; i < 1400; i++) ((float *)fac_data(t))[i] = (float)i;
    OK(fac_tensor_alias(t, &view));
    for (int bits = 0; bits < 4; bits++) {
        view->flags = (uint8_t)((bits & 1 ? FAC_T_CONJ : 0) | (bits & 2 ? FAC_T_NEG : 0));
        view->keys = bits ? FAC_KEY(LAZY) : 0;
        CHECK(!fac_tensor_check(view));
        OK(fac_contiguous(view, FAC_DT_NONE, &plain));
        const float *x = fac_data(plain);
        float re = bits & 2 ? -1 : 1, im = bits & 1 ? -re : re;
        for (int i = 0; i < 700; i++)
            CHECK(x[2 * i] == re * (float)(2 * i) && x[2 * i + 1] == im * (float)(2 * i + 1));
        /* back through the lazy view: its memory is what it was */
        OK(fac_tensor_copy(view, plain));
        for (int i = 0; i < 1400; i++) CHECK(((float *)fac_data(t))[i] == (float)i);
        fac_tensor_release(plain);
    }
    fac_tensor_release(view);
    OK(fac_tensor_view(t, 0, NULL, NULL, 5, &view));
    view->flags |= FAC_T_CONJ;
    OK(fac_tensor_item(view, c, &v));
    CHECK(v.tag == FAC_V_COMPLEX && c[0] == 10 && c[1] == -11);
    FAILS(FAC_RUNTIME_ERROR, "a Tensor with 700 elements cannot be converted",
          fac_tensor_item(t, c, &v));
    fac_tensor_release(view);
    fac_tensor_release(t);
}

TEST(copies_and_meta)
{
    FacDim sizes[] = {2, 3};
    FacTensor *meta, *plain;
    FacValue v;
    double c[2];
    start();
    OK(fac_tensor_new(FAC_DT_F32, fac_device(FAC_DEV_META, -1), 2, sizes, &meta));
    OK(fac_tensor_from_data(NULL, FAC_DT_F32, 2, sizes, &plain));
    OK(fac_tensor_copy(meta, plain));
    FAILS(FAC_NOT_IMPLEMENTED, "meta", fac_tensor_copy(plain, meta));
    fac_tensor_release(meta);
    OK(fac_tensor_new(FAC_DT_F32, fac_device(FAC_DEV_META, -1), 0, NULL, &meta));
    FAILS(FAC_RUNTIME_ERROR, "meta tensors", fac_tensor_item(meta, c, &v));
    fac_tensor_release(meta);
    fac_tensor_release(plain);
}

/* --- threads ---------------------------------------------------------------------------------- */

TEST(same_bits_for_any_number_of_threads)
{
    FacDim sizes[] = {613, 409};
    const float scale = 1.25f;
    FacTensor *a, *b, *out[2];
    int threads = fac_num_threads();
    start();
    a = random_tensor(FAC_DT_F32, 2, sizes, false);
    b = random_tensor(FAC_DT_I32, 2, sizes, true);
    for (int i = 0; i < 2; i++) {
        FacValue operands[] = {fac_v_tensor(a), fac_v_tensor(b)};
        FacIter it;
        OK(fac_set_num_threads(i ? 4 : 1));
        OK(fac_tensor_new(FAC_DT_F32, FAC_CPU_DEVICE, 2, sizes, &out[i]));
        OK(fac_iter_init(&it, 1, &out[i], 2, operands, FAC_DT_F32, FAC_DT_F32));
        fac_iter_blocks(&it, combine_f32, &scale);
    }
    CHECK(memcmp(fac_data(out[0]), fac_data(out[1]), fac_nbytes(out[0])) == 0);
    OK(fac_set_num_threads(threads));
    fac_tensor_release(a);
    fac_tensor_release(b);
    fac_tensor_release(out[0]);
    fac_tensor_release(out[1]);
}

RUN_TESTS(CASE(blocks_of_random_layouts), CASE(blocks_in_place), CASE(contiguous_is_one_row),
          CASE(rows_without_a_dimension), CASE(copies_of_random_layouts), CASE(lazy_bits_of_copies),
          CASE(copies_and_meta), CASE(same_bits_for_any_number_of_threads))
