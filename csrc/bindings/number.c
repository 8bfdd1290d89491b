/* number.c - the operators of Tensor: + - * / @ == and their like, conversion to Python numbers.
 *
 * A binary operator fills a frame on the C stack straight from its two operands and dispatches: no
 * tuple, no dict, no Python int in between. Each has a row; where the row takes a number as its
 * first operand it serves the reflected form too (2 - t is sub(2, t)). What is neither tensor,
 * number nor array gives NotImplemented, so that Python asks the other operand.
 *
 * Operands with overrides of their own get the method (Tensor.add), as when it is called by name.
 */
#include "bindings/bindings.h"

#include "base/dtype.h"

#include <string.h>

typedef struct Operator {
    const char *name;       /* of the rows, and of the method */
    const char *reflected;  /* what an override is told for `number - tensor`; NULL: the method */
    const FacOp *op;        /* the row for a tensor first */
    const FacOp *number_op; /* the row for a number first; NULL: there is none */
    bool resolved;
} Operator;

/* --- rows of operators ------------------------------------------------------------------------ */

static bool
takes(const FacOp *op, int i, bool number)
{
    if (i >= op->nparams || (op->params[i].flags & FAC_P_LIST)) return false;
    int type = op->params[i].type;
    return type == FAC_TYPE_OPERAND || (number ? type == FAC_TYPE_SCALAR : type == FAC_TYPE_TENSOR);
}

/* Whether two operands are all that a call needs. */
static bool
is_binary(const FacOp *op)
{
    if (op->npositional < 2 || !takes(op, 1, false)) return false;
    for (int i = 2; i < op->nparams; i++)
        if (!(op->params[i].flags & FAC_P_DEFAULT)) return false;
    return true;
}

/* Rows of the name in order; a row that takes numbers second is better than one for tensors. */
static void
resolve(Operator *o)
{
    for (int i = 0; i < fac_op_count; i++) {
        const FacOp *op = &fac_ops[i];
        if (strcmp(op->name, o->name) != 0 || !is_binary(op)) continue;
        bool better = !o->op || (o->op->params[1].type == FAC_TYPE_TENSOR && takes(op, 1, true));
        if (takes(op, 0, false) && better) o->op = op;
        if (takes(op, 0, true) && !o->number_op) o->number_op = op;
    }
    o->resolved = true;
}

/* --- overrides -------------------------------------------------------------------------------- */

static bool
plain(PyObject *o)
{
    return fac_is_exact_tensor(o) || PyFloat_CheckExact(o) || PyLong_CheckExact(o);
}

/* The result of the override that wants a call of the Tensor attribute `name`, in *result; 0 when
 * none does. */
static int
overridden(const char *name, PyObject *const *args, Py_ssize_t n, PyObject **result)
{
    bool all_plain = !fac_override_modes();
    for (Py_ssize_t i = 0; i < n; i++) all_plain = all_plain && plain(args[i]);
    if (FAC_LIKELY(all_plain)) return 0;
    int wanted = fac_override_wanted(args, n);
    if (wanted <= 0) return wanted;
    PyObject *function = PyObject_GetAttrString((PyObject *)fac_py.tensor_type, name);
    *result = function ? fac_override_call(function, args, n, NULL) : NULL;
    Py_XDECREF(function);
    return *result ? 1 : -1;
}

static int
binary_overridden(const Operator *o, PyObject *x, PyObject *y, PyObject **result)
{
    PyObject *forward[] = {x, y}, *backward[] = {y, x};
    if (FAC_LIKELY(plain(x) && plain(y) && !fac_override_modes())) return 0;
    if (fac_is_tensor(x)) return overridden(o->name, forward, 2, result);
    return overridden(o->reflected ? o->reflected : o->name, backward, 2, result);
}

/* --- binary and unary ------------------------------------------------------------------------- */

/* Every operator takes a tensor where it takes one of two operands. */
static inline int
operand(const FacParam *param, PyObject *o, FacValue *out, FacScratch *scratch)
{
    if (FAC_UNLIKELY(!fac_is_exact_tensor(o))) return fac_arg_convert(param, o, out, scratch);
    *out = fac_v_tensor(fac_unwrap(o));
    return 1;
}

static PyObject *
run(const FacOp *op, FacValue *args, FacTensor *target, PyObject *self)
{
    FacValue results[1] = {FAC_VALUE_NONE};
    for (int i = 2; i < op->nparams; i++) args[i] = op->params[i].fallback;
    FacCall call = {.op = op, .args = args, .results = results};
    if (target) {
        call.targets = &target;
        call.flags = FAC_CALL_INPLACE;
    }
    FacStatus st = fac_dispatch(&call);
    if (FAC_UNLIKELY(st != FAC_OK)) return fac_py_raise(st);
    if (!target) return fac_results_to_python(op, results);
    fac_values_release(results, 1);
    return Py_NewRef(self);
}

