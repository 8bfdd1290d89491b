/* facula.h - the one public header of the C core.
 *
 * Everything that a C program needs in order to create tensors, call operators by name,
 * differentiate, and register operators of its own. It includes nothing of Python. The rooms of
 * the core build on the types defined here (status codes, dtypes, tagged values), so that there is
 * one definition of each.
 *
 * Conventions, everywhere in the core:
 *   - a function that can fail returns FacStatus; the message of the last failure of this thread is
 *     fac_error_message();
 *   - pointer arguments are borrowed; `**out` receives a new reference, written only on success;
 *   - release functions accept NULL.
 */
#ifndef FACULA_H
#define FACULA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FAC_VERSION "0.1.0"

#if defined(__GNUC__)
#define FAC_API __attribute__((visibility("default")))
#define FAC_MUST_CHECK __attribute__((warn_unused_result))
#define FAC_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define FAC_LIKELY(x) __builtin_expect(!!(x), 1)
#define FAC_UNLIKELY(x) __builtin_expect(!!(x), 0)
#else
#define FAC_API
#define FAC_MUST_CHECK
#define FAC_PRINTF(fmt, args)
#define FAC_LIKELY(x) (x)
#define FAC_UNLIKELY(x) (x)
#endif

/* --- status ---------------------------------------------------------------------------------- */

/* X(enumerator, Python exception class). FOREIGN: the caller's language has its own error set. */
#define FAC_STATUS_LIST(X)                                                                         \
    X(OK, "")                                                                                      \
    X(TYPE_ERROR, "TypeError")                                                                     \
    X(VALUE_ERROR, "ValueError")                                                                   \
    X(INDEX_ERROR, "IndexError")                                                                   \
    X(RUNTIME_ERROR, "RuntimeError")                                                               \
    X(MEMORY_ERROR, "MemoryError")                                                                 \
    X(OUT_OF_MEMORY, "OutOfMemoryError")                                                           \
    X(NOT_IMPLEMENTED, "NotImplementedError")                                                      \
    X(LINALG_ERROR, "LinAlgError")                                                                 \
    X(OVERFLOW_ERROR, "OverflowError")                                                             \
    X(ZERO_DIVISION, "ZeroDivisionError")                                                          \
    X(BUFFER_ERROR, "BufferError")                                                                 \
    X(FOREIGN, "")

typedef enum FacStatus {
#define FAC_STATUS_ENUM(name, python) FAC_##name,
    FAC_STATUS_LIST(FAC_STATUS_ENUM)
#undef FAC_STATUS_ENUM
} FacStatus;

/* Sets this thread's message and returns `code`: `return fac_error(FAC_VALUE_ERROR, "...", ...)`. */
FAC_API FacStatus fac_error(FacStatus code, const char *format, ...) FAC_PRINTF(2, 3);
/* The message of this thread's last failure; valid until its next one. */
FAC_API const char *fac_error_message(void);

/* For functions that hold references: `FacStatus st = FAC_OK;` at the top, one `done:` label. */
#define FAC_TRY(expr)                                                                              \
    do {                                                                                           \
        st = (expr);                                                                               \
        if (FAC_UNLIKELY(st != FAC_OK)) goto done;                                                 \
    } while (0)
#define FAC_FAIL(...)                                                                              \
    do {                                                                                           \
        st = fac_error(__VA_ARGS__);                                                               \
        goto done;                                                                                 \
    } while (0)
/* For functions that hold nothing. */
#define FAC_RETURN_IF_ERROR(expr)                                                                  \
    do {                                                                                           \
        FacStatus status_ = (expr);                                                                \
        if (FAC_UNLIKELY(status_ != FAC_OK)) return status_;                                       \
    } while (0)

/* --- dtypes ---------------------------------------------------------------------------------- */

/* X(enumerator, Python name, bytes, kind). The order is part of the ABI. */
#define FAC_DTYPE_LIST(X)                                                                          \
    X(BOOL, "bool", 1, BOOL)                                                                       \
    X(U8, "uint8", 1, INT)                                                                         \
    X(I8, "int8", 1, INT)                                                                          \
    X(U16, "uint16", 2, INT)                                                                       \
    X(I16, "int16", 2, INT)                                                                        \
    X(U32, "uint32", 4, INT)                                                                       \
    X(I32, "int32", 4, INT)                                                                        \
    X(U64, "uint64", 8, INT)                                                                       \
    X(I64, "int64", 8, INT)                                                                        \
    X(F16, "float16", 2, FLOAT)                                                                    \
    X(BF16, "bfloat16", 2, FLOAT)                                                                  \
    X(F32, "float32", 4, FLOAT)                                                                    \
    X(F64, "float64", 8, FLOAT)                                                                    \
    X(C32, "complex32", 4, COMPLEX)                                                                \
    X(C64, "complex64", 8, COMPLEX)                                                                \
    X(C128, "complex128", 16, COMPLEX)                                                             \
    X(F8_E4M3FN, "float8_e4m3fn", 1, FLOAT)                                                        \
    X(F8_E5M2, "float8_e5m2", 1, FLOAT)                                                            \
    X(F8_E4M3FNUZ, "float8_e4m3fnuz", 1, FLOAT)                                                    \
    X(F8_E5M2FNUZ, "float8_e5m2fnuz", 1, FLOAT)

