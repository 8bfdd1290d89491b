/* hooks.c - hooks of gradients that are written in Python.
 *
 * A hook is a Python callable that the graph holds as a foreign object; the three forms of call
 * (of a tensor, of a leaf after accumulation, of a node) take the interpreter lock by themselves,
 * since backward runs without it. Registering returns a handle, which knows its hook and keeps
 * neither tensor nor node alive.
 */
#include "bindings/bindings.h"

/* --- calling ---------------------------------------------------------------------------------- */

/* A tuple of the gradients, None for those that are undefined. */
PyObject *
fac_py_gradients(int n, FacTensor *const *grads)
{
    PyObject *tuple = PyTuple_New(n);
    for (int i = 0; tuple && i < n; i++) {
        PyObject *item = grads[i] ? fac_wrap(grads[i]) : Py_NewRef(Py_None);
        if (!item)
            Py_CLEAR(tuple);
        else
            PyTuple_SET_ITEM(tuple, i, item);
    }
    return tuple;
}

/* A hook may change the values of a gradient, and nothing else. */
static int
check_replacement(const FacTensor *now, const FacTensor *was)
{
    if (!was) {
        PyErr_SetString(PyExc_RuntimeError,
                        "a hook can't replace a None gradient with a non-None value");
    } else if (now->dtype != was->dtype) {
        PyErr_Format(PyExc_RuntimeError, "a hook has changed the type of value (was %s got %s)",
                     fac_dtype_info[was->dtype].name, fac_dtype_info[now->dtype].name);
    } else if (now->ndim != was->ndim ||
               memcmp(now->sizes, was->sizes, (size_t)now->ndim * sizeof *now->sizes)) {
        FacText text = {.len = 0};
        fac_text_dims(&text, was->ndim, was->sizes);
        fac_text_add(&text, " got ");
        fac_text_dims(&text, now->ndim, now->sizes);
        PyErr_Format(PyExc_RuntimeError, "a hook has changed the size of value (was %s)", text.at);
    } else {
        return 0;
    }
    return -1;
}

/* Puts what a hook returned for one gradient in its place. */
static int
replace_gradient(PyObject *returned, bool checked, FacTensor **grad)
{
    if (returned == Py_None) return 0;
    if (!fac_is_tensor(returned)) {
        PyErr_Format(PyExc_TypeError, "a hook returns a Tensor or None, not %s",
                     Py_TYPE(returned)->tp_name);
        return -1;
    }
    FacTensor *now = fac_unwrap(returned);
    if (checked && check_replacement(now, *grad) < 0) return -1;
    if (now != *grad) *grad = fac_tensor_retain(now);
    return 0;
}

static int
replace_gradients(PyObject *returned, bool checked, int n, FacTensor **grads)
{
    if (returned == Py_None) return 0;
    if (fac_is_tensor(returned) && n == 1) return replace_gradient(returned, checked, grads);
    if (!PyTuple_Check(returned) || PyTuple_GET_SIZE(returned) != n) {
        PyErr_Format(PyExc_TypeError, "a node hook returns None or a tuple of %d gradients", n);
        return -1;
    }
    for (int i = 0; i < n; i++)
        if (replace_gradient(PyTuple_GET_ITEM(returned, i), checked, &grads[i]) < 0) return -1;
    return 0;
}

static FacStatus
call_tensor_hook(FacForeign *hook, FacNode *Py_UNUSED(node), int Py_UNUSED(n), FacTensor **grads)
{
    PyGILState_STATE gil = PyGILState_Ensure();
    PyObject *function = Py_NewRef((PyObject *)hook->object), *grad = fac_wrap(grads[0]);
    PyObject *returned = grad ? PyObject_CallOneArg(function, grad) : NULL;
    int st = returned ? replace_gradient(returned, true, grads) : -1;
    Py_XDECREF(returned);
    Py_XDECREF(grad);
    Py_DECREF(function);
    PyGILState_Release(gil);
    return st < 0 ? FAC_FOREIGN : FAC_OK;
}

static FacStatus
call_post_hook(FacForeign *hook, FacNode *Py_UNUSED(node), int Py_UNUSED(n), FacTensor **leaf)
{
    PyGILState_STATE gil = PyGILState_Ensure();
    PyObject *function = Py_NewRef((PyObject *)hook->object), *tensor = fac_wrap(leaf[0]);
    PyObject *returned = tensor ? PyObject_CallOneArg(function, tensor) : NULL;
    if (returned && returned != Py_None) {
        PyErr_SetString(PyExc_RuntimeError, "post accumulate grad hooks should return None");
        Py_CLEAR(returned);
    }
    FacStatus st = returned ? FAC_OK : FAC_FOREIGN;
    Py_XDECREF(returned);
    Py_XDECREF(tensor);
    Py_DECREF(function);
    PyGILState_Release(gil);
    return st;
}

static FacStatus
call_node_hook(FacForeign *hook, int n, FacTensor **grads, bool after)
{
    PyGILState_STATE gil = PyGILState_Ensure();
    PyObject *function = Py_NewRef((PyObject *)hook->object), *outputs = NULL, *returned = NULL;
    PyObject *tuple = fac_py_gradients(n, grads);
    if (tuple && after) {
        int nresults;
        FacTensor *const *results = fac_current_grads(&nresults);
        outputs = fac_py_gradients(nresults, results);
    }
    if (tuple && (outputs || !after))
        returned = PyObject_CallFunctionObjArgs(function, tuple, outputs, NULL);
    int st = returned ? replace_gradients(returned, after, n, grads) : -1;
    Py_XDECREF(returned);
    Py_XDECREF(outputs);
    Py_XDECREF(tuple);
    Py_DECREF(function);
    PyGILState_Release(gil);
    return st < 0 ? FAC_FOREIGN : FAC_OK;
}

