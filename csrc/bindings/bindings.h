/* bindings.h - what the files of bindings/ share. The only room that knows Python.
 *
 *   module.c     module definition, state, start          opobj.c     the one callable type of all ops
 *   args.c       Python arguments -> FacValue frame        wrap.c      FacTensor <-> Python object
 *   tensor.c     the Tensor type: lifetime, attributes     number.c    its operators, + - * / @ == ...
 *   index.c      t[...] and t[...] = x                     build.c     tensor(...) from nested data
 *   numpy.c      NumPy, buffer protocol, DLPack            dtype.c     dtype, layout, memory_format, Size
 *   device.c     device, with device: default device       storage.c   UntypedStorage
 *   generator.c  Generator, seeds                          autograd.c  grad mode, backward, nodes, hooks
 *   function.c   autograd.Function                         override.c  __torch_function__, modes,
 *   library.c    rows as Python objects, registration                  __torch_dispatch__
 *
 * Functions return a new reference or NULL with an exception set, or an int: 0, or -1 with an
 * exception set, unless the comment says otherwise. The interpreter lock is dropped around calls
 * that block or cost more than a few microseconds (fac_py_run decides).
 */
#ifndef FAC_BINDINGS_BINDINGS_H
#define FAC_BINDINGS_BINDINGS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "dispatch/dispatch.h"
#include "layers/engine.h"
#include "tensor/layout.h"
#include "tensor/random.h"

/* --- state: one struct, filled at import, read-only afterwards but for what is marked -------------- */

typedef struct FacPyState {
    PyObject *module;
    /* types made at start */
    PyTypeObject *tensor_type;     /* facula.Tensor, exact: the fast ways in test for it */
    PyTypeObject *parameter_type;  /* set by facula.nn; behaves like an exact Tensor; may be NULL */
    PyTypeObject *op_type, *dtype_type, *device_type, *layout_type, *format_type, *size_type;
    PyTypeObject *storage_type, *generator_type, *node_type;
    PyObject *out_of_memory_error, *linalg_error;
    PyObject *dtypes[FAC_DTYPES];  /* the singletons */
    PyObject *layouts[8], *formats[4];
    const char *module_name;       /* "facula", or "torch" when facula stands in for torch */
    /* interned names, compared by pointer first */
    PyObject *s_torch_function, *s_torch_dispatch, *s_out, *s_dim, *s_keepdim, *s_dtype, *s_device,
        *s_layout, *s_requires_grad, *s_pin_memory, *s_axis, *s_self, *s_input, *s_other, *s_array,
        *s_array_interface, *s_dlpack, *s_dlpack_device, *s_index, *s_float, *s_int, *s_size,
        *s_generator, *s_memory_format, *s_wrapped_self;
} FacPyState;
extern FacPyState fac_py;

/* --- errors ------------------------------------------------------------------------------------- */

/* Raises what a status and this thread's message say; returns NULL. FAC_FOREIGN: already set. */
PyObject *fac_py_raise(FacStatus status);
/* As a status: FAC_FOREIGN; for callbacks from the core into Python. */
static inline FacStatus fac_py_foreign(void) { return FAC_FOREIGN; }

/* --- tensors -------------------------------------------------------------------------------------- */

typedef struct FacPyTensor {
    PyObject_HEAD
    FacTensor *tensor;   /* owned (unless tensor->wrapper_owned) */
    PyObject *dict;      /* attributes; NULL until used */
    PyObject *weakrefs;
} FacPyTensor;

static inline bool fac_is_exact_tensor(PyObject *o)
{
    return Py_TYPE(o) == fac_py.tensor_type || Py_TYPE(o) == fac_py.parameter_type;
}
static inline bool fac_is_tensor(PyObject *o)
{
    return fac_is_exact_tensor(o) || PyObject_TypeCheck(o, fac_py.tensor_type);
}
static inline FacTensor *fac_unwrap(PyObject *o) { return ((FacPyTensor *)o)->tensor; } /* borrowed */
/* The Python object of a tensor: the one it has, or a new one. Takes the reference to t, also on
 * failure. */
PyObject *fac_wrap_take(FacTensor *t);
static inline PyObject *fac_wrap(FacTensor *t) { return fac_wrap_take(fac_tensor_retain(t)); }
/* A new object of a subclass (Tensor._make_subclass). Takes t. */
PyObject *fac_wrap_as_take(PyTypeObject *type, FacTensor *t);

/* --- arguments and results ------------------------------------------------------------------------ */

enum { FAC_ARGS_MAX = 24, FAC_ARGS_INTS = 64 };

/* Memory that converted arguments point to: lists, complex numbers, tensors made from arrays. */
typedef struct FacScratch {
    int nints, ncomplex, nblocks, nowned;
    int64_t ints[FAC_ARGS_INTS];
    double complexes[4][2];
    void *blocks[8];     /* fac_mem_alloc'ed, longer lists */
    FacTensor *owned[8]; /* tensors made on the way (from ndarrays) */
} FacScratch;
static inline void fac_scratch_init(FacScratch *s)
{
    s->nints = s->ncomplex = s->nblocks = s->nowned = 0;
}
void fac_scratch_release(FacScratch *s);

