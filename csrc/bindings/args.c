/* args.c - Python arguments to the frame of a call.
 *
 * Converting one argument is a switch over the type of its parameter. It answers "does not fit"
 * without an exception, so that overloads are tried in order, and only when none fits is the
 * message made. Numbers convert as the peer's: an int parameter takes no float and no bool, a
 * float takes ints, 0-d tensors stand for numbers, NumPy scalars for those they hold.
 *
 * Values borrow: tensors from their wrappers, which the caller holds, strings from their str;
 * lists are held as tuples, so that code that runs during later conversions cannot change what was
 * converted. What had to be made (lists of ints, tensors over arrays) lies in the scratch.
 *
 * Keywords are compared by pointer first; the names of a row are interned, as those that the
 * compiler puts into code are.
 */
#include "bindings/bindings.h"

#include <string.h>

/* --- scratch ---------------------------------------------------------------------------------- */

void
fac_scratch_release(FacScratch *s)
{
    for (int i = 0; i < s->nblocks; i++) fac_mem_free(s->blocks[i]);
    for (int i = 0; i < s->nowned; i++) fac_tensor_release(s->owned[i]);
    for (int i = 0; i < s->nheld; i++) Py_DECREF(s->held[i]);
    fac_scratch_init(s);
}

static int
too_many(void)
{
    PyErr_SetString(PyExc_TypeError, "too many lists among the arguments of one call");
    return -1;
}

static void *
scratch_block(FacScratch *s, size_t bytes)
{
    if (s->nblocks == (int)(sizeof s->blocks / sizeof *s->blocks)) {
        too_many();
        return NULL;
    }
    void *at = fac_mem_alloc(bytes ? bytes : 1);
    if (!at) return PyErr_NoMemory();
    return s->blocks[s->nblocks++] = at;
}

static int64_t *
scratch_ints(FacScratch *s, Py_ssize_t n)
{
    if (n <= FAC_ARGS_INTS - s->nints) {
        int64_t *at = s->ints + s->nints;
        s->nints += (int)n;
        return at;
    }
    return scratch_block(s, (size_t)n * sizeof(int64_t));
}

/* The items of a list or tuple, as a tuple that stays as it is for the length of the call
 * (borrowed); NULL and no exception when o is neither. */
static PyObject *
fixed_tuple(PyObject *o, FacScratch *s)
{
    if (PyTuple_Check(o)) return o;
    if (!PyList_Check(o)) return NULL;
    if (s->nheld == (int)(sizeof s->held / sizeof *s->held)) {
        too_many();
        return NULL;
    }
    PyObject *tuple = PyList_AsTuple(o);
    if (tuple) s->held[s->nheld++] = tuple;
    return tuple;
}

/* --- numbers ---------------------------------------------------------------------------------- */

typedef enum ScalarKind {
    NO_SCALAR,
    BOOL_SCALAR,
    INT_SCALAR,
    FLOAT_SCALAR,
    COMPLEX_SCALAR
} ScalarKind;

/* What a NumPy scalar holds, told by the names of its base classes, so that NumPy need not be
 * loaded. */
static ScalarKind
numpy_scalar_kind(PyTypeObject *type)
{
    if (strncmp(type->tp_name, "numpy.", 6) != 0) return NO_SCALAR;
    for (; type; type = type->tp_base) {
        const char *name = type->tp_name;
        if (strcmp(name, "numpy.bool") == 0 || strcmp(name, "numpy.bool_") == 0) return BOOL_SCALAR;
        if (strcmp(name, "numpy.integer") == 0) return INT_SCALAR;
        if (strcmp(name, "numpy.floating") == 0) return FLOAT_SCALAR;
        if (strcmp(name, "numpy.complexfloating") == 0) return COMPLEX_SCALAR;
    }
    return NO_SCALAR;
}

static int
int_value(PyObject *o, FacValue *out)
{
    int overflow;
    long long i = PyLong_AsLongLongAndOverflow(o, &overflow);
    if (i == -1 && PyErr_Occurred()) return -1;
    *out = fac_v_int(i);
    if (overflow == 0) return 1;
    unsigned long long u = overflow > 0 ? PyLong_AsUnsignedLongLong(o) : 0;
    if (overflow < 0 || (u == (unsigned long long)-1 && PyErr_Occurred())) {
        PyErr_SetString(PyExc_OverflowError, "Python int too large to convert to a 64-bit integer");
        return -1;
    }
    *out = fac_v_int((int64_t)u);
    out->flags = FAC_VALUE_UNSIGNED;
    return 1;
}

