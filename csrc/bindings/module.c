/* module.c - the extension module facula._C: its state, its start, and errors.
 *
 * The module is made once a process (the core has one set of rows and one default generator), in
 * multi-phase style and without need of the interpreter lock. Everything that the other files need
 * all the time -- types, interned names, singletons -- lies in fac_py, which is filled here and by
 * the start functions of those files, and only read afterwards.
 *
 * Errors: the core returns a status and leaves a message in the thread; fac_py_raise turns both
 * into an exception. FAC_FOREIGN means that Python's error indicator is set already. Warnings of
 * the core become Python warnings, which the filters may turn into exceptions.
 */
#include "bindings/bindings.h"

#include "base/paths.h"
#include "base/pool.h"

FacPyState fac_py = {.module_name = "facula"};

/* --- errors ----------------------------------------------------------------------------------- */

static PyObject *
exception_class(FacStatus status)
{
    switch (status) {
    case FAC_TYPE_ERROR: return PyExc_TypeError;
    case FAC_VALUE_ERROR: return PyExc_ValueError;
    case FAC_INDEX_ERROR: return PyExc_IndexError;
    case FAC_MEMORY_ERROR: return PyExc_MemoryError;
    case FAC_OUT_OF_MEMORY: return fac_py.out_of_memory_error;
    case FAC_NOT_IMPLEMENTED: return PyExc_NotImplementedError;
    case FAC_LINALG_ERROR: return fac_py.linalg_error;
    case FAC_OVERFLOW_ERROR: return PyExc_OverflowError;
    case FAC_ZERO_DIVISION: return PyExc_ZeroDivisionError;
    case FAC_BUFFER_ERROR: return PyExc_BufferError;
    default: return PyExc_RuntimeError;
    }
}

PyObject *
fac_py_raise(FacStatus status)
{
    if (status == FAC_FOREIGN) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_SystemError, "a callback failed without an exception");
        return NULL;
    }
    PyErr_SetString(exception_class(status), fac_error_message());
    return NULL;
}

static FacStatus
warn(FacWarning kind, const char *message)
{
    static PyObject **const classes[] = {
        [FAC_WARN_USER] = &PyExc_UserWarning,
        [FAC_WARN_DEPRECATION] = &PyExc_DeprecationWarning,
        [FAC_WARN_RUNTIME] = &PyExc_RuntimeWarning,
    };
    PyGILState_STATE gil = PyGILState_Ensure();
    FacStatus st = PyErr_WarnEx(*classes[kind], message, 1) < 0 ? FAC_FOREIGN : FAC_OK;
    PyGILState_Release(gil);
    return st;
}

/* --- foreign objects in the core -------------------------------------------------------------- */

static void
retain_object(void *o)
{
    PyGILState_STATE gil = PyGILState_Ensure();
    Py_INCREF((PyObject *)o);
    PyGILState_Release(gil);
}

static void
release_object(void *o)
{
    if (!Py_IsInitialized()) return;
    PyGILState_STATE gil = PyGILState_Ensure();
    Py_DECREF((PyObject *)o);
    PyGILState_Release(gil);
}

static void
destroy_foreign(FacForeign *f)
{
    release_object(f->object);
    fac_mem_free(f);
}

FacForeign *
fac_py_foreign_new(PyObject *o)
{
    FacForeign *f = fac_mem_alloc(sizeof *f);
    if (!f) return (FacForeign *)PyErr_NoMemory();
    atomic_init(&f->refs, 1);
    f->destroy = destroy_foreign;
    f->object = Py_NewRef(o);
    return f;
}

/* --- helpers for the start of the other files ------------------------------------------------- */

PyTypeObject *
fac_add_type(PyObject *module, PyType_Spec *spec, PyObject *bases)
{
    PyObject *type = PyType_FromModuleAndSpec(module, spec, bases);
    if (!type) return NULL;
    if (PyModule_AddType(module, (PyTypeObject *)type) < 0) Py_CLEAR(type);
    return (PyTypeObject *)type; /* the state keeps this reference for good */
}

PyObject *
fac_py_import(const char *module, const char *attribute)
{
    PyObject *name = PyUnicode_FromFormat("%s.%s", fac_py.module_name, module);
    PyObject *imported = name ? PyImport_Import(name) : NULL;
    PyObject *result = imported ? PyObject_GetAttrString(imported, attribute) : NULL;
    Py_XDECREF(name);
    Py_XDECREF(imported);
    return result;
}

/* --- functions of the module itself ----------------------------------------------------------- */

static PyObject *
set_module_name(PyObject *Py_UNUSED(module), PyObject *name)
{
    static PyObject *kept; /* module_name points into it */
    const char *text = PyUnicode_AsUTF8(name);
    if (!text) return NULL;
    Py_XSETREF(kept, Py_NewRef(name));
    fac_py.module_name = text;
    Py_RETURN_NONE;
}

static PyObject *
get_num_threads(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromLong(fac_num_threads());
}

static PyObject *
set_num_threads(PyObject *Py_UNUSED(module), PyObject *n)
{
    long wanted = PyLong_AsLong(n);
    if (wanted == -1 && PyErr_Occurred()) return NULL;
    FacStatus st = fac_set_num_threads(wanted > 0 && wanted < 1 << 16 ? (int)wanted : 0);
    if (st) return fac_py_raise(st);
    Py_RETURN_NONE;
}

static PyObject *
set_library_dir(PyObject *Py_UNUSED(module), PyObject *path)
{
    const char *text = PyUnicode_AsUTF8(path);
    if (!text) return NULL;
    FacStatus st = fac_set_library_dir(text);
    if (st) return fac_py_raise(st);
    Py_RETURN_NONE;
}

