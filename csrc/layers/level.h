/* level.h - the stack of transforms of a thread, and the tensors that belong to its levels.
 *
 * A level is one running transform: a batch (vmap), a gradient (grad, vjp), or forward mode (jvp,
 * dual_level). Levels are linked from the innermost to the outermost; `fac_thread.level` is the
 * innermost one that is visible. The layer of transforms takes the innermost level that a tensor of
 * the call belongs to, makes it invisible while what lies below it runs, and so goes down.
 *
 * How a tensor belongs to a level:
 *   batch      a wrapper without data; its value has the batch as its first dimension
 *   gradient   a wrapper over its value's memory, with a history of its own
 *   forward    any tensor; the tangent hangs on it, or on its base. Tangents of several levels hang
 *              on one tensor
 * A wrapper belongs to one level, its value to outer ones; a tangent belongs to a level inside that
 * of the wrapper. A level that has ended is never visible again: ids are not used twice.
 */
#ifndef FAC_LAYERS_LEVEL_H
#define FAC_LAYERS_LEVEL_H

#include "dispatch/dispatch.h"

typedef enum FacLevelKind { FAC_LEVEL_BATCH, FAC_LEVEL_GRAD, FAC_LEVEL_FORWARD } FacLevelKind;
/* What random operators do in a batch: raise, draw once for all, draw for each. */
typedef enum FacRandomness {
    FAC_RANDOM_ERROR,
    FAC_RANDOM_SAME,
    FAC_RANDOM_DIFFERENT
} FacRandomness;

typedef struct FacLevel {
    struct FacLevel *below; /* the next one outside */
    struct FacLevel *older; /* that began before it in this thread, visible or not */
    uint64_t id;            /* larger inside */
    int depth;              /* 1 for the outermost */
    FacLevelKind kind;
    FacRandomness randomness;
    int64_t size;      /* of the batch */
    bool grad_outside; /* whether gradients were on where the level began */
    bool asked;        /* whether calls that have no tensor of a level come to the layer, too */
} FacLevel;

/* Begins a level inside the visible ones. A gradient level turns gradients on. */
FacStatus fac_level_push(FacLevelKind kind, int64_t size, FacRandomness randomness,
                         FacLevel **out) FAC_MUST_CHECK;
/* Ends a level, which must be the one of this thread that began last. */
FacStatus fac_level_pop(FacLevel *level) FAC_MUST_CHECK;
/* Makes `level` the innermost that is visible (NULL: none) and returns the one that was. */
FacLevel *fac_level_enter(FacLevel *level);
FacLevel *fac_level_visible(uint64_t id); /* NULL when it is not, or has ended */
/* The innermost visible level that t belongs to, or `other` where that lies further in. */
FacLevel *fac_level_of(const FacTensor *t, FacLevel *other);

/* --- wrappers --------------------------------------------------------------------------------- */

typedef struct FacWrapped {
    FacExtraPart part;
    uint64_t id;
    FacLevelKind kind;
    FacTensor *value; /* owned */
} FacWrapped;

static inline FacWrapped *
fac_wrapped(const FacTensor *t) /* NULL for anything but a wrapper */
{
    return t->extra ? (FacWrapped *)t->extra->wrapped : NULL;
}
/* The value of a wrapper of this level (borrowed); NULL for other tensors. */
static inline FacTensor *
fac_value_at(const FacTensor *t, const FacLevel *level)
{
    FacWrapped *wrapped = fac_wrapped(t);
    return wrapped && wrapped->id == level->id ? wrapped->value : NULL;
}
FacStatus fac_level_wrap(const FacLevel *level, FacTensor *value, FacTensor **out) FAC_MUST_CHECK;
/* After the value was changed in place: the wrapper takes over its layout. */
FacStatus fac_level_follow(FacTensor *wrapper) FAC_MUST_CHECK;

/* --- tangents --------------------------------------------------------------------------------- */

/* The tangent of t at a level (borrowed), or NULL. */
FacTensor *fac_tangent(const FacTensor *t, const FacLevel *level);
/* NULL: t has none, whatever its base has. */
FacStatus fac_set_tangent(FacTensor *t, const FacLevel *level, FacTensor *tangent) FAC_MUST_CHECK;
/* Whether t is a view for which nothing was set. */
bool fac_follows_base(const FacTensor *t, const FacLevel *level);
/* Such a view takes its part of the tangent of its base. With what lies below the level visible
 * (tangent.c). */
FacStatus fac_inherit_tangent(FacTensor *t, const FacLevel *level) FAC_MUST_CHECK;

/* An alias as fac_tensor_alias makes it, that belongs to the levels that t belongs to. */
FacStatus fac_level_alias(FacTensor *t, FacTensor **out) FAC_MUST_CHECK;

/* --- calls with other tensors ------------------------------------------------------------------- */

/* What a tensor of a call becomes: a new reference. */
typedef FacStatus (*FacTensorMap)(void *context, FacTensor *t, FacTensor **out);
/* A call whose arguments and targets are mapped, tensor by tensor; results are those of `call`. */
typedef struct FacMapped {
    FacCall call;
    FacValue args[FAC_MAX_PARAMS]; /* tensors and lists of tensors are owned */
    FacTensor *targets[FAC_MAX_RESULTS];
} FacMapped;
/* fac_mapped_end is to be called whatever fac_map_call said. */
FacStatus fac_map_call(const FacCall *call, FacTensorMap map, void *context,
                       FacMapped *out) FAC_MUST_CHECK;
void fac_mapped_end(FacMapped *mapped);

#endif
