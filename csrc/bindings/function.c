/* function.c - autograd.Function: gradients written in Python.
 *
 * FunctionCtx is the object that forward and backward receive as `ctx`. _apply_function(cls, ctx_type, args) runs
 * cls.forward without recording and, if a gradient may be wanted, gives the results a node whose kind calls
 * cls.backward. The node owns the ctx; the ctx knows its node weakly, so that saved results, which are kept
 * without history, can be given it back when they are unpacked.
 */
#include "bindings/bindings.h"

#include "layers/record.h"

#include <string.h>
#include <structmember.h>

typedef struct SavedItem {
    FacTensor *alias; /* NULL for None */
    PyObject *input;  /* of an input: its own object; NULL for a result */
    int result;       /* of a result: which; -1 otherwise */
    int64_t version;
} SavedItem;

typedef struct FacCtx {
    PyObject_HEAD
    PyObject *dict;
    PyObject *needs_input_grad;          /* tuple of bools */
    PyObject *to_save, *dirty, *nondiff; /* tuples, as given */
    PyObject *cls;
    PyObject *edges; /* tuple: for each argument, whether it is a tensor with an edge */
    FacNode *node;   /* weak */
    SavedItem *saved;
    int nsaved;
    bool materialize, ran;
} FacCtx;

static PyTypeObject *ctx_type;

/* --- the object ------------------------------------------------------------------------------------------------ */

static void
drop_saved(FacCtx *self)
{
    SavedItem *saved = self->saved;
    int n = self->nsaved;
    self->saved = NULL;
    self->nsaved = 0;
    for (int i = 0; i < n; i++) {
        fac_tensor_release(saved[i].alias);
        Py_XDECREF(saved[i].input);
    }
    fac_mem_free(saved);
}

static int
ctx_traverse(PyObject *o, visitproc visit, void *arg)
{
    FacCtx *self = (FacCtx *)o;
    Py_VISIT(Py_TYPE(o));
    Py_VISIT(self->dict);
    Py_VISIT(self->cls);
    Py_VISIT(self->to_save);
    Py_VISIT(self->dirty);
    Py_VISIT(self->nondiff);
    for (int i = 0; i < self->nsaved; i++) Py_VISIT(self->saved[i].input);
    return 0;
}

static int
ctx_clear(PyObject *o)
{
    FacCtx *self = (FacCtx *)o;
    Py_CLEAR(self->dict);
    Py_CLEAR(self->to_save);
    Py_CLEAR(self->dirty);
    Py_CLEAR(self->nondiff);
    drop_saved(self);
    return 0;
}

static void
ctx_dealloc(PyObject *o)
{
    FacCtx *self = (FacCtx *)o;
    PyTypeObject *type = Py_TYPE(o);
    PyObject_GC_UnTrack(o);
    ctx_clear(o);
    Py_XDECREF(self->cls);
    Py_XDECREF(self->needs_input_grad);
    Py_XDECREF(self->edges);
    type->tp_free(o);
    Py_DECREF(type);
}

static int
set_tuple(PyObject **slot, PyObject *args)
{
    Py_XSETREF(*slot, Py_NewRef(args));
    return 0;
}

static PyObject *
save_for_backward(PyObject *o, PyObject *args)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(args); i++) {
        PyObject *item = PyTuple_GET_ITEM(args, i);
        if (item != Py_None && !fac_is_tensor(item))
            return PyErr_Format(PyExc_TypeError,
                                "save_for_backward can only save tensors and None, but argument "
                                "%zd is of type %s; keep "
                                "other things as attributes of ctx",
                                i, Py_TYPE(item)->tp_name);
    }
    set_tuple(&((FacCtx *)o)->to_save, args);
    Py_RETURN_NONE;
}

static PyObject *
mark_dirty(PyObject *o, PyObject *args)
{
    set_tuple(&((FacCtx *)o)->dirty, args);
    Py_RETURN_NONE;
}

static PyObject *
mark_non_differentiable(PyObject *o, PyObject *args)
{
    set_tuple(&((FacCtx *)o)->nondiff, args);
    Py_RETURN_NONE;
}

static PyObject *
set_materialize_grads(PyObject *o, PyObject *value)
{
    int on = PyObject_IsTrue(value);
    if (on < 0) return NULL;
    ((FacCtx *)o)->materialize = on;
    Py_RETURN_NONE;
}

