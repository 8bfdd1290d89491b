/* call.h - the operator row and the frame of a call: what every room above passes around.
 *
 * An operator is one FacOp. A call is a FacCall: the row, an array of arguments in the order of the
 * schema (all of them, defaults filled in), and room for the results. Layers, rules, kernels and
 * composites all have the one signature `FacStatus fn(FacCall *)`.
 *
 * The life of a call at the bottom (dispatch.c):
 *   1. the rule checks arguments and makes the results by fac_out()/fac_out_view(), on any device;
 *   2. unless it is a view or on meta, the kernel fills them;
 *   3. what was made aside for out= or in-place is copied to its target; versions are bumped.
 * A kernel therefore sees results that are allocated, of the dtype and layout that the rule asked
 * for, C-contiguous unless the rule said otherwise, and that overlap no argument -- except for
 * pointwise rows, whose engine (iter.h) writes to any target directly.
 */
#ifndef FAC_TENSOR_CALL_H
#define FAC_TENSOR_CALL_H

#include "tensor/tensor.h"

/* Types of parameters, as the schema spells them. */
#define FAC_TYPE_LIST(X)                                                                           \
    X(TENSOR, "Tensor")                                                                            \
    X(OPERAND, "Operand") /* a Tensor or a number, which promotes as the peer's wrapped numbers */ \
    X(SCALAR, "Scalar")                                                                            \
    X(INT, "int") /* also SymInt */                                                                \
    X(FLOAT, "float")                                                                              \
    X(BOOL, "bool")                                                                                \
    X(STR, "str")                                                                                  \
    X(DTYPE, "ScalarType")                                                                         \
    X(DEVICE, "Device")                                                                            \
    X(LAYOUT, "Layout")                                                                            \
    X(FORMAT, "MemoryFormat")                                                                      \
    X(GENERATOR, "Generator")                                                                      \
    X(STORAGE, "Storage")                                                                          \
    X(OBJECT, "Any")
typedef enum FacType {
#define FAC_TYPE_ENUM(name, text) FAC_TYPE_##name,
    FAC_TYPE_LIST(FAC_TYPE_ENUM) FAC_TYPES
} FacType;
#undef FAC_TYPE_ENUM

enum {
    FAC_P_OPTIONAL = 1,      /* T? */
    FAC_P_LIST = 2,          /* T[] */
    FAC_P_KEYWORD = 4,       /* after * */
    FAC_P_DEFAULT = 8,       /* has a default */
    FAC_P_ALIAS = 16,        /* (a): results with the same letter are views of it */
    FAC_P_WRITE = 32,        /* (a!): the operator changes it */
    FAC_P_OPTIONAL_ITEM = 64 /* T?[] */
};

typedef struct FacParam {
    const char *name;
    uint8_t type;   /* FacType */
    uint8_t flags;  /* FAC_P_ bits */
    char alias;     /* 'a' ... or 0 */
    uint8_t length; /* int[2]: a single int stands for two; 0: any length */
    FacValue fallback;
} FacParam;

/* How the dtypes of the operands give the compute dtype and that of the result. */
typedef enum FacPromote {
    FAC_PROMOTE_NONE,    /* the rule decides by itself */
    FAC_PROMOTE_SAME,    /* promoted operands; result the same */
    FAC_PROMOTE_FLOAT,   /* ... integers become the default float first */
    FAC_PROMOTE_BOOL,    /* computed in the promoted dtype, result bool */
    FAC_PROMOTE_REAL,    /* complex in, its real dtype out; else as SAME */
    FAC_PROMOTE_INT_OUT, /* computed in the promoted dtype, result int64 */
} FacPromote;

