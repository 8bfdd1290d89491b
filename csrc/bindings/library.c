/* library.c - rows as Python objects, and operators registered from Python and from libraries.
 *
 * An OpOverload is one row in one form (itself, in-place, out=): what __torch_dispatch__ receives and
 * facula.ops.<namespace>.<name>.<overload> gives. An operator of Python's own is a row like all others whose
 * kernels are the functions kept with it (FacPyRow.kernels): "cpu" and "meta" compute, "composite" calls other
 * operators, "autograd" stands in the place of the recording layer.
 */
#include "bindings/bindings.h"

#include <dlfcn.h>
#include <string.h>
#include <structmember.h>

typedef struct FacOverload {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    FacOpEntry entry;
    uint8_t call_flags;
} FacOverload;

static PyTypeObject *overload_type;

/* --- values -------------------------------------------------------------------------------------------------- */

bool
fac_py_is_default(const FacOp *op, int i, FacValue v)
{
    const FacParam *p = &op->params[i];
    FacValue d = p->fallback;
    if (!(p->flags & FAC_P_DEFAULT) || v.tag != d.tag) return false;
    switch (v.tag) {
    case FAC_V_NONE: return true;
    case FAC_V_TENSOR:
    case FAC_V_COMPLEX:
    case FAC_V_TENSORS:
    case FAC_V_VALUES:
    case FAC_V_OBJECT: return false;
    case FAC_V_STR: return v.len == d.len && !memcmp(v.v.s, d.v.s, v.len);
    case FAC_V_INTS: return v.len == d.len && !memcmp(v.v.ints, d.v.ints, v.len * sizeof *v.v.ints);
    case FAC_V_FLOATS:
        return v.len == d.len && !memcmp(v.v.floats, d.v.floats, v.len * sizeof *v.v.floats);
    case FAC_V_BOOLS:
        return v.len == d.len && !memcmp(v.v.bools, d.v.bools, v.len * sizeof *v.v.bools);
    case FAC_V_BOOL: return v.v.b == d.v.b;
    default: return v.v.i == d.v.i;
    }
}

/* One object as a result of the given type: a new reference in *out. */
static FacStatus
take_result(const FacCall *call, const FacParam *result, PyObject *o, FacValue *out)
{
    if (result->type == FAC_TYPE_TENSOR && !(result->flags & FAC_P_LIST)) {
        if (!fac_is_tensor(o)) goto wrong;
        *out = fac_v_tensor(fac_tensor_retain(fac_unwrap(o)));
        return FAC_OK;
    }
    if (result->type == FAC_TYPE_TENSOR) {
        PyObject *items = PySequence_Check(o) ? PySequence_Tuple(o) : NULL;
        FacTensor **slots;
        if (!items) goto wrong;
        Py_ssize_t n = PyTuple_GET_SIZE(items);
        FacStatus st = fac_value_new_tensors((int)n, out, &slots);
        for (Py_ssize_t i = 0; st == FAC_OK && i < n; i++) {
            if (fac_is_tensor(PyTuple_GET_ITEM(items, i)))
                slots[i] = fac_tensor_retain(fac_unwrap(PyTuple_GET_ITEM(items, i)));
            else
                st = fac_error(FAC_TYPE_ERROR, "%s() must return tensors", call->op->name);
        }
        if (st != FAC_OK) fac_value_release(out);
        Py_DECREF(items);
        return st;
    }
    FacScratch scratch;
    FacValue number;
    fac_scratch_init(&scratch);
    int fits = fac_number_convert(o, &number, &scratch);
    FacStatus st = fits == 1 ? fac_value_keep(number, out) : FAC_FOREIGN;
    fac_scratch_release(&scratch);
    if (fits) return st;
wrong:
    return fac_error(FAC_TYPE_ERROR, "%s() returned %s where its schema says otherwise: %s",
                     call->op->name, Py_TYPE(o)->tp_name, call->op->schema);
}

