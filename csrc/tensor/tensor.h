/* tensor.h - storages, versions and tensors.
 *
 * A tensor is a layout (sizes, strides, offset) over a counted storage. Sizes and strides are in
 * elements; strides may be negative, zero or overlap. Everything that most tensors do not have sits
 * behind `extra`. Fields are read freely by the rooms above; only tensor/ writes them, but for
 * `extra`, `wrapper` and the key bits of the layers, whose owners are named at the field.
 */
#ifndef FAC_TENSOR_TENSOR_H
#define FAC_TENSOR_TENSOR_H

#include "base/dtype.h"
#include "base/mem.h"
#include "base/status.h"
#include "base/value.h"
#include "device/device.h"

/* --- storage ---------------------------------------------------------------------------------- */

typedef void (*FacDeleter)(void *context, void *data, size_t bytes);

struct FacStorage {
    FacRefs refs;
    void *data; /* NULL on meta and for no bytes */
    size_t bytes;
    FacDevice device;
    bool resizable; /* false where the memory is borrowed */
    bool read_only; /* borrowed from a read-only array: in-place operators raise */
    FacDeleter deleter;
    void *context;              /* for the deleter */
    _Atomic(void *) wrapper;    /* bindings: weak way back to the Python object */
    size_t capacity;            /* bytes that there are at data; resizing to less keeps them */
    FacRefs pins;               /* kernels at work, which rely on data */
    struct FacRetired *retired; /* memory that was replaced while there were pins */
};

FacStatus fac_storage_new(FacDevice device, size_t bytes, FacStorage **out) FAC_MUST_CHECK;
/* Memory of somebody else; the deleter (may be NULL) runs when the last reference goes, at failure
 * too never before: on failure the caller still owns `data`. */
FacStatus fac_storage_borrow(void *data, size_t bytes, FacDevice device, FacDeleter deleter,
                             void *context, FacStorage **out) FAC_MUST_CHECK;
/* Keeps the content. What any tensor or kernel knows of the old memory stays addressable: smaller
 * storages give its pages back to the system, but not the addresses. */
FacStatus fac_storage_resize(FacStorage *storage, size_t bytes) FAC_MUST_CHECK;
/* While a kernel works outside of the program's lock: the memory stays where it is. */
static inline void
fac_storage_pin(FacStorage *storage)
{
    fac_refs_up(&storage->pins);
}
static inline void
fac_storage_unpin(FacStorage *storage)
{
    atomic_fetch_sub_explicit(&storage->pins, 1, memory_order_acq_rel);
}
void fac_storage_retain(FacStorage *storage);
void fac_storage_release(FacStorage *storage);

/* --- versions --------------------------------------------------------------------------------- */

/* Counts in-place changes; shared by a base, its views and what detach() gives. A tensor without
 * one is at version 0 and shares it with nobody yet. */
typedef struct FacVersion {
    FacRefs refs;
    _Atomic int64_t count;
    /* for the message about a saved tensor that was overwritten (version.c) */
    _Atomic int64_t saved;           /* the last version that a gradient keeps */
    _Atomic int32_t savers;          /* how many keep one; inexact where threads save it at once */
    struct FacOverwrite *overwrites; /* which kept versions were overwritten where */
} FacVersion;

/* --- tensor ----------------------------------------------------------------------------------- */

enum { FAC_MAX_NDIM = 64, FAC_INLINE_NDIM = 5 };

/* Key bits: which layers a call with this tensor goes through, highest first (dispatch/dispatch.h
 * says what each layer does). The thread has masks of the same bits. */
#define FAC_KEY_LIST(X)                                                                            \
    X(LEVEL, "the bottom of a level of transforms")                                                \
    X(LAZY, "conj and neg bits")                                                                   \
    X(TRIPWIRE, "the tripwire for NaN")                                                            \
    X(TRACE, "trace")                                                                              \
    X(PYTHON, "__torch_dispatch__")                                                                \
    X(GRAD, "autograd")                                                                            \
    X(AUTOCAST, "autocast")                                                                        \
    X(TRANSFORM, "transforms")                                                                     \
    X(PROFILE, "profile")                                                                          \
    X(OVERRIDE, "__torch_function__")
typedef enum FacKeyIndex {
#define FAC_KEY_ENUM(name, text) FAC_KEY_INDEX_##name,
    FAC_KEY_LIST(FAC_KEY_ENUM) FAC_KEYS
} FacKeyIndex;
#undef FAC_KEY_ENUM
#define FAC_KEY(name) (UINT32_C(1) << FAC_KEY_INDEX_##name)

