/* function.c - autograd.Function: gradients written in Python.
 *
 * FunctionCtx is the object that forward and backward receive as `ctx`. _apply_function(cls, ctx,
 * with_setup, args) runs cls.forward without recording and, if a gradient may be wanted, gives the
 * results a node whose kind calls cls.backward. The node owns the ctx and what it saved; the ctx
 * knows its node weakly, and answers for what of it the peer's ctx, which is the node, has.
 */
#include "bindings/bindings.h"

#include "layers/gradient.h"
#include "layers/profile.h"
#include "layers/record.h"

#include <string.h>
#include <structmember.h>

typedef struct FacCtx {
    PyObject_HEAD
    PyObject *dict;
    PyObject *needs_input_grad;                        /* tuple of bools */
    PyObject *to_save, *for_forward, *dirty, *nondiff; /* tuples, as given */
    PyObject *cls;
    PyObject *edges; /* tuple: for each argument, whether it is a tensor with an edge */
    FacNode *node;   /* weak */
    bool materialize, ran, cleared; /* ran: forward; cleared: by clear_saved_tensors_on_access */
} FacCtx;

static PyTypeObject *ctx_type;
/* What is asked of the class at each call: names that its cache of attributes knows. */
static PyObject *s_forward, *s_backward, *s_boxed, *s_clear;

/* --- the object ------------------------------------------------------------------------------- */

static int
ctx_traverse(PyObject *o, visitproc visit, void *arg)
{
    FacCtx *self = (FacCtx *)o;
    Py_VISIT(Py_TYPE(o));
    Py_VISIT(self->dict);
    Py_VISIT(self->cls);
    Py_VISIT(self->to_save);
    Py_VISIT(self->for_forward);
    Py_VISIT(self->dirty);
    Py_VISIT(self->nondiff);
    return 0;
}

static int
ctx_clear(PyObject *o)
{
    FacCtx *self = (FacCtx *)o;
    Py_CLEAR(self->dict);
    Py_CLEAR(self->to_save);
    Py_CLEAR(self->for_forward);
    Py_CLEAR(self->dirty);
    Py_CLEAR(self->nondiff);
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

/* Tensors and None, as the methods below take them. */
static PyObject *
keep_tensors(PyObject **slot, PyObject *args, const char *method)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(args); i++) {
        PyObject *item = PyTuple_GET_ITEM(args, i);
        if (item != Py_None && !fac_is_tensor(item))
            return PyErr_Format(PyExc_TypeError,
                                "%s can only save variables, tensors and None, but argument %zd is "
                                "of type %s; keep other things as attributes of ctx",
                                method, i, Py_TYPE(item)->tp_name);
    }
    Py_XSETREF(*slot, Py_NewRef(args));
    Py_RETURN_NONE;
}

static PyObject *
save_for_backward(PyObject *o, PyObject *args)
{
    return keep_tensors(&((FacCtx *)o)->to_save, args, "save_for_backward");
}

static PyObject *
save_for_forward(PyObject *o, PyObject *args)
{
    return keep_tensors(&((FacCtx *)o)->for_forward, args, "save_for_forward");
}

static PyObject *
mark_dirty(PyObject *o, PyObject *args)
{
    return keep_tensors(&((FacCtx *)o)->dirty, args, "mark_dirty");
}

static PyObject *
mark_non_differentiable(PyObject *o, PyObject *args)
{
    return keep_tensors(&((FacCtx *)o)->nondiff, args, "mark_non_differentiable");
}

static PyObject *
set_materialize_grads(PyObject *o, PyObject *value)
{
    int on = PyObject_IsTrue(value);
    if (on < 0) return NULL;
    ((FacCtx *)o)->materialize = on;
    Py_RETURN_NONE;
}

/* A flag of the Function; -1 with an exception. */
static int
class_flag(const FacCtx *self, PyObject *name)
{
    PyObject *flag = self->cls ? PyObject_GetAttr(self->cls, name) : Py_NewRef(Py_False);
    int on = flag ? PyObject_IsTrue(flag) : -1;
    Py_XDECREF(flag);
    return on;
}