typedef enum FacDType {
#define FAC_DTYPE_ENUM(name, python, bytes, kind) FAC_DT_##name,
    FAC_DTYPE_LIST(FAC_DTYPE_ENUM) FAC_DTYPES,
    FAC_DT_NONE = -1
} FacDType;
#undef FAC_DTYPE_ENUM

/* --- devices, layouts, memory formats --------------------------------------------------------- */

/* X(enumerator, Python name). CPU and META are always there. */
#define FAC_DEVICE_LIST(X)                                                                         \
    X(CPU, "cpu")                                                                                  \
    X(CUDA, "cuda")                                                                                \
    X(HIP, "hip")                                                                                  \
    X(META, "meta")                                                                                \
    X(MPS, "mps")                                                                                  \
    X(XPU, "xpu")                                                                                  \
    X(MKLDNN, "mkldnn")                                                                            \
    X(OPENGL, "opengl")                                                                            \
    X(OPENCL, "opencl")                                                                            \
    X(IDEEP, "ideep")                                                                              \
    X(FPGA, "fpga")                                                                                \
    X(MAIA, "maia")                                                                                \
    X(XLA, "xla")                                                                                  \
    X(LAZY, "lazy")                                                                                \
    X(VULKAN, "vulkan")                                                                            \
    X(VE, "ve")                                                                                    \
    X(HPU, "hpu")                                                                                  \
    X(MTIA, "mtia")                                                                                \
    X(IPU, "ipu")                                                                                  \
    X(PRIVATEUSEONE, "privateuseone")

typedef enum FacDeviceType {
#define FAC_DEVICE_ENUM(name, python) FAC_DEV_##name,
    FAC_DEVICE_LIST(FAC_DEVICE_ENUM) FAC_DEVICE_TYPES
} FacDeviceType;
#undef FAC_DEVICE_ENUM

typedef struct FacDevice {
    int8_t type;  /* FacDeviceType */
    int8_t index; /* -1: the current one of that type */
} FacDevice;

typedef enum FacLayoutKind {
    FAC_STRIDED,
    FAC_SPARSE_COO,
    FAC_SPARSE_CSR,
    FAC_SPARSE_CSC,
    FAC_SPARSE_BSR,
    FAC_SPARSE_BSC,
    FAC_MKLDNN_LAYOUT,
    FAC_JAGGED,
} FacLayoutKind;

typedef enum FacMemoryFormat {
    FAC_CONTIGUOUS,
    FAC_PRESERVE,
    FAC_CHANNELS_LAST,
    FAC_CHANNELS_LAST_3D,
} FacMemoryFormat;

/* --- values ----------------------------------------------------------------------------------- */

typedef struct FacTensor FacTensor;
typedef struct FacStorage FacStorage;
typedef struct FacGenerator FacGenerator;
typedef struct FacOp FacOp;

/* Sizes and strides. Values below FAC_SYMBOL_MAX are reserved for symbolic sizes. */
typedef int64_t FacDim;
#define FAC_SYMBOL_MAX (-(INT64_C(1) << 62))

typedef enum FacTag {
    FAC_V_NONE,
    FAC_V_BOOL,
    FAC_V_INT,
    FAC_V_FLOAT,
    FAC_V_COMPLEX, /* v.c points to {real, imaginary} */
    FAC_V_TENSOR,
    FAC_V_STR,    /* v.s, len bytes, and a NUL */
    FAC_V_DTYPE,  /* v.i */
    FAC_V_DEVICE, /* v.device */
    FAC_V_LAYOUT, /* v.i */
    FAC_V_FORMAT, /* v.i, a FacMemoryFormat */
    FAC_V_GENERATOR,
    FAC_V_STORAGE,
    FAC_V_INTS, /* v.ints, len of them; so the lists below */
    FAC_V_FLOATS,
    FAC_V_BOOLS,   /* v.bools */
    FAC_V_VALUES,  /* v.values: numbers of mixed kinds */
    FAC_V_TENSORS, /* v.tensors; an element may be NULL where the schema says Tensor? */
    FAC_V_OBJECT,  /* v.p: a foreign object, for operators registered at run time */
} FacTag;

