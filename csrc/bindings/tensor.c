/* tensor.c - what a Tensor tells about itself, and conversions.
 *
 * Attributes and methods that are no operators: shape, strides, device, single numbers, nested
 * lists, dtype and device conversion (which gives the tensor itself where nothing changes, and the
 * row _to_copy otherwise). They are written as plain C functions over exact tensors; wrap.c and
 * opobj.c put the override protocol in front of them.
 */
#include "bindings/bindings.h"

#include "base/dtype.h"
#include "layers/level.h"

#include <string.h>

typedef PyObject *(*Getter)(PyObject *, void *);

/* The row of that name, looked up once: `static const FacOp *op; if (!row(&op, "alias")) ...`. */
static bool
row(const FacOp **op, const char *name)
{
    if (!*op && !(*op = fac_op_find(name)))
        PyErr_Format(PyExc_NotImplementedError, "this build has no operator '%s'", name);
    return *op != NULL;
}

/* --- attributes: layout ----------------------------------------------------------------------- */

static PyObject *
get_shape(PyObject *self, void *Py_UNUSED(closure))
{
    const FacTensor *t = fac_unwrap(self);
    return fac_py_size(t->ndim, t->sizes);
}

static PyObject *
get_dtype(PyObject *self, void *Py_UNUSED(closure))
{
    return Py_NewRef(fac_py_dtype((FacDType)fac_unwrap(self)->dtype));
}

static PyObject *
get_device(PyObject *self, void *Py_UNUSED(closure))
{
    return fac_py_device(fac_visible_device(fac_unwrap(self)));
}

static PyObject *
get_layout(PyObject *Py_UNUSED(self), void *Py_UNUSED(closure))
{
    return Py_NewRef(fac_py.layouts[FAC_STRIDED]);
}

static PyObject *
get_ndim(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromLong(fac_unwrap(self)->ndim);
}

static PyObject *
get_itemsize(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromLong(fac_dtype_info[fac_unwrap(self)->dtype].size);
}

static PyObject *
get_nbytes(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromSize_t(fac_nbytes(fac_unwrap(self)));
}

static PyObject *
get_version(PyObject *self, void *Py_UNUSED(closure))
{
    const FacTensor *t = fac_unwrap(self);
    if (t->flags & FAC_T_INFERENCE) {
        PyErr_SetString(PyExc_RuntimeError, "Inference tensors do not track version counter.");
        return NULL;
    }
    return PyLong_FromLongLong(fac_tensor_version(t));
}

static PyObject *
get_base(PyObject *self, void *Py_UNUSED(closure))
{
    FacTensor *base = fac_unwrap(self)->base;
    if (!base) Py_RETURN_NONE;
    return fac_wrap(base);
}

static PyObject *
get_names(PyObject *self, void *Py_UNUSED(closure))
{
    int n = fac_unwrap(self)->ndim;
    PyObject *names = PyTuple_New(n);
    for (int i = 0; names && i < n; i++) PyTuple_SET_ITEM(names, i, Py_NewRef(Py_None));
    return names;
}

static PyObject *
get_name(PyObject *Py_UNUSED(self), void *Py_UNUSED(closure))
{
    Py_RETURN_NONE;
}

/* Whether the tensor is on the device type that the closure names. */
static PyObject *
get_is_on(PyObject *self, void *closure)
{
    return PyBool_FromLong(fac_visible_device(fac_unwrap(self)).type == (int)(intptr_t)closure);
}

/* On an accelerator of the CUDA family: HIP calls itself cuda as well. */
static PyObject *
get_is_cuda(PyObject *self, void *Py_UNUSED(closure))
{
    int type = fac_visible_device(fac_unwrap(self)).type;
    return PyBool_FromLong(type == FAC_DEV_CUDA || type == FAC_DEV_HIP);
}

/* Kinds of tensors that are not this one. */
static PyObject *
get_false(PyObject *Py_UNUSED(self), void *Py_UNUSED(closure))
{
    Py_RETURN_FALSE;
}

/* --- attributes: data and views --------------------------------------------------------------- */

/* The result of the row that the closure names. */
static PyObject *
get_row(PyObject *self, void *closure)
{
    FacValue arg = fac_v_tensor(fac_unwrap(self));
    const FacOp *op = fac_op_find(closure);
    if (!op)
        return PyErr_Format(PyExc_NotImplementedError, "this build has no operator '%s'",
                            (const char *)closure);
    return fac_py_call(op, 1, &arg);
}

static PyObject *
get_data(PyObject *self, void *Py_UNUSED(closure))
{
    FacTensor *of = fac_unwrap(self), *t;
    if (of->flags & FAC_T_OVERRIDDEN_STORAGE) return get_row(self, "detach");
    FacStatus st = fac_tensor_over(of->storage, (FacDType)of->dtype, of->ndim, of->sizes,
                                   of->strides, of->offset, &t);
    if (st) return fac_py_raise(st);
    t->flags |= of->flags & (FAC_T_CONJ | FAC_T_NEG);
    return fac_wrap_as_take(fac_py.tensor_type, t);
}

