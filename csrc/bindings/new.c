/* new.c - Tensor(...), t.new(...) and t.new_tensor(...).
 *
 * The old constructor has several meanings by what it is given: nothing is an empty tensor, ints
 * or a Size are the sizes of an uninitialised one, a tensor is aliased, anything else is data.
 * new() is the same with the dtype and the device of another tensor, new_tensor() always takes
 * data.
 */
#include "bindings/bindings.h"

#include "base/dtype.h"

static FacTensor *
uninitialised(int ndim, const FacDim *sizes, FacDType dtype, FacDevice device)
{
    FacTensor *t;
    FacStatus st = fac_tensor_new(dtype, device, ndim, sizes, &t);
    return st ? (FacTensor *)fac_py_raise(st) : t;
}

/* Another tensor over the same memory. */
static FacTensor *
alias_of(FacTensor *other)
{
    FacTensor *t;
    FacStatus st = fac_tensor_alias(other, &t);
    return st ? (FacTensor *)fac_py_raise(st) : t;
}

static FacTensor *
from_one_argument(PyObject *o, FacDType dtype, FacDevice device)
{
    FacDim sizes[FAC_MAX_NDIM];
    int ndim;
    if (fac_is_tensor(o)) return alias_of(fac_unwrap(o));
    if (Py_TYPE(o) == fac_py.size_type || (PyLong_Check(o) && !PyBool_Check(o))) {
        int fits = fac_sizes_convert(o, sizes, &ndim);
        return fits == 1 ? uninitialised(ndim, sizes, dtype, device) : NULL;
    }
    if (!PySequence_Check(o) && !PyObject_CheckBuffer(o)) {
        PyErr_Format(PyExc_TypeError, "new(): data must be a sequence (got %s)",
                     Py_TYPE(o)->tp_name);
        return NULL;
    }
    return fac_tensor_from_python(o, dtype, device, true);
}

static FacTensor *
from_arguments(PyObject *args, FacDType dtype, FacDevice device)
{
    FacDim sizes[FAC_MAX_NDIM], none = 0;
    int ndim, fits;
    switch (PyTuple_GET_SIZE(args)) {
    case 0: return uninitialised(1, &none, dtype, device);
    case 1: return from_one_argument(PyTuple_GET_ITEM(args, 0), dtype, device);
    default: break;
    }
    fits = fac_sizes_convert(args, sizes, &ndim);
    if (fits == 0)
        PyErr_SetString(PyExc_TypeError,
                        "new(): expected sizes as ints, or one sequence or Tensor");
    return fits == 1 ? uninitialised(ndim, sizes, dtype, device) : NULL;
}

/* The device among keywords, which may be all of them or, for subclasses, some. */
static bool
device_keyword(PyTypeObject *type, PyObject *kwargs, FacDevice *device)
{
    Py_ssize_t n = kwargs ? PyDict_GET_SIZE(kwargs) : 0;
    PyObject *o = n ? PyDict_GetItemWithError(kwargs, fac_py.s_device) : NULL;
    if (PyErr_Occurred()) return false;
    int fits = o && o != Py_None ? fac_device_convert(o, device) : 1;
    if (fits == 1 && n > (o != NULL) && type == fac_py.tensor_type) {
        PyErr_SetString(PyExc_TypeError, "Tensor() takes no keyword arguments but 'device'");
        return false;
    }
    if (fits == 0) PyErr_SetString(PyExc_TypeError, "Tensor(): argument 'device' must be a device");
    return fits == 1;
}

PyObject *
fac_tensor_new_py(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    FacDevice device = fac_default_device();
    if (!device_keyword(type, kwargs, &device)) return NULL;
    FacTensor *t = from_arguments(args, fac_default_dtype(), device);
    if (!t) return NULL;
    if (type == fac_py.tensor_type && (FacDType)t->dtype != fac_default_dtype()) {
        PyErr_Format(PyExc_TypeError, "expected %s (got %s)",
                     fac_dtype_info[fac_default_dtype()].legacy, fac_dtype_info[t->dtype].legacy);
        fac_tensor_release(t);
        return NULL;
    }
    return fac_wrap_as_take(type, t);
}

static PyObject *
tensor_new(PyObject *self, PyObject *args, PyObject *kwargs)
{
    FacDevice device = fac_unwrap(self)->device;
    if (!device_keyword(fac_py.tensor_type, kwargs, &device)) return NULL;
    FacTensor *t = from_arguments(args, (FacDType)fac_unwrap(self)->dtype, device);
    return t ? fac_wrap_take(t) : NULL;
}

static PyObject *
tensor_new_tensor(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"data",   "dtype",      "device", "requires_grad",
                            "layout", "pin_memory", NULL};
    PyObject *data, *dtype = Py_None, *where = Py_None, *layout = Py_None;
    FacDType dt = (FacDType)fac_unwrap(self)->dtype;
    FacDevice device = fac_unwrap(self)->device;
    int grad = 0, pin = 0, fits = 1;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|$OOpOp:new_tensor", names, &data, &dtype,
                                     &where, &grad, &layout, &pin))
        return NULL;
    if (dtype != Py_None) fits = fac_dtype_convert(dtype, &dt);
    if (fits == 1 && where != Py_None) fits = fac_device_convert(where, &device);
    if (fits == 0)
        PyErr_SetString(PyExc_TypeError, "new_tensor(): dtype or device is not of its type");
    if (fits != 1) return NULL;
    FacTensor *t = fac_tensor_from_python(data, dt, device, true);
    FacStatus st = t && grad ? fac_set_requires_grad(t, true) : FAC_OK;
    if (!t) return NULL;
    if (st == FAC_OK) return fac_wrap_take(t);
    fac_tensor_release(t);
    return fac_py_raise(st);
}

#define KEYWORDS(function) (PyCFunction)(void (*)(void))(function), METH_VARARGS | METH_KEYWORDS

PyMethodDef fac_new_methods[] = {
    {"new", KEYWORDS(tensor_new),
     "new($self, *args, device=None)\n--\n\nTensor(...) with this tensor's dtype and device."},
    {"new_tensor", KEYWORDS(tensor_new_tensor),
     "new_tensor($self, data, *, dtype=None, device=None, requires_grad=False)\n--\n\n"
     "A tensor from data, with this tensor's dtype and device unless given."},
    {NULL, NULL, 0, NULL},
};