/* A saved result with its history given back. */
static PyObject *
unpack_result(FacCtx *self, const SavedItem *item)
{
    FacTensor *t = NULL;
    FacStatus st = fac_tensor_alias(item->alias, &t);
    if (st == FAC_OK && self->node && fac_grad_enabled())
        st = fac_set_history(t, self->node, (uint32_t)item->result);
    if (st == FAC_OK) return fac_wrap_take(t);
    fac_tensor_release(t);
    return fac_py_raise(st);
}

static PyObject *
get_saved_tensors(PyObject *o, void *Py_UNUSED(closure))
{
    FacCtx *self = (FacCtx *)o;
    if (self->ran && self->node && fac_node_released(self->node) && self->to_save == NULL &&
        !self->saved)
        return fac_py_raise(fac_error(
            FAC_RUNTIME_ERROR,
            "Trying to backward through the graph a second time (or directly access saved "
            "tensors after they have already been freed). Specify retain_graph=True if you "
            "need to backward through the graph a second time."));
    if (!self->saved) return self->to_save ? Py_NewRef(self->to_save) : PyTuple_New(0);
    PyObject *tuple = PyTuple_New(self->nsaved);
    for (int i = 0; tuple && i < self->nsaved; i++) {
        SavedItem *item = &self->saved[i];
        PyObject *value = NULL;
        if (item->alias && fac_tensor_version(item->alias) != item->version) {
            PyErr_Format(PyExc_RuntimeError,
                         "one of the variables needed for gradient computation has been modified "
                         "by an inplace "
                         "operation: tensor %d that %R saved for backward is at version %lld; "
                         "expected version %lld "
                         "instead. Use the out-of-place form of the operation, or save a clone.",
                         i, self->cls, (long long)fac_tensor_version(item->alias),
                         (long long)item->version);
        } else if (!item->alias) {
            value = Py_NewRef(Py_None);
        } else {
            value = item->input ? Py_NewRef(item->input) : unpack_result(self, item);
        }
        if (!value)
            Py_CLEAR(tuple);
        else
            PyTuple_SET_ITEM(tuple, i, value);
    }
    return tuple;
}