/* x.data = y: x becomes what y is, and keeps its identity, gradient and requires_grad. */
static int
set_data(PyObject *self, PyObject *value, void *Py_UNUSED(closure))
{
    if (!fac_is_tensor(value)) {
        PyErr_Format(PyExc_TypeError, "data must be a Tensor, not %s", Py_TYPE(value)->tp_name);
        return -1;
    }
    FacTensor *t = fac_unwrap(self);
    const FacTensor *from = fac_unwrap(value);
    FacDType former = (FacDType)t->dtype;
    t->dtype = from->dtype; /* first: the check of the new layout goes by the element size */
    FacStatus st = fac_tensor_set_layout(t, from->storage, from->ndim, from->sizes, from->strides,
                                         from->offset);
    if (st) {
        t->dtype = (int8_t)former;
        fac_py_raise(st);
        return -1;
    }
    t->device = from->device;
    t->flags = (uint8_t)((t->flags & ~(FAC_T_CONJ | FAC_T_NEG)) |
                         (from->flags & (FAC_T_CONJ | FAC_T_NEG)));
    return 0;
}

static PyObject *
get_real(PyObject *self, void *closure)
{
    return FAC_IS_COMPLEX(fac_unwrap(self)->dtype) ? get_row(self, closure) : Py_NewRef(self);
}

static PyObject *
get_imag(PyObject *self, void *closure)
{
    if (FAC_IS_COMPLEX(fac_unwrap(self)->dtype)) return get_row(self, closure);
    return PyErr_Format(PyExc_RuntimeError, "imag is not implemented for tensors with non-complex "
                                            "dtypes.");
}

static int
set_part(PyObject *self, PyObject *value, Getter get, const char *name)
{
    PyObject *part = get(self, (void *)name);
    PyObject *result = part ? PyObject_CallMethod(part, "copy_", "O", value) : NULL;
    Py_XDECREF(part);
    Py_XDECREF(result);
    return result ? 0 : -1;
}

static int
set_real(PyObject *self, PyObject *value, void *closure)
{
    return set_part(self, value, get_real, closure);
}

static int
set_imag(PyObject *self, PyObject *value, void *closure)
{
    return set_part(self, value, get_imag, closure);
}

static PyObject *
get_matrix_transpose(PyObject *self, void *closure)
{
    static const FacOp *transpose;
    const FacTensor *t = fac_unwrap(self);
    FacValue args[3] = {fac_v_tensor(fac_unwrap(self)), fac_v_int(-2), fac_v_int(-1)};
    if (t->ndim < 2)
        return PyErr_Format(PyExc_RuntimeError,
                            "tensor.%s is only supported on matrices or batches "
                            "of matrices. Got %d-D tensor.",
                            (const char *)closure, t->ndim);
    if (strcmp(closure, "mH") == 0) return get_row(self, "adjoint");
    return row(&transpose, "transpose") ? fac_py_call(transpose, 3, args) : NULL;
}

static PyObject *
get_hermitian(PyObject *self, void *Py_UNUSED(closure))
{
    int ndim = fac_unwrap(self)->ndim;
    if (ndim == 2) return get_row(self, "adjoint");
    if (ndim == 0) return get_row(self, "conj");
    return PyErr_Format(PyExc_RuntimeError,
                        "tensor.H is only supported on matrices (2-D tensors). "
                        "Got %d-D tensor.",
                        ndim);
}

