/* test_tensor.c - layouts, storages, tensors, generators and DLPack.
 *
 * Layout rules are checked on cases whose answers are known by hand, texts of errors against the
 * peer's, random numbers against values that the peer drew. Each way to make a tensor also runs
 * with every one of its allocations failing.
 */
#include "check.h"

#include "base/value.h"
#include "tensor/dlpack.h"
#include "tensor/iter.h"
#include "tensor/layout.h"
#include "tensor/random.h"
#include "tensor/tensor.h"

#include <math.h>

#define DIMS(...) ((FacDim[]){__VA_ARGS__})
#define META fac_device(FAC_DEV_META, -1)

static bool
dims_equal(int n, const FacDim *a, const FacDim *b)
{
    return memcmp(a, b, (size_t)n * sizeof *a) == 0;
}

/* --- layout ----------------------------------------------------------------------------------- */

TEST(products)
{
    int64_t numel;
    OK(fac_sizes_numel(0, NULL, &numel));
    CHECK(numel == 1);
    OK(fac_sizes_numel(3, DIMS(2, 0, 3), &numel));
    CHECK(numel == 0);
    FAILS(FAC_RUNTIME_ERROR, "negative dimension -2: [-2, 3]",
          fac_sizes_numel(2, DIMS(-2, 3), &numel));
    FAILS(FAC_RUNTIME_ERROR, "overflowed with sizes=[1099511627776, 1099511627776]",
          fac_sizes_numel(2, DIMS(INT64_C(1) << 40, INT64_C(1) << 40), &numel));
    FAILS(FAC_RUNTIME_ERROR, "overflowed",
          fac_sizes_numel(3, DIMS(INT64_C(1) << 40, 0, INT64_C(1) << 40), &numel));
}

TEST(orders_in_memory)
{
    FacDim out[5];
    CHECK(fac_is_contiguous(3, DIMS(2, 1, 3), DIMS(3, 77, 1)));
    CHECK(fac_is_contiguous(2, DIMS(0, 3), DIMS(5, 7)));
    CHECK(!fac_is_contiguous(2, DIMS(2, 3), DIMS(1, 2)));
    CHECK(fac_is_dense(2, DIMS(2, 3), DIMS(1, 2)));
    CHECK(!fac_is_dense(2, DIMS(2, 3), DIMS(6, 2)));
    fac_strides_like(3, DIMS(2, 3, 4), DIMS(1, 2, 6), out);
    CHECK(dims_equal(3, out, DIMS(1, 2, 6)));
    fac_strides_like(3, DIMS(2, 3, 4), DIMS(0, 1, 3), out);
    CHECK(dims_equal(3, out, DIMS(12, 1, 3)));
    fac_strides_format(FAC_CHANNELS_LAST, 4, DIMS(2, 3, 4, 5), out);
    CHECK(dims_equal(4, out, DIMS(60, 1, 15, 3)));
    CHECK(fac_is_format(FAC_CHANNELS_LAST, 4, DIMS(2, 3, 4, 5), out));
    CHECK(fac_format_of(4, DIMS(2, 3, 4, 5), out) == FAC_CHANNELS_LAST);
    CHECK(fac_format_of(4, DIMS(2, 3, 4, 5), DIMS(60, 20, 5, 1)) == FAC_CONTIGUOUS);
    fac_strides_format(FAC_CHANNELS_LAST_3D, 5, DIMS(2, 3, 4, 5, 6), out);
    CHECK(dims_equal(5, out, DIMS(360, 1, 90, 18, 3)));
}

TEST(overlaps)
{
    CHECK(fac_repeats_elements(2, DIMS(2, 3), DIMS(0, 1)));
    CHECK(!fac_repeats_elements(2, DIMS(1, 3), DIMS(0, 1)));
    CHECK(!fac_repeats_elements(2, DIMS(0, 3), DIMS(1, 0)));
    CHECK(fac_may_overlap_itself(2, DIMS(5, 3), DIMS(1, 1)));
    CHECK(!fac_may_overlap_itself(2, DIMS(5, 3), DIMS(-3, 1)));
}