enum {
    FAC_VALUE_OWNED = 1,   /* the value owns what it points to: fac_value_release frees it */
    FAC_VALUE_UNSIGNED = 2 /* FAC_V_INT that holds a uint64 above INT64_MAX */
};

typedef struct FacValue {
    uint8_t tag;
    uint8_t flags;
    uint16_t reserved;
    uint32_t len;
    union {
        bool b;
        int64_t i;
        double f;
        const double *c;
        FacTensor *t;
        const char *s;
        FacDevice device;
        FacGenerator *generator;
        FacStorage *storage;
        const int64_t *ints;
        const double *floats;
        const bool *bools;
        const struct FacValue *values;
        FacTensor *const *tensors;
        void *p;
    } v;
} FacValue;

/* --- tensors ---------------------------------------------------------------------------------- */

/* A new tensor on the CPU with a copy of `data` (C order), or zeros when data is NULL. */
FAC_API FacStatus fac_tensor_from_data(const void *data, FacDType dtype, int ndim,
                                       const FacDim *sizes, FacTensor **out) FAC_MUST_CHECK;
FAC_API FacTensor *fac_retain(FacTensor *tensor);
FAC_API void fac_release(FacTensor *tensor);
FAC_API FacDType fac_tensor_dtype(const FacTensor *tensor);
FAC_API FacDevice fac_tensor_device(const FacTensor *tensor);
FAC_API int fac_tensor_ndim(const FacTensor *tensor);
FAC_API const FacDim *fac_tensor_sizes(const FacTensor *tensor);
FAC_API const FacDim *fac_tensor_strides(const FacTensor *tensor); /* in elements */
FAC_API int64_t fac_tensor_numel(const FacTensor *tensor);
FAC_API void *fac_tensor_data(const FacTensor *tensor); /* NULL on meta and for no elements */
/* Where the data of a contiguous tensor is wanted: a new reference, the tensor itself if it is. */
FAC_API FacStatus fac_tensor_contiguous(FacTensor *tensor, FacTensor **out) FAC_MUST_CHECK;

FAC_API void fac_value_release(FacValue *value); /* frees what an owned value owns; sets NONE */

/* --- operators -------------------------------------------------------------------------------- */

/* Calls the operator "name" or "name.overload". `args` are in the order of the schema and may be
 * fewer than it lists when the rest have defaults. `results` receives new references. */
FAC_API FacStatus fac_call_name(const char *name, int nargs, const FacValue *args, int nresults,
                                FacValue *results) FAC_MUST_CHECK;

/* One call on its way through the layers; see tensor/call.h. */
typedef struct FacCall FacCall;
typedef FacStatus (*FacKernel)(FacCall *call);

FAC_API const FacValue *fac_call_args(const FacCall *call);
FAC_API FacValue *fac_call_results(FacCall *call);

typedef struct FacOpSpec {
    const char *schema; /* "mylib::scale(Tensor self, float factor=2.0) -> Tensor" */
    const char *doc;
    FacKernel cpu;       /* computes the results on the CPU from plain strided tensors */
    FacKernel meta;      /* results with the right shape and dtype and no data; may be NULL */
    FacKernel composite; /* instead of cpu: other operators called; differentiable through them */
    /* d(args): call args are the operator's args, then its results, then the gradients of the
     * results; results are the gradients of the args, NONE where there is none. May be NULL. */
    FacKernel grad;
} FacOpSpec;

/* Registers an operator; it behaves like a built-in one from then on. */
FAC_API FacStatus fac_register_op(const FacOpSpec *spec) FAC_MUST_CHECK;

/* --- automatic differentiation ----------------------------------------------------------------- */

FAC_API FacStatus fac_requires_grad(FacTensor *tensor, bool on) FAC_MUST_CHECK;
/* Accumulates d(root)/d(leaf) into every leaf; `gradient` may be NULL for a single element. */
FAC_API FacStatus fac_backward(FacTensor *root, FacTensor *gradient) FAC_MUST_CHECK;
/* A new reference to the accumulated gradient; *out is NULL where there is none. */
FAC_API FacStatus fac_tensor_grad(FacTensor *tensor, FacTensor **out) FAC_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif /* FACULA_H */