PyGetSetDef fac_tensor_getset[] = {
    {"shape", get_shape, NULL, "The sizes, one a dimension.", NULL},
    {"dtype", get_dtype, NULL, "The type of the elements.", NULL},
    {"device", get_device, NULL, "Where the elements lie.", NULL},
    {"layout", get_layout, NULL, "How the elements are stored.", NULL},
    {"ndim", get_ndim, NULL, "The number of dimensions.", NULL},
    {"itemsize", get_itemsize, NULL, "The bytes of an element.", NULL},
    {"nbytes", get_nbytes, NULL, "The bytes of all elements.", NULL},
    {"data", get_data, set_data, "The same elements, without history.", NULL},
    {"T", get_row, NULL, "The dimensions in reverse order.", "numpy_T"},
    {"mT", get_matrix_transpose, NULL, "The last two dimensions swapped.", "mT"},
    {"H", get_hermitian, NULL, "A matrix transposed and conjugated.", NULL},
    {"mH", get_matrix_transpose, NULL, "The last two dimensions swapped, conjugated.", "mH"},
    {"real", get_real, set_real, "The real parts, a view.", "real"},
    {"imag", get_imag, set_imag, "The imaginary parts, a view.", "imag"},
    {"names", get_names, NULL, "The names of the dimensions: None.", NULL},
    {"name", get_name, NULL, "None: tensors have no names.", NULL},
    {"_version", get_version, NULL, "How often the elements were changed in place.", NULL},
    {"_base", get_base, NULL, "The tensor that this one is a view of, or None.", NULL},
    {"is_cpu", get_is_on, NULL, "Whether it lies in main memory.", (void *)FAC_DEV_CPU},
    {"is_cuda", get_is_cuda, NULL, "Whether it lies on a GPU.", NULL},
    {"is_meta", get_is_on, NULL, "Whether it has no elements but their shape.",
     (void *)FAC_DEV_META},
    {"is_mps", get_is_on, NULL, "Whether it lies on an MPS device.", (void *)FAC_DEV_MPS},
    {"is_xpu", get_is_on, NULL, "Whether it lies on an XPU.", (void *)FAC_DEV_XPU},
    {"is_xla", get_is_on, NULL, "Whether it lies on an XLA device.", (void *)FAC_DEV_XLA},
    {"is_mtia", get_is_on, NULL, "Whether it lies on an MTIA device.", (void *)FAC_DEV_MTIA},
    {"is_maia", get_is_on, NULL, "Whether it lies on a MAIA device.", (void *)FAC_DEV_MAIA},
    {"is_ipu", get_is_on, NULL, "Whether it lies on an IPU.", (void *)FAC_DEV_IPU},
    {"is_vulkan", get_is_on, NULL, "Whether it lies on a Vulkan device.", (void *)FAC_DEV_VULKAN},
    {"is_sparse", get_false, NULL, "Whether it is sparse (COO).", NULL},
    {"is_sparse_csr", get_false, NULL, "Whether it is sparse (CSR).", NULL},
    {"is_mkldnn", get_false, NULL, "Whether it has an opaque layout.", NULL},
    {"is_quantized", get_false, NULL, "Whether it is quantized.", NULL},
    {"is_nested", get_false, NULL, "Whether it is a nested tensor.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* --- methods: layout -------------------------------------------------------------------------- */

/* The one argument `dim` of size() and stride(), or NULL; false with an exception for others. */
static bool
optional_dim(const char *name, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
             PyObject **dim)
{
    Py_ssize_t nkw = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
    *dim = NULL;
    if (nargs + nkw == 0) return true;
    if (nargs + nkw == 1 &&
        (nkw == 0 || PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(kwnames, 0), "dim") == 0)) {
        *dim = args[0] == Py_None ? NULL : args[0];
        return true;
    }
    PyErr_Format(PyExc_TypeError, "%s() takes one argument, 'dim'", name);
    return false;
}

static PyObject *
one_dim(const FacTensor *t, PyObject *dim, const FacDim *from)
{
    int wrapped;
    if (PyFloat_Check(dim) || !PyIndex_Check(dim))
        return PyErr_Format(PyExc_TypeError, "argument 'dim' (position 1) must be int, not %s",
                            Py_TYPE(dim)->tp_name);
    Py_ssize_t given = PyNumber_AsSsize_t(dim, PyExc_IndexError);
    if (given == -1 && PyErr_Occurred()) return NULL;
    if (t->ndim == 0)
        return PyErr_Format(PyExc_IndexError,
                            "Dimension specified as %zd but tensor has no dimensions", given);
    FacStatus st = fac_wrap_dim(given, t->ndim, &wrapped);
    return st ? fac_py_raise(st) : PyLong_FromLongLong(from[wrapped]);
}

static PyObject *
tensor_size(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    const FacTensor *t = fac_unwrap(self);
    PyObject *dim;
    if (!optional_dim("size", args, nargs, kwnames, &dim)) return NULL;
    return dim ? one_dim(t, dim, t->sizes) : fac_py_size(t->ndim, t->sizes);
}

static PyObject *
tensor_stride(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    const FacTensor *t = fac_unwrap(self);
    PyObject *dim;
    if (!optional_dim("stride", args, nargs, kwnames, &dim)) return NULL;
    if (dim) return one_dim(t, dim, t->strides);
    PyObject *strides = PyTuple_New(t->ndim);
    for (int i = 0; strides && i < t->ndim; i++) {
        PyObject *item = PyLong_FromLongLong(t->strides[i]);
        if (!item)
            Py_CLEAR(strides);
        else
            PyTuple_SET_ITEM(strides, i, item);
    }
    return strides;
}

static PyObject *
tensor_dim(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromLong(fac_unwrap(self)->ndim);
}

static PyObject *
tensor_numel(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromLongLong(fac_unwrap(self)->numel);
}

static PyObject *
tensor_element_size(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return get_itemsize(self, NULL);
}

static PyObject *
tensor_storage_offset(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromLongLong(fac_unwrap(self)->offset);
}

static PyObject *
tensor_is_contiguous(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"memory_format", NULL};
    PyObject *o = NULL;
    FacMemoryFormat format = FAC_CONTIGUOUS;
    const FacTensor *t = fac_unwrap(self);
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:is_contiguous", names, &o)) return NULL;
    if (o && !fac_format_convert(o, &format))
        return PyErr_Format(PyExc_TypeError,
                            "is_contiguous(): argument 'memory_format' must be "
                            "%s.memory_format, not %s",
                            fac_py.module_name, Py_TYPE(o)->tp_name);
    if (format == FAC_CONTIGUOUS) return PyBool_FromLong(t->contiguous);
    return PyBool_FromLong(fac_is_format(format, t->ndim, t->sizes, t->strides));
}

