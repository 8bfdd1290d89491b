/* dtype.c - the small value types that describe a tensor: dtype, layout, memory_format, Size.
 *
 * dtypes, layouts and memory formats are singletons, compared by identity and pickled by their
 * names (a pickled dtype is the global facula.float32). Size is a tuple whose slices, sums and
 * multiples are Sizes again. The functions at the end are those of promotion and of the default
 * dtype.
 */
#include "bindings/bindings.h"

#include "base/dtype.h"
#include "dispatch/rules.h"

#include <string.h>

/* --- singletons with a name ------------------------------------------------------------------- */

typedef struct NamedObject {
    PyObject_HEAD
    int value;
    const char *name;
} NamedObject;

static PyObject *
named_new(PyTypeObject *type, int value, const char *name)
{
    NamedObject *self = (NamedObject *)type->tp_alloc(type, 0);
    if (!self) return NULL;
    self->value = value;
    self->name = name;
    return (PyObject *)self;
}

static PyObject *
named_repr(PyObject *self)
{
    return PyUnicode_FromFormat("%s.%s", fac_py.module_name, ((NamedObject *)self)->name);
}

/* A string: the object is pickled as the global of that name in the package. */
static PyObject *
named_reduce(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return PyUnicode_FromString(((NamedObject *)self)->name);
}

