/* wrap.c - the life of Tensor objects: FacTensor to Python object and back.
 *
 * A Python object owns one count of its tensor; the tensor holds a weak way back, so that a tensor
 * has one object at a time and `p.grad is p.grad`. When the last Python reference goes while the
 * core still holds the tensor, an object with something of its own (attributes, a subclass, weak
 * references) must not die: ownership turns round (wrapper_owned), the tensor keeps the object,
 * and the next time the tensor comes to Python it turns round again. Objects without anything of
 * their own just die and are made anew.
 *
 * TensorBase is the static type with the slots; Tensor is made from it as a class statement would,
 * so that the Python packages can add methods. The metatype gives every subclass the same
 * tp_dealloc, since the interpreter's own would destroy a subclass instance before the turn.
 */
#include "bindings/bindings.h"

#include "base/dtype.h"

#include <string.h>
#include <structmember.h>

static PyTypeObject base_type, meta_type;

/* --- free list of exact tensors --------------------------------------------------------------- */

#ifdef Py_GIL_DISABLED
enum { SPARE_MAX = 0 };
#else
enum { SPARE_MAX = 64 };
#endif
static struct {
    int n;
    FacPyTensor *at[SPARE_MAX + 1];
} spare; /* guarded by the interpreter lock */

static FacPyTensor *
exact_alloc(void)
{
    if (FAC_LIKELY(spare.n > 0))
        return (FacPyTensor *)PyObject_Init((PyObject *)spare.at[--spare.n], fac_py.tensor_type);
    return PyObject_GC_New(FacPyTensor, fac_py.tensor_type);
}

static void
exact_free(FacPyTensor *self)
{
    PyTypeObject *type = Py_TYPE(self);
    if (spare.n < SPARE_MAX)
        spare.at[spare.n++] = self;
    else
        PyObject_GC_Del(self);
    Py_DECREF(type);
}

/* --- making ----------------------------------------------------------------------------------- */

static void
attach(FacPyTensor *self, FacTensor *t)
{
    self->tensor = t;
    atomic_store_explicit(&t->wrapper, self, memory_order_release);
    t->wrapper_owned = false;
}

/* The object that the tensor has already. Takes t. */
static PyObject *
existing_take(PyObject *o, FacTensor *t)
{
    if (t->wrapper_owned) {
        t->wrapper_owned =
            false; /* the caller's count becomes the object's, the tensor's the caller's */
        return o;
    }
    Py_INCREF(o);
    fac_tensor_release(t);
    return o;
}

