/* override.c - how Python classes and modes take part in calls.
 *
 * __torch_function__ is asked before a frame exists: op callables test their arguments
 * (fac_override_wanted) and hand the Python-level call over. __torch_dispatch__ is a layer below autograd
 * (FAC_KEY_PYTHON): wrapper subclasses carry the key bit, modes include it for the thread. Both kinds of
 * modes are stacks of the thread; while a mode's handler runs, the stack ends below that mode.
 */
#include "bindings/bindings.h"

static PyObject *disabled_impl; /* the function that classes use to opt out */

/* --- stacks of modes ------------------------------------------------------------------------------------ */

static _Thread_local PyObject *mode_stacks[2]; /* lists: function modes, dispatch modes */
enum { FUNCTION_MODES, DISPATCH_MODES };

void
fac_py_modes(PyObject **modes, bool set)
{
    for (int i = 0; i < 2; i++)
        if (set)
            mode_stacks[i] = modes[i];
        else
            modes[i] = mode_stacks[i];
}

static int *
depth_of(int kind)
{
    return kind == FUNCTION_MODES ? &fac_thread.function_modes : &fac_thread.dispatch_modes;
}

static void
set_depth(int kind, int depth)
{
    *depth_of(kind) = depth;
    if (kind != DISPATCH_MODES) return;
    if (depth)
        fac_thread.include |= FAC_KEY(PYTHON);
    else
        fac_thread.include &= ~FAC_KEY(PYTHON);
}

static PyObject *
push_mode(int kind, PyObject *mode)
{
    if (!mode_stacks[kind] && !(mode_stacks[kind] = PyList_New(0))) return NULL;
    /* above a running handler's mode the stack is cut off: a mode pushed there goes on top of it */
    if (PyList_Insert(mode_stacks[kind], *depth_of(kind), mode) < 0) return NULL;
    set_depth(kind, *depth_of(kind) + 1);
    Py_RETURN_NONE;
}

static PyObject *
pop_mode(int kind)
{
    int depth = *depth_of(kind);
    if (!depth) return PyErr_Format(PyExc_RuntimeError, "there is no mode to leave");
    PyObject *mode = Py_NewRef(PyList_GET_ITEM(mode_stacks[kind], depth - 1));
    set_depth(kind, depth - 1);
    if (PyList_SetSlice(mode_stacks[kind], depth - 1, depth, NULL) < 0) Py_CLEAR(mode);
    return mode;
}

/* The modes that are active now, outermost first. */
static PyObject *
active_modes(int kind)
{
    int depth = *depth_of(kind);
    return depth ? PyList_GetSlice(mode_stacks[kind], 0, depth) : PyList_New(0);
}

/* --- who asks --------------------------------------------------------------------------------------------- */

static bool
is_indifferent(PyTypeObject *type)
{
    return type == fac_py.tensor_type || type == fac_py.parameter_type || type == &PyLong_Type ||
           type == &PyFloat_Type || type == &PyBool_Type || type == &PyUnicode_Type ||
           type == &PyComplex_Type || type == Py_TYPE(Py_None) || type == &PySlice_Type ||
           type == Py_TYPE(Py_Ellipsis) || type == fac_py.dtype_type ||
           type == fac_py.device_type || type == fac_py.size_type || type == fac_py.layout_type ||
           type == fac_py.format_type || type == fac_py.generator_type ||
           type == fac_py.storage_type;
}

/* The __torch_function__ of a class (new reference), or NULL without an exception. */
static PyObject *
handler_of(PyTypeObject *type, PyObject *name)
{
    PyObject *handler = PyObject_GetAttr((PyObject *)type, name);
    if (!handler) PyErr_Clear();
    return handler;
}

int
fac_override_asks(PyObject *o)
{
    PyTypeObject *type = Py_TYPE(o);
    if (is_indifferent(type) || type == &PyList_Type || type == &PyTuple_Type ||
        type == &PyDict_Type || PyType_Check(o))
        return 0;
    PyObject *handler = handler_of(type, fac_py.s_torch_function);
    bool asks = handler && handler != disabled_impl;
    Py_XDECREF(handler);
    return asks;
}