static PyObject *
freed(void)
{
    PyErr_SetString(PyExc_RuntimeError,
                    "Trying to backward through the graph a second time (or directly access saved "
                    "tensors after they have already been freed). Specify retain_graph=True if you "
                    "need to backward through the graph a second time.");
    return NULL;
}

/* saved_tensors, or with `raw` the SavedTensor objects. */
static PyObject *
saved_of(FacCtx *self, bool raw)
{
    FacFunctionNode *function = self->node ? fac_function_node(self->node) : NULL;
    if (self->ran && (self->cleared || !self->node || fac_node_released(self->node)))
        return freed();
    if (!self->ran || !function)
        return self->to_save && !raw ? Py_NewRef(self->to_save) : PyTuple_New(0);
    FacNode *node = self->node;
    fac_node_retain(node);
    PyObject *tuple = PyTuple_New(function->nsaved);
    for (int i = 0; tuple && i < function->nsaved; i++) {
        FacSavedTensor *saved = &function->saved[i];
        FacTensor *t = NULL;
        char name[32];
        PyOS_snprintf(name, sizeof name, "saved_tensors[%d]", i);
        FacStatus st = raw ? FAC_OK : fac_saved_unpack(node, name, saved, &t);
        PyObject *item = st    ? fac_py_raise(st)
                         : raw ? fac_py_saved(node, saved)
                         : t   ? fac_wrap_take(t)
                               : Py_NewRef(Py_None);
        if (!item)
            Py_CLEAR(tuple);
        else
            PyTuple_SET_ITEM(tuple, i, item);
    }
    fac_node_release(node);
    return tuple;
}

static PyObject *
get_saved_tensors(PyObject *o, void *Py_UNUSED(closure))
{
    FacCtx *self = (FacCtx *)o;
    PyObject *tuple = saved_of(self, false);
    FacFunctionNode *function = tuple && self->node ? fac_function_node(self->node) : NULL;
    if (!function || !self->ran) return tuple;
    int clear = class_flag(self, s_clear);
    if (clear < 0) Py_CLEAR(tuple);
    self->cleared = clear > 0;
    for (int i = 0; clear > 0 && i < function->nsaved; i++) fac_saved_drop(&function->saved[i]);
    return tuple;
}

static PyObject *
get_raw_saved_tensors(PyObject *o, void *Py_UNUSED(closure))
{
    return saved_of((FacCtx *)o, true);
}

static PyObject *
get_saved_for_forward(PyObject *o, void *Py_UNUSED(closure))
{
    PyObject *kept = ((FacCtx *)o)->for_forward;
    return kept ? Py_NewRef(kept) : PyTuple_New(0);
}

static PyObject *
get_materialize(PyObject *o, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(((FacCtx *)o)->materialize);
}

/* Attributes of the node are attributes of ctx too. */
static PyObject *
ctx_getattro(PyObject *o, PyObject *name)
{
    static const char *const of_node[] = {"next_functions", "metadata",         "name",
                                          "register_hook",  "register_prehook", "_sequence_nr",
                                          "_input_metadata"};
    PyObject *found = PyObject_GenericGetAttr(o, name);
    FacNode *node = ((FacCtx *)o)->node;
    if (found || !node || !PyErr_ExceptionMatches(PyExc_AttributeError)) return found;
    for (size_t i = 0; i < sizeof of_node / sizeof *of_node; i++) {
        if (!PyUnicode_Check(name) || PyUnicode_CompareWithASCIIString(name, of_node[i])) continue;
        PyErr_Clear();
        PyObject *object = fac_py_node(node);
        found = object ? PyObject_GetAttr(object, name) : NULL;
        Py_XDECREF(object);
        return found;
    }
    return NULL;
}