TEST(dimensions)
{
    int dim;
    uint64_t mask;
    OK(fac_wrap_dim(-1, 0, &dim));
    CHECK(dim == 0);
    OK(fac_wrap_dim(-2, 3, &dim));
    CHECK(dim == 1);
    FAILS(FAC_INDEX_ERROR, "Dimension out of range (expected to be in range of [-2, 1], but got 5)",
          fac_wrap_dim(5, 2, &dim));
    OK(fac_wrap_dims(DIMS(0, -1), 2, 3, true, &mask));
    CHECK(mask == 5);
    OK(fac_wrap_dims(NULL, 0, 64, true, &mask));
    CHECK(mask == ~UINT64_C(0));
    OK(fac_wrap_dims(NULL, 0, 3, false, &mask));
    CHECK(mask == 0);
    FAILS(FAC_RUNTIME_ERROR, "dim 1 appears multiple times",
          fac_wrap_dims(DIMS(1, -1), 2, 2, true, &mask));
}

TEST(broadcasts)
{
    FacDim sizes[FAC_MAX_NDIM] = {3, 1};
    int ndim = 2;
    OK(fac_broadcast(&ndim, sizes, 3, DIMS(2, 1, 4)));
    CHECK(ndim == 3 && dims_equal(3, sizes, DIMS(2, 3, 4)));
    OK(fac_broadcast(&ndim, sizes, 0, NULL));
    CHECK(ndim == 3);
    FAILS(FAC_RUNTIME_ERROR,
          "The size of tensor a (3) must match the size of tensor b (10) at non-singleton "
          "dimension 1\n"
          "    a:  [2,  3, 4]\n"
          "    b:     [10, 1]\n"
          "            ^^",
          fac_broadcast(&ndim, sizes, 2, DIMS(10, 1)));
}

TEST(shapes_for_views)
{
    FacDim out[4];
    OK(fac_infer_size(2, DIMS(2, -1), 6, out));
    CHECK(dims_equal(2, out, DIMS(2, 3)));
    FAILS(FAC_RUNTIME_ERROR, "shape '[2, 3]' is invalid for input of size 5",
          fac_infer_size(2, DIMS(2, 3), 5, out));
    FAILS(FAC_RUNTIME_ERROR, "only one dimension can be inferred",
          fac_infer_size(2, DIMS(-1, -1), 5, out));
    FAILS(FAC_RUNTIME_ERROR, "invalid shape dimension -3 at index 1 of shape [2, -3]",
          fac_infer_size(2, DIMS(2, -3), 5, out));
    FAILS(FAC_RUNTIME_ERROR, "is ambiguous", fac_infer_size(2, DIMS(-1, 0), 0, out));
    FAILS(FAC_RUNTIME_ERROR, "is invalid for input of size 5",
          fac_infer_size(2, DIMS(INT64_MAX, INT64_MAX), 5, out));
    CHECK(fac_view_strides(2, DIMS(4, 6), DIMS(12, 2), 3, DIMS(2, 2, 6), out));
    CHECK(dims_equal(3, out, DIMS(24, 12, 2)));
    CHECK(fac_view_strides(2, DIMS(4, 6), DIMS(12, 2), 1, DIMS(24), out));
    CHECK(dims_equal(1, out, DIMS(2)));
    CHECK(!fac_view_strides(2, DIMS(4, 6), DIMS(1, 4), 1, DIMS(24), out));
}

/* --- tensors ---------------------------------------------------------------------------------- */

