/* nn.c - the parts of facula.nn that every call goes through.
 *
 * ModuleBase is the base of nn.Module. It keeps nothing but the instance dict, in which nn.Module
 * puts _parameters, _buffers and _modules, and it has in C what costs time otherwise: the call, which
 * goes straight to the type's forward unless there are hooks, and the look-up of attributes, which
 * finds parameters, buffers and submodules without raising and catching an exception.
 *
 * Forward is the forward method of layers that only hand their attributes to an operator:
 *     forward = Forward(linear, ("input",), ("weight", "bias"))
 * calls linear(input, self.weight, self.bias).
 */
#include "bindings/bindings.h"

#include "layers/profile.h"

#include <structmember.h>

typedef struct FacPyModule {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject *dict;
    PyObject *weakrefs;
    char hooked; /* this module has, or had, hooks: calls go by _call_hooked */
} FacPyModule;

enum { MODULES = 2, KINDS = 3, STACK = 16 };

static PyTypeObject *module_type, *forward_type;
static PyObject *s_kinds[KINDS]; /* "_parameters", "_buffers", "_modules" */
static PyObject *s_forward, *s_call_hooked, *s_assign;
static bool global_hooks; /* some hook is for the calls of all modules */

/* --- attributes ----------------------------------------------------------------------------------- */

/* What is registered under the name, borrowed, and in *registry (if not NULL) the dict it is in. NULL
 * without exception when there is none. */
static PyObject *
find_registered(FacPyModule *self, PyObject *name, PyObject **registry)
{
    for (int i = 0; self->dict && i < KINDS; i++) {
        PyObject *dict = PyDict_GetItemWithError(self->dict, s_kinds[i]);
        if (!dict && PyErr_Occurred()) return NULL;
        if (!dict || !PyDict_Check(dict)) continue;
        PyObject *found = PyDict_GetItemWithError(dict, name);
        if (!found && PyErr_Occurred()) return NULL;
        if (!found) continue;
        if (registry) *registry = dict;
        return found;
    }
    return NULL;
}

/* What the type or a base of it has by that name: a new reference, NULL without an exception if
 * there is nothing. CPython's own cache of it, which has no public name, where it is known to be. */
static PyObject *
find_in_type(PyTypeObject *type, PyObject *name)
{
#if PY_VERSION_HEX < 0x030e0000 && !defined(Py_GIL_DISABLED)
    return Py_XNewRef(_PyType_Lookup(type, name));
#else
    PyObject *mro = type->tp_mro, *found = NULL;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(mro) && !found; i++) {
        PyObject *dict = PyType_GetDict((PyTypeObject *)PyTuple_GET_ITEM(mro, i));
        if (dict && PyDict_GetItemRef(dict, name, &found) < 0) PyErr_Clear();
        Py_XDECREF(dict);
    }
    return found;
#endif
}

static PyObject *
module_getattro(PyObject *o, PyObject *name)
{
    FacPyModule *self = (FacPyModule *)o;
    PyTypeObject *type = Py_TYPE(o);
    PyObject *found, *result;
    if (!PyUnicode_Check(name)) return PyObject_GenericGetAttr(o, name);
    PyObject *descr = find_in_type(type, name);
    if (descr) {
        descrgetfunc get = Py_TYPE(descr)->tp_descr_get;
        if (!get || !Py_TYPE(descr)->tp_descr_set) {
            found = self->dict ? PyDict_GetItemWithError(self->dict, name) : NULL;
            if (found || PyErr_Occurred()) {
                Py_DECREF(descr);
                return Py_XNewRef(found);
            }
            if (!get) return descr;
        }
        result = get(descr, o, (PyObject *)type);
        Py_DECREF(descr);
        return result;
    }
    found = self->dict ? PyDict_GetItemWithError(self->dict, name) : NULL;
    if (!found && !PyErr_Occurred()) found = find_registered(self, name, NULL);
    if (!found && !PyErr_Occurred())
        PyErr_Format(PyExc_AttributeError, "'%.100s' object has no attribute '%U'", type->tp_name,
                     name);
    return Py_XNewRef(found);
}

