/* device.c - names of devices, the table of those that exist, and the default one.
 *
 * The CPU and meta are always there. Every other kind parses, so that programs can name it, and
 * fac_device_check tells in one sentence why no tensor can live on it here.
 */
#include "device/device.h"

#include "base/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const type_names[FAC_DEVICE_TYPES] = {
#define TYPE_NAME(name, python) python,
    FAC_DEVICE_LIST(TYPE_NAME)
#undef TYPE_NAME
};

static _Thread_local FacDevice default_device = {FAC_DEV_CPU, -1};

/* --- cpu and meta ----------------------------------------------------------------------------- */

static int
one(void)
{
    return 1;
}

static FacStatus
cpu_alloc(int index, size_t bytes, void **out)
{
    (void)index;
    return fac_host_alloc(bytes, out);
}

static void
cpu_free(int index, void *at, size_t bytes)
{
    (void)index;
    fac_host_free(at, bytes);
}

static FacStatus
cpu_copy(void *to, FacDevice to_device, const void *from, FacDevice from_device, size_t bytes)
{
    char text[32];
    FacDevice other = to_device.type == FAC_DEV_CPU ? from_device : to_device;
    if (other.type != FAC_DEV_CPU)
        return fac_error(FAC_RUNTIME_ERROR, "the CPU cannot copy to or from %s",
                         fac_device_text(other, text));
    if (bytes) memmove(to, from, bytes);
    return FAC_OK;
}

static FacStatus
cpu_fill_zero(int index, void *at, size_t bytes)
{
    (void)index;
    if (bytes) memset(at, 0, bytes);
    return FAC_OK;
}

static FacStatus
cpu_synchronize(int index)
{
    (void)index;
    return FAC_OK;
}

static FacStatus
meta_alloc(int index, size_t bytes, void **out)
{
    (void)index;
    (void)bytes;
    *out = NULL;
    return FAC_OK;
}

static void
meta_free(int index, void *at, size_t bytes)
{
    (void)index;
    (void)at;
    (void)bytes;
}

static FacStatus
meta_copy(void *to, FacDevice to_device, const void *from, FacDevice from_device, size_t bytes)
{
    (void)to;
    (void)from;
    (void)bytes;
    if (from_device.type == FAC_DEV_META && to_device.type != FAC_DEV_META)
        return fac_error(FAC_NOT_IMPLEMENTED, "cannot copy out of a meta tensor: it has no data");
    return FAC_OK;
}

static FacStatus
meta_fill_zero(int index, void *at, size_t bytes)
{
    meta_free(index, at, bytes);
    return FAC_OK;
}

static const FacDeviceOps cpu_ops = {
    .name = "cpu",
    .count = one,
    .alloc = cpu_alloc,
    .free = cpu_free,
    .copy = cpu_copy,
    .fill_zero = cpu_fill_zero,
    .synchronize = cpu_synchronize,
};

static const FacDeviceOps meta_ops = {
    .name = "meta",
    .count = one,
    .alloc = meta_alloc,
    .free = meta_free,
    .copy = meta_copy,
    .fill_zero = meta_fill_zero,
    .synchronize = cpu_synchronize,
};

const FacDeviceOps *fac_devices[FAC_DEVICE_TYPES] = {
    [FAC_DEV_CPU] = &cpu_ops,
    [FAC_DEV_META] = &meta_ops,
};

/* --- names ------------------------------------------------------------------------------------ */

static FacStatus
unknown_type(const char *text)
{
    FacText names = {.len = 0};
    for (int i = 0; i < FAC_DEVICE_TYPES; i++)
        fac_text_add(&names, i ? ", %s" : "%s", type_names[i]);
    return fac_error(FAC_RUNTIME_ERROR,
                     "Expected one of %s device type at start of device string: %s", names.at,
                     text);
}

/* "0" to "127" without leading zeros; -1 for anything else. */
static int
parse_index(const char *text)
{
    size_t n = strlen(text);
    if (n < 1 || n > 3 || strspn(text, "0123456789") != n || (n > 1 && text[0] == '0')) return -1;
    int index = atoi(text);
    return index <= INT8_MAX ? index : -1;
}

FacStatus
fac_device_parse(const char *text, FacDevice *out)
{
    const char *colon = strchr(text, ':');
    size_t n = colon ? (size_t)(colon - text) : strlen(text);
    int type = 0, index = -1;
    if (!*text) return fac_error(FAC_RUNTIME_ERROR, "Device string must not be empty");
    while (type < FAC_DEVICE_TYPES &&
           (strlen(type_names[type]) != n || strncmp(type_names[type], text, n) != 0))
        type++;
    if (type == FAC_DEVICE_TYPES) return unknown_type(text);
    if (colon && (index = parse_index(colon + 1)) < 0)
        return fac_error(FAC_RUNTIME_ERROR,
                         "Invalid device string: '%s': the index after the colon must be a whole "
                         "number from 0 to %d",
                         text, INT8_MAX);
    *out = fac_device((FacDeviceType)type, index);
    return FAC_OK;
}

const char *
fac_device_text(FacDevice device, char text[32])
{
    bool known = device.type >= 0 && device.type < FAC_DEVICE_TYPES;
    const char *name = known ? type_names[device.type] : "unknown";
    if (device.index < 0)
        snprintf(text, 32, "%s", name);
    else
        snprintf(text, 32, "%s:%d", name, device.index);
    return text;
}

FacStatus
fac_device_check(FacDevice device)
{
    char text[32];
    fac_device_text(device, text);
    if (device.type < 0 || device.type >= FAC_DEVICE_TYPES)
        return fac_error(FAC_RUNTIME_ERROR, "there is no device type number %d", device.type);
    const FacDeviceOps *ops = fac_devices[device.type];
    if (!ops)
        return fac_error(FAC_RUNTIME_ERROR,
                         "facula has no support for %s here; tensors can live on cpu and meta",
                         text);
    if (device.type != FAC_DEV_CPU && device.type != FAC_DEV_META && device.index >= ops->count())
        return fac_error(FAC_RUNTIME_ERROR, "there is no device %s: %s has %d of them", text,
                         ops->name, ops->count());
    return FAC_OK;
}

FacDevice
fac_default_device(void)
{
    return default_device;
}

void
fac_set_default_device(FacDevice device)
{
    default_device = device;
}
