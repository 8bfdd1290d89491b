/* pin.c - kernels beside which the other threads of the program go on.
 *
 * A kernel that works long lets go of what keeps the program's other threads out (the lock of the
 * interpreter that the bindings named). Those threads may then resize, set or release the very
 * tensors that it works on. So it gets snapshots of them: tensors that nobody else knows, with
 * layouts of their own over storages that are pinned, whose memory stays as it is. What other
 * threads write to that memory meanwhile is theirs to answer for: it gives other numbers, and where
 * they change indices that the kernel has checked already, it may read or write elsewhere.
 */
#include "dispatch/pin.h"

#include "dispatch/target.h"

#include <string.h>

FacOutside fac_outside;

enum { FEW = 16 };

typedef struct Pin {
    FacTensor *original, *snapshot; /* borrowed, owned */
} Pin;

typedef struct Pins {
    FacValue args[FAC_MAX_PARAMS];
    Pin few[FEW], *at;
    FacTensor **lists; /* the snapshots of the lists among the arguments, one list after another */
    int n;
} Pins;

/* --- snapshots -------------------------------------------------------------------------------- */

static int
count(const FacCall *call, int *in_lists)
{
    int n = 0;
    *in_lists = 0;
    for (int i = 0; i < call->op->nparams; i++) {
        n += call->args[i].tag == FAC_V_TENSOR;
        if (call->args[i].tag == FAC_V_TENSORS) *in_lists += (int)call->args[i].len;
    }
    return n + *in_lists + call->op->nresults;
}

/* The snapshot of a tensor: the same one where it stands twice among the first arguments, since
 * kernels compare. */
static FacStatus
pin(Pins *pins, FacTensor *t, FacTensor **out)
{
    for (int i = 0; i < pins->n && i < FEW; i++) {
        *out = pins->at[i].snapshot;
        if (pins->at[i].original == t) return FAC_OK;
    }
    FAC_RETURN_IF_ERROR(fac_tensor_snapshot(t, out));
    fac_storage_pin((*out)->storage);
    pins->at[pins->n++] = (Pin){t, *out};
    return FAC_OK;
}

static FacStatus
pin_all(Pins *pins, FacCall *call)
{
    FacTensor **list = pins->lists;
    for (int i = 0; i < call->op->nparams; i++) {
        FacValue *arg = &pins->args[i];
        *arg = call->args[i];
        if (arg->tag == FAC_V_TENSOR) FAC_RETURN_IF_ERROR(pin(pins, arg->v.t, &arg->v.t));
        if (arg->tag != FAC_V_TENSORS) continue;
        for (uint32_t k = 0; k < arg->len; k++) {
            list[k] = arg->v.tensors[k];
            if (list[k]) FAC_RETURN_IF_ERROR(pin(pins, list[k], &list[k]));
        }
        arg->v.tensors = list;
        list += arg->len;
    }
    for (int i = 0; i < call->op->nresults; i++) {
        FacValue *result = &call->results[i];
        if (result->tag == FAC_V_TENSOR) FAC_RETURN_IF_ERROR(pin(pins, result->v.t, &result->v.t));
    }
    return FAC_OK;
}

static FacTensor *
original_of(const Pins *pins, const FacTensor *t)
{
    for (int i = 0; i < pins->n; i++)
        if (pins->at[i].snapshot == t) return pins->at[i].original;
    return NULL;
}

/* Results that are snapshots become the tensors again that they stand for. `before`: what the rule
 * had made; of another argument that the kernel gives, it holds a reference to the snapshot. */
static void
unpin_all(Pins *pins, FacCall *call, FacTensor *const *before)
{
    for (int i = 0; i < call->op->nresults; i++) {
        FacValue *result = &call->results[i];
        FacTensor *snapshot = result->tag == FAC_V_TENSOR ? result->v.t : NULL;
        FacTensor *original = snapshot ? original_of(pins, snapshot) : NULL;
        if (!original) continue;
        result->v.t = original;
        if (original == before[i]) continue;
        fac_tensor_retain(original);
        fac_tensor_release(snapshot);
    }
    for (int i = 0; i < pins->n; i++) {
        fac_storage_unpin(pins->at[i].snapshot->storage);
        fac_tensor_release(pins->at[i].snapshot);
    }
}

FacStatus
fac_run_pinned(FacCall *call, FacKernel kernel)
{
    FacStatus st = FAC_OK;
    FacTensor *before[FAC_MAX_RESULTS];
    FacValue *args = call->args;
    Pins pins = {.n = 0};
    int in_lists, n = count(call, &in_lists);
    void *block = NULL, *outside;
    pins.at = pins.few;
    if (n > FEW) {
        size_t bytes = (size_t)n * sizeof *pins.at + (size_t)in_lists * sizeof *pins.lists;
        if (!(block = fac_mem_alloc(bytes))) return fac_mem_error(bytes);
        pins.at = block;
        pins.lists = (FacTensor **)(pins.at + n);
    }
    FacTensor *few_lists[FEW];
    if (!block) pins.lists = few_lists;
    for (int i = 0; i < call->op->nresults; i++)
        before[i] = call->results[i].tag == FAC_V_TENSOR ? call->results[i].v.t : NULL;
    FAC_TRY(pin_all(&pins, call));
    call->args = pins.args;
    outside = fac_outside.leave();
    st = kernel(call);
    fac_outside.enter(outside);
done:
    call->args = args;
    unpin_all(&pins, call, before);
    fac_mem_free(block);
    return st;
}
