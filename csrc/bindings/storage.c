/* storage.c - UntypedStorage: the bytes that tensors are views of.
 *
 * The Python object owns a count of its storage; the storage holds a weak way back, so that two
 * tensors over the same memory give the same object, and pickling keeps what they share. Bytes are
 * reached through the buffer protocol, as ints one by one, or by copying; on devices other than
 * the CPU by copying only. While a buffer is exported the memory cannot be resized.
 */
#include "bindings/bindings.h"

#include <string.h>
#include <structmember.h>

typedef struct FacPyStorage {
    PyObject_HEAD
    FacStorage *storage;
    PyObject *weakrefs;
    Py_ssize_t exports; /* buffers that point into it */
    bool resizable;     /* what storage->resizable was before the first of them */
} FacPyStorage;

static FacStorage *
storage_of(PyObject *o)
{
    return ((FacPyStorage *)o)->storage;
}

/* Takes the count. */
static PyObject *
wrap_storage_take(FacStorage *storage)
{
    FacPyStorage *self = (FacPyStorage *)fac_py.storage_type->tp_alloc(fac_py.storage_type, 0);
    if (!self) {
        fac_storage_release(storage);
        return NULL;
    }
    self->storage = storage;
    atomic_store(&storage->wrapper, self);
    return (PyObject *)self;
}

PyObject *
fac_py_storage(FacStorage *storage)
{
    PyObject *o = atomic_load(&storage->wrapper);
    if (o) return Py_NewRef(o);
    fac_storage_retain(storage);
    return wrap_storage_take(storage);
}

FacStorage *
fac_storage_from_python(PyObject *o)
{
    if (Py_TYPE(o) == fac_py.storage_type) return storage_of(o);
    return NULL;
}

static void
storage_dealloc(PyObject *o)
{
    FacPyStorage *self = (FacPyStorage *)o;
    PyTypeObject *type = Py_TYPE(o);
    atomic_store(&self->storage->wrapper, NULL);
    if (self->weakrefs) PyObject_ClearWeakRefs(o);
    fac_storage_release(self->storage);
    type->tp_free(o);
    Py_DECREF(type);
}

/* --- making ----------------------------------------------------------------------------------- */

static FacStatus
copy_bytes(void *to, FacDevice to_device, const void *from, FacDevice from_device, size_t bytes)
{
    int type = to_device.type != FAC_DEV_CPU ? to_device.type : from_device.type;
    const FacDeviceOps *ops = fac_devices[type];
    if (!bytes || !to || !from) return FAC_OK;
    if (type == FAC_DEV_CPU) {
        memmove(to, from, bytes);
        return FAC_OK;
    }
    if (!ops || !ops->copy) return fac_error(FAC_RUNTIME_ERROR, "the device cannot copy memory");
    return ops->copy(to, to_device, from, from_device, bytes);
}

/* A new storage on the device with the bytes of a Python buffer. */
static PyObject *
from_bytes(PyObject *source, FacDevice device)
{
    Py_buffer buffer;
    FacStorage *storage = NULL;
    if (PyObject_GetBuffer(source, &buffer, PyBUF_C_CONTIGUOUS) < 0) return NULL;
    FacStatus st = fac_storage_new(device, (size_t)buffer.len, &storage);
    if (st == FAC_OK)
        st = copy_bytes(storage->data, device, buffer.buf, FAC_CPU_DEVICE, (size_t)buffer.len);
    PyBuffer_Release(&buffer);
    if (st == FAC_OK) return wrap_storage_take(storage);
    fac_storage_release(storage);
    return fac_py_raise(st);
}

static PyObject *
of_size(Py_ssize_t bytes, FacDevice device)
{
    FacStorage *storage;
    if (bytes == -1 && PyErr_Occurred()) return NULL;
    if (bytes < 0) return PyErr_Format(PyExc_RuntimeError, "a storage of %zd bytes", bytes);
    FacStatus st = fac_storage_new(device, (size_t)bytes, &storage);
    return st ? fac_py_raise(st) : wrap_storage_take(storage);
}