static PyObject *
tensor_data_ptr(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    const FacTensor *t = fac_unwrap(self);
    if (t->flags & FAC_T_OVERRIDDEN_STORAGE)
        return PyErr_Format(PyExc_RuntimeError, "the tensor has no memory of its own");
    return PyLong_FromVoidPtr(t->numel ? fac_data(t) : NULL);
}

static PyObject *
tensor_untyped_storage(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return fac_py_storage(fac_unwrap(self)->storage);
}

static PyObject *
tensor_get_device(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    FacDevice d = fac_visible_device(fac_unwrap(self));
    return PyLong_FromLong(d.type == FAC_DEV_CPU || d.type == FAC_DEV_META ? -1
                           : d.index < 0                                   ? 0
                                                                           : d.index);
}

static bool
two_tensors(const char *name, PyObject *o)
{
    if (fac_is_tensor(o)) return true;
    PyErr_Format(PyExc_TypeError, "%s(): argument 'other' (position 1) must be Tensor, not %s",
                 name, Py_TYPE(o)->tp_name);
    return false;
}

static bool
same_sizes(const FacTensor *a, const FacTensor *b)
{
    return a->ndim == b->ndim && memcmp(a->sizes, b->sizes, a->ndim * sizeof(FacDim)) == 0;
}

static PyObject *
tensor_is_same_size(PyObject *self, PyObject *other)
{
    if (!two_tensors("is_same_size", other)) return NULL;
    return PyBool_FromLong(same_sizes(fac_unwrap(self), fac_unwrap(other)));
}

static PyObject *
tensor_is_set_to(PyObject *self, PyObject *other)
{
    if (!two_tensors("is_set_to", other)) return NULL;
    const FacTensor *a = fac_unwrap(self), *b = fac_unwrap(other);
    return PyBool_FromLong(a->storage == b->storage && a->offset == b->offset && same_sizes(a, b) &&
                           memcmp(a->strides, b->strides, a->ndim * sizeof(FacDim)) == 0);
}

/* --- methods: questions ----------------------------------------------------------------------- */

static PyObject *
tensor_is_floating_point(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(FAC_IS_FLOAT(fac_unwrap(self)->dtype));
}

static PyObject *
tensor_is_complex(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(FAC_IS_COMPLEX(fac_unwrap(self)->dtype));
}

static PyObject *
tensor_is_signed(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(fac_dtype_info[fac_unwrap(self)->dtype].is_signed);
}

static PyObject *
tensor_is_conj(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(fac_unwrap(self)->flags & FAC_T_CONJ);
}

static PyObject *
tensor_is_neg(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(fac_unwrap(self)->flags & FAC_T_NEG);
}

static PyObject *
tensor_is_inference(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(fac_unwrap(self)->flags & FAC_T_INFERENCE);
}

static PyObject *
tensor_is_view(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(fac_unwrap(self)->base != NULL);
}

/* Memory that a GPU reads by itself is of use where there is a GPU only. */
static PyObject *
tensor_pin_memory(PyObject *self, PyObject *Py_UNUSED(args))
{
    if (fac_devices[FAC_DEV_CUDA] || fac_devices[FAC_DEV_HIP])
        return PyErr_Format(PyExc_NotImplementedError, "this build does not pin memory");
    return Py_NewRef(self);
}

/* Streams of one device run in order, and blocks are kept for them. */
static PyObject *
tensor_record_stream(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(stream))
{
    Py_RETURN_NONE;
}

static PyObject *
tensor_is_pinned(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(args))
{
    Py_RETURN_FALSE;
}

/* --- methods: elements as Python objects ------------------------------------------------------ */

static bool
readable(const FacTensor *t, const char *what)
{
    bool hollow = (t->flags & FAC_T_OVERRIDDEN_STORAGE) != 0;
    if (!fac_is_meta(t) && !hollow) return true;
    PyErr_Format(PyExc_RuntimeError, "Tensor.%s() cannot be called on %s", what,
                 fac_wrapped(t) ? "a tensor inside of vmap, which stands for a whole batch; use "
                                  "where() and masks in place of Python's decisions"
                 : hollow       ? "tensors without memory of their own"
                                : "meta tensors");
    return false;
}

