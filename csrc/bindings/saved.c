/* saved.c - saved tensors as Python sees them: hooks around saving, and SavedTensor.
 *
 * The hooks of a thread are a stack; the top one is the packer of the core (layers/record.h). What a
 * pack hook returned is kept as a pair (unpack hook, value), so that it comes back by the hook that
 * belongs to it, whichever is the top by then. SavedTensor is one slot of a node, for _raw_saved_*.
 */
#include "bindings/bindings.h"

#include "layers/record.h"

typedef struct Hooks {
    FacPacker packer;
    struct Hooks *below;
} Hooks;

static _Thread_local Hooks *top;
static _Thread_local PyObject *disabled; /* the message, where saving with hooks is not allowed */

void
fac_py_saved_hooks(void **hooks, PyObject **disabled_text, bool set)
{
    if (!set) {
        *hooks = top;
        *disabled_text = disabled;
        return;
    }
    top = *hooks;
    disabled = *disabled_text;
    fac_packer = top ? &top->packer : NULL;
}

/* --- packing ---------------------------------------------------------------------------------- */

static FacStatus
pack(FacForeign *packer, FacTensor *t, FacForeign **out)
{
    PyGILState_STATE gil = PyGILState_Ensure();
    PyObject *hooks = packer->object; /* (pack, unpack) */
    PyObject *shown = fac_wrap(t), *kept = NULL, *pair = NULL;
    FacForeign *packed = NULL;
    if (shown) kept = PyObject_CallOneArg(PyTuple_GET_ITEM(hooks, 0), shown);
    if (kept) pair = PyTuple_Pack(2, PyTuple_GET_ITEM(hooks, 1), kept);
    if (pair) packed = fac_py_foreign_new(pair);
    Py_XDECREF(pair);
    Py_XDECREF(kept);
    Py_XDECREF(shown);
    PyGILState_Release(gil);
    if (!packed) return FAC_FOREIGN;
    *out = packed;
    return FAC_OK;
}

static FacStatus
unpack(FacForeign *packed, FacTensor **out)
{
    PyGILState_STATE gil = PyGILState_Ensure();
    PyObject *pair = packed->object;
    PyObject *o = PyObject_CallOneArg(PyTuple_GET_ITEM(pair, 0), PyTuple_GET_ITEM(pair, 1));
    if (o && !fac_is_tensor(o)) {
        PyErr_Format(PyExc_TypeError,
                     "Output of saved tensor unpack_hook expected to be a Tensor but got result of "
                     "type %s",
                     Py_TYPE(o)->tp_name);
        Py_CLEAR(o);
    }
    if (o) *out = fac_tensor_retain(fac_unwrap(o));
    Py_XDECREF(o);
    PyGILState_Release(gil);
    return o ? FAC_OK : FAC_FOREIGN;
}

static int
make_packer(PyObject *pack_hook, PyObject *unpack_hook, FacPacker *out)
{
    PyObject *pair = PyTuple_Pack(2, pack_hook, unpack_hook);
    FacForeign *foreign = pair ? fac_py_foreign_new(pair) : NULL;
    Py_XDECREF(pair);
    *out = (FacPacker){foreign, pack, unpack};
    return foreign ? 0 : -1;
}

/* --- the stack -------------------------------------------------------------------------------- */

static PyObject *
push_hooks(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *pack_hook, *unpack_hook;
    if (!PyArg_ParseTuple(args, "OO:_push_saved_tensors_hooks", &pack_hook, &unpack_hook))
        return NULL;
    if (disabled) return PyErr_SetObject(PyExc_RuntimeError, disabled), NULL;
    Hooks *hooks = fac_mem_zalloc(sizeof *hooks);
    if (!hooks) return PyErr_NoMemory();
    if (make_packer(pack_hook, unpack_hook, &hooks->packer) < 0) {
        fac_mem_free(hooks);
        return NULL;
    }
    hooks->below = top;
    top = hooks;
    fac_packer = &hooks->packer;
    Py_RETURN_NONE;
}

static PyObject *
pop_hooks(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    Hooks *hooks = top;
    if (!hooks) {
        PyErr_SetString(PyExc_RuntimeError, "there are no saved tensors hooks to leave");
        return NULL;
    }
    top = hooks->below;
    fac_packer = top ? &top->packer : NULL;
    fac_foreign_release(hooks->packer.foreign);
    fac_mem_free(hooks);
    Py_RETURN_NONE;
}

