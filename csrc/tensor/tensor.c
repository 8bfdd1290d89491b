/* tensor.c - the life of tensors: creation, views, release.
 *
 * The common creation is a straight line: one block from a free list, one pass over the sizes
 * that gives strides, numel and the overflow check together, one storage. Layouts of up to
 * FAC_INLINE_NDIM dimensions live in the tensor itself. Versions come into being when the first
 * view is taken or the first in-place change happens, so that most tensors never have one.
 */
#include "tensor/tensor.h"

#include "tensor/iter.h"
#include "tensor/layout.h"
#include "tensor/random.h"

#include <string.h>

FAC_FREE_LIST(tensor_block, FacTensor)
FAC_FREE_LIST(extra_block, FacExtra)

void (*fac_tensor_wrapper_hook)(FacTensor *t);

/* --- making ----------------------------------------------------------------------------------- */

FacStatus
fac_check_ndim(int64_t ndim)
{
    if (ndim >= 0 && ndim <= FAC_MAX_NDIM) return FAC_OK;
    return fac_error(FAC_RUNTIME_ERROR, "a tensor has at most %d dimensions, not %lld",
                     FAC_MAX_NDIM, (long long)ndim);
}

/* A tensor with room for ndim dimensions and no storage yet: sizes and strides are not set. */
static FacStatus
make_shell(FacDType dtype, int ndim, FacTensor **out)
{
    if (FAC_UNLIKELY(ndim < 0 || ndim > FAC_MAX_NDIM)) return fac_check_ndim(ndim);
    FacTensor *t = tensor_block_alloc();
    if (FAC_UNLIKELY(!t)) return fac_mem_error(sizeof *t);
    t->sizes = t->inline_dims;
    if (FAC_UNLIKELY(ndim > FAC_INLINE_NDIM)) {
        size_t bytes = 2 * (size_t)ndim * sizeof(FacDim);
        t->sizes = fac_mem_alloc(bytes);
        if (!t->sizes) {
            tensor_block_free(t);
            return fac_mem_error(bytes);
        }
    }
    t->strides = t->sizes + ndim;
    atomic_init(&t->refs, 1);
    t->keys = 0;
    t->dtype = (int8_t)dtype;
    t->ndim = (uint8_t)ndim;
    t->flags = 0;
    t->contiguous = true;
    t->device = FAC_CPU_DEVICE;
    t->offset = 0;
    t->numel = 0;
    t->storage = NULL;
    atomic_init(&t->version, NULL);
    t->base = NULL;
    t->autograd = NULL;
    t->extra = NULL;
    atomic_init(&t->wrapper, NULL);
    t->wrapper_owned = false;
    *out = t;
    return FAC_OK;
}

static void
free_shell(FacTensor *t)
{
    if (FAC_UNLIKELY(t->sizes != t->inline_dims)) fac_mem_free(t->sizes);
    tensor_block_free(t);
}

/* Sets sizes, C-order strides and numel; false for negative sizes or an overflow. */
static bool
set_sizes(FacTensor *t, const FacDim *sizes)
{
    int64_t product = 1;
    bool empty = false, bad = false;
    for (int i = t->ndim - 1; i >= 0; i--) {
        FacDim size = sizes[i];
        t->sizes[i] = size;
        t->strides[i] = product;
        empty |= size == 0;
        bad |= size < 0;
        bad |= __builtin_mul_overflow(product, size > 1 ? size : 1, &product);
    }
    t->numel = empty ? 0 : product;
    return !bad;
}

static void
set_strides(FacTensor *t, const FacDim *strides)
{
    for (int i = 0; i < t->ndim; i++) t->strides[i] = strides[i];
    t->contiguous = fac_is_contiguous(t->ndim, t->sizes, t->strides);
}

/* Why set_sizes failed, or the bytes cannot be counted. */
static FacStatus
sizes_error(int ndim, const FacDim *sizes)
{
    int64_t numel;
    FAC_RETURN_IF_ERROR(fac_sizes_numel(ndim, sizes, &numel));
    return fac_sizes_overflow(ndim, sizes);
}

