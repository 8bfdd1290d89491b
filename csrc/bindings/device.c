/* device.c - facula.device: where a tensor lies.
 *
 * An immutable pair of type and index. As a context manager it sets the thread's default device for
 * what factories make, and puts the former one back; since blocks nest, the former ones are kept
 * on a stack in the thread.
 */
#include "bindings/bindings.h"

#include <string.h>

typedef struct DeviceObject {
    PyObject_HEAD
    FacDevice device;
} DeviceObject;

static FacDevice
device_of(PyObject *self)
{
    return ((DeviceObject *)self)->device;
}

PyObject *
fac_py_device(FacDevice device)
{
    DeviceObject *self = (DeviceObject *)fac_py.device_type->tp_alloc(fac_py.device_type, 0);
    if (self) self->device = device;
    return (PyObject *)self;
}

/* An int is the index of the accelerator that this build is for. */
static int
device_from_index(PyObject *o, FacDevice *out)
{
    long index = PyLong_AsLong(o);
    if (index == -1 && PyErr_Occurred()) return -1;
    if (index < 0 || index > INT8_MAX) {
        PyErr_Format(PyExc_RuntimeError, "Device index must be from 0 to %d, not %ld", INT8_MAX,
                     index);
        return -1;
    }
    *out = fac_device(fac_devices[FAC_DEV_HIP] ? FAC_DEV_HIP : FAC_DEV_CUDA, (int)index);
    return 1;
}

int
fac_device_convert(PyObject *o, FacDevice *out)
{
    if (Py_TYPE(o) == fac_py.device_type) {
        *out = device_of(o);
        return 1;
    }
    if (PyUnicode_Check(o)) {
        const char *text = PyUnicode_AsUTF8(o);
        if (!text) return -1;
        FacStatus st = fac_device_parse(text, out);
        if (st) fac_py_raise(st);
        return st ? -1 : 1;
    }
    if (PyLong_Check(o) && !PyBool_Check(o)) return device_from_index(o, out);
    return 0;
}

static PyObject *
device_new(PyTypeObject *Py_UNUSED(type), PyObject *args, PyObject *kwargs)
{
    static char *by_type[] = {"type", "index", NULL}, *by_device[] = {"device", NULL};
    PyObject *what, *index = Py_None;
    FacDevice device, indexed;
    bool whole = kwargs && PyDict_GetItemString(kwargs, "device");
    if (whole ? !PyArg_ParseTupleAndKeywords(args, kwargs, "O:device", by_device, &what)
              : !PyArg_ParseTupleAndKeywords(args, kwargs, "O|O:device", by_type, &what, &index))
        return NULL;
    int fits = fac_device_convert(what, &device);
    if (fits < 0) return NULL;
    if (!fits)
        return PyErr_Format(PyExc_TypeError,
                            "device(): expected a device, a str such as 'cuda:1', or an int, "
                            "not %s",
                            Py_TYPE(what)->tp_name);
    if (index != Py_None) {
        if (!PyUnicode_Check(what) || !PyLong_Check(index))
            return PyErr_Format(PyExc_TypeError,
                                "device(): an index goes with a str and is an int");
        if (device.index >= 0)
            return PyErr_Format(PyExc_RuntimeError,
                                "type (string) must not include an index "
                                "because index was passed explicitly: %U",
                                what);
        if (device_from_index(index, &indexed) < 0) return NULL;
        device.index = indexed.index;
    }
    return fac_py_device(device);
}

static const char *const type_names[] = {
#define TYPE_NAME(name, python) python,
    FAC_DEVICE_LIST(TYPE_NAME)
#undef TYPE_NAME
};

static PyObject *
device_repr(PyObject *self)
{
    FacDevice d = device_of(self);
    return d.index < 0
               ? PyUnicode_FromFormat("device(type='%s')", type_names[d.type])
               : PyUnicode_FromFormat("device(type='%s', index=%d)", type_names[d.type], d.index);
}

static PyObject *
device_str(PyObject *self)
{
    char text[32];
    return PyUnicode_FromString(fac_device_text(device_of(self), text));
}

static Py_hash_t
device_hash(PyObject *self)
{
    FacDevice d = device_of(self);
    return d.type * 512 + d.index + 2;
}

static PyObject *
device_compare(PyObject *a, PyObject *b, int how)
{
    if (Py_TYPE(a) != Py_TYPE(b) || (how != Py_EQ && how != Py_NE)) Py_RETURN_NOTIMPLEMENTED;
    return PyBool_FromLong(fac_device_equal(device_of(a), device_of(b)) == (how == Py_EQ));
}

static PyObject *
device_type(PyObject *self, void *Py_UNUSED(closure))
{
    return PyUnicode_FromString(type_names[device_of(self).type]);
}

static PyObject *
device_index(PyObject *self, void *Py_UNUSED(closure))
{
    int index = device_of(self).index;
    if (index < 0) Py_RETURN_NONE;
    return PyLong_FromLong(index);
}

static PyObject *
device_reduce(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    FacDevice d = device_of(self);
    return d.index < 0 ? Py_BuildValue("O(s)", Py_TYPE(self), type_names[d.type])
                       : Py_BuildValue("O(si)", Py_TYPE(self), type_names[d.type], (int)d.index);
}

/* --- with device ------------------------------------------------------------------------------ */

/* The devices before those that this thread has entered; the memory is there while there are any. */
static _Thread_local FacDevice *former;
static _Thread_local int entered;

static PyObject *
device_enter(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    FacDevice *more = fac_mem_realloc(former, (size_t)(entered + 1) * sizeof *former);
    if (!more) return PyErr_NoMemory();
    former = more;
    former[entered++] = fac_default_device();
    fac_set_default_device(device_of(self));
    return Py_NewRef(self);
}