enum {
    FAC_T_CONJ = 1,                /* the elements are to be read conjugated */
    FAC_T_NEG = 2,                 /* ... negated */
    FAC_T_NUMBER = 4,              /* stands for a Python number: takes part in promotion as one */
    FAC_T_INFERENCE = 8,           /* made in inference mode */
    FAC_T_OVERRIDDEN_STORAGE = 16, /* a wrapper: no data of its own, kernels refuse it */
    FAC_T_NO_GRAD_VIEW = 32,       /* a view taken while gradients were off */
    FAC_T_MULTI_VIEW = 64,         /* one of several views that one operator returned */
    FAC_T_FUNCTION_VIEW = 128,     /* what an autograd.Function gave of its input's memory */
};

typedef struct FacExtra FacExtra;
struct FacCall; /* call.h */

struct FacTensor {
    FacRefs refs;
    uint32_t keys; /* FAC_KEY bits; GRAD is owned by layers/ */
    int8_t dtype;  /* FacDType */
    uint8_t ndim;
    uint8_t flags;   /* FAC_T_ bits */
    bool contiguous; /* C order, no gaps: kept by whoever sets the layout */
    FacDevice device;
    FacDim *sizes; /* ndim of them; inline or allocated */
    FacDim *strides;
    int64_t offset; /* elements from the storage's start */
    int64_t numel;
    FacStorage *storage;
    _Atomic(FacVersion *) version;
    FacTensor *base;               /* of a view: the tensor that it is a view of (never a view) */
    struct FacExtraPart *autograd; /* layers/: FacAutograd; NULL for most */
    FacExtra *extra;               /* what is rare; owned here, its parts by their layers */
    _Atomic(void *) wrapper;       /* bindings: the Python object, weak unless wrapper_owned */
    bool wrapper_owned; /* bindings: the tensor keeps its wrapper alive, not vice versa */
    FacDim inline_dims[2 * FAC_INLINE_NDIM];
};

/* A part of a tensor that another room owns. `drop` runs when the tensor dies. */
typedef struct FacExtraPart {
    void (*drop)(struct FacExtraPart *part, FacTensor *tensor);
} FacExtraPart;

struct FacExtra {
    FacExtraPart *foreign; /* bindings: hooks and subclass state */
    FacExtraPart *wrapped; /* layers/: FacWrapped, the level of transforms it belongs to */
    FacExtraPart *forward; /* layers/: FacTangents */
};
FacStatus fac_tensor_extra(FacTensor *t, FacExtra **out) FAC_MUST_CHECK; /* makes it if absent */
/* bindings: called when the last count of a tensor that has a wrapper goes away. */
extern void (*fac_tensor_wrapper_hook)(FacTensor *t);

static inline FacTensor *
fac_tensor_retain(FacTensor *t)
{
    fac_refs_up(&t->refs);
    return t;
}
void fac_tensor_destroy(FacTensor *t);
static inline void
fac_tensor_release(FacTensor *t)
{
    if (t && fac_refs_down(&t->refs)) fac_tensor_destroy(t);
}
/* What stands for the memory of storages that have none: memcpy and its kin want an address also
 * for no bytes. */
extern char fac_no_data[];
static inline void *
fac_data(const FacTensor *t)
{
    char *data = t->storage->data;
    return data ? data + t->offset * fac_dtype_info[t->dtype].size : fac_no_data;
}
static inline size_t
fac_nbytes(const FacTensor *t)
{
    return (size_t)t->numel * fac_dtype_info[t->dtype].size;
}
static inline bool
fac_is_meta(const FacTensor *t)
{
    return t->device.type == FAC_DEV_META;
}

/* Whether a tensor can have so many dimensions. */
FacStatus fac_check_ndim(int64_t ndim) FAC_MUST_CHECK;
/* Uninitialised, C order. Checks negative sizes and overflow of the byte count. */
FacStatus fac_tensor_new(FacDType dtype, FacDevice device, int ndim, const FacDim *sizes,
                         FacTensor **out) FAC_MUST_CHECK;
/* Uninitialised, with strides of its own (non-negative). */
FacStatus fac_tensor_new_strided(FacDType dtype, FacDevice device, int ndim, const FacDim *sizes,
                                 const FacDim *strides, FacTensor **out) FAC_MUST_CHECK;