FacStatus
fac_py_take_results(FacCall *call, PyObject *returned)
{
    const FacOp *op = call->op;
    FacStatus st = FAC_OK;
    if (call->flags) { /* in-place and out=: the results are the targets, whatever was returned */
        for (int i = 0; i < op->nresults; i++)
            call->results[i] = fac_v_tensor(fac_tensor_retain(call->targets[i]));
        return FAC_OK;
    }
    if (op->nresults == 0) return FAC_OK;
    if (op->nresults == 1) return take_result(call, &op->results[0], returned, &call->results[0]);
    PyObject *items = PySequence_Check(returned) ? PySequence_Tuple(returned) : NULL;
    if (!items || PyTuple_GET_SIZE(items) != op->nresults) {
        Py_XDECREF(items);
        return fac_error(FAC_TYPE_ERROR, "%s() must return %d results", op->name, op->nresults);
    }
    for (int i = 0; st == FAC_OK && i < op->nresults; i++)
        st = take_result(call, &op->results[i], PyTuple_GET_ITEM(items, i), &call->results[i]);
    if (st != FAC_OK) fac_values_release(call->results, op->nresults);
    Py_DECREF(items);
    return st;
}

/* --- OpOverload -------------------------------------------------------------------------------------------------- */

static PyObject *
overload_vectorcall(PyObject *callable, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    FacOverload *self = (FacOverload *)callable;
    const FacOp *op = self->entry.op;
    Py_ssize_t nargs = PyVectorcall_NARGS(nargsf),
               n = nargs + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0);
    int wanted = fac_override_wanted(args, n);
    if (wanted) return wanted < 0 ? NULL : fac_override_call(callable, args, nargs, kwnames);
    FacFrame frame;
    fac_frame_init(&frame);
    PyObject *result = NULL;
    int fits = fac_args_bind(&self->entry, args, nargs, kwnames, &frame);
    if (fits == 1) {
        result = fac_py_run_frame(op, &frame, self->entry.inplace);
    } else if (!fits) {
        PyObject *name = PyUnicode_FromString(op->name);
        if (name) fac_args_error(name, &self->entry, 1, &frame, args, nargs, kwnames);
        Py_XDECREF(name);
    }
    fac_scratch_release(&frame.scratch);
    return result;
}

static const char *
overload_name(const FacOverload *self)
{
    if (self->call_flags & FAC_CALL_OUT) return "out";
    return *self->entry.op->overload ? self->entry.op->overload : "default";
}

static PyObject *
qualified_name(const FacOverload *self)
{
    return PyUnicode_FromFormat("%s.%s%s.%s", self->entry.op->ns, self->entry.op->name,
                                self->entry.inplace ? "_" : "", overload_name(self));
}

static PyObject *
overload_repr(PyObject *o)
{
    PyObject *name = qualified_name((FacOverload *)o);
    PyObject *text = name ? PyUnicode_FromFormat("<OpOverload(op='%U')>", name) : NULL;
    Py_XDECREF(name);
    return text;
}

static PyObject *
overload_str(PyObject *o)
{
    return qualified_name((FacOverload *)o);
}

static PyObject *
get_name(PyObject *o, void *Py_UNUSED(closure))
{
    FacOverload *self = (FacOverload *)o;
    return PyUnicode_FromFormat("%s%s.%s", self->entry.op->name, self->entry.inplace ? "_" : "",
                                overload_name(self));
}

static PyObject *
get_base_name(PyObject *o, void *Py_UNUSED(closure))
{
    FacOverload *self = (FacOverload *)o;
    return PyUnicode_FromFormat("%s%s", self->entry.op->name, self->entry.inplace ? "_" : "");
}

static PyObject *
get_namespace(PyObject *o, void *Py_UNUSED(closure))
{
    return PyUnicode_FromString(((FacOverload *)o)->entry.op->ns);
}