static int
complex_value(PyObject *o, FacValue *out, FacScratch *s)
{
    Py_complex c = PyComplex_AsCComplex(o);
    if (c.real == -1.0 && PyErr_Occurred()) return -1;
    double *at =
        s->ncomplex < 4 ? s->complexes[s->ncomplex++] : scratch_block(s, 2 * sizeof(double));
    if (!at) return -1;
    at[0] = c.real;
    at[1] = c.imag;
    *out = (FacValue){.tag = FAC_V_COMPLEX, .v.c = at};
    return 1;
}

static int
numpy_scalar_value(PyObject *o, ScalarKind kind, FacValue *out, FacScratch *s)
{
    PyObject *plain;
    if (kind == COMPLEX_SCALAR) return complex_value(o, out, s);
    if (kind == BOOL_SCALAR) {
        int truth = PyObject_IsTrue(o);
        *out = fac_v_bool(truth > 0);
        return truth < 0 ? -1 : 1;
    }
    plain = kind == INT_SCALAR ? PyNumber_Index(o) : PyNumber_Float(o);
    if (!plain) return -1;
    int fits = kind == INT_SCALAR ? int_value(plain, out) : 1;
    if (kind == FLOAT_SCALAR) *out = fac_v_float(PyFloat_AS_DOUBLE(plain));
    Py_DECREF(plain);
    return fits;
}

int
fac_number_convert(PyObject *o, FacValue *out, FacScratch *s)
{
    if (PyFloat_Check(o)) {
        *out = fac_v_float(PyFloat_AS_DOUBLE(o));
        return 1;
    }
    if (PyBool_Check(o)) {
        *out = fac_v_bool(o == Py_True);
        return 1;
    }
    if (PyLong_Check(o)) return int_value(o, out);
    if (PyComplex_Check(o)) return complex_value(o, out, s);
    if (fac_is_tensor(o)) return 0;
    ScalarKind kind = numpy_scalar_kind(Py_TYPE(o));
    if (kind) return numpy_scalar_value(o, kind, out, s);
    PyNumberMethods *slots = Py_TYPE(o)->tp_as_number;
    if (!slots || !slots->nb_index || strcmp(Py_TYPE(o)->tp_name, "numpy.ndarray") == 0) return 0;
    PyObject *index = PyNumber_Index(o);
    int fits = index ? int_value(index, out) : -1;
    Py_XDECREF(index);
    return fits;
}

/* The number in a 0-d tensor. 1, 0, -1. */
static int
tensor_number(FacTensor *t, FacValue *out, FacScratch *s)
{
    double c[2];
    if (t->ndim != 0) return 0;
    if (s->choosy) {
        s->refused = true;
        return 0;
    }
    FacStatus st = fac_tensor_item(t, c, out);
    if (st) {
        fac_py_raise(st);
        return -1;
    }
    if (out->tag != FAC_V_COMPLEX) return 1;
    double *at =
        s->ncomplex < 4 ? s->complexes[s->ncomplex++] : scratch_block(s, 2 * sizeof(double));
    if (!at) return -1;
    memcpy(at, c, sizeof c);
    out->v.c = at;
    return 1;
}

static int
convert_int(PyObject *o, FacValue *out, FacScratch *s)
{
    if (FAC_LIKELY(PyLong_CheckExact(o))) return int_value(o, out);
    if (PyBool_Check(o) || PyFloat_Check(o)) return 0;
    int fits;
    if (fac_is_tensor(o)) {
        FacTensor *t = fac_unwrap(o);
        if (!FAC_IS_INT(t->dtype) || t->dtype == FAC_DT_BOOL || fac_needs_grad(t)) return 0;
        fits = tensor_number(t, out, s);
    } else {
        fits = fac_number_convert(o, out, s);
    }
    return fits == 1 && out->tag != FAC_V_INT ? 0 : fits;
}

static int
convert_float(PyObject *o, FacValue *out, FacScratch *s)
{
    int fits =
        fac_is_tensor(o) ? tensor_number(fac_unwrap(o), out, s) : fac_number_convert(o, out, s);
    if (fits != 1) return fits;
    if (out->tag == FAC_V_COMPLEX) return 0;
    if (out->tag != FAC_V_FLOAT) *out = fac_v_float(fac_v_as_float(*out));
    return 1;
}