static PyObject *
device_exit(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(args))
{
    if (!entered) return PyErr_Format(PyExc_RuntimeError, "exit from a device not entered");
    fac_set_default_device(former[--entered]);
    if (!entered) {
        fac_mem_free(former);
        former = NULL;
    }
    Py_RETURN_NONE;
}

/* As a decorator: a function that runs with the device entered. */
static PyObject *
device_call(PyObject *self, PyObject *args, PyObject *kwargs)
{
    PyObject *wrap = fac_py_import("utils._device", "device_decorator");
    PyObject *function, *result = NULL;
    static char *names[] = {"func", NULL};
    if (wrap && PyArg_ParseTupleAndKeywords(args, kwargs, "O:device", names, &function))
        result = PyObject_CallFunctionObjArgs(wrap, self, function, NULL);
    Py_XDECREF(wrap);
    return result;
}

static PyMethodDef device_methods[] = {
    {"__enter__", device_enter, METH_NOARGS, NULL},
    {"__exit__", device_exit, METH_VARARGS, NULL},
    {"__reduce__", device_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef device_getset[] = {
    {"type", device_type, NULL, "The kind of device: 'cpu', 'cuda' ...", NULL},
    {"index", device_index, NULL, "Which one of its kind; None for the current one.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot device_slots[] = {
    {Py_tp_new, device_new},
    {Py_tp_repr, device_repr},
    {Py_tp_str, device_str},
    {Py_tp_hash, device_hash},
    {Py_tp_call, device_call},
    {Py_tp_richcompare, device_compare},
    {Py_tp_methods, device_methods},
    {Py_tp_getset, device_getset},
    {Py_tp_doc, "Where a tensor lies: device('cuda:1'), device('cuda', 1), device(1)."},
    {0, NULL},
};
static PyType_Spec device_spec = {
    .name = "facula.device",
    .basicsize = sizeof(DeviceObject),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = device_slots,
};

/* --- functions -------------------------------------------------------------------------------- */

static PyObject *
get_default_device(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return fac_py_device(fac_default_device());
}

static PyObject *
set_default_device(PyObject *Py_UNUSED(module), PyObject *o)
{
    FacDevice device = FAC_CPU_DEVICE;
    int fits = o == Py_None ? 1 : fac_device_convert(o, &device);
    if (fits < 0) return NULL;
    if (!fits)
        return PyErr_Format(PyExc_TypeError, "set_default_device(): expected a device, not %s",
                            Py_TYPE(o)->tp_name);
    fac_set_default_device(device);
    Py_RETURN_NONE;
}

/* How many devices of that kind this machine has for this build. */
static PyObject *
device_count(PyObject *Py_UNUSED(module), PyObject *o)
{
    FacDevice device;
    int fits = fac_device_convert(o, &device);
    if (fits < 0) return NULL;
    if (!fits) return PyErr_Format(PyExc_TypeError, "_device_count(): expected a device");
    const FacDeviceOps *ops = fac_devices[device.type];
    return PyLong_FromLong(!ops ? 0 : ops->count ? ops->count() : 1);
}

static PyObject *
device_synchronize(PyObject *Py_UNUSED(module), PyObject *o)
{
    FacDevice device;
    FacStatus st = FAC_OK;
    int fits = fac_device_convert(o, &device);
    if (fits < 0) return NULL;
    if (!fits) return PyErr_Format(PyExc_TypeError, "_synchronize(): expected a device");
    const FacDeviceOps *ops = fac_devices[device.type];
    if (ops && ops->synchronize) {
        Py_BEGIN_ALLOW_THREADS st = ops->synchronize(device.index);
        Py_END_ALLOW_THREADS
    }
    if (st) return fac_py_raise(st);
    Py_RETURN_NONE;
}

static PyObject *
host_memory_stats(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    FacMemoryStats s;
    fac_host_stats(&s);
    return Py_BuildValue("{sLsLsLsLsLsLsLsL}", "allocated", (long long)s.allocated,
                         "allocated_peak", (long long)s.allocated_peak, "reserved",
                         (long long)s.reserved, "reserved_peak", (long long)s.reserved_peak,
                         "allocations", (long long)s.allocations, "frees", (long long)s.frees,
                         "cache_hits", (long long)s.cache_hits, "system_allocations",
                         (long long)s.system_allocations);
}

static PyObject *
host_reset_peak(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    fac_host_reset_peak();
    Py_RETURN_NONE;
}

static PyObject *
host_empty_cache(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    fac_host_empty_cache();
    Py_RETURN_NONE;
}

PyMethodDef fac_device_functions[] = {
    {"get_default_device", get_default_device, METH_NOARGS,
     "get_default_device()\n--\n\nThe device on which factories make tensors."},
    {"set_default_device", set_default_device, METH_O,
     "set_default_device(device, /)\n--\n\nSets the device on which factories make tensors."},
    {"_device_count", device_count, METH_O, "_device_count(device, /)\n--\n\n"},
    {"_synchronize", device_synchronize, METH_O, "_synchronize(device, /)\n--\n\n"},
    {"_host_memory_stats", host_memory_stats, METH_NOARGS, "_host_memory_stats()\n--\n\n"},
    {"_host_reset_peak", host_reset_peak, METH_NOARGS, "_host_reset_peak()\n--\n\n"},
    {"_host_empty_cache", host_empty_cache, METH_NOARGS, "_host_empty_cache()\n--\n\n"},
    {NULL, NULL, 0, NULL},
};

int
fac_start_device(PyObject *module)
{
    fac_py.device_type = fac_add_type(module, &device_spec, NULL);
    return fac_py.device_type ? 0 : -1;
}
