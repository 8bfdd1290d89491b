/* bindings.h - what the files of bindings/ share. The only room that knows Python.
 *
 *   module.c     module definition, state, start, errors
 *   args.c       Python arguments to the frame of a call
 *   opobj.c      the callables of all operators
 *   values.c     values and results as Python objects, running
 *   wrap.c       the life of Tensor objects, subclasses
 *   tensor.c     attributes and conversions of Tensor
 *   new.c        Tensor(...), new_tensor
 *   number.c     + - * / @ == ..., numbers
 *   index.c      t[...] and t[...] = x
 *   copy.c       deepcopy, pickling
 *   build.c      tensor(...) from nested data
 *   numpy.c      NumPy, buffer protocol, DLPack
 *   dtype.c      dtype, layout, memory_format, Size
 *   device.c     device, with device
 *   storage.c    UntypedStorage
 *   generator.c  Generator, seeds
 *   autograd.c   grad mode, backward
 *   transform.c  levels of vmap, grad and forward mode
 *   graph.c      nodes as Python objects
 *   hooks.c      hooks of gradients
 *   saved.c      saved tensors: hooks around them, SavedTensor
 *   frames.c     which line of the user's program runs
 *   anomaly.c    anomaly mode and the tripwire
 *   collect.c    cycles through the graph, for the collector
 *   function.c   autograd.Function
 *   override.c   __torch_function__, __torch_dispatch__, modes
 *   library.c    rows as Python objects, registration
 *   nn.c         calls and attributes of nn.Module
 *   config.c     what this build is and found on this machine
 *
 * Functions return a new reference or NULL with an exception set, or an int: 0, or -1 with an
 * exception set, unless the comment says otherwise. The interpreter lock is dropped around what
 * blocks and, by way of fac_outside, around kernels that work long.
 */
#ifndef FAC_BINDINGS_BINDINGS_H
#define FAC_BINDINGS_BINDINGS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "dispatch/dispatch.h"
#include "layers/engine.h"
#include "tensor/layout.h"
#include "tensor/random.h"

/* --- state: one struct, filled at import, read-only afterwards but for what is marked --------- */

typedef struct FacPyState {
    PyObject *module;
    /* types made at start */
    PyTypeObject *tensor_type;    /* facula.Tensor, exact: the fast ways in test for it */
    PyTypeObject *parameter_type; /* set by facula.nn; behaves like an exact Tensor; may be NULL */
    PyTypeObject *op_type, *method_type; /* functions; methods of Tensor, which bind */
    PyTypeObject *dtype_type, *device_type, *layout_type, *format_type, *size_type;
    PyTypeObject *storage_type, *generator_type, *node_type;
    PyObject *out_of_memory_error, *linalg_error;
    PyObject *dtypes[FAC_DTYPES]; /* the singletons */
    PyObject *layouts[8], *formats[4];
    const char *module_name; /* "facula", or "torch" when facula stands in for torch */
    /* interned names, compared by pointer first */
    PyObject *s_torch_function, *s_torch_dispatch, *s_out, *s_dim, *s_keepdim, *s_dtype, *s_device,
        *s_layout, *s_requires_grad, *s_pin_memory, *s_axis, *s_self, *s_input, *s_other, *s_array,
        *s_array_interface, *s_dlpack, *s_dlpack_device, *s_index, *s_float, *s_int, *s_size,
        *s_generator, *s_memory_format, *s_wrapped_self;
} FacPyState;
extern FacPyState fac_py;

/* --- errors ----------------------------------------------------------------------------------- */

/* Raises what a status and this thread's message say; returns NULL. FAC_FOREIGN: already set. */
PyObject *fac_py_raise(FacStatus status);
/* As a status: FAC_FOREIGN; for callbacks from the core into Python. */
static inline FacStatus
fac_py_foreign(void)
{
    return FAC_FOREIGN;
}

/* --- tensors ---------------------------------------------------------------------------------- */

typedef struct FacPyTensor {
    PyObject_HEAD
    FacTensor *tensor; /* owned (unless tensor->wrapper_owned) */
    PyObject *dict;    /* attributes; NULL until used */
    PyObject *weakrefs;
} FacPyTensor;