TEST(creation)
{
    FacTensor *t;
    fac_tensor_start();
    OK(fac_tensor_new(FAC_DT_F32, FAC_CPU_DEVICE, 2, DIMS(2, 3), &t));
    CHECK(!fac_tensor_check(t) && t->numel == 6 && t->contiguous && t->storage->bytes == 24);
    CHECK(fac_tensor_dtype(t) == FAC_DT_F32 && fac_tensor_ndim(t) == 2);
    CHECK(fac_tensor_numel(t) == 6 && fac_tensor_strides(t)[0] == 3);
    CHECK(fac_tensor_sizes(t)[1] == 3 && fac_tensor_device(t).type == FAC_DEV_CPU);
    FacText text = {.len = 0};
    fac_text_tensor(&text, t);
    CHECK(strcmp(text.at, "float32[2, 3]") == 0);
    fac_release(fac_retain(t));
    fac_release(t);

    OK(fac_tensor_new(FAC_DT_F64, FAC_CPU_DEVICE, 7, DIMS(1, 2, 1, 2, 1, 2, 3), &t));
    CHECK(!fac_tensor_check(t) && t->sizes != t->inline_dims && t->numel == 24);
    fac_release(t);

    OK(fac_tensor_new(FAC_DT_F32, FAC_CPU_DEVICE, 2, DIMS(0, 3), &t));
    CHECK(!fac_tensor_check(t) && !fac_tensor_data(t) && t->strides[0] == 3);
    fac_release(t);
    fac_release(NULL);

    FAILS(FAC_RUNTIME_ERROR, "overflowed",
          fac_tensor_new(FAC_DT_F32, FAC_CPU_DEVICE, 1, DIMS(INT64_C(1) << 61), &t));
    FAILS(FAC_RUNTIME_ERROR, "negative dimension -1",
          fac_tensor_new(FAC_DT_F32, FAC_CPU_DEVICE, 1, DIMS(-1), &t));
    FAILS(FAC_MEMORY_ERROR, "",
          fac_tensor_new(FAC_DT_F32, FAC_CPU_DEVICE, 1, DIMS(INT64_C(1) << 50), &t));
    FAILS(FAC_RUNTIME_ERROR, "at most 64 dimensions",
          fac_tensor_new(FAC_DT_F32, FAC_CPU_DEVICE, 65, NULL, &t));

    OK(fac_tensor_new(FAC_DT_F32, META, 2, DIMS(INT64_C(1) << 30, INT64_C(1) << 20), &t));
    CHECK(!fac_tensor_check(t) && !t->storage->data && t->storage->bytes == (size_t)1 << 52);
    fac_release(t);
}

TEST(from_data)
{
    const int16_t data[] = {1, 2, 3, 4, 5, 6};
    FacTensor *t, *view, *plain;
    FacValue v;
    double c[2];
    OK(fac_tensor_from_data(data, FAC_DT_I16, 2, DIMS(2, 3), &t));
    CHECK(memcmp(fac_tensor_data(t), data, sizeof data) == 0);
    OK(fac_tensor_view(t, 2, DIMS(3, 2), DIMS(1, 3), 0, &view));
    OK(fac_tensor_contiguous(view, &plain));
    CHECK(memcmp(fac_tensor_data(plain), (int16_t[]){1, 4, 2, 5, 3, 6}, sizeof data) == 0);
    fac_release(plain);
    OK(fac_tensor_contiguous(t, &plain));
    CHECK(plain == t);
    fac_release(plain);
    fac_release(view);
    fac_release(t);
    FAILS(FAC_TYPE_ERROR, "dtype number 99",
          fac_tensor_from_data(data, (FacDType)99, 1, DIMS(2), &t));
    OK(fac_tensor_from_number(fac_v_float(2.5), FAC_DT_F64, &t));
    CHECK(t->ndim == 0 && (t->flags & FAC_T_NUMBER));
    OK(fac_tensor_item(t, c, &v));
    CHECK(v.tag == FAC_V_FLOAT && v.v.f == 2.5);
    fac_release(t);
}

TEST(strided_creation)
{
    FacTensor *t;
    OK(fac_tensor_new_strided(FAC_DT_F32, FAC_CPU_DEVICE, 2, DIMS(2, 3), DIMS(1, 4), &t));
    CHECK(!fac_tensor_check(t) && !t->contiguous && t->storage->bytes == 40);
    fac_release(t);
    OK(fac_tensor_new_strided(FAC_DT_F32, FAC_CPU_DEVICE, 2, DIMS(0, 3), DIMS(7, 4), &t));
    CHECK(!fac_tensor_check(t) && t->storage->bytes == 0);
    fac_release(t);
    FAILS(FAC_RUNTIME_ERROR, "no negative strides",
          fac_tensor_new_strided(FAC_DT_F32, FAC_CPU_DEVICE, 1, DIMS(2), DIMS(-1), &t));
    FacDim far = INT64_C(1) << 62;
    FAILS(FAC_RUNTIME_ERROR, "overflowed",
          fac_tensor_new_strided(FAC_DT_F32, FAC_CPU_DEVICE, 2, DIMS(3, 3), DIMS(far, far), &t));
}