/* Over a storage (retained); checks that the layout lies within it. A version of its own. */
FacStatus fac_tensor_over(FacStorage *storage, FacDType dtype, int ndim, const FacDim *sizes,
                          const FacDim *strides, int64_t offset, FacTensor **out) FAC_MUST_CHECK;
/* A view: same storage, version, dtype and lazy bits; base is set. No range check beyond debug:
 * the caller derived the layout from `of`. */
FacStatus fac_tensor_view(FacTensor *of, int ndim, const FacDim *sizes, const FacDim *strides,
                          int64_t offset, FacTensor **out) FAC_MUST_CHECK;
/* A view that reads the same bytes as another dtype; the layout is in its elements (lazy.c). */
FacStatus fac_tensor_view_as(FacTensor *of, FacDType dtype, int ndim, const FacDim *sizes,
                             const FacDim *strides, int64_t offset, FacTensor **out) FAC_MUST_CHECK;
/* No gradient goes from a view to its base: it shares memory and version, and is no view. */
void fac_tensor_forget_base(FacTensor *t);
/* Sets or clears the pending conjugation and negation of a view that is being made. */
void fac_tensor_set_lazy(FacTensor *t, bool conj, bool neg);
/* Same layout, storage and version; no base, no extra, not tracked: what detach() returns and what
 * the autograd layer saves. */
FacStatus fac_tensor_alias(FacTensor *of, FacTensor **out) FAC_MUST_CHECK;
/* What a batch of `of` looks like from inside: sizes without the first dimension, no data, the
 * version of `of`. */
FacStatus fac_tensor_hollow(FacTensor *of, FacTensor **out) FAC_MUST_CHECK;
/* `t`, an alias (skip 0) or a hollow tensor (skip 1) of `of`, takes over its layout. */
FacStatus fac_tensor_follow(FacTensor *t, FacTensor *of, int skip) FAC_MUST_CHECK;
/* `t` counts as a view of `base`, or of what that is a view of. */
void fac_tensor_set_base(FacTensor *t, FacTensor *base);
/* The same with a version of its own: for a kernel that works while others may change `of`. */
FacStatus fac_tensor_snapshot(FacTensor *of, FacTensor **out) FAC_MUST_CHECK;
/* Replaces layout (and storage unless NULL) in place: resize_, set_, .data. */
FacStatus fac_tensor_set_layout(FacTensor *t, FacStorage *storage, int ndim, const FacDim *sizes,
                                const FacDim *strides, int64_t offset) FAC_MUST_CHECK;
/* One element filled with the number, 0-d, FAC_T_NUMBER set. */
FacStatus fac_tensor_from_number(FacValue number, FacDType dtype, FacTensor **out) FAC_MUST_CHECK;
/* resize_: C order (or the format), storage grown when needed; refuses borrowed memory. */
FacStatus fac_tensor_resize(FacTensor *t, int ndim, const FacDim *sizes) FAC_MUST_CHECK;

int64_t fac_tensor_version(const FacTensor *t);
FacStatus fac_tensor_bump(FacTensor *t) FAC_MUST_CHECK;
/* The same, done by a call (NULL: unknown), which is remembered if it overwrites what a gradient
 * keeps. */
FacStatus fac_tensor_bump_by(FacTensor *t, const struct FacCall *call) FAC_MUST_CHECK;
/* A gradient keeps the elements as they are now, and keeps them no more. */
void fac_tensor_kept(FacTensor *t);
void fac_tensor_let_go(FacTensor *t);
/* What overwrote that version: *by is the name of the operator ("" if unknown), *where "file:line"
 * or "". False: nobody remembers. */
bool fac_tensor_overwritten(const FacTensor *t, int64_t version, const char **by,
                            const char **where);
/* bindings: writes down which line of the user's program runs; "" when it runs none. */
extern void (*fac_tensor_where_hook)(char *text, size_t bytes);
void fac_version_release(FacVersion *version);
FacStatus fac_tensor_share_version(FacTensor *from, FacTensor *to) FAC_MUST_CHECK;

/* NULL when t is a valid tensor, else a sentence about what is wrong. Debug builds call it at
 * every layer. */
const char *fac_tensor_check(const FacTensor *t);
/* Once, before anything else of tensor/: tells base/ how values hold tensors and generators. */
void fac_tensor_start(void);
/* "float32[2, 3]", for messages. */
void fac_text_tensor(FacText *text, const FacTensor *t);

#endif