static inline bool
fac_is_exact_tensor(PyObject *o)
{
    return Py_TYPE(o) == fac_py.tensor_type || Py_TYPE(o) == fac_py.parameter_type;
}
static inline bool
fac_is_tensor(PyObject *o)
{
    return fac_is_exact_tensor(o) || PyObject_TypeCheck(o, fac_py.tensor_type);
}
static inline FacTensor *
fac_unwrap(PyObject *o) /* borrowed */
{
    return ((FacPyTensor *)o)->tensor;
}
/* The Python object of a tensor: the one it has, or a new one. Takes the reference to t, also on
 * failure. */
PyObject *fac_wrap_take(FacTensor *t);
static inline PyObject *
fac_wrap(FacTensor *t)
{
    return fac_wrap_take(fac_tensor_retain(t));
}
/* The device that a tensor says it lies on: of a wrapper subclass, what it was told. */
FacDevice fac_visible_device(const FacTensor *t);
/* A new object of a subclass (Tensor._make_subclass). Takes t. */
PyObject *fac_wrap_as_take(PyTypeObject *type, FacTensor *t);

/* --- arguments and results -------------------------------------------------------------------- */

enum { FAC_ARGS_MAX = 24, FAC_ARGS_INTS = 64, FAC_RESULTS_MAX = 8 };

/* Memory that converted arguments point to: lists, complex numbers, tensors made from arrays. */
typedef struct FacScratch {
    int nints, ncomplex, nblocks, nowned, nheld;
    int64_t ints[FAC_ARGS_INTS];
    double complexes[4][2];
    void *blocks[16];    /* fac_mem_alloc'ed, longer lists */
    FacTensor *owned[8]; /* tensors made on the way (from ndarrays) */
    PyObject *held[8];   /* tuples made of lists, so that nobody changes them meanwhile */
    bool choosy;         /* tensors do not stand for numbers: another row may take tensors */
    bool refused;        /* ... and one would have */
} FacScratch;
static inline void
fac_scratch_init(FacScratch *s)
{
    s->nints = s->ncomplex = s->nblocks = s->nowned = s->nheld = 0;
    s->choosy = s->refused = false;
}
void fac_scratch_release(FacScratch *s);

/* One Python argument as the value of one parameter. 1: done; 0: does not fit (no exception:
 * another overload may); -1: exception. */
int fac_arg_convert(const FacParam *param, PyObject *o, FacValue *out, FacScratch *scratch);
/* What Python keeps with a row, in op->foreign: made at first use. */
typedef struct FacPyRow {
    PyObject *overloads[3];    /* library.c: the OpOverload objects: the row, in-place, out= */
    PyTypeObject *result_type; /* the named tuple of its results */
    PyObject *kernels;         /* library.c: dict of Python functions; NULL unless from Python */
    PyObject **names;          /* of the parameters, interned */
} FacPyRow;
FacPyRow *fac_py_row(const FacOp *op);

/* One row as a callable sees it. */
typedef struct FacOpEntry {
    const FacOp *op;
    PyObject **names;
    bool inplace; /* the in-place form of the row */
    bool method;  /* the first argument is self */
    bool varargs; /* view(2, 3): ints given singly stand for the last positional parameter */
    uint8_t self; /* index of the parameter self, 0 for functions */
} FacOpEntry;

