/* numpy.c - shared memory with NumPy and with everything that speaks the buffer protocol or DLPack.
 *
 * NumPy's C API is not used and NumPy is not imported: an array gives its memory through the
 * buffer protocol, and takes a tensor's the same way. What exports memory holds a count on the
 * storage, not on the tensor, and the storage can no longer be resized; what is imported keeps
 * its exporter alive until the storage goes. Read-only memory makes a read-only storage, which
 * in-place operators refuse. What is rare (dtypes that the buffer protocol has no word for, the
 * protocols of ufuncs and of NumPy's functions) is Python: facula/_numpy.py.
 */
#include "bindings/bindings.h"
#include "generated/ops.h"
#include "tensor/dlpack.h"

#include <string.h>

/* --- memory of others ------------------------------------------------------------------------ */

static void
release_view(void *context, void *data, size_t bytes)
{
    (void)data, (void)bytes;
    Py_buffer *view = context;
    if (Py_IsInitialized()) {
        PyGILState_STATE gil = PyGILState_Ensure();
        PyBuffer_Release(view);
        PyGILState_Release(gil);
    }
    fac_mem_free(view);
}

/* Bytes from the lowest to behind the highest element; *low is where the lowest lies. */
static size_t
extent(FacDType dt, int ndim, const FacDim *sizes, const FacDim *strides, FacDim *low)
{
    FacDim high = 0;
    *low = 0;
    for (int d = 0; d < ndim; d++) {
        FacDim reach = (sizes[d] - 1) * strides[d];
        if (sizes[d] == 0) return 0;
        *(reach < 0 ? low : &high) += reach;
    }
    return (size_t)(high - *low + 1) * (size_t)fac_dtype_size(dt);
}

FacTensor *
fac_tensor_over_buffer(Py_buffer *view, FacDType dt, void *first, int ndim, const FacDim *sizes,
                       const FacDim *strides)
{
    FacStatus st;
    FacStorage *storage = NULL;
    FacTensor *t = NULL;
    FacDim low = 0;
    size_t bytes = extent(dt, ndim, sizes, strides, &low);
    Py_buffer *kept = NULL;
    if (bytes == 0) {
        st = fac_tensor_new(dt, FAC_CPU_DEVICE, ndim, sizes, &t);
        goto done;
    }
    kept = fac_mem_alloc(sizeof *kept);
    if (!kept) {
        st = fac_mem_error(sizeof *kept);
        goto done;
    }
    *kept = *view;
    char *lowest = (char *)first + low * fac_dtype_size(dt);
    FAC_TRY(fac_storage_borrow(lowest, bytes, FAC_CPU_DEVICE, release_view, kept, &storage));
    view = NULL; /* the storage's from here on */
    kept = NULL;
    storage->resizable = false;
    storage->read_only = ((Py_buffer *)storage->context)->readonly;
    FAC_TRY(fac_tensor_over(storage, dt, ndim, sizes, strides, -low, &t));
done:
    fac_storage_release(storage);
    fac_mem_free(kept);
    if (view) PyBuffer_Release(view);
    if (st) fac_py_raise(st);
    return t;
}

/* The dtype of one item of a buffer; NONE when there is none, or its bytes are swapped. */
static FacDType
dtype_of_format(const char *format, Py_ssize_t itemsize)
{
    static const FacDType ints[] = {
        [1] = FAC_DT_I8, [2] = FAC_DT_I16, [4] = FAC_DT_I32, [8] = FAC_DT_I64};
    static const FacDType unsigneds[] = {
        [1] = FAC_DT_U8, [2] = FAC_DT_U16, [4] = FAC_DT_U32, [8] = FAC_DT_U64};
    bool fits = itemsize == 1 || itemsize == 2 || itemsize == 4 || itemsize == 8;
    if (!format) return FAC_DT_U8;
    if (*format == '@' || *format == '=' || (*format == '<' && PY_LITTLE_ENDIAN)) format++;
    bool is_complex = *format == 'Z';
    format += is_complex;
    if (!*format || format[1]) return FAC_DT_NONE;
    if (is_complex) return *format == 'f' ? FAC_DT_C64 : *format == 'd' ? FAC_DT_C128 : FAC_DT_NONE;
    switch (*format) {
    case '?': return FAC_DT_BOOL;
    case 'e': return FAC_DT_F16;
    case 'f': return FAC_DT_F32;
    case 'd': return FAC_DT_F64;
    default: break;
    }
    if (fits && strchr("bhilqn", *format)) return ints[itemsize];
    if (fits && strchr("BHILQN", *format)) return unsigneds[itemsize];
    return FAC_DT_NONE;
}

