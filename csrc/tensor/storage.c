/* storage.c - counted bytes on a device.
 *
 * A storage either owns memory that it took from its device, or borrows somebody else's with a
 * deleter that runs when the last reference goes. Owned memory is told by its deleter too: it is
 * `free_owned`, which host memory, the common case, never calls but goes straight to the caching
 * allocator. On meta there are bytes to count and nothing behind them.
 */
#include "tensor/tensor.h"

#include <string.h>

_Alignas(64) char fac_no_data[1];

FAC_FREE_LIST(storage_block, FacStorage)

/* Memory that a kernel may still read after its storage got other memory. */
typedef struct FacRetired {
    struct FacRetired *next;
    void *data;
    size_t bytes;
} FacRetired;

/* Stands for "this storage's own memory"; only ever compared with. */
static void
free_owned(void *context, void *data, size_t bytes)
{
    (void)context;
    (void)data;
    (void)bytes;
}

/* *out is NULL for no bytes and on meta. */
static FacStatus
allocate(FacDevice device, size_t bytes, void **out)
{
    *out = NULL;
    if (device.type == FAC_DEV_META) return FAC_OK;
    if (device.type == FAC_DEV_CPU) return bytes ? fac_host_alloc(bytes, out) : FAC_OK;
    FAC_RETURN_IF_ERROR(fac_device_check(device));
    return bytes ? fac_devices[device.type]->alloc(device.index, bytes, out) : FAC_OK;
}

static void
give_back(FacDevice device, void *data, size_t bytes)
{
    if (!data) return;
    if (FAC_LIKELY(device.type == FAC_DEV_CPU))
        fac_host_free(data, bytes);
    else
        fac_devices[device.type]->free(device.index, data, bytes);
}

/* The processor and meta have one device only, the accelerators a current one: index 0. */
static FacDevice
exact_device(FacDevice device)
{
    if (device.type == FAC_DEV_CPU || device.type == FAC_DEV_META)
        device.index = -1;
    else if (device.index < 0)
        device.index = 0;
    return device;
}

FacStatus
fac_storage_new(FacDevice device, size_t bytes, FacStorage **out)
{
    device = exact_device(device);
    FacStorage *s = storage_block_alloc();
    if (FAC_UNLIKELY(!s)) return fac_mem_error(sizeof *s);
    FacStatus st = allocate(device, bytes, &s->data);
    if (FAC_UNLIKELY(st != FAC_OK)) {
        storage_block_free(s);
        return st;
    }
    atomic_init(&s->refs, 1);
    s->bytes = bytes;
    s->device = device;
    s->resizable = true;
    s->read_only = false;
    s->deleter = free_owned;
    s->context = NULL;
    s->capacity = bytes;
    atomic_init(&s->pins, 0);
    s->retired = NULL;
    atomic_init(&s->wrapper, NULL);
    *out = s;
    return FAC_OK;
}

FacStatus
fac_storage_borrow(void *data, size_t bytes, FacDevice device, FacDeleter deleter, void *context,
                   FacStorage **out)
{
    FacStorage *s = storage_block_alloc();
    if (!s) return fac_mem_error(sizeof *s);
    atomic_init(&s->refs, 1);
    s->data = bytes ? data : NULL;
    s->bytes = bytes;
    s->device = exact_device(device);
    s->resizable = false;
    s->read_only = false;
    s->deleter = deleter;
    s->context = context;
    s->capacity = bytes;
    atomic_init(&s->pins, 0);
    s->retired = NULL;
    atomic_init(&s->wrapper, NULL);
    *out = s;
    return FAC_OK;
}

/* Frees the memory of the storage, or puts it aside while somebody works on it. */
static FacStatus
retire(FacStorage *s)
{
    if (!s->data || atomic_load_explicit(&s->pins, memory_order_acquire) == 0) {
        give_back(s->device, s->data, s->capacity);
        return FAC_OK;
    }
    FacRetired *old = fac_mem_alloc(sizeof *old);
    if (!old) return fac_mem_error(sizeof *old);
    *old = (FacRetired){s->retired, s->data, s->capacity};
    s->retired = old;
    return FAC_OK;
}

FacStatus
fac_storage_resize(FacStorage *storage, size_t bytes)
{
    void *data;
    if (!storage->resizable)
        return fac_error(FAC_RUNTIME_ERROR, "Trying to resize storage that is not resizable");
    if (storage->device.type == FAC_DEV_CPU && bytes <= storage->capacity) {
        if (bytes < storage->bytes)
            fac_host_discard((char *)storage->data + bytes, storage->capacity - bytes);
        storage->bytes = bytes;
        return FAC_OK;
    }
    FAC_RETURN_IF_ERROR(allocate(storage->device, bytes, &data));
    size_t kept = bytes < storage->bytes ? bytes : storage->bytes;
    if (data && storage->data && kept) {
        FacStatus st = FAC_OK;
        if (storage->device.type == FAC_DEV_CPU)
            memcpy(data, storage->data, kept);
        else
            st = fac_devices[storage->device.type]->copy(data, storage->device, storage->data,
                                                         storage->device, kept);
        if (st != FAC_OK) {
            give_back(storage->device, data, bytes);
            return st;
        }
    }
    FacStatus st = retire(storage);
    if (st != FAC_OK) {
        give_back(storage->device, data, bytes);
        return st;
    }
    storage->data = data;
    storage->bytes = storage->capacity = bytes;
    return FAC_OK;
}

void
fac_storage_retain(FacStorage *storage)
{
    fac_refs_up(&storage->refs);
}

void
fac_storage_release(FacStorage *storage)
{
    if (!storage || !fac_refs_down(&storage->refs)) return;
    for (FacRetired *old = storage->retired, *next; old; old = next) {
        next = old->next;
        give_back(storage->device, old->data, old->bytes);
        fac_mem_free(old);
    }
    if (FAC_LIKELY(storage->deleter == free_owned))
        give_back(storage->device, storage->data, storage->capacity);
    else if (storage->deleter)
        storage->deleter(storage->context, storage->data, storage->bytes);
    storage_block_free(storage);
}
