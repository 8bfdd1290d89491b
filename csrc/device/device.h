/* device.h - a device as a short list of primitives, and the caching allocator above them.
 *
 * A missing device is a NULL entry in fac_devices and one sentence that says what is missing.
 * Kernels never allocate through this; rules and dispatch do, by way of storages.
 */
#ifndef FAC_DEVICE_DEVICE_H
#define FAC_DEVICE_DEVICE_H

#include "facula.h"

typedef struct FacDeviceOps {
    const char *name;
    int (*count)(void);
    FacStatus (*alloc)(int index, size_t bytes, void **out);
    void (*free)(int index, void *at, size_t bytes);
    FacStatus (*copy)(void *to, FacDevice to_device, const void *from, FacDevice from_device,
                      size_t bytes);
    FacStatus (*fill_zero)(int index, void *at, size_t bytes);
    FacStatus (*synchronize)(int index);
} FacDeviceOps;

/* By FacDeviceType; NULL where this build or this machine has none. */
extern const FacDeviceOps *fac_devices[FAC_DEVICE_TYPES];

static inline FacDevice
fac_device(FacDeviceType type, int index)
{
    return (FacDevice){(int8_t)type, (int8_t)index};
}
#define FAC_CPU_DEVICE fac_device(FAC_DEV_CPU, -1)
static inline bool
fac_device_equal(FacDevice a, FacDevice b)
{
    return a.type == b.type && a.index == b.index;
}

/* "cuda:1" -> device; the message lists the kinds for an unknown one. */
FacStatus fac_device_parse(const char *text, FacDevice *out) FAC_MUST_CHECK;
/* Writes "cuda:1" or "cpu"; returns text. size 32 is enough. */
const char *fac_device_text(FacDevice device, char text[32]);
/* OK when tensors can live there; else a sentence that says what is missing and what to do. */
FacStatus fac_device_check(FacDevice device) FAC_MUST_CHECK;

/* The default device of factory functions: thread-local. */
FacDevice fac_default_device(void);
void fac_set_default_device(FacDevice device);

/* The CPU's caching allocator: 64-byte aligned, sizes rounded to classes, freed blocks kept for
 * reuse so that the system need not zero fresh pages again; thread-safe, small blocks from
 * per-thread lists. It gives the cache back and tries again before it fails with MEMORY_ERROR. */
FacStatus fac_host_alloc(size_t bytes, void **out) FAC_MUST_CHECK;
void fac_host_free(void *at, size_t bytes);
/* Gives the whole pages of a part of a block back to the system; reading them gives zeros. */
void fac_host_discard(void *at, size_t bytes);
void fac_host_empty_cache(void);

typedef struct FacMemoryStats {
    int64_t allocated, allocated_peak; /* bytes in use */
    int64_t reserved, reserved_peak;   /* bytes taken from the system, the cache included */
    int64_t allocations, frees;        /* counts */
    int64_t cache_hits, system_allocations;
} FacMemoryStats;
void fac_host_stats(FacMemoryStats *out);
void fac_host_reset_peak(void);
/* What this thread has taken, less what it has given back: only differences mean anything. */
int64_t fac_host_thread_bytes(void);

#endif