static int
convert_bool(PyObject *o, FacValue *out)
{
    if (PyBool_Check(o)) {
        *out = fac_v_bool(o == Py_True);
        return 1;
    }
    if (numpy_scalar_kind(Py_TYPE(o)) != BOOL_SCALAR) return 0;
    int truth = PyObject_IsTrue(o);
    *out = fac_v_bool(truth > 0);
    return truth < 0 ? -1 : 1;
}

/* --- tensors ---------------------------------------------------------------------------------- */

static int
convert_tensor(PyObject *o, FacValue *out, FacScratch *s)
{
    FacTensor *t;
    if (FAC_LIKELY(fac_is_tensor(o))) {
        *out = fac_v_tensor(fac_unwrap(o));
        return 1;
    }
    int fits = fac_tensor_from_array(o, &t);
    if (fits != 1) return fits;
    if (s->nowned == (int)(sizeof s->owned / sizeof *s->owned)) {
        fac_tensor_release(t);
        return too_many();
    }
    *out = fac_v_tensor(s->owned[s->nowned++] = t);
    return 1;
}

/* Numbers come first: a NumPy scalar is one, and is also an array. */
static int
convert_operand(PyObject *o, FacValue *out, FacScratch *s)
{
    if (fac_is_tensor(o)) {
        *out = fac_v_tensor(fac_unwrap(o));
        return 1;
    }
    int fits = fac_number_convert(o, out, s);
    return fits ? fits : convert_tensor(o, out, s);
}

/* --- lists ------------------------------------------------------------------------------------ */

static int
convert_ints(Py_ssize_t n, PyObject *const *at, FacValue *out, FacScratch *s)
{
    FacValue item;
    int64_t *ints = scratch_ints(s, n);
    if (!ints) return -1;
    for (Py_ssize_t i = 0; i < n; i++) {
        int fits = convert_int(at[i], &item, s);
        if (fits != 1) return fits;
        ints[i] = item.v.i;
    }
    *out = fac_v_ints(ints, (int)n);
    return 1;
}

static int
convert_floats(Py_ssize_t n, PyObject *const *at, FacValue *out, FacScratch *s)
{
    FacValue item;
    double *floats = scratch_block(s, (size_t)n * sizeof *floats);
    if (!floats) return -1;
    for (Py_ssize_t i = 0; i < n; i++) {
        int fits = convert_float(at[i], &item, s);
        if (fits != 1) return fits;
        floats[i] = item.v.f;
    }
    *out = (FacValue){.tag = FAC_V_FLOATS, .len = (uint32_t)n, .v.floats = floats};
    return 1;
}

static int
convert_bools(Py_ssize_t n, PyObject *const *at, FacValue *out, FacScratch *s)
{
    FacValue item;
    bool *bools = scratch_block(s, (size_t)n * sizeof *bools);
    if (!bools) return -1;
    for (Py_ssize_t i = 0; i < n; i++) {
        int fits = convert_bool(at[i], &item);
        if (fits != 1) return fits;
        bools[i] = item.v.b;
    }
    *out = (FacValue){.tag = FAC_V_BOOLS, .len = (uint32_t)n, .v.bools = bools};
    return 1;
}

static int
convert_tensors(const FacParam *param, Py_ssize_t n, PyObject *const *at, FacValue *out,
                FacScratch *s)
{
    FacValue item;
    FacTensor **tensors = scratch_block(s, (size_t)n * sizeof *tensors);
    if (!tensors) return -1;
    for (Py_ssize_t i = 0; i < n; i++) {
        tensors[i] = NULL;
        if (at[i] == Py_None && (param->flags & FAC_P_OPTIONAL_ITEM)) continue;
        int fits = convert_tensor(at[i], &item, s);
        if (fits != 1) return fits;
        tensors[i] = item.v.t;
    }
    *out = fac_v_tensors(tensors, (int)n);
    return 1;
}

static int
convert_values(const FacParam *param, Py_ssize_t n, PyObject *const *at, FacValue *out,
               FacScratch *s)
{
    FacParam one = *param;
    one.flags &= (uint8_t)~FAC_P_LIST;
    FacValue *values = scratch_block(s, (size_t)n * sizeof *values);
    if (!values) return -1;
    for (Py_ssize_t i = 0; i < n; i++) {
        int fits = fac_arg_convert(&one, at[i], &values[i], s);
        if (fits != 1) return fits;
    }
    *out = (FacValue){.tag = FAC_V_VALUES, .len = (uint32_t)n, .v.values = values};
    return 1;
}

