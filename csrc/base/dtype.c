/* dtype.c - the table of dtypes, promotion, and the default.
 *
 * Promotion follows from kinds and sizes: the higher kind wins; within a kind the larger one, with
 * three exceptions: float16 with bfloat16 is float32, uint8 with int8 is int16, and a complex
 * dtype must have parts that hold the other operand's. The wide unsigned integers promote with
 * floating dtypes only, and float8 with nothing, as in the peer.
 */
#include "base/dtype.h"

#include <stdatomic.h>
#include <string.h>

#define ROW(dt, name_, legacy_, size_, kind_, compute_, real_, complex_, signed_)                  \
    [FAC_DT_##dt] = {.name = name_,                                                                \
                     .legacy = legacy_,                                                            \
                     .size = size_,                                                                \
                     .kind = FAC_KIND_##kind_,                                                     \
                     .compute = FAC_DT_##compute_,                                                 \
                     .real = FAC_DT_##real_,                                                       \
                     .complex = FAC_DT_##complex_,                                                 \
                     .is_signed = signed_}

const FacDTypeInfo fac_dtype_info[FAC_DTYPES] = {
    ROW(BOOL, "bool", "Bool", 1, BOOL, BOOL, BOOL, NONE, false),
    ROW(U8, "uint8", "Byte", 1, INT, U8, U8, NONE, false),
    ROW(I8, "int8", "Char", 1, INT, I8, I8, NONE, true),
    ROW(U16, "uint16", "UInt16", 2, INT, U16, U16, NONE, false),
    ROW(I16, "int16", "Short", 2, INT, I16, I16, NONE, true),
    ROW(U32, "uint32", "UInt32", 4, INT, U32, U32, NONE, false),
    ROW(I32, "int32", "Int", 4, INT, I32, I32, NONE, true),
    ROW(U64, "uint64", "UInt64", 8, INT, U64, U64, NONE, false),
    ROW(I64, "int64", "Long", 8, INT, I64, I64, NONE, true),
    ROW(F16, "float16", "Half", 2, FLOAT, F32, F16, C32, true),
    ROW(BF16, "bfloat16", "BFloat16", 2, FLOAT, F32, BF16, C64, true),
    ROW(F32, "float32", "Float", 4, FLOAT, F32, F32, C64, true),
    ROW(F64, "float64", "Double", 8, FLOAT, F64, F64, C128, true),
    ROW(C32, "complex32", "ComplexHalf", 4, COMPLEX, C64, F16, C32, true),
    ROW(C64, "complex64", "ComplexFloat", 8, COMPLEX, C64, F32, C64, true),
    ROW(C128, "complex128", "ComplexDouble", 16, COMPLEX, C128, F64, C128, true),
    ROW(F8_E4M3FN, "float8_e4m3fn", "Float8_e4m3fn", 1, FLOAT, F32, F8_E4M3FN, NONE, true),
    ROW(F8_E5M2, "float8_e5m2", "Float8_e5m2", 1, FLOAT, F32, F8_E5M2, NONE, true),
    ROW(F8_E4M3FNUZ, "float8_e4m3fnuz", "Float8_e4m3fnuz", 1, FLOAT, F32, F8_E4M3FNUZ, NONE, true),
    ROW(F8_E5M2FNUZ, "float8_e5m2fnuz", "Float8_e5m2fnuz", 1, FLOAT, F32, F8_E5M2FNUZ, NONE, true),
};

static _Atomic int default_dtype = FAC_DT_F32;

static bool
is_float8(FacDType dt)
{
    return dt >= FAC_DT_F8_E4M3FN;
}

static bool
is_wide_unsigned(FacDType dt)
{
    return dt == FAC_DT_U16 || dt == FAC_DT_U32 || dt == FAC_DT_U64;
}

static FacDType
promote_integers(FacDType a, FacDType b)
{
    const FacDTypeInfo *x = &fac_dtype_info[a], *y = &fac_dtype_info[b];
    if (x->kind != y->kind) return x->kind > y->kind ? a : b;
    if (x->size == y->size) return FAC_DT_I16; /* uint8 with int8 */
    return x->size > y->size ? a : b;
}

static FacDType
promote_floats(FacDType a, FacDType b)
{
    const FacDTypeInfo *x = &fac_dtype_info[a], *y = &fac_dtype_info[b];
    if (x->size == y->size) return FAC_DT_F32; /* float16 with bfloat16 */
    return x->size > y->size ? a : b;
}

FacDType
fac_promote(FacDType a, FacDType b)
{
    if (a == b) return a;
    if (a < 0 || b < 0 || is_float8(a) || is_float8(b)) return FAC_DT_NONE;
    FacKind ka = fac_dtype_info[a].kind, kb = fac_dtype_info[b].kind;
    if (is_wide_unsigned(a) || is_wide_unsigned(b)) {
        if (ka == FAC_KIND_FLOAT) return a;
        return kb == FAC_KIND_FLOAT ? b : FAC_DT_NONE;
    }
    if (ka <= FAC_KIND_INT && kb <= FAC_KIND_INT) return promote_integers(a, b);
    if (ka <= FAC_KIND_INT) return b;
    if (kb <= FAC_KIND_INT) return a;
    if (ka == FAC_KIND_FLOAT && kb == FAC_KIND_FLOAT) return promote_floats(a, b);
    FacDType x = fac_dtype_info[a].complex, y = fac_dtype_info[b].complex;
    return fac_dtype_info[x].size > fac_dtype_info[y].size ? x : y;
}

bool
fac_can_cast(FacDType from, FacDType to)
{
    return fac_dtype_info[from].kind <= fac_dtype_info[to].kind;
}

FacDType
fac_dtype_from_name(const char *name)
{
    for (int i = 0; i < FAC_DTYPES; i++)
        if (strcmp(fac_dtype_info[i].name, name) == 0) return (FacDType)i;
    return FAC_DT_NONE;
}

FacDType
fac_default_dtype(void)
{
    return (FacDType)atomic_load_explicit(&default_dtype, memory_order_relaxed);
}

FacStatus
fac_set_default_dtype(FacDType dt)
{
    if (dt < 0 || !FAC_IS_FLOAT(dt) || is_float8(dt))
        return fac_error(FAC_TYPE_ERROR,
                         "the default dtype must be one of float16, bfloat16, "
                         "float32 and float64, not %s",
                         dt < 0 ? "None" : fac_dtype_info[dt].name);
    default_dtype = dt;
    return FAC_OK;
}

FacDType
fac_default_complex(void)
{
    return (FacDType)fac_dtype_info[fac_default_dtype()].complex;
}