static FacStatus
call_node_prehook(FacForeign *hook, FacNode *Py_UNUSED(node), int n, FacTensor **grads)
{
    return call_node_hook(hook, n, grads, false);
}

static FacStatus
call_node_posthook(FacForeign *hook, FacNode *Py_UNUSED(node), int n, FacTensor **grads)
{
    return call_node_hook(hook, n, grads, true);
}

/* --- handles ---------------------------------------------------------------------------------- */

typedef struct HookHandle {
    PyObject_HEAD
    FacHook *hook; /* owned; holds nothing once it is out of its list */
} HookHandle;

static PyTypeObject *handle_type;

static PyObject *
make_handle_take(FacHook *hook)
{
    HookHandle *self = (HookHandle *)handle_type->tp_alloc(handle_type, 0);
    if (self)
        self->hook = hook;
    else
        fac_hook_release(hook);
    return (PyObject *)self;
}

static PyObject *
handle_remove(PyObject *o, PyObject *Py_UNUSED(ignored))
{
    fac_hook_remove(((HookHandle *)o)->hook);
    Py_RETURN_NONE;
}

static PyObject *
handle_enter(PyObject *o, PyObject *Py_UNUSED(ignored))
{
    return Py_NewRef(o);
}

static PyObject *
handle_exit(PyObject *o, PyObject *Py_UNUSED(args))
{
    return handle_remove(o, NULL);
}

static PyObject *
handle_id(PyObject *o, void *Py_UNUSED(closure))
{
    return PyLong_FromLongLong(((HookHandle *)o)->hook->id);
}

static void
handle_dealloc(PyObject *o)
{
    PyTypeObject *type = Py_TYPE(o);
    fac_hook_release(((HookHandle *)o)->hook);
    type->tp_free(o);
    Py_DECREF(type);
}

static PyMethodDef handle_methods[] = {
    {"remove", handle_remove, METH_NOARGS, "remove($self)\n--\n\nTakes the hook away."},
    {"__enter__", handle_enter, METH_NOARGS, NULL},
    {"__exit__", handle_exit, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
static PyGetSetDef handle_getset[] = {
    {"id", handle_id, NULL, "The number of the hook.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyType_Slot handle_slots[] = {
    {Py_tp_dealloc, handle_dealloc},
    {Py_tp_methods, handle_methods},
    {Py_tp_getset, handle_getset},
    {Py_tp_doc, "A hook that was registered; remove() takes it away."},
    {0, NULL},
};
static PyType_Spec handle_spec = {
    .name = "facula._C.HookHandle",
    .basicsize = sizeof(HookHandle),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = handle_slots,
};

/* --- registering ------------------------------------------------------------------------------ */

static FacForeign *
foreign_callable(PyObject *function)
{
    if (PyCallable_Check(function)) return fac_py_foreign_new(function);
    PyErr_Format(PyExc_TypeError, "a hook is a callable, not %s", Py_TYPE(function)->tp_name);
    return NULL;
}

PyObject *
fac_py_hook_tensor(PyObject *tensor, PyObject *function, bool after_accumulation)
{
    FacForeign *f = foreign_callable(function);
    FacHook *hook;
    if (!f) return NULL;
    FacStatus st = after_accumulation
                       ? fac_hook_post_accumulate(fac_unwrap(tensor), f, call_post_hook, &hook)
                       : fac_hook_tensor(fac_unwrap(tensor), f, call_tensor_hook, &hook);
    fac_foreign_release(f);
    return st ? fac_py_raise(st) : make_handle_take(hook);
}

PyObject *
fac_py_hook_node(FacNode *node, PyObject *function, bool before)
{
    FacForeign *f = foreign_callable(function);
    FacHook *hook;
    if (!f) return NULL;
    FacStatus st =
        fac_hook_node(node, before, f, before ? call_node_prehook : call_node_posthook, &hook);
    fac_foreign_release(f);
    return st ? fac_py_raise(st) : make_handle_take(hook);
}

/* {id: callable} of the hooks of a tensor, or None. */
PyObject *
fac_py_tensor_hooks(FacTensor *t, bool after_accumulation)
{
    const FacAutograd *au = fac_autograd(t);
    const FacHook *hook = !au ? NULL : after_accumulation ? au->post_hooks : au->hooks;
    bool of_node = au && au->grad_fn && !after_accumulation;
    if (of_node) hook = au->grad_fn->prehooks;
    PyObject *dict = NULL;
    for (; hook; hook = hook->next) {
        if (of_node && hook->index != (int)au->index) continue;
        PyObject *id = PyLong_FromLongLong(hook->id);
        if (!dict) dict = PyDict_New();
        int st = id && dict ? PyDict_SetItem(dict, id, hook->foreign->object) : -1;
        Py_XDECREF(id);
        if (st < 0) {
            Py_XDECREF(dict);
            return NULL;
        }
    }
    return dict ? dict : Py_NewRef(Py_None);
}

int
fac_start_hooks(PyObject *module)
{
    handle_type = fac_add_type(module, &handle_spec, NULL);
    return handle_type ? 0 : -1;
}