static PyObject *
get_schema(PyObject *o, void *Py_UNUSED(closure))
{
    const FacOp *op = ((FacOverload *)o)->entry.op;
    if (op->flags & FAC_OP_RUNTIME)
        return PyUnicode_FromString(op->schema); /* names its namespace */
    return PyUnicode_FromFormat("%s::%s", op->ns, op->schema);
}

static PyObject *
get_overload_name(PyObject *o, void *Py_UNUSED(closure))
{
    return PyUnicode_FromString(overload_name((FacOverload *)o));
}

static PyObject *
method_name(PyObject *o, PyObject *Py_UNUSED(ignored))
{
    FacOverload *self = (FacOverload *)o;
    return PyUnicode_FromFormat("%s::%s%s%s%s", self->entry.op->ns, self->entry.op->name,
                                self->entry.inplace ? "_" : "",
                                *self->entry.op->overload ? "." : "", self->entry.op->overload);
}

/* Pickles as _overload("ns::name.overload", flags): the same object comes back. */
static PyObject *
overload_reduce(PyObject *o, PyObject *Py_UNUSED(ignored))
{
    FacOverload *self = (FacOverload *)o;
    PyObject *make = PyObject_GetAttrString(fac_py.module, "_overload");
    PyObject *name =
        PyUnicode_FromFormat("%s::%s%s%s", self->entry.op->ns, self->entry.op->name,
                             *self->entry.op->overload ? "." : "", self->entry.op->overload);
    if (!make || !name) {
        Py_XDECREF(make);
        Py_XDECREF(name);
        return NULL;
    }
    return Py_BuildValue("N(Ni)", make, name, (int)self->call_flags);
}