static PyObject *
storage_new(PyTypeObject *Py_UNUSED(type), PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"size", "device", NULL};
    PyObject *size = NULL, *where = Py_None;
    FacDevice device = fac_default_device();
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O$O:UntypedStorage", names, &size, &where))
        return NULL;
    int fits = where == Py_None ? 1 : fac_device_convert(where, &device);
    if (fits < 0) return NULL;
    if (!fits) return PyErr_Format(PyExc_TypeError, "UntypedStorage(): device must be a device");
    if (size && !PyLong_Check(size)) {
        if (PyObject_CheckBuffer(size)) return from_bytes(size, device);
        PyObject *bytes = PyBytes_FromObject(size); /* a sequence of ints */
        PyObject *made = bytes ? from_bytes(bytes, device) : NULL;
        Py_XDECREF(bytes);
        return made;
    }
    return of_size(size ? PyLong_AsSsize_t(size) : 0, device);
}

/* --- bytes ------------------------------------------------------------------------------------ */

static bool
on_host(const FacStorage *s)
{
    if (s->device.type == FAC_DEV_CPU) return true;
    PyErr_SetString(PyExc_RuntimeError, "the bytes of this storage are not in main memory");
    return false;
}

static int
storage_getbuffer(PyObject *o, Py_buffer *view, int flags)
{
    FacPyStorage *self = (FacPyStorage *)o;
    FacStorage *s = self->storage;
    static char none;
    if (!on_host(s)) return -1;
    void *data = s->data ? s->data : &none;
    if (PyBuffer_FillInfo(view, o, data, (Py_ssize_t)s->bytes, s->read_only, flags) < 0) return -1;
    if (self->exports++ == 0) {
        self->resizable = s->resizable;
        s->resizable = false;
    }
    return 0;
}

static void
storage_releasebuffer(PyObject *o, Py_buffer *Py_UNUSED(view))
{
    FacPyStorage *self = (FacPyStorage *)o;
    if (--self->exports == 0) self->storage->resizable = self->resizable;
}

static Py_ssize_t
storage_length(PyObject *o)
{
    return (Py_ssize_t)storage_of(o)->bytes;
}

static PyObject *
storage_subscript(PyObject *o, PyObject *index)
{
    PyObject *view = PyMemoryView_FromObject(o);
    PyObject *item = view ? PyObject_GetItem(view, index) : NULL;
    Py_XDECREF(view);
    if (!item || !PyMemoryView_Check(item)) return item;
    PyObject *bytes = PyBytes_FromObject(item);
    Py_DECREF(item);
    PyObject *made = bytes ? from_bytes(bytes, FAC_CPU_DEVICE) : NULL;
    Py_XDECREF(bytes);
    return made;
}

static int
storage_assign(PyObject *o, PyObject *index, PyObject *value)
{
    if (!value) {
        PyErr_SetString(PyExc_TypeError, "bytes of a storage cannot be deleted");
        return -1;
    }
    PyObject *view = PyMemoryView_FromObject(o);
    int st = view ? PyObject_SetItem(view, index, value) : -1;
    Py_XDECREF(view);
    return st;
}

static PyObject *
storage_tolist(PyObject *o, PyObject *Py_UNUSED(ignored))
{
    PyObject *view = PyMemoryView_FromObject(o);
    PyObject *list = view ? PySequence_List(view) : NULL;
    Py_XDECREF(view);
    return list;
}

static PyObject *
storage_fill(PyObject *o, PyObject *value)
{
    FacStorage *s = storage_of(o);
    long byte = PyLong_AsLong(value);
    if (byte == -1 && PyErr_Occurred()) return NULL;
    if (!on_host(s)) return NULL;
    if (s->read_only) return PyErr_Format(PyExc_RuntimeError, "the storage is read-only");
    if (s->bytes) memset(s->data, (int)(byte & 0xff), s->bytes);
    return Py_NewRef(o);
}

/* --- size, copies ----------------------------------------------------------------------------- */

static PyObject *
storage_nbytes(PyObject *o, PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromSize_t(storage_of(o)->bytes);
}

static PyObject *
storage_element_size(PyObject *Py_UNUSED(o), PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromLong(1);
}

static PyObject *
storage_data_ptr(PyObject *o, PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromVoidPtr(storage_of(o)->data);
}

static PyObject *
storage_resize(PyObject *o, PyObject *size)
{
    Py_ssize_t bytes = PyLong_AsSsize_t(size);
    if (bytes == -1 && PyErr_Occurred()) return NULL;
    if (bytes < 0) return PyErr_Format(PyExc_RuntimeError, "a storage of %zd bytes", bytes);
    FacStatus st = fac_storage_resize(storage_of(o), (size_t)bytes);
    return st ? fac_py_raise(st) : Py_NewRef(o);
}

