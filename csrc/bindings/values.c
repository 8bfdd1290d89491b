/* values.c - values of the core as Python objects, the results of calls, and running a call.
 *
 * One result is itself, several are a tuple, or a named tuple where the schema names them; lists
 * of tensors come as tuples, as the peer's functions give them. The interpreter lock is dropped
 * for calls on many elements only: giving it up and taking it again costs more than a small
 * kernel. Whatever runs below and needs Python (hooks, warnings, operators written in Python)
 * takes the lock by itself.
 */
#include "bindings/bindings.h"

#include <string.h>
#include <structmember.h>

/* --- numbers and other values ----------------------------------------------------------------- */

PyObject *
fac_number_to_python(FacValue v)
{
    switch (v.tag) {
    case FAC_V_BOOL: return PyBool_FromLong(v.v.b);
    case FAC_V_INT:
        return v.flags & FAC_VALUE_UNSIGNED ? PyLong_FromUnsignedLongLong((uint64_t)v.v.i)
                                            : PyLong_FromLongLong(v.v.i);
    case FAC_V_FLOAT: return PyFloat_FromDouble(v.v.f);
    case FAC_V_COMPLEX: return PyComplex_FromDoubles(v.v.c[0], v.v.c[1]);
    default: Py_RETURN_NONE;
    }
}

/* Item i of a list value as a value of its own. */
static FacValue
list_item(FacValue v, uint32_t i)
{
    switch (v.tag) {
    case FAC_V_INTS: return fac_v_int(v.v.ints[i]);
    case FAC_V_FLOATS: return fac_v_float(v.v.floats[i]);
    case FAC_V_BOOLS: return fac_v_bool(v.v.bools[i]);
    case FAC_V_VALUES: return v.v.values[i];
    default: return fac_v_tensor(v.v.tensors[i]);
    }
}

static PyObject *
list_to_python(FacValue v)
{
    PyObject *list = PyList_New(v.len);
    for (uint32_t i = 0; list && i < v.len; i++) {
        PyObject *item = fac_value_to_python(list_item(v, i));
        if (!item) {
            Py_DECREF(list);
            return NULL;
        }
        PyList_SET_ITEM(list, i, item);
    }
    return list;
}

PyObject *
fac_value_to_python(FacValue v)
{
    switch (v.tag) {
    case FAC_V_NONE: Py_RETURN_NONE;
    case FAC_V_TENSOR: return fac_wrap(v.v.t);
    case FAC_V_STR: return PyUnicode_FromStringAndSize(v.v.s, v.len);
    case FAC_V_DTYPE: return Py_NewRef(fac_py_dtype((FacDType)v.v.i));
    case FAC_V_DEVICE: return fac_py_device(v.v.device);
    case FAC_V_LAYOUT: return Py_NewRef(fac_py.layouts[v.v.i]);
    case FAC_V_FORMAT: return Py_NewRef(fac_py.formats[v.v.i]);
    case FAC_V_GENERATOR: return fac_py_generator(v.v.generator);
    case FAC_V_STORAGE: return fac_py_storage(v.v.storage);
    case FAC_V_INTS:
    case FAC_V_FLOATS:
    case FAC_V_BOOLS:
    case FAC_V_VALUES:
    case FAC_V_TENSORS: return list_to_python(v);
    case FAC_V_OBJECT: return Py_NewRef((PyObject *)v.v.p);
    default: return fac_number_to_python(v);
    }
}

/* --- results ---------------------------------------------------------------------------------- */

/* facula.return_types.max(
 * values=...,
 * indices=...) */
static PyObject *
named_result_repr(PyObject *self)
{
    const PyTypeObject *type = Py_TYPE(self);
    const char *short_name = strstr(type->tp_name, "return_types");
    PyObject *text = PyUnicode_FromFormat("%s.%s(\n", fac_py.module_name,
                                          short_name ? short_name : type->tp_name);
    Py_ssize_t n = PyTuple_GET_SIZE(self);
    for (Py_ssize_t i = 0; text && i < n; i++)
        Py_SETREF(text, PyUnicode_FromFormat("%U%s=%R%s", text, type->tp_members[i].name,
                                             PyTuple_GET_ITEM(self, i), i + 1 < n ? ",\n" : ")"));
    return text;
}

static PyObject *result_types; /* {name: type}, for facula.return_types */