/* Ordinary values are set at once; nn.Module decides about tensors, modules and registered names. */
static int
module_setattro(PyObject *o, PyObject *name, PyObject *value)
{
    PyObject *registry = NULL;
    if (!PyUnicode_Check(name)) return PyObject_GenericSetAttr(o, name, value);
    bool registered = find_registered((FacPyModule *)o, name, &registry) != NULL;
    if (PyErr_Occurred()) return -1;
    if (!value)
        return registered ? PyDict_DelItem(registry, name) : PyObject_GenericSetAttr(o, name, NULL);
    if (registered || fac_is_tensor(value) || PyObject_TypeCheck(value, module_type)) {
        PyObject *done = PyObject_CallMethodObjArgs(o, s_assign, name, value, NULL);
        if (!done) return -1;
        int handled = PyObject_IsTrue(done);
        Py_DECREF(done);
        if (handled) return handled < 0 ? -1 : 0;
    }
    return PyObject_GenericSetAttr(o, name, value);
}

/* --- calls ---------------------------------------------------------------------------------------- */

/* Calls `function` with `self` in front of the arguments. */
static PyObject *
call_with_self(PyObject *function, PyObject *self, PyObject *const *args, size_t nargsf,
               PyObject *kwnames)
{
    Py_ssize_t nargs = PyVectorcall_NARGS(nargsf);
    Py_ssize_t n = nargs + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0);
    if (nargsf & PY_VECTORCALL_ARGUMENTS_OFFSET) {
        PyObject **front = (PyObject **)args - 1, *kept = *front;
        *front = self;
        PyObject *result = PyObject_Vectorcall(function, front, (size_t)nargs + 1, kwnames);
        *front = kept;
        return result;
    }
    PyObject *small[STACK], **stack = small;
    if (n + 1 > STACK && !(stack = PyMem_New(PyObject *, n + 1))) return PyErr_NoMemory();
    stack[0] = self;
    for (Py_ssize_t i = 0; i < n; i++) stack[i + 1] = args[i];
    PyObject *result = PyObject_Vectorcall(function, stack, (size_t)nargs + 1, kwnames);
    if (stack != small) PyMem_Free(stack);
    return result;
}

static PyObject *
call_forward(PyObject *o, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    FacPyModule *self = (FacPyModule *)o;
    PyObject *result, *name = self->hooked || global_hooks ? s_call_hooked : s_forward;
    PyObject *function = self->dict ? PyDict_GetItemWithError(self->dict, name) : NULL;
    if (!function) {
        if (PyErr_Occurred()) return NULL;
        function = find_in_type(Py_TYPE(o), name);
        if (function && PyType_HasFeature(Py_TYPE(function), Py_TPFLAGS_METHOD_DESCRIPTOR)) {
            result = call_with_self(function, o, args, nargsf, kwnames);
            Py_DECREF(function);
            return result;
        }
        Py_XDECREF(function);
    }
    function = PyObject_GetAttr(o, name);
    if (!function) return NULL;
    result = PyObject_Vectorcall(function, args, nargsf, kwnames);
    Py_DECREF(function);
    return result;
}

static PyObject *
module_vectorcall(PyObject *o, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    if (Py_EnterRecursiveCall(" while calling a module")) return NULL;
    FacEventHandle event = 0;
    if (FAC_UNLIKELY(fac_profiling()))
        event = fac_profile_begin(FAC_EVENT_MODULE, Py_TYPE(o)->tp_name, o);
    PyObject *result = call_forward(o, args, nargsf, kwnames);
    if (FAC_UNLIKELY(event != 0)) fac_profile_end(event);
    Py_LeaveRecursiveCall();
    return result;
}

