/* profile.c - recordings as Python sees them: starting, named ranges, and what was noted.
 *
 * A recording ends as a list of tuples, from which autograd.profiler_util makes events. The Python
 * stack of an event is kept as code objects and instructions, and becomes text at the end only.
 */
#include "bindings/bindings.h"

#include "base/dtype.h"
#include "layers/profile.h"

#include <frameobject.h> /* in 3.10, PyFrame_GetBack is declared there only */
#include <string.h>

enum { STACK_MAX = 64 };

/* --- stacks ----------------------------------------------------------------------------------- */

/* A tuple of code, instruction (before 3.11: line), code, ...: the innermost frame first. */
static PyObject *
take_frames(void)
{
    PyObject *items[2 * STACK_MAX];
    Py_ssize_t n = 0;
    PyFrameObject *frame = PyEval_GetFrame();
    Py_XINCREF(frame);
    while (frame && n < 2 * STACK_MAX) {
#if PY_VERSION_HEX >= 0x030b0000
        PyObject *at = PyLong_FromLong(PyFrame_GetLasti(frame));
#else
        PyObject *at = PyLong_FromLong(PyFrame_GetLineNumber(frame));
#endif
        if (!at) break;
        items[n++] = (PyObject *)PyFrame_GetCode(frame);
        items[n++] = at;
        PyFrameObject *back = PyFrame_GetBack(frame);
        Py_DECREF(frame);
        frame = back;
    }
    Py_XDECREF(frame);
    PyObject *tuple = PyTuple_New(n);
    for (Py_ssize_t i = 0; i < n; i++) {
        if (tuple)
            PyTuple_SET_ITEM(tuple, i, items[i]);
        else
            Py_DECREF(items[i]);
    }
    return tuple;
}

static FacForeign *
take_stack(void)
{
    PyGILState_STATE gil = PyGILState_Ensure();
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyObject *frames = take_frames();
    FacForeign *stack = frames ? fac_py_foreign_new(frames) : NULL;
    Py_XDECREF(frames);
    PyErr_Restore(type, value, traceback);
    PyGILState_Release(gil);
    return stack;
}

/* ["file(line): function", ...] */
static PyObject *
stack_to_python(const FacForeign *stack)
{
    if (!stack) return PyList_New(0);
    PyObject *frames = stack->object;
    PyObject *list = PyList_New(PyTuple_GET_SIZE(frames) / 2);
    for (Py_ssize_t i = 0; list && i < PyList_GET_SIZE(list); i++) {
        PyCodeObject *code = (PyCodeObject *)PyTuple_GET_ITEM(frames, 2 * i);
        int line = (int)PyLong_AsLong(PyTuple_GET_ITEM(frames, 2 * i + 1));
#if PY_VERSION_HEX >= 0x030b0000
        line = PyCode_Addr2Line(code, line);
#endif
        PyObject *text = PyUnicode_FromFormat("%U(%d): %U", code->co_filename, line, code->co_name);
        if (text)
            PyList_SET_ITEM(list, i, text);
        else
            Py_CLEAR(list);
    }
    return list;
}

/* --- arguments -------------------------------------------------------------------------------- */

static PyObject *
ints_to_python(const int64_t **at, int64_t n)
{
    PyObject *list = PyList_New((Py_ssize_t)n);
    for (int64_t i = 0; list && i < n; i++) {
        PyObject *item = PyLong_FromLongLong(*(*at)++);
        if (item)
            PyList_SET_ITEM(list, (Py_ssize_t)i, item);
        else
            Py_CLEAR(list);
    }
    return list;
}

/* (dtype, sizes, strides), or None. */
static PyObject *
tensor_to_python(const int64_t **at)
{
    int64_t dtype = *(*at)++, ndim = *(*at)++;
    if (dtype < 0) Py_RETURN_NONE;
    PyObject *sizes = ints_to_python(at, ndim);
    PyObject *strides = ints_to_python(at, ndim);
    if (sizes && strides) return Py_BuildValue("(sNN)", fac_dtype_info[dtype].name, sizes, strides);
    Py_XDECREF(sizes);
    Py_XDECREF(strides);
    return NULL;
}

static double
take_float(const int64_t **at)
{
    double x;
    memcpy(&x, (*at)++, sizeof x);
    return x;
}

/* A list of `n` items, each read as if `tag` stood in front of it. */
static PyObject *
list_to_python(int64_t tag, const int64_t **at)
{
    int64_t n = *(*at)++;
    PyObject *list = PyList_New((Py_ssize_t)n);
    for (int64_t i = 0; list && i < n; i++) {
        PyObject *item = tag == FAC_V_TENSORS ? tensor_to_python(at)
                         : tag == FAC_V_INTS  ? PyLong_FromLongLong(*(*at)++)
                         : tag == FAC_V_BOOLS ? PyBool_FromLong((long)*(*at)++)
                                              : PyFloat_FromDouble(take_float(at));
        if (item)
            PyList_SET_ITEM(list, (Py_ssize_t)i, item);
        else
            Py_CLEAR(list);
    }
    return list;
}

static PyObject *
value_to_python(const int64_t **at)
{
    int64_t tag = *(*at)++;
    double real;
    switch (tag) {
    case FAC_V_TENSORS:
    case FAC_V_INTS:
    case FAC_V_FLOATS:
    case FAC_V_BOOLS: return list_to_python(tag, at);
    case FAC_V_TENSOR: return tensor_to_python(at);
    case FAC_V_BOOL: return PyBool_FromLong((long)*(*at)++);
    case FAC_V_INT: return PyLong_FromLongLong(*(*at)++);
    case FAC_V_FLOAT: return PyFloat_FromDouble(take_float(at));
    case FAC_V_COMPLEX: real = take_float(at); return PyComplex_FromDoubles(real, take_float(at));
    case FAC_V_DTYPE: return Py_NewRef(fac_py_dtype((FacDType) * (*at)++));
    default: Py_RETURN_NONE;
    }
}

