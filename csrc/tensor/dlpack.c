/* dlpack.c - tensors to and from DLPack, in both its forms.
 *
 * Export gives a block with the managed tensor, its shape and strides, and one reference to the
 * storage; the storage can no longer be resized from then on, since the consumer holds its
 * address. Import borrows the memory: the storage's deleter calls the producer's. Whatever comes
 * in is foreign, so every field is checked before it is believed.
 */
#include "tensor/dlpack.h"

#include "tensor/layout.h"

#include <stdint.h>

enum { MAJOR = 1, MINOR = 1 };
enum { READ_ONLY = 1, COPIED = 2 };
enum {
    DL_INT = 0,
    DL_UINT = 1,
    DL_FLOAT = 2,
    DL_BFLOAT = 4,
    DL_COMPLEX = 5,
    DL_BOOL = 6,
    DL_E4M3FN = 10,
    DL_E4M3FNUZ = 11,
    DL_E5M2 = 12,
    DL_E5M2FNUZ = 13
};
enum { DL_CPU = 1, DL_CUDA = 2, DL_CUDA_HOST = 3, DL_ROCM = 10, DL_ROCM_HOST = 11 };

static const DLDataType dl_types[FAC_DTYPES] = {
    [FAC_DT_BOOL] = {DL_BOOL, 8, 1},
    [FAC_DT_U8] = {DL_UINT, 8, 1},
    [FAC_DT_I8] = {DL_INT, 8, 1},
    [FAC_DT_U16] = {DL_UINT, 16, 1},
    [FAC_DT_I16] = {DL_INT, 16, 1},
    [FAC_DT_U32] = {DL_UINT, 32, 1},
    [FAC_DT_I32] = {DL_INT, 32, 1},
    [FAC_DT_U64] = {DL_UINT, 64, 1},
    [FAC_DT_I64] = {DL_INT, 64, 1},
    [FAC_DT_F16] = {DL_FLOAT, 16, 1},
    [FAC_DT_BF16] = {DL_BFLOAT, 16, 1},
    [FAC_DT_F32] = {DL_FLOAT, 32, 1},
    [FAC_DT_F64] = {DL_FLOAT, 64, 1},
    [FAC_DT_C32] = {DL_COMPLEX, 32, 1},
    [FAC_DT_C64] = {DL_COMPLEX, 64, 1},
    [FAC_DT_C128] = {DL_COMPLEX, 128, 1},
    [FAC_DT_F8_E4M3FN] = {DL_E4M3FN, 8, 1},
    [FAC_DT_F8_E5M2] = {DL_E5M2, 8, 1},
    [FAC_DT_F8_E4M3FNUZ] = {DL_E4M3FNUZ, 8, 1},
    [FAC_DT_F8_E5M2FNUZ] = {DL_E5M2FNUZ, 8, 1},
};

FacStatus
fac_dlpack_device(FacDevice device, DLDevice *out)
{
    char text[32];
    int index = device.index < 0 ? 0 : device.index;
    switch (device.type) {
    case FAC_DEV_CPU: *out = (DLDevice){DL_CPU, 0}; return FAC_OK;
    case FAC_DEV_CUDA: *out = (DLDevice){DL_CUDA, index}; return FAC_OK;
    case FAC_DEV_HIP: *out = (DLDevice){DL_ROCM, index}; return FAC_OK;
    default:
        return fac_error(FAC_BUFFER_ERROR, "Cannot pack tensors on %s",
                         fac_device_text(device, text));
    }
}

/* --- export ----------------------------------------------------------------------------------- */

/* What an exported tensor keeps; allocated as one block with the shape and the strides. */
typedef struct Export {
    union {
        DLManagedTensor plain;
        DLManagedTensorVersioned versioned;
    } managed;
    FacStorage *storage;
    int64_t dims[]; /* shape, then strides */
} Export;

static void
release_export(Export *export)
{
    fac_storage_release(export->storage);
    fac_mem_free(export);
}

static void
delete_plain(DLManagedTensor *self)
{
    release_export(self->manager_ctx);
}

static void
delete_versioned(DLManagedTensorVersioned *self)
{
    release_export(self->manager_ctx);
}