/* --- arrays ---------------------------------------------------------------------------------- */

/* numpy.ndarray and numpy.generic, once NumPy has been imported; borrowed for good. */
static PyTypeObject *ndarray_type, *scalar_type;

static bool
find_numpy(void)
{
    if (ndarray_type) return true;
    PyObject *name = PyUnicode_InternFromString("numpy");
    PyObject *numpy = name ? PyImport_GetModule(name) : NULL;
    PyObject *array = numpy ? PyObject_GetAttrString(numpy, "ndarray") : NULL;
    PyObject *scalar = array ? PyObject_GetAttrString(numpy, "generic") : NULL;
    Py_XDECREF(name);
    Py_XDECREF(numpy);
    PyErr_Clear(); /* not imported yet, or only in part */
    if (!scalar) {
        Py_XDECREF(array);
        return false;
    }
    scalar_type = (PyTypeObject *)scalar;
    ndarray_type = (PyTypeObject *)array;
    return true;
}

/* facula._numpy.<name>(args...) */
static PyObject *
call_cold(const char *name, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *function = fac_py_import("_numpy", name);
    if (!function) return NULL;
    PyObject *result = PyObject_Vectorcall(function, args, (size_t)nargs, kwnames);
    Py_DECREF(function);
    return result;
}

/* An array of a dtype, byte order or layout that is shared in Python, or refused there. 1 or -1. */
static int
share_in_python(PyObject *o, FacTensor **out)
{
    PyObject *t = call_cold("share", &o, 1, NULL);
    if (!t) return -1;
    if (!fac_is_tensor(t)) {
        Py_DECREF(t);
        PyErr_Format(PyExc_TypeError, "can't convert %s to a tensor", Py_TYPE(o)->tp_name);
        return -1;
    }
    *out = fac_tensor_retain(fac_unwrap(t));
    Py_DECREF(t);
    return 1;
}

static int
share_array(PyObject *o, FacTensor **out)
{
    Py_buffer view;
    FacDim strides[FAC_MAX_NDIM];
    if (PyObject_GetBuffer(o, &view, PyBUF_RECORDS_RO) < 0) {
        PyErr_Clear();
        return share_in_python(o, out);
    }
    FacDType dt = dtype_of_format(view.format, view.itemsize);
    bool shared =
        dt != FAC_DT_NONE && view.ndim <= FAC_MAX_NDIM && view.itemsize == fac_dtype_size(dt);
    for (int d = 0; d < view.ndim && shared; d++) {
        shared = view.strides[d] % view.itemsize == 0;
        strides[d] = view.strides[d] / view.itemsize;
    }
    if (!shared || (uintptr_t)view.buf % (view.itemsize < 8 ? (size_t)view.itemsize : 8)) {
        PyBuffer_Release(&view);
        return share_in_python(o, out);
    }
    *out =
        fac_tensor_over_buffer(&view, dt, view.buf, view.ndim, (const FacDim *)view.shape, strides);
    return *out ? 1 : -1;
}

/* A NumPy scalar cannot be changed, so its element is copied. */
static int
copy_scalar(PyObject *o, FacTensor **out)
{
    Py_buffer view;
    if (PyObject_GetBuffer(o, &view, PyBUF_RECORDS_RO) < 0) {
        PyErr_Clear();
        return share_in_python(o, out);
    }
    FacDType dt = dtype_of_format(view.format, view.itemsize);
    FacStatus st = FAC_OK;
    if (dt != FAC_DT_NONE) {
        st = fac_tensor_new(dt, FAC_CPU_DEVICE, 0, NULL, out);
        if (st == FAC_OK) memcpy(fac_data(*out), view.buf, (size_t)fac_dtype_size(dt));
    }
    PyBuffer_Release(&view);
    if (dt == FAC_DT_NONE) return share_in_python(o, out);
    if (st == FAC_OK) return 1;
    fac_py_raise(st);
    return -1;
}

static bool
type_has(PyObject *o, PyObject *name)
{
    PyObject *found = PyObject_GetAttr((PyObject *)Py_TYPE(o), name);
    PyErr_Clear();
    Py_XDECREF(found);
    return found != NULL;
}

static int import_dlpack(PyObject *o, FacTensor **out);