/* [(name, value), ...]; tensors as (dtype, sizes, strides). None where nothing was noted. */
static PyObject *
args_to_python(const FacEvent *event)
{
    const int64_t *at = event->args;
    if (!at) Py_RETURN_NONE;
    PyObject *list = PyList_New(event->op->nparams);
    for (int i = 0; list && i < event->op->nparams; i++) {
        PyObject *value = value_to_python(&at);
        PyObject *pair = value ? Py_BuildValue("sN", event->op->params[i].name, value) : NULL;
        if (pair)
            PyList_SET_ITEM(list, i, pair);
        else
            Py_CLEAR(list);
    }
    return list;
}

/* --- recordings ------------------------------------------------------------------------------- */

/* (kind, name, overload, parent, begin, end, sequence, bytes before, bytes, args, stack, subject) */
static PyObject *
event_to_python(const FacEvent *event)
{
    char text[192];
    PyObject *args = args_to_python(event);
    PyObject *stack = args ? stack_to_python(event->stack) : NULL;
    if (!stack) {
        Py_XDECREF(args);
        return NULL;
    }
    return Py_BuildValue("issiLLLLLNNn", event->kind, fac_event_name(event, text),
                         event->op ? event->op->overload : "", event->parent,
                         (long long)event->begin, (long long)event->end, (long long)event->sequence,
                         (long long)event->bytes_before, (long long)event->bytes, args, stack,
                         (Py_ssize_t)event->subject);
}

static PyObject *
profile_start(PyObject *Py_UNUSED(module), PyObject *o)
{
    long what = PyLong_AsLong(o);
    if (what == -1 && PyErr_Occurred()) return NULL;
    fac_profile_stack = take_stack;
    FacStatus st = fac_profile_start((unsigned)what);
    if (st != FAC_OK) return fac_py_raise(st);
    Py_RETURN_NONE;
}

static PyObject *
profile_stop(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    FacRecording *r = fac_profile_stop();
    if (!r) Py_RETURN_NONE;
    PyObject *events = PyList_New(r->n);
    for (uint32_t i = 0; events && i < r->n; i++) {
        PyObject *event = event_to_python(&r->events[i]);
        if (event)
            PyList_SET_ITEM(events, i, event);
        else
            Py_CLEAR(events);
    }
    PyObject *result =
        events ? Py_BuildValue("NLLI", events, (long long)r->begin, (long long)r->end, r->lost)
               : NULL;
    fac_recording_free(r);
    return result;
}

static PyObject *
profile_pause(PyObject *Py_UNUSED(module), PyObject *o)
{
    int paused = PyObject_IsTrue(o);
    if (paused < 0) return NULL;
    fac_profile_pause(paused != 0);
    Py_RETURN_NONE;
}

/* The name is a str: most ranges begin while nobody listens, and then it is not looked at. */
static PyObject *
range_begin(PyObject *Py_UNUSED(module), PyObject *name)
{
    if (FAC_LIKELY(!fac_profiling())) return PyLong_FromLong(0);
    const char *text = PyUnicode_Check(name) ? PyUnicode_AsUTF8(name) : NULL;
    if (!text && !PyErr_Occurred())
        PyErr_Format(PyExc_TypeError, "the name of a range is a str, not %s",
                     Py_TYPE(name)->tp_name);
    if (!text) return NULL;
    return PyLong_FromUnsignedLongLong(fac_profile_begin(FAC_EVENT_RANGE, text, NULL));
}

static PyObject *
range_end(PyObject *Py_UNUSED(module), PyObject *o)
{
    FacEventHandle handle = PyLong_AsUnsignedLongLong(o);
    if (PyErr_Occurred()) return NULL;
    if (handle) fac_profile_end(handle);
    Py_RETURN_NONE;
}

/* _profile_emit(push, pop, with_args): addresses of C functions, 0 for none. */
static PyObject *
profile_emit(PyObject *Py_UNUSED(module), PyObject *args)
{
    unsigned long long push, pop;
    int with_args;
    if (!PyArg_ParseTuple(args, "KKp:_profile_emit", &push, &pop, &with_args)) return NULL;
    fac_profile_emit((FacRangePush)(uintptr_t)push, (FacRangePop)(uintptr_t)pop, with_args != 0);
    Py_RETURN_NONE;
}

static PyObject *
is_profiling(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(fac_profiling());
}

PyMethodDef fac_profile_functions[] = {
    {"_profile_start", profile_start, METH_O,
     "_profile_start(what, /)\n--\n\nRecords calls of this thread; what: 1 arguments, 2 stacks, 4 "
     "memory, 8 modules."},
    {"_profile_stop", profile_stop, METH_NOARGS,
     "_profile_stop()\n--\n\n(events, begin, end, events lost), or None."},
    {"_profile_pause", profile_pause, METH_O,
     "_profile_pause(paused, /)\n--\n\nStops recording for a while, or goes on."},
    {"_is_profiling", is_profiling, METH_NOARGS,
     "_is_profiling()\n--\n\nWhether somebody listens to the calls of this thread."},
    {"_range_begin", range_begin, METH_O,
     "_range_begin(name, /)\n--\n\nBegins a named range; the number is for _range_end."},
    {"_range_end", range_end, METH_O, "_range_end(range, /)\n--\n\nEnds a named range."},
    {"_profile_emit", profile_emit, METH_VARARGS,
     "_profile_emit(push, pop, with_args, /)\n--\n\nHands ranges to C functions at these "
     "addresses."},
    {NULL, NULL, 0, NULL},
};