FacStatus
fac_tensor_new(FacDType dtype, FacDevice device, int ndim, const FacDim *sizes, FacTensor **out)
{
    FacStatus st = FAC_OK;
    FacTensor *t;
    int64_t bytes = 0;
    FAC_RETURN_IF_ERROR(make_shell(dtype, ndim, &t));
    if (FAC_UNLIKELY(!set_sizes(t, sizes) ||
                     __builtin_mul_overflow(t->numel, (int64_t)fac_dtype_size(dtype), &bytes)))
        FAC_TRY(sizes_error(ndim, sizes));
    FAC_TRY(fac_storage_new(device, (size_t)bytes, &t->storage));
    t->device = t->storage->device;
    *out = t;
    return FAC_OK;
done:
    free_shell(t);
    return st;
}

static FacStatus
strided_error(const char *what, int ndim, const FacDim *sizes, const FacDim *strides)
{
    FacText text = {.len = 0};
    fac_text_add(&text, "%s with sizes=", what);
    fac_text_dims(&text, ndim, sizes);
    fac_text_add(&text, " and strides=");
    fac_text_dims(&text, ndim, strides);
    return fac_error(FAC_RUNTIME_ERROR, "%s", text.at);
}

FacStatus
fac_tensor_new_strided(FacDType dtype, FacDevice device, int ndim, const FacDim *sizes,
                       const FacDim *strides, FacTensor **out)
{
    FacStatus st = FAC_OK;
    FacTensor *t;
    int64_t low, high, bytes = 0;
    FAC_RETURN_IF_ERROR(make_shell(dtype, ndim, &t));
    if (!set_sizes(t, sizes)) FAC_TRY(sizes_error(ndim, sizes));
    set_strides(t, strides);
    for (int i = 0; i < ndim; i++)
        if (strides[i] < 0)
            FAC_TRY(strided_error("a new tensor takes no negative strides: asked", ndim, sizes,
                                  strides));
    if (!fac_layout_reach(ndim, sizes, strides, &low, &high) ||
        __builtin_add_overflow(high, t->numel > 0, &bytes) ||
        __builtin_mul_overflow(bytes, (int64_t)fac_dtype_size(dtype), &bytes))
        FAC_TRY(strided_error("Storage size calculation overflowed", ndim, sizes, strides));
    FAC_TRY(fac_storage_new(device, (size_t)bytes, &t->storage));
    t->device = t->storage->device;
    *out = t;
    return FAC_OK;
done:
    free_shell(t);
    return st;
}

/* Every element of the layout lies within `bytes` bytes of storage. */
static FacStatus
check_range(FacDType dtype, size_t bytes, int ndim, const FacDim *sizes, const FacDim *strides,
            int64_t offset)
{
    int64_t low, high, numel, need, size = fac_dtype_size(dtype);
    FAC_RETURN_IF_ERROR(fac_sizes_numel(ndim, sizes, &numel));
    if (offset < 0)
        return fac_error(FAC_RUNTIME_ERROR, "Tensor: invalid storage offset %lld",
                         (long long)offset);
    if (!fac_layout_reach(ndim, sizes, strides, &low, &high) || offset > FAC_MAX_OFFSET ||
        __builtin_add_overflow(high, offset, &high) ||
        __builtin_add_overflow(high, numel > 0, &high) || __builtin_mul_overflow(high, size, &need))
        return strided_error("Storage size calculation overflowed", ndim, sizes, strides);
    if (numel == 0 || (low + offset >= 0 && (uint64_t)need <= bytes)) return FAC_OK;
    FacText text = {.len = 0};
    fac_text_add(&text, "setStorage: sizes ");
    fac_text_dims(&text, ndim, sizes);
    fac_text_add(&text, ", strides ");
    fac_text_dims(&text, ndim, strides);
    return fac_error(FAC_RUNTIME_ERROR,
                     "%s, storage offset %lld, and itemsize %lld requiring a storage size of %lld "
                     "are out of bounds for storage of size %zu",
                     text.at, (long long)offset, (long long)size, (long long)need, bytes);
}

FacStatus
fac_tensor_over(FacStorage *storage, FacDType dtype, int ndim, const FacDim *sizes,
                const FacDim *strides, int64_t offset, FacTensor **out)
{
    FacTensor *t;
    FAC_RETURN_IF_ERROR(make_shell(dtype, ndim, &t));
    FacStatus st = check_range(dtype, storage->bytes, ndim, sizes, strides, offset);
    if (st != FAC_OK) {
        free_shell(t);
        return st;
    }
    (void)set_sizes(t, sizes); /* check_range found them sound */
    set_strides(t, strides);
    t->offset = offset;
    t->device = storage->device;
    t->storage = storage;
    fac_storage_retain(storage);
    *out = t;
    return FAC_OK;
}