TEST(views_and_versions)
{
    FacTensor *t, *view, *second, *alias;
    OK(fac_tensor_new(FAC_DT_F32, FAC_CPU_DEVICE, 2, DIMS(4, 5), &t));
    CHECK(fac_tensor_version(t) == 0 && !t->version);
    OK(fac_tensor_view(t, 2, DIMS(5, 4), DIMS(1, 5), 0, &view));
    OK(fac_tensor_view(view, 1, DIMS(5), DIMS(1), 5, &second));
    OK(fac_tensor_alias(second, &alias));
    CHECK(view->base == t && second->base == t && !alias->base);
    CHECK(!fac_tensor_check(view) && !fac_tensor_check(second) && !fac_tensor_check(alias));
    CHECK(fac_data(second) == (char *)fac_data(t) + 20 && alias->storage == t->storage);
    OK(fac_tensor_bump(second));
    CHECK(fac_tensor_version(t) == 1 && fac_tensor_version(alias) == 1);
    fac_release(t); /* the view keeps its base */
    CHECK(view->base->numel == 20);
    fac_release(alias);
    fac_release(second);
    fac_release(view);
}

TEST(layouts_over_storages)
{
    FacStorage *storage;
    FacTensor *t;
    OK(fac_storage_new(FAC_CPU_DEVICE, 40, &storage));
    OK(fac_tensor_over(storage, FAC_DT_F32, 2, DIMS(3, 3), DIMS(3, 1), 1, &t));
    CHECK(!fac_tensor_check(t));
    FAILS(FAC_RUNTIME_ERROR, "out of bounds for storage of size 40",
          fac_tensor_set_layout(t, NULL, 2, DIMS(3, 3), DIMS(3, 1), 2));
    OK(fac_tensor_set_layout(t, NULL, 1, DIMS(4), DIMS(-2), 6));
    CHECK(!fac_tensor_check(t) && !t->contiguous);
    FAILS(FAC_RUNTIME_ERROR, "out of bounds",
          fac_tensor_set_layout(t, NULL, 1, DIMS(4), DIMS(-2), 5));
    FAILS(FAC_RUNTIME_ERROR, "invalid storage offset -1",
          fac_tensor_set_layout(t, NULL, 1, DIMS(1), DIMS(1), -1));
    OK(fac_tensor_set_layout(t, NULL, 6, DIMS(1, 1, 1, 1, 2, 2), DIMS(4, 4, 4, 4, 2, 1), 0));
    CHECK(!fac_tensor_check(t));
    OK(fac_tensor_set_layout(t, NULL, 2, t->sizes + 4, t->strides + 4, 0));
    CHECK(!fac_tensor_check(t) && t->numel == 4 && t->contiguous);
    OK(fac_tensor_resize(t, 2, DIMS(5, 7)));
    CHECK(!fac_tensor_check(t) && storage->bytes == 140);
    OK(fac_tensor_resize(t, 1, DIMS(2)));
    CHECK(!fac_tensor_check(t) && storage->bytes == 140);
    FAILS(FAC_RUNTIME_ERROR, "overflowed", fac_tensor_resize(t, 1, DIMS(INT64_MAX)));
    fac_release(t);
    fac_storage_release(storage);
}

static int deleted;

static void
count_deletion(void *context, void *data, size_t bytes)
{
    deleted += context == &deleted && data && bytes == 16;
}

TEST(borrowed_memory)
{
    float data[4] = {1, 2, 3, 4};
    FacStorage *storage;
    FacTensor *t;
    OK(fac_storage_borrow(data, sizeof data, FAC_CPU_DEVICE, count_deletion, &deleted, &storage));
    OK(fac_tensor_over(storage, FAC_DT_F32, 1, DIMS(4), DIMS(1), 0, &t));
    fac_storage_release(storage);
    FAILS(FAC_RUNTIME_ERROR, "not resizable", fac_tensor_resize(t, 1, DIMS(5)));
    OK(fac_tensor_resize(t, 1, DIMS(3)));
    CHECK(deleted == 0);
    fac_release(t);
    CHECK(deleted == 1);
}