/* A single int for a list of them; a list of fixed length is filled with it. */
static int
convert_single(const FacParam *param, PyObject *o, FacValue *out, FacScratch *s)
{
    FacValue item;
    int fits, n = param->length ? param->length : 1;
    if (param->type == FAC_TYPE_INT) {
        fits = convert_int(o, &item, s);
        if (fits != 1) return fits;
        int64_t *ints = scratch_ints(s, n);
        if (!ints) return -1;
        for (int i = 0; i < n; i++) ints[i] = item.v.i;
        *out = fac_v_ints(ints, n);
        return 1;
    }
    if (param->type != FAC_TYPE_FLOAT || !param->length) return 0;
    fits = convert_float(o, &item, s);
    if (fits != 1) return fits;
    double *floats = scratch_block(s, (size_t)n * sizeof *floats);
    if (!floats) return -1;
    for (int i = 0; i < n; i++) floats[i] = item.v.f;
    *out = (FacValue){.tag = FAC_V_FLOATS, .len = (uint32_t)n, .v.floats = floats};
    return 1;
}

static int
convert_list(const FacParam *param, PyObject *o, FacValue *out, FacScratch *s)
{
    PyObject *tuple = fixed_tuple(o, s);
    if (!tuple) return PyErr_Occurred() ? -1 : convert_single(param, o, out, s);
    Py_ssize_t n = PyTuple_GET_SIZE(tuple);
    PyObject *const *at = &PyTuple_GET_ITEM(tuple, 0);
    switch (param->type) {
    case FAC_TYPE_INT: return convert_ints(n, at, out, s);
    case FAC_TYPE_FLOAT: return convert_floats(n, at, out, s);
    case FAC_TYPE_BOOL: return convert_bools(n, at, out, s);
    case FAC_TYPE_TENSOR: return convert_tensors(param, n, at, out, s);
    default: return convert_values(param, n, at, out, s);
    }
}

/* --- one argument ----------------------------------------------------------------------------- */

static int
convert_str(PyObject *o, FacValue *out)
{
    Py_ssize_t n;
    if (!PyUnicode_Check(o)) return 0;
    const char *text = PyUnicode_AsUTF8AndSize(o, &n);
    if (!text) return -1;
    *out = (FacValue){.tag = FAC_V_STR, .len = (uint32_t)n, .v.s = text};
    return 1;
}

/* The descriptive types: dtype, device and the like. */
static int
convert_descriptive(const FacParam *param, PyObject *o, FacValue *out)
{
    FacDType dt;
    FacDevice device;
    FacLayoutKind layout;
    FacMemoryFormat format;
    int fits;
    switch (param->type) {
    case FAC_TYPE_DTYPE:
        fits = fac_dtype_convert(o, &dt);
        if (fits == 1) *out = fac_v_dtype(dt);
        return fits;
    case FAC_TYPE_DEVICE:
        fits = fac_device_convert(o, &device);
        if (fits == 1) *out = fac_v_device(device);
        return fits;
    case FAC_TYPE_LAYOUT:
        fits = fac_layout_convert(o, &layout);
        if (fits == 1) *out = (FacValue){.tag = FAC_V_LAYOUT, .v.i = layout};
        return fits;
    case FAC_TYPE_FORMAT:
        fits = fac_format_convert(o, &format);
        if (fits == 1) *out = (FacValue){.tag = FAC_V_FORMAT, .v.i = format};
        return fits;
    case FAC_TYPE_GENERATOR:
        *out = (FacValue){.tag = FAC_V_GENERATOR, .v.generator = fac_generator_from_python(o)};
        return out->v.generator != NULL;
    default:
        *out = (FacValue){.tag = FAC_V_STORAGE, .v.storage = fac_storage_from_python(o)};
        return out->v.storage != NULL;
    }
}

