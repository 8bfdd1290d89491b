/* level.c - levels begin and end, and tensors are made to belong to them. */
#include "layers/level.h"

#include <string.h>

static _Atomic uint64_t next_id = 1;
static _Thread_local FacLevel *newest;

/* --- the stack -------------------------------------------------------------------------------- */

FacStatus
fac_level_push(FacLevelKind kind, int64_t size, FacRandomness randomness, FacLevel **out)
{
    FacLevel *below = fac_thread.level, *level = fac_mem_zalloc(sizeof *level);
    if (!level) return fac_mem_error(sizeof *level);
    level->below = below;
    level->older = newest;
    newest = level;
    level->id = atomic_fetch_add(&next_id, 1);
    level->depth = below ? below->depth + 1 : 1;
    level->kind = kind;
    level->randomness = randomness;
    level->size = size;
    level->asked = kind != FAC_LEVEL_FORWARD || (below && below->asked);
    level->grad_outside = fac_grad_enabled();
    if (kind == FAC_LEVEL_GRAD) fac_set_grad_enabled(true);
    fac_level_enter(level);
    *out = level;
    return FAC_OK;
}

FacStatus
fac_level_pop(FacLevel *level)
{
    if (newest != level || fac_thread.level != level)
        return fac_error(FAC_RUNTIME_ERROR,
                         "transforms end in the opposite order of their beginning, in the thread "
                         "that began them; this one is not the innermost");
    if (level->kind == FAC_LEVEL_GRAD) fac_set_grad_enabled(level->grad_outside);
    fac_level_enter(level->below);
    newest = level->older;
    fac_mem_free(level);
    return FAC_OK;
}

/* What is drawn in a batch, and what is made where gradients are taken, belongs to the level though no
 * argument does. */
FacLevel *
fac_level_enter(FacLevel *level)
{
    FacLevel *was = fac_thread.level;
    uint32_t others = fac_thread.include & ~FAC_KEY(TRANSFORM);
    fac_thread.level = level;
    fac_thread.include = level && level->asked ? others | FAC_KEY(TRANSFORM) : others;
    return was;
}

FacLevel *
fac_level_visible(uint64_t id)
{
    for (FacLevel *level = fac_thread.level; level && level->id >= id; level = level->below)
        if (level->id == id) return level;
    return NULL;
}

/* Whether a level of this thread has not ended, visible or not. */
static bool
is_running(uint64_t id)
{
    const FacLevel *level = newest;
    while (level && level->id > id) level = level->older;
    return level && level->id == id;
}

/* --- wrappers --------------------------------------------------------------------------------- */

static void
drop_wrapped(FacExtraPart *part, FacTensor *t)
{
    FacWrapped *wrapped = (FacWrapped *)part;
    (void)t;
    fac_tensor_release(wrapped->value);
    fac_mem_free(wrapped);
}

static FacStatus
make_wrapper(FacLevelKind kind, uint64_t id, FacTensor *value, FacTensor **out)
{
    FacTensor *t;
    FacExtra *extra;
    FAC_RETURN_IF_ERROR(kind == FAC_LEVEL_BATCH ? fac_tensor_hollow(value, &t)
                                                : fac_tensor_alias(value, &t));
    FacWrapped *wrapped = fac_mem_alloc(sizeof *wrapped);
    FacStatus st = wrapped ? fac_tensor_extra(t, &extra) : fac_mem_error(sizeof *wrapped);
    if (st != FAC_OK) {
        fac_mem_free(wrapped);
        fac_tensor_release(t);
        return st;
    }
    *wrapped = (FacWrapped){{drop_wrapped}, id, kind, fac_tensor_retain(value)};
    extra->wrapped = &wrapped->part;
    t->flags |= value->flags & FAC_T_OVERRIDDEN_STORAGE;
    t->keys = FAC_KEY(TRANSFORM); /* what the value asks for is done on the value */
    *out = t;
    return FAC_OK;
}

FacStatus
fac_level_wrap(const FacLevel *level, FacTensor *value, FacTensor **out)
{
    return make_wrapper(level->kind, level->id, value, out);
}

FacStatus
fac_level_follow(FacTensor *wrapper)
{
    FacWrapped *wrapped = fac_wrapped(wrapper);
    return fac_tensor_follow(wrapper, wrapped->value, wrapped->kind == FAC_LEVEL_BATCH);
}

/* --- tangents --------------------------------------------------------------------------------- */

typedef struct Tangent {
    struct Tangent *next;
    uint64_t id;
    FacTensor *tensor; /* NULL: none, whatever the base of a view has */
} Tangent;

typedef struct Tangents {
    FacExtraPart part;
    Tangent *first;
} Tangents;

static void
drop_tangents(FacExtraPart *part, FacTensor *t)
{
    Tangents *tangents = (Tangents *)part;
    (void)t;
    for (Tangent *at = tangents->first, *next; at; at = next) {
        next = at->next;
        fac_tensor_release(at->tensor);
        fac_mem_free(at);
    }
    fac_mem_free(tangents);
}

static Tangent *
first_tangent(const FacTensor *t)
{
    return t->extra && t->extra->forward ? ((Tangents *)t->extra->forward)->first : NULL;
}

static Tangent *
find_tangent(const FacTensor *t, uint64_t id)
{
    Tangent *at = t->keys & FAC_KEY(TRANSFORM) ? first_tangent(t) : NULL;
    while (at && at->id != id) at = at->next;
    return at;
}

FacTensor *
fac_tangent(const FacTensor *t, const FacLevel *level)
{
    Tangent *found = find_tangent(t, level->id);
    return found ? found->tensor : NULL;
}

bool
fac_follows_base(const FacTensor *t, const FacLevel *level)
{
    return t->base && !find_tangent(t, level->id);
}