PyObject *
fac_wrap_take(FacTensor *t)
{
    PyObject *o = atomic_load_explicit(&t->wrapper, memory_order_acquire);
    if (o) return existing_take(o, t);
    FacPyTensor *self = exact_alloc();
    if (!self) {
        fac_tensor_release(t);
        return PyErr_NoMemory();
    }
    self->dict = self->weakrefs = NULL;
    attach(self, t);
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

PyObject *
fac_wrap_as_take(PyTypeObject *type, FacTensor *t)
{
    if (type == fac_py.tensor_type) return fac_wrap_take(t);
    if (atomic_load_explicit(&t->wrapper, memory_order_acquire)) {
        fac_tensor_release(t);
        PyErr_SetString(PyExc_RuntimeError, "the tensor has a Python object already");
        return NULL;
    }
    FacPyTensor *self = (FacPyTensor *)type->tp_alloc(type, 0);
    if (!self) {
        fac_tensor_release(t);
        return NULL;
    }
    attach(self, t);
    if (fac_has_torch_dispatch(type)) t->keys |= FAC_KEY(PYTHON);
    return (PyObject *)self;
}

/* --- dying ------------------------------------------------------------------------------------ */

/* The turn: true if the object lives on, kept by its tensor. */
static bool
keep_alive(FacPyTensor *self)
{
    FacTensor *t = self->tensor;
    if (!t || atomic_load_explicit(&t->refs, memory_order_acquire) == 1) return false;
    if (atomic_load_explicit(&t->wrapper, memory_order_acquire) != self)
        return false; /* too late */
    if (Py_TYPE(self) == fac_py.tensor_type && !self->dict && !self->weakrefs) return false;
    Py_SET_REFCNT((PyObject *)self, 1);
    t->wrapper_owned = true;
    fac_tensor_release(t); /* if it was the last after all, last_count ends what began here */
    return true;
}

/* Values of __slots__, which the interpreter's own tp_dealloc would clear. */
static void
clear_slots(PyObject *self)
{
    for (PyTypeObject *type = Py_TYPE(self); type && type != &base_type; type = type->tp_base) {
        PyObject *key, *value;
        Py_ssize_t at = 0;
        if (Py_SIZE(type) == 0) continue;
        while (PyDict_Next(type->tp_dict, &at, &key, &value)) {
            if (Py_TYPE(value) != &PyMemberDescr_Type) continue;
            const PyMemberDef *member = ((PyMemberDescrObject *)value)->d_member;
            if (member->type == T_OBJECT_EX)
                Py_CLEAR(*(PyObject **)((char *)self + member->offset));
        }
    }
}

/* Takes the way back away, unless the tensor has another object by now (the trashcan put this one
 * off). */
static void
detach_from_tensor(FacPyTensor *self)
{
    FacTensor *t = self->tensor;
    void *expected = self;
    if (!t) return;
    if (atomic_load(&t->refs) == 1 && atomic_load(&t->wrapper) == self) /* nobody else is at it */
        atomic_store_explicit(&t->wrapper, NULL, memory_order_relaxed);
    else
        atomic_compare_exchange_strong(&t->wrapper, &expected, NULL);
}

static void
dealloc_rest(PyObject *o)
{
    FacPyTensor *self = (FacPyTensor *)o;
    FacTensor *t = self->tensor;
    if (self->weakrefs) PyObject_ClearWeakRefs(o);
    Py_CLEAR(self->dict);
    self->tensor = NULL;
    if (Py_TYPE(o) == fac_py.tensor_type) {
        exact_free(self);
    } else {
        PyTypeObject *type = Py_TYPE(o);
        clear_slots(o);
        type->tp_free(o);
        Py_DECREF(type);
    }
    fac_tensor_release(t);
}

static void
tensor_dealloc(PyObject *o)
{
    FacPyTensor *self = (FacPyTensor *)o;
    if (keep_alive(self)) return;
    if (Py_TYPE(o)->tp_finalize && PyObject_CallFinalizerFromDealloc(o) < 0) return;
    PyObject_GC_UnTrack(o);
    detach_from_tensor(self);
    Py_TRASHCAN_BEGIN(o, tensor_dealloc) dealloc_rest(o);
    Py_TRASHCAN_END
}

/* The last count of a tensor that has an object went, perhaps in a thread of the core. The object
 * gets another tensor over the same memory, for code that runs while it dies. */
static void
last_count(FacTensor *t)
{
    if (!Py_IsInitialized()) return;
    PyGILState_STATE gil = PyGILState_Ensure();
    FacPyTensor *self = atomic_exchange(&t->wrapper, NULL);
    FacTensor *alias;
    if (self && t->wrapper_owned && fac_tensor_alias(t, &alias) == FAC_OK) {
        t->wrapper_owned = false;
        attach(self, alias);
        Py_DECREF((PyObject *)self);
    }
    PyGILState_Release(gil);
}

static int
tensor_traverse(PyObject *o, visitproc visit, void *arg)
{
    FacPyTensor *self = (FacPyTensor *)o;
    Py_VISIT(self->dict);
    FacTensor *t = self->tensor;
    if (t && t->autograd && atomic_load_explicit(&t->refs, memory_order_relaxed) == 1)
        return fac_autograd_visit(t, visit, arg);
    return 0;
}

static int
tensor_clear(PyObject *o)
{
    FacPyTensor *self = (FacPyTensor *)o;
    Py_CLEAR(self->dict);
    FacTensor *t = self->tensor;
    if (t && t->autograd && atomic_load_explicit(&t->refs, memory_order_relaxed) == 1)
        fac_autograd_clear(t);
    return 0;
}

/* --- the types -------------------------------------------------------------------------------- */

static PyObject *
meta_new(PyTypeObject *meta, PyObject *args, PyObject *kwargs)
{
    PyTypeObject *type = (PyTypeObject *)PyType_Type.tp_new(meta, args, kwargs);
    if (type) type->tp_dealloc = tensor_dealloc;
    return (PyObject *)type;
}

static PyTypeObject meta_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "facula._C._TensorMeta",
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .tp_new = meta_new,
    .tp_doc = "The type of Tensor and of its subclasses.",
};

