/* opobj.c - the callables of all operators.
 *
 * One object stands for all rows of a name as one view of them: the function facula.add, the
 * method Tensor.add, the in-place method Tensor.add_. Two types share the structure and the code:
 * functions do not bind to instances, methods do, without making a bound method when they are
 * called at once (the method-descriptor flag). Methods of Tensor that are written by hand are
 * objects of the same type, so that the override protocol and pickling by name are handled here
 * for everything.
 *
 * A call tries the rows in the order of declaration: the arguments are bound to a frame on the C
 * stack, and the first row that they fit is run.
 */
#include "bindings/bindings.h"

#include <string.h>
#include <structmember.h>

typedef struct FacOpObject {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject *name;     /* as it is called, interned */
    const char *module; /* below the package: "", "linalg"; methods: NULL */
    FacOpEntry *entries;
    int nentries, room;
    PyMethodDef *hand; /* written by hand, instead of rows */
} FacOpObject;

/* {module: {name: function}}, {row name: function}, {name: method} */
static PyObject *published, *functions, *methods;

/* --- rows ------------------------------------------------------------------------------------- */

FacPyRow *
fac_py_row(const FacOp *op)
{
    if (FAC_LIKELY(op->foreign != NULL)) return op->foreign;
    FacPyRow *row = fac_mem_zalloc(sizeof *row + op->nparams * sizeof(PyObject *));
    if (!row) return (FacPyRow *)PyErr_NoMemory();
    row->names = (PyObject **)(row + 1);
    for (int i = 0; i < op->nparams; i++) {
        row->names[i] = PyUnicode_InternFromString(op->params[i].name);
        if (!row->names[i]) {
            while (i--) Py_DECREF(row->names[i]);
            fac_mem_free(row);
            return NULL;
        }
    }
    ((FacOp *)op)->foreign = row; /* the slot that a row keeps for this room */
    return row;
}

/* --- calling ---------------------------------------------------------------------------------- */

/* Whether all operands are numbers: formulas may do that, Python has operators of its own for it. */
static bool
only_numbers(const FacOp *op, const FacValue *args)
{
    if (!op->nparams || op->params[0].type != FAC_TYPE_OPERAND || (op->flags & FAC_OP_FACTORY))
        return false;
    for (int i = 0; i < op->nparams && op->params[i].type == FAC_TYPE_OPERAND; i++)
        if (args[i].tag == FAC_V_TENSOR) return false;
    return true;
}

PyObject *
fac_py_run_frame(const FacOp *op, FacFrame *f, bool inplace)
{
    FacValue results[FAC_RESULTS_MAX];
    FacTensor *target = NULL;
    if (FAC_UNLIKELY(only_numbers(op, f->args)))
        return PyErr_Format(
            PyExc_TypeError,
            "%s(): one of the arguments '%s' and '%s' must be a tensor, not a number", op->name,
            op->params[0].name, op->params[1].name);
    for (int i = 0; i < op->nresults; i++) results[i] = FAC_VALUE_NONE;
    FacCall call = {.op = op, .args = f->args, .results = results};
    if (inplace) {
        target = fac_v_as_tensor(f->args[0]);
        if (!target)
            return PyErr_Format(PyExc_TypeError,
                                "%s_(): argument 'self' must be Tensor, not a number", op->name);
        call.targets = &target;
        call.flags = FAC_CALL_INPLACE;
    } else if (f->ntargets) {
        call.targets = f->targets;
        call.flags = FAC_CALL_OUT;
    }
    FacStatus st = fac_dispatch(&call);
    if (st == FAC_OK && f->requires_grad > 0) st = fac_set_requires_grad(results[0].v.t, true);
    if (FAC_UNLIKELY(st != FAC_OK)) {
        fac_values_release(results, op->nresults);
        return fac_py_raise(st);
    }
    if (!inplace) return fac_results_to_python(op, results);
    fac_values_release(results, op->nresults);
    return fac_wrap(target);
}

/* The first row that the arguments fit. A 0-d tensor stands for a number only where no row of that
 * name takes it as a tensor. */
