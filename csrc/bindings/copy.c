/* copy.c - deepcopy and pickling of tensors.
 *
 * Both go by the storage: tensors that share memory share it in the copy too, since the storage's
 * Python object is in the memo once. A pickled tensor is _C._rebuild_tensor over its storage and
 * layout; a subclass, or a tensor with attributes, adds its class and its attributes through
 * _C._rebuild_from_type.
 */
#include "bindings/bindings.h"

#include "base/dtype.h"

#include <string.h>

/* Another tensor over `storage` in the layout of t. */
static FacTensor *
over_storage(const FacTensor *t, FacStorage *storage)
{
    FacTensor *copy;
    FacStatus st = fac_tensor_over(storage, (FacDType)t->dtype, t->ndim, t->sizes, t->strides,
                                   t->offset, &copy);
    if (st) return (FacTensor *)fac_py_raise(st);
    copy->flags |= t->flags & (FAC_T_CONJ | FAC_T_NEG);
    return copy;
}

static PyObject *
deepcopy(PyObject *o, PyObject *memo)
{
    static PyObject *function;
    if (!function) {
        PyObject *module = PyImport_ImportModule("copy");
        function = module ? PyObject_GetAttrString(module, "deepcopy") : NULL;
        Py_XDECREF(module);
    }
    return function ? PyObject_CallFunctionObjArgs(function, o, memo, NULL) : NULL;
}

/* --- deepcopy --------------------------------------------------------------------------------- */

static PyObject *
copy_tensor(PyObject *self, PyObject *memo)
{
    FacTensor *t = fac_unwrap(self), *made;
    if (t->flags & FAC_T_OVERRIDDEN_STORAGE) return PyObject_CallMethod(self, "clone", NULL);
    PyObject *storage = fac_py_storage(t->storage);
    PyObject *copied = storage ? deepcopy(storage, memo) : NULL;
    FacStorage *to = copied ? fac_storage_from_python(copied) : NULL;
    PyObject *copy = NULL;
    if (to && (made = over_storage(t, to))) copy = fac_wrap_as_take(Py_TYPE(self), made);
    Py_XDECREF(storage);
    Py_XDECREF(copied);
    return copy;
}

/* requires_grad and .grad. */
static int
copy_gradient(PyObject *self, PyObject *copy, PyObject *memo)
{
    FacTensor *t = fac_unwrap(self), *grad = fac_grad_of(t);
    FacStatus st = fac_needs_grad(t) ? fac_set_requires_grad(fac_unwrap(copy), true) : FAC_OK;
    if (st) return fac_py_raise(st), -1;
    if (!grad) return 0;
    PyObject *from = fac_wrap(grad);
    PyObject *to = from ? deepcopy(from, memo) : NULL;
    int done = to && fac_is_tensor(to) ? PyObject_SetAttrString(copy, "grad", to) : -1;
    Py_XDECREF(from);
    Py_XDECREF(to);
    return done;
}

/* Values of __slots__, which only subclasses have. */
static int
copy_slots(PyObject *self, PyObject *copy, PyObject *memo)
{
    int st = -1;
    PyObject *copyreg = PyImport_ImportModule("copyreg");
    PyObject *names =
        copyreg ? PyObject_CallMethod(copyreg, "_slotnames", "O", Py_TYPE(self)) : NULL;
    PyObject *fixed = names ? PySequence_Fast(names, "slot names") : NULL;
    if (!fixed) goto done;
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(fixed); i++) {
        PyObject *name = PySequence_Fast_GET_ITEM(fixed, i);
        PyObject *value = PyObject_GetAttr(self, name);
        if (!value) {
            PyErr_Clear(); /* not set */
            continue;
        }
        PyObject *copied = deepcopy(value, memo);
        Py_DECREF(value);
        st = copied ? PyObject_SetAttr(copy, name, copied) : -1;
        Py_XDECREF(copied);
        if (st < 0) goto done;
    }
    st = 0;
done:
    Py_XDECREF(fixed);
    Py_XDECREF(names);
    Py_XDECREF(copyreg);
    return st;
}

static int
copy_attributes(PyObject *self, PyObject *copy, PyObject *memo)
{
    PyObject *dict = ((FacPyTensor *)self)->dict;
    if (Py_TYPE(self) != fac_py.tensor_type && copy_slots(self, copy, memo) < 0) return -1;
    if (!dict) return 0;
    PyObject *copied = deepcopy(dict, memo);
    int st = copied ? PyObject_SetAttrString(copy, "__dict__", copied) : -1;
    Py_XDECREF(copied);
    return st;
}

static PyObject *
tensor_deepcopy(PyObject *self, PyObject *memo)
{
    if (!fac_is_leaf(fac_unwrap(self)))
        return PyErr_Format(
            PyExc_RuntimeError,
            "Only Tensors created explicitly by the user (graph leaves) support the "
            "deepcopy protocol at the moment");
    if (!PyDict_Check(memo))
        return PyErr_Format(PyExc_TypeError, "__deepcopy__() takes a dict, not %s",
                            Py_TYPE(memo)->tp_name);
    PyObject *key = PyLong_FromVoidPtr(self);
    if (!key) return NULL;
    PyObject *copy = Py_XNewRef(PyDict_GetItemWithError(memo, key));
    if (!copy && !PyErr_Occurred()) {
        copy = copy_tensor(self, memo);
        if (copy && (PyDict_SetItem(memo, key, copy) < 0 || copy_gradient(self, copy, memo) < 0 ||
                     copy_attributes(self, copy, memo) < 0))
            Py_CLEAR(copy);
    }
    Py_DECREF(key);
    return copy;
}