static Py_hash_t
tensor_hash(PyObject *self)
{
    size_t bits = (size_t)self;
    Py_hash_t hash = (Py_hash_t)((bits >> 4) | (bits << (8 * sizeof bits - 4)));
    return hash == -1 ? -2 : hash;
}

/* facula._tensor_str prints; before that package is there, the shape and dtype are said. */
static PyObject *
tensor_repr(PyObject *self)
{
    PyObject *print = fac_py_import("_tensor_str", "_str");
    if (print) {
        PyObject *text = PyObject_CallOneArg(print, self);
        Py_DECREF(print);
        return text;
    }
    if (!PyErr_ExceptionMatches(PyExc_ImportError)) return NULL;
    PyErr_Clear();
    FacText text = {.len = 0};
    fac_text_tensor(&text, fac_unwrap(self));
    return PyUnicode_FromFormat("tensor(%s)", text.at);
}

static PyObject *
tensor_iter(PyObject *self)
{
    if (fac_is_exact_tensor(self) && fac_unwrap(self)->ndim == 0)
        return PyErr_Format(PyExc_TypeError, "iteration over a 0-d tensor");
    PyObject *parts = PyObject_CallMethod(self, "unbind", "i", 0);
    PyObject *iterator = parts ? PyObject_GetIter(parts) : NULL;
    Py_XDECREF(parts);
    return iterator;
}

static PyTypeObject base_type = {
    PyVarObject_HEAD_INIT(&meta_type, 0).tp_name = "facula._C.TensorBase",
    .tp_basicsize = sizeof(FacPyTensor),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .tp_doc = "An array of numbers of one dtype.",
    .tp_dealloc = tensor_dealloc,
    .tp_traverse = tensor_traverse,
    .tp_clear = tensor_clear,
    .tp_weaklistoffset = offsetof(FacPyTensor, weakrefs),
    .tp_dictoffset = offsetof(FacPyTensor, dict),
    .tp_new = fac_tensor_new_py,
    .tp_hash = tensor_hash,
    .tp_repr = tensor_repr,
    .tp_iter = tensor_iter,
    .tp_richcompare = fac_tensor_compare,
    .tp_as_number = &fac_tensor_number,
    .tp_as_sequence = &fac_tensor_sequence,
    .tp_as_mapping = &fac_tensor_mapping,
    .tp_as_buffer = &fac_tensor_buffer,
};

/* --- attributes, guarded by the override protocol --------------------------------------------- */

/* Tensor.NAME.__get__ or __set__: what __torch_function__ is given as the function. */
static PyObject *
accessor(const char *name, const char *which)
{
    PyObject *descriptor = PyObject_GetAttrString((PyObject *)fac_py.tensor_type, name);
    PyObject *method = descriptor ? PyObject_GetAttrString(descriptor, which) : NULL;
    Py_XDECREF(descriptor);
    return method;
}

static bool
plain(PyObject *o)
{
    return FAC_LIKELY(fac_is_exact_tensor(o) && !fac_override_modes());
}

static PyObject *
guarded_get(PyObject *self, void *closure)
{
    const PyGetSetDef *def = closure;
    if (plain(self)) return def->get(self, def->closure);
    int wanted = fac_override_wanted(&self, 1);
    if (wanted < 0) return NULL;
    if (!wanted) return def->get(self, def->closure);
    PyObject *function = accessor(def->name, "__get__");
    PyObject *result = function ? fac_override_call(function, &self, 1, NULL) : NULL;
    Py_XDECREF(function);
    return result;
}

