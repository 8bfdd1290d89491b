/* formula.c - the run-time part of formulas; see formula.h for who owns what. */
#include "dispatch/formula.h"

#include <complex.h>
#include <math.h>
#include <string.h>

void
fac_formula_release(FacValue *t, int n)
{
    for (int i = 0; i < n; i++)
        if (t[i].tag == FAC_V_TENSOR || t[i].tag == FAC_V_TENSORS) t[i].flags |= FAC_VALUE_OWNED;
    fac_values_release(t, n);
}

void
fac_formula_take(FacValue *result, FacValue *out)
{
    if (out)
        fac_formula_move(result, out);
    else
        fac_formula_release(result, 1);
}

void
fac_formula_take_tensor(FacValue *result, FacTensor **out)
{
    if (out)
        *out = fac_v_as_tensor(*result);
    else
        fac_formula_release(result, 1);
}

FacStatus
fac_formula_tensor(FacValue operand, FacValue *out)
{
    static const int8_t widest[] = {
        [FAC_V_BOOL] = FAC_DT_BOOL,
        [FAC_V_INT] = FAC_DT_I64,
        [FAC_V_FLOAT] = FAC_DT_F64,
        [FAC_V_COMPLEX] = FAC_DT_C128,
    };
    if (!fac_v_is_number(operand)) return fac_value_keep(operand, out);
    FacTensor *made = NULL;
    FAC_RETURN_IF_ERROR(fac_tensor_from_number(operand, (FacDType)widest[operand.tag], &made));
    *out = fac_v_tensor(made);
    return FAC_OK;
}

/* --- lists ------------------------------------------------------------------------------------- */

static size_t
item_size(FacValue list)
{
    switch (list.tag) {
    case FAC_V_FLOATS: return sizeof *list.v.floats;
    case FAC_V_BOOLS: return sizeof *list.v.bools;
    case FAC_V_VALUES: return sizeof *list.v.values;
    case FAC_V_TENSORS: return sizeof *list.v.tensors;
    default: return sizeof *list.v.ints;
    }
}

FacStatus
fac_formula_item(FacValue list, FacValue index, FacValue *out)
{
    int64_t n = list.len, given = fac_v_as_int(index), i = given < 0 ? given + n : given;
    if (i < 0 || i >= n)
        return fac_error(
            FAC_INDEX_ERROR,
            "Dimension out of range (expected to be in range of [%lld, %lld], but got %lld)",
            (long long)-n, (long long)(n - 1), (long long)given);
    switch (list.tag) {
    case FAC_V_FLOATS: *out = fac_v_float(list.v.floats[i]); break;
    case FAC_V_BOOLS: *out = fac_v_bool(list.v.bools[i]); break;
    case FAC_V_VALUES: *out = list.v.values[i]; break;
    case FAC_V_TENSORS: *out = fac_v_tensor(list.v.tensors[i]); break;
    default: *out = fac_v_int(list.v.ints[i]); break;
    }
    return FAC_OK;
}

static int64_t
slice_end(FacValue end, int64_t absent, int64_t n)
{
    int64_t i = end.tag == FAC_V_NONE ? absent : fac_v_as_int(end);
    if (i < 0) i += n;
    return i < 0 ? 0 : i > n ? n : i;
}

FacValue
fac_formula_slice(FacValue list, FacValue start, FacValue stop)
{
    int64_t n = list.len, from = slice_end(start, 0, n), to = slice_end(stop, n, n);
    list.flags = 0;
    list.len = (uint32_t)(to > from ? to - from : 0);
    if (list.len) list.v.p = (char *)list.v.p + (size_t)from * item_size(list);
    return list;
}

int64_t
fac_formula_numel(FacValue sizes)
{
    int64_t numel = 1;
    for (uint32_t i = 0; i < sizes.len; i++) numel *= sizes.v.ints[i];
    return numel;
}

/* --- numbers ------------------------------------------------------------------------------------ */

static uint64_t
int_power(uint64_t base, int64_t exponent)
{
    uint64_t result = 1;
    for (; exponent > 0; exponent >>= 1, base *= base)
        if (exponent & 1) result *= base;
    return result;
}

