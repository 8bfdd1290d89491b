/* graph.c - nodes of the recorded graph as Python objects.
 *
 * A node's object has a class named after it (MulBackward0), made when first needed. It holds the
 * node; the node knows its object weakly. Attributes _saved_self and the like are what the node
 * keeps for backward, _raw_saved_self the slot that holds it; what a node of autograd.Function does
 * not have is looked up in its ctx. Hooks and metadata belong to the node and outlive the object.
 */
#include "bindings/bindings.h"

#include "layers/record.h"

#include <string.h>
#include <structmember.h>

typedef struct FacPyNode {
    PyObject_HEAD
    FacNode *node;
    PyObject *weakrefs;
} FacPyNode;

static PyObject *node_classes; /* {name: class} */

static FacNode *
node_of(PyObject *o)
{
    return ((FacPyNode *)o)->node;
}

/* --- nodes ------------------------------------------------------------------------------------ */

static PyObject *
node_name_text(FacNode *node)
{
    char text[128];
    return PyUnicode_FromString(fac_node_name(node, text));
}

static PyObject *
ctx_of(FacNode *node) /* borrowed; NULL for nodes other than those of autograd.Function */
{
    FacFunctionNode *function = fac_function_node(node);
    return function ? function->ctx : NULL;
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
    fac_node_release(self->node);
    type->tp_free(o);
    Py_DECREF(type);
}

static int
node_traverse(PyObject *o, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(o));
    return fac_node_visit(node_of(o), visit, arg);
}