static int
guarded_set(PyObject *self, PyObject *value, void *closure)
{
    const PyGetSetDef *def = closure;
    PyObject *args[] = {self, value};
    if (!value) {
        if (def->set && strcmp(def->name, "grad") == 0)
            return def->set(self, Py_None, def->closure);
        PyErr_Format(PyExc_AttributeError, "cannot delete attribute '%s' of a tensor", def->name);
        return -1;
    }
    if (plain(self)) return def->set(self, value, def->closure);
    int wanted = fac_override_wanted(args, 2);
    if (wanted < 0) return -1;
    if (!wanted) return def->set(self, value, def->closure);
    PyObject *function = accessor(def->name, "__set__");
    PyObject *result = function ? fac_override_call(function, args, 2, NULL) : NULL;
    Py_XDECREF(function);
    Py_XDECREF(result);
    return result ? 0 : -1;
}

static PyGetSetDef dict_getset = {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict,
                                  NULL, NULL};

/* All attributes in one table; the guards find the real ones through the closure. */
static PyGetSetDef *
guarded_table(void)
{
    PyGetSetDef *const sources[] = {fac_tensor_getset, fac_autograd_getset};
    size_t n = 0, at = 0;
    for (size_t i = 0; i < 2; i++)
        for (PyGetSetDef *def = sources[i]; def->name; def++) n++;
    PyGetSetDef *table = fac_mem_zalloc((n + 2) * sizeof *table);
    if (!table) return (PyGetSetDef *)PyErr_NoMemory();
    for (size_t i = 0; i < 2; i++)
        for (PyGetSetDef *def = sources[i]; def->name; def++)
            table[at++] =
                (PyGetSetDef){def->name, guarded_get, def->set ? guarded_set : NULL, def->doc, def};
    table[at] = dict_getset;
    return table; /* the static type keeps it */
}

/* --- subclasses ------------------------------------------------------------------------------- */

static PyTypeObject *
subclass_argument(PyObject *o)
{
    if (PyType_Check(o) && PyType_IsSubtype((PyTypeObject *)o, &base_type))
        return (PyTypeObject *)o;
    PyErr_Format(PyExc_TypeError, "expected a subclass of Tensor, not %R", o);
    return NULL;
}

static PyObject *
make_subclass(PyObject *Py_UNUSED(ignored), PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"cls", "data", "require_grad", "dispatch_strides", "dispatch_device",
                            NULL};
    PyObject *class, *data;
    int grad = 0, strides, device;
    FacTensor *t;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO|ppp:_make_subclass", names, &class, &data,
                                     &grad, &strides, &device))
        return NULL;
    PyTypeObject *type = subclass_argument(class);
    if (!type) return NULL;
    if (!fac_is_tensor(data))
        return PyErr_Format(PyExc_TypeError,
                            "_make_subclass(): argument 'data' must be Tensor, not %s",
                            Py_TYPE(data)->tp_name);
    FacStatus st = fac_tensor_alias(fac_unwrap(data), &t);
    if (st) return fac_py_raise(st);
    PyObject *o = fac_wrap_as_take(type, t);
    if (!o) return NULL;
    st = grad ? fac_set_requires_grad(fac_unwrap(o), true) : FAC_OK;
    if (st == FAC_OK) return o;
    Py_DECREF(o);
    return fac_py_raise(st);
}

/* What a wrapper subclass says of its device. For the core it lies on meta, so that whatever goes
 * past its class finds no memory rather than none where some should be. */
typedef struct Hollow {
    FacExtraPart part;
    FacDevice device;
} Hollow;

static void
drop_hollow(FacExtraPart *part, FacTensor *Py_UNUSED(tensor))
{
    fac_mem_free(part);
}

