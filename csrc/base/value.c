/* value.c - numbers in and out of values, and owning copies.
 *
 * Conversions between numbers are those of a tensor's cast: integers wrap, floats are truncated
 * towards zero, and a float that no int64 holds becomes the smallest one (what the processor's
 * conversion gives, written out because C leaves it undefined). An owning copy is deep: lists
 * are copied, tensors and other counted things retained.
 */
#include "base/value.h"

#include "base/dtype.h"
#include "base/half.h"

#include <string.h>

FacValueHooks fac_value_hooks;

static int64_t
float_to_int(double f)
{
    return f >= -0x1p63 && f < 0x1p63 ? (int64_t)f : INT64_MIN;
}

int64_t
fac_v_as_int(FacValue v)
{
    switch (v.tag) {
    case FAC_V_BOOL: return v.v.b;
    case FAC_V_INT: return v.v.i;
    case FAC_V_FLOAT: return float_to_int(v.v.f);
    case FAC_V_COMPLEX: return float_to_int(v.v.c[0]);
    default: return 0;
    }
}

double
fac_v_as_float(FacValue v)
{
    switch (v.tag) {
    case FAC_V_BOOL: return v.v.b;
    case FAC_V_INT: return v.flags & FAC_VALUE_UNSIGNED ? (double)(uint64_t)v.v.i : (double)v.v.i;
    case FAC_V_FLOAT: return v.v.f;
    case FAC_V_COMPLEX: return v.v.c[0];
    default: return 0.0;
    }
}

void
fac_v_as_complex(FacValue v, double out[2])
{
    out[0] = fac_v_as_float(v);
    out[1] = v.tag == FAC_V_COMPLEX ? v.v.c[1] : 0.0;
}

bool
fac_v_is_true(FacValue v)
{
    switch (v.tag) {
    case FAC_V_BOOL: return v.v.b;
    case FAC_V_INT: return v.v.i != 0;
    case FAC_V_FLOAT: return v.v.f != 0.0;
    case FAC_V_COMPLEX: return v.v.c[0] != 0.0 || v.v.c[1] != 0.0;
    default: return false;
    }
}

static void
store_integer(FacValue v, int bytes, void *out)
{
    double f = fac_v_as_float(v);
    bool above = v.tag != FAC_V_BOOL && v.tag != FAC_V_INT && f >= 0x1p63 && f < 0x1p64;
    uint64_t u = above ? (uint64_t)f : (uint64_t)fac_v_as_int(v);
    uint8_t one = (uint8_t)u;
    uint16_t two = (uint16_t)u;
    uint32_t four = (uint32_t)u;
    switch (bytes) {
    case 1: memcpy(out, &one, 1); break;
    case 2: memcpy(out, &two, 2); break;
    case 4: memcpy(out, &four, 4); break;
    default: memcpy(out, &u, 8); break;
    }
}

static void
store_float(double f, FacDType dt, void *out)
{
    float narrow = (float)f;
    uint16_t half;
    switch (dt) {
    case FAC_DT_F64: memcpy(out, &f, 8); return;
    case FAC_DT_F32: memcpy(out, &narrow, 4); return;
    case FAC_DT_F16: half = fac_f32_to_f16(narrow); break;
    case FAC_DT_BF16: half = fac_f32_to_bf16(narrow); break;
    case FAC_DT_F8_E4M3FN: *(uint8_t *)out = fac_f32_to_f8_e4m3fn(narrow); return;
    case FAC_DT_F8_E5M2: *(uint8_t *)out = fac_f32_to_f8_e5m2(narrow); return;
    case FAC_DT_F8_E4M3FNUZ: *(uint8_t *)out = fac_f32_to_f8_e4m3fnuz(narrow); return;
    default: *(uint8_t *)out = fac_f32_to_f8_e5m2fnuz(narrow); return;
    }
    memcpy(out, &half, 2);
}