/* Calls visit(o) for the arguments and the items of lists and tuples among them, as the peer looks for
 * tensors; stops at the first that is not 0. */
static int
each_argument(PyObject *const *args, Py_ssize_t n, int (*visit)(PyObject *, void *), void *context)
{
    for (Py_ssize_t i = 0; i < n; i++) {
        int st = visit(args[i], context);
        if (st) return st;
        if (!PyList_CheckExact(args[i]) && !PyTuple_CheckExact(args[i])) continue;
        for (Py_ssize_t k = 0; k < PySequence_Fast_GET_SIZE(args[i]); k++) {
            st = visit(PySequence_Fast_GET_ITEM(args[i], k), context);
            if (st) return st;
        }
    }
    return 0;
}

static int
asks(PyObject *o, void *Py_UNUSED(context))
{
    return fac_override_asks(o);
}

int
fac_override_wanted(PyObject *const *args, Py_ssize_t n)
{
    if (fac_thread.function_modes > 0) return 1;
    if (fac_thread.function_off) return 0;
    return each_argument(args, n, asks, NULL);
}

/* Appends o to the list in front of the first entry that its class is a subclass of; one a class. */
static int
collect(PyObject *o, void *list)
{
    if (!fac_override_asks(o)) return 0;
    Py_ssize_t n = PyList_GET_SIZE(list), at = n;
    for (Py_ssize_t i = 0; i < n; i++) {
        PyTypeObject *other = Py_TYPE(PyList_GET_ITEM(list, i));
        if (other == Py_TYPE(o)) return 0;
        if (at == n && PyType_IsSubtype(Py_TYPE(o), other)) at = i;
    }
    return PyList_Insert(list, at, o);
}

/* --- __torch_function__ -------------------------------------------------------------------------------------- */

static PyObject *
keyword_dict(PyObject *const *values, PyObject *kwnames)
{
    PyObject *kwargs = PyDict_New();
    for (Py_ssize_t i = 0; kwargs && kwnames && i < PyTuple_GET_SIZE(kwnames); i++)
        if (PyDict_SetItem(kwargs, PyTuple_GET_ITEM(kwnames, i), values[i]) < 0) Py_CLEAR(kwargs);
    return kwargs;
}

static PyObject *
tuple_of(PyObject *const *items, Py_ssize_t n)
{
    PyObject *tuple = PyTuple_New(n);
    for (Py_ssize_t i = 0; tuple && i < n; i++) PyTuple_SET_ITEM(tuple, i, Py_NewRef(items[i]));
    return tuple;
}

static PyObject *
types_of(PyObject *objects)
{
    Py_ssize_t n = PyList_GET_SIZE(objects);
    PyObject *types = PyTuple_New(n);
    for (Py_ssize_t i = 0; types && i < n; i++)
        PyTuple_SET_ITEM(types, i, Py_NewRef((PyObject *)Py_TYPE(PyList_GET_ITEM(objects, i))));
    return types;
}

/* handler.name(function, types, args, kwargs), with the top mode left while it runs if it is one. */
static PyObject *
call_mode(int kind, PyObject *name, PyObject *function, PyObject *types, PyObject *args,
          PyObject *kwargs)
{
    int depth = *depth_of(kind);
    PyObject *mode = Py_NewRef(PyList_GET_ITEM(mode_stacks[kind], depth - 1));
    set_depth(kind, depth - 1);
    PyObject *result = PyObject_CallMethodObjArgs(mode, name, function, types, args, kwargs, NULL);
    set_depth(kind, depth);
    Py_DECREF(mode);
    return result;
}

static PyObject *
no_handler(PyObject *name, PyObject *function, PyObject *types)
{
    return PyErr_Format(
        PyExc_TypeError,
        "no implementation found for %R: %U of every type that has one returned NotImplemented: %R",
        function, name, types);
}