static PyObject *
tensor_item(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    FacTensor *t = fac_unwrap(self);
    double c[2];
    FacValue v;
    if (!readable(t, "item")) return NULL;
    if (t->numel != 1)
        return PyErr_Format(PyExc_RuntimeError,
                            "a Tensor with %lld elements cannot be converted to "
                            "Scalar",
                            (long long)t->numel);
    FacStatus st = fac_tensor_item(t, c, &v);
    return st ? fac_py_raise(st) : fac_number_to_python(v);
}

static PyObject *
tensor_is_nonzero(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    FacTensor *t = fac_unwrap(self);
    if (t->numel != 1)
        return PyErr_Format(PyExc_RuntimeError,
                            "is_nonzero() takes a tensor of one element, not of %lld",
                            (long long)t->numel);
    int truth = PyObject_IsTrue(self);
    return truth < 0 ? NULL : PyBool_FromLong(truth);
}

/* The elements from `at` on, dimension `dim` outermost, of a tensor in C order. */
static PyObject *
nested_list(const FacTensor *t, int dim, const char **at)
{
    if (dim == t->ndim) {
        double c[2];
        PyObject *number = fac_number_to_python(fac_v_load((FacDType)t->dtype, *at, c));
        *at += fac_dtype_info[t->dtype].size;
        return number;
    }
    PyObject *list = PyList_New(t->sizes[dim]);
    for (FacDim i = 0; list && i < t->sizes[dim]; i++) {
        PyObject *item = nested_list(t, dim + 1, at);
        if (!item)
            Py_CLEAR(list);
        else
            PyList_SET_ITEM(list, i, item);
    }
    return list;
}

static PyObject *
tensor_tolist(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    FacTensor *t = fac_unwrap(self), *plain;
    if (!readable(t, "tolist")) return NULL;
    FacStatus st = fac_contiguous(t, FAC_DT_NONE, &plain);
    if (st) return fac_py_raise(st);
    const char *at = fac_data(plain);
    PyObject *list = nested_list(plain, 0, &at);
    fac_tensor_release(plain);
    return list;
}

/* The number of a 0-d tensor by its own format, anything else as an object. */
static PyObject *
tensor_format(PyObject *self, PyObject *spec)
{
    const FacTensor *t = fac_unwrap(self);
    if (t->ndim || fac_is_meta(t) || Py_TYPE(self) != fac_py.tensor_type) {
        if (PyUnicode_Check(spec) && PyUnicode_GET_LENGTH(spec) == 0) return PyObject_Str(self);
        return PyErr_Format(PyExc_TypeError,
                            "unsupported format string passed to Tensor.__format__");
    }
    if (!PyUnicode_Check(spec))
        return PyErr_Format(PyExc_TypeError, "__format__() argument must be str, not %s",
                            Py_TYPE(spec)->tp_name);
    PyObject *number = tensor_item(self, NULL);
    PyObject *text = number ? PyObject_Format(number, spec) : NULL;
    Py_XDECREF(number);
    return text;
}

/* --- methods: conversion ---------------------------------------------------------------------- */

typedef struct Conversion {
    FacDType dtype;   /* NONE: as it is */
    FacDevice device; /* index and type as it is unless has_device */
    bool has_device, copy, non_blocking;
    FacMemoryFormat format;
} Conversion;

static bool
already(const FacTensor *t, const Conversion *c)
{
    FacDevice at = fac_visible_device(t);
    if (c->copy) return false;
    if (c->dtype != FAC_DT_NONE && c->dtype != (FacDType)t->dtype) return false;
    if (c->has_device && (c->device.type != at.type ||
                          (c->device.index >= 0 && at.index >= 0 && c->device.index != at.index)))
        return false;
    return c->format == FAC_PRESERVE || fac_is_format(c->format, t->ndim, t->sizes, t->strides);
}

static PyObject *
convert(PyObject *self, const Conversion *c)
{
    static const FacOp *to_copy;
    FacTensor *t = fac_unwrap(self);
    FacValue args[6] = {fac_v_tensor(t), fac_v_dtype(c->dtype)};
    if (already(t, c)) return Py_NewRef(self);
    if (!row(&to_copy, "_to_copy")) return NULL;
    if (c->has_device) args[3] = fac_v_device(c->device);
    args[4] = fac_v_bool(c->non_blocking);
    args[5] = (FacValue){.tag = FAC_V_FORMAT, .v.i = c->format};
    return fac_py_call(to_copy, 6, args);
}

static const Conversion unchanged = {.dtype = FAC_DT_NONE, .format = FAC_PRESERVE};

/* One argument of to(): a dtype, a device, another tensor. 1, 0, -1. */
static int
conversion_target(PyObject *o, Conversion *c)
{
    if (o == Py_None) return 1;
    if (fac_is_tensor(o)) {
        const FacTensor *other = fac_unwrap(o);
        c->dtype = (FacDType)other->dtype;
        c->device = fac_visible_device(other);
        return c->has_device = true;
    }
    int fits = fac_dtype_convert(o, &c->dtype);
    if (fits) return fits;
    fits = fac_device_convert(o, &c->device);
    c->has_device |= fits == 1;
    return fits;
}