void
fac_v_store(FacValue v, FacDType dt, void *out)
{
    const FacDTypeInfo *info = &fac_dtype_info[dt];
    double parts[2];
    bool truth;
    switch ((FacKind)info->kind) {
    case FAC_KIND_BOOL:
        truth = fac_v_is_true(v);
        memcpy(out, &truth, 1);
        break;
    case FAC_KIND_INT: store_integer(v, info->size, out); break;
    case FAC_KIND_FLOAT: store_float(fac_v_as_float(v), dt, out); break;
    case FAC_KIND_COMPLEX:
        fac_v_as_complex(v, parts);
        store_float(parts[0], (FacDType)info->real, out);
        store_float(parts[1], (FacDType)info->real, (char *)out + info->size / 2);
        break;
    }
}

static FacValue
load_integer(FacDType dt, const void *at)
{
    int64_t i = 0;
    memcpy(&i, at, fac_dtype_info[dt].size); /* little-endian, as every machine that is built for */
    switch (dt) {
    case FAC_DT_I8: i = (int8_t)i; break;
    case FAC_DT_I16: i = (int16_t)i; break;
    case FAC_DT_I32: i = (int32_t)i; break;
    default: break;
    }
    FacValue v = fac_v_int(i);
    if (dt == FAC_DT_U64 && i < 0) v.flags = FAC_VALUE_UNSIGNED;
    return v;
}

static double
load_float(FacDType dt, const void *at)
{
    double wide;
    float f;
    uint16_t half;
    uint8_t byte = *(const uint8_t *)at;
    switch (dt) {
    case FAC_DT_F64: memcpy(&wide, at, 8); return wide;
    case FAC_DT_F32: memcpy(&f, at, 4); return f;
    case FAC_DT_F16: memcpy(&half, at, 2); return fac_f16_to_f32(half);
    case FAC_DT_BF16: memcpy(&half, at, 2); return fac_bf16_to_f32(half);
    case FAC_DT_F8_E4M3FN: return fac_f8_e4m3fn_to_f32(byte);
    case FAC_DT_F8_E5M2: return fac_f8_e5m2_to_f32(byte);
    case FAC_DT_F8_E4M3FNUZ: return fac_f8_e4m3fnuz_to_f32(byte);
    default: return fac_f8_e5m2fnuz_to_f32(byte);
    }
}

FacValue
fac_v_load(FacDType dt, const void *at, double c[2])
{
    const FacDTypeInfo *info = &fac_dtype_info[dt];
    switch ((FacKind)info->kind) {
    case FAC_KIND_BOOL: return fac_v_bool(*(const uint8_t *)at != 0);
    case FAC_KIND_INT: return load_integer(dt, at);
    case FAC_KIND_FLOAT: return fac_v_float(load_float(dt, at));
    default: break;
    }
    c[0] = load_float((FacDType)info->real, at);
    c[1] = load_float((FacDType)info->real, (const char *)at + info->size / 2);
    return (FacValue){.tag = FAC_V_COMPLEX, .v.c = c};
}

FacDType
fac_v_dtype_of_number(FacValue v)
{
    switch (v.tag) {
    case FAC_V_BOOL: return FAC_DT_BOOL;
    case FAC_V_INT: return v.flags & FAC_VALUE_UNSIGNED ? FAC_DT_U64 : FAC_DT_I64;
    case FAC_V_FLOAT: return fac_default_dtype();
    case FAC_V_COMPLEX: return fac_default_complex();
    default: return FAC_DT_NONE;
    }
}

/* --- owning copies ---------------------------------------------------------------------------- */

/* Bytes behind a value's pointer that a copy must copy; 0 for what is counted or in the value. */
static size_t
bytes_behind(FacValue v)
{
    switch (v.tag) {
    case FAC_V_COMPLEX: return 2 * sizeof(double);
    case FAC_V_STR: return (size_t)v.len + 1;
    case FAC_V_INTS: return v.len * sizeof(int64_t);
    case FAC_V_FLOATS: return v.len * sizeof(double);
    case FAC_V_BOOLS: return v.len * sizeof(bool);
    case FAC_V_VALUES: return v.len * sizeof(FacValue);
    case FAC_V_TENSORS: return v.len * sizeof(FacTensor *);
    default: return 0;
    }
}