static PyObject *
call_rows(FacOpObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    FacFrame frame;
    bool choosy = self->nentries > 1, refused = false;
again:
    for (int i = 0; i < self->nentries; i++) {
        const FacOpEntry *e = &self->entries[i];
        fac_frame_init(&frame);
        frame.scratch.choosy = choosy;
        int fits = fac_args_bind(e, args, nargs, kwnames, &frame);
        PyObject *result = NULL;
        if (FAC_LIKELY(fits == 1)) result = fac_py_run_frame(e->op, &frame, e->inplace);
        refused |= frame.scratch.refused;
        fac_scratch_release(&frame.scratch);
        if (fits) return result;
    }
    if (choosy && refused) {
        choosy = false;
        goto again;
    }
    return fac_args_error(self->name, self->entries, self->nentries, &frame, args, nargs, kwnames);
}

typedef PyObject *(*FastFunction)(PyObject *, PyObject *const *, Py_ssize_t);
typedef PyObject *(*FastKeywordFunction)(PyObject *, PyObject *const *, Py_ssize_t, PyObject *);

static PyObject *
call_with_tuple(FacOpObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *kwargs = NULL, *result = NULL;
    PyObject *tuple = PyTuple_New(nargs - 1);
    if (!tuple) return NULL;
    for (Py_ssize_t i = 1; i < nargs; i++) PyTuple_SET_ITEM(tuple, i - 1, Py_NewRef(args[i]));
    if (!(self->hand->ml_flags & METH_KEYWORDS)) {
        result = self->hand->ml_meth(args[0], tuple);
        goto done;
    }
    if (kwnames && !(kwargs = PyDict_New())) goto done;
    for (Py_ssize_t i = 0; kwargs && i < PyTuple_GET_SIZE(kwnames); i++)
        if (PyDict_SetItem(kwargs, PyTuple_GET_ITEM(kwnames, i), args[nargs + i]) < 0) goto done;
    PyCFunctionWithKeywords function = (PyCFunctionWithKeywords)(void (*)(void))self->hand->ml_meth;
    result = function(args[0], tuple, kwargs);
done:
    Py_XDECREF(kwargs);
    Py_DECREF(tuple);
    return result;
}

static PyObject *
call_hand(FacOpObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    void (*function)(void) = (void (*)(void))self->hand->ml_meth;
    int flags = self->hand->ml_flags;
    if (nargs < 1 || !fac_is_tensor(args[0]))
        return PyErr_Format(PyExc_TypeError, "%U() is a method of Tensor, not of %s", self->name,
                            nargs ? Py_TYPE(args[0])->tp_name : "nothing");
    if (!(flags & METH_KEYWORDS) && kwnames && PyTuple_GET_SIZE(kwnames))
        return PyErr_Format(PyExc_TypeError, "%U() takes no keyword arguments", self->name);
    if (flags & METH_FASTCALL)
        return flags & METH_KEYWORDS
                   ? ((FastKeywordFunction)function)(args[0], args + 1, nargs - 1, kwnames)
                   : ((FastFunction)function)(args[0], args + 1, nargs - 1);
    if (flags & METH_VARARGS) return call_with_tuple(self, args, nargs, kwnames);
    Py_ssize_t takes = flags & METH_O ? 1 : 0;
    if (nargs - 1 != takes)
        return PyErr_Format(PyExc_TypeError, "%U() takes %s (%zd given)", self->name,
                            takes ? "one argument" : "no arguments", nargs - 1);
    return self->hand->ml_meth(args[0], takes ? args[1] : NULL);
}

/* Whether the slow test for overrides is needed: something is neither a plain tensor nor one of the
 * common types that cannot ask for any. */
static inline bool
may_override(PyObject *const *args, Py_ssize_t n)
{
    if (FAC_UNLIKELY(fac_override_modes())) return true;
    for (Py_ssize_t i = 0; i < n; i++) {
        PyTypeObject *type = Py_TYPE(args[i]);
        if (type != fac_py.tensor_type && type != &PyLong_Type && type != &PyFloat_Type &&
            type != &PyBool_Type && args[i] != Py_None && type != fac_py.parameter_type)
            return true;
    }
    return false;
}

static PyObject *
op_vectorcall(PyObject *callable, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    FacOpObject *self = (FacOpObject *)callable;
    Py_ssize_t nargs = PyVectorcall_NARGS(nargsf);
    Py_ssize_t n = nargs + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0);
    if (FAC_UNLIKELY(may_override(args, n))) {
        int wanted = fac_override_wanted(args, n);
        if (wanted < 0) return NULL;
        if (wanted) return fac_override_call(callable, args, nargs, kwnames);
    }
    if (FAC_UNLIKELY(self->hand != NULL)) return call_hand(self, args, nargs, kwnames);
    return call_rows(self, args, nargs, kwnames);
}