static int
conversion_keyword(PyObject *name, PyObject *o, Conversion *c)
{
    int truth = 1;
    if (PyUnicode_CompareWithASCIIString(name, "memory_format") == 0)
        return o == Py_None || fac_format_convert(o, &c->format);
    if (PyUnicode_CompareWithASCIIString(name, "dtype") == 0 ||
        PyUnicode_CompareWithASCIIString(name, "device") == 0 ||
        PyUnicode_CompareWithASCIIString(name, "other") == 0)
        return conversion_target(o, c);
    bool copy = PyUnicode_CompareWithASCIIString(name, "copy") == 0;
    if (!copy && PyUnicode_CompareWithASCIIString(name, "non_blocking") != 0) return 0;
    truth = PyObject_IsTrue(o);
    if (copy)
        c->copy = truth > 0;
    else
        c->non_blocking = truth > 0;
    return truth < 0 ? -1 : 1;
}

/* to(dtype | device | other, [dtype], non_blocking=False, copy=False, *, memory_format=None) */
static PyObject *
tensor_to(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    Conversion c = unchanged;
    Py_ssize_t nkw = kwnames ? PyTuple_GET_SIZE(kwnames) : 0, i = 0;
    int fits = nargs + nkw > 0;
    for (; fits == 1 && i < nargs && i < 2 && !PyBool_Check(args[i]); i++)
        fits = conversion_target(args[i], &c);
    for (int flag = 0; fits == 1 && i < nargs; i++, flag++) {
        fits = PyBool_Check(args[i]) && flag < 2;
        if (flag == 0)
            c.non_blocking = args[i] == Py_True;
        else
            c.copy = args[i] == Py_True;
    }
    for (Py_ssize_t k = 0; fits == 1 && k < nkw; k++)
        fits = conversion_keyword(PyTuple_GET_ITEM(kwnames, k), args[nargs + k], &c);
    if (fits < 0) return NULL;
    if (!fits)
        return PyErr_Format(
            PyExc_TypeError,
            "to() received an invalid combination of arguments, but expected one of:\n"
            " * (%s.device device = None, %s.dtype dtype = None, bool non_blocking = False, bool "
            "copy "
            "= False, *, %s.memory_format memory_format = None)\n"
            " * (%s.dtype dtype, bool non_blocking = False, bool copy = False, *, "
            "%s.memory_format memory_format = None)\n"
            " * (Tensor other, bool non_blocking = False, bool copy = False, *, "
            "%s.memory_format memory_format = None)",
            fac_py.module_name, fac_py.module_name, fac_py.module_name, fac_py.module_name,
            fac_py.module_name, fac_py.module_name);
    return convert(self, &c);
}

/* cpu(), cuda(device=None, non_blocking=False): memory_format too. */
static PyObject *
to_device(PyObject *self, PyObject *args, PyObject *kwargs, FacDeviceType type)
{
    static char *names[] = {"device", "non_blocking", "memory_format", NULL};
    static char *cpu_names[] = {"memory_format", NULL};
    PyObject *device = Py_None, *format = Py_None;
    Conversion c = unchanged;
    int non_blocking = 0;
    if (type == FAC_DEV_CPU
            ? !PyArg_ParseTupleAndKeywords(args, kwargs, "|O:cpu", cpu_names, &format)
            : !PyArg_ParseTupleAndKeywords(args, kwargs, "|OpO:cuda", names, &device, &non_blocking,
                                           &format))
        return NULL;
    c.non_blocking = non_blocking != 0;
    c.device = fac_device(type, -1);
    c.has_device = true;
    int fits = device == Py_None ? 1 : fac_device_convert(device, &c.device);
    if (fits == 1 && format != Py_None) fits = fac_format_convert(format, &c.format);
    if (fits == 0) PyErr_SetString(PyExc_TypeError, "expected a device and a memory_format");
    return fits == 1 ? convert(self, &c) : NULL;
}

static PyObject *
tensor_cpu(PyObject *self, PyObject *args, PyObject *kwargs)
{
    return to_device(self, args, kwargs, FAC_DEV_CPU);
}

static PyObject *
tensor_cuda(PyObject *self, PyObject *args, PyObject *kwargs)
{
    return to_device(self, args, kwargs, FAC_DEV_CUDA);
}