/* One Python argument as the value of one parameter. 1: done; 0: does not fit (no exception: another
 * overload may); -1: exception. */
int fac_arg_convert(const FacParam *param, PyObject *o, FacValue *out, FacScratch *scratch);
/* What the error message for op and these arguments says: lists the signatures that would fit. */
PyObject *fac_args_error(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);

/* Python numbers (bool, int, float, complex, NumPy scalars, objects with __index__ / __float__).
 * 1, 0, -1 as above. */
int fac_number_convert(PyObject *o, FacValue *out, FacScratch *scratch);
PyObject *fac_number_to_python(FacValue v);
/* Any value as Python: tensors wrapped, lists to lists, dtypes, devices ... Borrows v. */
PyObject *fac_value_to_python(FacValue v);
/* The results of a call as Python returns them (one, a tuple, a named tuple, a list); takes them. */
PyObject *fac_results_to_python(const FacOp *op, FacValue *results);
/* Sizes from a tuple, list, Size or an int (also 0-d integer tensors in it); at most FAC_MAX_NDIM. */
int fac_sizes_convert(PyObject *o, FacDim *sizes, int *ndim);

/* Calls a row from C within bindings; a new reference. */
PyObject *fac_py_call(const FacOp *op, int nargs, const FacValue *args);
/* fac_dispatch with the interpreter lock dropped when the call is large enough to be worth it. */
FacStatus fac_py_run(FacCall *call);

/* opobj.c: the callable for all rows of a name: kinds of view of it. */
typedef enum FacOpForm { FAC_FORM_FUNCTION, FAC_FORM_METHOD, FAC_FORM_INPLACE } FacOpForm;
PyObject *fac_op_object(const char *name, FacOpForm form); /* cached singletons; NULL + exception */

/* --- small objects -------------------------------------------------------------------------------- */

static inline PyObject *fac_py_dtype(FacDType dt) { return fac_py.dtypes[dt]; } /* borrowed */
FacDType fac_dtype_from_python(PyObject *o);      /* FAC_DT_NONE when it is no dtype */
/* dtype objects, also Python's float, int, bool, complex types; 1, 0, -1. */
int fac_dtype_convert(PyObject *o, FacDType *out);
PyObject *fac_py_device(FacDevice device);        /* new reference */
int fac_device_convert(PyObject *o, FacDevice *out); /* device, "cuda:1", 1; 1, 0, -1 */
PyObject *fac_py_size(int ndim, const FacDim *sizes); /* a Size */
PyObject *fac_py_storage(FacStorage *storage);
PyObject *fac_py_generator(FacGenerator *g);
FacGenerator *fac_generator_from_python(PyObject *o); /* borrowed; NULL when it is none */
PyObject *fac_py_node(FacNode *node);             /* new reference; None for NULL */

/* --- protocols ------------------------------------------------------------------------------------ */

/* override.c: whether any of the arguments, or a mode, wants this call; 1, 0, -1. */
int fac_override_wanted(PyObject *const *args, Py_ssize_t n);
PyObject *fac_override_call(PyObject *function, PyObject *const *args, Py_ssize_t nargs,
                            PyObject *kwnames);
/* numpy.c: an ndarray, NumPy scalar, or object with the array protocols as a tensor that shares its
 * memory where it can. 1: *out is a new reference; 0: none of these; -1. Never imports NumPy: if it
 * has not been imported no object can be one of its. */
int fac_tensor_from_array(PyObject *o, FacTensor **out);
/* build.c: nested data, numbers, arrays, tensors to a new tensor (facula.tensor); dt NONE: inferred. */
FacTensor *fac_tensor_from_python(PyObject *data, FacDType dt, FacDevice device, bool copy);

/* Methods and slots that other files contribute to the Tensor type. */
extern PyMappingMethods fac_tensor_mapping;     /* index.c */
extern PyNumberMethods fac_tensor_number;       /* number.c */
extern PyBufferProcs fac_tensor_buffer;         /* numpy.c */
extern PyMethodDef fac_numpy_methods[];         /* numpy, __array__, __dlpack__ ...; Tensor methods */
extern PyMethodDef fac_autograd_methods[];      /* backward, register_hook ...; Tensor methods */
extern PyGetSetDef fac_autograd_getset[];       /* grad, grad_fn, requires_grad, is_leaf ... */
/* Module functions, added to _C at start. */
extern PyMethodDef fac_build_functions[], fac_numpy_functions[], fac_autograd_functions[],
    fac_override_functions[], fac_generator_functions[], fac_device_functions[],
    fac_library_functions[];
/* Each file's start: makes its types, adds them to the module. 0 or -1. */
int fac_start_dtype(PyObject *module);
int fac_start_device(PyObject *module);
int fac_start_storage(PyObject *module);
int fac_start_generator(PyObject *module);
int fac_start_tensor(PyObject *module);
int fac_start_ops(PyObject *module);
int fac_start_autograd(PyObject *module);
int fac_start_function(PyObject *module);
int fac_start_override(PyObject *module);
int fac_start_build(PyObject *module);
int fac_start_numpy(PyObject *module);

#endif