static PyMethodDef ctx_methods[] = {
    {"save_for_backward", save_for_backward, METH_VARARGS,
     "save_for_backward(*tensors)\n--\n\nKeeps tensors for backward, where ctx.saved_tensors gives "
     "them back."},
    {"save_for_forward", save_for_forward, METH_VARARGS,
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
    {"_forward_cls", T_OBJECT_EX, offsetof(FacCtx, cls), READONLY, NULL},
    {"to_save", T_OBJECT, offsetof(FacCtx, to_save), READONLY, NULL},
    {"dirty_tensors", T_OBJECT, offsetof(FacCtx, dirty), READONLY, NULL},
    {"non_differentiable", T_OBJECT, offsetof(FacCtx, nondiff), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};
static PyGetSetDef ctx_getset[] = {
    {"saved_tensors", get_saved_tensors, NULL, "What save_for_backward kept.", NULL},
    {"saved_variables", get_saved_tensors, NULL, "What save_for_backward kept.", NULL},
    {"_raw_saved_tensors", get_raw_saved_tensors, NULL, "The same as SavedTensor objects.", NULL},
    {"saved_for_forward", get_saved_for_forward, NULL, "What save_for_forward kept.", NULL},
    {"materialize_grads", get_materialize, NULL, "See set_materialize_grads.", NULL},
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
    {Py_tp_new, ctx_new},       {Py_tp_dealloc, ctx_dealloc},   {Py_tp_traverse, ctx_traverse},
    {Py_tp_clear, ctx_clear},   {Py_tp_methods, ctx_methods},   {Py_tp_members, ctx_members},
    {Py_tp_getset, ctx_getset}, {Py_tp_getattro, ctx_getattro}, {0, NULL},
};
static PyType_Spec ctx_spec = {
    .name = "facula._C.FunctionCtx",
    .basicsize = sizeof(FacCtx),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = ctx_slots,
};

/* --- the node --------------------------------------------------------------------------------- */

static bool
contains(PyObject *tuple, PyObject *o)
{
    for (Py_ssize_t i = 0; tuple && i < PyTuple_GET_SIZE(tuple); i++)
        if (PyTuple_GET_ITEM(tuple, i) == o) return true;
    return false;
}

static FacCtx *
ctx_of(const FacNode *node)
{
    return (FacCtx *)((FacFunctionNode *)node->foreign)->ctx;
}

/* ctx and the gradients that came, as backward gets them: zeros or None for undefined ones; with
 * boxed_grads_call one list of them. */
static PyObject *
gradient_arguments(FacCtx *ctx, FacNode *node, FacTensor *const *grads)
{
    int boxed = class_flag(ctx, s_boxed);
    PyObject *args = boxed < 0 ? NULL : PyTuple_New(node->nresults + 1);
    if (!args) return NULL;
    PyTuple_SET_ITEM(args, 0, Py_NewRef((PyObject *)ctx));
    for (uint32_t i = 0; i < node->nresults; i++) {
        PyObject *o = NULL;
        FacTensor *zeros;
        if (grads[i]) {
            o = fac_wrap(grads[i]);
        } else if (!ctx->materialize || node->metas[i].dtype < 0) {
            o = Py_NewRef(Py_None);
        } else {
            FacStatus st = fac_zeros_meta(&node->metas[i], &zeros);
            o = st == FAC_OK ? fac_wrap_take(zeros) : fac_py_raise(st);
        }
        if (!o) {
            Py_DECREF(args);
            return NULL;
        }
        PyTuple_SET_ITEM(args, i + 1, o);
    }
    if (!boxed) return args;
    PyObject *grad_list = PySequence_List(args), *both = NULL;
    if (grad_list && PyList_SetSlice(grad_list, 0, 1, NULL) == 0)
        both = PyTuple_Pack(2, (PyObject *)ctx, grad_list);
    Py_XDECREF(grad_list);
    Py_DECREF(args);
    return both;
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
    FacCtx *ctx = (FacCtx *)Py_NewRef((PyObject *)ctx_of(node));
    PyObject *args = gradient_arguments(ctx, node, grads);
    PyObject *backward = args ? PyObject_GetAttr(ctx->cls, s_backward) : NULL;
    PyObject *returned = backward ? PyObject_Call(backward, args, NULL) : NULL;
    int st = returned ? spread_gradients(ctx, returned, out) : -1;
    Py_XDECREF(args);
    Py_XDECREF(backward);
    Py_XDECREF(returned);
    Py_DECREF((PyObject *)ctx);
    PyGILState_Release(gil);
    return st < 0 ? FAC_FOREIGN : FAC_OK;
}

static void
function_release_saved(FacNode *node)
{
    FacFunctionNode *function = node->foreign;
    for (int i = 0; i < function->nsaved; i++) fac_saved_drop(&function->saved[i]);
}

static void
function_destroy(FacNode *node)
{
    if (!Py_IsInitialized()) return;
    PyGILState_STATE gil = PyGILState_Ensure();
    FacCtx *ctx = ctx_of(node);
    if (ctx) ctx->node = NULL;
    Py_XDECREF((PyObject *)ctx);
    PyGILState_Release(gil);
}

static void
function_name(FacNode *node, char text[128])
{
    PyGILState_STATE gil = PyGILState_Ensure();
    PyObject *cls = ctx_of(node)->cls;
    bool type = cls && PyType_Check(cls);
    PyOS_snprintf(text, 128, "%sBackward", type ? ((PyTypeObject *)cls)->tp_name : "Function");
    PyGILState_Release(gil);
}

static const FacNodeKind function_kind = {.name_of = function_name,
                                          .apply = function_apply,
                                          .release_saved = function_release_saved,
                                          .destroy = function_destroy};

FacFunctionNode *
fac_function_node(const FacNode *node)
{
    return node->kind == &function_kind ? node->foreign : NULL;
}

static FacNode *
make_node(FacCtx *ctx, int nedges, int nresults)
{
    FacNode *node;
    int nsaved = ctx->to_save ? (int)PyTuple_GET_SIZE(ctx->to_save) : 0;
    size_t bytes = sizeof(FacFunctionNode) + (size_t)nsaved * sizeof(FacSavedTensor);
    FacStatus st = fac_node_new_with(&function_kind, NULL, nedges, nresults, 0, bytes, &node);
    if (st != FAC_OK) return fac_py_raise(st), NULL;
    FacFunctionNode *function = node->foreign;
    function->ctx = Py_NewRef((PyObject *)ctx);
    function->saved = (FacSavedTensor *)(function + 1);
    function->nsaved = nsaved;
    ctx->node = node;
    for (int i = 0; i < nresults; i++) node->metas[i].dtype = FAC_DT_NONE;
    return node;
}

/* --- a node that only raises: behind once_differentiable ------------------------------------------ */

static FacStatus
apply_refusal(FacNode *node, FacTensor *const *Py_UNUSED(grads), FacTensor **Py_UNUSED(out))
{
    return fac_error(FAC_RUNTIME_ERROR, "%s", (const char *)node->foreign);
}

static const FacNodeKind refusal_kind = {.name = "Error", .apply = apply_refusal};

/* _refuse_gradient(message, tensor): an alias of the tensor whose gradient is that error. */
static PyObject *
refuse_gradient(PyObject *Py_UNUSED(module), PyObject *args)
{
    const char *message;
    PyObject *o;
    FacNode *node;
    FacTensor *alias;
    if (!PyArg_ParseTuple(args, "sO!:_refuse_gradient", &message, fac_py.tensor_type, &o))
        return NULL;
    FacStatus st = fac_tensor_alias(fac_unwrap(o), &alias);
    if (st) return fac_py_raise(st);
    st = fac_node_new_with(&refusal_kind, NULL, 0, 1, 0, strlen(message) + 1, &node);
    if (st == FAC_OK) {
        memcpy(node->foreign, message, strlen(message) + 1);
        st = fac_node_set_meta(node, 0, alias);
        if (st == FAC_OK) st = fac_set_history(alias, node, 0);
        fac_node_release(node);
    }
    if (st == FAC_OK) return fac_wrap_take(alias);
    fac_tensor_release(alias);
    return fac_py_raise(st);
}

/* --- apply ----------------------------------------------------------------------------------- */

/* needs_input_grad, and for each argument whether it has an edge. Returns how many edges, -1 on
 * failure. */
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

/* A result that has no gradient: an object of its own where it is an input. */
static PyObject *
finish_constant(FacNode *node, PyObject *o, bool input, bool dirty, int i)
{
    FacTensor *t = fac_unwrap(o), *alias;
    if (node) node->metas[i].dtype = FAC_DT_NONE;
    if (!fac_needs_grad(t) && !(input && !dirty && node)) return Py_NewRef(o);
    FacStatus st = fac_tensor_alias(t, &alias);
    return st == FAC_OK ? fac_wrap_take(alias) : fac_py_raise(st);
}

static PyObject *
finish_dirty(FacNode *node, PyObject *o, int i)
{
    FacTensor *t = fac_unwrap(o);
    FacStatus st = node ? fac_check_inplace(t) : FAC_OK;
    if (st == FAC_OK) st = fac_tensor_bump(t);
    if (st == FAC_OK && node) st = fac_node_set_meta(node, i, t);
    if (st == FAC_OK && node) st = fac_rebase_history(t, node, (uint32_t)i);
    return st == FAC_OK ? Py_NewRef(o) : fac_py_raise(st);
}

/* One result of forward as apply returns it, with its history (new reference). */
static PyObject *
finish_result(FacCtx *ctx, FacNode *node, PyObject *args, PyObject *o, int i)
{
    if (!fac_is_tensor(o)) return Py_NewRef(o);
    FacTensor *t = fac_unwrap(o), *alias;
    bool dirty = contains(ctx->dirty, o), input = contains(args, o);
    if (contains(ctx->nondiff, o) || FAC_IS_INT(t->dtype))
        return finish_constant(node, o, input, dirty, i);
    if (dirty) return finish_dirty(node, o, i);
    FacStatus st = FAC_OK;
    bool view = input || t->base;
    if (view || (node && !fac_is_leaf(t))) { /* an object of its own */
        if ((st = fac_tensor_alias(t, &alias)) != FAC_OK) return fac_py_raise(st);
        if (view) alias->flags |= FAC_T_FUNCTION_VIEW;
        t = alias;
    } else {
        fac_tensor_retain(t);
    }
    if (node) st = fac_node_set_meta(node, i, t);
    if (st == FAC_OK && node) st = fac_set_history(t, node, (uint32_t)i);
    if (st == FAC_OK) return fac_wrap_take(t);
    fac_tensor_release(t);
    return fac_py_raise(st);
}

static int
check_dirty(FacCtx *ctx, PyObject *args, PyObject *outputs)
{
    for (Py_ssize_t i = 0; ctx->dirty && i < PyTuple_GET_SIZE(ctx->dirty); i++) {
        PyObject *o = PyTuple_GET_ITEM(ctx->dirty, i);
        if (o == Py_None || (contains(args, o) && contains(outputs, o))) continue;
        PyErr_Format(PyExc_RuntimeError,
                     "Some elements marked as dirty during the forward method were not returned as "
                     "output. What %R changes in place must be its input and its result.",
                     ctx->cls);
        return -1;
    }
    return 0;
}

/* Which result a saved tensor is, -1: none, it is kept itself. */
static int
result_index(PyObject *o, PyObject *args, PyObject *dirty, PyObject *outputs, PyObject *finished)
{
    for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(outputs); k++) {
        if (PyTuple_GET_ITEM(outputs, k) != o && PyTuple_GET_ITEM(finished, k) != o) continue;
        if (contains(dirty, o) || !contains(args, o)) return (int)k;
    }
    return -1;
}

/* Moves what save_for_backward was given to where the node keeps it. */
static int
keep_saved(FacCtx *ctx, FacNode *node, PyObject *args, PyObject *outputs, PyObject *finished)
{
    FacFunctionNode *function = node->foreign;
    for (int i = 0; i < function->nsaved; i++) {
        PyObject *o = PyTuple_GET_ITEM(ctx->to_save, i);
        if (o == Py_None) continue;
        int result = result_index(o, args, ctx->dirty, outputs, finished);
        FacStatus st = result < 0
                           ? fac_save_original(fac_unwrap(o), &function->saved[i])
                           : fac_save_result(fac_unwrap(o), (uint32_t)result, &function->saved[i]);
        if (st != FAC_OK) return fac_py_raise(st), -1;
    }
    return 0;
}

/* cls.forward(ctx, *args), or forward(*args) and setup_context(ctx, args, output); nothing is
 * recorded. */
static PyObject *
run_forward(PyObject *cls, PyObject *ctx, PyObject *args, bool with_setup)
{
    PyObject *forward = PyObject_GetAttr(cls, s_forward), *given = NULL, *result = NULL;
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
    FacNode *node = NULL;
    if (check_dirty(ctx, args, outputs) < 0) return NULL;
    PyObject *finished = PyTuple_New(n);
    if (!finished) return NULL;
    if (wanted && !(node = make_node(ctx, nedges, (int)n))) goto fail;
    if (wanted && connect_edges(node, args) < 0) goto fail;
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *o = finish_result(ctx, node, args, PyTuple_GET_ITEM(outputs, i), (int)i);
        if (!o) goto fail;
        PyTuple_SET_ITEM(finished, i, o);
    }
    if (wanted && keep_saved(ctx, node, args, outputs, finished) < 0) goto fail;
    ctx->ran = true;
    Py_CLEAR(ctx->to_save);
    Py_CLEAR(ctx->dirty);
    Py_CLEAR(ctx->nondiff);
    fac_node_release(node);
    return finished;
fail:
    fac_node_release(node);
    Py_DECREF(finished);
    return NULL;
}

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