/* float(), half() ...: a method a dtype. */
#define DTYPE_METHODS(X)                                                                           \
    X(float, F32)                                                                                  \
    X(double, F64)                                                                                 \
    X(half, F16)                                                                                   \
    X(bfloat16, BF16)                                                                              \
    X(int, I32)                                                                                    \
    X(long, I64)                                                                                   \
    X(short, I16)                                                                                  \
    X(char, I8)                                                                                    \
    X(byte, U8)                                                                                    \
    X(bool, BOOL)                                                                                  \
    X(chalf, C32)                                                                                  \
    X(cfloat, C64)                                                                                 \
    X(cdouble, C128)

static PyObject *
to_dtype(PyObject *self, PyObject *args, PyObject *kwargs, FacDType dtype)
{
    static char *names[] = {"memory_format", NULL};
    PyObject *format = Py_None;
    Conversion c = unchanged;
    c.dtype = dtype;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O", names, &format)) return NULL;
    if (format != Py_None && !fac_format_convert(format, &c.format))
        return PyErr_Format(PyExc_TypeError, "argument 'memory_format' must be a memory_format");
    return convert(self, &c);
}

#define DTYPE_METHOD(name, dtype)                                                                  \
    static PyObject *tensor_to_##name(PyObject *self, PyObject *args, PyObject *kwargs)            \
    {                                                                                              \
        return to_dtype(self, args, kwargs, FAC_DT_##dtype);                                       \
    }
DTYPE_METHODS(DTYPE_METHOD)

static PyObject *
tensor_type_as(PyObject *self, PyObject *other)
{
    if (!two_tensors("type_as", other)) return NULL;
    Conversion c = unchanged;
    return conversion_target(other, &c) == 1 ? convert(self, &c) : NULL;
}

/* "torch.cuda.FloatTensor", the old name of dtype and device. */
static PyObject *
legacy_name(const FacTensor *t)
{
    static const char *const prefixes[FAC_DEVICE_TYPES] = {
        [FAC_DEV_CUDA] = "cuda.", [FAC_DEV_HIP] = "cuda.", [FAC_DEV_META] = "meta."};
    const char *prefix = prefixes[fac_visible_device(t).type];
    return PyUnicode_FromFormat("%s.%s%sTensor", fac_py.module_name, prefix ? prefix : "",
                                fac_dtype_info[t->dtype].legacy);
}

/* The dtype of an old name, whatever stands before its last dot. */
static FacDType
dtype_of_legacy_name(const char *text)
{
    const char *dot = strrchr(text, '.'), *name = dot ? dot + 1 : text;
    size_t n = strlen(name);
    if (n <= 6 || strcmp(name + n - 6, "Tensor") != 0) return FAC_DT_NONE;
    for (int dt = 0; dt < FAC_DTYPES; dt++)
        if (strlen(fac_dtype_info[dt].legacy) == n - 6 &&
            strncmp(fac_dtype_info[dt].legacy, name, n - 6) == 0)
            return (FacDType)dt;
    return FAC_DT_NONE;
}

static PyObject *
tensor_type(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"dtype", "non_blocking", NULL};
    PyObject *o = Py_None;
    int non_blocking = 0;
    Conversion c = unchanged;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|Op:type", names, &o, &non_blocking))
        return NULL;
    if (o == Py_None) return legacy_name(fac_unwrap(self));
    const char *text = PyUnicode_Check(o) ? PyUnicode_AsUTF8(o) : NULL;
    if (text) {
        c.dtype = dtype_of_legacy_name(text);
        c.device = fac_device(strstr(text, "cuda.") ? FAC_DEV_CUDA : FAC_DEV_CPU, -1);
        c.has_device = true;
    } else if (!fac_dtype_convert(o, &c.dtype)) {
        c.dtype = FAC_DT_NONE;
    }
    if (c.dtype == FAC_DT_NONE) return PyErr_Format(PyExc_ValueError, "invalid type: %R", o);
    c.non_blocking = non_blocking != 0;
    return convert(self, &c);
}

