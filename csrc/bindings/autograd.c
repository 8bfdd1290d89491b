/* autograd.c - gradients as Python sees them: grad mode, backward, and what a Tensor has of them.
 *
 * backward and grad go straight to the engine with what they were given; the Python packages only
 * arrange arguments. The interpreter lock is dropped for the whole run: hooks and Functions take it
 * when they are called. The grad and inference modes are flags of the thread; the context managers
 * are in Python.
 */
#include "bindings/bindings.h"

#include "base/dtype.h"

#include <pthread.h>
#include <string.h>

/* --- lists of tensors ------------------------------------------------------------------------- */

enum { FEW = 16 };

/* A sequence of tensors as the engine takes them; the tuple holds them meanwhile. Where gradient
 * edges are taken too, at[i] is NULL for one and edges[i] says which. */
typedef struct TensorList {
    PyObject *tuple;
    FacTensor *few[FEW], **many; /* many: where they are more than a few */
    FacTensor **at;
    FacEdge *edges; /* NULL: there are none */
    int n;
} TensorList;
typedef enum ListOf { TENSORS, TENSORS_OR_NONE, TENSORS_OR_EDGES } ListOf;

static void
list_free(TensorList *list)
{
    fac_mem_free(list->many);
    fac_mem_free(list->edges);
    Py_XDECREF(list->tuple);
}

/* A GradientEdge: a tuple (node, index, ...). */
static bool
is_edge(PyObject *o)
{
    return PyTuple_Check(o) && PyTuple_GET_SIZE(o) >= 2 &&
           fac_node_from_python(PyTuple_GET_ITEM(o, 0)) && PyLong_Check(PyTuple_GET_ITEM(o, 1));
}

static int
put_edge(TensorList *list, Py_ssize_t i, PyObject *o)
{
    size_t bytes = (size_t)list->n * sizeof *list->edges;
    if (!list->edges && !(list->edges = fac_mem_zalloc(bytes))) return PyErr_NoMemory(), -1;
    unsigned long index = PyLong_AsUnsignedLong(PyTuple_GET_ITEM(o, 1));
    if (PyErr_Occurred()) return -1;
    list->edges[i] = (FacEdge){fac_node_from_python(PyTuple_GET_ITEM(o, 0)), (uint32_t)index};
    return 0;
}

/* Of a dictionary its values. */
static int
list_make(TensorList *list, PyObject *o, const char *what, ListOf of)
{
    list->at = list->few;
    list->n = 0;
    bool single = fac_is_tensor(o) || (of == TENSORS_OR_EDGES && is_edge(o));
    PyObject *values = PyDict_Check(o) ? PyDict_Values(o) : Py_NewRef(o);
    list->tuple = single ? PyTuple_Pack(1, o) : values ? PySequence_Tuple(values) : NULL;
    Py_XDECREF(values);
    if (!list->tuple) return -1;
    Py_ssize_t n = PyTuple_GET_SIZE(list->tuple);
    if (n > FEW) {
        list->at = list->many = fac_mem_alloc((size_t)n * sizeof *list->at);
        if (!list->at) return PyErr_NoMemory(), -1;
    }
    list->n = (int)n;
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *item = PyTuple_GET_ITEM(list->tuple, i);
        list->at[i] = fac_is_tensor(item) ? fac_unwrap(item) : NULL;
        if (list->at[i] || (of == TENSORS_OR_NONE && item == Py_None)) continue;
        if (of == TENSORS_OR_EDGES && is_edge(item)) {
            if (put_edge(list, i, item) < 0) return -1;
            continue;
        }
        PyErr_Format(PyExc_TypeError, "element %zd of %s is a %s, not a Tensor", i, what,
                     Py_TYPE(item)->tp_name);
        return -1;
    }
    return 0;
}

/* --- running ---------------------------------------------------------------------------------- */