/* Sequential.forward(input): each submodule in turn. */
static PyObject *
sequential_forward(PyObject *o, PyObject *input)
{
    if (!PyObject_TypeCheck(o, module_type)) {
        PyErr_Format(PyExc_TypeError, "forward() takes a module, not %s", Py_TYPE(o)->tp_name);
        return NULL;
    }
    FacPyModule *self = (FacPyModule *)o;
    PyObject *modules = self->dict ? PyDict_GetItemWithError(self->dict, s_kinds[MODULES]) : NULL;
    if (!modules || !PyDict_Check(modules)) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_AttributeError, "forward() before Module.__init__()");
        return NULL;
    }
    PyObject *list = PyDict_Values(modules); /* hooks may change the dict meanwhile */
    if (!list) return NULL;
    PyObject *value = Py_NewRef(input);
    for (Py_ssize_t i = 0; value && i < PyList_GET_SIZE(list); i++) {
        PyObject *args[] = {NULL, value};
        Py_SETREF(value, PyObject_Vectorcall(PyList_GET_ITEM(list, i), args + 1,
                                             1 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL));
    }
    Py_DECREF(list);
    return value;
}

/* --- ModuleBase ----------------------------------------------------------------------------------- */

static PyObject *
module_new(PyTypeObject *type, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs))
{
    FacPyModule *self = (FacPyModule *)type->tp_alloc(type, 0);
    if (self) self->vectorcall = module_vectorcall;
    return (PyObject *)self;
}

static int
module_traverse(PyObject *o, visitproc visit, void *arg)
{
    Py_VISIT(((FacPyModule *)o)->dict);
    Py_VISIT(Py_TYPE(o));
    return 0;
}

static int
module_clear(PyObject *o)
{
    Py_CLEAR(((FacPyModule *)o)->dict);
    return 0;
}

static void
module_dealloc(PyObject *o)
{
    PyTypeObject *type = Py_TYPE(o);
    PyObject_GC_UnTrack(o);
    Py_TRASHCAN_BEGIN(o, module_dealloc) if (((FacPyModule *)o)->weakrefs)
        PyObject_ClearWeakRefs(o);
    module_clear(o);
    type->tp_free(o);
    Py_DECREF(type);
    Py_TRASHCAN_END
}

static PyMemberDef module_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(FacPyModule, vectorcall), READONLY, NULL},
    {"__dictoffset__", T_PYSSIZET, offsetof(FacPyModule, dict), READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(FacPyModule, weakrefs), READONLY, NULL},
    {"_hooked", T_BOOL, offsetof(FacPyModule, hooked), 0, "Whether calls go by _call_hooked."},
    {NULL, 0, 0, 0, NULL},
};
static PyGetSetDef module_getset[] = {
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyType_Slot module_slots[] = {
    {Py_tp_doc, "The base of nn.Module: calls and attributes."},
    {Py_tp_new, module_new},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_getattro, module_getattro},
    {Py_tp_setattro, module_setattro},
    {Py_tp_traverse, module_traverse},
    {Py_tp_clear, module_clear},
    {Py_tp_dealloc, module_dealloc},
    {Py_tp_members, module_members},
    {Py_tp_getset, module_getset},
    {0, NULL},
};
static PyType_Spec module_spec = {
    .name = "facula._C.ModuleBase",
    .basicsize = sizeof(FacPyModule),
    .flags =
        Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL,
    .slots = module_slots,
};

/* --- Forward -------------------------------------------------------------------------------------- */

typedef struct FacForward {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject *function;
    PyObject *inputs, *attributes; /* tuples of names */
} FacForward;

/* Where a keyword argument of forward belongs, or -1 with an exception. */
static Py_ssize_t
input_index(FacForward *self, PyObject *name, PyObject *const *stack)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(self->inputs); i++) {
        int same = PyUnicode_Compare(name, PyTuple_GET_ITEM(self->inputs, i)) == 0;
        if (PyErr_Occurred()) return -1;
        if (!same) continue;
        if (!stack[i]) return i;
        PyErr_Format(PyExc_TypeError, "forward() got multiple values for argument '%U'", name);
        return -1;
    }
    PyErr_Format(PyExc_TypeError, "forward() got an unexpected keyword argument '%U'", name);
    return -1;
}