PyObject *
fac_override_call(PyObject *function, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    Py_ssize_t n = nargs + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0);
    PyObject *result = NULL, *found = PyList_New(0), *types = NULL, *tuple = NULL, *kwargs = NULL;
    if (!found || (!fac_thread.function_off && each_argument(args, n, collect, found) < 0))
        goto done;
    types = types_of(found);
    tuple = tuple_of(args, nargs);
    kwargs = keyword_dict(args + nargs, kwnames);
    if (!types || !tuple || !kwargs) goto done;
    if (fac_thread.function_modes > 0) {
        result = call_mode(FUNCTION_MODES, fac_py.s_torch_function, function, types, tuple, kwargs);
        if (result != Py_NotImplemented) goto done;
    }
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(found); i++) {
        Py_CLEAR(result);
        PyObject *handler = PyObject_GetAttr((PyObject *)Py_TYPE(PyList_GET_ITEM(found, i)),
                                             fac_py.s_torch_function);
        if (!handler) goto done;
        result = PyObject_CallFunctionObjArgs(handler, function, types, tuple, kwargs, NULL);
        Py_DECREF(handler);
        if (result != Py_NotImplemented) goto done;
    }
    Py_CLEAR(result);
    no_handler(fac_py.s_torch_function, function, types);
done:
    Py_XDECREF(found);
    Py_XDECREF(types);
    Py_XDECREF(tuple);
    Py_XDECREF(kwargs);
    return result;
}

/* --- __torch_dispatch__ ---------------------------------------------------------------------------------------- */

bool
fac_has_torch_dispatch(PyTypeObject *type)
{
    if (type == fac_py.tensor_type || type == fac_py.parameter_type) return false;
    PyObject *handler = handler_of(type, fac_py.s_torch_dispatch);
    bool has = handler && handler != disabled_impl && handler != Py_None;
    Py_XDECREF(handler);
    return has;
}

/* The wrappers among the arguments whose class has a handler: one a class, subclasses first. */
static int
collect_wrappers(const FacCall *call, PyObject *list)
{
    for (int i = 0; i < call->op->nparams; i++) {
        FacValue arg = call->args[i];
        FacTensor *const *tensors = arg.tag == FAC_V_TENSORS ? arg.v.tensors : &arg.v.t;
        uint32_t n = arg.tag == FAC_V_TENSORS ? arg.len : arg.tag == FAC_V_TENSOR;
        for (uint32_t k = 0; k < n; k++) {
            if (!tensors[k] || !(tensors[k]->keys & FAC_KEY(PYTHON))) continue;
            PyObject *o = fac_wrap(tensors[k]);
            if (!o) return -1;
            Py_ssize_t count = PyList_GET_SIZE(list), at = count;
            bool known = false;
            for (Py_ssize_t j = 0; j < count; j++) {
                PyTypeObject *other = Py_TYPE(PyList_GET_ITEM(list, j));
                known |= other == Py_TYPE(o);
                if (at == count && PyType_IsSubtype(Py_TYPE(o), other)) at = j;
            }
            int st = known ? 0 : PyList_Insert(list, at, o);
            Py_DECREF(o);
            if (st < 0) return -1;
        }
    }
    return 0;
}

/* The call's arguments as Python passes them: trailing defaults are left out, as the peer does. */
static int
python_arguments(const FacCall *call, PyObject **args, PyObject **kwargs)
{
    const FacOp *op = call->op;
    int last = op->npositional;
    while (last > 0 && fac_py_is_default(op, last - 1, call->args[last - 1])) last--;
    *kwargs = NULL;
    if (!(*args = PyTuple_New(last)) || !(*kwargs = PyDict_New())) goto fail;
    for (int i = 0; i < last; i++) {
        PyObject *o = fac_value_to_python(call->args[i]);
        if (!o) goto fail;
        PyTuple_SET_ITEM(*args, i, o);
    }
    for (int i = op->npositional; i < op->nparams; i++) {
        if (fac_py_is_default(op, i, call->args[i])) continue;
        PyObject *o = fac_value_to_python(call->args[i]);
        int st = o ? PyDict_SetItemString(*kwargs, op->params[i].name, o) : -1;
        Py_XDECREF(o);
        if (st < 0) goto fail;
    }
    if (call->flags & FAC_CALL_OUT) {
        PyObject *out = op->nresults == 1 ? fac_wrap(call->targets[0]) : PyTuple_New(op->nresults);
        for (int i = 0; out && op->nresults > 1 && i < op->nresults; i++)
            PyTuple_SET_ITEM(out, i, fac_wrap(call->targets[i]));
        int st = out ? PyDict_SetItemString(*kwargs, "out", out) : -1;
        Py_XDECREF(out);
        if (st < 0) goto fail;
    }
    return 0;
fail:
    Py_CLEAR(*args);
    Py_CLEAR(*kwargs);
    return -1;
}