int
fac_tensor_from_array(PyObject *o, FacTensor **out)
{
    if (PyLong_CheckExact(o) || PyFloat_CheckExact(o) || PyList_CheckExact(o) ||
        PyTuple_CheckExact(o) || PyUnicode_CheckExact(o) || PyBool_Check(o) || o == Py_None ||
        PyType_Check(o))
        return 0;
    if (find_numpy()) {
        if (PyObject_TypeCheck(o, ndarray_type)) return share_array(o, out);
        if (PyObject_TypeCheck(o, scalar_type)) return copy_scalar(o, out);
    }
    if (type_has(o, fac_py.s_dlpack) && type_has(o, fac_py.s_dlpack_device))
        return import_dlpack(o, out);
    if (type_has(o, fac_py.s_array) || type_has(o, fac_py.s_array_interface))
        return share_in_python(o, out);
    return 0;
}

static PyObject *
from_numpy(PyObject *module, PyObject *o)
{
    (void)module;
    FacTensor *t;
    if (!find_numpy() || !PyObject_TypeCheck(o, ndarray_type)) {
        PyErr_Format(PyExc_TypeError, "expected np.ndarray (got %s)", Py_TYPE(o)->tp_name);
        return NULL;
    }
    return share_array(o, &t) < 0 ? NULL : fac_wrap_take(t);
}

/* --- the buffer protocol --------------------------------------------------------------------- */

/* What a buffer view owns. */
typedef struct Export {
    FacStorage *storage;
    Py_ssize_t dims[]; /* sizes, then strides in bytes */
} Export;

static const char *
format_of(FacDType dt)
{
    static const char *const formats[FAC_DTYPES] = {
        [FAC_DT_BOOL] = "?", [FAC_DT_U8] = "B",    [FAC_DT_I8] = "b",  [FAC_DT_U16] = "H",
        [FAC_DT_I16] = "h",  [FAC_DT_U32] = "I",   [FAC_DT_I32] = "i", [FAC_DT_U64] = "Q",
        [FAC_DT_I64] = "q",  [FAC_DT_F16] = "e",   [FAC_DT_F32] = "f", [FAC_DT_F64] = "d",
        [FAC_DT_C64] = "Zf", [FAC_DT_C128] = "Zd",
    };
    return formats[dt];
}

/* Why the memory of t cannot be read by others; NULL when it can. */
static const char *
export_obstacle(const FacTensor *t)
{
    if (fac_needs_grad(t)) return "of a tensor that requires grad: use tensor.detach()";
    if (t->device.type != FAC_DEV_CPU)
        return "of a tensor that is not on the CPU: use tensor.cpu()";
    if (t->flags & FAC_T_OVERRIDDEN_STORAGE)
        return "of a tensor without memory of its own, as those inside of vmap are";
    if (t->flags & (FAC_T_CONJ | FAC_T_NEG))
        return "of a tensor whose conj or neg bit is set: use tensor.resolve_conj().resolve_neg()";
    if (!format_of((FacDType)t->dtype))
        return "of a dtype that the buffer protocol has no format for: use tensor.float() or "
               "tensor.view(dtype)";
    return NULL;
}