/* --- pickling --------------------------------------------------------------------------------- */

/* The arguments of _rebuild_tensor. */
static PyObject *
reduced_layout(const FacTensor *t)
{
    PyObject *storage = fac_py_storage(t->storage);
    PyObject *size = fac_value_to_python(fac_v_ints(t->sizes, t->ndim));
    PyObject *strides = fac_value_to_python(fac_v_ints(t->strides, t->ndim));
    PyObject *args = NULL;
    if (storage && size && strides)
        args = Py_BuildValue("(OOLNNOi)", storage, fac_py_dtype((FacDType)t->dtype),
                             (long long)t->offset, PyList_AsTuple(size), PyList_AsTuple(strides),
                             fac_needs_grad(t) ? Py_True : Py_False,
                             t->flags & (FAC_T_CONJ | FAC_T_NEG));
    Py_XDECREF(storage);
    Py_XDECREF(size);
    Py_XDECREF(strides);
    return args;
}

static PyObject *
tensor_reduce_ex(PyObject *self, PyObject *Py_UNUSED(protocol))
{
    const FacTensor *t = fac_unwrap(self);
    PyObject *dict = ((FacPyTensor *)self)->dict, *result = NULL;
    bool exact = Py_TYPE(self) == fac_py.tensor_type && (!dict || !PyDict_GET_SIZE(dict));
    if (t->flags & FAC_T_OVERRIDDEN_STORAGE)
        return PyErr_Format(PyExc_TypeError, "%s has no memory of its own to pickle",
                            Py_TYPE(self)->tp_name);
    PyObject *layout = reduced_layout(t);
    PyObject *build = layout ? PyObject_GetAttrString(fac_py.module, exact ? "_rebuild_tensor"
                                                                           : "_rebuild_from_type")
                             : NULL;
    if (build)
        result = exact
                     ? Py_BuildValue("OO", build, layout)
                     : Py_BuildValue("O(OOO)", build, Py_TYPE(self), layout, dict ? dict : Py_None);
    Py_XDECREF(layout);
    Py_XDECREF(build);
    return result;
}

static FacTensor *
rebuild(PyObject *args, int *requires_grad)
{
    PyObject *source, *dtype, *size, *strides;
    FacDim sizes[FAC_MAX_NDIM], steps[FAC_MAX_NDIM];
    FacDType dt;
    FacTensor *t;
    long long offset;
    int ndim, nsteps, flags = 0;
    if (!PyArg_ParseTuple(args, "OOLOOp|i:_rebuild_tensor", &source, &dtype, &offset, &size,
                          &strides, requires_grad, &flags))
        return NULL;
    FacStorage *storage = fac_storage_from_python(source);
    int fits = storage ? fac_dtype_convert(dtype, &dt) : 0;
    if (fits == 1) fits = fac_sizes_convert(size, sizes, &ndim);
    if (fits == 1) fits = fac_sizes_convert(strides, steps, &nsteps);
    if (fits == 0 || (fits == 1 && nsteps != ndim))
        PyErr_SetString(PyExc_TypeError, "_rebuild_tensor(): an argument is not of its type");
    if (PyErr_Occurred()) return NULL;
    FacStatus st = fac_tensor_over(storage, dt, ndim, sizes, steps, offset, &t);
    if (st) return (FacTensor *)fac_py_raise(st);
    t->flags |= (uint8_t)(flags & (FAC_T_CONJ | FAC_T_NEG));
    return t;
}

static PyObject *
rebuild_as(PyTypeObject *type, PyObject *args)
{
    int requires_grad;
    FacTensor *t = rebuild(args, &requires_grad);
    FacStatus st = t && requires_grad ? fac_set_requires_grad(t, true) : FAC_OK;
    if (!t) return NULL;
    if (st == FAC_OK) return fac_wrap_as_take(type, t);
    fac_tensor_release(t);
    return fac_py_raise(st);
}

static PyObject *
rebuild_tensor(PyObject *Py_UNUSED(module), PyObject *args)
{
    return rebuild_as(fac_py.tensor_type, args);
}

static PyObject *
rebuild_from_type(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *class, *layout, *dict;
    if (!PyArg_ParseTuple(args, "O!O!O:_rebuild_from_type", &PyType_Type, &class, &PyTuple_Type,
                          &layout, &dict))
        return NULL;
    if (!PyType_IsSubtype((PyTypeObject *)class, fac_py.tensor_type))
        return PyErr_Format(PyExc_TypeError, "_rebuild_from_type(): %R is no subclass of Tensor",
                            class);
    PyObject *o = rebuild_as((PyTypeObject *)class, layout);
    if (o && dict != Py_None && PyObject_SetAttrString(o, "__dict__", dict) < 0) Py_CLEAR(o);
    return o;
}

PyMethodDef fac_copy_methods[] = {
    {"__deepcopy__", tensor_deepcopy, METH_O, NULL},
    {"__reduce_ex__", tensor_reduce_ex, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

PyMethodDef fac_copy_functions[] = {
    {"_rebuild_tensor", rebuild_tensor, METH_VARARGS,
     "_rebuild_tensor(storage, dtype, offset, size, stride, requires_grad, flags=0, /)\n--\n\n"
     "A tensor from its pickled form."},
    {"_rebuild_from_type", rebuild_from_type, METH_VARARGS,
     "_rebuild_from_type(type, layout, dict, /)\n--\n\nA tensor of a subclass, or with "
     "attributes."},
    {NULL, NULL, 0, NULL},
};