#define FAST(function) (PyCFunction)(void (*)(void))(function)
#define KEYWORDS(function) (PyCFunction)(void (*)(void))(function), METH_VARARGS | METH_KEYWORDS
#define DTYPE_ENTRY(name, dtype)                                                                   \
    {#name, KEYWORDS(tensor_to_##name),                                                            \
     #name "($self, memory_format=None)\n--\n\nThe elements in another dtype."},

PyMethodDef fac_tensor_hand_methods[] = {
    {"size", FAST(tensor_size), METH_FASTCALL | METH_KEYWORDS,
     "size($self, dim=None)\n--\n\nThe sizes, or that of one dimension."},
    {"stride", FAST(tensor_stride), METH_FASTCALL | METH_KEYWORDS,
     "stride($self, dim=None)\n--\n\nThe steps between elements, in elements."},
    {"dim", tensor_dim, METH_NOARGS, "dim($self)\n--\n\nThe number of dimensions."},
    {"ndimension", tensor_dim, METH_NOARGS, "ndimension($self)\n--\n\nThe number of dimensions."},
    {"numel", tensor_numel, METH_NOARGS, "numel($self)\n--\n\nThe number of elements."},
    {"nelement", tensor_numel, METH_NOARGS, "nelement($self)\n--\n\nThe number of elements."},
    {"element_size", tensor_element_size, METH_NOARGS,
     "element_size($self)\n--\n\nThe bytes of an element."},
    {"storage_offset", tensor_storage_offset, METH_NOARGS,
     "storage_offset($self)\n--\n\nThe place of the first element in the storage, in elements."},
    {"is_contiguous", KEYWORDS(tensor_is_contiguous),
     "is_contiguous($self, memory_format=None)\n--\n\nWhether the elements lie in C order."},
    {"data_ptr", tensor_data_ptr, METH_NOARGS,
     "data_ptr($self)\n--\n\nThe address of the first element."},
    {"const_data_ptr", tensor_data_ptr, METH_NOARGS,
     "const_data_ptr($self)\n--\n\nThe address of the first element."},
    {"untyped_storage", tensor_untyped_storage, METH_NOARGS,
     "untyped_storage($self)\n--\n\nThe memory that the elements lie in."},
    {"get_device", tensor_get_device, METH_NOARGS,
     "get_device($self)\n--\n\nThe index of the GPU, -1 in main memory."},
    {"is_same_size", tensor_is_same_size, METH_O,
     "is_same_size($self, other, /)\n--\n\nWhether both have the same sizes."},
    {"is_set_to", tensor_is_set_to, METH_O,
     "is_set_to($self, tensor, /)\n--\n\nWhether both are the same elements in the same layout."},
    {"is_floating_point", tensor_is_floating_point, METH_NOARGS,
     "is_floating_point($self)\n--\n\nWether the dtype is a floating one."},
    {"is_complex", tensor_is_complex, METH_NOARGS,
     "is_complex($self)\n--\n\nWhether the dtype is a complex one."},
    {"is_signed", tensor_is_signed, METH_NOARGS,
     "is_signed($self)\n--\n\nWhether the dtype holds negative numbers."},
    {"is_conj", tensor_is_conj, METH_NOARGS,
     "is_conj($self)\n--\n\nWhether the elements are to be read conjugated."},
    {"is_neg", tensor_is_neg, METH_NOARGS,
     "is_neg($self)\n--\n\nWhether the elements are to be read negated."},
    {"is_inference", tensor_is_inference, METH_NOARGS,
     "is_inference($self)\n--\n\nWhether it was made in inference mode."},
    {"_is_view", tensor_is_view, METH_NOARGS, "_is_view($self)\n--\n\nWhether it is a view."},
    {"is_pinned", tensor_is_pinned, METH_VARARGS,
     "is_pinned($self)\n--\n\nWhether it lies in pinned memory."},
    {"pin_memory", tensor_pin_memory, METH_VARARGS,
     "pin_memory($self)\n--\n\nIn pinned memory; the tensor itself on a machine without a GPU."},
    {"record_stream", tensor_record_stream, METH_O,
     "record_stream($self, stream, /)\n--\n\nKeeps the memory until the stream is done with it."},
    {"is_nonzero", tensor_is_nonzero, METH_NOARGS,
     "is_nonzero($self)\n--\n\nWhether the one element is not 0."},
    {"item", tensor_item, METH_NOARGS, "item($self)\n--\n\nThe one element as a number."},
    {"tolist", tensor_tolist, METH_NOARGS, "tolist($self)\n--\n\nThe elements as nested lists."},
    {"__format__", tensor_format, METH_O, NULL},
    {"to", FAST(tensor_to), METH_FASTCALL | METH_KEYWORDS,
     "to($self, *args, **kwargs)\n--\n\nThe elements in another dtype or on another device; the "
     "tensor itself if it is that already."},
    {"cpu", KEYWORDS(tensor_cpu), "cpu($self, memory_format=None)\n--\n\nIn main memory."},
    {"cuda", KEYWORDS(tensor_cuda),
     "cuda($self, device=None, non_blocking=False, memory_format=None)\n--\n\nOn a GPU."},
    {"type", KEYWORDS(tensor_type),
     "type($self, dtype=None, non_blocking=False)\n--\n\nThe old name of the dtype, or a cast."},
    {"type_as", tensor_type_as, METH_O,
     "type_as($self, other, /)\n--\n\nWith the dtype and device of another tensor."},
    DTYPE_METHODS(DTYPE_ENTRY){NULL, NULL, 0, NULL},
};

/* --- functions of the module ------------------------------------------------------------------ */

static PyObject *
is_tensor(PyObject *Py_UNUSED(module), PyObject *o)
{
    return PyBool_FromLong(fac_is_tensor(o));
}

PyMethodDef fac_tensor_functions[] = {
    {"is_tensor", is_tensor, METH_O, "is_tensor(obj, /)\n--\n\nWhether obj is a Tensor."},
    {NULL, NULL, 0, NULL},
};
