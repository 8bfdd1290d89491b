/* anomaly.c - looking on while graphs are made and run: anomaly mode, and the lines of forward calls
 * for the tripwire.
 *
 * In anomaly mode each new node gets the Python stack that made it, and the node in whose backward
 * it was made; a node that fails, or gives a NaN where that is checked, is reported with them. The
 * tripwire only wants a line, of any node, cheaply: code object and instruction go into a ring that
 * is indexed by the number of the node, and become a line when somebody asks.
 */
#include "bindings/bindings.h"

#include "layers/nonfinite.h"

#include <string.h>

static bool anomaly, check_nan;
static int tripwires; /* how many want lines; guarded by the interpreter lock as all here */

/* --- lines of nodes --------------------------------------------------------------------------- */

enum { RING = 1 << 15 };
typedef struct Line {
    uint64_t sequence;
    PyCodeObject *code; /* owned */
    int at;             /* instruction; a line number before 3.11 */
} Line;
static Line *ring;

static void
note_line(const FacNode *node)
{
    PyFrameObject *frame = fac_py_user_frame();
    if (!frame) return;
    Line *line = &ring[node->sequence % RING];
    PyCodeObject *before = line->code;
    line->sequence = node->sequence;
    line->code = PyFrame_GetCode(frame);
#if PY_VERSION_HEX >= 0x030b0000
    line->at = PyFrame_GetLasti(frame);
#else
    line->at = PyFrame_GetLineNumber(frame);
#endif
    Py_DECREF(frame);
    Py_XDECREF(before);
}

/* _node_line(node): "file:line" of the call that made it, None if nobody knows. */
static PyObject *
node_line(PyObject *Py_UNUSED(module), PyObject *o)
{
    const FacNode *node = fac_node_from_python(o);
    const Line *line = ring && node ? &ring[node->sequence % RING] : NULL;
    if (!line || !line->code || line->sequence != node->sequence) Py_RETURN_NONE;
#if PY_VERSION_HEX >= 0x030b0000
    int number = PyCode_Addr2Line(line->code, line->at);
#else
    int number = line->at;
#endif
    return PyUnicode_FromFormat("%U:%d", line->code->co_filename, number);
}

/* --- the watch -------------------------------------------------------------------------------- */

/* autograd.anomaly_mode.NAME(node), with whatever error there is put aside. */
static PyObject *
call_python(const char *name, FacNode *node)
{
    PyObject *type, *value, *traceback, *result = NULL;
    PyErr_Fetch(&type, &value, &traceback);
    PyObject *function = fac_py_import("autograd.anomaly_mode", name);
    PyObject *object = function ? fac_py_node(node) : NULL;
    if (object) result = PyObject_CallOneArg(function, object);
    Py_XDECREF(object);
    Py_XDECREF(function);
    if (!result) PyErr_WriteUnraisable(NULL);
    PyErr_Restore(type, value, traceback);
    return result;
}

static void
made(FacNode *node)
{
    bool locked =
        PyGILState_Check(); /* as nearly always, which costs less to find out than to do */
    PyGILState_STATE gil = locked ? PyGILState_LOCKED : PyGILState_Ensure();
    if (tripwires) note_line(node);
    if (anomaly) {
        FacNode *parent = fac_current_node();
        PyObject *metadata = fac_py_metadata(node);
        PyObject *trace = fac_py_import("autograd.anomaly_mode", "_stack");
        PyObject *lines = trace ? PyObject_CallNoArgs(trace) : NULL;
        PyObject *above = parent ? fac_py_node(parent) : NULL;
        bool ok = metadata && lines && PyDict_SetItemString(metadata, "traceback_", lines) == 0;
        if (ok && above) ok = PyDict_SetItemString(metadata, "parent_", above) == 0;
        if (!ok) PyErr_WriteUnraisable(NULL);
        Py_XDECREF(above);
        Py_XDECREF(lines);
        Py_XDECREF(trace);
        Py_XDECREF(metadata);
    }
    if (!locked) PyGILState_Release(gil);
}

static FacStatus
find_nan(FacNode *node, FacTensor *const *out)
{
    char name[128];
    bool nan, inf;
    for (uint32_t i = 0; i < node->nedges; i++) {
        if (!out[i]) continue;
        FAC_RETURN_IF_ERROR(fac_find_nonfinite(out[i], &nan, &inf));
        if (nan)
            return fac_error(FAC_RUNTIME_ERROR,
                             "Function '%s' returned nan values in its %uth output.",
                             fac_node_name(node, name), i);
    }
    return FAC_OK;
}

