/* nonfinite.c - the search for NaN and infinities.
 *
 * The question that is asked of every result is only whether all is finite, and the answer is yes:
 * a scan of the processor tier gives it at the speed of memory (kernels/cpu/finite.c). Which
 * of the two it is, and whether an argument had it already, is asked after a hit; only what a call
 * overwrites is looked at before.
 *
 * The layer stands below autograd, so that it sees the calls that formulas make in backward, and
 * the parts of composites rather than the whole. Rows that give birth to nothing are passed over by
 * a slot of their own.
 */
#include "layers/nonfinite.h"

#include "base/pool.h"
#include "tensor/layout.h"

#include <math.h>
#include <pthread.h>

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

static void
scan(int64_t begin, int64_t end, void *context)
{
    Scan *s = context;
    const char *at = (const char *)s->data + begin * fac_dtype_info[s->dtype].size;
    if (!fac_all_finite(s->dtype, at, end - begin))
        atomic_store_explicit(&s->hit, true, memory_order_relaxed);
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
    enum {
        KNOWN = FAC_BIT(FAC_DT_F32) | FAC_BIT(FAC_DT_F64) | FAC_BIT(FAC_DT_F16) |
        FAC_BIT(FAC_DT_BF16)
    };
    return (KNOWN >> real_of((FacDType)t->dtype) & 1) && t->device.type == FAC_DEV_CPU &&
           t->numel && t->storage->data;
}