/* Same storage, dtype and lazy bits as `of`. */
static FacStatus
make_over(FacTensor *of, int ndim, const FacDim *sizes, const FacDim *strides, int64_t offset,
          FacTensor **out)
{
    FacTensor *t;
    FAC_RETURN_IF_ERROR(make_shell((FacDType)of->dtype, ndim, &t));
    if (FAC_UNLIKELY(!set_sizes(t, sizes))) { /* expanded beyond what can be counted */
        free_shell(t);
        return sizes_error(ndim, sizes);
    }
    set_strides(t, strides);
    t->offset = offset;
    t->keys = of->keys & FAC_KEY(LAZY);
    t->flags = of->flags & (FAC_T_CONJ | FAC_T_NEG | FAC_T_INFERENCE);
    t->device = of->device;
    t->storage = of->storage;
    fac_storage_retain(of->storage);
    *out = t;
    return FAC_OK;
}

static FacStatus
make_sharing(FacTensor *of, int ndim, const FacDim *sizes, const FacDim *strides, int64_t offset,
             FacTensor **out)
{
    FacTensor *t;
    FAC_RETURN_IF_ERROR(make_over(of, ndim, sizes, strides, offset, &t));
    FacStatus st = fac_tensor_share_version(of, t);
    if (st == FAC_OK)
        *out = t;
    else
        fac_tensor_release(t);
    return st;
}

FacStatus
fac_tensor_view(FacTensor *of, int ndim, const FacDim *sizes, const FacDim *strides, int64_t offset,
                FacTensor **out)
{
    FacTensor *t;
    FAC_RETURN_IF_ERROR(make_sharing(of, ndim, sizes, strides, offset, &t));
    t->base = fac_tensor_retain(of->base ? of->base : of);
    *out = t;
    return FAC_OK;
}

FacStatus
fac_tensor_alias(FacTensor *of, FacTensor **out)
{
    return make_sharing(of, of->ndim, of->sizes, of->strides, of->offset, out);
}

/* The storage of tensors without data. */
static FacStorage nothing = {.refs = 1, .device = {.type = FAC_DEV_CPU}};

FacStatus
fac_tensor_hollow(FacTensor *of, FacTensor **out)
{
    FacTensor *t;
    FAC_RETURN_IF_ERROR(
        make_sharing(of, of->ndim - 1, of->sizes + 1, of->strides + 1, of->offset, &t));
    fac_storage_release(t->storage);
    fac_storage_retain(&nothing);
    t->storage = &nothing;
    t->keys = 0; /* pending conjugation is carried out on the values */
    t->flags |= FAC_T_OVERRIDDEN_STORAGE;
    *out = t;
    return FAC_OK;
}

FacStatus
fac_tensor_snapshot(FacTensor *of, FacTensor **out)
{
    FAC_RETURN_IF_ERROR(make_over(of, of->ndim, of->sizes, of->strides, of->offset, out));
    (*out)->flags = of->flags;
    return FAC_OK;
}

FacStatus
fac_tensor_from_number(FacValue number, FacDType dtype, FacTensor **out)
{
    FacTensor *t;
    FAC_RETURN_IF_ERROR(fac_tensor_new(dtype, FAC_CPU_DEVICE, 0, NULL, &t));
    fac_v_store(number, dtype, t->storage->data);
    t->flags |= FAC_T_NUMBER;
    *out = t;
    return FAC_OK;
}

/* --- changing the layout ---------------------------------------------------------------------- */

/* Makes room for ndim dimensions; the old sizes and strides are gone then. */
static FacStatus
reserve_dims(FacTensor *t, int ndim)
{
    FAC_RETURN_IF_ERROR(fac_check_ndim(ndim));
    if (ndim > FAC_INLINE_NDIM && ndim > t->ndim) {
        size_t bytes = 2 * (size_t)ndim * sizeof(FacDim);
        FacDim *dims = fac_mem_alloc(bytes);
        if (!dims) return fac_mem_error(bytes);
        if (t->sizes != t->inline_dims) fac_mem_free(t->sizes);
        t->sizes = dims;
    }
    t->ndim = (uint8_t)ndim;
    t->strides = t->sizes + ndim;
    return FAC_OK;
}

