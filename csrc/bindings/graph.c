/* graph.c - nodes of the recorded graph as Python objects, and hooks.
 *
 * A node's object has a class named after it (MulBackward0), made when first needed. It holds the
 * node; the node knows its object weakly. Attributes _saved_self and the like are what the node
 * keeps for backward; those of autograd.Function are looked up in its ctx as well.
 *
 * A hook is a Python callable that the graph holds as a foreign object; the three forms of call
 * (of a tensor, of a leaf after accumulation, of a node) take the interpreter lock by themselves,
 * since backward runs without it. register_hook returns a handle, which knows its tensor weakly.
 */
#include "bindings/bindings.h"

#include "layers/record.h"

#include <string.h>
#include <structmember.h>

typedef struct FacPyNode {
    PyObject_HEAD
    FacNode *node;
    PyObject *dict, *weakrefs;
} FacPyNode;

static PyObject *node_classes; /* {name: class} */

static FacNode *
node_of(PyObject *o)
{
    return ((FacPyNode *)o)->node;
}

/* --- hooks ------------------------------------------------------------------------------------ */

/* A tuple of the gradients, None for those that are undefined. */
static PyObject *
gradients_tuple(int n, FacTensor *const *grads)
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

/* Puts what a hook returned for one gradient in its place. */
static int
replace_gradient(PyObject *returned, FacTensor **grad)
{
    if (returned == Py_None) return 0;
    if (!fac_is_tensor(returned)) {
        PyErr_Format(PyExc_TypeError, "a hook returns a Tensor or None, not %s",
                     Py_TYPE(returned)->tp_name);
        return -1;
    }
    if (fac_unwrap(returned) != *grad) *grad = fac_tensor_retain(fac_unwrap(returned));
    return 0;
}

static int
replace_gradients(PyObject *returned, int n, FacTensor **grads)
{
    if (returned == Py_None) return 0;
    if (fac_is_tensor(returned) && n == 1) return replace_gradient(returned, grads);
    if (!PyTuple_Check(returned) || PyTuple_GET_SIZE(returned) != n) {
        PyErr_Format(PyExc_TypeError, "a node hook returns None or a tuple of %d gradients", n);
        return -1;
    }
    for (int i = 0; i < n; i++)
        if (replace_gradient(PyTuple_GET_ITEM(returned, i), &grads[i]) < 0) return -1;
    return 0;
}

static FacStatus
call_tensor_hook(FacForeign *hook, FacNode *Py_UNUSED(node), int Py_UNUSED(n), FacTensor **grads)
{
    PyGILState_STATE gil = PyGILState_Ensure();
    PyObject *function = Py_NewRef((PyObject *)hook->object), *grad = fac_wrap(grads[0]);
    PyObject *returned = grad ? PyObject_CallOneArg(function, grad) : NULL;
    int st = returned ? replace_gradient(returned, grads) : -1;
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
    PyObject *tuple = gradients_tuple(n, grads);
    if (tuple && after) {
        int nresults;
        FacTensor *const *results = fac_current_grads(&nresults);
        outputs = gradients_tuple(nresults, results);
    }
    if (tuple && (outputs || !after))
        returned = PyObject_CallFunctionObjArgs(function, tuple, outputs, NULL);
    int st = returned ? replace_gradients(returned, n, grads) : -1;
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
    PyObject *tensor; /* weak reference, or NULL */
    FacNode *node;    /* or NULL */
    int64_t id;
} HookHandle;

static PyTypeObject *handle_type;

static PyObject *
make_handle(PyObject *tensor, FacNode *node, int64_t id)
{
    HookHandle *self = (HookHandle *)handle_type->tp_alloc(handle_type, 0);
    if (!self) return NULL;
    self->id = id;
    if (node) {
        fac_node_retain(node);
        self->node = node;
    } else if (!(self->tensor = PyWeakref_NewRef(tensor, NULL))) {
        Py_CLEAR(self);
    }
    return (PyObject *)self;
}