int
fac_arg_convert(const FacParam *param, PyObject *o, FacValue *out, FacScratch *s)
{
    if (o == Py_None) {
        bool allowed = (param->flags & FAC_P_OPTIONAL) ||
                       ((param->flags & FAC_P_DEFAULT) && param->fallback.tag == FAC_V_NONE);
        *out = FAC_VALUE_NONE;
        return allowed || param->type == FAC_TYPE_OBJECT;
    }
    if (param->flags & FAC_P_LIST) return convert_list(param, o, out, s);
    switch (param->type) {
    case FAC_TYPE_TENSOR: return convert_tensor(o, out, s);
    case FAC_TYPE_OPERAND: return convert_operand(o, out, s);
    case FAC_TYPE_SCALAR:
        return fac_is_tensor(o) ? tensor_number(fac_unwrap(o), out, s)
                                : fac_number_convert(o, out, s);
    case FAC_TYPE_INT: return convert_int(o, out, s);
    case FAC_TYPE_FLOAT: return convert_float(o, out, s);
    case FAC_TYPE_BOOL: return convert_bool(o, out);
    case FAC_TYPE_STR: return convert_str(o, out);
    case FAC_TYPE_OBJECT: *out = (FacValue){.tag = FAC_V_OBJECT, .v.p = o}; return 1;
    default: return convert_descriptive(param, o, out);
    }
}

int
fac_sizes_convert(PyObject *o, FacDim *sizes, int *ndim)
{
    static const FacParam param = {.name = "size", .type = FAC_TYPE_INT, .flags = FAC_P_LIST};
    FacScratch s;
    FacValue v;
    fac_scratch_init(&s);
    int fits = fac_arg_convert(&param, o, &v, &s);
    if (fits == 1 && v.len > FAC_MAX_NDIM) {
        PyErr_Format(PyExc_ValueError, "a tensor has at most %d dimensions, not %u", FAC_MAX_NDIM,
                     v.len);
        fits = -1;
    }
    if (fits == 1) {
        memcpy(sizes, v.v.ints, v.len * sizeof *sizes);
        *ndim = (int)v.len;
    }
    fac_scratch_release(&s);
    return fits;
}

/* --- all arguments ---------------------------------------------------------------------------- */

static int
misfit(FacFrame *f, FacMisfit why, int param, PyObject *o)
{
    f->misfit = why;
    f->misfit_param = param;
    f->misfit_object = o;
    return 0;
}

static bool
same_name(PyObject *a, PyObject *b)
{
    return a == b || PyUnicode_Compare(a, b) == 0;
}

/* Words that stand for a parameter besides its own name: NumPy's, and `input` for self in
 * functions. */
static const struct {
    const char *param, *word;
} aliases[] = {{"dim", "axis"}, {"keepdim", "keepdims"}, {"input", "input"}, {"input", "x"},
               {"input", "a"},  {"input", "x1"},         {"other", "x2"}};
enum { ALIASES = sizeof aliases / sizeof *aliases };

/* Which of the words a keyword is; -1: none. */
static int
find_alias(PyObject *name)
{
    static PyObject *words[ALIASES]; /* interned */
    bool by_text = !PyUnicode_CHECK_INTERNED(name);
    for (int i = 0; i < ALIASES; i++) {
        if (!words[i] && !(words[i] = PyUnicode_InternFromString(aliases[i].word))) return -1;
        if (words[i] == name || (by_text && PyUnicode_Compare(words[i], name) == 0)) return i;
    }
    return -1;
}

/* Names are interned, and so are keywords in code: nearly always pointers decide. */
static int
find_param(const FacOpEntry *e, PyObject *name)
{
    int n = e->op->nparams;
    for (int i = 0; i < n; i++)
        if (e->names[i] == name) return i;
    for (int i = 0; i < n && !PyUnicode_CHECK_INTERNED(name); i++)
        if (PyUnicode_Compare(e->names[i], name) == 0) return i;
    int alias = find_alias(name);
    for (int i = 0; alias >= 0 && i < n; i++) {
        const char *param = e->op->params[i].name;
        if (!e->method && strcmp(param, "self") == 0) param = "input";
        if (strcmp(param, aliases[alias].param) == 0) return i;
    }
    return -1;
}

/* out=: a tensor, or a tuple of one a result. 1, 0, -1. */
static int
bind_out(const FacOp *op, PyObject *o, FacFrame *f)
{
    if (o == Py_None) return 1;
    if (fac_is_tensor(o)) {
        f->targets[0] = fac_unwrap(o);
        f->ntargets = 1;
        return op->nresults == 1;
    }
    PyObject *tuple = fixed_tuple(o, &f->scratch);
    if (!tuple) return PyErr_Occurred() ? -1 : 0;
    Py_ssize_t n = PyTuple_GET_SIZE(tuple);
    if (n != op->nresults || n > FAC_RESULTS_MAX) return 0;
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *item = PyTuple_GET_ITEM(tuple, i);
        if (!fac_is_tensor(item)) return 0;
        f->targets[i] = fac_unwrap(item);
    }
    f->ntargets = (int)n;
    return 1;
}