static int
get_buffer(PyObject *self, Py_buffer *view, int flags)
{
    FacTensor *t = fac_unwrap(self);
    const char *obstacle = export_obstacle(t);
    view->obj = NULL;
    if (obstacle) {
        PyErr_Format(PyExc_BufferError, "there is no buffer %s", obstacle);
        return -1;
    }
    if ((flags & PyBUF_WRITABLE) && t->storage->read_only) {
        PyErr_SetString(PyExc_BufferError, "the tensor shares the memory of a read-only array");
        return -1;
    }
    char order = (flags & PyBUF_F_CONTIGUOUS) == PyBUF_F_CONTIGUOUS       ? 'F'
                 : (flags & PyBUF_ANY_CONTIGUOUS) == PyBUF_ANY_CONTIGUOUS ? 'A'
                 : (flags & PyBUF_C_CONTIGUOUS) == PyBUF_C_CONTIGUOUS     ? 'C'
                 : (flags & PyBUF_STRIDES) != PyBUF_STRIDES               ? 'C'
                                                                          : 0;
    Py_ssize_t size = fac_dtype_size((FacDType)t->dtype);
    size_t bytes = sizeof(Export) + 2 * t->ndim * sizeof(Py_ssize_t);
    Export *export = fac_mem_alloc(bytes);
    if (!export) {
        fac_py_raise(fac_mem_error(bytes));
        return -1;
    }
    for (int d = 0; d < t->ndim; d++) {
        export->dims[d] = (Py_ssize_t)t->sizes[d];
        export->dims[t->ndim + d] = (Py_ssize_t)fac_stride_product(t->strides[d], size);
    }
    *view =
        (Py_buffer){.buf = fac_data(t),
                    .itemsize = size,
                    .ndim = t->ndim,
                    .internal = export,
                    .len = (Py_ssize_t)t->numel * size,
                    .readonly = t->storage->read_only,
                    .format = (char *)(flags & PyBUF_FORMAT ? format_of((FacDType)t->dtype) : NULL),
                    .shape = export->dims,
                    .strides = export->dims + t->ndim};
    if (!view->buf) view->buf = export; /* no elements: any address that is not NULL */
    if (order && !PyBuffer_IsContiguous(view, order)) {
        fac_mem_free(export);
        PyErr_SetString(PyExc_BufferError, "the tensor is not contiguous: use tensor.contiguous()");
        return -1;
    }
    if (!(flags & PyBUF_ND)) view->shape = NULL;
    if ((flags & PyBUF_STRIDES) != PyBUF_STRIDES) view->strides = NULL;
    export->storage = t->storage;
    fac_storage_retain(t->storage);
    t->storage->resizable = false;
    view->obj = Py_NewRef(self);
    return 0;
}

static void
release_buffer(PyObject *self, Py_buffer *view)
{
    (void)self;
    Export *export = view->internal;
    fac_storage_release(export->storage);
    fac_mem_free(export);
}

PyBufferProcs fac_tensor_buffer = {get_buffer, release_buffer};

/* --- Tensor.numpy ---------------------------------------------------------------------------- */

/* numpy.asarray(memoryview(t)) */
static PyObject *
as_ndarray(PyObject *tensor)
{
    static PyObject *asarray; /* kept for good */
    if (!asarray) {
        PyObject *numpy = PyImport_ImportModule("numpy");
        asarray = numpy ? PyObject_GetAttrString(numpy, "asarray") : NULL;
        Py_XDECREF(numpy);
        if (!asarray) return NULL;
    }
    PyObject *view = PyMemoryView_FromObject(tensor);
    if (!view) return NULL;
    PyObject *array = PyObject_CallOneArg(asarray, view);
    Py_DECREF(view);
    return array;
}

/* The peer's errors for tensors that NumPy cannot see as they are. */
static int
check_numpy(const FacTensor *t)
{
    char device[32];
    FacDType dt = (FacDType)t->dtype;
    if (fac_needs_grad(t))
        PyErr_SetString(PyExc_RuntimeError, "Can't call numpy() on Tensor that requires grad. Use "
                                            "tensor.detach().numpy() instead.");
    else if (t->device.type != FAC_DEV_CPU)
        PyErr_Format(PyExc_TypeError,
                     "can't convert %s device type tensor to numpy. Use Tensor.cpu() "
                     "to copy the tensor to host memory first.",
                     fac_device_text(t->device, device));
    else if (t->flags & (FAC_T_CONJ | FAC_T_NEG))
        PyErr_Format(PyExc_RuntimeError,
                     "Can't call numpy() on Tensor that has %s bit set. Use "
                     "tensor.resolve_%s().numpy() instead.",
                     t->flags & FAC_T_CONJ ? "conjugate" : "negative",
                     t->flags & FAC_T_CONJ ? "conj" : "neg");
    else if (!format_of(dt))
        PyErr_Format(PyExc_TypeError,
                     "Got unsupported ScalarType %s: NumPy has no such dtype, use "
                     "tensor.float().numpy()",
                     fac_dtype_info[dt].legacy);
    else
        return 0;
    return -1;
}

/* numpy(force=True): detached, on the CPU, its lazy bits applied. */
static FacTensor *
forced(FacTensor *t)
{
    FacTensor *out = NULL;
    FacStatus st;
    FAC_TRY(fac_tensor_alias(t, &out));
    if (t->device.type != FAC_DEV_CPU || (t->flags & (FAC_T_CONJ | FAC_T_NEG))) {
        FacValue result, args[] = {fac_v_tensor(out), FAC_VALUE_NONE, FAC_VALUE_NONE,
                                   fac_v_device(FAC_CPU_DEVICE)};
        FAC_TRY(fac_call(FAC_OP__to_copy, 4, args, &result));
        fac_tensor_release(out);
        out = result.v.t;
    }
    return out;
done:
    fac_tensor_release(out);
    fac_py_raise(st);
    return NULL;
}