static PyMemberDef overload_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(FacOverload, vectorcall), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};
static PyGetSetDef overload_getset[] = {
    {"__name__", get_name, NULL, NULL, NULL},
    {"_opname", get_base_name, NULL, "The operator's name.", NULL},
    {"_overloadname", get_overload_name, NULL, "The overload's name.", NULL},
    {"_schema", get_schema, NULL, "The schema as text.", NULL},
    {"namespace", get_namespace, NULL, "The namespace: \"aten\" for built-in operators.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyMethodDef overload_methods[] = {
    {"name", method_name, METH_NOARGS, "name()\n--\n\nThe qualified name."},
    {"__reduce__", overload_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot overload_slots[] = {
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_repr, overload_repr},
    {Py_tp_str, overload_str},
    {Py_tp_members, overload_members},
    {Py_tp_getset, overload_getset},
    {Py_tp_methods, overload_methods},
    {0, NULL},
};
static PyType_Spec overload_spec = {
    .name = "facula._C.OpOverload",
    .basicsize = sizeof(FacOverload),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = overload_slots,
};

PyObject *
fac_py_overload(const FacOp *op, uint8_t call_flags)
{
    FacPyRow *row = fac_py_row(op);
    int form = call_flags & FAC_CALL_INPLACE ? 1 : call_flags & FAC_CALL_OUT ? 2 : 0;
    if (!row || row->overloads[form]) return row ? row->overloads[form] : NULL;
    FacOverload *self = (FacOverload *)overload_type->tp_alloc(overload_type, 0);
    if (!self) return NULL;
    self->vectorcall = overload_vectorcall;
    self->entry = (FacOpEntry){.op = op, .names = row->names, .inplace = form == 1};
    self->call_flags = call_flags & (FAC_CALL_INPLACE | FAC_CALL_OUT);
    return row->overloads[form] = (PyObject *)self;
}

/* --- kernels written in Python ------------------------------------------------------------------------------------ */

/* Calls the row's Python function of that kind; *had is false when it has none. */
static FacStatus
run_python(FacCall *call, const char *kind, bool *had)
{
    const FacOp *op = call->op;
    PyGILState_STATE gil = PyGILState_Ensure();
    FacPyRow *row = fac_py_row(op);
    PyObject *function = row && row->kernels ? PyDict_GetItemString(row->kernels, kind) : NULL;
    PyObject *args[FAC_ARGS_MAX], *returned = NULL;
    FacStatus st = FAC_FOREIGN;
    int n = 0;
    *had = function != NULL;
    for (; function && n < op->nparams; n++)
        if (!(args[n] = fac_value_to_python(call->args[n]))) goto done;
    if (function) returned = PyObject_Vectorcall(function, args, (size_t)n, NULL);
    if (returned) st = fac_py_take_results(call, returned);
done:
    while (n--) Py_DECREF(args[n]);
    Py_XDECREF(returned);
    PyGILState_Release(gil);
    return st;
}

static FacStatus
missing(const FacCall *call, const char *kind)
{
    return fac_error(FAC_NOT_IMPLEMENTED,
                     "the operator '%s::%s' has no function for '%s'; register one with "
                     "facula.library.impl",
                     call->op->ns, call->op->name, kind);
}

static FacStatus
python_cpu(FacCall *call)
{
    bool had;
    FacStatus st = run_python(call, "cpu", &had);
    if (!had) st = run_python(call, "composite", &had);
    return had ? st : missing(call, "cpu");
}

static FacStatus
python_meta(FacCall *call)
{
    bool had;
    FacStatus st = run_python(call, "meta", &had);
    if (!had) st = run_python(call, "composite", &had);
    return had ? st : missing(call, "meta");
}

static FacStatus
python_composite(FacCall *call)
{
    bool had;
    FacStatus st = run_python(call, "composite", &had);
    return had ? st : missing(call, "composite");
}

/* In the place of the recording layer: the function records by itself (autograd.Function) or calls on below. */
static FacStatus
python_autograd(FacCall *call)
{
    bool had;
    call->keys &= ~FAC_KEY(GRAD);
    FacStatus st = run_python(call, "autograd", &had);
    return had ? st : fac_dispatch_next(call);
}

/* _register_op(schema, doc): a row without functions yet. */
static PyObject *
register_op(PyObject *Py_UNUSED(module), PyObject *args)
{
    const char *schema, *doc;
    const FacOp *op = NULL;
    if (!PyArg_ParseTuple(args, "sz", &schema, &doc)) return NULL;
    FacOpSpec spec = {.schema = schema, .doc = doc, .cpu = python_cpu, .meta = python_meta};
    FacStatus st = fac_op_register(&spec, NULL, &op);
    if (st) return fac_py_raise(st);
    return Py_XNewRef(fac_py_overload(op, 0));
}

/* _set_kernel(overload, kind, function) */
static PyObject *
set_kernel(PyObject *Py_UNUSED(module), PyObject *args)
{
    FacOverload *overload;
    const char *kind;
    PyObject *function;
    if (!PyArg_ParseTuple(args, "O!sO", overload_type, &overload, &kind, &function)) return NULL;
    FacOp *op = (FacOp *)overload->entry.op;
    if (!(op->flags & FAC_OP_RUNTIME))
        return PyErr_Format(PyExc_RuntimeError,
                            "%s is a built-in operator; its functions cannot be replaced",
                            op->name);
    if (strcmp(kind, "cpu") && strcmp(kind, "meta") && strcmp(kind, "composite") &&
        strcmp(kind, "autograd"))
        return PyErr_Format(PyExc_ValueError,
                            "kind must be 'cpu', 'meta', 'composite' or 'autograd', got '%s'",
                            kind);
    FacPyRow *row = fac_py_row(op);
    if (!row || (!row->kernels && !(row->kernels = PyDict_New()))) return NULL;
    if (PyDict_SetItemString(row->kernels, kind, function) < 0) return NULL;
    if (!strcmp(kind, "autograd")) op->layer[FAC_KEY_INDEX_GRAD] = python_autograd;
    if (!strcmp(kind, "composite")) op->composite = python_composite;
    Py_RETURN_NONE;
}

/* Loads a library that registers operators through facula.h when it is loaded. The symbols of this module
 * become global first, so that the library finds them. */
static PyObject *
load_library(PyObject *Py_UNUSED(module), PyObject *path)
{
    PyObject *encoded = NULL;
    Dl_info here;
    if (!PyUnicode_FSConverter(path, &encoded)) return NULL;
    if (dladdr((void *)&fac_py, &here) && here.dli_fname) {
        void *self = dlopen(here.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_GLOBAL);
        if (self) dlclose(self);
    }
    void *library = dlopen(PyBytes_AS_STRING(encoded), RTLD_NOW | RTLD_LOCAL);
    Py_DECREF(encoded);
    if (!library)
        return PyErr_Format(PyExc_OSError, "the library could not be loaded: %s", dlerror());
    Py_RETURN_NONE;
}

/* --- looking rows up ------------------------------------------------------------------------------------------------ */

static PyObject *
overload(PyObject *Py_UNUSED(module), PyObject *args)
{
    const char *name;
    int flags = 0;
    if (!PyArg_ParseTuple(args, "s|i", &name, &flags)) return NULL;
    const FacOp *op = fac_op_find(name);
    if (!op) return PyErr_Format(PyExc_AttributeError, "there is no operator '%s'", name);
    return Py_XNewRef(fac_py_overload(op, (uint8_t)(flags & (FAC_CALL_INPLACE | FAC_CALL_OUT))));
}

/* Adds the overloads of a row that go by the name: the row itself, and under name_ its in-place form. */
static int
add_overloads(PyObject *list, const FacOp *op, const char *ns, const char *name)
{
    size_t n = strlen(op->name);
    bool same = !strcmp(op->name, name),
         with_bar = !strncmp(op->name, name, n) && !strcmp(name + n, "_");
    uint8_t flags[3] = {0};
    int count = 0;
    if (strcmp(op->ns, ns)) return 0;
    if (same) flags[count++] = 0;
    if (same && (op->flags & FAC_OP_OUT)) flags[count++] = FAC_CALL_OUT;
    if (with_bar && (op->flags & FAC_OP_INPLACE)) flags[count++] = FAC_CALL_INPLACE;
    for (int i = 0; i < count; i++) {
        PyObject *o = fac_py_overload(op, flags[i]);
        if (!o || PyList_Append(list, o) < 0) return -1;
    }
    return 0;
}

/* _overloads(namespace, name): in the order of declaration. */
static PyObject *
overloads(PyObject *Py_UNUSED(module), PyObject *args)
{
    const char *ns, *name;
    const FacOp *op;
    if (!PyArg_ParseTuple(args, "ss", &ns, &name)) return NULL;
    PyObject *list = PyList_New(0);
    for (int i = 0; list && i < fac_op_count; i++)
        if (add_overloads(list, &fac_ops[i], ns, name) < 0) Py_CLEAR(list);
    for (int i = 0; list && (op = fac_op_registered(i)); i++)
        if (add_overloads(list, op, ns, name) < 0) Py_CLEAR(list);
    return list;
}

static PyObject *
dtypes_of(const FacOp *op)
{
    PyObject *list = PyList_New(0);
    for (int dt = 0; list && dt < FAC_DTYPES; dt++)
        if ((op->dtypes & FAC_BIT(dt)) && PyList_Append(list, fac_py_dtype((FacDType)dt)) < 0)
            Py_CLEAR(list);
    return list;
}

static PyObject *
params_of(const FacParam *params, int n)
{
    static const char *const types[] = {
#define TYPE_TEXT(name, text) text,
        FAC_TYPE_LIST(TYPE_TEXT)
#undef TYPE_TEXT
    };
    PyObject *list = PyList_New(n);
    for (int i = 0; list && i < n; i++) {
        const FacParam *p = &params[i];
        PyObject *entry =
            Py_BuildValue("{s:z,s:s,s:N,s:N,s:N,s:N,s:N}", "name", p->name, "type", types[p->type],
                          "list", PyBool_FromLong(p->flags & FAC_P_LIST), "optional",
                          PyBool_FromLong(p->flags & FAC_P_OPTIONAL), "keyword",
                          PyBool_FromLong(p->flags & FAC_P_KEYWORD), "default",
                          PyBool_FromLong(p->flags & FAC_P_DEFAULT), "write",
                          PyBool_FromLong(p->flags & FAC_P_WRITE));
        if (!entry)
            Py_CLEAR(list);
        else
            PyList_SET_ITEM(list, i, entry);
    }
    return list;
}

static PyObject *
row_description(const FacOp *op)
{
    static const struct {
        uint32_t bit;
        const char *name;
    } flags[] = {{FAC_OP_FUNCTION, "function"},   {FAC_OP_METHOD, "method"},
                 {FAC_OP_INPLACE, "inplace"},     {FAC_OP_OUT, "out"},
                 {FAC_OP_VIEW, "view"},           {FAC_OP_WRITES, "writes"},
                 {FAC_OP_POINTWISE, "pointwise"}, {FAC_OP_DATA_SHAPE, "data_shape"},
                 {FAC_OP_RANDOM, "random"},       {FAC_OP_FACTORY, "factory"},
                 {FAC_OP_RUNTIME, "runtime"}};
    PyObject *set = PyList_New(0);
    for (size_t i = 0; set && i < sizeof flags / sizeof *flags; i++) {
        PyObject *name = op->flags & flags[i].bit ? PyUnicode_FromString(flags[i].name) : NULL;
        if (name && PyList_Append(set, name) < 0) Py_CLEAR(set);
        Py_XDECREF(name);
    }
    if (!set) return NULL;
    return Py_BuildValue(
        "{s:s,s:s,s:s,s:s,s:s,s:s,s:z,s:z,s:N,s:N,s:N,s:N,s:N}", "name", op->name, "overload",
        op->overload, "namespace", op->ns, "module", op->module ? op->module : "", "public_name",
        op->public_name ? op->public_name : op->name, "schema", op->schema, "like", op->like, "doc",
        op->doc, "flags", set, "params", params_of(op->params, op->nparams), "results",
        params_of(op->results, op->nresults), "dtypes", dtypes_of(op), "differentiable",
        PyBool_FromLong(op->grad || op->composite));
}

static PyObject *
rows(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    PyObject *list = PyList_New(0);
    const FacOp *op;
    for (int i = 0;
         list && (op = i < fac_op_count ? &fac_ops[i] : fac_op_registered(i - fac_op_count)); i++) {
        PyObject *row = row_description(op);
        if (!row || PyList_Append(list, row) < 0) Py_CLEAR(list);
        Py_XDECREF(row);
    }
    return list;
}

PyMethodDef fac_library_functions[] = {
    {"_rows", rows, METH_NOARGS, "_rows()\n--\n\nA description of every operator row."},
    {"_overload", overload, METH_VARARGS,
     "_overload(name, flags=0, /)\n--\n\nThe OpOverload of that qualified name."},
    {"_overloads", overloads, METH_VARARGS,
     "_overloads(namespace, name, /)\n--\n\nThe OpOverloads of a name."},
    {"_register_op", register_op, METH_VARARGS,
     "_register_op(schema, doc, /)\n--\n\nMakes an operator whose functions are set with "
     "_set_kernel."},
    {"_set_kernel", set_kernel, METH_VARARGS,
     "_set_kernel(overload, kind, function, /)\n--\n\nSets a function of a registered operator."},
    {"_load_library", load_library, METH_O,
     "_load_library(path, /)\n--\n\nLoads a library that registers operators through facula.h."},
    {NULL, NULL, 0, NULL},
};

int
fac_start_library(PyObject *module)
{
    overload_type = fac_add_type(module, &overload_spec, NULL);
    return overload_type ? 0 : -1;
}