/* The arguments of one call, bound to a row. */
typedef struct FacFrame {
    FacValue args[FAC_ARGS_MAX];
    FacTensor *targets[FAC_RESULTS_MAX]; /* out= */
    int ntargets;
    int requires_grad; /* of factories; -1: not given */
    FacScratch scratch;
    /* why the arguments do not fit, for the message */
    int misfit;              /* FacMisfit */
    int misfit_param;        /* index in op->params */
    PyObject *misfit_object; /* borrowed */
} FacFrame;
typedef enum FacMisfit {
    FAC_MISFIT_NONE,
    FAC_MISFIT_TYPE,    /* misfit_object is not what misfit_param wants */
    FAC_MISFIT_COUNT,   /* too many by position */
    FAC_MISFIT_MISSING, /* misfit_param is not given */
    FAC_MISFIT_UNKNOWN, /* misfit_object is an unexpected keyword */
    FAC_MISFIT_TWICE,   /* misfit_param is given by position and by keyword */
} FacMisfit;
static inline void
fac_frame_init(FacFrame *f)
{
    f->ntargets = 0;
    f->requires_grad = -1;
    f->misfit = 0;
    fac_scratch_init(&f->scratch);
}
/* 1: frame->args is complete; 0: does not fit, frame->misfit says why; -1: exception. */
int fac_args_bind(const FacOpEntry *entry, PyObject *const *args, Py_ssize_t nargs,
                  PyObject *kwnames, FacFrame *frame);
/* "add(Tensor input, Number other, *, Number alpha=1)" as Python's users read it; a str. */
PyObject *fac_args_signature(const FacOpEntry *entry);
/* Raises TypeError for arguments that fit no row: lists the signatures. */
PyObject *fac_args_error(PyObject *name, const FacOpEntry *entries, int nentries, FacFrame *frame,
                         PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);

/* Python numbers (bool, int, float, complex, NumPy scalars, objects with __index__ / __float__).
 * 1, 0, -1 as above. */
int fac_number_convert(PyObject *o, FacValue *out, FacScratch *scratch);
PyObject *fac_number_to_python(FacValue v);
/* Any value as Python: tensors wrapped, lists to lists, dtypes, devices ... Borrows v. */
PyObject *fac_value_to_python(FacValue v);
/* The results of a call as Python returns them (one, a tuple, a named tuple); takes them. */
PyObject *fac_results_to_python(const FacOp *op, FacValue *results);
/* Sizes from a tuple, list, Size or an int, 0-d integer tensors too; at most FAC_MAX_NDIM. */
int fac_sizes_convert(PyObject *o, FacDim *sizes, int *ndim);

/* Calls a row from C within bindings; a new reference. */
PyObject *fac_py_call(const FacOp *op, int nargs, const FacValue *args);
/* opobj.c: runs a row on a bound frame and returns its results as Python objects. */
PyObject *fac_py_run_frame(const FacOp *op, FacFrame *frame, bool inplace);

/* opobj.c: the callable for all rows of a name: kinds of view of it. */
typedef enum FacOpForm { FAC_FORM_FUNCTION, FAC_FORM_METHOD, FAC_FORM_INPLACE } FacOpForm;
PyObject *fac_op_object(const char *name, FacOpForm form); /* cached singletons; NULL + exception */
/* Wraps methods written by hand as objects of the same callable type, so that the override protocol
 * is handled in one place, and puts them into a type's dict. */
int fac_ops_add_methods(PyObject *dict, PyMethodDef *methods);
/* Publishes some of them as functions too: facula.numel(t). names ends with NULL. */
int fac_ops_add_functions(PyMethodDef *methods, const char *const *names);
PyObject *fac_op_methods(void); /* {name: method} of all rows; borrowed */

/* --- small objects ---------------------------------------------------------------------------- */

static inline PyObject *
fac_py_dtype(FacDType dt)
{
    return fac_py.dtypes[dt];
} /* borrowed */
FacDType fac_dtype_from_python(PyObject *o); /* FAC_DT_NONE when it is no dtype */
/* dtype objects, also Python's float, int, bool, complex types; 1, 0, -1. */
int fac_dtype_convert(PyObject *o, FacDType *out);
PyObject *fac_py_device(FacDevice device);            /* new reference */
int fac_device_convert(PyObject *o, FacDevice *out);  /* device, "cuda:1", 1; 1, 0, -1 */
PyObject *fac_py_size(int ndim, const FacDim *sizes); /* a Size */
PyObject *fac_py_storage(FacStorage *storage);
PyObject *fac_py_generator(FacGenerator *g);
FacGenerator *fac_generator_from_python(PyObject *o);      /* borrowed; NULL when it is none */
PyObject *fac_py_node(FacNode *node);                      /* new reference; None for NULL */
int fac_layout_convert(PyObject *o, FacLayoutKind *out);   /* 1, 0, -1 */
int fac_format_convert(PyObject *o, FacMemoryFormat *out); /* 1, 0, -1 */
FacStorage *fac_storage_from_python(PyObject *o);          /* borrowed; NULL when it is none */
/* A Python object that the core holds; takes no reference of its own. NULL + exception. */
FacForeign *fac_py_foreign_new(PyObject *o);
FacNode *fac_node_from_python(PyObject *o); /* borrowed; NULL when it is none */
/* function.c: what a node of autograd.Function has of its own; NULL for other nodes. */
typedef struct FacFunctionNode {
    PyObject *ctx;                /* owned */
    struct FacSavedTensor *saved; /* what save_for_backward kept; in the node's memory */
    int nsaved;
} FacFunctionNode;
FacFunctionNode *fac_function_node(const FacNode *node);
/* What a thread that runs a part of another one's work takes over from it: recording, modes,
 * hooks around saved tensors. The other one waits meanwhile. */