FacStatus
fac_tensor_set_layout(FacTensor *t, FacStorage *storage, int ndim, const FacDim *sizes,
                      const FacDim *strides, int64_t offset)
{
    FacStorage *target = storage ? storage : t->storage;
    FacDim copy[2 * FAC_MAX_NDIM]; /* the arguments may be t's own arrays */
    FAC_RETURN_IF_ERROR(fac_check_ndim(ndim));
    FAC_RETURN_IF_ERROR(
        check_range((FacDType)t->dtype, target->bytes, ndim, sizes, strides, offset));
    for (int i = 0; i < ndim; i++) {
        copy[i] = sizes[i];
        copy[ndim + i] = strides[i];
    }
    FAC_RETURN_IF_ERROR(reserve_dims(t, ndim));
    (void)set_sizes(t, copy); /* check_range found them sound */
    set_strides(t, copy + ndim);
    t->offset = offset;
    if (target != t->storage) {
        fac_storage_retain(target);
        fac_storage_release(t->storage);
        t->storage = target;
        t->device = target->device;
    }
    return FAC_OK;
}

FacStatus
fac_tensor_follow(FacTensor *t, FacTensor *of, int skip)
{
    FAC_RETURN_IF_ERROR(reserve_dims(t, of->ndim - skip));
    (void)set_sizes(t, of->sizes + skip); /* they are sound, being those of a tensor */
    set_strides(t, of->strides + skip);
    t->offset = of->offset;
    if (!skip && t->storage != of->storage) {
        fac_storage_retain(of->storage);
        fac_storage_release(t->storage);
        t->storage = of->storage;
        t->device = of->device;
    }
    return FAC_OK;
}

void
fac_tensor_set_base(FacTensor *t, FacTensor *base)
{
    FacTensor *old = t->base;
    t->base = fac_tensor_retain(base->base ? base->base : base);
    fac_tensor_release(old);
}

FacStatus
fac_tensor_resize(FacTensor *t, int ndim, const FacDim *sizes)
{
    FAC_RETURN_IF_ERROR(fac_check_ndim(ndim));
    if (ndim == t->ndim && memcmp(sizes, t->sizes, (size_t)ndim * sizeof *sizes) == 0)
        return FAC_OK;
    FacDim strides[FAC_MAX_NDIM];
    int64_t numel, bytes, size = fac_dtype_size((FacDType)t->dtype);
    FAC_RETURN_IF_ERROR(fac_sizes_numel(ndim, sizes, &numel));
    if (__builtin_add_overflow(numel, t->offset, &bytes) ||
        __builtin_mul_overflow(bytes, size, &bytes))
        return fac_sizes_overflow(ndim, sizes);
    if (numel > 0 && (uint64_t)bytes > t->storage->bytes)
        FAC_RETURN_IF_ERROR(fac_storage_resize(t->storage, (size_t)bytes));
    fac_strides_contiguous(ndim, sizes, strides);
    return fac_tensor_set_layout(t, NULL, ndim, sizes, strides, t->offset);
}

/* --- extra and the end ------------------------------------------------------------------------ */

FacStatus
fac_tensor_extra(FacTensor *t, FacExtra **out)
{
    if (!t->extra) {
        FacExtra *extra = extra_block_alloc();
        if (!extra) return fac_mem_error(sizeof *extra);
        *extra = (FacExtra){0};
        t->extra = extra;
    }
    *out = t->extra;
    return FAC_OK;
}

static void
drop_extra(FacTensor *t)
{
    FacExtra *extra = t->extra;
    FacExtraPart *parts[] = {extra->forward, extra->wrapped, extra->foreign};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (parts[i]) parts[i]->drop(parts[i], t);
    t->extra = NULL;
    extra_block_free(extra);
}

void
fac_tensor_destroy(FacTensor *t)
{
    if (fac_tensor_wrapper_hook && atomic_load_explicit(&t->wrapper, memory_order_acquire))
        fac_tensor_wrapper_hook(t);
    if (t->autograd) t->autograd->drop(t->autograd, t);
    if (FAC_UNLIKELY(t->extra != NULL)) drop_extra(t);
    fac_tensor_release(t->base);
    fac_version_release(atomic_load_explicit(&t->version, memory_order_acquire));
    fac_storage_release(t->storage);
    free_shell(t);
}

/* --- facula.h --------------------------------------------------------------------------------- */

FacStatus
fac_tensor_from_data(const void *data, FacDType dtype, int ndim, const FacDim *sizes,
                     FacTensor **out)
{
    FacTensor *t;
    if (dtype < 0 || dtype >= FAC_DTYPES)
        return fac_error(FAC_TYPE_ERROR, "there is no dtype number %d", (int)dtype);
    FAC_RETURN_IF_ERROR(fac_tensor_new(dtype, FAC_CPU_DEVICE, ndim, sizes, &t));
    if (t->numel && data)
        memcpy(t->storage->data, data, fac_nbytes(t));
    else if (t->numel)
        memset(t->storage->data, 0, fac_nbytes(t));
    *out = t;
    return FAC_OK;
}