static int
bind_inputs(FacForward *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
            PyObject **stack)
{
    Py_ssize_t ninputs = PyTuple_GET_SIZE(self->inputs);
    if (nargs > ninputs) {
        PyErr_Format(PyExc_TypeError, "forward() takes %zd arguments but %zd were given", ninputs,
                     nargs);
        return -1;
    }
    for (Py_ssize_t i = 0; i < ninputs; i++) stack[i] = i < nargs ? args[i] : NULL;
    for (Py_ssize_t i = 0; kwnames && i < PyTuple_GET_SIZE(kwnames); i++) {
        Py_ssize_t at = input_index(self, PyTuple_GET_ITEM(kwnames, i), stack);
        if (at < 0) return -1;
        stack[at] = args[nargs + i];
    }
    for (Py_ssize_t i = 0; i < ninputs; i++) {
        if (stack[i]) continue;
        PyErr_Format(PyExc_TypeError, "forward() missing required argument '%U'",
                     PyTuple_GET_ITEM(self->inputs, i));
        return -1;
    }
    return 0;
}

static PyObject *
forward_vectorcall(PyObject *callable, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    FacForward *self = (FacForward *)callable;
    Py_ssize_t nargs = PyVectorcall_NARGS(nargsf), ninputs = PyTuple_GET_SIZE(self->inputs);
    Py_ssize_t nattributes = PyTuple_GET_SIZE(self->attributes), got = 0;
    PyObject *slots[STACK + 1], **stack = slots + 1, *result = NULL;
    if (nargs < 1 || !PyObject_TypeCheck(args[0], module_type)) {
        PyErr_SetString(PyExc_TypeError, "forward() takes a module as its first argument");
        return NULL;
    }
    if (bind_inputs(self, args + 1, nargs - 1, kwnames, stack) < 0) return NULL;
    for (; got < nattributes; got++) {
        PyObject *value = PyObject_GetAttr(args[0], PyTuple_GET_ITEM(self->attributes, got));
        if (!value) goto done;
        stack[ninputs + got] = value;
    }
    result =
        PyObject_Vectorcall(self->function, stack,
                            (size_t)(ninputs + nattributes) | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
done:
    while (got) Py_DECREF(stack[ninputs + --got]);
    return result;
}

static PyObject *
forward_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"function", "inputs", "attributes", NULL};
    PyObject *function, *inputs, *attributes = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO!|O!", names, &function, &PyTuple_Type,
                                     &inputs, &PyTuple_Type, &attributes))
        return NULL;
    Py_ssize_t n = PyTuple_GET_SIZE(inputs), m = attributes ? PyTuple_GET_SIZE(attributes) : 0;
    bool good = n + m <= STACK;
    for (Py_ssize_t i = 0; good && i < n + m; i++)
        good = PyUnicode_Check(i < n ? PyTuple_GET_ITEM(inputs, i)
                                     : PyTuple_GET_ITEM(attributes, i - n));
    if (!good) {
        PyErr_Format(PyExc_TypeError, "inputs and attributes are at most %d names", STACK);
        return NULL;
    }
    FacForward *self = (FacForward *)type->tp_alloc(type, 0);
    if (!self) return NULL;
    self->vectorcall = forward_vectorcall;
    self->function = Py_NewRef(function);
    self->inputs = Py_NewRef(inputs);
    self->attributes = attributes ? Py_NewRef(attributes) : PyTuple_New(0);
    if (!self->attributes) Py_CLEAR(self);
    return (PyObject *)self;
}

static PyObject *
forward_get(PyObject *self, PyObject *module, PyObject *Py_UNUSED(type))
{
    return module && module != Py_None ? PyMethod_New(self, module) : Py_NewRef(self);
}

static int
forward_traverse(PyObject *o, visitproc visit, void *arg)
{
    Py_VISIT(((FacForward *)o)->function);
    Py_VISIT(Py_TYPE(o));
    return 0;
}