/* --- the object ------------------------------------------------------------------------------- */

static bool
is_method(const FacOpObject *self)
{
    return Py_TYPE(self) == fac_py.method_type;
}

static void
op_dealloc(PyObject *o)
{
    FacOpObject *self = (FacOpObject *)o;
    PyTypeObject *type = Py_TYPE(o);
    Py_XDECREF(self->name);
    fac_mem_free(self->entries);
    type->tp_free(o);
    Py_DECREF(type);
}

static PyObject *
op_repr(PyObject *o)
{
    FacOpObject *self = (FacOpObject *)o;
    if (is_method(self)) return PyUnicode_FromFormat("<method '%U' of Tensor objects>", self->name);
    return PyUnicode_FromFormat("<built-in method %U of %s%s%s>", self->name, fac_py.module_name,
                                *self->module ? "." : "", self->module);
}

static PyObject *
op_module(PyObject *o, void *Py_UNUSED(closure))
{
    FacOpObject *self = (FacOpObject *)o;
    if (is_method(self) || !*self->module) return PyUnicode_FromString(fac_py.module_name);
    return PyUnicode_FromFormat("%s.%s", fac_py.module_name, self->module);
}

static PyObject *
op_qualname(PyObject *o, void *Py_UNUSED(closure))
{
    FacOpObject *self = (FacOpObject *)o;
    if (is_method(self)) return PyUnicode_FromFormat("Tensor.%U", self->name);
    return Py_NewRef(self->name);
}

/* The signatures, a line each, then what the first row says of itself. */
static PyObject *
op_doc(PyObject *o, void *Py_UNUSED(closure))
{
    FacOpObject *self = (FacOpObject *)o;
    if (self->hand) return PyUnicode_FromString(self->hand->ml_doc ? self->hand->ml_doc : "");
    PyObject *text = PyUnicode_FromString("");
    for (int i = 0; text && i < self->nentries; i++) {
        PyObject *signature = fac_args_signature(&self->entries[i]);
        PyObject *longer =
            signature ? PyUnicode_FromFormat("%U%U%U\n", text, self->name, signature) : NULL;
        Py_XDECREF(signature);
        Py_SETREF(text, longer);
    }
    const char *doc = self->nentries ? self->entries[0].op->doc : NULL;
    if (text && doc) Py_SETREF(text, PyUnicode_FromFormat("%U\n%s", text, doc));
    return text;
}

static PyObject *
op_text_signature(PyObject *o, void *Py_UNUSED(closure))
{
    FacOpObject *self = (FacOpObject *)o;
    if (self->nentries != 1) return PyUnicode_FromString("(*args, **kwargs)");
    const FacOpEntry *e = &self->entries[0];
    PyObject *text = PyUnicode_FromString(e->method ? "($self" : "(");
    bool star = false;
    for (int i = e->method; text && i < e->op->nparams; i++) {
        const FacParam *p = &e->op->params[i];
        bool keyword = (p->flags & FAC_P_KEYWORD) && !star;
        star |= keyword;
        Py_SETREF(text,
                  PyUnicode_FromFormat("%U%s%s%s%s", text, i ? ", " : "", keyword ? "*, " : "",
                                       p->name, p->flags & FAC_P_DEFAULT ? "=None" : ""));
    }
    if (text) Py_SETREF(text, PyUnicode_FromFormat("%U)", text));
    return text;
}

static PyObject *
op_reduce(PyObject *o, PyObject *Py_UNUSED(ignored))
{
    FacOpObject *self = (FacOpObject *)o;
    if (!is_method(self)) return Py_NewRef(self->name);
    PyObject *builtins = PyImport_ImportModule("builtins");
    PyObject *get = builtins ? PyObject_GetAttrString(builtins, "getattr") : NULL;
    Py_XDECREF(builtins);
    return get ? Py_BuildValue("N(OO)", get, fac_py.tensor_type, self->name) : NULL;
}