/* apply_function, as an event that is linked with the node. */
static PyObject *
apply_noted(PyObject *module, PyObject *const *given, Py_ssize_t n)
{
    const char *name = PyType_Check(given[0]) ? ((PyTypeObject *)given[0])->tp_name : "Function";
    FacEventHandle event = fac_profile_begin(FAC_EVENT_FUNCTION, name, NULL);
    PyObject *result = apply_function(module, given, n);
    const FacCtx *ctx = (const FacCtx *)given[1];
    if (result && ctx->node) fac_profile_link(event, ctx->node);
    fac_profile_end(event);
    return result;
}

/* _apply_function(cls, ctx, with_setup, args) */
static PyObject *
apply_any(PyObject *module, PyObject *const *given, Py_ssize_t n)
{
    if (n == 4 && FAC_UNLIKELY(fac_profiling())) return apply_noted(module, given, n);
    return apply_function(module, given, n);
}

static PyMethodDef function_functions[] = {
    {"_apply_function", (PyCFunction)(void (*)(void))apply_any, METH_FASTCALL,
     "_apply_function(cls, ctx, with_setup, args, /)\n--\n\nRuns an autograd.Function."},
    {"_refuse_gradient", refuse_gradient, METH_VARARGS,
     "_refuse_gradient(message, tensor, /)\n--\n\nAn alias of the tensor whose gradient is an "
     "error."},
    {NULL, NULL, 0, NULL},
};

int
fac_start_function(PyObject *module)
{
    static const struct {
        PyObject **to;
        const char *text;
    } names[] = {{&s_forward, "forward"},
                 {&s_backward, "backward"},
                 {&s_boxed, "boxed_grads_call"},
                 {&s_clear, "clear_saved_tensors_on_access"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!(*names[i].to = PyUnicode_InternFromString(names[i].text))) return -1;
    ctx_type = fac_add_type(module, &ctx_spec, NULL);
    return ctx_type ? PyModule_AddFunctions(module, function_functions) : -1;
}