static PyMethodDef ctx_methods[] = {
    {"save_for_backward", save_for_backward, METH_VARARGS,
     "save_for_backward(*tensors)\n--\n\nKeeps tensors for backward, where ctx.saved_tensors gives "
     "them back."},
    {"save_for_forward", save_for_backward, METH_VARARGS,
     "save_for_forward(*tensors)\n--\n\nKeeps tensors for jvp."},
    {"mark_dirty", mark_dirty, METH_VARARGS,
     "mark_dirty(*tensors)\n--\n\nSays which inputs forward changed in place."},
    {"mark_non_differentiable", mark_non_differentiable, METH_VARARGS,
     "mark_non_differentiable(*tensors)\n--\n\nSays which results have no gradient."},
    {"set_materialize_grads", set_materialize_grads, METH_O,
     "set_materialize_grads(value, /)\n--\n\nWhether undefined gradients arrive as zeros (the "
     "default) or None."},
    {NULL, NULL, 0, NULL},
};
static PyMemberDef ctx_members[] = {
    {"__dictoffset__", T_PYSSIZET, offsetof(FacCtx, dict), READONLY, NULL},
    {"needs_input_grad", T_OBJECT_EX, offsetof(FacCtx, needs_input_grad), 0, NULL},
    {"_function", T_OBJECT_EX, offsetof(FacCtx, cls), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};
static PyGetSetDef ctx_getset[] = {
    {"saved_tensors", get_saved_tensors, NULL, "What save_for_backward kept.", NULL},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyObject *
ctx_new(PyTypeObject *type, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs))
{
    FacCtx *self = (FacCtx *)type->tp_alloc(type, 0);
    if (self) self->materialize = true;
    return (PyObject *)self;
}

static PyType_Slot ctx_slots[] = {
    {Py_tp_new, ctx_new},           {Py_tp_dealloc, ctx_dealloc},
    {Py_tp_traverse, ctx_traverse}, {Py_tp_clear, ctx_clear},
    {Py_tp_methods, ctx_methods},   {Py_tp_members, ctx_members},
    {Py_tp_getset, ctx_getset},     {0, NULL},
};
static PyType_Spec ctx_spec = {
    .name = "facula._C.FunctionCtx",
    .basicsize = sizeof(FacCtx),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = ctx_slots,
};

/* --- the node ----------------------------------------------------------------------------------------------------- */

static bool
contains(PyObject *tuple, PyObject *o)
{
    for (Py_ssize_t i = 0; tuple && i < PyTuple_GET_SIZE(tuple); i++)
        if (PyTuple_GET_ITEM(tuple, i) == o) return true;
    return false;
}

/* The gradients that came, as backward gets them: zeros or None for undefined ones. */
static PyObject *
gradient_arguments(FacCtx *ctx, FacNode *node, FacTensor *const *grads)
{
    PyObject *args = PyTuple_New(node->nresults + 1);
    if (!args) return NULL;
    PyTuple_SET_ITEM(args, 0, Py_NewRef((PyObject *)ctx));
    for (uint32_t i = 0; i < node->nresults; i++) {
        PyObject *o = NULL;
        FacTensor *zeros = NULL;
        if (grads[i]) {
            o = fac_wrap(grads[i]);
        } else if (!ctx->materialize || node->metas[i].dtype < 0) {
            o = Py_NewRef(Py_None);
        } else {
            FacMeta *meta = &node->metas[i];
            FacStatus st = fac_tensor_new((FacDType)meta->dtype, meta->device, meta->ndim,
                                          meta->sizes, &zeros);
            if (st == FAC_OK && zeros->storage->data)
                memset(zeros->storage->data, 0, fac_nbytes(zeros));
            o = st == FAC_OK ? fac_wrap_take(zeros) : fac_py_raise(st);
        }
        if (!o) {
            Py_DECREF(args);
            return NULL;
        }
        PyTuple_SET_ITEM(args, i + 1, o);
    }
    return args;
}

/* What backward returned, one an argument of forward, to one an edge. */
static int
spread_gradients(FacCtx *ctx, PyObject *returned, FacTensor **out)
{
    PyObject *tuple = PyTuple_Check(returned) ? Py_NewRef(returned) : PyTuple_Pack(1, returned);
    Py_ssize_t n = PyTuple_GET_SIZE(ctx->edges), given = tuple ? PyTuple_GET_SIZE(tuple) : 0;
    int edge = 0, st = tuple ? 0 : -1;
    for (Py_ssize_t i = n; tuple && i < given; i++) /* more than arguments: only if None */
        if (PyTuple_GET_ITEM(tuple, i) != Py_None) st = -1;
    if (tuple && (given < n || st < 0)) {
        PyErr_Format(
            PyExc_RuntimeError,
            "function %R returned an incorrect number of gradients (expected %zd, got %zd)",
            ctx->cls, n, given);
        st = -1;
    }
    for (Py_ssize_t i = 0; st == 0 && i < n; i++) {
        PyObject *grad = PyTuple_GET_ITEM(tuple, i);
        bool has_edge = PyTuple_GET_ITEM(ctx->edges, i) == Py_True;
        if (grad != Py_None && !fac_is_tensor(grad)) {
            PyErr_Format(
                PyExc_TypeError,
                "%R returned a gradient of type %s for argument %zd; it must be a tensor or None",
                ctx->cls, Py_TYPE(grad)->tp_name, i);
            st = -1;
        } else if (grad != Py_None && !has_edge) {
            PyErr_Format(PyExc_RuntimeError,
                         "%R returned a gradient different from None at position %zd, but the "
                         "corresponding forward "
                         "input was not a Variable",
                         ctx->cls, i);
            st = -1;
        } else if (has_edge) {
            out[edge++] = grad == Py_None ? NULL : fac_tensor_retain(fac_unwrap(grad));
        }
    }
    Py_XDECREF(tuple);
    return st;
}

static FacStatus
function_apply(FacNode *node, FacTensor *const *grads, FacTensor **out)
{
    PyGILState_STATE gil = PyGILState_Ensure();
    FacCtx *ctx = node->foreign;
    PyObject *args = gradient_arguments(ctx, node, grads);
    PyObject *backward = args ? PyObject_GetAttrString(ctx->cls, "backward") : NULL;
    PyObject *returned = backward ? PyObject_Call(backward, args, NULL) : NULL;
    int st = returned ? spread_gradients(ctx, returned, out) : -1;
    Py_XDECREF(args);
    Py_XDECREF(backward);
    Py_XDECREF(returned);
    PyGILState_Release(gil);
    return st < 0 ? FAC_FOREIGN : FAC_OK;
}

static void
function_release_saved(FacNode *node)
{
    PyGILState_STATE gil = PyGILState_Ensure();
    FacCtx *ctx = node->foreign;
    drop_saved(ctx);
    Py_CLEAR(ctx->to_save);
    PyGILState_Release(gil);
}

static void
function_destroy(FacNode *node)
{
    if (!Py_IsInitialized()) return;
    PyGILState_STATE gil = PyGILState_Ensure();
    FacCtx *ctx = node->foreign;
    if (ctx) ctx->node = NULL;
    Py_XDECREF((PyObject *)ctx);
    PyGILState_Release(gil);
}

static const FacNodeKind function_kind = {.name = "FunctionBackward",
                                          .apply = function_apply,
                                          .release_saved = function_release_saved,
                                          .destroy = function_destroy};

PyObject *
fac_function_ctx(const FacNode *node)
{
    return node->kind == &function_kind ? node->foreign : NULL;
}

/* --- apply ---------------------------------------------------------------------------------------------------------- */

/* needs_input_grad, and for each argument whether it has an edge. Returns how many edges, -1 on failure. */
static int
look_at_inputs(FacCtx *ctx, PyObject *args, bool *wanted)
{
    Py_ssize_t n = PyTuple_GET_SIZE(args);
    int edges = 0;
    ctx->needs_input_grad = PyTuple_New(n);
    ctx->edges = PyTuple_New(n);
    if (!ctx->needs_input_grad || !ctx->edges) return -1;
    *wanted = false;
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *o = PyTuple_GET_ITEM(args, i);
        bool tensor = fac_is_tensor(o), needs = tensor && fac_needs_grad(fac_unwrap(o));
        *wanted |= needs;
        edges += tensor;
        PyTuple_SET_ITEM(ctx->needs_input_grad, i, PyBool_FromLong(needs));
        PyTuple_SET_ITEM(ctx->edges, i, PyBool_FromLong(tensor));
    }
    return edges;
}