/* Keywords that no schema lists. 1, 0 (with the misfit), -1. */
static int
bind_extra(const FacOpEntry *e, PyObject *name, PyObject *o, FacFrame *f)
{
    const FacOp *op = e->op;
    if ((op->flags & FAC_OP_OUT) && !e->inplace && !e->method && same_name(name, fac_py.s_out)) {
        int fits = bind_out(op, o, f);
        return fits ? fits : misfit(f, FAC_MISFIT_TYPE, op->nparams, o);
    }
    if (op->flags & FAC_OP_FACTORY) {
        bool grad = same_name(name, fac_py.s_requires_grad);
        if (grad || same_name(name, fac_py.s_pin_memory)) {
            int truth = o == Py_None ? 0 : PyObject_IsTrue(o);
            if (grad) f->requires_grad = truth;
            return truth < 0 ? -1 : 1;
        }
        if (op->npositional && same_name(name, fac_py.s_out) && o == Py_None) return 1;
    }
    return misfit(f, FAC_MISFIT_UNKNOWN, 0, name);
}

static int
bind_keywords(const FacOpEntry *e, PyObject *const *values, PyObject *kwnames, uint32_t *given,
              FacFrame *f)
{
    Py_ssize_t n = PyTuple_GET_SIZE(kwnames);
    for (Py_ssize_t k = 0; k < n; k++) {
        PyObject *name = PyTuple_GET_ITEM(kwnames, k), *o = values[k];
        int fits, i = find_param(e, name);
        if (i < 0) {
            fits = bind_extra(e, name, o, f);
            if (fits != 1) return fits;
            continue;
        }
        if (*given & (UINT32_C(1) << i)) return misfit(f, FAC_MISFIT_TWICE, i, o);
        fits = fac_arg_convert(&e->op->params[i], o, &f->args[i], &f->scratch);
        if (fits == 0) return misfit(f, FAC_MISFIT_TYPE, i, o);
        if (fits < 0) return -1;
        *given |= UINT32_C(1) << i;
    }
    return 1;
}

/* Of the i-th positional argument: self comes first for methods, wherever it stands. */
static inline int
positional_param(const FacOpEntry *e, Py_ssize_t i)
{
    if (FAC_LIKELY(e->self == 0)) return (int)i;
    return i == 0 ? e->self : i <= e->self ? (int)i - 1 : (int)i;
}

/* Whether the arguments are single ints where the row takes one list of them. */
static bool
given_singly(const FacOpEntry *e, PyObject *const *args, Py_ssize_t nargs)
{
    if (!e->varargs || nargs <= e->method) return false;
    PyObject *first = args[e->method];
    return !PyTuple_Check(first) && !PyList_Check(first);
}

int
fac_args_bind(const FacOpEntry *e, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
              FacFrame *f)
{
    const FacOp *op = e->op;
    uint32_t given = 0;
    Py_ssize_t npositional = nargs;
    if (FAC_UNLIKELY(op->nparams > FAC_ARGS_MAX)) {
        PyErr_Format(PyExc_SystemError, "%s has more than %d parameters", op->name, FAC_ARGS_MAX);
        return -1;
    }
    if (given_singly(e, args, nargs)) {
        npositional = e->method;
        int fits =
            convert_ints(nargs - e->method, args + e->method, &f->args[e->method], &f->scratch);
        if (fits == 0) return misfit(f, FAC_MISFIT_TYPE, e->method, args[e->method]);
        if (fits < 0) return -1;
        given = UINT32_C(1) << e->method;
    } else if (nargs > op->npositional) {
        return misfit(f, FAC_MISFIT_COUNT, 0, NULL);
    }
    for (Py_ssize_t i = 0; i < npositional; i++) {
        int p = positional_param(e, i);
        int fits = fac_arg_convert(&op->params[p], args[i], &f->args[p], &f->scratch);
        if (FAC_UNLIKELY(fits != 1)) return fits ? -1 : misfit(f, FAC_MISFIT_TYPE, p, args[i]);
        given |= UINT32_C(1) << p;
    }
    if (kwnames) {
        int fits = bind_keywords(e, args + nargs, kwnames, &given, f);
        if (fits != 1) return fits;
    }
    for (int i = 0; i < op->nparams; i++) {
        if (given & (UINT32_C(1) << i)) continue;
        if (!(op->params[i].flags & FAC_P_DEFAULT)) return misfit(f, FAC_MISFIT_MISSING, i, NULL);
        f->args[i] = op->params[i].fallback;
    }
    return 1;
}