static void
retain_counted(FacValue v)
{
    switch (v.tag) {
    case FAC_V_TENSOR: fac_value_hooks.retain_tensor(v.v.t); break;
    case FAC_V_GENERATOR: fac_value_hooks.retain_generator(v.v.generator); break;
    case FAC_V_STORAGE: fac_value_hooks.retain_storage(v.v.storage); break;
    case FAC_V_OBJECT: fac_value_hooks.retain_object(v.v.p); break;
    case FAC_V_TENSORS:
        for (uint32_t i = 0; i < v.len; i++)
            if (v.v.tensors[i]) fac_value_hooks.retain_tensor(v.v.tensors[i]);
        break;
    default: break;
    }
}

FacStatus
fac_value_keep(FacValue v, FacValue *out)
{
    size_t bytes = bytes_behind(v);
    FacValue copy = v;
    copy.flags = (uint8_t)(v.flags | FAC_VALUE_OWNED);
    if (bytes) {
        void *at = fac_mem_alloc(bytes);
        if (!at) return fac_mem_error(bytes);
        memcpy(at, v.v.p, bytes);
        copy.v.p = at;
    } else if (v.tag >= FAC_V_INTS && v.tag <= FAC_V_TENSORS) {
        copy.v.p = NULL; /* an empty list: what the original points to is not the copy's */
    }
    if (v.tag == FAC_V_VALUES) {
        FacValue *items = copy.v.p;
        for (uint32_t i = 0; i < v.len; i++) {
            FacStatus st = fac_value_keep(v.v.values[i], &items[i]);
            if (st == FAC_OK) continue;
            fac_values_release(items, (int)i);
            fac_mem_free(items);
            return st;
        }
    }
    retain_counted(v);
    *out = copy;
    return FAC_OK;
}

void
fac_value_release(FacValue *value)
{
    FacValue v = *value;
    *value = FAC_VALUE_NONE;
    if (!(v.flags & FAC_VALUE_OWNED)) return;
    switch (v.tag) {
    case FAC_V_TENSOR: fac_value_hooks.release_tensor(v.v.t); break;
    case FAC_V_GENERATOR: fac_value_hooks.release_generator(v.v.generator); break;
    case FAC_V_STORAGE: fac_value_hooks.release_storage(v.v.storage); break;
    case FAC_V_OBJECT: fac_value_hooks.release_object(v.v.p); break;
    case FAC_V_TENSORS:
        for (uint32_t i = 0; i < v.len; i++)
            if (v.v.tensors[i]) fac_value_hooks.release_tensor(v.v.tensors[i]);
        fac_mem_free(v.v.p);
        break;
    case FAC_V_VALUES:
        fac_values_release(v.v.p, (int)v.len);
        fac_mem_free(v.v.p);
        break;
    default:
        if (bytes_behind(v)) fac_mem_free(v.v.p);
        break;
    }
}

void
fac_values_release(FacValue *values, int n)
{
    for (int i = 0; i < n; i++) fac_value_release(&values[i]);
}

FacStatus
fac_value_new_tensors(int n, FacValue *out, FacTensor ***slots)
{
    size_t bytes = (size_t)(n > 0 ? n : 1) * sizeof(FacTensor *);
    FacTensor **list = fac_mem_zalloc(bytes);
    if (!list) return fac_mem_error(bytes);
    *slots = list;
    *out = (FacValue){.tag = FAC_V_TENSORS,
                      .flags = FAC_VALUE_OWNED,
                      .len = (uint32_t)(n > 0 ? n : 0),
                      .v.tensors = list};
    return FAC_OK;
}