static PyObject *
tensor_numpy(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"force", NULL};
    int force = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|$p:numpy", names, &force)) return NULL;
    if (!force) return check_numpy(fac_unwrap(self)) < 0 ? NULL : as_ndarray(self);
    FacTensor *plain = forced(fac_unwrap(self));
    PyObject *wrapped = plain ? fac_wrap_take(plain) : NULL;
    if (!wrapped) return NULL;
    PyObject *array = check_numpy(fac_unwrap(wrapped)) < 0 ? NULL : as_ndarray(wrapped);
    Py_DECREF(wrapped);
    return array;
}

/* --- DLPack ---------------------------------------------------------------------------------- */

static const char plain_name[] = "dltensor", versioned_name[] = "dltensor_versioned";

static void
drop_capsule(PyObject *capsule)
{
    if (PyCapsule_IsValid(capsule, versioned_name)) {
        DLManagedTensorVersioned *m = PyCapsule_GetPointer(capsule, versioned_name);
        if (m->deleter) m->deleter(m);
    } else if (PyCapsule_IsValid(capsule, plain_name)) {
        DLManagedTensor *m = PyCapsule_GetPointer(capsule, plain_name);
        if (m->deleter) m->deleter(m);
    }
}

static PyObject *
export_capsule(FacTensor *t, bool versioned, bool copied)
{
    PyObject *capsule;
    FacStatus st;
    if (versioned) {
        DLManagedTensorVersioned *m;
        if ((st = fac_to_dlpack_versioned(t, copied, &m))) return fac_py_raise(st);
        capsule = PyCapsule_New(m, versioned_name, drop_capsule);
        if (!capsule) m->deleter(m);
    } else {
        DLManagedTensor *m;
        if ((st = fac_to_dlpack(t, &m))) return fac_py_raise(st);
        capsule = PyCapsule_New(m, plain_name, drop_capsule);
        if (!capsule) m->deleter(m);
    }
    return capsule;
}

static int
check_dlpack(const FacTensor *t, bool versioned)
{
    const char *problem = NULL;
    if (fac_needs_grad(t))
        problem = "Can't export tensors that require gradient, use tensor.detach()";
    else if (t->flags & FAC_T_OVERRIDDEN_STORAGE)
        problem = "Can't export tensors without memory of their own, as those inside of vmap are";
    else if (t->flags & (FAC_T_CONJ | FAC_T_NEG))
        problem = "Can't export tensors with the conjugate or negative bit set, use "
                  "tensor.resolve_conj().resolve_neg()";
    else if (t->storage->read_only && !versioned)
        problem =
            "the memory is read-only, which only versioned DLPack can say: ask for max_version="
            "(1, 0), or clone the tensor";
    if (!problem) return 0;
    PyErr_SetString(PyExc_BufferError, problem);
    return -1;
}

/* Whether (type, id) is where t lies; NONE: yes. 1, 0, -1. */
static int
is_its_device(const FacTensor *t, PyObject *o)
{
    int type, index;
    DLDevice own;
    if (o == Py_None) return 1;
    if (!PyTuple_Check(o) || !PyArg_ParseTuple(o, "ii", &type, &index)) {
        PyErr_SetString(PyExc_TypeError,
                        "dl_device must be a tuple (device type, device id) or None");
        return -1;
    }
    FacStatus st = fac_dlpack_device(t->device, &own);
    if (st) {
        fac_py_raise(st);
        return -1;
    }
    return own.device_type == type && own.device_id == index;
}

