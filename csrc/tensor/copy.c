/* copy.c - copies with conversion, contiguous copies, single elements.
 *
 * Three ways: whole memory at once where both sides are contiguous and alike; moves of bytes along
 * rows or, for transposed sources, by tiles where only the layouts differ; and the pointwise
 * engine with a cast as its loop where dtypes or lazy bits differ.
 */
#include "base/pool.h"
#include "tensor/strided.h"
#include "tensor/walk.h"

#include <string.h>

FacCast fac_casts[FAC_DTYPES][FAC_DTYPES];
FacAllFinite fac_all_finite;

enum { SHORT_ROW = 16 };

static uint8_t
lazy_bits(const FacTensor *t)
{
    return t->flags & (FAC_T_CONJ | FAC_T_NEG);
}

static bool
same_layout(const FacTensor *a, const FacTensor *b)
{
    if (a->ndim != b->ndim) return false;
    size_t bytes = a->ndim * sizeof(FacDim);
    if (memcmp(a->sizes, b->sizes, bytes) != 0) return false;
    return (a->contiguous && b->contiguous) || memcmp(a->strides, b->strides, bytes) == 0;
}

/* --- moves of bytes --------------------------------------------------------------------------- */

typedef struct Move {
    char *to;
    const char *from;
    int size;
} Move;

static void
bytes_task(int64_t begin, int64_t end, void *context)
{
    const Move *move = context;
    memmove(move->to + begin * move->size, move->from + begin * move->size,
            (size_t)((end - begin) * move->size));
}

static void
move_row(char *const *data, const FacDim *strides, int64_t n, void *context)
{
    const Move *move = context;
    fac_move_row(data[0], strides[0], data[1], strides[1], n, move->size);
}

static void
move_panel(const FacIter *it, char *const *at, int64_t columns, int64_t rows, void *context)
{
    const Move *move = context;
    fac_transpose(at[0], it->operand[0].strides[1], at[1], it->operand[1].strides[0], rows, columns,
                  move->size);
}

/* Makes the longer of the two innermost dimensions the innermost: any order gives the same copy. */
static void
lengthen_rows(FacIter *it)
{
    if (it->ndim < 2 || it->sizes[0] >= SHORT_ROW || it->sizes[1] <= it->sizes[0]) return;
    FacDim size = it->sizes[0];
    it->sizes[0] = it->sizes[1];
    it->sizes[1] = size;
    for (int k = 0; k < 2; k++) {
        FacDim *strides = it->operand[k].strides, stride = strides[0];
        strides[0] = strides[1];
        strides[1] = stride;
    }
}

static void
move_elements(FacIter *it)
{
    Move move = {it->operand[0].data, it->operand[1].data, fac_dtype_size(it->operand[0].dtype)};
    if (it->contiguous) {
        fac_parallel(it->numel, fac_iter_grain(), bytes_task, &move);
    } else if (it->operand[0].strides[0] == move.size && fac_iter_tile(it, 1)) {
        fac_iter_panels(it, move_panel, &move);
    } else {
        lengthen_rows(it);
        fac_iter_rows(it, 0, move_row, &move);
    }
}

/* --- copies with conversion ------------------------------------------------------------------- */

static void
cast_loop(void *const *data, int64_t n, const void *params)
{
    (*(const FacCast *)params)(data[1], data[0], n);
}

static void
same_loop(void *const *data, int64_t n, const void *params)
{
    memmove(data[0], data[1], (size_t)(n * *(const int *)params));
}

/* Copies between devices, or on one that is not the processor: whole memory only. */
static FacStatus
copy_across(FacTensor *to, FacTensor *from)
{
    const FacDeviceOps *ops = fac_devices[to->device.type];
    if (to->device.type == FAC_DEV_CPU) ops = fac_devices[from->device.type];
    bool alike = to->dtype == from->dtype && lazy_bits(to) == lazy_bits(from) && to->contiguous &&
                 from->contiguous && same_layout(to, from);
    if (ops && alike)
        return ops->copy(fac_data(to), to->device, fac_data(from), from->device, fac_nbytes(to));
    char a[32], b[32];
    return fac_error(FAC_NOT_IMPLEMENTED,
                     "copying from %s to %s needs contiguous tensors of one dtype and shape",
                     fac_device_text(from->device, a), fac_device_text(to->device, b));
}