static PyObject *
handle_remove(PyObject *o, PyObject *Py_UNUSED(ignored))
{
    HookHandle *self = (HookHandle *)o;
    if (self->node) fac_hook_remove_node(self->node, self->id);
    if (self->tensor) {
        PyObject *tensor = PyObject_CallNoArgs(self->tensor); /* None when it is gone */
        if (!tensor) return NULL;
        if (fac_is_tensor(tensor)) fac_hook_remove_tensor(fac_unwrap(tensor), self->id);
        Py_DECREF(tensor);
    }
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
    return PyLong_FromLongLong(((HookHandle *)o)->id);
}

static void
handle_dealloc(PyObject *o)
{
    HookHandle *self = (HookHandle *)o;
    PyTypeObject *type = Py_TYPE(o);
    Py_XDECREF(self->tensor);
    fac_node_release(self->node);
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
    int64_t id;
    if (!f) return NULL;
    FacStatus st = after_accumulation
                       ? fac_hook_post_accumulate(fac_unwrap(tensor), f, call_post_hook, &id)
                       : fac_hook_tensor(fac_unwrap(tensor), f, call_tensor_hook, &id);
    fac_foreign_release(f);
    return st ? fac_py_raise(st) : make_handle(tensor, NULL, id);
}

static PyObject *
hook_node(PyObject *o, PyObject *function, bool before)
{
    FacForeign *f = foreign_callable(function);
    int64_t id;
    if (!f) return NULL;
    FacStatus st =
        fac_hook_node(node_of(o), before, f, before ? call_node_prehook : call_node_posthook, &id);
    fac_foreign_release(f);
    return st ? fac_py_raise(st) : make_handle(NULL, node_of(o), id);
}

/* --- hooks and the collector ------------------------------------------------------------------ */

static int
visit_hooks(const FacHook *hook, visitproc visit, void *arg)
{
    for (; hook; hook = hook->next)
        if (hook->foreign && atomic_load(&hook->foreign->refs) == 1)
            Py_VISIT(hook->foreign->object);
    return 0;
}

/* The node of t when t is all that holds it. */
static FacNode *
own_node(const FacAutograd *au)
{
    FacNode *node = au->grad_fn;
    return node && atomic_load(&node->refs) == 1 ? node : NULL;
}

int
fac_autograd_visit(FacTensor *t, visitproc visit, void *arg)
{
    const FacAutograd *au = fac_autograd(t);
    if (!au) return 0;
    int st = visit_hooks(au->hooks, visit, arg);
    if (!st) st = visit_hooks(au->post_hooks, visit, arg);
    const FacNode *node = own_node(au);
    if (!st && node) st = visit_hooks(node->prehooks, visit, arg);
    if (!st && node) st = visit_hooks(node->hooks, visit, arg);
    return st;
}