/* Wraps; `twice` tells // from / and ** from *. */
static int64_t
int_arithmetic(int64_t a, char sign, bool twice, int64_t b)
{
    uint64_t x = (uint64_t)a, y = (uint64_t)b;
    switch (sign) {
    case '+': return (int64_t)(x + y);
    case '-': return (int64_t)(x - y);
    case '*': return (int64_t)(twice ? int_power(x, b) : x * y);
    default: break;
    }
    if (b == 0) return 0;
    if (b == -1) return sign == '/' ? (int64_t)(0 - x) : 0;
    int64_t rest = a % b, down = rest != 0 && (rest < 0) != (b < 0);
    return sign == '/' ? a / b - down : rest + down * b;
}

static double
float_arithmetic(double a, char sign, bool twice, double b)
{
    switch (sign) {
    case '+': return a + b;
    case '-': return a - b;
    case '*': return twice ? pow(a, b) : a * b;
    case '/': return twice ? floor(a / b) : a / b;
    default: return a - b * floor(a / b);
    }
}

static double complex
complex_arithmetic(double complex a, char sign, bool twice, double complex b)
{
    switch (sign) {
    case '+': return a + b;
    case '-': return a - b;
    case '/': return a / b;
    default: return twice ? cpow(a, b) : a * b;
    }
}

FacValue
fac_formula_arithmetic(FacValue a, const char *sign, FacValue b, double room[2])
{
    bool twice = sign[1] != '\0';
    if (a.tag == FAC_V_COMPLEX || b.tag == FAC_V_COMPLEX) {
        double x[2], y[2];
        fac_v_as_complex(a, x);
        fac_v_as_complex(b, y);
        double complex z = complex_arithmetic(CMPLX(x[0], x[1]), *sign, twice, CMPLX(y[0], y[1]));
        room[0] = creal(z);
        room[1] = cimag(z);
        return (FacValue){.tag = FAC_V_COMPLEX, .v.c = room};
    }
    bool ints = a.tag != FAC_V_FLOAT && b.tag != FAC_V_FLOAT;
    int64_t exponent = *sign == '*' && twice ? fac_v_as_int(b) : 0;
    if (ints && exponent >= 0 && (*sign != '/' || twice))
        return fac_v_int(int_arithmetic(fac_v_as_int(a), *sign, twice, fac_v_as_int(b)));
    return fac_v_float(float_arithmetic(fac_v_as_float(a), *sign, twice, fac_v_as_float(b)));
}

static bool
numbers_equal(FacValue a, FacValue b)
{
    double x[2], y[2];
    if (a.tag <= FAC_V_INT && b.tag <= FAC_V_INT)
        return fac_v_as_int(a) == fac_v_as_int(b) && (a.flags ^ b.flags) < FAC_VALUE_UNSIGNED;
    fac_v_as_complex(a, x);
    fac_v_as_complex(b, y);
    return x[0] == y[0] && x[1] == y[1];
}

bool
fac_formula_compare(FacValue a, const char *sign, FacValue b)
{
    bool or_equal = sign[1] == '=';
    if (*sign == '=') return numbers_equal(a, b);
    if (*sign == '!') return !numbers_equal(a, b);
    if (or_equal && numbers_equal(a, b)) return true;
    double x = fac_v_as_float(a), y = fac_v_as_float(b);
    return *sign == '<' ? x < y : x > y;
}

bool
fac_formula_equal(FacValue a, FacValue b)
{
    if (a.tag != b.tag) return false;
    switch (a.tag) {
    case FAC_V_NONE: return true;
    case FAC_V_STR:
    case FAC_V_INTS:
        if (a.len != b.len) return false;
        return memcmp(a.v.p, b.v.p, a.tag == FAC_V_STR ? a.len : a.len * sizeof(int64_t)) == 0;
    case FAC_V_DEVICE:
        return a.v.device.type == b.v.device.type && a.v.device.index == b.v.device.index;
    case FAC_V_DTYPE:
    case FAC_V_LAYOUT:
    case FAC_V_FORMAT: return a.v.i == b.v.i;
    default: return fac_v_is_number(a) ? numbers_equal(a, b) : a.v.p == b.v.p;
    }
}