static FacStatus
all_finite(const FacTensor *t, bool *yes)
{
    FacTensor *piece;
    *yes = true;
    if (!has_data(t)) return FAC_OK;
    if (FAC_LIKELY(t->contiguous && t->numel <= GRAIN / 2)) {
        *yes = fac_all_finite(real_of((FacDType)t->dtype), fac_data(t),
                              t->numel << FAC_IS_COMPLEX(t->dtype));
        return FAC_OK;
    }
    FAC_RETURN_IF_ERROR(in_one_piece(t, &piece));
    Scan s = {.data = fac_data(piece), .dtype = real_of((FacDType)t->dtype)};
    fac_parallel(piece->numel << FAC_IS_COMPLEX(t->dtype), GRAIN, scan, &s);
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

/* Adds the kinds (FAC_TRIP_) of what is in a value. */
static FacStatus
add_kinds(FacValue v, unsigned *kinds)
{
    FacTensor *const *list = v.tag == FAC_V_TENSORS ? v.v.tensors : &v.v.t;
    uint32_t n = v.tag == FAC_V_TENSORS ? v.len : v.tag == FAC_V_TENSOR;
    bool nan = v.tag == FAC_V_FLOAT && isnan(v.v.f), inf = v.tag == FAC_V_FLOAT && isinf(v.v.f);
    for (uint32_t i = 0;; i++) {
        *kinds |= (nan ? FAC_TRIP_NAN : 0u) | (inf ? FAC_TRIP_INF : 0u);
        while (i < n && !list[i]) i++;
        if (i >= n) return FAC_OK;
        FAC_RETURN_IF_ERROR(fac_find_nonfinite(list[i], &nan, &inf));
    }
}

/* Whether the call writes to its argument k, which then is what it gives. */
static bool
is_written(const FacCall *call, int k)
{
    if (k == 0 && (call->flags & FAC_CALL_INPLACE)) return true;
    return call->op->params[k].flags & FAC_P_WRITE;
}

/* What is in the arguments, those that are written or the others. */
static FacStatus
kinds_given(const FacCall *call, bool written, unsigned *kinds)
{
    for (int k = 0; k < call->op->nparams; k++)
        if (is_written(call, k) == written) FAC_RETURN_IF_ERROR(add_kinds(call->args[k], kinds));
    return FAC_OK;
}

/* After a hit: does it begin here? `before` was in what the call has overwritten. */
static FacStatus
judge(const FacCall *call, FacValue found, unsigned before)
{
    unsigned kinds = 0, given = before;
    FAC_RETURN_IF_ERROR(add_kinds(found, &kinds));
    FAC_RETURN_IF_ERROR(kinds_given(call, false, &given));
    kinds &= tripwire;
    if ((kinds & FAC_TRIP_NAN) && !(given & FAC_TRIP_NAN)) return tripped_hook(call, found, true);
    if ((kinds & FAC_TRIP_INF) && !given) return tripped_hook(call, found, false);
    return FAC_OK;
}

/* Most results of small models, known at once: float32, in one piece of memory. */
static inline bool
is_small_and_finite(FacValue v)
{
    enum { SMALL = 1024 };
    const FacTensor *t = v.v.t;
    return v.tag == FAC_V_TENSOR && t && t->dtype == FAC_DT_F32 && t->contiguous &&
           t->numel <= SMALL && t->device.type == FAC_DEV_CPU && t->storage->data &&
           fac_all_finite(FAC_DT_F32, fac_data(t), t->numel);
}

static FacStatus
look(const FacCall *call, FacValue v, unsigned before)
{
    FacTensor *const *list = v.tag == FAC_V_TENSORS ? v.v.tensors : &v.v.t;
    uint32_t n = v.tag == FAC_V_TENSORS ? v.len : v.tag == FAC_V_TENSOR;
    for (uint32_t k = 0; k < n; k++) {
        bool finite = true;
        if (list[k]) FAC_RETURN_IF_ERROR(all_finite(list[k], &finite));
        if (FAC_UNLIKELY(!finite)) return judge(call, v, before);
    }
    return FAC_OK;
}

/* Arguments that were written and are not results. */
static FacStatus
look_at_written(const FacCall *call, unsigned before)
{
    const FacTensor *result = call->op->nresults ? fac_v_as_tensor(call->results[0]) : NULL;
    for (int k = 0; k < call->op->nparams; k++)
        if ((call->op->params[k].flags & FAC_P_WRITE) &&
            (!result || fac_v_as_tensor(call->args[k]) != result))
            FAC_RETURN_IF_ERROR(look(call, call->args[k], before));
    return FAC_OK;
}

/* Usually nothing is left between here and the kernel. */
static inline FacStatus
go_on(FacCall *call)
{
    call->keys &= ~FAC_KEY(TRIPWIRE);
    return FAC_LIKELY(!call->keys) ? fac_dispatch_device(call) : fac_dispatch_next(call);
}

static FacStatus
layer_tripwire(FacCall *call)
{
    const FacOp *op = call->op;
    FacStatus st = FAC_OK;
    unsigned before = 0;
    bool writes = (call->flags & FAC_CALL_INPLACE) || (op->flags & FAC_OP_WRITES);
    if (FAC_UNLIKELY(writes)) FAC_RETURN_IF_ERROR(kinds_given(call, true, &before));
    call->look = writes || call->targets ? 0 : FAC_LOOK_ASKED;
    FAC_RETURN_IF_ERROR(go_on(call));
    if (call->look & FAC_LOOK_FINITE) return FAC_OK;
    if (op->nresults == 1 && !writes && is_small_and_finite(call->results[0])) return FAC_OK;
    for (int i = 0; st == FAC_OK && i < op->nresults; i++)
        st = look(call, call->results[i], before);
    if (FAC_UNLIKELY(writes) && st == FAC_OK) st = look_at_written(call, before);
    for (int i = 0; st != FAC_OK && i < op->nresults; i++) fac_value_release(&call->results[i]);
    return st;
}

/* A step of an optimizer: of the parameters before it only the gradients are asked, which are not
 * finite where these were not. */
static FacStatus
layer_optimizer(FacCall *call)
{
    unsigned given = 0;
    call->look = FAC_LOOK_ASKED;
    FAC_RETURN_IF_ERROR(go_on(call));
    if (!(call->look & FAC_LOOK_HIT)) return FAC_OK;
    FAC_RETURN_IF_ERROR(add_kinds(call->args[1], &given));
    return judge(call, call->args[0], given);
}

/* --- rows that are passed over ---------------------------------------------------------------- */

static FacStatus
pass_over(FacCall *call)
{
    if (FAC_UNLIKELY(call->flags & FAC_CALL_OUT)) return layer_tripwire(call); /* may convert */
    return go_on(call);
}

/* Views show what is there already, factories what nobody has written yet, composites what their
 * parts gave, and tame rows only move, choose or bound what they are given, in its dtype. */
static bool
is_silent(const FacOp *op)
{
    if (op->composite && !op->kernel[FAC_DEV_CPU]) return true;
    return op->flags & (FAC_OP_VIEW | FAC_OP_FACTORY | FAC_OP_TAME);
}

/* Lists of parameters and of their gradients, written both, and no result. */
static bool
is_optimizer(const FacOp *op)
{
    enum { LIST = FAC_P_LIST | FAC_P_WRITE };
    return op->nresults == 0 && op->nparams > 1 && (op->params[0].flags & LIST) == LIST &&
           (op->params[1].flags & LIST) == LIST;
}

static void
fill_slots(void)
{
    for (int i = 0; i < fac_op_count; i++) {
        FacKernel *slot = &fac_ops[i].layer[FAC_KEY_INDEX_TRIPWIRE];
        if (is_silent(&fac_ops[i]))
            *slot = pass_over;
        else if (is_optimizer(&fac_ops[i]))
            *slot = layer_optimizer;
    }
}

unsigned
fac_tripwire_set(unsigned kinds, FacTripped tripped)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    unsigned before = tripwire;
    pthread_once(&once, fill_slots);
    tripwire = kinds;
    tripped_hook = tripped;
    if (kinds)
        fac_thread.include |= FAC_KEY(TRIPWIRE);
    else
        fac_thread.include &= ~FAC_KEY(TRIPWIRE);
    return before;
}

__attribute__((constructor)) static void
install(void)
{
    fac_layers[FAC_KEY_INDEX_TRIPWIRE] = layer_tripwire;
}