static PyObject *
tensor_dlpack(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"stream", "max_version", "dl_device", "copy", NULL};
    PyObject *stream = Py_None, *max_version = Py_None, *device = Py_None, *copy = Py_None;
    FacTensor *t = fac_unwrap(self);
    int major = 0, minor = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|$OOOO:__dlpack__", names, &stream,
                                     &max_version, &device, &copy))
        return NULL;
    if (max_version != Py_None &&
        (!PyTuple_Check(max_version) || !PyArg_ParseTuple(max_version, "ii", &major, &minor))) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_TypeError, "max_version must be a tuple of two ints or None");
        return NULL;
    }
    int here = is_its_device(t, device), copies = copy == Py_None ? 0 : PyObject_IsTrue(copy);
    if (here < 0 || copies < 0) return NULL;
    if (!here) {
        PyErr_SetString(PyExc_BufferError,
                        "the tensor is on another device than dl_device asks for: "
                        "move it with tensor.to()");
        return NULL;
    }
    if (stream != Py_None && t->device.type == FAC_DEV_CPU) {
        PyErr_SetString(PyExc_BufferError, "stream must be None for a tensor on the CPU");
        return NULL;
    }
    if (check_dlpack(t, major >= 1) < 0) return NULL;
    if (!copies) return export_capsule(t, major >= 1, false);
    FacValue result, from[] = {fac_v_tensor(t)};
    FacStatus st = fac_call(FAC_OP_clone, 1, from, &result);
    if (st) return fac_py_raise(st);
    PyObject *capsule = export_capsule(result.v.t, major >= 1, true);
    fac_tensor_release(result.v.t);
    return capsule;
}

static PyObject *
tensor_dlpack_device(PyObject *self, PyObject *ignored)
{
    (void)ignored;
    DLDevice device;
    FacStatus st = fac_dlpack_device(fac_unwrap(self)->device, &device);
    if (st) return fac_py_raise(st);
    return Py_BuildValue("(ii)", (int)device.device_type, (int)device.device_id);
}

/* The tensor of a capsule, which counts as used from then on. */
static int
consume_capsule(PyObject *capsule, FacTensor **out)
{
    FacStatus st;
    const char *used;
    if (PyCapsule_IsValid(capsule, versioned_name)) {
        st = fac_from_dlpack_versioned(PyCapsule_GetPointer(capsule, versioned_name), out);
        used = "used_dltensor_versioned";
    } else if (PyCapsule_IsValid(capsule, plain_name)) {
        st = fac_from_dlpack(PyCapsule_GetPointer(capsule, plain_name), out);
        used = "used_dltensor";
    } else {
        PyErr_SetString(PyExc_RuntimeError, "from_dlpack received an invalid capsule. Note that a "
                                            "DLPack capsule can be consumed only once");
        return -1;
    }
    if (st) {
        fac_py_raise(st);
        return -1;
    }
    return PyCapsule_SetName(capsule, used) < 0 ? -1 : 1;
}

/* o.__dlpack__(max_version=(1, 0), ...), and without arguments for producers of before. */
static PyObject *
ask_for_capsule(PyObject *o, PyObject *device, PyObject *copy)
{
    PyObject *method = PyObject_GetAttr(o, fac_py.s_dlpack);
    PyObject *none = method ? PyTuple_New(0) : NULL;
    PyObject *options = none ? Py_BuildValue("{s(ii)}", "max_version", 1, 0) : NULL;
    PyObject *capsule = NULL;
    bool plain = device == Py_None && copy == Py_None;
    if (!options || (device != Py_None && PyDict_SetItemString(options, "dl_device", device) < 0) ||
        (copy != Py_None && PyDict_SetItemString(options, "copy", copy) < 0))
        goto done;
    capsule = PyObject_Call(method, none, options);
    if (!capsule && plain && PyErr_ExceptionMatches(PyExc_TypeError)) {
        PyErr_Clear();
        capsule = PyObject_CallNoArgs(method);
    }
done:
    Py_XDECREF(options);
    Py_XDECREF(none);
    Py_XDECREF(method);
    return capsule;
}

static int
import_capsule_of(PyObject *o, PyObject *device, PyObject *copy, FacTensor **out)
{
    PyObject *capsule = PyCapsule_CheckExact(o) ? Py_NewRef(o) : ask_for_capsule(o, device, copy);
    if (!capsule) return -1;
    int known = consume_capsule(capsule, out);
    Py_DECREF(capsule);
    return known;
}

static int
import_dlpack(PyObject *o, FacTensor **out)
{
    return import_capsule_of(o, Py_None, Py_None, out);
}

/* (type, id) as DLPack counts devices, for a facula device; None for None. */
static PyObject *
dlpack_device_of(PyObject *o)
{
    FacDevice device;
    DLDevice dl;
    if (o == Py_None) return Py_NewRef(o);
    int known = fac_device_convert(o, &device);
    if (known == 0)
        PyErr_SetString(PyExc_TypeError, "from_dlpack(): device must be a device or None");
    if (known <= 0) return NULL;
    FacStatus st = fac_dlpack_device(device, &dl);
    if (st) return fac_py_raise(st);
    return Py_BuildValue("(ii)", (int)dl.device_type, (int)dl.device_id);
}