static PyObject *
dispatch_to_python(FacCall *call, PyObject *function, PyObject *found, PyObject *types)
{
    PyObject *args = NULL, *kwargs = NULL, *result = NULL;
    if (python_arguments(call, &args, &kwargs) < 0) return NULL;
    if (fac_thread.dispatch_modes > 0) {
        result = call_mode(DISPATCH_MODES, fac_py.s_torch_dispatch, function, types, args, kwargs);
        if (result != Py_NotImplemented) goto done;
    }
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(found); i++) {
        Py_CLEAR(result);
        PyObject *handler = PyObject_GetAttr((PyObject *)Py_TYPE(PyList_GET_ITEM(found, i)),
                                             fac_py.s_torch_dispatch);
        if (!handler) goto done;
        result = PyObject_CallFunctionObjArgs(handler, function, types, args, kwargs, NULL);
        Py_DECREF(handler);
        if (result != Py_NotImplemented) goto done;
    }
    Py_CLEAR(result);
    no_handler(fac_py.s_torch_dispatch, function, types);
done:
    Py_DECREF(args);
    Py_DECREF(kwargs);
    return result;
}

/* The layer. Below it nothing is recorded: autograd has seen the call already. */
static FacStatus
layer_python(FacCall *call)
{
    PyGILState_STATE gil = PyGILState_Ensure();
    FacStatus st = FAC_FOREIGN;
    uint32_t exclude = fac_thread.exclude;
    PyObject *found = PyList_New(0), *types = NULL, *result = NULL, *function;
    call->keys &= ~FAC_KEY(PYTHON);
    if (!found || collect_wrappers(call, found) < 0) goto done;
    if (!PyList_GET_SIZE(found) && !fac_thread.dispatch_modes) {
        Py_CLEAR(found);
        PyGILState_Release(gil);
        return fac_dispatch_next(call);
    }
    types = types_of(found);
    function = types ? fac_py_overload(call->op, call->flags) : NULL; /* borrowed */
    if (!function) goto done;
    fac_thread.exclude |= FAC_KEY(GRAD);
    result = dispatch_to_python(call, function, found, types);
    fac_thread.exclude = exclude;
    if (result) st = fac_py_take_results(call, result);
done:
    Py_XDECREF(found);
    Py_XDECREF(types);
    Py_XDECREF(result);
    PyGILState_Release(gil);
    return st;
}

/* --- module functions ----------------------------------------------------------------------------------------------- */

static PyObject *
push_function_mode(PyObject *Py_UNUSED(module), PyObject *mode)
{
    return push_mode(FUNCTION_MODES, mode);
}

static PyObject *
pop_function_mode(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return pop_mode(FUNCTION_MODES);
}

static PyObject *
push_dispatch_mode(PyObject *Py_UNUSED(module), PyObject *mode)
{
    return push_mode(DISPATCH_MODES, mode);
}

static PyObject *
pop_dispatch_mode(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return pop_mode(DISPATCH_MODES);
}

static PyObject *
function_modes(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return active_modes(FUNCTION_MODES);
}

static PyObject *
dispatch_modes(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return active_modes(DISPATCH_MODES);
}

static PyObject *
set_function_off(PyObject *Py_UNUSED(module), PyObject *on)
{
    int off = PyObject_IsTrue(on);
    if (off < 0) return NULL;
    bool was = fac_thread.function_off;
    fac_thread.function_off = off;
    return PyBool_FromLong(was);
}

static PyObject *
has_torch_function(PyObject *Py_UNUSED(module), PyObject *sequence)
{
    PyObject *items = PySequence_Tuple(sequence);
    if (!items) return NULL;
    int wanted = fac_override_wanted(&PyTuple_GET_ITEM(items, 0), PyTuple_GET_SIZE(items));
    Py_DECREF(items);
    return wanted < 0 ? NULL : PyBool_FromLong(wanted);
}