/* --- messages --------------------------------------------------------------------------------- */

/* The type as the peer's users read it. */
static const char *
type_text(const FacParam *p)
{
    bool list = (p->flags & FAC_P_LIST) != 0;
    switch (p->type) {
    case FAC_TYPE_TENSOR: return list ? "tuple of Tensors" : "Tensor";
    case FAC_TYPE_OPERAND: return "Tensor";
    case FAC_TYPE_SCALAR: return list ? "tuple of Scalars" : "Number";
    case FAC_TYPE_INT: return list ? "tuple of ints" : "int";
    case FAC_TYPE_FLOAT: return list ? "tuple of floats" : "float";
    case FAC_TYPE_BOOL: return list ? "tuple of bools" : "bool";
    case FAC_TYPE_STR: return "str";
    case FAC_TYPE_DTYPE: return "dtype";
    case FAC_TYPE_DEVICE: return "device";
    case FAC_TYPE_LAYOUT: return "layout";
    case FAC_TYPE_FORMAT: return "memory_format";
    case FAC_TYPE_GENERATOR: return "Generator";
    case FAC_TYPE_STORAGE: return "Storage";
    default: return "object";
    }
}

static bool
has_module_prefix(const FacParam *p)
{
    return p->type >= FAC_TYPE_DTYPE && p->type <= FAC_TYPE_GENERATOR;
}

static PyObject *
fallback_text(FacValue v)
{
    if (v.tag == FAC_V_STR) return PyUnicode_FromFormat("\"%s\"", v.v.s);
    PyObject *o = fac_value_to_python(v);
    PyObject *text = o ? PyObject_Repr(o) : NULL;
    Py_XDECREF(o);
    return text;
}

static PyObject *
param_text(const FacOpEntry *e, int i)
{
    const FacParam *p = &e->op->params[i];
    const char *name = !e->method && strcmp(p->name, "self") == 0 ? "input" : p->name;
    const char *prefix = has_module_prefix(p) ? fac_py.module_name : "";
    const char *dot = *prefix ? "." : "";
    if (!(p->flags & FAC_P_DEFAULT))
        return PyUnicode_FromFormat("%s%s%s %s", prefix, dot, type_text(p), name);
    PyObject *fallback = fallback_text(p->fallback);
    if (!fallback) return NULL;
    PyObject *text =
        PyUnicode_FromFormat("%s%s%s %s = %U", prefix, dot, type_text(p), name, fallback);
    Py_DECREF(fallback);
    return text;
}

static int
append_take(PyObject *list, PyObject *item)
{
    int st = item ? PyList_Append(list, item) : -1;
    Py_XDECREF(item);
    return st;
}

static PyObject *
join_take(const char *separator, PyObject *list)
{
    PyObject *by = list ? PyUnicode_FromString(separator) : NULL;
    PyObject *text = by ? PyUnicode_Join(by, list) : NULL;
    Py_XDECREF(by);
    Py_XDECREF(list);
    return text;
}

PyObject *
fac_args_signature(const FacOpEntry *e)
{
    const FacOp *op = e->op;
    bool star = false, out = (op->flags & FAC_OP_OUT) && !e->inplace && !e->method;
    PyObject *parts = PyList_New(0);
    for (int i = 0; parts && i < op->nparams; i++) {
        if (e->method && i == e->self) continue;
        if ((op->params[i].flags & FAC_P_KEYWORD) && !star) {
            star = true;
            if (append_take(parts, PyUnicode_FromString("*")) < 0) goto failed;
        }
        if (append_take(parts, param_text(e, i)) < 0) goto failed;
    }
    if (parts && out && !star && append_take(parts, PyUnicode_FromString("*")) < 0) goto failed;
    if (parts && out &&
        append_take(parts, PyUnicode_FromString(op->nresults > 1 ? "tuple of Tensors out = None"
                                                                 : "Tensor out = None")) < 0)
        goto failed;
    PyObject *inside = join_take(", ", parts);
    PyObject *text = inside ? PyUnicode_FromFormat("(%U)", inside) : NULL;
    Py_XDECREF(inside);
    return text;
failed:
    Py_DECREF(parts);
    return NULL;
}