FacTensor *
fac_retain(FacTensor *tensor)
{
    return fac_tensor_retain(tensor);
}

void
fac_release(FacTensor *tensor)
{
    fac_tensor_release(tensor);
}

FacDType
fac_tensor_dtype(const FacTensor *tensor)
{
    return (FacDType)tensor->dtype;
}

FacDevice
fac_tensor_device(const FacTensor *tensor)
{
    return tensor->device;
}

int
fac_tensor_ndim(const FacTensor *tensor)
{
    return tensor->ndim;
}

const FacDim *
fac_tensor_sizes(const FacTensor *tensor)
{
    return tensor->sizes;
}

const FacDim *
fac_tensor_strides(const FacTensor *tensor)
{
    return tensor->strides;
}

int64_t
fac_tensor_numel(const FacTensor *tensor)
{
    return tensor->numel;
}

void *
fac_tensor_data(const FacTensor *tensor)
{
    return tensor->numel ? fac_data(tensor) : NULL;
}

FacStatus
fac_tensor_contiguous(FacTensor *tensor, FacTensor **out)
{
    return fac_contiguous(tensor, FAC_DT_NONE, out);
}

/* --- checks and text -------------------------------------------------------------------------- */

const char *
fac_tensor_check(const FacTensor *t)
{
    if (!t) return "the tensor is NULL";
    if (atomic_load(&t->refs) < 1) return "the tensor was released";
    if (t->dtype < 0 || t->dtype >= FAC_DTYPES) return "the dtype does not exist";
    if (t->ndim > FAC_MAX_NDIM) return "more dimensions than a tensor may have";
    if (t->strides != t->sizes + t->ndim) return "the strides do not follow the sizes";
    if (!t->storage) return "there is no storage";
    if (atomic_load(&t->storage->refs) < 1) return "the storage was released";
    if (!fac_device_equal(t->device, t->storage->device))
        return "the device is not that of the storage";
    bool absent = !t->storage->data && t->storage->bytes;
    if (absent && !fac_is_meta(t)) return "the storage has bytes but no data";
    int64_t numel = 1, low, high;
    for (int i = 0; i < t->ndim; i++) {
        if (t->sizes[i] < 0) return "a size is negative";
        numel *= t->sizes[i];
    }
    if (numel != t->numel) return "numel is not the product of the sizes";
    if (t->contiguous != fac_is_contiguous(t->ndim, t->sizes, t->strides))
        return "the contiguous flag is wrong";
    if (numel) {
        if (!fac_layout_reach(t->ndim, t->sizes, t->strides, &low, &high))
            return "the layout overflows";
        bool is_kept = t->storage->capacity > t->storage->bytes;
        size_t end = (size_t)(t->offset + high + 1) * fac_dtype_info[t->dtype].size;
        if (t->offset + low < 0 || end > (is_kept ? t->storage->capacity : t->storage->bytes))
            return "the layout reaches beyond the storage";
    }
    if (t->base && (t->base == t || t->base->base)) return "the base is a view";
    if ((t->flags & (FAC_T_CONJ | FAC_T_NEG)) && !(t->keys & FAC_KEY(LAZY)))
        return "a lazy bit is set without the LAZY key";
    return NULL;
}

void
fac_text_tensor(FacText *text, const FacTensor *t)
{
    fac_text_add(text, "%s", fac_dtype_info[t->dtype].name);
    fac_text_dims(text, t->ndim, t->sizes);
}

/* --- start ------------------------------------------------------------------------------------ */

static void
hook_retain_tensor(FacTensor *t)
{
    fac_refs_up(&t->refs);
}

static void
hook_release_tensor(FacTensor *t)
{
    fac_tensor_release(t);
}

void
fac_tensor_start(void)
{
    fac_value_hooks.retain_tensor = hook_retain_tensor;
    fac_value_hooks.release_tensor = hook_release_tensor;
    fac_value_hooks.retain_generator = fac_generator_retain;
    fac_value_hooks.release_generator = fac_generator_release;
    fac_value_hooks.retain_storage = fac_storage_retain;
    fac_value_hooks.release_storage = fac_storage_release;
}