static PyObject *
from_dlpack(PyObject *module, PyObject *args, PyObject *kwargs)
{
    (void)module;
    static char *names[] = {"", "device", "copy", NULL};
    PyObject *o, *device = Py_None, *copy = Py_None;
    FacTensor *t = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|$OO:from_dlpack", names, &o, &device, &copy))
        return NULL;
    if (!PyCapsule_CheckExact(o) && !PyObject_HasAttr(o, fac_py.s_dlpack)) {
        PyErr_Format(PyExc_TypeError,
                     "from_dlpack() needs an object with __dlpack__ or a capsule, not "
                     "%s",
                     Py_TYPE(o)->tp_name);
        return NULL;
    }
    PyObject *dl_device = dlpack_device_of(device);
    if (!dl_device) return NULL;
    int known = import_capsule_of(o, dl_device, copy, &t);
    Py_DECREF(dl_device);
    return known < 0 ? NULL : fac_wrap_take(t);
}

/* --- NumPy's protocols ----------------------------------------------------------------------- */

/* Methods whose work is done by facula._numpy.<same name without underscores>(self, ...). */
static PyObject *
call_cold_method(const char *name, PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                 PyObject *kwnames)
{
    enum { MOST = 40 }; /* a ufunc takes up to 32 operands */
    PyObject *all[MOST];
    Py_ssize_t nkeywords = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
    if (nargs + nkeywords + 1 > MOST) {
        PyErr_Format(PyExc_TypeError, "%s: too many arguments", name);
        return NULL;
    }
    all[0] = self;
    for (Py_ssize_t i = 0; i < nargs + nkeywords; i++) all[i + 1] = args[i];
    return call_cold(name, all, nargs + 1, kwnames);
}

#define COLD_METHOD(function, name)                                                                \
    static PyObject *function(PyObject *self, PyObject *const *args, Py_ssize_t nargs,             \
                              PyObject *kwnames)                                                   \
    {                                                                                              \
        return call_cold_method(name, self, args, nargs, kwnames);                                 \
    }
COLD_METHOD(tensor_array, "array")
COLD_METHOD(tensor_array_ufunc, "array_ufunc")
COLD_METHOD(tensor_array_function, "array_function")
#undef COLD_METHOD

#define KEYWORDS(function) (PyCFunction)(void (*)(void))(function), METH_VARARGS | METH_KEYWORDS
#define FAST(function) (PyCFunction)(void (*)(void))(function), METH_FASTCALL | METH_KEYWORDS

PyMethodDef fac_numpy_methods[] = {
    {"numpy", KEYWORDS(tensor_numpy),
     "numpy($self, *, force=False)\n--\n\nAn ndarray that shares the memory of the tensor."},
    {"__array__", FAST(tensor_array), NULL},
    {"__array_ufunc__", FAST(tensor_array_ufunc), NULL},
    {"__array_function__", FAST(tensor_array_function), NULL},
    {"__dlpack__", KEYWORDS(tensor_dlpack),
     "__dlpack__($self, *, stream=None, max_version=None, dl_device=None, copy=None)\n--\n\n"
     "A DLPack capsule over the memory of the tensor."},
    {"__dlpack_device__", tensor_dlpack_device, METH_NOARGS,
     "__dlpack_device__($self)\n--\n\nThe device type and id as DLPack counts them."},
    {NULL, NULL, 0, NULL},
};

PyMethodDef fac_numpy_functions[] = {
    {"from_numpy", from_numpy, METH_O,
     "from_numpy(ndarray, /)\n--\n\nA tensor that shares the memory of an ndarray."},
    {"from_dlpack", KEYWORDS(from_dlpack),
     "from_dlpack(ext_tensor, /, *, device=None, copy=None)\n--\n\n"
     "A tensor over the memory of an object that speaks DLPack."},
    {NULL, NULL, 0, NULL},
};

/* NumPy's arrays give way to an operand of higher priority. */
int
fac_start_numpy(PyObject *module)
{
    (void)module;
    PyObject *priority = PyLong_FromLong(1000);
    if (!priority) return -1;
    int failed =
        PyObject_SetAttrString((PyObject *)fac_py.tensor_type, "__array_priority__", priority);
    Py_DECREF(priority);
    return failed;
}