void
fac_autograd_clear(FacTensor *t)
{
    FacAutograd *au = fac_autograd(t);
    if (!au) return;
    while (au->hooks) fac_hook_remove_tensor(t, au->hooks->id);
    while (au->post_hooks) fac_hook_remove_tensor(t, au->post_hooks->id);
    FacNode *node = own_node(au);
    if (!node) return;
    fac_node_retain(node); /* a hook's end may take the node away */
    while (node->prehooks) fac_hook_remove_node(node, node->prehooks->id);
    while (node->hooks) fac_hook_remove_node(node, node->hooks->id);
    fac_node_release(node);
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

/* --- nodes ------------------------------------------------------------------------------------ */

static PyObject *
node_name_text(FacNode *node)
{
    char text[128];
    PyObject *ctx = fac_function_ctx(node);
    PyObject *cls = ctx ? PyObject_GetAttrString(ctx, "_function") : NULL;
    if (cls && PyType_Check(cls)) {
        PyObject *name = PyUnicode_FromFormat("%sBackward", ((PyTypeObject *)cls)->tp_name);
        Py_DECREF(cls);
        return name;
    }
    Py_XDECREF(cls);
    PyErr_Clear();
    return PyUnicode_FromString(fac_node_name(node, text));
}

/* The class of that name, a subclass of Node without anything of its own (borrowed). */
static PyTypeObject *
class_of_name(PyObject *name)
{
    PyObject *found = PyDict_GetItemWithError(node_classes, name);
    if (found || PyErr_Occurred()) return (PyTypeObject *)found;
    PyObject *class =
        PyObject_CallFunction((PyObject *)&PyType_Type, "O(O){s:(),s:s}", name, fac_py.node_type,
                              "__slots__", "__module__", "facula._C");
    int st = class ? PyDict_SetItem(node_classes, name, class) : -1;
    Py_XDECREF(class);
    return st < 0 ? NULL : (PyTypeObject *)class;
}

PyObject *
fac_py_node(FacNode *node)
{
    if (!node) Py_RETURN_NONE;
    PyObject *o = atomic_load(&node->wrapper);
    if (o) return Py_NewRef(o);
    PyObject *name = node_name_text(node);
    PyTypeObject *type = name ? class_of_name(name) : NULL;
    Py_XDECREF(name);
    FacPyNode *self = type ? (FacPyNode *)type->tp_alloc(type, 0) : NULL;
    if (!self) return NULL;
    fac_node_retain(node);
    self->node = node;
    atomic_store(&node->wrapper, self);
    return (PyObject *)self;
}

FacNode *
fac_node_from_python(PyObject *o)
{
    return PyObject_TypeCheck(o, fac_py.node_type) ? node_of(o) : NULL;
}

static void
node_dealloc(PyObject *o)
{
    FacPyNode *self = (FacPyNode *)o;
    PyTypeObject *type = Py_TYPE(o);
    PyObject_GC_UnTrack(o);
    atomic_store(&self->node->wrapper, NULL);
    if (self->weakrefs) PyObject_ClearWeakRefs(o);
    Py_CLEAR(self->dict);
    fac_node_release(self->node);
    type->tp_free(o);
    Py_DECREF(type);
}

static int
node_traverse(PyObject *o, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(o));
    Py_VISIT(((FacPyNode *)o)->dict);
    return 0;
}

static int
node_clear(PyObject *o)
{
    Py_CLEAR(((FacPyNode *)o)->dict);
    return 0;
}

static PyObject *
node_repr(PyObject *o)
{
    PyObject *name = node_name_text(node_of(o));
    PyObject *text = name ? PyUnicode_FromFormat("<%U object at %p>", name, o) : NULL;
    Py_XDECREF(name);
    return text;
}

static PyObject *
node_name(PyObject *o, PyObject *Py_UNUSED(ignored))
{
    return node_name_text(node_of(o));
}

static PyObject *
node_next_functions(PyObject *o, void *Py_UNUSED(closure))
{
    const FacNode *node = node_of(o);
    PyObject *tuple = PyTuple_New(node->nedges);
    for (uint32_t i = 0; tuple && i < node->nedges; i++) {
        PyObject *next = fac_py_node(node->edges[i].node);
        PyObject *pair = next ? Py_BuildValue("NI", next, node->edges[i].index) : NULL;
        if (!pair)
            Py_CLEAR(tuple);
        else
            PyTuple_SET_ITEM(tuple, i, pair);
    }
    return tuple;
}

static PyObject *
node_metadata(PyObject *o, void *Py_UNUSED(closure))
{
    FacPyNode *self = (FacPyNode *)o;
    if (!self->dict && !(self->dict = PyDict_New())) return NULL;
    return Py_NewRef(self->dict);
}

/* The leaf that an accumulator adds to. */
static PyObject *
node_variable(PyObject *o, void *Py_UNUSED(closure))
{
    FacNode *node = node_of(o);
    if (node->kind == &fac_accumulate_kind) return fac_wrap(node->foreign);
    return PyErr_Format(PyExc_AttributeError, "'%s' object has no attribute 'variable'",
                        Py_TYPE(o)->tp_name);
}

static PyObject *
node_sequence(PyObject *o, PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromUnsignedLongLong(node_of(o)->sequence);
}