static PyObject *
copy_to_device(const FacStorage *from, FacDevice device)
{
    FacStorage *to;
    FacStatus st = fac_storage_new(device, from->bytes, &to);
    if (st) return fac_py_raise(st);
    st = copy_bytes(to->data, to->device, from->data, from->device, from->bytes);
    if (st == FAC_OK) return wrap_storage_take(to);
    fac_storage_release(to);
    return fac_py_raise(st);
}

static PyObject *
storage_clone(PyObject *o, PyObject *Py_UNUSED(ignored))
{
    return copy_to_device(storage_of(o), storage_of(o)->device);
}

static PyObject *
storage_cpu(PyObject *o, PyObject *Py_UNUSED(ignored))
{
    if (storage_of(o)->device.type == FAC_DEV_CPU) return Py_NewRef(o);
    return copy_to_device(storage_of(o), FAC_CPU_DEVICE);
}

static PyObject *
storage_to(PyObject *o, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"device", "non_blocking", NULL};
    PyObject *where;
    FacDevice device;
    int non_blocking;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|p:to", names, &where, &non_blocking))
        return NULL;
    int fits = fac_device_convert(where, &device);
    if (fits < 0) return NULL;
    if (!fits) return PyErr_Format(PyExc_TypeError, "to(): argument 'device' must be a device");
    if (device.type == storage_of(o)->device.type) return Py_NewRef(o);
    return copy_to_device(storage_of(o), device);
}

static PyObject *
storage_copy(PyObject *o, PyObject *args)
{
    PyObject *source, *non_blocking = NULL;
    if (!PyArg_ParseTuple(args, "O|O:copy_", &source, &non_blocking)) return NULL;
    FacStorage *to = storage_of(o);
    const FacStorage *from = fac_storage_from_python(source);
    if (!from)
        return PyErr_Format(PyExc_TypeError, "copy_(): the source must be an UntypedStorage");
    if (from->bytes != to->bytes)
        return PyErr_Format(PyExc_RuntimeError, "copy_(): %zu bytes do not fit into %zu",
                            from->bytes, to->bytes);
    if (to->read_only) return PyErr_Format(PyExc_RuntimeError, "the storage is read-only");
    FacStatus st = copy_bytes(to->data, to->device, from->data, from->device, to->bytes);
    return st ? fac_py_raise(st) : Py_NewRef(o);
}

static PyObject *
storage_deepcopy(PyObject *o, PyObject *memo)
{
    PyObject *key = PyLong_FromVoidPtr(o), *copy = NULL;
    if (!key) return NULL;
    if (PyDict_Check(memo)) copy = Py_XNewRef(PyDict_GetItemWithError(memo, key));
    if (!copy && !PyErr_Occurred()) {
        copy = storage_clone(o, NULL);
        if (copy && PyDict_Check(memo) && PyDict_SetItem(memo, key, copy) < 0) Py_CLEAR(copy);
    }
    Py_DECREF(key);
    return copy;
}

/* Pickled as its bytes, or their number where there are none (meta), and its device. */
static PyObject *
storage_reduce(PyObject *o, PyObject *Py_UNUSED(ignored))
{
    const FacStorage *s = storage_of(o);
    PyObject *host = NULL, *bytes = NULL, *reduced = NULL;
    PyObject *build = PyObject_GetAttrString(fac_py.module, "_rebuild_storage");
    PyObject *device = fac_py_device(s->device);
    if (s->device.type == FAC_DEV_META) {
        bytes = PyLong_FromSize_t(s->bytes);
    } else if ((host = storage_cpu(o, NULL))) {
        const FacStorage *copy = storage_of(host);
        bytes = PyBytes_FromStringAndSize(copy->data, copy->data ? (Py_ssize_t)copy->bytes : 0);
    }
    if (build && device && bytes) reduced = Py_BuildValue("O(OO)", build, bytes, device);
    Py_XDECREF(host);
    Py_XDECREF(build);
    Py_XDECREF(device);
    Py_XDECREF(bytes);
    return reduced;
}

static PyObject *
rebuild_storage(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *content, *where;
    FacDevice device;
    if (!PyArg_ParseTuple(args, "OO:_rebuild_storage", &content, &where)) return NULL;
    int fits = fac_device_convert(where, &device);
    if (fits < 0) return NULL;
    if (!fits) return PyErr_Format(PyExc_TypeError, "_rebuild_storage(): expected a device");
    return PyLong_Check(content) ? of_size(PyLong_AsSsize_t(content), device)
                                 : from_bytes(content, device);
}