void
fac_py_thread_get(FacPyThread *out)
{
    out->core = fac_thread;
    fac_py_modes(out->modes, false);
    fac_py_saved_hooks(&out->hooks, &out->hooks_disabled, false);
}

void
fac_py_thread_set(const FacPyThread *thread)
{
    FacPyThread t = *thread;
    fac_thread = t.core;
    fac_py_modes(t.modes, true);
    fac_py_saved_hooks(&t.hooks, &t.hooks_disabled, true);
}

/* A backward within a backward within a backward ... needs stack, of C and of Python, where each of
 * them runs. So after some of them the next one runs in a thread of its own. */
enum { NESTED_HERE = 40, NESTED_MAX = 5000 };
static _Thread_local int nested, nested_before; /* in this thread; in those that wait for it */

typedef struct Elsewhere {
    const FacBackward *what;
    FacPyThread thread;
    int nested_before;
    PyObject *type, *value, *traceback; /* the error */
} Elsewhere;

static void *
run_elsewhere(void *context)
{
    Elsewhere *e = context;
    PyGILState_STATE gil = PyGILState_Ensure();
    FacPyThread own;
    fac_py_thread_get(&own);
    fac_py_thread_set(&e->thread);
    nested_before = e->nested_before;
    FacStatus st = fac_backward_run(e->what);
    if (st) fac_py_raise(st);
    if (st) PyErr_Fetch(&e->type, &e->value, &e->traceback);
    fac_py_thread_set(&own);
    PyGILState_Release(gil);
    return NULL;
}

static PyObject *
run_in_new_thread(const FacBackward *what)
{
    Elsewhere e = {.what = what, .nested_before = nested_before + nested};
    pthread_t thread;
    int failed;
    if (e.nested_before >= NESTED_MAX) {
        PyErr_SetString(PyExc_RecursionError, "too many backward calls within each other");
        return NULL;
    }
    fac_py_thread_get(&e.thread);
    Py_BEGIN_ALLOW_THREADS failed = pthread_create(&thread, NULL, run_elsewhere, &e);
    if (!failed) pthread_join(thread, NULL);
    Py_END_ALLOW_THREADS if (failed)
    {
        PyErr_SetString(PyExc_RuntimeError, "a deeply nested backward needs a thread of its own, "
                                            "and the system gives none");
        return NULL;
    }
    if (e.type) return PyErr_Restore(e.type, e.value, e.traceback), NULL;
    Py_RETURN_NONE;
}

static PyObject *
run(const FacBackward *what)
{
    if (nested >= NESTED_HERE) return run_in_new_thread(what);
    nested++;
    atomic_fetch_add(&fac_py_unlocked, 1); /* its kernels let other threads in */
    FacStatus st = fac_backward_run(what);
    atomic_fetch_sub(&fac_py_unlocked, 1);
    nested--;
    if (st) return fac_py_raise(st);
    Py_RETURN_NONE;
}

/* The gradients of the inputs as a tuple, None where there is none; takes them. */
static PyObject *
gradients_take(FacTensor **grads, int n)
{
    PyObject *tuple = PyTuple_New(n);
    for (int i = 0; i < n; i++) {
        PyObject *item = grads[i] ? fac_wrap_take(grads[i]) : Py_NewRef(Py_None);
        if (tuple && item) {
            PyTuple_SET_ITEM(tuple, i, item);
            continue;
        }
        Py_XDECREF(item);
        Py_CLEAR(tuple);
    }
    return tuple;
}

static PyObject *
run_to_inputs(FacBackward *what)
{
    FacTensor *few[FEW] = {NULL}, **grads = few;
    if (what->ninputs > FEW && !(grads = fac_mem_zalloc((size_t)what->ninputs * sizeof *grads)))
        return PyErr_NoMemory();
    what->grads = grads;
    PyObject *result = run(what);
    if (result) {
        Py_DECREF(result);
        result = gradients_take(grads, what->ninputs);
    }
    if (grads != few) fac_mem_free(grads);
    return result;
}