TEST(devices_that_are_absent)
{
    FacTensor *t;
    CHECK(fac_devices[FAC_DEV_XPU] == NULL);
    CHECK(fac_tensor_new(FAC_DT_F32, fac_device(FAC_DEV_XPU, 0), 1, DIMS(2), &t) != FAC_OK);
}

typedef struct CountedPart {
    FacExtraPart head;
    int drops;
} CountedPart;

static void
count_drop(FacExtraPart *part, FacTensor *tensor)
{
    ((CountedPart *)part)->drops += tensor->ndim == 0;
}

static int wrappers_told;

static void
tell_wrapper(FacTensor *t)
{
    wrappers_told += t->wrapper == &wrappers_told;
}

TEST(extra_and_wrapper)
{
    CountedPart part = {{count_drop}, 0};
    FacTensor *t;
    FacExtra *extra, *again;
    OK(fac_tensor_new(FAC_DT_F32, FAC_CPU_DEVICE, 0, NULL, &t));
    OK(fac_tensor_extra(t, &extra));
    OK(fac_tensor_extra(t, &again));
    CHECK(extra == again && !t->autograd && !extra->foreign);
    t->autograd = extra->foreign = &part.head;
    t->wrapper = &wrappers_told;
    fac_tensor_wrapper_hook = tell_wrapper;
    fac_release(t);
    fac_tensor_wrapper_hook = NULL;
    CHECK(part.drops == 2 && wrappers_told == 1);
}

TEST(values_hold_tensors)
{
    FacTensor *t;
    FacValue kept;
    fac_tensor_start();
    OK(fac_tensor_new(FAC_DT_F32, FAC_CPU_DEVICE, 0, NULL, &t));
    OK(fac_value_keep(fac_v_tensor(t), &kept));
    CHECK(t->refs == 2);
    fac_release(t);
    fac_value_release(&kept);
}

static FacStatus
make_many(void *context)
{
    FacStatus st = FAC_OK;
    FacTensor *t = NULL, *view = NULL, *plain = NULL, *wide = NULL, *back = NULL, *state = NULL;
    FacGenerator *generator = NULL;
    DLManagedTensorVersioned *managed = NULL;
    FacExtra *extra;
    (void)context;
    FAC_TRY(fac_tensor_from_data(NULL, FAC_DT_F32, 2, DIMS(30, 40), &t));
    FAC_TRY(fac_tensor_view(t, 2, DIMS(40, 30), DIMS(1, 40), 0, &view));
    FAC_TRY(fac_contiguous(view, FAC_DT_NONE, &plain));
    FAC_TRY(fac_tensor_new(FAC_DT_F32, FAC_CPU_DEVICE, 8, DIMS(1, 1, 1, 1, 1, 1, 2, 2), &wide));
    FAC_TRY(fac_tensor_resize(wide, 9, DIMS(3, 1, 1, 1, 1, 1, 1, 2, 2)));
    FAC_TRY(fac_tensor_extra(plain, &extra));
    FAC_TRY(fac_to_dlpack_versioned(view, false, &managed));
    FAC_TRY(fac_from_dlpack_versioned(managed, &back));
    managed = NULL;
    FAC_TRY(fac_generator_new(FAC_CPU_DEVICE, &generator));
    FAC_TRY(fac_generator_state(generator, &state));
    FAC_TRY(fac_generator_set_state(generator, state));
done:
    if (managed) managed->deleter(managed);
    fac_generator_release(generator);
    fac_release(state);
    fac_release(back);
    fac_release(wide);
    fac_release(plain);
    fac_release(view);
    fac_release(t);
    return st;
}

TEST(failing_allocations)
{
    EACH_ALLOCATION(make_many, NULL);
}

/* --- generators ------------------------------------------------------------------------------- */