enum {
    FAC_OP_FUNCTION = 1,     /* facula.name */
    FAC_OP_METHOD = 2,       /* Tensor.name */
    FAC_OP_INPLACE = 4,      /* Tensor.name_ (the in-place form of this row) */
    FAC_OP_OUT = 8,          /* out= */
    FAC_OP_VIEW = 16,        /* results are views: the rule does all */
    FAC_OP_WRITES = 32,      /* some parameter is written */
    FAC_OP_POINTWISE = 64,   /* runs in the pointwise engine; broadcasts its operands */
    FAC_OP_DATA_SHAPE = 128, /* the shape of the result depends on data: the kernel allocates */
    FAC_OP_RANDOM = 256,
    FAC_OP_FACTORY = 512,       /* makes tensors from dtype, device, layout, requires_grad */
    FAC_OP_RUNTIME = 1024,      /* registered at run time */
    FAC_OP_CONJ = 2048,         /* the kernel honours FAC_T_CONJ and FAC_T_NEG by itself */
    FAC_OP_LIST_RESULT = 4096,  /* returns Tensor[] */
    FAC_OP_BROADCASTS = 8192,   /* gradients of operands are to be summed to their shape */
    FAC_OP_TAME = 16384,        /* finite arguments give finite results, infinities no NaN */
    FAC_OP_MULTILINEAR = 32768, /* linear in each of FacOp.linear alone, not in all */
};

typedef struct FacCall FacCall;
typedef struct FacGradRow FacGradRow; /* layers/record.h */

/* --- pointwise loops ------------------------------------------------------------------------------ */

enum { FAC_MAX_OPERANDS = 8, FAC_MAX_POINTWISE_PARAMS = 6, FAC_BLOCK = 512 };

/* n elements, all contiguous and of the loop's own dtypes: data[0..nout) results, then operands.
 * params: the row's number parameters, each one element of the compute dtype (widest: 16 bytes). */
typedef void (*FacLoop)(void *const *data, int64_t n, const void *params);

/* Rows made by opgen, one a tier: loop[d] computes in dtype d, NULL where it has no meaning.
 * Compute dtypes: BOOL, the integers, F32, F64, C64, C128. Some rows have loops for F16 and BF16,
 * too: they read and write halves as these lie in memory, and params are float32. */
typedef struct FacLoops {
    FacLoop loop[FAC_DTYPES];
    FacLoop beside_numbers[2];    /* F16, BF16: of the operands, those in `numbers` are float32 */
    uint8_t numbers;              /* a bit an operand */
    FacLoop beside_element[2][2]; /* F32, F64: the first, the second operand is a single element */
} FacLoops;

/* A loop that takes the place of a generated one, or is put beside it, when the tier is chosen; NULL
 * loops end a list. numbers: operands that it wants as numbers or single elements, see FacLoops. */
typedef struct FacTunedLoop {
    FacLoops *loops;
    FacDType dtype;
    FacLoop loop;
    uint8_t numbers;
} FacTunedLoop;

/* --- the row ------------------------------------------------------------------------------------ */

struct FacOp {
    const char *name;     /* "add" */
    const char *overload; /* "" for the default one */
    const char *ns;       /* "aten"; of operators registered at run time, theirs */
    const char *module; /* where the function stands below facula: "", "nn.functional", "linalg" */
    const char *public_name; /* its name there: linalg.inv is row linalg_inv, public_name "inv" */
    const char *schema;
    const char *doc;
    const FacParam *params;
    const FacParam *results;
    uint8_t nparams;
    uint8_t npositional; /* of the params, how many may be given by position */
    uint8_t nresults;    /* 1 for a list result */
    uint8_t noperands;   /* pointwise: how many leading params are operands */
    uint8_t nnumbers;    /* pointwise: how many params after them go to the loop as numbers */
    uint8_t promote;     /* FacPromote */
    uint32_t flags;      /* FAC_OP_ bits */
    uint32_t dtypes;     /* FAC_BIT of each compute dtype that is supported; 0: the kernel checks */
    uint32_t id;         /* index in fac_ops */
    const char *result_names; /* "values indices" for a named tuple, or NULL */
    const char *like;         /* what the tests compare it with: "numpy.logaddexp", or NULL */
    uint32_t linear;          /* bits of the parameters that the row is linear in */
    const char *batch;        /* how vmap takes it: a rule of layers/batch.c, or NULL */
    /* slots: filled at start, or when the operator is registered */
    FacKernel rule;
    FacKernel kernel[FAC_DEVICE_TYPES];
    const FacLoops *loops;
    FacKernel composite;
    const FacGradRow *grad;
    FacKernel grad_kernel;     /* registered rows: FacOpSpec.grad */
    FacKernel layer[FAC_KEYS]; /* an override of one layer for this row; NULL: the generic one */
    void *foreign;             /* bindings: what Python keeps with the row */
};