/* Names and descriptions live as long as the type, which lives for good. */
static PyTypeObject *
make_result_type(const FacOp *op)
{
    const char *public = op->public_name ? op->public_name : op->name;
    size_t bytes = strlen(op->result_names) + 1,
           total = sizeof "facula.return_types." + strlen(public);
    char *names = fac_mem_alloc(bytes), *name = fac_mem_alloc(total), *rest = NULL;
    PyStructSequence_Field *fields = fac_mem_zalloc((op->nresults + 1u) * sizeof *fields);
    PyTypeObject *type = NULL;
    if (!names || !name || !fields) {
        PyErr_NoMemory();
        goto done;
    }
    memcpy(names, op->result_names, bytes);
    snprintf(name, total, "facula.return_types.%s", public);
    char *word = strtok_r(names, " ", &rest);
    for (int i = 0; i < op->nresults && word; i++, word = strtok_r(NULL, " ", &rest))
        fields[i].name = word;
    PyStructSequence_Desc desc = {.name = name, .fields = fields, .n_in_sequence = op->nresults};
    type = PyStructSequence_NewType(&desc);
    if (type) type->tp_repr = named_result_repr;
    if (type && PyDict_SetItemString(result_types, public, (PyObject *)type) < 0) Py_CLEAR(type);
done:
    fac_mem_free(fields);
    if (!type) {
        fac_mem_free(names);
        fac_mem_free(name);
    }
    return type;
}

static PyTypeObject *
result_type_of(const FacOp *op)
{
    FacPyRow *row = fac_py_row(op);
    if (!row) return NULL;
    if (row->result_type) return row->result_type;
    const char *public = op->public_name ? op->public_name : op->name;
    PyObject *found = PyDict_GetItemString(result_types, public); /* overloads of a name share it */
    row->result_type = found ? (PyTypeObject *)Py_NewRef(found) : make_result_type(op);
    return row->result_type;
}

static PyObject *
tensors_to_tuple(FacValue *v)
{
    PyObject *tuple = PyTuple_New(v->len);
    for (uint32_t i = 0; tuple && i < v->len; i++) {
        PyObject *item = fac_value_to_python(list_item(*v, i));
        if (!item)
            Py_CLEAR(tuple);
        else
            PyTuple_SET_ITEM(tuple, i, item);
    }
    fac_value_release(v);
    return tuple;
}

static PyObject *
result_take(FacValue *v)
{
    if (FAC_LIKELY(v->tag == FAC_V_TENSOR)) {
        FacTensor *t = v->v.t;
        *v = FAC_VALUE_NONE;
        return fac_wrap_take(t);
    }
    if (v->tag == FAC_V_TENSORS) return tensors_to_tuple(v);
    PyObject *o = fac_value_to_python(*v);
    fac_value_release(v);
    return o;
}

static void
set_result(PyObject *tuple, bool named, int i, PyObject *item)
{
    if (named)
        PyStructSequence_SetItem(tuple, i, item);
    else
        PyTuple_SET_ITEM(tuple, i, item);
}

PyObject *
fac_results_to_python(const FacOp *op, FacValue *results)
{
    if (FAC_LIKELY(op->nresults == 1)) return result_take(&results[0]);
    if (op->nresults == 0) Py_RETURN_NONE;
    PyTypeObject *type = op->result_names && op->nresults > 1 ? result_type_of(op) : NULL;
    if (!type && PyErr_Occurred()) goto failed;
    PyObject *tuple = type ? PyStructSequence_New(type) : PyTuple_New(op->nresults);
    if (!tuple) goto failed;
    for (int i = 0; i < op->nresults; i++) {
        PyObject *item = result_take(&results[i]);
        if (!item) {
            Py_DECREF(tuple);
            goto failed;
        }
        set_result(tuple, type != NULL, i, item);
    }
    return tuple;
failed:
    fac_values_release(results, op->nresults);
    return NULL;
}

/* --- running ---------------------------------------------------------------------------------- */

static bool
holds_lock(void)
{
    return PyGILState_Check();
}

static void *
leave(void)
{
    atomic_fetch_add(&fac_py_unlocked, 1);
    return PyEval_SaveThread();
}

static void
enter(void *left)
{
    PyEval_RestoreThread(left);
    atomic_fetch_sub(&fac_py_unlocked, 1);
}

PyObject *
fac_py_call(const FacOp *op, int nargs, const FacValue *args)
{
    FacValue frame[FAC_ARGS_MAX], results[FAC_RESULTS_MAX];
    for (int i = 0; i < op->nparams; i++) frame[i] = i < nargs ? args[i] : op->params[i].fallback;
    for (int i = 0; i < op->nresults; i++) results[i] = FAC_VALUE_NONE;
    FacCall call = {.op = op, .args = frame, .results = results};
    FacStatus st = fac_dispatch(&call);
    return st ? fac_py_raise(st) : fac_results_to_python(op, results);
}

int
fac_start_values(PyObject *module)
{
    fac_outside = (FacOutside){holds_lock, leave, enter};
    result_types = PyDict_New();
    return result_types ? PyModule_AddObjectRef(module, "_return_types", result_types) : -1;
}