static FacStatus
ran(FacNode *node, FacStatus st, FacTensor *const *Py_UNUSED(grads), FacTensor *const *out)
{
    char message[1024];
    if (!anomaly) return st;
    if (st == FAC_OK && check_nan) st = find_nan(node, out);
    if (st == FAC_OK) return st;
    PyOS_snprintf(message, sizeof message, "%s", st == FAC_FOREIGN ? "" : fac_error_message());
    PyGILState_STATE gil = PyGILState_Ensure();
    Py_XDECREF(call_python("_report", node));
    PyGILState_Release(gil);
    return st == FAC_FOREIGN ? st : fac_error(st, "%s", message);
}

static const FacWatch watch = {made, ran};

static void
update_watch(void)
{
    atomic_store(&fac_watch, anomaly || tripwires ? &watch : NULL);
}

/* --- Python ----------------------------------------------------------------------------------- */

static PyObject *
set_anomaly(PyObject *Py_UNUSED(module), PyObject *args)
{
    int on, check;
    if (!PyArg_ParseTuple(args, "pp:_set_anomaly", &on, &check)) return NULL;
    PyObject *before =
        Py_BuildValue("OO", anomaly ? Py_True : Py_False, check_nan ? Py_True : Py_False);
    anomaly = on != 0;
    check_nan = check != 0;
    update_watch();
    return before;
}

static PyObject *
is_anomaly_enabled(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(anomaly);
}

static PyObject *
is_nan_checked(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(check_nan);
}

/* The call whose result is not finite, as Python is told: the exception is Python's to raise. */
static FacStatus
tripped(const FacCall *call, FacValue where_found, bool nan)
{
    PyGILState_STATE gil = PyGILState_Ensure();
    char where[512];
    fac_py_where(where, sizeof where);
    PyObject *report = fac_py_import("autograd.nonfinite", "_report");
    PyObject *node = fac_py_node(fac_current_node()), *args = PyList_New(0), *raised = NULL;
    for (int i = 0; args && i < call->op->nparams; i++) {
        PyObject *value = fac_value_to_python(call->args[i]);
        PyObject *pair = value ? Py_BuildValue("sN", call->op->params[i].name, value) : NULL;
        if (!pair || PyList_Append(args, pair) < 0) Py_CLEAR(args);
        Py_XDECREF(pair);
    }
    PyObject *found = fac_value_to_python(where_found);
    if (report && node && args && found)
        raised = PyObject_CallFunction(report, "ssOOOO", call->op->name, where, node, args, found,
                                       nan ? Py_True : Py_False);
    Py_XDECREF(found);
    Py_XDECREF(args);
    Py_XDECREF(node);
    Py_XDECREF(report);
    Py_XDECREF(raised);
    PyGILState_Release(gil);
    return raised ? FAC_OK : FAC_FOREIGN;
}

/* _trip(kinds): 1: NaN, 2: infinities, 3: both, 0: off. What it was. */
static PyObject *
set_tripwire(PyObject *Py_UNUSED(module), PyObject *o)
{
    long kinds = PyLong_AsLong(o);
    if (kinds == -1 && PyErr_Occurred()) return NULL;
    if (!ring && !(ring = fac_mem_zalloc(RING * sizeof *ring))) return PyErr_NoMemory();
    unsigned before = fac_tripwire_set((unsigned)kinds & 3, tripped);
    tripwires += (kinds != 0) - (before != 0);
    for (int i = 0; !tripwires && i < RING; i++) Py_CLEAR(ring[i].code);
    update_watch();
    return PyLong_FromUnsignedLong(before);
}

static PyMethodDef functions[] = {
    {"_set_anomaly", set_anomaly, METH_VARARGS,
     "_set_anomaly(enabled, check_nan, /)\n--\n\nAnomaly mode; returns what it was."},
    {"is_anomaly_enabled", is_anomaly_enabled, METH_NOARGS,
     "is_anomaly_enabled()\n--\n\nWhether anomaly mode is on."},
    {"is_anomaly_check_nan_enabled", is_nan_checked, METH_NOARGS,
     "is_anomaly_check_nan_enabled()\n--\n\nWhether anomaly mode looks for NaN in gradients."},
    {"_node_line", node_line, METH_O,
     "_node_line(node, /)\n--\n\nThe line that made a node while a tripwire was set, or None."},
    {"_set_tripwire", set_tripwire, METH_O,
     "_set_tripwire(kinds, /)\n--\n\nStops at the first NaN (1) or infinity (2); returns what it "
     "was."},
    {NULL, NULL, 0, NULL},
};

int
fac_start_anomaly(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