static int
connect_edges(FacNode *node, PyObject *args)
{
    int edge = 0;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(args); i++) {
        PyObject *o = PyTuple_GET_ITEM(args, i);
        if (!fac_is_tensor(o)) continue;
        FacTensor *t = fac_unwrap(o);
        FacStatus st = fac_needs_grad(t) ? fac_gradient_edge(t, &node->edges[edge]) : FAC_OK;
        if (st != FAC_OK) return fac_py_raise(st), -1;
        edge++;
    }
    return 0;
}

/* One result of forward as apply returns it, with its history (new reference). */
static PyObject *
finish_result(FacCtx *ctx, FacNode *node, PyObject *args, PyObject *o, int i)
{
    FacTensor *t;
    FacStatus st;
    if (!fac_is_tensor(o)) return Py_NewRef(o);
    t = fac_unwrap(o);
    bool dirty = contains(ctx->dirty, o), input = contains(args, o);
    if (contains(ctx->nondiff, o) || FAC_IS_INT(t->dtype)) {
        if (node) node->metas[i].dtype = FAC_DT_NONE;
        return Py_NewRef(o);
    }
    if (dirty) {
        if ((st = fac_tensor_bump(t)) == FAC_OK && node) {
            st = fac_node_set_meta(node, i, t);
            if (st == FAC_OK) st = fac_rebase_history(t, node, (uint32_t)i);
        }
        return st == FAC_OK ? Py_NewRef(o) : fac_py_raise(st);
    }
    if (input || t->base ||
        (node && !fac_is_leaf(t))) { /* an object of its own, apart from the input's */
        FacTensor *alias = NULL;
        if ((st = fac_tensor_alias(t, &alias)) != FAC_OK) return fac_py_raise(st);
        t = alias;
    } else {
        fac_tensor_retain(t);
    }
    st = node ? fac_node_set_meta(node, i, t) : FAC_OK;
    if (st == FAC_OK && node) st = fac_set_history(t, node, (uint32_t)i);
    if (st == FAC_OK) return fac_wrap_take(t);
    fac_tensor_release(t);
    return fac_py_raise(st);
}

/* Moves what save_for_backward was given to where the node keeps it. */
static int
keep_saved(FacCtx *ctx, PyObject *outputs, PyObject *finished)
{
    Py_ssize_t n = ctx->to_save ? PyTuple_GET_SIZE(ctx->to_save) : 0;
    SavedItem *saved = fac_mem_zalloc((size_t)(n ? n : 1) * sizeof *saved);
    if (!saved) return PyErr_NoMemory(), -1;
    ctx->saved = saved;
    ctx->nsaved = (int)n;
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *o = PyTuple_GET_ITEM(ctx->to_save, i);
        saved[i].result = -1;
        if (o == Py_None) continue;
        for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(outputs); k++)
            if (PyTuple_GET_ITEM(outputs, k) == o || PyTuple_GET_ITEM(finished, k) == o)
                saved[i].result = (int)k;
        FacStatus st = fac_tensor_alias(fac_unwrap(o), &saved[i].alias);
        if (st != FAC_OK) return fac_py_raise(st), -1;
        saved[i].version = fac_tensor_version(saved[i].alias);
        if (saved[i].result < 0) saved[i].input = Py_NewRef(o);
    }
    Py_CLEAR(ctx->to_save);
    return 0;
}