/* "(Tensor, int, dim=str)": what was given. */
static PyObject *
given_text(const FacOpEntry *e, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *parts = PyList_New(0);
    Py_ssize_t nkw = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
    for (Py_ssize_t i = e->method; parts && i < nargs + nkw; i++) {
        const char *type = Py_TYPE(args[i])->tp_name;
        const char *dot = strrchr(type, '.');
        if (dot && fac_is_tensor(args[i])) type = dot + 1;
        PyObject *part =
            i < nargs ? PyUnicode_FromString(type)
                      : PyUnicode_FromFormat("%U=%s", PyTuple_GET_ITEM(kwnames, i - nargs), type);
        if (append_take(parts, part) < 0) Py_CLEAR(parts);
    }
    return join_take(", ", parts);
}

/* The argument of the one row that does not fit. */
static PyObject *
misfit_text(PyObject *name, const FacOpEntry *e, const FacFrame *f, PyObject *const *args,
            Py_ssize_t nargs)
{
    const FacOp *op = e->op;
    static const FacParam out = {.name = "out", .type = FAC_TYPE_TENSOR};
    const FacParam *p = f->misfit_param < op->nparams ? &op->params[f->misfit_param] : &out;
    const char *param = !e->method && strcmp(p->name, "self") == 0 ? "input" : p->name;
    const char *prefix = has_module_prefix(p) ? fac_py.module_name : "";
    int position = 0;
    if (f->misfit == FAC_MISFIT_UNKNOWN)
        return PyUnicode_FromFormat("%U() got an unexpected keyword argument '%U'", name,
                                    f->misfit_object);
    if (f->misfit == FAC_MISFIT_TWICE)
        return PyUnicode_FromFormat("%U() got multiple values for argument '%s'", name, param);
    for (Py_ssize_t i = 0; i < nargs && !position; i++)
        if (args[i] == f->misfit_object) position = (int)i + 1 - e->method;
    PyObject *where =
        position > 0 ? PyUnicode_FromFormat(" (position %d)", position) : PyUnicode_FromString("");
    if (!where) return NULL;
    PyObject *text = PyUnicode_FromFormat("%U(): argument '%s'%U must be %s%s%s, not %s", name,
                                          param, where, prefix, *prefix ? "." : "", type_text(p),
                                          Py_TYPE(f->misfit_object)->tp_name);
    Py_DECREF(where);
    return text;
}

/* Every signature on a line of its own, or behind "expected" when there is one. */
static PyObject *
signatures_text(const FacOpEntry *entries, int nentries)
{
    if (nentries == 1) return fac_args_signature(entries);
    PyObject *parts = PyList_New(0);
    if (parts && append_take(parts, PyUnicode_FromString("one of:")) < 0) Py_CLEAR(parts);
    for (int i = 0; parts && i < nentries; i++) {
        PyObject *signature = fac_args_signature(&entries[i]);
        PyObject *line = signature ? PyUnicode_FromFormat(" * %U", signature) : NULL;
        Py_XDECREF(signature);
        if (append_take(parts, line) < 0) Py_CLEAR(parts);
    }
    return join_take("\n", parts);
}

PyObject *
fac_args_error(PyObject *name, const FacOpEntry *entries, int nentries, FacFrame *f,
               PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *text = NULL;
    bool one = nentries == 1 && f->misfit != FAC_MISFIT_COUNT && f->misfit != FAC_MISFIT_MISSING;
    if (one) {
        text = misfit_text(name, entries, f, args, nargs);
    } else {
        PyObject *given = given_text(entries, args, nargs, kwnames);
        PyObject *expected = given ? signatures_text(entries, nentries) : NULL;
        if (expected)
            text = PyUnicode_FromFormat("%U() received an invalid combination of arguments - got "
                                        "(%U), but expected %U",
                                        name, given, expected);
        Py_XDECREF(given);
        Py_XDECREF(expected);
    }
    if (text) PyErr_SetObject(PyExc_TypeError, text);
    Py_XDECREF(text);
    return NULL;
}
