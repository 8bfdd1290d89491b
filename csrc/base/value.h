/* value.h - making and reading tagged values (FacValue is in facula.h).
 *
 * A value borrows what it points to unless FAC_VALUE_OWNED is set. The 16 bytes are copied freely;
 * fac_value_keep makes an owning copy for whatever outlives the call (saved scalars, view replay).
 */
#ifndef FAC_BASE_VALUE_H
#define FAC_BASE_VALUE_H

#include "base/mem.h"

#define FAC_VALUE_NONE ((FacValue){0})

static inline FacValue
fac_v_tensor(FacTensor *t)
{
    return (FacValue){.tag = t ? FAC_V_TENSOR : FAC_V_NONE, .v.t = t};
}
static inline FacValue
fac_v_bool(bool b)
{
    return (FacValue){.tag = FAC_V_BOOL, .v.i = b};
}
static inline FacValue
fac_v_int(int64_t i)
{
    return (FacValue){.tag = FAC_V_INT, .v.i = i};
}
static inline FacValue
fac_v_float(double f)
{
    return (FacValue){.tag = FAC_V_FLOAT, .v.f = f};
}
static inline FacValue
fac_v_dtype(FacDType dt)
{
    return dt < 0 ? FAC_VALUE_NONE : (FacValue){.tag = FAC_V_DTYPE, .v.i = dt};
}
static inline FacValue
fac_v_device(FacDevice device)
{
    return (FacValue){.tag = FAC_V_DEVICE, .v.device = device};
}
static inline FacValue
fac_v_ints(const int64_t *ints, int n)
{
    return (FacValue){.tag = FAC_V_INTS, .len = (uint32_t)n, .v.ints = ints};
}
static inline FacValue
fac_v_tensors(FacTensor *const *tensors, int n)
{
    return (FacValue){.tag = FAC_V_TENSORS, .len = (uint32_t)n, .v.tensors = tensors};
}
static inline FacValue
fac_v_str(const char *s)
{
    return (FacValue){
        .tag = s ? FAC_V_STR : FAC_V_NONE, .len = s ? (uint32_t)__builtin_strlen(s) : 0, .v.s = s};
}

static inline bool
fac_v_is_number(FacValue v)
{
    return v.tag >= FAC_V_BOOL && v.tag <= FAC_V_COMPLEX;
}
static inline FacTensor *
fac_v_as_tensor(FacValue v) /* NULL for anything else */
{
    return v.tag == FAC_V_TENSOR ? v.v.t : NULL;
}
/* Numbers read as another kind: a float is truncated, a complex gives its real part. */
int64_t fac_v_as_int(FacValue v);
double fac_v_as_float(FacValue v);
void fac_v_as_complex(FacValue v, double out[2]);
bool fac_v_is_true(FacValue v); /* number other than zero */
/* Writes the number as one element of dtype dt (wrapping and rounding as a cast does). */
void fac_v_store(FacValue v, FacDType dt, void *out);
/* Reads one element of dtype dt; complex numbers go to `c` and the value points there. */
FacValue fac_v_load(FacDType dt, const void *at, double c[2]);
/* The dtype that a bare number has before promotion: bool, int64, default float, its complex. */
FacDType fac_v_dtype_of_number(FacValue v);

/* An owning copy: tensors and generators are retained, lists and strings copied. */
FacStatus fac_value_keep(FacValue v, FacValue *out) FAC_MUST_CHECK;
void fac_values_release(FacValue *values, int n);
/* An owned list of tensors of length n, all NULL, to be filled: for operators that return lists. */
FacStatus fac_value_new_tensors(int n, FacValue *out, FacTensor ***slots) FAC_MUST_CHECK;

/* base/ does not know tensors: tensor/ and tensor/random install their counts here at start. */
typedef struct FacValueHooks {
    void (*retain_tensor)(FacTensor *);
    void (*release_tensor)(FacTensor *);
    void (*retain_generator)(FacGenerator *);
    void (*release_generator)(FacGenerator *);
    void (*retain_storage)(FacStorage *);
    void (*release_storage)(FacStorage *);
    void (*retain_object)(void *);
    void (*release_object)(void *);
} FacValueHooks;
extern FacValueHooks fac_value_hooks;

#endif