static FacStatus
check_exportable(const FacTensor *t)
{
    if (t->flags & FAC_T_CONJ)
        return fac_error(FAC_BUFFER_ERROR, "Can't export tensors with the conjugate bit set; "
                                           "export tensor.resolve_conj() instead");
    if (t->flags & FAC_T_NEG)
        return fac_error(FAC_BUFFER_ERROR, "Can't export tensors with the negative bit set; "
                                           "export tensor.resolve_neg() instead");
    return FAC_OK;
}

static FacStatus
make_export(FacTensor *t, Export **out, DLTensor *tensor)
{
    DLDevice device;
    FAC_RETURN_IF_ERROR(check_exportable(t));
    FAC_RETURN_IF_ERROR(fac_dlpack_device(t->device, &device));
    size_t bytes = sizeof(Export) + 2 * (size_t)t->ndim * sizeof(int64_t);
    Export *export = fac_mem_alloc(bytes);
    if (!export) return fac_mem_error(bytes);
    int64_t *shape = export->dims, *strides = export->dims + t->ndim;
    for (int i = 0; i < t->ndim; i++) {
        shape[i] = t->sizes[i];
        strides[i] = t->sizes[i] == 1 ? 1 : t->strides[i];
    }
    fac_storage_retain(t->storage);
    t->storage->resizable = false;
    export->storage = t->storage;
    *tensor = (DLTensor){
        t->numel ? fac_data(t) : NULL, device, t->ndim, dl_types[t->dtype], shape, strides, 0};
    *out = export;
    return FAC_OK;
}

FacStatus
fac_to_dlpack(FacTensor *t, DLManagedTensor **out)
{
    Export *export;
    DLTensor tensor;
    if (t->storage->read_only)
        return fac_error(FAC_BUFFER_ERROR,
                         "a read-only tensor can be exported only to a consumer "
                         "of DLPack 1.0 or later: older ones cannot tell that it is");
    FAC_RETURN_IF_ERROR(make_export(t, &export, &tensor));
    export->managed.plain = (DLManagedTensor){tensor, export, delete_plain};
    *out = &export->managed.plain;
    return FAC_OK;
}

FacStatus
fac_to_dlpack_versioned(FacTensor *t, bool copied, DLManagedTensorVersioned **out)
{
    Export *export;
    DLTensor tensor;
    FAC_RETURN_IF_ERROR(make_export(t, &export, &tensor));
    uint64_t flags = (t->storage->read_only ? READ_ONLY : 0) | (copied ? COPIED : 0);
    export->managed.versioned =
        (DLManagedTensorVersioned){{MAJOR, MINOR}, export, delete_versioned, flags, tensor};
    *out = &export->managed.versioned;
    return FAC_OK;
}

/* --- import ----------------------------------------------------------------------------------- */

static FacStatus
import_dtype(DLDataType type, FacDType *out)
{
    for (int dt = 0; dt < FAC_DTYPES; dt++) {
        DLDataType known = dl_types[dt];
        if (known.code == type.code && known.bits == type.bits && type.lanes == 1) {
            *out = (FacDType)dt;
            return FAC_OK;
        }
    }
    return fac_error(FAC_BUFFER_ERROR,
                     "there is no dtype for DLPack type code %d with %d bits and "
                     "%d lanes",
                     type.code, type.bits, type.lanes);
}

static FacStatus
import_device(DLDevice device, FacDevice *out)
{
    switch (device.device_type) {
    case DL_CPU:
    case DL_CUDA_HOST:
    case DL_ROCM_HOST: *out = FAC_CPU_DEVICE; return FAC_OK;
    case DL_CUDA: *out = fac_device(FAC_DEV_CUDA, (int8_t)device.device_id); break;
    case DL_ROCM: *out = fac_device(FAC_DEV_HIP, (int8_t)device.device_id); break;
    default:
        return fac_error(FAC_BUFFER_ERROR, "tensors on DLPack device type %d cannot be imported",
                         (int)device.device_type);
    }
    if (device.device_id < 0 || device.device_id > INT8_MAX)
        return fac_error(FAC_BUFFER_ERROR, "there is no device number %d", (int)device.device_id);
    return fac_device_check(*out);
}