typedef struct FacPyThread {
    FacThread core;
    PyObject *modes[2];
    void *hooks;
    PyObject *hooks_disabled;
} FacPyThread;
void fac_py_thread_get(FacPyThread *out);
void fac_py_thread_set(const FacPyThread *thread);
void fac_py_modes(PyObject **modes, bool set);                             /* override.c */
void fac_py_saved_hooks(void **hooks, PyObject **disabled_text, bool set); /* saved.c */
/* saved.c: a slot of the node as a SavedTensor object. */
PyObject *fac_py_saved(FacNode *node, struct FacSavedTensor *saved);
/* frames.c: "file:line" of the user's program, "" if none runs. Takes the lock by itself. */
void fac_py_where(char *text, size_t bytes);
/* The frame that it names (new reference), NULL if Python runs nothing. */
PyFrameObject *fac_py_user_frame(void);
PyObject *fac_py_metadata(FacNode *node); /* a dict that belongs to the node */
/* hooks.c: a tuple of gradients, None for those that are undefined. */
PyObject *fac_py_gradients(int n, FacTensor *const *grads);
/* Registers a hook; a handle. Of a leaf after accumulation, or on the gradient of any tensor; of a
 * node, before or after it runs. */
PyObject *fac_py_hook_tensor(PyObject *tensor, PyObject *function, bool after_accumulation);
PyObject *fac_py_hook_node(FacNode *node, PyObject *function, bool before);
PyObject *fac_py_tensor_hooks(FacTensor *t, bool after_accumulation); /* {id: callable} or None */
/* collect.c: how many threads are in the core without the interpreter lock, in calls that may change
 * graphs; counted with the lock held. */
extern _Atomic int fac_py_unlocked;
/* Visits what a tensor that is nobody else's keeps alive in Python through the graph; and lets it
 * go. For the collector. */
int fac_autograd_visit(FacTensor *t, visitproc visit, void *arg);
void fac_autograd_clear(FacTensor *t);
int fac_node_visit(FacNode *node, visitproc visit, void *arg); /* the same of a node's object */

/* Text attributes of small types: adds a type made from a spec to the module under `name`. */
PyTypeObject *fac_add_type(PyObject *module, PyType_Spec *spec, PyObject *bases);
/* Imports `module` below the package and returns its attribute: "_tensor_str", "_str". */
PyObject *fac_py_import(const char *module, const char *attribute);

/* --- protocols -------------------------------------------------------------------------------- */

/* override.c: whether any of the arguments, or a mode, wants this call; 1, 0, -1. */
int fac_override_wanted(PyObject *const *args, Py_ssize_t n);
PyObject *fac_override_call(PyObject *function, PyObject *const *args, Py_ssize_t nargs,
                            PyObject *kwnames);