/* Once a process: what a graph in .grad holds. `depth`: who is told, in calls from here. */
static int
warn_of_cycle(int depth)
{
    static _Atomic bool warned;
    if (atomic_exchange(&warned, true)) return 0;
    return PyErr_WarnEx(
        PyExc_UserWarning,
        "backward() with create_graph=True makes a cycle between each parameter and its gradient, "
        "which can hold their memory for good. Use autograd.grad() to get gradients with a graph, "
        "or set .grad to None when you have used it.",
        depth);
}

/* _run_backward(roots, gradients, retain_graph, create_graph, inputs=None, allow_unused=False,
 * accumulate=False): a tuple of gradients with inputs, else None. */
static PyObject *
run_backward(PyObject *Py_UNUSED(module), PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"roots",  "gradients",    "retain_graph", "create_graph",
                            "inputs", "allow_unused", "accumulate",   NULL};
    PyObject *roots, *gradients, *inputs = Py_None, *result = NULL;
    TensorList root = {.n = 0}, gradient = {.n = 0}, input = {.n = 0};
    int retain, create, unused = 0, accumulate = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOpp|Opp:_run_backward", names, &roots,
                                     &gradients, &retain, &create, &inputs, &unused, &accumulate))
        return NULL;
    if (list_make(&root, roots, "tensors", TENSORS_OR_EDGES) < 0) goto done;
    if (gradients != Py_None &&
        list_make(&gradient, gradients, "grad_tensors", TENSORS_OR_NONE) < 0)
        goto done;
    if (inputs != Py_None && list_make(&input, inputs, "inputs", TENSORS_OR_EDGES) < 0) goto done;
    if (gradient.n && gradient.n != root.n) {
        PyErr_Format(PyExc_RuntimeError, "got %d tensors and %d gradients", root.n, gradient.n);
        goto done;
    }
    FacBackward what = {
        .nroots = root.n,
        .roots = root.at,
        .root_edges = root.edges,
        .gradients = gradient.n ? gradient.at : NULL,
        .retain_graph = retain != 0,
        .create_graph = create != 0,
        .ninputs = input.n,
        .inputs = inputs == Py_None ? NULL : input.at,
        .input_edges = input.edges,
        .accumulate = accumulate != 0,
        .allow_unused = unused != 0,
    };
    if (create && accumulate && warn_of_cycle(2) < 0) goto done;
    result = inputs == Py_None ? run(&what) : run_to_inputs(&what);
done:
    list_free(&root);
    list_free(&gradient);
    list_free(&input);
    return result;
}

/* t.backward(gradient=None, retain_graph=None, create_graph=False, inputs=None) */
static PyObject *
tensor_backward(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"gradient", "retain_graph", "create_graph", "inputs", NULL};
    PyObject *gradient = Py_None, *retain = Py_None, *inputs = Py_None, *result = NULL;
    TensorList input = {.n = 0};
    int create = 0, keep = -1;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|OOpO:backward", names, &gradient, &retain,
                                     &create, &inputs))
        return NULL;
    if (gradient != Py_None && !fac_is_tensor(gradient))
        return PyErr_Format(PyExc_TypeError, "gradients can be either Tensors or None, but got %s",
                            Py_TYPE(gradient)->tp_name);
    if (retain != Py_None && (keep = PyObject_IsTrue(retain)) < 0) return NULL;
    if (inputs != Py_None && list_make(&input, inputs, "inputs", TENSORS_OR_EDGES) < 0) goto done;
    if (inputs != Py_None && !input.n) {
        PyErr_SetString(PyExc_RuntimeError, "`inputs` argument to `backward` cannot be empty.");
        goto done;
    }
    FacTensor *root = fac_unwrap(self);
    FacTensor *seed = gradient == Py_None ? NULL : fac_unwrap(gradient);
    FacBackward what = {
        .nroots = 1,
        .roots = &root,
        .gradients = seed ? &seed : NULL,
        .retain_graph = keep < 0 ? create != 0 : keep != 0,
        .create_graph = create != 0,
        .ninputs = input.n,
        .inputs = input.n ? input.at : NULL,
        .input_edges = input.edges,
        .accumulate = true,
        .allow_unused = true,
    };
    if (create && warn_of_cycle(1) < 0) goto done;
    result = run(&what);