static int
node_clear(PyObject *Py_UNUSED(o))
{
    return 0; /* what hangs on the node breaks the cycle */
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

/* A dict that belongs to the node. */
PyObject *
fac_py_metadata(FacNode *node)
{
    if (!node->metadata) {
        PyObject *dict = PyDict_New();
        if (dict) node->metadata = fac_py_foreign_new(dict);
        Py_XDECREF(dict);
        if (!node->metadata) return NULL;
    }
    return Py_NewRef(node->metadata->object);
}

static PyObject *
node_metadata(PyObject *o, void *Py_UNUSED(closure))
{
    return fac_py_metadata(node_of(o));
}

/* [(shape, dtype, device)] of the results of the forward call: what gradients look like that come
 * in. */
static PyObject *
node_input_metadata(PyObject *o, void *Py_UNUSED(closure))
{
    const FacNode *node = node_of(o);
    PyObject *make = fac_py_import("autograd.graph", "_InputMetadata");
    PyObject *list = make ? PyList_New(node->nresults) : NULL;
    for (uint32_t i = 0; list && i < node->nresults; i++) {
        const FacMeta *meta = &node->metas[i];
        PyObject *item = Py_None;
        if (meta->dtype >= 0)
            item = PyObject_CallFunction(make, "NON", fac_py_size(meta->ndim, meta->sizes),
                                         fac_py_dtype((FacDType)meta->dtype),
                                         fac_py_device(meta->device));
        else
            Py_INCREF(item);
        if (!item)
            Py_CLEAR(list);
        else
            PyList_SET_ITEM(list, i, item);
    }
    Py_XDECREF(make);
    return list;
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
    return fac_py_hook_node(node_of(o), function, false);
}

static PyObject *
node_register_prehook(PyObject *o, PyObject *function)
{
    return fac_py_hook_node(node_of(o), function, true);
}

static PyObject *
freed(void)
{
    PyErr_SetString(PyExc_RuntimeError,
                    "Trying to backward through the graph a second time (or directly access saved "
                    "tensors after they have already been freed). Saved intermediate values of the "
                    "graph are freed when you call .backward() or autograd.grad(). Specify "
                    "retain_graph=True if you need to access saved tensors after calling "
                    "backward.");
    return NULL;
}

/* The slots of the row of a recorded call; NULL for other nodes. */
static const FacGradRow *
row_of(const FacNode *node)
{
    const FacGradRow *row;
    if (node->kind != &fac_recorded_kind || fac_grad_row(node->op, &row) != FAC_OK) return NULL;
    return row;
}

static bool
is_shown(const FacSave *save)
{
    return save->kind != FAC_SAVE_META && save->kind != FAC_SAVE_RESULT_META;
}

static bool
is_shape(const FacSave *save)
{
    return save->kind == FAC_SAVE_SIZES || save->kind == FAC_SAVE_RESULT_SIZES;
}

/* The slot of that name, -1: there is none. A shape stands under NAME_sym_sizes. */
static int
find_slot(const FacGradRow *row, const char *name)
{
    const char *suffix = strstr(name, "_sym_sizes");
    const bool shape = suffix && strcmp(suffix, "_sym_sizes") == 0;
    const size_t n = shape ? (size_t)(suffix - name) : strlen(name);
    for (int i = 0; row && i < row->nsaved; i++) {
        const FacSave *save = &row->saved[i];
        if (is_shown(save) && is_shape(save) == shape && strncmp(save->name, name, n) == 0 &&
            save->name[n] == '\0')
            return i;
    }
    return -1;
}

/* The value that the node keeps in that slot. */
static PyObject *
saved_value(FacNode *node, const FacGradRow *row, int slot)
{
    FacValue values[FAC_MAX_SAVED];
    if (fac_node_released(node)) return freed();
    FacStatus st = fac_unpack_saved(node, row, row->saved[slot].needed, values);
    PyObject *value = st ? fac_py_raise(st) : fac_value_to_python(values[slot]);
    fac_values_release(values, row->nsaved);
    return value;
}

/* The slot itself: a SavedTensor, or a tuple of them. */
static PyObject *
raw_saved_value(FacNode *node, const FacGradRow *row, int slot)
{
    int n;
    if (fac_node_released(node)) return freed();
    FacSavedTensor *saved = fac_saved_slot(node, row, slot, &n);
    if (!saved) return PyErr_SetString(PyExc_AttributeError, "that slot holds no tensor"), NULL;
    if (node->saved[slot].tag != FAC_V_TENSORS) return fac_py_saved(node, saved);
    PyObject *tuple = PyTuple_New(n);
    for (int i = 0; tuple && i < n; i++) {
        PyObject *item = fac_py_saved(node, &saved[i]);
        if (!item)
            Py_CLEAR(tuple);
        else
            PyTuple_SET_ITEM(tuple, i, item);
    }
    return tuple;
}

/* _saved_NAME and _raw_saved_NAME; NULL without an exception for another name. */
static PyObject *
saved_attribute(FacNode *node, const char *text)
{
    bool raw = strncmp(text, "_raw_saved_", 11) == 0;
    if (!raw && strncmp(text, "_saved_", 7) != 0) return NULL;
    const char *name = text + (raw ? 11 : 7);
    const FacGradRow *row = row_of(node);
    const int slot = find_slot(row, name);
    if (slot < 0) return NULL;
    return raw ? raw_saved_value(node, row, slot) : saved_value(node, row, slot);
}

static PyObject *
node_getattro(PyObject *o, PyObject *name)
{
    const char *text = PyUnicode_AsUTF8(name);
    if (!text) return NULL;
    PyObject *found = saved_attribute(node_of(o), text);
    if (found || PyErr_Occurred()) return found;
    found = PyObject_GenericGetAttr(o, name);
    PyObject *ctx = found ? NULL : ctx_of(node_of(o));
    if (!ctx || !PyErr_ExceptionMatches(PyExc_AttributeError)) return found;
    PyErr_Clear();
    return PyObject_GetAttr(ctx, name);
}

/* The node of an autograd.Function takes attributes, which are those of its ctx. */
static int
node_setattro(PyObject *o, PyObject *name, PyObject *value)
{
    PyObject *ctx = ctx_of(node_of(o));
    return ctx ? PyObject_SetAttr(ctx, name, value) : PyObject_GenericSetAttr(o, name, value);
}

/* What object lists, and the attributes of what is saved. */
static PyObject *
node_dir(PyObject *o, PyObject *Py_UNUSED(ignored))
{
    static const char *const forms[] = {"_saved_%s%s", "_raw_saved_%s%s"};
    FacNode *node = node_of(o);
    const FacGradRow *row = row_of(node);
    PyObject *list = PyObject_CallMethod((PyObject *)&PyBaseObject_Type, "__dir__", "O", o);
    for (int i = 0; list && row && i < row->nsaved; i++) {
        int n, kinds = fac_saved_slot(node, row, i, &n) ? 2 : 1;
        for (int k = 0; list && k < kinds && is_shown(&row->saved[i]); k++) {
            PyObject *name = PyUnicode_FromFormat(forms[k], row->saved[i].name,
                                                  is_shape(&row->saved[i]) ? "_sym_sizes" : "");
            if (!name || PyList_Append(list, name) < 0) Py_CLEAR(list);
            Py_XDECREF(name);
        }
    }
    return list;
}

static PyMethodDef node_methods[] = {
    {"name", node_name, METH_NOARGS, "name($self)\n--\n\nThe name of the node."},
    {"register_hook", node_register_hook, METH_O,
     "register_hook($self, fn, /)\n--\n\nCalls fn(grad_inputs, grad_outputs) after the node ran."},
    {"register_prehook", node_register_prehook, METH_O,
     "register_prehook($self, fn, /)\n--\n\nCalls fn(grad_outputs) before the node runs."},
    {"__dir__", node_dir, METH_NOARGS, NULL},
    {"_sequence_nr", node_sequence, METH_NOARGS,
     "_sequence_nr($self)\n--\n\nLater nodes have larger numbers."},
    {NULL, NULL, 0, NULL},
};
static PyGetSetDef node_getset[] = {
    {"next_functions", node_next_functions, NULL, "The nodes that gradients go on to.", NULL},
    {"metadata", node_metadata, NULL, "A dict for whatever goes with the node.", NULL},
    {"_input_metadata", node_input_metadata, NULL, "What the gradients look like.", NULL},
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
    {Py_tp_setattro, node_setattro},
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
    return node_classes && fac_py.node_type ? 0 : -1;
}