TEST(random_numbers)
{
    /* the peer's manual_seed(0): rand(2); and again, rand(1) and randn(2) in float64 */
    FacGenerator *g;
    uint32_t bulk[2000];
    fac_tensor_start();
    OK(fac_generator_new(FAC_CPU_DEVICE, &g));
    CHECK(g->seed == UINT64_C(67280421310721));
    fac_generator_seed(g, 0);
    CHECK(fac_random_float(g) == 0x1.fc2abp-2f && fac_random_float(g) == 0x1.89545ep-1f);
    fac_generator_seed(g, 0);
    CHECK(fac_random_double(g) == 0x1.f0aac97c4aa2fp-1);
    CHECK(fabs(fac_random_normal_double(g) - -0.2905092532267315) < 1e-14);
    CHECK(fabs(fac_random_normal_double(g) - -1.070370291804509) < 1e-14);
    fac_generator_seed(g, 5);
    fac_random_fill_u32(g, bulk, 700);
    fac_random_fill_u32(g, bulk + 700, 1);
    fac_random_fill_u32(g, bulk + 701, 1299);
    fac_generator_seed(g, 5);
    for (int i = 0; i < 2000; i++) CHECK(fac_random_u32(g) == bulk[i]);
    CHECK(fac_generator_seed_random(g) == g->seed);
    CHECK(fac_default_generator() == fac_default_generator());
    fac_generator_release(g);
    FAILS(FAC_RUNTIME_ERROR, "no random generator for device meta", fac_generator_new(META, &g));
}

TEST(random_states)
{
    FacGenerator *g;
    FacTensor *state, *other;
    uint8_t *bytes;
    OK(fac_generator_new(FAC_CPU_DEVICE, &g));
    fac_random_normal_double(g);
    OK(fac_generator_state(g, &state));
    CHECK(state->numel == 5056 && state->dtype == FAC_DT_U8);
    double waiting = fac_random_normal_double(g), next = fac_random_double(g);
    OK(fac_generator_set_state(g, state));
    CHECK(fac_random_normal_double(g) == waiting && fac_random_double(g) == next);
    bytes = fac_data(state);
    memset(bytes + 16, 0xff, 8); /* `next`, far beyond the words */
    FAILS(FAC_RUNTIME_ERROR, "Invalid mt19937 state", fac_generator_set_state(g, state));
    memset(bytes, 0, 5056);
    FAILS(FAC_RUNTIME_ERROR, "Invalid mt19937 state", fac_generator_set_state(g, state));
    bytes[8] = bytes[16] = 1; /* fewer words left than `next` says is well ... */
    bytes[12] = 1;
    OK(fac_generator_set_state(g, state));
    bytes[8] = bytes[16] = 0x70; /* ... more are not: 624 left after the 624th */
    bytes[9] = bytes[17] = 2;
    FAILS(FAC_RUNTIME_ERROR, "Invalid mt19937 state", fac_generator_set_state(g, state));
    OK(fac_tensor_from_data(NULL, FAC_DT_U8, 1, DIMS(3), &other));
    FAILS(FAC_RUNTIME_ERROR, "of size 5056 but found the input RNG state size to be 3",
          fac_generator_set_state(g, other));
    fac_release(other);
    OK(fac_tensor_from_data(NULL, FAC_DT_F32, 1, DIMS(5056), &other));
    FAILS(FAC_TYPE_ERROR, "ByteTensor", fac_generator_set_state(g, other));
    fac_release(other);
    fac_release(state);
    fac_generator_release(g);
}

/* --- DLPack ----------------------------------------------------------------------------------- */