enum {
    FAC_CALL_INPLACE = 1, /* the first argument is the target of the first result */
    FAC_CALL_OUT = 2,     /* targets[] come from out= */
};

/* A kernel may be asked whether its results are finite, and may answer, while they are at hand. */
enum { FAC_LOOK_ASKED = 1, FAC_LOOK_FINITE = 2, FAC_LOOK_HIT = 4 };

struct FacCall {
    const FacOp *op;
    FacValue *args;      /* op->nparams */
    FacValue *results;   /* op->nresults; NONE before, new references after */
    FacTensor **targets; /* op->nresults borrowed tensors to write to (in-place, out=), or NULL */
    uint32_t keys;       /* layers still to be gone through */
    uint8_t flags;       /* FAC_CALL_ bits */
    int8_t compute;      /* FacDType of the arithmetic, set by the rule for the kernel */
    uint8_t direct;      /* bit i: result i is its target itself, not made aside */
    uint8_t look;        /* FAC_LOOK_ bits */
    bool alike; /* all tensors are plain, in C order, of one shape, dtype and device: by the rule */
};

#define FAC_ARG(call, i) ((call)->args[i])
static inline FacTensor *
fac_arg_tensor(const FacCall *call, int i)
{
    return fac_v_as_tensor(call->args[i]);
}
static inline FacTensor *
fac_result_tensor(const FacCall *call, int i)
{
    return call->results[i].v.t;
}

/* For kernels: where to note that a result is not finite, NULL if nobody asks; and the answer. */
static inline _Atomic bool *
fac_look_start(const FacCall *call, _Atomic bool *hit)
{
    return call->look & FAC_LOOK_ASKED ? hit : NULL;
}
static inline void
fac_look_end(FacCall *call, const _Atomic bool *hit)
{
    call->look |= *hit ? FAC_LOOK_HIT : FAC_LOOK_FINITE;
}

/* For rules: makes result i, in C order; honours the target (in-place: sizes must fit; out=: resized
 * if need be, dtype must be castable). `dtype`, `device` are those of the operator's result. */
FacStatus fac_out(FacCall *call, int i, FacDType dtype, FacDevice device, int ndim,
                  const FacDim *sizes) FAC_MUST_CHECK;
/* The same with strides for a fresh tensor (NULL: C order). */
FacStatus fac_out_strided(FacCall *call, int i, FacDType dtype, FacDevice device, int ndim,
                          const FacDim *sizes, const FacDim *strides) FAC_MUST_CHECK;
/* Result i is a view of `of`. */
FacStatus fac_out_view(FacCall *call, int i, FacTensor *of, int ndim, const FacDim *sizes,
                       const FacDim *strides, int64_t offset) FAC_MUST_CHECK;
/* Shared checks of rules. The messages name the operator and the parameter. */
FacStatus fac_check_same_device(const FacCall *call) FAC_MUST_CHECK; /* all tensors but 0-d ones */
FacStatus fac_check_dtypes(const FacCall *call, FacDType dt, uint32_t allowed) FAC_MUST_CHECK;
FacStatus fac_not_implemented_for(const FacCall *call,
                                  FacDType dt); /* '"exp" not implemented ...' */

#endif
