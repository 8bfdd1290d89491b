/* nonfinite.c - the search for NaN and infinities.
 *
 * The question that is asked of every result is only whether all is finite, and the answer is yes:
 * the exponent plus one carries into the sign bit just where all its bits are set, so that
 * and, add, or over lanes of bits decide at the speed of memory. Which
 * of the two it is, and whether an argument had it already, is asked after a hit.
 *
 * The layer stands below autograd, so that it sees the calls that formulas make in backward, and
 * the parts of composites rather than the whole.
 */
#include "layers/nonfinite.h"

#include "base/pool.h"
#include "tensor/layout.h"

#include <math.h>
#include <string.h>

/* --- one tensor ------------------------------------------------------------------------------- */

enum { GRAIN = 1 << 15 };

typedef struct Scan {
    const void *data;
    FacDType dtype; /* real */
    _Atomic bool hit;
} Scan;

static FacDType
real_of(FacDType dt)
{
    return FAC_IS_COMPLEX(dt) ? fac_dtype_info[dt].real : dt;
}

enum { LANE_BYTES = 64 };
#define CARRIES(name, type, mask, one)                                                             \
    static bool name(const type *x, int64_t n)                                                     \
    {                                                                                              \
        typedef type Lanes __attribute__((vector_size(LANE_BYTES)));                               \
        enum { LANES = LANE_BYTES / sizeof(type) };                                                \
        Lanes lanes, all = {0};                                                                    \
        type any = 0;                                                                              \
        int64_t i = 0;                                                                             \
        for (; i + LANES <= n; i += LANES) {                                                       \
            memcpy(&lanes, x + i, LANE_BYTES);                                                     \
            all |= (lanes & (type)(mask)) + (type)(one);                                           \
        }                                                                                          \
        for (int k = 0; k < LANES; k++) any |= all[k];                                             \
        for (; i < n; i++) any |= (type)((x[i] & (type)(mask)) + (type)(one));                     \
        return any >> (8 * sizeof(type) - 1);                                                      \
    }
CARRIES(carries_f64, uint64_t, UINT64_C(0x7ff0000000000000), UINT64_C(0x0010000000000000))
CARRIES(carries_f32, uint32_t, 0x7f800000u, 0x00800000u)
CARRIES(carries_f16, uint16_t, 0x7c00u, 0x0400u)
CARRIES(carries_bf16, uint16_t, 0x7f80u, 0x0080u)

static void
scan(int64_t begin, int64_t end, void *context)
{
    Scan *s = context;
    const char *at = (const char *)s->data + begin * fac_dtype_info[s->dtype].size;
    int64_t n = end - begin;
    bool hit = s->dtype == FAC_DT_F32   ? carries_f32((const void *)at, n)
               : s->dtype == FAC_DT_F64 ? carries_f64((const void *)at, n)
               : s->dtype == FAC_DT_F16 ? carries_f16((const void *)at, n)
                                        : carries_bf16((const void *)at, n);
    if (hit) atomic_store_explicit(&s->hit, true, memory_order_relaxed);
}

/* The elements in one piece of memory, in any order: the tensor itself, or a copy (new reference
 * either way). */
static FacStatus
in_one_piece(const FacTensor *t, FacTensor **out)
{
    FacTensor *copy;
    if (t->contiguous || fac_is_dense(t->ndim, t->sizes, t->strides)) {
        *out = fac_tensor_retain((FacTensor *)t);
        return FAC_OK;
    }
    FAC_RETURN_IF_ERROR(fac_tensor_new((FacDType)t->dtype, t->device, t->ndim, t->sizes, &copy));
    FacStatus st = fac_tensor_copy(copy, (FacTensor *)t);
    if (st != FAC_OK) {
        fac_tensor_release(copy);
        return st;
    }
    *out = copy;
    return FAC_OK;
}

static bool
has_data(const FacTensor *t)
{
    FacDType dt = real_of((FacDType)t->dtype);
    bool known = dt == FAC_DT_F32 || dt == FAC_DT_F64 || dt == FAC_DT_F16 || dt == FAC_DT_BF16;
    return known && t->device.type == FAC_DEV_CPU && t->numel && t->storage->data;
}

static FacStatus
all_finite(const FacTensor *t, bool *yes)
{
    FacTensor *piece;
    *yes = true;
    if (!has_data(t)) return FAC_OK;
    FAC_RETURN_IF_ERROR(in_one_piece(t, &piece));
    Scan s = {.data = fac_data(piece), .dtype = real_of((FacDType)t->dtype)};
    int64_t n = piece->numel << FAC_IS_COMPLEX(t->dtype);
    if (n <= GRAIN)
        scan(0, n, &s);
    else
        fac_parallel(n, GRAIN, scan, &s);
    *yes = !atomic_load(&s.hit);
    fac_tensor_release(piece);
    return FAC_OK;
}