/* Strides of C order where the producer gave none; bytes: from the first to the last element. */
static FacStatus
import_layout(const DLTensor *dl, FacDType dt, FacDim *strides, int64_t *numel, int64_t *bytes)
{
    int64_t last = 0;
    bool overflow = false;
    if (dl->ndim < 0 || dl->ndim > FAC_MAX_NDIM)
        return fac_error(FAC_BUFFER_ERROR, "a tensor has at most %d dimensions, not %d",
                         FAC_MAX_NDIM, (int)dl->ndim);
    if (dl->ndim && !dl->shape) return fac_error(FAC_BUFFER_ERROR, "the shape is missing");
    FAC_RETURN_IF_ERROR(fac_sizes_numel(dl->ndim, dl->shape, numel));
    fac_strides_contiguous(dl->ndim, dl->shape, strides);
    for (int i = 0; i < dl->ndim && dl->strides; i++) {
        if (dl->strides[i] < 0 && dl->shape[i] > 1)
            return fac_error(FAC_VALUE_ERROR,
                             "At least one stride in the given array is negative, "
                             "and tensors with negative strides are not currently supported. (You "
                             "can probably work around this by making a copy of your array with "
                             "array.copy().)");
        if (dl->shape[i] > 1) strides[i] = dl->strides[i];
    }
    for (int i = 0; i < dl->ndim && *numel; i++) {
        int64_t step;
        overflow |= __builtin_mul_overflow(dl->shape[i] - 1, strides[i], &step);
        overflow |= __builtin_add_overflow(last, step, &last);
    }
    overflow |= __builtin_add_overflow(last, *numel > 0, &last);
    overflow |= __builtin_mul_overflow(last, (int64_t)fac_dtype_size(dt), bytes);
    return overflow ? fac_sizes_overflow(dl->ndim, dl->shape) : FAC_OK;
}

static FacStatus
import(const DLTensor *dl, bool read_only, FacDeleter deleter, void *managed, FacTensor **out)
{
    FacStatus st = FAC_OK;
    FacStorage *storage = NULL;
    FacDType dt = FAC_DT_NONE;
    FacDevice device;
    FacDim strides[FAC_MAX_NDIM];
    int64_t numel = 0, bytes = 0;
    FAC_RETURN_IF_ERROR(import_dtype(dl->dtype, &dt));
    FAC_RETURN_IF_ERROR(import_device(dl->device, &device));
    FAC_RETURN_IF_ERROR(import_layout(dl, dt, strides, &numel, &bytes));
    char *data = dl->data ? (char *)dl->data + dl->byte_offset : NULL;
    if (numel && !data)
        return fac_error(FAC_BUFFER_ERROR, "there are %lld elements but no data", (long long)numel);
    int part = fac_dtype_size((FacDType)fac_dtype_info[dt].real);
    if (numel && (uintptr_t)data % (uintptr_t)part)
        return fac_error(FAC_BUFFER_ERROR,
                         "the data is not aligned to its elements of %d bytes; "
                         "export a copy instead",
                         part);
    FAC_RETURN_IF_ERROR(fac_storage_borrow(data, (size_t)bytes, device, NULL, managed, &storage));
    storage->read_only = read_only;
    FAC_TRY(fac_tensor_over(storage, dt, dl->ndim, dl->shape, strides, 0, out));
    storage->deleter = deleter; /* from here on the managed tensor is ours */
done:
    fac_storage_release(storage);
    return st;
}

static void
finish_plain(void *context, void *data, size_t bytes)
{
    DLManagedTensor *managed = context;
    (void)data;
    (void)bytes;
    if (managed->deleter) managed->deleter(managed);
}

static void
finish_versioned(void *context, void *data, size_t bytes)
{
    DLManagedTensorVersioned *managed = context;
    (void)data;
    (void)bytes;
    if (managed->deleter) managed->deleter(managed);
}

FacStatus
fac_from_dlpack(DLManagedTensor *managed, FacTensor **out)
{
    return import(&managed->dl_tensor, false, finish_plain, managed, out);
}

FacStatus
fac_from_dlpack_versioned(DLManagedTensorVersioned *managed, FacTensor **out)
{
    if (managed->version.major != MAJOR)
        return fac_error(FAC_BUFFER_ERROR, "DLPack version %u.%u is not understood, only %d.x",
                         managed->version.major, managed->version.minor, MAJOR);
    bool read_only = managed->flags & READ_ONLY;
    return import(&managed->dl_tensor, read_only, finish_versioned, managed, out);
}