/* _live_blocks(): how many small blocks of the core are in use, those of tensors and nodes among
 * them: for tests of what is left behind. */
static PyObject *
live_blocks(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromLongLong(fac_mem_live());
}

static PyMethodDef module_functions[] = {
    {"_live_blocks", live_blocks, METH_NOARGS,
     "_live_blocks()\n--\n\nHow many small blocks of memory the core uses."},
    {"_set_module_name", set_module_name, METH_O,
     "_set_module_name(name, /)\n--\n\nThe name of the package in reprs and messages."},
    {"get_num_threads", get_num_threads, METH_NOARGS,
     "get_num_threads()\n--\n\nHow many threads kernels use."},
    {"set_num_threads", set_num_threads, METH_O,
     "set_num_threads(n, /)\n--\n\nSets how many threads kernels use."},
    {"_set_library_dir", set_library_dir, METH_O,
     "_set_library_dir(path, /)\n--\n\nWhere the bundled libraries lie."},
    {NULL, NULL, 0, NULL},
};

/* --- start ------------------------------------------------------------------------------------ */

static int
make_names(void)
{
    static const struct {
        PyObject **to;
        const char *text;
    } names[] = {
        {&fac_py.s_torch_function, "__torch_function__"},
        {&fac_py.s_torch_dispatch, "__torch_dispatch__"},
        {&fac_py.s_out, "out"},
        {&fac_py.s_dim, "dim"},
        {&fac_py.s_keepdim, "keepdim"},
        {&fac_py.s_dtype, "dtype"},
        {&fac_py.s_device, "device"},
        {&fac_py.s_layout, "layout"},
        {&fac_py.s_requires_grad, "requires_grad"},
        {&fac_py.s_pin_memory, "pin_memory"},
        {&fac_py.s_axis, "axis"},
        {&fac_py.s_self, "self"},
        {&fac_py.s_input, "input"},
        {&fac_py.s_other, "other"},
        {&fac_py.s_array, "__array__"},
        {&fac_py.s_array_interface, "__array_interface__"},
        {&fac_py.s_dlpack, "__dlpack__"},
        {&fac_py.s_dlpack_device, "__dlpack_device__"},
        {&fac_py.s_index, "__index__"},
        {&fac_py.s_float, "__float__"},
        {&fac_py.s_int, "__int__"},
        {&fac_py.s_size, "size"},
        {&fac_py.s_generator, "generator"},
        {&fac_py.s_memory_format, "memory_format"},
        {&fac_py.s_wrapped_self, "self"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        *names[i].to = PyUnicode_InternFromString(names[i].text);
        if (!*names[i].to) return -1;
    }
    return 0;
}

static int
make_errors(PyObject *module)
{
    fac_py.out_of_memory_error =
        PyErr_NewExceptionWithDoc("facula.OutOfMemoryError", "A device has not enough free memory.",
                                  PyExc_RuntimeError, NULL);
    fac_py.linalg_error = PyErr_NewExceptionWithDoc("facula.linalg.LinAlgError",
                                                    "A matrix does not allow what was asked of it.",
                                                    PyExc_RuntimeError, NULL);
    if (!fac_py.out_of_memory_error || !fac_py.linalg_error) return -1;
    if (PyModule_AddObjectRef(module, "OutOfMemoryError", fac_py.out_of_memory_error) < 0)
        return -1;
    return PyModule_AddObjectRef(module, "_LinAlgError", fac_py.linalg_error);
}

static int
add_functions(PyObject *module)
{
    PyMethodDef *const tables[] = {
        module_functions,        fac_dtype_functions,    fac_device_functions,
        fac_generator_functions, fac_tensor_functions,   fac_wrap_functions,
        fac_op_functions,        fac_build_functions,    fac_numpy_functions,
        fac_autograd_functions,  fac_override_functions, fac_library_functions,
        fac_config_functions,    fac_copy_functions,     fac_storage_functions,
        fac_transform_functions, fac_profile_functions,
    };
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        if (PyModule_AddFunctions(module, tables[i]) < 0) return -1;
    return 0;
}

static int
start(PyObject *module)
{
    static int (*const starts[])(PyObject *) = {
        make_errors,         fac_start_dtype,    fac_start_device,   fac_start_storage,
        fac_start_generator, fac_start_values,   fac_start_override, fac_start_ops,
        fac_start_wrap,      fac_start_graph,    fac_start_hooks,    fac_start_saved,
        fac_start_anomaly,   fac_start_function, fac_start_library,  fac_start_build,
        fac_start_numpy,     fac_start_nn,       add_functions,
    };
    if (fac_py.module) {
        PyErr_SetString(PyExc_ImportError, "facula._C can be loaded once a process");
        return -1;
    }
    FacStatus st = fac_start();
    if (st) {
        PyErr_SetString(PyExc_ImportError, fac_error_message());
        return -1;
    }
    fac_py.module = module;
    fac_set_warn_hook(warn);
    fac_tensor_where_hook = fac_py_where;
    fac_value_hooks.retain_object = retain_object;
    fac_value_hooks.release_object = release_object;
    if (make_names() < 0) return -1;
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++)
        if (starts[i](module) < 0) return -1;
    return PyModule_AddStringConstant(module, "__version__", FAC_VERSION);
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, start},
#ifdef Py_mod_multiple_interpreters
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_USED}, /* docs/architecture.md says for what */
#endif
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "facula._C",
    .m_doc = "The compiled core of facula.",
    .m_slots = slots,
};

PyMODINIT_FUNC
PyInit__C(void)
{
    return PyModuleDef_Init(&definition);
}