static void
forward_dealloc(PyObject *o)
{
    FacForward *self = (FacForward *)o;
    PyTypeObject *type = Py_TYPE(o);
    PyObject_GC_UnTrack(o);
    Py_XDECREF(self->function);
    Py_XDECREF(self->inputs);
    Py_XDECREF(self->attributes);
    type->tp_free(o);
    Py_DECREF(type);
}

static PyObject *
forward_name(PyObject *Py_UNUSED(o), void *Py_UNUSED(closure))
{
    return Py_NewRef(s_forward);
}

static PyObject *
forward_text_signature(PyObject *o, void *Py_UNUSED(closure))
{
    PyObject *comma = PyUnicode_FromString(", ");
    PyObject *inputs = comma ? PyUnicode_Join(comma, ((FacForward *)o)->inputs) : NULL;
    PyObject *text = inputs ? PyUnicode_FromFormat("($self, %U)", inputs) : NULL;
    Py_XDECREF(comma);
    Py_XDECREF(inputs);
    return text;
}

static PyMemberDef forward_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(FacForward, vectorcall), READONLY, NULL},
    {"__wrapped__", T_OBJECT, offsetof(FacForward, function), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};
static PyGetSetDef forward_getset[] = {
    {"__name__", forward_name, NULL, NULL, NULL},
    {"__text_signature__", forward_text_signature, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyType_Slot forward_slots[] = {
    {Py_tp_doc, "Forward(function, inputs, attributes=(), /)\n--\n\n"
                "A forward method: function(*inputs, *attributes of the module)."},
    {Py_tp_new, forward_new},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_descr_get, forward_get},
    {Py_tp_traverse, forward_traverse},
    {Py_tp_dealloc, forward_dealloc},
    {Py_tp_members, forward_members},
    {Py_tp_getset, forward_getset},
    {0, NULL},
};
static PyType_Spec forward_spec = {
    .name = "facula._C.Forward",
    .basicsize = sizeof(FacForward),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL |
             Py_TPFLAGS_METHOD_DESCRIPTOR,
    .slots = forward_slots,
};

/* --- start ---------------------------------------------------------------------------------------- */

static PyObject *
set_global_module_hooks(PyObject *Py_UNUSED(module), PyObject *on)
{
    int yes = PyObject_IsTrue(on);
    if (yes < 0) return NULL;
    global_hooks = yes;
    Py_RETURN_NONE;
}

static PyMethodDef module_functions[] = {
    {"_set_global_module_hooks", set_global_module_hooks, METH_O,
     "_set_global_module_hooks(on, /)\n--\n\nWhether there are hooks for the calls of all "
     "modules."},
    {NULL, NULL, 0, NULL},
};

/* A function of (module, input) that binds as a method. */
static PyMethodDef sequential_forward_def = {
    "forward", sequential_forward, METH_O,
    "forward($self, input, /)\n--\n\nCalls each submodule with what the one before it returned."};

int
fac_start_nn(PyObject *module)
{
    static const struct {
        PyObject **to;
        const char *text;
    } names[] = {
        {&s_kinds[0], "_parameters"},     {&s_kinds[1], "_buffers"},
        {&s_kinds[MODULES], "_modules"},  {&s_forward, "forward"},
        {&s_call_hooked, "_call_hooked"}, {&s_assign, "_assign"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!(*names[i].to = PyUnicode_InternFromString(names[i].text))) return -1;
    module_type = fac_add_type(module, &module_spec, NULL);
    forward_type = fac_add_type(module, &forward_spec, NULL);
    if (!module_type || !forward_type) return -1;
    PyObject *sequential = PyDescr_NewMethod(module_type, &sequential_forward_def);
    if (!sequential) return -1;
    int st = PyModule_AddObjectRef(module, "_sequential_forward", sequential);
    Py_DECREF(sequential);
    return st < 0 ? -1 : PyModule_AddFunctions(module, module_functions);
}