done:
    list_free(&input);
    return result;
}

/* --- attributes ------------------------------------------------------------------------------- */

static PyObject *
get_requires_grad(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(fac_needs_grad(fac_unwrap(self)));
}

static int
set_requires_grad(PyObject *self, PyObject *value, void *Py_UNUSED(closure))
{
    if (!PyBool_Check(value)) {
        PyErr_SetString(PyExc_RuntimeError, "requires_grad must be a bool");
        return -1;
    }
    FacStatus st = fac_set_requires_grad(fac_unwrap(self), value == Py_True);
    if (st) fac_py_raise(st);
    return st ? -1 : 0;
}

static PyObject *
get_grad(PyObject *self, void *Py_UNUSED(closure))
{
    FacTensor *t = fac_unwrap(self), *grad = fac_grad_of(t);
    if (grad) return fac_wrap(grad);
    const FacAutograd *au = fac_autograd(t);
    if (au && !au->retains_grad && !fac_is_leaf(t) &&
        PyErr_WarnEx(
            PyExc_UserWarning,
            "The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its "
            ".grad attribute won't be populated during autograd.backward(). If you indeed want "
            "the .grad field to be populated for a non-leaf Tensor, use .retain_grad() on the "
            "non-leaf Tensor.",
            1) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static int
set_grad(PyObject *self, PyObject *value, void *Py_UNUSED(closure))
{
    if (value != Py_None && !fac_is_tensor(value)) {
        PyErr_Format(PyExc_TypeError,
                     "assigned grad expected to be a Tensor or None but got grad of type %s",
                     Py_TYPE(value)->tp_name);
        return -1;
    }
    FacStatus st = fac_set_grad(fac_unwrap(self), value == Py_None ? NULL : fac_unwrap(value));
    if (st) fac_py_raise(st);
    return st ? -1 : 0;
}

static PyObject *
get_grad_fn(PyObject *self, void *Py_UNUSED(closure))
{
    FacNode *node = NULL;
    FacStatus st = fac_grad_fn(fac_unwrap(self), &node);
    return st ? fac_py_raise(st) : fac_py_node(node);
}

static PyObject *
get_is_leaf(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(fac_is_leaf(fac_unwrap(self)));
}

static PyObject *
get_retains_grad(PyObject *self, void *Py_UNUSED(closure))
{
    const FacAutograd *au = fac_autograd(fac_unwrap(self));
    return PyBool_FromLong(au && au->retains_grad);
}

static PyObject *
get_output_nr(PyObject *self, void *Py_UNUSED(closure))
{
    const FacAutograd *au = fac_autograd(fac_unwrap(self));
    return PyLong_FromUnsignedLong(au ? au->index : 0);
}

static PyObject *
get_hooks(PyObject *self, void *closure)
{
    return fac_py_tensor_hooks(fac_unwrap(self), closure != NULL);
}

PyGetSetDef fac_autograd_getset[] = {
    {"requires_grad", get_requires_grad, set_requires_grad, "Whether gradients reach it.", NULL},
    {"grad", get_grad, set_grad, "The gradient that was accumulated, or None.", NULL},
    {"_grad", get_grad, set_grad, "The gradient that was accumulated, or None.", NULL},
    {"grad_fn", get_grad_fn, NULL, "The node that made it, or None.", NULL},
    {"is_leaf", get_is_leaf, NULL, "Whether no recorded call made it.", NULL},
    {"retains_grad", get_retains_grad, NULL, "Whether retain_grad was called.", NULL},
    {"output_nr", get_output_nr, NULL, "Which result of grad_fn it is.", NULL},
    {"_backward_hooks", get_hooks, NULL, "{id: hook}, or None.", NULL},
    {"_post_accumulate_grad_hooks", get_hooks, NULL, "{id: hook}, or None.", (void *)1},
    {NULL, NULL, NULL, NULL, NULL},
};

/* --- methods ---------------------------------------------------------------------------------- */

static PyObject *
tensor_requires_grad_(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"requires_grad", NULL};
    int on = 1;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|p:requires_grad_", names, &on)) return NULL;
    FacStatus st = fac_set_requires_grad(fac_unwrap(self), on != 0);
    return st ? fac_py_raise(st) : Py_NewRef(self);
}

static PyObject *
tensor_detach_(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    FacStatus st = fac_detach_(fac_unwrap(self));
    return st ? fac_py_raise(st) : Py_NewRef(self);
}

static PyObject *
tensor_retain_grad(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    FacStatus st = fac_retain_grad(fac_unwrap(self));
    if (st) return fac_py_raise(st);
    Py_RETURN_NONE;
}

static PyObject *
tensor_register_hook(PyObject *self, PyObject *hook)
{
    return fac_py_hook_tensor(self, hook, false);
}

static PyObject *
tensor_register_post_hook(PyObject *self, PyObject *hook)
{
    return fac_py_hook_tensor(self, hook, true);
}

#define KEYWORDS(function) (PyCFunction)(void (*)(void))(function), METH_VARARGS | METH_KEYWORDS

PyMethodDef fac_autograd_methods[] = {
    {"backward", KEYWORDS(tensor_backward),
     "backward($self, gradient=None, retain_graph=None, create_graph=False, inputs=None)\n--\n\n"
     "Accumulates the gradients of the leaves."},
    {"requires_grad_", KEYWORDS(tensor_requires_grad_),
     "requires_grad_($self, requires_grad=True)\n--\n\nSets requires_grad; returns the tensor."},
    {"detach_", tensor_detach_, METH_NOARGS,
     "detach_($self)\n--\n\nForgets how the tensor was made."},
    {"retain_grad", tensor_retain_grad, METH_NOARGS,
     "retain_grad($self)\n--\n\nLets a tensor that is no leaf get its .grad too."},
    {"register_hook", tensor_register_hook, METH_O,
     "register_hook($self, hook, /)\n--\n\nCalls hook(grad) whenever its gradient is computed."},
    {"register_post_accumulate_grad_hook", tensor_register_post_hook, METH_O,
     "register_post_accumulate_grad_hook($self, hook, /)\n--\n\n"
     "Calls hook(tensor) after its .grad has grown."},
    {NULL, NULL, 0, NULL},
};

/* --- modes and functions ---------------------------------------------------------------------- */

static PyObject *
is_grad_enabled(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(fac_grad_enabled());
}

static PyObject *
set_grad_mode(PyObject *Py_UNUSED(module), PyObject *on)
{
    int truth = PyObject_IsTrue(on);
    return truth < 0 ? NULL : PyBool_FromLong(fac_set_grad_enabled(truth));
}

static PyObject *
is_inference_mode(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(fac_thread.inference);
}

static PyObject *
set_inference_mode(PyObject *Py_UNUSED(module), PyObject *on)
{
    int truth = PyObject_IsTrue(on);
    if (truth < 0) return NULL;
    bool was = fac_thread.inference;
    fac_thread.inference = truth != 0;
    return PyBool_FromLong(was);
}

/* (node, index): where the gradient of a tensor goes. */
static PyObject *
gradient_edge(PyObject *Py_UNUSED(module), PyObject *o)
{
    FacEdge edge = {.node = NULL};
    if (!fac_is_tensor(o))
        return PyErr_Format(PyExc_TypeError, "_gradient_edge(): expected a Tensor, not %s",
                            Py_TYPE(o)->tp_name);
    FacStatus st = fac_gradient_edge(fac_unwrap(o), &edge);
    if (st) return fac_py_raise(st);
    PyObject *node = fac_py_node(edge.node);
    fac_node_release(edge.node);
    return node ? Py_BuildValue("NI", node, edge.index) : NULL;
}

static PyObject *
current_node(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return fac_py_node(fac_current_node());
}

static PyObject *
current_run(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromLongLong((long long)fac_current_run() - !fac_current_run());
}

static PyObject *
run_visits(PyObject *Py_UNUSED(module), PyObject *o)
{
    FacNode *node = fac_node_from_python(o);
    if (!node) return PyErr_Format(PyExc_TypeError, "expected a Node, not %s", Py_TYPE(o)->tp_name);
    return PyBool_FromLong(fac_current_run_visits(node));
}

static PyObject *
run_is_whole(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(!fac_current_run_is_partial());
}

static PyObject *
increment_version(PyObject *Py_UNUSED(module), PyObject *o)
{
    if (!fac_is_tensor(o))
        return PyErr_Format(PyExc_TypeError, "increment_version(): expected a Tensor, not %s",
                            Py_TYPE(o)->tp_name);
    FacTensor *t = fac_unwrap(o);
    FacStatus st =
        t->flags & FAC_T_INFERENCE
            ? fac_error(FAC_RUNTIME_ERROR, "Inference tensors do not track version counter.")
            : fac_tensor_bump(t);
    if (st) return fac_py_raise(st);
    Py_RETURN_NONE;
}

static PyObject *
set_layout_policy(PyObject *Py_UNUSED(module), PyObject *o)
{
    int kept = PyObject_IsTrue(o);
    if (kept < 0) return NULL;
    return PyBool_FromLong(!fac_set_any_gradient_layout(!kept));
}

PyMethodDef fac_autograd_functions[] = {
    {"_run_backward", KEYWORDS(run_backward),
     "_run_backward(roots, gradients, retain_graph, create_graph, inputs=None, allow_unused=False, "
     "accumulate=False)\n--\n\nRuns the graph; the gradients of the inputs, if there are any."},
    {"is_grad_enabled", is_grad_enabled, METH_NOARGS,
     "is_grad_enabled()\n--\n\nWhether calls are recorded."},
    {"_set_grad_enabled", set_grad_mode, METH_O,
     "_set_grad_enabled(mode, /)\n--\n\nTurns recording on or off; returns what it was."},
    {"is_inference_mode_enabled", is_inference_mode, METH_NOARGS,
     "is_inference_mode_enabled()\n--\n\nWhether new tensors are inference tensors."},
    {"_set_inference_mode", set_inference_mode, METH_O,
     "_set_inference_mode(mode, /)\n--\n\nTurns inference mode on or off; returns what it was."},
    {"_set_grad_layout_policy", set_layout_policy, METH_O,
     "_set_grad_layout_policy(kept, /)\n--\n\nWhether first gradients lie as their leaves; returns "
     "what it was."},
    {"_gradient_edge", gradient_edge, METH_O,
     "_gradient_edge(tensor, /)\n--\n\n(node, index): where the gradient of a tensor goes."},
    {"_current_graph_task_id", current_run, METH_NOARGS,
     "_current_graph_task_id()\n--\n\nThe number of the backward run of this thread, or -1."},
    {"_will_engine_execute_node", run_visits, METH_O,
     "_will_engine_execute_node(node, /)\n--\n\nWhether the run of this thread goes through it."},
    {"_is_checkpoint_valid", run_is_whole, METH_NOARGS,
     "_is_checkpoint_valid()\n--\n\nWhether the run of this thread goes to all leaves."},
    {"_increment_version", increment_version, METH_O,
     "_increment_version(tensor, /)\n--\n\nMarks the tensor as changed in place."},
    {"_current_graph_node", current_node, METH_NOARGS,
     "_current_graph_node()\n--\n\nThe node that backward runs in this thread, or None."},
    {NULL, NULL, 0, NULL},
};