FacDevice
fac_visible_device(const FacTensor *t)
{
    bool hollow = (t->flags & FAC_T_OVERRIDDEN_STORAGE) && t->extra && t->extra->foreign;
    return hollow ? ((const Hollow *)t->extra->foreign)->device : t->device;
}

/* A tensor of that shape without memory behind it. */
static FacStatus
make_hollow(FacDType dtype, FacDevice device, int ndim, const FacDim *sizes, const FacDim *strides,
            FacTensor **out)
{
    FacStatus st = FAC_OK;
    FacDim dense[FAC_MAX_NDIM];
    FacTensor *t = NULL;
    FacExtra *extra;
    if (!strides) fac_strides_contiguous(ndim, sizes, dense);
    FAC_TRY(fac_tensor_new_strided(dtype, fac_device(FAC_DEV_META, -1), ndim, sizes,
                                   strides ? strides : dense, &t));
    FAC_TRY(fac_tensor_extra(t, &extra));
    Hollow *hollow = fac_mem_alloc(sizeof *hollow);
    if (!hollow) FAC_TRY(fac_mem_error(sizeof *hollow));
    *hollow = (Hollow){.part.drop = drop_hollow, .device = device};
    extra->foreign = &hollow->part;
    t->flags |= FAC_T_OVERRIDDEN_STORAGE;
    *out = fac_tensor_retain(t);
done:
    fac_tensor_release(t);
    return st;
}

static PyObject *
make_wrapper_subclass(PyObject *Py_UNUSED(ignored), PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"cls",
                            "size",
                            "strides",
                            "storage_offset",
                            "memory_format",
                            "dtype",
                            "layout",
                            "device",
                            "pin_memory",
                            "requires_grad",
                            "dispatch_sizes_strides_policy",
                            "dispatch_device",
                            "dispatch_layout",
                            NULL};
    PyObject *class, *size, *strides = Py_None, *offset = Py_None, *format = Py_None,
                            *dtype = Py_None, *layout = Py_None, *device = Py_None,
                            *policy = Py_None;
    int pin = 0, grad = 0, by_device = 0, by_layout = 0, ndim, nstrides;
    FacDim sizes[FAC_MAX_NDIM], steps[FAC_MAX_NDIM];
    FacDType dt = fac_default_dtype();
    FacDevice where = fac_default_device();
    FacTensor *t = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO|OOO$OOOppOpp:_make_wrapper_subclass", names,
                                     &class, &size, &strides, &offset, &format, &dtype, &layout,
                                     &device, &pin, &grad, &policy, &by_device, &by_layout))
        return NULL;
    PyTypeObject *type = subclass_argument(class);
    if (!type) return NULL;
    int fits = fac_sizes_convert(size, sizes, &ndim);
    if (fits == 1 && strides != Py_None) fits = fac_sizes_convert(strides, steps, &nstrides);
    if (fits == 1 && dtype != Py_None) fits = fac_dtype_convert(dtype, &dt);
    if (fits == 1 && device != Py_None) fits = fac_device_convert(device, &where);
    if (fits == 1 && strides != Py_None && nstrides != ndim) fits = 0;
    if (fits < 0) return NULL;
    if (!fits)
        return PyErr_Format(PyExc_TypeError, "_make_wrapper_subclass(): size, strides, dtype or "
                                             "device is not of its type");
    FacStatus st = make_hollow(dt, where, ndim, sizes, strides == Py_None ? NULL : steps, &t);
    if (st) return fac_py_raise(st);
    t->keys |= FAC_KEY(PYTHON);
    PyObject *o = fac_wrap_as_take(type, t);
    st = o && grad ? fac_set_requires_grad(t, true) : FAC_OK;
    if (st == FAC_OK) return o;
    Py_DECREF(o);
    return fac_py_raise(st);
}