/* _override(function, relevant_args, args, kwargs): the protocol for functions written in Python. */
static PyObject *
override_python(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *function, *relevant, *args, *kwargs;
    if (!PyArg_ParseTuple(arguments, "OOO!O!", &function, &relevant, &PyTuple_Type, &args,
                          &PyDict_Type, &kwargs))
        return NULL;
    PyObject *names = PySequence_Tuple(kwargs), *result = NULL;
    Py_ssize_t n = PyTuple_GET_SIZE(args), k = PyDict_GET_SIZE(kwargs);
    PyObject **flat = names ? PyMem_New(PyObject *, (size_t)(n + k + 1)) : NULL;
    if (!flat) {
        Py_XDECREF(names);
        return names ? PyErr_NoMemory() : NULL;
    }
    for (Py_ssize_t i = 0; i < n; i++) flat[i] = PyTuple_GET_ITEM(args, i);
    for (Py_ssize_t i = 0; i < k; i++)
        flat[n + i] = PyDict_GetItem(kwargs, PyTuple_GET_ITEM(names, i));
    result = fac_override_call(function, flat, n, names);
    PyMem_Free(flat);
    Py_DECREF(names);
    return result;
}

/* Runs function(*args, **kwargs) with subclasses' __torch_function__ off. */
static PyObject *
run_disabled(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *function, *types, *args = NULL, *kwargs = NULL;
    if (!PyArg_UnpackTuple(arguments, "_disabled_torch_function_impl", 2, 4, &function, &types,
                           &args, &kwargs))
        return NULL;
    PyObject *empty = args ? NULL : PyTuple_New(0);
    if (!args && !empty) return NULL;
    bool was = fac_thread.function_off;
    fac_thread.function_off = true;
    PyObject *result =
        PyObject_Call(function, args ? args : empty, kwargs == Py_None ? NULL : kwargs);
    fac_thread.function_off = was;
    Py_XDECREF(empty);
    return result;
}

PyMethodDef fac_override_functions[] = {
    {"_push_function_mode", push_function_mode, METH_O,
     "_push_function_mode(mode, /)\n--\n\nEnters a mode."},
    {"_pop_function_mode", pop_function_mode, METH_NOARGS,
     "_pop_function_mode()\n--\n\nLeaves the top mode."},
    {"_push_dispatch_mode", push_dispatch_mode, METH_O,
     "_push_dispatch_mode(mode, /)\n--\n\nEnters a mode."},
    {"_pop_dispatch_mode", pop_dispatch_mode, METH_NOARGS,
     "_pop_dispatch_mode()\n--\n\nLeaves the top mode."},
    {"_function_modes", function_modes, METH_NOARGS,
     "_function_modes()\n--\n\nThe active modes, outermost first."},
    {"_dispatch_modes", dispatch_modes, METH_NOARGS,
     "_dispatch_modes()\n--\n\nThe active modes, outermost first."},
    {"_set_torch_function_off", set_function_off, METH_O,
     "_set_torch_function_off(off, /)\n--\n\nTurns __torch_function__ of subclasses off or on; "
     "returns what it was."},
    {"_has_torch_function", has_torch_function, METH_O,
     "_has_torch_function(arguments, /)\n--\n\nWhether a mode or one of the arguments overrides "
     "calls."},
    {"_override", override_python, METH_VARARGS,
     "_override(function, relevant, args, kwargs, /)\n--\n\nHands a call of a Python function to "
     "its overrides."},
    {NULL, NULL, 0, NULL},
};
/* One object, known by its identity, so it is not among the module's functions. */
static PyMethodDef disabled_method = {"_disabled_torch_function_impl", run_disabled, METH_VARARGS,
                                      "_disabled_torch_function_impl(function, types, args=(), "
                                      "kwargs=None)\n--\n\nThe __torch_function__ of "
                                      "classes that override nothing."};

int
fac_start_override(PyObject *module)
{
    disabled_impl = PyCFunction_New(&disabled_method, NULL);
    if (!disabled_impl) return -1;
    fac_layers[FAC_KEY_INDEX_PYTHON] = layer_python;
    return PyModule_AddObjectRef(module, "_disabled_torch_function_impl", disabled_impl);
}