/* Tangents of levels that have ended go when the next one comes. */
static void
remove_tangents(Tangents *tangents, uint64_t id)
{
    for (Tangent **link = &tangents->first, *at; (at = *link);) {
        if (at->id != id && is_running(at->id)) {
            link = &at->next;
            continue;
        }
        *link = at->next;
        fac_tensor_release(at->tensor);
        fac_mem_free(at);
    }
}

static FacStatus
add_tangent(FacTensor *t, uint64_t id, FacTensor *tensor)
{
    FacExtra *extra;
    FAC_RETURN_IF_ERROR(fac_tensor_extra(t, &extra));
    Tangents *tangents = (Tangents *)extra->forward;
    if (!tangents) {
        if (!(tangents = fac_mem_zalloc(sizeof *tangents))) return fac_mem_error(sizeof *tangents);
        tangents->part.drop = drop_tangents;
        extra->forward = &tangents->part;
    }
    Tangent *made = fac_mem_alloc(sizeof *made);
    if (!made) return fac_mem_error(sizeof *made);
    *made = (Tangent){tangents->first, id, tensor ? fac_tensor_retain(tensor) : NULL};
    tangents->first = made;
    t->keys |= FAC_KEY(TRANSFORM);
    return FAC_OK;
}

FacStatus
fac_set_tangent(FacTensor *t, const FacLevel *level, FacTensor *tangent)
{
    Tangent *had = find_tangent(t, level->id);
    if (had && had->tensor == tangent) return FAC_OK;
    if (first_tangent(t)) {
        Tangents *tangents = (Tangents *)t->extra->forward;
        remove_tangents(tangents, level->id);
    }
    return add_tangent(t, level->id, tangent);
}

/* The level `id`, where it is visible and lies further in than `other`; else `other`. */
static FacLevel *
inner_of(FacLevel *other, uint64_t id)
{
    FacLevel *level = other && id <= other->id ? NULL : fac_level_visible(id);
    return level ? level : other;
}

FacLevel *
fac_level_of(const FacTensor *t, FacLevel *other)
{
    if (!t) return other;
    if (t->keys & FAC_KEY(TRANSFORM)) {
        FacWrapped *wrapped = fac_wrapped(t);
        if (wrapped) other = inner_of(other, wrapped->id);
        for (Tangent *at = first_tangent(t); at; at = at->next) other = inner_of(other, at->id);
    }
    if (t->base && t->base->keys & FAC_KEY(TRANSFORM))
        for (Tangent *at = first_tangent(t->base); at; at = at->next)
            if (at->tensor) other = inner_of(other, at->id);
    return other;
}

FacStatus
fac_level_alias(FacTensor *t, FacTensor **out)
{
    FacTensor *alias;
    FacWrapped *wrapped = fac_wrapped(t);
    if (FAC_LIKELY(!(t->keys & FAC_KEY(TRANSFORM)))) return fac_tensor_alias(t, out);
    if (wrapped)
        FAC_RETURN_IF_ERROR(make_wrapper(wrapped->kind, wrapped->id, wrapped->value, &alias));
    else
        FAC_RETURN_IF_ERROR(fac_tensor_alias(t, &alias));
    for (Tangent *at = first_tangent(t); at; at = at->next) {
        FacStatus st = add_tangent(alias, at->id, at->tensor);
        if (st == FAC_OK) continue;
        fac_tensor_release(alias);
        return st;
    }
    *out = alias;
    return FAC_OK;
}

/* --- calls with other tensors ------------------------------------------------------------------- */

static FacStatus
map_value(FacValue v, FacTensorMap map, void *context, FacValue *out)
{
    FacTensor **slots;
    *out = v;
    out->flags &= (uint8_t)~FAC_VALUE_OWNED;
    if (v.tag == FAC_V_TENSOR) {
        *out = FAC_VALUE_NONE;
        FacTensor *t;
        FAC_RETURN_IF_ERROR(map(context, v.v.t, &t));
        *out = (FacValue){.tag = FAC_V_TENSOR, .flags = FAC_VALUE_OWNED, .v.t = t};
    } else if (v.tag == FAC_V_TENSORS) {
        *out = FAC_VALUE_NONE;
        FAC_RETURN_IF_ERROR(fac_value_new_tensors((int)v.len, out, &slots));
        for (uint32_t i = 0; i < v.len; i++)
            if (v.v.tensors[i]) FAC_RETURN_IF_ERROR(map(context, v.v.tensors[i], &slots[i]));
    }
    return FAC_OK;
}

FacStatus
fac_map_call(const FacCall *call, FacTensorMap map, void *context, FacMapped *out)
{
    const FacOp *op = call->op;
    out->call = *call;
    out->call.args = out->args;
    memset(out->args, 0, op->nparams * sizeof *out->args);
    memset(out->targets, 0, sizeof out->targets);
    for (int i = 0; i < op->nparams; i++)
        FAC_RETURN_IF_ERROR(map_value(call->args[i], map, context, &out->args[i]));
    if (!call->targets) return FAC_OK;
    out->call.targets = out->targets;
    for (int i = 0; i < op->nresults; i++) {
        FacTensor *t = call->targets[i];
        if (!t) continue;
        if ((call->flags & FAC_CALL_INPLACE) && i == 0 && t == fac_v_as_tensor(call->args[0]))
            out->targets[i] = fac_tensor_retain(fac_v_as_tensor(out->args[0]));
        else
            FAC_RETURN_IF_ERROR(map(context, t, &out->targets[i]));
    }
    return FAC_OK;
}

void
fac_mapped_end(FacMapped *mapped)
{
    fac_values_release(mapped->args, mapped->call.op->nparams);
    for (int i = 0; i < mapped->call.op->nresults; i++) fac_tensor_release(mapped->targets[i]);
}