static PyObject *
binary(Operator *o, PyObject *x, PyObject *y)
{
    FacValue args[FAC_ARGS_MAX];
    FacScratch scratch;
    PyObject *result = NULL;
    int fits = binary_overridden(o, x, y, &result);
    if (FAC_UNLIKELY(fits)) return fits < 0 ? NULL : result;
    if (FAC_UNLIKELY(!o->resolved)) resolve(o);
    const FacOp *op = fac_is_tensor(x) ? o->op : o->number_op ? o->number_op : o->op;
    if (!op) Py_RETURN_NOTIMPLEMENTED;
    fac_scratch_init(&scratch);
    fits = operand(&op->params[0], x, &args[0], &scratch);
    if (fits == 1) fits = operand(&op->params[1], y, &args[1], &scratch);
    if (FAC_LIKELY(fits == 1)) result = run(op, args, NULL, NULL);
    fac_scratch_release(&scratch);
    return fits ? result : Py_NewRef(Py_NotImplemented);
}

static PyObject *
inplace(Operator *o, const char *name, PyObject *x, PyObject *y)
{
    FacValue args[FAC_ARGS_MAX];
    FacScratch scratch;
    PyObject *result = NULL, *operands[] = {x, y};
    if (!fac_is_tensor(x)) Py_RETURN_NOTIMPLEMENTED;
    int fits = overridden(name, operands, 2, &result);
    if (FAC_UNLIKELY(fits)) return fits < 0 ? NULL : result;
    if (FAC_UNLIKELY(!o->resolved)) resolve(o);
    if (!o->op || !(o->op->flags & FAC_OP_INPLACE)) Py_RETURN_NOTIMPLEMENTED;
    fac_scratch_init(&scratch);
    args[0] = fac_v_tensor(fac_unwrap(x));
    fits = operand(&o->op->params[1], y, &args[1], &scratch);
    if (FAC_LIKELY(fits == 1)) result = run(o->op, args, fac_unwrap(x), x);
    fac_scratch_release(&scratch);
    return fits ? result : Py_NewRef(Py_NotImplemented);
}

static PyObject *
unary(const FacOp **op, const char *name, PyObject *x)
{
    PyObject *result;
    int st = overridden(name, &x, 1, &result);
    if (FAC_UNLIKELY(st)) return st < 0 ? NULL : result;
    if (!*op && !(*op = fac_op_find(name)))
        return PyErr_Format(PyExc_NotImplementedError, "this build has no operator '%s'", name);
    FacValue arg = fac_v_tensor(fac_unwrap(x));
    return fac_py_call(*op, 1, &arg);
}

/* X(slot, row, what an override is told for the reflected form). */
#define BINARY_LIST(X)                                                                             \
    X(add, add, NULL)                                                                              \
    X(subtract, sub, "__rsub__")                                                                   \
    X(multiply, mul, NULL)                                                                         \
    X(true_divide, div, "__rtruediv__")                                                            \
    X(floor_divide, floor_divide, "__rfloordiv__")                                                 \
    X(modulo, remainder, "__rmod__")                                                               \
    X(and, bitwise_and, NULL)                                                                      \
    X(or, bitwise_or, NULL)                                                                        \
    X(xor, bitwise_xor, NULL)                                                                      \
    X(lshift, bitwise_left_shift, "__rlshift__")                                                   \
    X(rshift, bitwise_right_shift, "__rrshift__")