static PyMethodDef named_methods[] = {
    {"__reduce__", named_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot layout_slots[] = {
    {Py_tp_repr, named_repr},
    {Py_tp_methods, named_methods},
    {Py_tp_doc, "How the elements of a tensor are stored: strided, sparse_coo ..."},
    {0, NULL},
};
static PyType_Spec layout_spec = {
    .name = "facula.layout",
    .basicsize = sizeof(NamedObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = layout_slots,
};

static PyType_Slot format_slots[] = {
    {Py_tp_repr, named_repr},
    {Py_tp_methods, named_methods},
    {Py_tp_doc, "The order of a tensor's dimensions in memory."},
    {0, NULL},
};
static PyType_Spec format_spec = {
    .name = "facula.memory_format",
    .basicsize = sizeof(NamedObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = format_slots,
};

int
fac_layout_convert(PyObject *o, FacLayoutKind *out)
{
    if (Py_TYPE(o) != fac_py.layout_type) return 0;
    *out = (FacLayoutKind)((NamedObject *)o)->value;
    return 1;
}

int
fac_format_convert(PyObject *o, FacMemoryFormat *out)
{
    if (Py_TYPE(o) != fac_py.format_type) return 0;
    *out = (FacMemoryFormat)((NamedObject *)o)->value;
    return 1;
}

/* --- dtype ------------------------------------------------------------------------------------ */

FacDType
fac_dtype_from_python(PyObject *o)
{
    return Py_TYPE(o) == fac_py.dtype_type ? (FacDType)((NamedObject *)o)->value : FAC_DT_NONE;
}

int
fac_dtype_convert(PyObject *o, FacDType *out)
{
    FacDType dt = fac_dtype_from_python(o);
    if (dt == FAC_DT_NONE) {
        if (o == (PyObject *)&PyFloat_Type)
            dt = FAC_DT_F64;
        else if (o == (PyObject *)&PyLong_Type)
            dt = FAC_DT_I64;
        else if (o == (PyObject *)&PyBool_Type)
            dt = FAC_DT_BOOL;
        else if (o == (PyObject *)&PyComplex_Type)
            dt = FAC_DT_C128;
        else
            return 0;
    }
    *out = dt;
    return 1;
}

static const FacDTypeInfo *
info_of(PyObject *self)
{
    return &fac_dtype_info[((NamedObject *)self)->value];
}

static PyObject *
dtype_is_floating_point(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(info_of(self)->kind == FAC_KIND_FLOAT);
}

static PyObject *
dtype_is_complex(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(info_of(self)->kind == FAC_KIND_COMPLEX);
}

static PyObject *
dtype_is_signed(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(info_of(self)->is_signed);
}

static PyObject *
dtype_itemsize(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromLong(info_of(self)->size);
}

static PyObject *
dtype_to_real(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return Py_NewRef(fac_py_dtype((FacDType)info_of(self)->real));
}

static PyObject *
dtype_to_complex(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    int dt = info_of(self)->complex;
    if (dt >= 0) return Py_NewRef(fac_py_dtype((FacDType)dt));
    return PyErr_Format(PyExc_RuntimeError, "no complex dtype has parts of dtype %s",
                        info_of(self)->name);
}

static PyGetSetDef dtype_getset[] = {
    {"is_floating_point", dtype_is_floating_point, NULL, "Whether it is a floating dtype.", NULL},
    {"is_complex", dtype_is_complex, NULL, "Whether it is a complex dtype.", NULL},
    {"is_signed", dtype_is_signed, NULL, "Whether it holds negative numbers.", NULL},
    {"itemsize", dtype_itemsize, NULL, "The bytes of an element.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef dtype_methods[] = {
    {"to_real", dtype_to_real, METH_NOARGS, "to_real($self)\n--\n\nThe dtype of the parts."},
    {"to_complex", dtype_to_complex, METH_NOARGS,
     "to_complex($self)\n--\n\nThe complex dtype with such parts."},
    {"__reduce__", named_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot dtype_slots[] = {
    {Py_tp_repr, named_repr},
    {Py_tp_methods, dtype_methods},
    {Py_tp_getset, dtype_getset},
    {Py_tp_doc, "The type of a tensor's elements."},
    {0, NULL},
};
static PyType_Spec dtype_spec = {
    .name = "facula.dtype",
    .basicsize = sizeof(NamedObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = dtype_slots,
};

/* --- Size ------------------------------------------------------------------------------------- */

PyObject *
fac_py_size(int ndim, const FacDim *sizes)
{
    PyObject *size = fac_py.size_type->tp_alloc(fac_py.size_type, ndim);
    if (!size) return NULL;
    for (int i = 0; i < ndim; i++) {
        PyObject *item = PyLong_FromLongLong(sizes[i]);
        if (!item) {
            Py_DECREF(size);
            return NULL;
        }
        PyTuple_SET_ITEM(size, i, item);
    }
    return size;
}

/* A tuple as a Size; takes the tuple. */
static PyObject *
as_size_take(PyObject *tuple)
{
    if (!tuple || !PyTuple_Check(tuple) || Py_TYPE(tuple) == fac_py.size_type) return tuple;
    Py_ssize_t n = PyTuple_GET_SIZE(tuple);
    PyObject *size = fac_py.size_type->tp_alloc(fac_py.size_type, n);
    for (Py_ssize_t i = 0; size && i < n; i++)
        PyTuple_SET_ITEM(size, i, Py_NewRef(PyTuple_GET_ITEM(tuple, i)));
    Py_DECREF(tuple);
    return size;
}

static PyObject *
size_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *size = PyTuple_Type.tp_new(type, args, kwargs);
    if (!size) return NULL;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(size); i++) {
        PyObject *item = PyTuple_GET_ITEM(size, i);
        if (PyLong_CheckExact(item)) continue;
        PyObject *number = PyNumber_Index(item);
        PyObject *plain = number ? PyNumber_Long(number) : NULL; /* True becomes 1 */
        Py_XDECREF(number);
        if (!plain) {
            if (PyErr_ExceptionMatches(PyExc_TypeError))
                PyErr_Format(PyExc_TypeError,
                             "%s.Size() takes an iterable of 'int' (item %zd is '%s')",
                             fac_py.module_name, i, Py_TYPE(item)->tp_name);
            Py_DECREF(size);
            return NULL;
        }
        PyTuple_SET_ITEM(size, i, plain);
        Py_DECREF(item);
    }
    return size;
}

static PyObject *
size_repr(PyObject *self)
{
    PyObject *list = PySequence_List(self);
    PyObject *text = list ? PyUnicode_FromFormat("%s.Size(%R)", fac_py.module_name, list) : NULL;
    Py_XDECREF(list);
    return text;
}

static PyObject *
size_add(PyObject *a, PyObject *b)
{
    if (!PyTuple_Check(a) || !PyTuple_Check(b)) {
        PyObject *other = PyTuple_Check(a) ? b : a;
        if (!PyList_Check(other)) Py_RETURN_NOTIMPLEMENTED;
        return PyErr_Format(PyExc_TypeError, "can only concatenate tuple (not list) to %s.Size",
                            fac_py.module_name);
    }
    return as_size_take(PyTuple_Type.tp_as_sequence->sq_concat(a, b));
}

static PyObject *
size_repeat(PyObject *self, Py_ssize_t n)
{
    return as_size_take(PyTuple_Type.tp_as_sequence->sq_repeat(self, n));
}

static PyObject *
size_subscript(PyObject *self, PyObject *index)
{
    return as_size_take(PyTuple_Type.tp_as_mapping->mp_subscript(self, index));
}

static PyObject *
size_numel(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    int64_t product = 1;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(self); i++) {
        int64_t item = PyLong_AsLongLong(PyTuple_GET_ITEM(self, i));
        if (item == -1 && PyErr_Occurred()) return NULL;
        if (__builtin_mul_overflow(product, item, &product))
            return PyErr_Format(PyExc_OverflowError, "the product of the sizes is too large");
    }
    return PyLong_FromLongLong(product);
}

static PyObject *
size_reduce(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    PyObject *tuple = PyTuple_GetSlice(self, 0, PyTuple_GET_SIZE(self));
    return tuple ? Py_BuildValue("O(N)", Py_TYPE(self), tuple) : NULL;
}

static PyMethodDef size_methods[] = {
    {"numel", size_numel, METH_NOARGS, "numel($self)\n--\n\nThe product of the sizes."},
    {"__reduce__", size_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyNumberMethods size_number = {.nb_add = size_add};
static PySequenceMethods size_sequence = {.sq_repeat = size_repeat};
static PyMappingMethods size_mapping = {.mp_subscript = size_subscript};

/* A static type: instances of one made from a spec take the long way when they die, and x.shape
 * makes one each time. */
static PyTypeObject size_object = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "facula.Size",
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_doc = "The shape of a tensor: a tuple of ints.",
    .tp_new = size_new,
    .tp_repr = size_repr,
    .tp_as_number = &size_number,
    .tp_as_sequence = &size_sequence,
    .tp_as_mapping = &size_mapping,
    .tp_methods = size_methods,
};

static int
start_size(PyObject *module)
{
    size_object.tp_base = &PyTuple_Type;
    if (PyType_Ready(&size_object) < 0) return -1;
    fac_py.size_type = &size_object;
    return PyModule_AddType(module, &size_object);
}

/* --- functions -------------------------------------------------------------------------------- */

static int
two_dtypes(const char *name, PyObject *const *args, Py_ssize_t nargs, FacDType out[2])
{
    if (nargs != 2) {
        PyErr_Format(PyExc_TypeError, "%s() takes 2 dtypes (%zd given)", name, nargs);
        return -1;
    }
    for (int i = 0; i < 2; i++) {
        if (fac_dtype_convert(args[i], &out[i])) continue;
        PyErr_Format(PyExc_TypeError, "%s(): argument %d must be %s.dtype, not %s", name, i + 1,
                     fac_py.module_name, Py_TYPE(args[i])->tp_name);
        return -1;
    }
    return 0;
}

static PyObject *
promote_types(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    FacDType given[2];
    if (two_dtypes("promote_types", args, nargs, given) < 0) return NULL;
    FacDType dt = fac_promote(given[0], given[1]);
    if (dt != FAC_DT_NONE) return Py_NewRef(fac_py_dtype(dt));
    return PyErr_Format(PyExc_RuntimeError, "Promotion for %s and %s is not supported",
                        fac_dtype_info[given[0]].name, fac_dtype_info[given[1]].name);
}

static PyObject *
can_cast(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    FacDType given[2];
    if (two_dtypes("can_cast", args, nargs, given) < 0) return NULL;
    return PyBool_FromLong(fac_can_cast(given[0], given[1]));
}

static PyObject *
result_type(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    static const FacParam operand = {.name = "tensor", .type = FAC_TYPE_OPERAND};
    FacValue values[2];
    FacScratch scratch;
    PyObject *result = NULL;
    if (nargs != 2)
        return PyErr_Format(PyExc_TypeError, "result_type() takes 2 arguments (%zd given)", nargs);
    fac_scratch_init(&scratch);
    for (int i = 0; i < 2; i++) {
        int fits = fac_arg_convert(&operand, args[i], &values[i], &scratch);
        if (fits == 0)
            PyErr_Format(PyExc_TypeError,
                         "result_type(): argument %d must be Tensor or Number, not %s", i + 1,
                         Py_TYPE(args[i])->tp_name);
        if (fits != 1) goto done;
    }
    FacDType dt = fac_promote_operands(values, 2);
    if (dt == FAC_DT_NONE)
        PyErr_SetString(PyExc_RuntimeError, "result_type(): promotion is not supported");
    else
        result = Py_NewRef(fac_py_dtype(dt));
done:
    fac_scratch_release(&scratch);
    return result;
}

static PyObject *
get_default_dtype(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return Py_NewRef(fac_py_dtype(fac_default_dtype()));
}

static PyObject *
set_default_dtype(PyObject *Py_UNUSED(module), PyObject *o)
{
    FacDType dt = fac_dtype_from_python(o);
    if (dt == FAC_DT_NONE)
        return PyErr_Format(PyExc_TypeError,
                            "set_default_dtype(): argument 'd' must be %s.dtype, "
                            "not %s",
                            fac_py.module_name, Py_TYPE(o)->tp_name);
    FacStatus st = fac_set_default_dtype(dt);
    if (st) return fac_py_raise(st);
    Py_RETURN_NONE;
}

PyMethodDef fac_dtype_functions[] = {
    {"promote_types", (PyCFunction)(void (*)(void))promote_types, METH_FASTCALL,
     "promote_types(type1, type2, /)\n--\n\nThe smallest dtype that holds both."},
    {"can_cast", (PyCFunction)(void (*)(void))can_cast, METH_FASTCALL,
     "can_cast(from_, to, /)\n--\n\nWhether a cast keeps the kind of number."},
    {"result_type", (PyCFunction)(void (*)(void))result_type, METH_FASTCALL,
     "result_type(tensor1, tensor2, /)\n--\n\nThe dtype of arithmetic on the two."},
    {"get_default_dtype", get_default_dtype, METH_NOARGS,
     "get_default_dtype()\n--\n\nThe default floating dtype."},
    {"set_default_dtype", set_default_dtype, METH_O,
     "set_default_dtype(d, /)\n--\n\nSets the default floating dtype."},
    {NULL, NULL, 0, NULL},
};

/* --- start ------------------------------------------------------------------------------------ */

static int
add_dtypes(PyObject *names)
{
    static const struct {
        const char *name;
        FacDType dt;
    } aliases[] = {
        {"half", FAC_DT_F16},  {"float", FAC_DT_F32},  {"double", FAC_DT_F64},
        {"short", FAC_DT_I16}, {"int", FAC_DT_I32},    {"long", FAC_DT_I64},
        {"chalf", FAC_DT_C32}, {"cfloat", FAC_DT_C64}, {"cdouble", FAC_DT_C128},
    };
    for (int dt = 0; dt < FAC_DTYPES; dt++) {
        const char *name = fac_dtype_info[dt].name;
        fac_py.dtypes[dt] = named_new(fac_py.dtype_type, dt, name);
        if (!fac_py.dtypes[dt] || PyDict_SetItemString(names, name, fac_py.dtypes[dt]) < 0)
            return -1;
    }
    for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++)
        if (PyDict_SetItemString(names, aliases[i].name, fac_py.dtypes[aliases[i].dt]) < 0)
            return -1;
    return 0;
}

static int
add_named(PyObject *names, PyTypeObject *type, const char *const *texts, int n, PyObject **out)
{
    for (int i = 0; i < n; i++) {
        out[i] = named_new(type, i, texts[i]);
        if (!out[i] || PyDict_SetItemString(names, texts[i], out[i]) < 0) return -1;
    }
    return 0;
}

int
fac_start_dtype(PyObject *module)
{
    static const char *const layouts[] = {"strided",    "sparse_coo", "sparse_csr", "sparse_csc",
                                          "sparse_bsr", "sparse_bsc", "_mkldnn",    "jagged"};
    static const char *const formats[] = {"contiguous_format", "preserve_format", "channels_last",
                                          "channels_last_3d"};
    PyObject *names = PyDict_New(); /* what the package publishes under these names */
    int st = -1;
    fac_py.dtype_type = fac_add_type(module, &dtype_spec, NULL);
    fac_py.layout_type = fac_add_type(module, &layout_spec, NULL);
    fac_py.format_type = fac_add_type(module, &format_spec, NULL);
    if (names && fac_py.dtype_type && fac_py.layout_type && fac_py.format_type &&
        start_size(module) == 0 && add_dtypes(names) == 0 &&
        add_named(names, fac_py.layout_type, layouts, 8, fac_py.layouts) == 0 &&
        add_named(names, fac_py.format_type, formats, 4, fac_py.formats) == 0)
        st = PyModule_AddObjectRef(module, "_constants", names);
    Py_XDECREF(names);
    return st;
}