static PyObject *
node_register_hook(PyObject *o, PyObject *function)
{
    return hook_node(o, function, false);
}

static PyObject *
node_register_prehook(PyObject *o, PyObject *function)
{
    return hook_node(o, function, true);
}

/* The value that the node keeps under that name; NULL without an exception when it keeps none. */
static PyObject *
saved_value(FacNode *node, const char *name)
{
    FacValue values[FAC_MAX_SAVED];
    const FacGradRow *row;
    int at = -1;
    if (!node->op || fac_grad_row(node->op, &row) != FAC_OK || !row) return NULL;
    for (int i = 0; i < row->nsaved && at < 0; i++)
        if (strcmp(row->saved[i].name, name) == 0 && row->saved[i].kind != FAC_SAVE_META &&
            row->saved[i].kind != FAC_SAVE_RESULT_META)
            at = i;
    if (at < 0) return NULL;
    if (fac_node_released(node))
        return PyErr_Format(PyExc_RuntimeError,
                            "Trying to access the saved values of a node after they were freed by "
                            "backward; call backward with retain_graph=True to keep them.");
    FacStatus st = fac_unpack_saved(node, row, values);
    if (st) return fac_py_raise(st);
    PyObject *value = fac_value_to_python(values[at]);
    fac_values_release(values, row->nsaved);
    return value;
}

static PyObject *
node_getattro(PyObject *o, PyObject *name)
{
    const char *text = PyUnicode_AsUTF8(name);
    if (!text) return NULL;
    if (strncmp(text, "_saved_", 7) == 0) {
        PyObject *value = saved_value(node_of(o), text + 7);
        if (value || PyErr_Occurred()) return value;
    }
    PyObject *found = PyObject_GenericGetAttr(o, name);
    PyObject *ctx = found ? NULL : fac_function_ctx(node_of(o));
    if (!ctx || !PyErr_ExceptionMatches(PyExc_AttributeError)) return found;
    PyErr_Clear();
    return PyObject_GetAttr(ctx, name);
}

static PyMethodDef node_methods[] = {
    {"name", node_name, METH_NOARGS, "name($self)\n--\n\nThe name of the node."},
    {"register_hook", node_register_hook, METH_O,
     "register_hook($self, fn, /)\n--\n\nCalls fn(grad_inputs, grad_outputs) after the node ran."},
    {"register_prehook", node_register_prehook, METH_O,
     "register_prehook($self, fn, /)\n--\n\nCalls fn(grad_outputs) before the node runs."},
    {"_sequence_nr", node_sequence, METH_NOARGS,
     "_sequence_nr($self)\n--\n\nLater nodes have larger numbers."},
    {NULL, NULL, 0, NULL},
};
static PyGetSetDef node_getset[] = {
    {"next_functions", node_next_functions, NULL, "The nodes that gradients go on to.", NULL},
    {"metadata", node_metadata, NULL, "A dict for whatever goes with the node.", NULL},
    {"variable", node_variable, NULL, "Of AccumulateGrad: the leaf.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyMemberDef node_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(FacPyNode, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};
static PyType_Slot node_slots[] = {
    {Py_tp_dealloc, node_dealloc},
    {Py_tp_traverse, node_traverse},
    {Py_tp_clear, node_clear},
    {Py_tp_repr, node_repr},
    {Py_tp_getattro, node_getattro},
    {Py_tp_methods, node_methods},
    {Py_tp_getset, node_getset},
    {Py_tp_members, node_members},
    {Py_tp_doc, "A recorded call, which knows how to take gradients back."},
    {0, NULL},
};
static PyType_Spec node_spec = {
    .name = "facula.autograd.graph.Node",
    .basicsize = sizeof(FacPyNode),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = node_slots,
};

int
fac_start_graph(PyObject *module)
{
    node_classes = PyDict_New();
    fac_py.node_type = fac_add_type(module, &node_spec, NULL);
    handle_type = fac_add_type(module, &handle_spec, NULL);
    return node_classes && fac_py.node_type && handle_type ? 0 : -1;
}