static PyObject *
method_get(PyObject *self, PyObject *object, PyObject *Py_UNUSED(type))
{
    return object && object != Py_None ? PyMethod_New(self, object) : Py_NewRef(self);
}

static PyMemberDef op_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(FacOpObject, vectorcall), READONLY, NULL},
    {"__name__", T_OBJECT, offsetof(FacOpObject, name), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};
static PyGetSetDef op_getset[] = {
    {"__module__", op_module, NULL, NULL, NULL},
    {"__qualname__", op_qualname, NULL, NULL, NULL},
    {"__doc__", op_doc, NULL, NULL, NULL},
    {"__text_signature__", op_text_signature, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyMethodDef op_methods[] = {
    {"__reduce__", op_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot function_slots[] = {
    {Py_tp_dealloc, op_dealloc},
    {Py_tp_repr, op_repr},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_members, op_members},
    {Py_tp_getset, op_getset},
    {Py_tp_methods, op_methods},
    {0, NULL},
};
static PyType_Spec function_spec = {
    .name = "facula._C.function",
    .basicsize = sizeof(FacOpObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = function_slots,
};

static PyType_Slot method_slots[] = {
    {Py_tp_dealloc, op_dealloc},     {Py_tp_repr, op_repr},
    {Py_tp_call, PyVectorcall_Call}, {Py_tp_members, op_members},
    {Py_tp_getset, op_getset},       {Py_tp_methods, op_methods},
    {Py_tp_descr_get, method_get},   {0, NULL},
};
static PyType_Spec method_spec = {
    .name = "facula._C.method",
    .basicsize = sizeof(FacOpObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = method_slots,
};

/* --- making all of them ----------------------------------------------------------------------- */

/* The object of that name in a dict, made if it is not there yet (borrowed). */
static FacOpObject *
object_in(PyObject *dict, PyObject *name, PyTypeObject *type, const char *module)
{
    PyObject *found = PyDict_GetItemWithError(dict, name);
    if (found || PyErr_Occurred()) return (FacOpObject *)found;
    FacOpObject *self = (FacOpObject *)type->tp_alloc(type, 0);
    if (!self) return NULL;
    self->vectorcall = op_vectorcall;
    self->name = Py_NewRef(name);
    self->module = module;
    int st = PyDict_SetItem(dict, name, (PyObject *)self);
    Py_DECREF(self);
    return st < 0 ? NULL : self;
}

static int
add_entry(FacOpObject *self, const FacOp *op, bool inplace, bool method)
{
    FacPyRow *row = fac_py_row(op);
    if (!row) return -1;
    if (self->nentries == self->room) {
        int room = self->room ? 2 * self->room : 1;
        FacOpEntry *entries = fac_mem_realloc(self->entries, (size_t)room * sizeof *entries);
        if (!entries) return PyErr_NoMemory(), -1;
        self->entries = entries;
        self->room = room;
    }
    int last = method, at = 0;
    bool lone = op->npositional == last + 1 && op->params[last].type == FAC_TYPE_INT &&
                (op->params[last].flags & FAC_P_LIST) && !op->params[last].length;
    for (int i = 0; method && i < op->npositional; i++)
        if (strcmp(op->params[i].name, "self") == 0) at = i;
    self->entries[self->nentries++] = (FacOpEntry){.op = op,
                                                   .names = row->names,
                                                   .inplace = inplace,
                                                   .method = method,
                                                   .varargs = lone && at == 0,
                                                   .self = (uint8_t)at};
    return 0;
}

/* The dict of the functions of a module (borrowed). */
static PyObject *
module_dict(const char *module)
{
    PyObject *dict = PyDict_GetItemString(published, module);
    if (dict) return dict;
    dict = PyDict_New();
    if (dict && PyDict_SetItemString(published, module, dict) < 0) Py_CLEAR(dict);
    Py_XDECREF(dict); /* the outer dict holds it */
    return dict;
}

static int
add_function(const FacOp *op, bool inplace)
{
    const char *module = op->module ? op->module : "", *end = inplace ? "_" : "";
    PyObject *dict = module_dict(module), *name, *row_name;
    int st = -1;
    if (!dict) return -1;
    name = PyUnicode_FromFormat("%s%s", op->public_name ? op->public_name : op->name, end);
    row_name = PyUnicode_FromFormat("%s%s", op->name, end);
    if (name) PyUnicode_InternInPlace(&name);
    FacOpObject *self = name && row_name ? object_in(dict, name, fac_py.op_type, module) : NULL;
    if (self && add_entry(self, op, inplace, false) == 0)
        st = PyDict_SetDefault(functions, row_name, (PyObject *)self) ? 0 : -1;
    else
        st = -1;
    Py_XDECREF(name);
    Py_XDECREF(row_name);
    return st;
}

static int
add_method(const FacOp *op, bool inplace)
{
    PyObject *name = PyUnicode_FromFormat("%s%s", op->name, inplace ? "_" : "");
    if (!name) return -1;
    PyUnicode_InternInPlace(&name);
    FacOpObject *self = object_in(methods, name, fac_py.method_type, NULL);
    int st = self ? add_entry(self, op, inplace, true) : -1;
    Py_DECREF(name);
    return st;
}

int
fac_ops_add_methods(PyObject *dict, PyMethodDef *defs)
{
    for (; defs->ml_name; defs++) {
        PyObject *name = PyUnicode_InternFromString(defs->ml_name);
        if (!name) return -1;
        FacOpObject *self = object_in(dict, name, fac_py.method_type, NULL);
        Py_DECREF(name);
        if (!self) return -1;
        self->hand = defs;
    }
    return 0;
}

int
fac_ops_add_functions(PyMethodDef *defs, const char *const *names)
{
    PyObject *dict = module_dict("");
    if (!dict) return -1;
    for (; *names; names++) {
        PyMethodDef *def = defs;
        while (def->ml_name && strcmp(def->ml_name, *names) != 0) def++;
        PyObject *name = PyUnicode_InternFromString(*names);
        FacOpObject *self = name ? object_in(dict, name, fac_py.op_type, "") : NULL;
        Py_XDECREF(name);
        if (!self) return -1;
        self->hand = def;
    }
    return 0;
}

PyObject *
fac_op_object(const char *name, FacOpForm form)
{
    PyObject *dict = form == FAC_FORM_FUNCTION ? functions : methods;
    PyObject *key = PyUnicode_FromFormat("%s%s", name, form == FAC_FORM_INPLACE ? "_" : "");
    PyObject *found = key ? PyDict_GetItemWithError(dict, key) : NULL;
    if (!found && !PyErr_Occurred())
        PyErr_Format(PyExc_AttributeError, "there is no operator %U", key);
    Py_XDECREF(key);
    return Py_XNewRef(found);
}

PyObject *
fac_op_methods(void)
{
    return methods;
}

/* --- module functions ------------------------------------------------------------------------- */

static PyObject *
published_in(PyObject *Py_UNUSED(module), PyObject *name)
{
    PyObject *dict = PyDict_GetItemWithError(published, name);
    if (dict) return PyDict_Copy(dict);
    return PyErr_Occurred() ? NULL : PyDict_New();
}

PyMethodDef fac_op_functions[] = {
    {"_published", published_in, METH_O,
     "_published(module, /)\n--\n\nThe functions that stand in a module below the package."},
    {NULL, NULL, 0, NULL},
};

int
fac_start_ops(PyObject *module)
{
    fac_py.op_type = fac_add_type(module, &function_spec, NULL);
    fac_py.method_type = fac_add_type(module, &method_spec, NULL);
    published = PyDict_New();
    functions = PyDict_New();
    methods = PyDict_New();
    if (!fac_py.op_type || !fac_py.method_type || !published || !functions || !methods) return -1;
    for (int i = 0; i < fac_op_count; i++) {
        const FacOp *op = &fac_ops[i];
        bool inplace = (op->flags & FAC_OP_INPLACE) != 0;
        if (op->flags & FAC_OP_FUNCTION) {
            if (add_function(op, false) < 0) return -1;
            if (inplace && add_function(op, true) < 0) return -1;
        }
        if ((op->flags & FAC_OP_METHOD) && add_method(op, false) < 0) return -1;
        if (inplace && add_method(op, true) < 0) return -1;
    }
    PyObject *private = PyDict_GetItemString(published, "_C"), *key, *value;
    for (Py_ssize_t at = 0; private && PyDict_Next(private, &at, &key, &value);)
        if (PyObject_SetAttr(module, key, value) < 0) return -1;
    return PyModule_AddObjectRef(module, "_functions", functions);
}
