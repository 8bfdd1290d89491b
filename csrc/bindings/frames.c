/* frames.c - which line of the user's program runs: for messages about things that went wrong
 * elsewhere.
 *
 * Frames of facula's own Python packages are passed over, so that the line is the one that the user
 * wrote; where there are no others the innermost one is named.
 */
#include "bindings/bindings.h"

#include <frameobject.h> /* in 3.10, PyFrame_GetBack is declared there only */
#include <string.h>

static char package[1024]; /* the directory of facula, with a slash at its end; "" if unknown */

static void
find_package(void)
{
    PyObject *file = PyObject_GetAttrString(fac_py.module, "__file__");
    const char *text = file && PyUnicode_Check(file) ? PyUnicode_AsUTF8(file) : NULL;
    const char *slash = text ? strrchr(text, '/') : NULL;
    if (slash && (size_t)(slash - text) + 2 < sizeof package) {
        memcpy(package, text, (size_t)(slash - text) + 1);
        package[slash - text + 1] = 0;
    }
    Py_XDECREF(file);
    PyErr_Clear();
}

static bool
is_our_file(PyObject *name)
{
    const char *file = PyUnicode_AsUTF8(name);
    if (!*package) find_package();
    if (!file) PyErr_Clear();
    return file && *package && strncmp(file, package, strlen(package)) == 0;
}

/* All code of a file shares one string with its name, so that the answer is kept by its address:
 * a few names, held for ever, each with the answer in its lowest bit. */
static bool
is_ours(PyCodeObject *code)
{
    enum { KNOWN = 64 };
    static _Atomic uintptr_t known[KNOWN];
    uintptr_t name = (uintptr_t)code->co_filename, nothing = 0;
    _Atomic uintptr_t *slot = &known[name / 16 % KNOWN];
    uintptr_t had = atomic_load_explicit(slot, memory_order_acquire);
    if (FAC_LIKELY((had & ~(uintptr_t)1) == name)) return had & 1;
    bool ours = is_our_file(code->co_filename);
    if (!had && atomic_compare_exchange_strong(slot, &nothing, name | ours))
        Py_INCREF(code->co_filename);
    return ours;
}

PyFrameObject *
fac_py_user_frame(void)
{
    PyFrameObject *innermost = PyEval_GetFrame(), *frame = innermost;
    Py_XINCREF(innermost);
    Py_XINCREF(frame);
    while (frame) {
        PyCodeObject *code = PyFrame_GetCode(frame);
        bool ours = is_ours(code);
        Py_DECREF(code);
        if (!ours) break;
        PyFrameObject *back = PyFrame_GetBack(frame);
        Py_DECREF(frame);
        frame = back;
    }
    if (!frame) return innermost;
    Py_XDECREF(innermost);
    return frame;
}

void
fac_py_where(char *text, size_t bytes)
{
    *text = 0;
    if (!Py_IsInitialized()) return;
    PyGILState_STATE gil = PyGILState_Ensure();
    PyFrameObject *frame = fac_py_user_frame();
    if (frame) {
        PyCodeObject *code = PyFrame_GetCode(frame);
        const char *file = PyUnicode_AsUTF8(code->co_filename);
        size_t n = file ? strlen(file) : 0, room = bytes - 16;
        if (n > room) file += n - room; /* the end of a path tells more than its start */
        PyOS_snprintf(text, bytes, "%s:%d", file ? file : "?", PyFrame_GetLineNumber(frame));
        if (!file) PyErr_Clear();
        Py_DECREF(code);
        Py_DECREF(frame);
    }
    PyGILState_Release(gil);
}