static PyObject *
storage_false(PyObject *Py_UNUSED(o), PyObject *Py_UNUSED(args))
{
    Py_RETURN_FALSE;
}

static PyObject *
storage_device(PyObject *o, void *Py_UNUSED(closure))
{
    return fac_py_device(storage_of(o)->device);
}

static PyObject *
storage_is_cuda(PyObject *o, void *Py_UNUSED(closure))
{
    int type = storage_of(o)->device.type;
    return PyBool_FromLong(type == FAC_DEV_CUDA || type == FAC_DEV_HIP);
}

static PyObject *
storage_resizable(PyObject *o, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(storage_of(o)->resizable);
}

static PyObject *
storage_repr(PyObject *o)
{
    const FacStorage *s = storage_of(o);
    char text[32];
    return PyUnicode_FromFormat("%s.UntypedStorage(device=%s, size=%zu)", fac_py.module_name,
                                fac_device_text(s->device, text), s->bytes);
}

static PyMethodDef storage_methods[] = {
    {"nbytes", storage_nbytes, METH_NOARGS, "nbytes($self)\n--\n\nIts size in bytes."},
    {"size", storage_nbytes, METH_NOARGS, "size($self)\n--\n\nIts size in bytes."},
    {"element_size", storage_element_size, METH_NOARGS, "element_size($self)\n--\n\n1."},
    {"data_ptr", storage_data_ptr, METH_NOARGS, "data_ptr($self)\n--\n\nIts address."},
    {"resize_", storage_resize, METH_O,
     "resize_($self, size, /)\n--\n\nMakes it larger or smaller."},
    {"resizable", storage_resizable, METH_NOARGS, "resizable($self)\n--\n\nWhether resize_ works."},
    {"clone", storage_clone, METH_NOARGS, "clone($self)\n--\n\nA copy."},
    {"cpu", storage_cpu, METH_NOARGS, "cpu($self)\n--\n\nIn main memory."},
    {"to", (PyCFunction)(void (*)(void))storage_to, METH_VARARGS | METH_KEYWORDS,
     "to($self, device, non_blocking=False)\n--\n\nOn a device."},
    {"copy_", storage_copy, METH_VARARGS,
     "copy_($self, source, /)\n--\n\nCopies the bytes of another."},
    {"fill_", storage_fill, METH_O, "fill_($self, value, /)\n--\n\nSets every byte."},
    {"tolist", storage_tolist, METH_NOARGS, "tolist($self)\n--\n\nThe bytes as ints."},
    {"is_shared", storage_false, METH_NOARGS,
     "is_shared($self)\n--\n\nWhether processes share it."},
    {"is_pinned", storage_false, METH_VARARGS, "is_pinned($self)\n--\n\nWhether it is pinned."},
    {"__deepcopy__", storage_deepcopy, METH_O, NULL},
    {"__reduce__", storage_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef storage_getset[] = {
    {"device", storage_device, NULL, "Where it lies.", NULL},
    {"is_cuda", storage_is_cuda, NULL, "Whether it lies on a GPU.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef storage_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(FacPyStorage, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot storage_slots[] = {
    {Py_tp_new, storage_new},
    {Py_tp_dealloc, storage_dealloc},
    {Py_tp_repr, storage_repr},
    {Py_tp_methods, storage_methods},
    {Py_tp_getset, storage_getset},
    {Py_tp_members, storage_members},
    {Py_sq_length, storage_length},
    {Py_mp_length, storage_length},
    {Py_mp_subscript, storage_subscript},
    {Py_mp_ass_subscript, storage_assign},
    {Py_bf_getbuffer, storage_getbuffer},
    {Py_bf_releasebuffer, storage_releasebuffer},
    {Py_tp_doc, "The bytes that tensors are views of."},
    {0, NULL},
};
static PyType_Spec storage_spec = {
    .name = "facula.UntypedStorage",
    .basicsize = sizeof(FacPyStorage),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = storage_slots,
};

PyMethodDef fac_storage_functions[] = {
    {"_rebuild_storage", rebuild_storage, METH_VARARGS,
     "_rebuild_storage(data, device, /)\n--\n\nA storage from its pickled form."},
    {NULL, NULL, 0, NULL},
};

int
fac_start_storage(PyObject *module)
{
    fac_py.storage_type = fac_add_type(module, &storage_spec, NULL);
    return fac_py.storage_type ? 0 : -1;
}