#define BINARY_SLOT(slot, row, back)                                                               \
    static Operator operator_##slot = {.name = #row, .reflected = back};                           \
    static PyObject *slot_##slot(PyObject *x, PyObject *y)                                         \
    {                                                                                              \
        return binary(&operator_##slot, x, y);                                                     \
    }                                                                                              \
    static PyObject *slot_inplace_##slot(PyObject *x, PyObject *y)                                 \
    {                                                                                              \
        return inplace(&operator_##slot, #row "_", x, y);                                          \
    }
#define UNARY_SLOT(slot, row)                                                                      \
    static PyObject *slot_##slot(PyObject *x)                                                      \
    {                                                                                              \
        static const FacOp *op;                                                                    \
        return unary(&op, #row, x);                                                                \
    }

BINARY_LIST(BINARY_SLOT)
UNARY_SLOT(negative, neg)
UNARY_SLOT(positive, positive)
UNARY_SLOT(absolute, abs)
UNARY_SLOT(invert, bitwise_not)

/* a @= b is a = a @ b, since the sizes may change. */
static Operator operator_matmul = {.name = "matmul", .reflected = "__rmatmul__"};

static PyObject *
slot_matmul(PyObject *x, PyObject *y)
{
    return binary(&operator_matmul, x, y);
}

static Operator operator_power = {.name = "pow", .reflected = "__rpow__"};

static PyObject *
slot_power(PyObject *x, PyObject *y, PyObject *modulus)
{
    if (modulus != Py_None) Py_RETURN_NOTIMPLEMENTED;
    return binary(&operator_power, x, y);
}

static PyObject *
slot_inplace_power(PyObject *x, PyObject *y, PyObject *modulus)
{
    if (modulus != Py_None) Py_RETURN_NOTIMPLEMENTED;
    return inplace(&operator_power, "pow_", x, y);
}

PyObject *
fac_tensor_compare(PyObject *a, PyObject *b, int how)
{
    static Operator operators[] = {
        [Py_LT] = {.name = "lt"}, [Py_LE] = {.name = "le"}, [Py_EQ] = {.name = "eq"},
        [Py_NE] = {.name = "ne"}, [Py_GT] = {.name = "gt"}, [Py_GE] = {.name = "ge"},
    };
    return binary(&operators[how], a, b);
}

/* --- numbers ---------------------------------------------------------------------------------- */

/* The one element; false with an exception when there is not one, or no memory to read. */
static bool
single_element(PyObject *self, double c[2], FacValue *v)
{
    PyObject *item = PyObject_CallMethod(self, "item", NULL);
    if (!item) return false;
    if (PyComplex_Check(item)) {
        c[0] = PyComplex_RealAsDouble(item);
        c[1] = PyComplex_ImagAsDouble(item);
        *v = (FacValue){.tag = FAC_V_COMPLEX, .v.c = c};
    } else {
        FacScratch scratch;
        fac_scratch_init(&scratch);
        if (fac_number_convert(item, v, &scratch) != 1) *v = FAC_VALUE_NONE;
    }
    Py_DECREF(item);
    return !PyErr_Occurred();
}

/* Tensor.item by an exact tensor needs no method look-up. */
static bool
read_element(PyObject *self, double c[2], FacValue *v)
{
    FacTensor *t = fac_unwrap(self);
    if (!fac_is_exact_tensor(self) || fac_override_modes() || t->numel != 1 || t->keys ||
        fac_is_meta(t) || (t->flags & FAC_T_OVERRIDDEN_STORAGE))
        return single_element(self, c, v);
    FacStatus st = fac_tensor_item(t, c, v);
    if (st) fac_py_raise(st);
    return st == FAC_OK;
}

static int
slot_bool(PyObject *self)
{
    const FacTensor *t = fac_unwrap(self);
    PyObject *result;
    double c[2];
    FacValue v;
    int st = overridden("__bool__", &self, 1, &result);
    if (st) {
        int truth = st < 0 ? -1 : PyObject_IsTrue(result);
        if (st > 0) Py_DECREF(result);
        return truth;
    }
    if (t->numel != 1) {
        PyErr_Format(PyExc_RuntimeError, "Boolean value of Tensor with %s is ambiguous",
                     t->numel ? "more than one value" : "no values");
        return -1;
    }
    return read_element(self, c, &v) ? fac_v_is_true(v) : -1;
}

static PyObject *
as_python(PyObject *self, const char *name, PyTypeObject *type)
{
    PyObject *result;
    double c[2];
    FacValue v;
    int st = overridden(name, &self, 1, &result);
    if (st) return st < 0 ? NULL : result;
    if (!read_element(self, c, &v)) return NULL;
    if (v.tag == FAC_V_COMPLEX && type != &PyComplex_Type && v.v.c[1] != 0)
        return PyErr_Format(PyExc_RuntimeError,
                            "value cannot be converted to type %s without overflow",
                            type == &PyLong_Type ? "int64_t" : "double");
    if (type == &PyFloat_Type) return PyFloat_FromDouble(fac_v_as_float(v));
    if (type == &PyComplex_Type) {
        fac_v_as_complex(v, c);
        return PyComplex_FromDoubles(c[0], c[1]);
    }
    if (v.tag == FAC_V_INT) return fac_number_to_python(v);
    return v.tag == FAC_V_BOOL ? PyLong_FromLong(v.v.b) : PyLong_FromDouble(fac_v_as_float(v));
}

static PyObject *
slot_int(PyObject *self)
{
    return as_python(self, "__int__", &PyLong_Type);
}

static PyObject *
slot_float(PyObject *self)
{
    return as_python(self, "__float__", &PyFloat_Type);
}

static PyObject *
slot_index(PyObject *self)
{
    const FacTensor *t = fac_unwrap(self);
    PyObject *result;
    int st = overridden("__index__", &self, 1, &result);
    if (st) return st < 0 ? NULL : result;
    if (!FAC_IS_INT(t->dtype) || t->numel != 1)
        return PyErr_Format(
            PyExc_TypeError,
            "only integer tensors of a single element can be converted to an index");
    return as_python(self, "__index__", &PyLong_Type);
}

static PyObject *
tensor_complex(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return as_python(self, "__complex__", &PyComplex_Type);
}

static PyObject *
tensor_round(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs == 0 || args[0] == Py_None) return PyObject_CallMethod(self, "round", NULL);
    PyObject *method = PyObject_GetAttrString(self, "round");
    PyObject *empty = PyTuple_New(0), *kwargs = PyDict_New(), *result = NULL;
    if (method && empty && kwargs && PyDict_SetItemString(kwargs, "decimals", args[0]) == 0)
        result = PyObject_Call(method, empty, kwargs);
    Py_XDECREF(method);
    Py_XDECREF(empty);
    Py_XDECREF(kwargs);
    return result;
}

static PyObject *
tensor_reversed(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    if (fac_unwrap(self)->ndim == 0) return Py_NewRef(self);
    return PyObject_CallMethod(self, "flip", "(i)", 0);
}

PyMethodDef fac_number_methods[] = {
    {"__reversed__", tensor_reversed, METH_NOARGS, NULL},
    {"__complex__", tensor_complex, METH_NOARGS, NULL},
    {"__round__", (PyCFunction)(void (*)(void))tensor_round, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

/* --- len and in ------------------------------------------------------------------------------- */

static Py_ssize_t
slot_length(PyObject *self)
{
    const FacTensor *t = fac_unwrap(self);
    PyObject *result;
    int st = overridden("__len__", &self, 1, &result);
    if (st) {
        Py_ssize_t n = st < 0 ? -1 : PyNumber_AsSsize_t(result, PyExc_OverflowError);
        if (st > 0) Py_DECREF(result);
        return n;
    }
    if (t->ndim) return (Py_ssize_t)t->sizes[0];
    PyErr_SetString(PyExc_TypeError, "len() of a 0-d tensor");
    return -1;
}

static int
slot_contains(PyObject *self, PyObject *element)
{
    PyObject *operands[] = {self, element}, *result = NULL;
    int st = overridden("__contains__", operands, 2, &result);
    if (st < 0) return -1;
    if (!st) {
        PyObject *equal = fac_tensor_compare(self, element, Py_EQ);
        if (equal == Py_NotImplemented) {
            Py_DECREF(equal);
            PyErr_Format(PyExc_RuntimeError,
                         "Tensor.__contains__ only supports Tensor or scalar, but "
                         "you passed in a %R.",
                         (PyObject *)Py_TYPE(element));
            return -1;
        }
        result = equal ? PyObject_CallMethod(equal, "any", NULL) : NULL;
        Py_XDECREF(equal);
    }
    int found = result ? PyObject_IsTrue(result) : -1;
    Py_XDECREF(result);
    return found;
}

PySequenceMethods fac_tensor_sequence = {
    .sq_length = slot_length,
    .sq_contains = slot_contains,
};

PyNumberMethods fac_tensor_number = {
    .nb_add = slot_add,
    .nb_subtract = slot_subtract,
    .nb_multiply = slot_multiply,
    .nb_remainder = slot_modulo,
    .nb_power = slot_power,
    .nb_negative = slot_negative,
    .nb_positive = slot_positive,
    .nb_absolute = slot_absolute,
    .nb_bool = slot_bool,
    .nb_invert = slot_invert,
    .nb_lshift = slot_lshift,
    .nb_rshift = slot_rshift,
    .nb_and = slot_and,
    .nb_xor = slot_xor,
    .nb_or = slot_or,
    .nb_int = slot_int,
    .nb_float = slot_float,
    .nb_inplace_add = slot_inplace_add,
    .nb_inplace_subtract = slot_inplace_subtract,
    .nb_inplace_multiply = slot_inplace_multiply,
    .nb_inplace_remainder = slot_inplace_modulo,
    .nb_inplace_power = slot_inplace_power,
    .nb_inplace_lshift = slot_inplace_lshift,
    .nb_inplace_rshift = slot_inplace_rshift,
    .nb_inplace_and = slot_inplace_and,
    .nb_inplace_xor = slot_inplace_xor,
    .nb_inplace_or = slot_inplace_or,
    .nb_floor_divide = slot_floor_divide,
    .nb_true_divide = slot_true_divide,
    .nb_inplace_floor_divide = slot_inplace_floor_divide,
    .nb_inplace_true_divide = slot_inplace_true_divide,
    .nb_index = slot_index,
    .nb_matrix_multiply = slot_matmul,
};