/* _disable_saved_tensors_hooks(message or None): what it was. */
static PyObject *
disable_hooks(PyObject *Py_UNUSED(module), PyObject *message)
{
    if (message != Py_None && !PyUnicode_Check(message))
        return PyErr_Format(PyExc_TypeError, "the message is a str, not %s",
                            Py_TYPE(message)->tp_name);
    if (message != Py_None && top) return PyErr_SetObject(PyExc_RuntimeError, message), NULL;
    PyObject *was = disabled;
    disabled = message == Py_None ? NULL : Py_NewRef(message);
    return was ? was : Py_NewRef(Py_None);
}

static PyMethodDef saved_functions[] = {
    {"_push_saved_tensors_hooks", push_hooks, METH_VARARGS,
     "_push_saved_tensors_hooks(pack, unpack, /)\n--\n\nHooks around saved tensors, from now on."},
    {"_pop_saved_tensors_hooks", pop_hooks, METH_NOARGS,
     "_pop_saved_tensors_hooks()\n--\n\nLeaves the hooks that were pushed last."},
    {"_disable_saved_tensors_hooks", disable_hooks, METH_O,
     "_disable_saved_tensors_hooks(message, /)\n--\n\nMakes pushing an error (None: allows it); "
     "returns what it was."},
    {NULL, NULL, 0, NULL},
};

/* --- SavedTensor ------------------------------------------------------------------------------ */

typedef struct FacPySaved {
    PyObject_HEAD
    FacNode *node;         /* owned */
    FacSavedTensor *saved; /* lies in the node */
} FacPySaved;

static PyTypeObject *saved_type;

PyObject *
fac_py_saved(FacNode *node, FacSavedTensor *saved)
{
    FacPySaved *self = (FacPySaved *)saved_type->tp_alloc(saved_type, 0);
    if (!self) return NULL;
    fac_node_retain(node);
    self->node = node;
    self->saved = saved;
    return (PyObject *)self;
}

static void
saved_dealloc(PyObject *o)
{
    PyTypeObject *type = Py_TYPE(o);
    fac_node_release(((FacPySaved *)o)->node);
    type->tp_free(o);
    Py_DECREF(type);
}

static PyObject *
saved_register_hooks(PyObject *o, PyObject *args)
{
    FacPySaved *self = (FacPySaved *)o;
    PyObject *pack_hook, *unpack_hook;
    FacPacker packer;
    if (!PyArg_ParseTuple(args, "OO:register_hooks", &pack_hook, &unpack_hook)) return NULL;
    if (fac_node_released(self->node)) {
        PyErr_SetString(PyExc_RuntimeError,
                        "Calling register_hooks on a saved tensor after it has been freed. Saved "
                        "intermediate values of the graph are freed when you call .backward() or "
                        "autograd.grad(); call it with retain_graph=True to keep them.");
        return NULL;
    }
    if (make_packer(pack_hook, unpack_hook, &packer) < 0) return NULL;
    FacStatus st = fac_saved_pack(self->saved, &packer);
    fac_foreign_release(packer.foreign);
    if (st) return fac_py_raise(st);
    Py_RETURN_NONE;
}

static PyMethodDef saved_methods[] = {
    {"register_hooks", saved_register_hooks, METH_VARARGS,
     "register_hooks($self, pack_hook, unpack_hook, /)\n--\n\nKeeps what pack_hook makes of the "
     "tensor in its place."},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot saved_slots[] = {
    {Py_tp_dealloc, saved_dealloc},
    {Py_tp_methods, saved_methods},
    {Py_tp_doc, "A tensor that a node of the graph keeps for backward."},
    {0, NULL},
};
static PyType_Spec saved_spec = {
    .name = "facula._C.SavedTensor",
    .basicsize = sizeof(FacPySaved),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = saved_slots,
};

int
fac_start_saved(PyObject *module)
{
    saved_type = fac_add_type(module, &saved_spec, NULL);
    return saved_type ? PyModule_AddFunctions(module, saved_functions) : -1;
}