static PyObject *
as_subclass(PyObject *self, PyObject *class)
{
    FacTensor *t;
    PyTypeObject *type = subclass_argument(class);
    if (!type) return NULL;
    FacValue arg = fac_v_tensor(fac_unwrap(self)), result = FAC_VALUE_NONE;
    static const FacOp *alias;
    if (!alias && !(alias = fac_op_find("alias"))) return fac_py_raise(FAC_NOT_IMPLEMENTED);
    FacStatus st = fac_call(alias, 1, &arg, &result);
    if (st) return fac_py_raise(st);
    t = result.v.t;
    return fac_wrap_as_take(type, t);
}

/* --- the default __torch_function__ ----------------------------------------------------------- */

static PyObject *as_class(PyObject *o, PyTypeObject *type);

/* A list or tuple with its tensors as instances of the class; takes it. */
static PyObject *
items_as_class(PyObject *sequence, PyTypeObject *type)
{
    Py_ssize_t n = PySequence_Fast_GET_SIZE(sequence);
    PyObject *items = PyTuple_New(n), *result = NULL;
    bool changed = false;
    for (Py_ssize_t i = 0; items && i < n; i++) {
        PyObject *item = PySequence_Fast_GET_ITEM(sequence, i);
        PyObject *converted = as_class(Py_NewRef(item), type);
        if (!converted)
            Py_CLEAR(items);
        else
            PyTuple_SET_ITEM(items, i, converted);
        changed |= converted != item;
    }
    if (items && !changed)
        result = Py_NewRef(sequence);
    else if (items)
        result = PyObject_CallOneArg((PyObject *)Py_TYPE(sequence), items);
    Py_XDECREF(items);
    Py_DECREF(sequence);
    return result;
}

static PyObject *
as_class(PyObject *o, PyTypeObject *type)
{
    if (PyTuple_Check(o) || PyList_Check(o)) return items_as_class(o, type);
    if (!fac_is_tensor(o) || PyObject_TypeCheck(o, type)) return o;
    PyObject *converted = as_subclass(o, (PyObject *)type);
    Py_DECREF(o);
    return converted;
}

/* Attributes whose values belong to somebody else: not made instances of the class. */
static int
gives_plain(PyObject *function)
{
    static PyObject *functions;
    if (!functions) {
        functions = Py_BuildValue("(NNN)", accessor("grad", "__get__"),
                                  accessor("_grad", "__get__"), accessor("_base", "__get__"));
        if (!functions) return -1;
    }
    return PySequence_Contains(functions, function);
}

/* Runs the function as it is for plain tensors, and gives the results the class. */
static PyObject *
torch_function(PyObject *class, PyObject *given)
{
    PyObject *function, *types, *args = NULL, *kwargs = Py_None, *empty = NULL;
    if (!PyArg_ParseTuple(given, "OO|O!O:__torch_function__", &function, &types, &PyTuple_Type,
                          &args, &kwargs))
        return NULL;
    PyObject *classes = PySequence_Tuple(types);
    if (!classes) return NULL;
    int within = 1;
    for (Py_ssize_t i = 0; within == 1 && i < PyTuple_GET_SIZE(classes); i++)
        within = PyObject_IsSubclass(class, PyTuple_GET_ITEM(classes, i));
    Py_DECREF(classes);
    if (within < 0) return NULL;
    if (!within) Py_RETURN_NOTIMPLEMENTED;
    if (!args && !(args = empty = PyTuple_New(0))) return NULL;
    bool was = fac_thread.function_off;
    fac_thread.function_off = true;
    PyObject *result = PyObject_Call(function, args, kwargs == Py_None ? NULL : kwargs);
    int keep = result ? gives_plain(function) : -1;
    if (keep == 0)
        result = as_class(result, (PyTypeObject *)class);
    else if (keep < 0)
        Py_CLEAR(result);
    fac_thread.function_off = was;
    Py_XDECREF(empty);
    return result;
}

static PyMethodDef hand_methods[] = {
    {"as_subclass", as_subclass, METH_O,
     "as_subclass($self, cls, /)\n--\n\nThe same tensor as an instance of a subclass."},
    {NULL, NULL, 0, NULL},
};