/* cls.forward(ctx, *args), or forward(*args) and setup_context(ctx, args, output); nothing is recorded. */
static PyObject *
run_forward(PyObject *cls, PyObject *ctx, PyObject *args, bool with_setup)
{
    PyObject *forward = PyObject_GetAttrString(cls, "forward"), *given = NULL, *result = NULL;
    Py_ssize_t n = PyTuple_GET_SIZE(args);
    bool was = fac_set_grad_enabled(false);
    if (forward && with_setup) {
        result = PyObject_Call(forward, args, NULL);
        PyObject *none =
            result ? PyObject_CallMethod(cls, "setup_context", "OOO", ctx, args, result) : NULL;
        if (!none) Py_CLEAR(result);
        Py_XDECREF(none);
    } else if (forward && (given = PyTuple_New(n + 1))) {
        PyTuple_SET_ITEM(given, 0, Py_NewRef(ctx));
        for (Py_ssize_t i = 0; i < n; i++)
            PyTuple_SET_ITEM(given, i + 1, Py_NewRef(PyTuple_GET_ITEM(args, i)));
        result = PyObject_Call(forward, given, NULL);
    }
    fac_set_grad_enabled(was);
    Py_XDECREF(forward);
    Py_XDECREF(given);
    return result;
}

static PyObject *
connect(FacCtx *ctx, PyObject *args, PyObject *outputs, int nedges, bool wanted)
{
    Py_ssize_t n = PyTuple_GET_SIZE(outputs);
    PyObject *finished = PyTuple_New(n);
    FacNode *node = NULL;
    if (!finished) return NULL;
    if (wanted) {
        FacStatus st = fac_node_new(&function_kind, NULL, nedges, (int)n, 0, &node);
        if (st != FAC_OK) {
            Py_DECREF(finished);
            return fac_py_raise(st);
        }
        node->foreign = Py_NewRef((PyObject *)ctx);
        ctx->node = node;
        for (Py_ssize_t i = 0; i < n; i++) node->metas[i].dtype = FAC_DT_NONE;
        if (connect_edges(node, args) < 0) goto fail;
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *o = finish_result(ctx, node, args, PyTuple_GET_ITEM(outputs, i), (int)i);
        if (!o) goto fail;
        PyTuple_SET_ITEM(finished, i, o);
    }
    if (wanted && keep_saved(ctx, outputs, finished) < 0) goto fail;
    ctx->ran = true;
    fac_node_release(node);
    return finished;
fail:
    fac_node_release(node);
    Py_DECREF(finished);
    return NULL;
}

/* _apply_function(cls, ctx, with_setup, args) */
static PyObject *
apply_function(PyObject *Py_UNUSED(module), PyObject *const *given, Py_ssize_t n)
{
    if (n != 4 || !PyObject_TypeCheck(given[1], ctx_type) || !PyTuple_Check(given[3]))
        return PyErr_Format(PyExc_TypeError, "_apply_function(cls, ctx, with_setup, args)");
    PyObject *cls = given[0], *args = given[3], *result, *outputs, *finished = NULL;
    FacCtx *ctx = (FacCtx *)given[1];
    bool wanted;
    Py_XSETREF(ctx->cls, Py_NewRef(cls));
    int nedges = look_at_inputs(ctx, args, &wanted);
    if (nedges < 0 || !(result = run_forward(cls, given[1], args, given[2] == Py_True)))
        return NULL;
    bool single = !PyTuple_Check(result);
    outputs = single ? PyTuple_Pack(1, result) : Py_NewRef(result);
    if (outputs) finished = connect(ctx, args, outputs, nedges, wanted && fac_grad_enabled());
    if (finished && single) Py_SETREF(finished, Py_NewRef(PyTuple_GET_ITEM(finished, 0)));
    Py_XDECREF(outputs);
    Py_DECREF(result);
    return finished;
}

static PyMethodDef function_functions[] = {
    {"_apply_function", (PyCFunction)(void (*)(void))apply_function, METH_FASTCALL,
     "_apply_function(cls, ctx, with_setup, args, /)\n--\n\nRuns an autograd.Function."},
    {NULL, NULL, 0, NULL},
};

int
fac_start_function(PyObject *module)
{
    ctx_type = fac_add_type(module, &ctx_spec, NULL);
    return ctx_type ? PyModule_AddFunctions(module, function_functions) : -1;
}