/* Wrappers have no elements to be read: rows act on their values. */
static FacStatus
need_data(const FacTensor *t)
{
    if (FAC_LIKELY(!(t->flags & FAC_T_OVERRIDDEN_STORAGE))) return FAC_OK;
    return fac_error(FAC_RUNTIME_ERROR,
                     "the elements of this tensor cannot be read: it is inside of vmap, or a "
                     "wrapper without memory of its own");
}

FacStatus
fac_tensor_copy(FacTensor *to, FacTensor *from)
{
    FacIter it;
    FAC_RETURN_IF_ERROR(need_data(to));
    FAC_RETURN_IF_ERROR(need_data(from));
    bool alike = to->dtype == from->dtype && lazy_bits(to) == lazy_bits(from);
    FacValue operand = fac_v_tensor(from);
    if (fac_is_meta(from) && !fac_is_meta(to))
        return fac_error(FAC_NOT_IMPLEMENTED, "Cannot copy out of meta tensor; no data!");
    if (to->device.type != FAC_DEV_CPU || from->device.type != FAC_DEV_CPU) {
        bool meta = fac_is_meta(to);
        return meta || to->numel == 0 ? FAC_OK : copy_across(to, from);
    }
    if (alike && to->contiguous && from->contiguous && same_layout(to, from) &&
        fac_nbytes(to) <= 4096) {
        if (to->numel) memmove(fac_data(to), fac_data(from), fac_nbytes(to));
        return FAC_OK;
    }
    FAC_RETURN_IF_ERROR(fac_iter_init(&it, 1, &to, 1, &operand, FAC_DT_NONE, FAC_DT_NONE));
    if (it.numel == 0) return FAC_OK;
    if (alike) {
        /* equal lazy bits cancel out: the bytes are what is to be copied */
        for (int k = 0; k < 2; k++) it.operand[k].conj = it.operand[k].neg = false;
        it.contiguous = it.ndim == 1 &&
                        it.operand[0].strides[0] == fac_dtype_size(it.operand[0].dtype) &&
                        it.operand[0].strides[0] == it.operand[1].strides[0];
        move_elements(&it);
    } else if (to->dtype == from->dtype) {
        int size = fac_dtype_size((FacDType)to->dtype);
        fac_iter_blocks(&it, same_loop, &size);
    } else {
        fac_iter_blocks(&it, cast_loop, &fac_casts[from->dtype][to->dtype]);
    }
    return FAC_OK;
}

FacStatus
fac_contiguous(FacTensor *t, FacDType dt, FacTensor **out)
{
    FacTensor *copy;
    FAC_RETURN_IF_ERROR(need_data(t));
    if (dt == FAC_DT_NONE) dt = (FacDType)t->dtype;
    if (t->contiguous && dt == (FacDType)t->dtype && !lazy_bits(t)) {
        *out = fac_tensor_retain(t);
        return FAC_OK;
    }
    FAC_RETURN_IF_ERROR(fac_tensor_new(dt, t->device, t->ndim, t->sizes, &copy));
    FacStatus st = fac_tensor_copy(copy, t);
    if (st != FAC_OK) {
        fac_tensor_release(copy);
        return st;
    }
    *out = copy;
    return FAC_OK;
}

FacStatus
fac_tensor_item(FacTensor *t, double c[2], FacValue *out)
{
    _Alignas(16) char one[16];
    FacDType dt = (FacDType)t->dtype;
    FAC_RETURN_IF_ERROR(need_data(t));
    if (t->numel != 1)
        return fac_error(FAC_RUNTIME_ERROR,
                         "a Tensor with %lld elements cannot be converted to "
                         "Scalar",
                         (long long)t->numel);
    if (fac_is_meta(t))
        return fac_error(FAC_RUNTIME_ERROR, "Tensor.item() cannot be called on meta tensors");
    if (t->device.type == FAC_DEV_CPU)
        memcpy(one, fac_data(t), fac_dtype_info[dt].size);
    else
        FAC_RETURN_IF_ERROR(fac_devices[t->device.type]->copy(one, FAC_CPU_DEVICE, fac_data(t),
                                                              t->device, fac_dtype_info[dt].size));
    fac_apply_lazy(dt, one, 1, t->flags & FAC_T_CONJ, t->flags & FAC_T_NEG);
    *out = fac_v_load(dt, one, c);
    return FAC_OK;
}