FacStatus
fac_find_nonfinite(const FacTensor *t, bool *nan, bool *inf)
{
    bool finite;
    FacTensor *piece;
    *nan = *inf = false;
    FAC_RETURN_IF_ERROR(all_finite(t, &finite));
    if (finite) return FAC_OK;
    FAC_RETURN_IF_ERROR(in_one_piece(t, &piece));
    FacDType dt = real_of((FacDType)t->dtype);
    int64_t n = piece->numel << FAC_IS_COMPLEX(t->dtype);
    const char *at = fac_data(piece);
    for (int64_t i = 0; i < n && !(*nan && *inf); i++, at += fac_dtype_info[dt].size) {
        double unused[2];
        FacValue v = fac_v_load(dt, at, unused);
        *nan |= isnan(v.v.f) != 0;
        *inf |= isinf(v.v.f) != 0;
    }
    fac_tensor_release(piece);
    return FAC_OK;
}

/* --- the layer -------------------------------------------------------------------------------- */

static _Thread_local unsigned tripwire;
static FacTripped tripped_hook;

unsigned
fac_tripwire_set(unsigned kinds, FacTripped tripped)
{
    unsigned before = tripwire;
    tripwire = kinds;
    tripped_hook = tripped;
    if (kinds)
        fac_thread.include |= FAC_KEY(TRIPWIRE);
    else
        fac_thread.include &= ~FAC_KEY(TRIPWIRE);
    return before;
}

static FacStatus
look_at_value(FacValue v, bool *nan, bool *inf)
{
    FacTensor *const *list = v.tag == FAC_V_TENSORS ? v.v.tensors : &v.v.t;
    uint32_t n = v.tag == FAC_V_TENSORS ? v.len : v.tag == FAC_V_TENSOR;
    if (v.tag == FAC_V_FLOAT) {
        *nan |= isnan(v.v.f) != 0;
        *inf |= isinf(v.v.f) != 0;
    }
    for (uint32_t i = 0; i < n; i++) {
        bool has_nan, has_inf;
        if (!list[i]) continue;
        FAC_RETURN_IF_ERROR(fac_find_nonfinite(list[i], &has_nan, &has_inf));
        *nan |= has_nan;
        *inf |= has_inf;
    }
    return FAC_OK;
}

/* After a hit in result i: does it begin here? */
static FacStatus
judge(const FacCall *call, int i)
{
    bool nan = false, inf = false, given_nan = false, given_inf = false;
    FAC_RETURN_IF_ERROR(look_at_value(call->results[i], &nan, &inf));
    for (int k = 0; k < call->op->nparams; k++)
        FAC_RETURN_IF_ERROR(look_at_value(call->args[k], &given_nan, &given_inf));
    if (nan && !given_nan && (tripwire & FAC_TRIP_NAN)) return tripped_hook(call, i, true);
    if (inf && !given_nan && !given_inf && (tripwire & FAC_TRIP_INF))
        return tripped_hook(call, i, false);
    return FAC_OK;
}

static FacStatus
look(const FacCall *call)
{
    for (int i = 0; i < call->op->nresults; i++) {
        FacValue v = call->results[i];
        FacTensor *const *list = v.tag == FAC_V_TENSORS ? v.v.tensors : &v.v.t;
        uint32_t n = v.tag == FAC_V_TENSORS ? v.len : v.tag == FAC_V_TENSOR;
        for (uint32_t k = 0; k < n; k++) {
            bool finite = true;
            if (list[k]) FAC_RETURN_IF_ERROR(all_finite(list[k], &finite));
            if (FAC_LIKELY(finite)) continue;
            FAC_RETURN_IF_ERROR(judge(call, i));
            break;
        }
    }
    return FAC_OK;
}

/* Views show what is there already, factories what nobody has written yet, and composites what
 * their parts gave. */
static bool
is_silent(const FacOp *op)
{
    return (op->flags & (FAC_OP_VIEW | FAC_OP_FACTORY)) ||
           (op->composite && !op->kernel[FAC_DEV_CPU]);
}

static FacStatus
layer_tripwire(FacCall *call)
{
    call->keys &= ~FAC_KEY(TRIPWIRE);
    FAC_RETURN_IF_ERROR(fac_dispatch_next(call));
    if (is_silent(call->op)) return FAC_OK;
    FacStatus st = look(call);
    for (int i = 0; st != FAC_OK && i < call->op->nresults; i++)
        fac_value_release(&call->results[i]);
    return st;
}

__attribute__((constructor)) static void
install(void)
{
    fac_layers[FAC_KEY_INDEX_TRIPWIRE] = layer_tripwire;
}