TEST(dlpack_there_and_back)
{
    FacTensor *t, *view, *back;
    DLManagedTensor *managed;
    DLManagedTensorVersioned *versioned;
    OK(fac_tensor_from_data(NULL, FAC_DT_BF16, 3, DIMS(2, 1, 3), &t));
    OK(fac_tensor_view(t, 3, DIMS(3, 1, 2), DIMS(1, 9, 3), 0, &view));
    OK(fac_to_dlpack(view, &managed));
    CHECK(managed->dl_tensor.dtype.code == 4 && managed->dl_tensor.dtype.bits == 16);
    CHECK(managed->dl_tensor.strides[1] == 1 && managed->dl_tensor.byte_offset == 0);
    OK(fac_from_dlpack(managed, &back));
    CHECK(!fac_tensor_check(back) && fac_data(back) == fac_data(t) && back->strides[2] == 3);
    FAILS(FAC_RUNTIME_ERROR, "not resizable", fac_tensor_resize(t, 1, DIMS(100)));
    fac_release(view);
    fac_release(t);
    CHECK(((uint16_t *)fac_data(back))[5] == 0);
    fac_release(back);

    OK(fac_tensor_from_data(NULL, FAC_DT_BOOL, 1, DIMS(2), &t));
    t->storage->read_only = true;
    FAILS(FAC_BUFFER_ERROR, "read-only", fac_to_dlpack(t, &managed));
    OK(fac_to_dlpack_versioned(t, true, &versioned));
    CHECK(versioned->flags == 3 && versioned->dl_tensor.dtype.code == 6);
    OK(fac_from_dlpack_versioned(versioned, &back));
    CHECK(back->storage->read_only && back->dtype == FAC_DT_BOOL);
    fac_release(back);
    t->flags |= FAC_T_CONJ;
    FAILS(FAC_BUFFER_ERROR, "resolve_conj", fac_to_dlpack_versioned(t, false, &versioned));
    fac_release(t);
    OK(fac_tensor_new(FAC_DT_F32, META, 0, NULL, &t));
    FAILS(FAC_BUFFER_ERROR, "Cannot pack tensors on meta", fac_to_dlpack(t, &managed));
    fac_release(t);
}

TEST(dlpack_from_others)
{
    float data[6] = {0};
    int64_t shape[2] = {2, 3}, strides[2] = {-3, 1};
    DLManagedTensorVersioned m = {
        {1, 0}, NULL, NULL, 0, {data, {1, 0}, 2, {2, 32, 1}, shape, NULL, 0}};
    FacTensor *t;
    OK(fac_from_dlpack_versioned(&m, &t));
    CHECK(t->contiguous && t->numel == 6 && fac_data(t) == data);
    fac_release(t);
    m.dl_tensor.strides = strides;
    FAILS(FAC_VALUE_ERROR, "negative", fac_from_dlpack_versioned(&m, &t));
    strides[0] = INT64_MAX;
    FAILS(FAC_RUNTIME_ERROR, "overflowed", fac_from_dlpack_versioned(&m, &t));
    strides[0] = 3;
    m.dl_tensor.byte_offset = 2;
    FAILS(FAC_BUFFER_ERROR, "not aligned", fac_from_dlpack_versioned(&m, &t));
    m.dl_tensor.byte_offset = 0;
    m.dl_tensor.dtype.lanes = 4;
    FAILS(FAC_BUFFER_ERROR, "4 lanes", fac_from_dlpack_versioned(&m, &t));
    m.dl_tensor.dtype.lanes = 1;
    m.dl_tensor.device.device_type = 99;
    FAILS(FAC_BUFFER_ERROR, "device type 99", fac_from_dlpack_versioned(&m, &t));
    m.dl_tensor.device.device_type = 1;
    m.dl_tensor.data = NULL;
    FAILS(FAC_BUFFER_ERROR, "no data", fac_from_dlpack_versioned(&m, &t));
    shape[0] = 0;
    OK(fac_from_dlpack_versioned(&m, &t));
    CHECK(!fac_tensor_check(t) && t->numel == 0);
    fac_release(t);
    m.version.major = 2;
    FAILS(FAC_BUFFER_ERROR, "version 2.0", fac_from_dlpack_versioned(&m, &t));
}

RUN_TESTS(CASE(products), CASE(orders_in_memory), CASE(overlaps), CASE(dimensions),
          CASE(broadcasts), CASE(shapes_for_views), CASE(creation), CASE(from_data),
          CASE(strided_creation), CASE(views_and_versions), CASE(layouts_over_storages),
          CASE(borrowed_memory), CASE(devices_that_are_absent), CASE(extra_and_wrapper),
          CASE(values_hold_tensors), CASE(failing_allocations), CASE(random_numbers),
          CASE(random_states), CASE(dlpack_there_and_back), CASE(dlpack_from_others))