static PyMethodDef static_methods[] = {
    {"__torch_function__", torch_function, METH_VARARGS | METH_CLASS,
     "__torch_function__(func, types, args=(), kwargs=None)\n--\n\n"
     "Calls func as for plain tensors; its results become instances of the class."},
    {"_make_subclass", (PyCFunction)(void (*)(void))make_subclass,
     METH_VARARGS | METH_KEYWORDS | METH_STATIC,
     "_make_subclass(cls, data, require_grad=False)\n--\n\nAn instance of cls over data's memory."},
    {"_make_wrapper_subclass", (PyCFunction)(void (*)(void))make_wrapper_subclass,
     METH_VARARGS | METH_KEYWORDS | METH_STATIC,
     "_make_wrapper_subclass(cls, size, strides=None, storage_offset=None, memory_format=None, *, "
     "dtype=None, layout=None, device=None, pin_memory=False, requires_grad=False)\n--\n\n"
     "An instance of cls with a shape and no memory; its __torch_dispatch__ gives it meaning."},
    {NULL, NULL, 0, NULL},
};

static PyObject *
set_parameter_type(PyObject *Py_UNUSED(module), PyObject *class)
{
    PyTypeObject *type = subclass_argument(class);
    if (!type) return NULL;
    fac_py.parameter_type = (PyTypeObject *)Py_NewRef((PyObject *)type);
    Py_RETURN_NONE;
}

PyMethodDef fac_wrap_functions[] = {
    {"_set_parameter_type", set_parameter_type, METH_O,
     "_set_parameter_type(cls, /)\n--\n\nThe class that behaves like an exact Tensor: Parameter."},
    {NULL, NULL, 0, NULL},
};

/* --- start ------------------------------------------------------------------------------------ */

static PyObject *
tensor_dict(void)
{
    PyMethodDef *const tables[] = {hand_methods,     fac_tensor_hand_methods, fac_number_methods,
                                   fac_copy_methods, fac_numpy_methods,       fac_autograd_methods,
                                   fac_new_methods};
    static const char *const functions[] = {"numel",        "is_floating_point", "is_complex",
                                            "is_conj",      "is_signed",         "is_neg",
                                            "is_inference", "is_same_size",      NULL};
    PyObject *dict = PyDict_Copy(fac_op_methods());
    PyObject *priority = PyLong_FromLong(1000);
    PyObject *module = PyUnicode_FromString("facula");
    if (fac_ops_add_functions(fac_tensor_hand_methods, functions) < 0) Py_CLEAR(dict);
    for (size_t i = 0; dict && i < sizeof tables / sizeof *tables; i++)
        if (fac_ops_add_methods(dict, tables[i]) < 0) Py_CLEAR(dict);
    if (dict &&
        (!priority || !module || PyDict_SetItemString(dict, "__array_priority__", priority) ||
         PyDict_SetItemString(dict, "__module__", module)))
        Py_CLEAR(dict);
    Py_XDECREF(priority);
    Py_XDECREF(module);
    return dict;
}

int
fac_start_wrap(PyObject *module)
{
    meta_type.tp_base = &PyType_Type;
    base_type.tp_getset = guarded_table();
    base_type.tp_methods = static_methods;
    if (!base_type.tp_getset || PyType_Ready(&meta_type) < 0) return -1;
    if (PyType_Ready(&base_type) < 0) return -1;
    PyObject *dict = tensor_dict();
    if (!dict) return -1;
    fac_py.tensor_type = (PyTypeObject *)PyObject_CallFunction(
        (PyObject *)&meta_type, "s(O)N", "Tensor", (PyObject *)&base_type, dict);
    if (!fac_py.tensor_type) return -1;
    fac_tensor_wrapper_hook = last_count;
    if (PyModule_AddObjectRef(module, "_TensorMeta", (PyObject *)&meta_type) < 0) return -1;
    if (PyModule_AddObjectRef(module, "TensorBase", (PyObject *)&base_type) < 0) return -1;
    return PyModule_AddObjectRef(module, "Tensor", (PyObject *)fac_py.tensor_type);
}