/* Whether o itself (not its elements) asks for overrides. Cheap for exact tensors and numbers. */
int fac_override_asks(PyObject *o);
static inline bool
fac_override_modes(void)
{
    return fac_thread.function_modes > 0;
}
/* Whether tensors of this class are sent to its __torch_dispatch__. */
bool fac_has_torch_dispatch(PyTypeObject *type);
/* library.c: the OpOverload of a row in the form that the call flags name (borrowed). */
PyObject *fac_py_overload(const FacOp *op, uint8_t call_flags);
/* Whether the value is the default of parameter i. */
bool fac_py_is_default(const FacOp *op, int i, FacValue v);
/* What a Python function returned for a call becomes its results. */
FacStatus fac_py_take_results(FacCall *call, PyObject *returned);
/* numpy.c: an ndarray, NumPy scalar, or object with the array protocols as a tensor that shares its
 * memory where it can. 1: *out is a new reference; 0: none of these; -1. Never imports NumPy: if it
 * has not been imported no object can be one of its. */
int fac_tensor_from_array(PyObject *o, FacTensor **out);
/* numpy.c: a tensor over memory that a buffer exports, read-only if it is. Takes the view, also on
 * failure. Strides in elements; `first` is the element at index 0. */
FacTensor *fac_tensor_over_buffer(Py_buffer *view, FacDType dt, void *first, int ndim,
                                  const FacDim *sizes, const FacDim *strides);
/* build.c: nested data, numbers, arrays, tensors to a new tensor; dt NONE: inferred. */
FacTensor *fac_tensor_from_python(PyObject *data, FacDType dt, FacDevice device, bool copy);

/* Methods and slots that other files contribute to the Tensor type. */
extern PyMappingMethods fac_tensor_mapping;                      /* index.c */
extern PyNumberMethods fac_tensor_number;                        /* number.c */
extern PySequenceMethods fac_tensor_sequence;                    /* number.c: len and in */
PyObject *fac_tensor_compare(PyObject *a, PyObject *b, int how); /* number.c: tp_richcompare */
extern PyMethodDef fac_number_methods[];      /* number.c: __complex__, __round__ ... */
extern PyMethodDef fac_tensor_hand_methods[]; /* tensor.c: size, stride, to ... */
extern PyMethodDef fac_copy_methods[];        /* copy.c: pickling, deepcopy */
extern PyGetSetDef fac_tensor_getset[];       /* tensor.c: shape, dtype ... */
extern PyMethodDef fac_new_methods[];         /* new.c: new, new_tensor */
/* Tensor.__new__: what Tensor(...) means. */
PyObject *fac_tensor_new_py(PyTypeObject *type, PyObject *args, PyObject *kwargs);
extern PyBufferProcs fac_tensor_buffer;    /* numpy.c */
extern PyMethodDef fac_numpy_methods[];    /* numpy, __array__, __dlpack__ ... */
extern PyMethodDef fac_autograd_methods[]; /* backward, register_hook ...; Tensor methods */
extern PyGetSetDef fac_autograd_getset[];  /* grad, grad_fn, requires_grad, is_leaf ... */
/* Module functions, added to _C at start. */
extern PyMethodDef fac_build_functions[], fac_numpy_functions[], fac_autograd_functions[],
    fac_override_functions[], fac_generator_functions[], fac_device_functions[],
    fac_library_functions[], fac_dtype_functions[], fac_tensor_functions[], fac_op_functions[],
    fac_wrap_functions[], fac_config_functions[], fac_copy_functions[], fac_storage_functions[],
    fac_transform_functions[], fac_profile_functions[];
/* Each file's start: makes its types, adds them to the module. 0 or -1. */
int fac_start_dtype(PyObject *module);
int fac_start_device(PyObject *module);
int fac_start_storage(PyObject *module);
int fac_start_generator(PyObject *module);
int fac_start_wrap(PyObject *module); /* the Tensor type; after number, index, numpy */
int fac_start_values(PyObject *module);
int fac_start_ops(PyObject *module);
int fac_start_graph(PyObject *module);
int fac_start_hooks(PyObject *module);
int fac_start_saved(PyObject *module);
int fac_start_anomaly(PyObject *module);
int fac_start_function(PyObject *module);
int fac_start_override(PyObject *module);
int fac_start_library(PyObject *module);
int fac_start_nn(PyObject *module);
int fac_start_build(PyObject *module);
int fac_start_numpy(PyObject *module);

#endif
