/* build.c - tensors from Python data: tensor(), as_tensor(), asarray(), frombuffer().
 *
 * Nested data is read three times, each time by the shortest way. The first walk goes down the
 * first elements only and gives the shape. The second looks at the type of every leaf, checks
 * the lengths and gives the dtype; it is left out when a dtype is given. The third writes the
 * elements into a fresh tensor, checking the lengths as it goes, since reading may run Python
 * code that changes a list. Lists of floats and ints, which are nearly all data, take loops
 * without a call per element. Tensors and arrays may stand anywhere in place of a list or a
 * number.
 */
#include "bindings/bindings.h"
#include "generated/ops.h"

#include <math.h>
#include <string.h>

typedef struct Builder {
    FacDType dtype; /* given, or of the leaves so far; NONE before the first */
    int ndim;
    FacDim sizes[FAC_MAX_NDIM];
    int64_t path[FAC_MAX_NDIM]; /* where the walk is, for messages */
} Builder;

typedef enum NodeKind { NODE_NUMBER, NODE_SEQUENCE, NODE_BLOCK } NodeKind;

typedef struct Node {
    NodeKind kind;
    PyObject *items;  /* NODE_SEQUENCE: a list or tuple, owned */
    FacTensor *block; /* NODE_BLOCK, or a number that came as a tensor or array; owned */
} Node;

/* --- messages -------------------------------------------------------------------------------- */

/* "data[1][0]" */
static const char *
path_text(const Builder *b, int depth, FacText *text)
{
    text->len = 0;
    fac_text_add(text, "data");
    for (int d = 0; d < depth; d++) fac_text_add(text, "[%lld]", (long long)b->path[d]);
    return text->at;
}

static int
length_error(const Builder *b, int depth, Py_ssize_t length)
{
    FacText text;
    PyErr_Format(PyExc_ValueError, "expected sequence of length %lld at dim %d (got %zd), in %s",
                 (long long)b->sizes[depth], depth, length, path_text(b, depth, &text));
    return -1;
}

static int
block_error(const Builder *b, int depth, const FacTensor *block)
{
    FacText text, want = {.len = 0}, have = {.len = 0};
    fac_text_dims(&want, b->ndim - depth, b->sizes + depth);
    fac_text_dims(&have, block->ndim, block->sizes);
    PyErr_Format(PyExc_ValueError, "expected data of shape %s at %s, got shape %s", want.at,
                 path_text(b, depth, &text), have.at);
    return -1;
}

/* What is no number stands where a number must: the classes are the peer's. */
static int
number_error(const Builder *b, int depth, PyObject *o)
{
    FacText text;
    const char *name = Py_TYPE(o)->tp_name, *where = path_text(b, depth, &text);
    if (PyUnicode_Check(o) || PyBytes_Check(o))
        PyErr_Format(depth && PyUnicode_Check(o) ? PyExc_ValueError : PyExc_TypeError,
                     "invalid data type '%s' at %s: a tensor holds numbers", name, where);
    else if (PySequence_Check(o))
        PyErr_Format(PyExc_TypeError, "expected a number at %s, got %s", where, name);
    else
        PyErr_Format(PyExc_RuntimeError, "Could not infer dtype of %s, at %s", name, where);
    return -1;
}

static int
sequence_error(const Builder *b, int depth, PyObject *o)
{
    FacText text;
    PyErr_Format(
        PyExc_TypeError, "not a sequence: expected one of length %lld at dim %d, got %s in %s",
        (long long)b->sizes[depth], depth, Py_TYPE(o)->tp_name, path_text(b, depth, &text));
    return -1;
}

static int
raise_status(FacStatus st)
{
    fac_py_raise(st);
    return -1;
}

/* --- nodes ----------------------------------------------------------------------------------- */

static inline bool
is_python_number(PyObject *o)
{
    return PyFloat_CheckExact(o) || PyLong_Check(o) || PyComplex_CheckExact(o);
}

static int
node_open(PyObject *o, Node *node)
{
    *node = (Node){NODE_NUMBER, NULL, NULL};
    if (is_python_number(o) || PyUnicode_Check(o) || PyBytes_Check(o)) return 0;
#ifndef Py_GIL_DISABLED
    if (PyList_Check(o) || PyTuple_Check(o)) {
        node->kind = NODE_SEQUENCE;
        node->items = Py_NewRef(o);
        return 0;
    }
#endif
    if (fac_is_tensor(o)) {
        node->block = fac_tensor_retain(fac_unwrap(o));
    } else {
        int known = fac_tensor_from_array(o, &node->block);
        if (known < 0) return -1;
        if (!known && PySequence_Check(o)) {
            node->kind = NODE_SEQUENCE;
            node->items = PySequence_Tuple(o);
            return node->items ? 0 : -1;
        }
        if (!known) return 0;
    }
    bool single = node->block->ndim == 0 || (fac_is_tensor(o) && node->block->numel == 1);
    node->kind = single ? NODE_NUMBER : NODE_BLOCK;
    return 0;
}

static void
node_close(Node *node)
{
    Py_XDECREF(node->items);
    fac_tensor_release(node->block);
}

static inline Py_ssize_t
items_length(PyObject *items)
{
    return PyTuple_Check(items) ? PyTuple_GET_SIZE(items) : PyList_GET_SIZE(items);
}

static inline PyObject *
items_at(PyObject *items, Py_ssize_t i) /* borrowed */
{
    return PyTuple_Check(items) ? PyTuple_GET_ITEM(items, i) : PyList_GET_ITEM(items, i);
}

/* --- first walk: the shape ------------------------------------------------------------------- */

static int
find_shape(Builder *b, PyObject *data)
{
    PyObject *o = Py_NewRef(data);
    int failed = 0;
    b->ndim = 0;
    while (o) {
        Node node;
        PyObject *first = NULL;
        failed = node_open(o, &node);
        int more = node.kind == NODE_BLOCK ? node.block->ndim : node.kind == NODE_SEQUENCE;
        if (!failed && b->ndim + more > FAC_MAX_NDIM) {
            PyErr_Format(PyExc_ValueError, "too many dimensions: a tensor has at most %d",
                         FAC_MAX_NDIM);
            failed = -1;
        }
        if (!failed && node.kind == NODE_SEQUENCE) {
            b->sizes[b->ndim++] = items_length(node.items);
            if (items_length(node.items)) first = Py_NewRef(items_at(node.items, 0));
        } else if (!failed && node.kind == NODE_BLOCK) {
            for (int d = 0; d < more; d++) b->sizes[b->ndim++] = node.block->sizes[d];
        }
        node_close(&node);
        Py_DECREF(o);
        o = first;
    }
    return failed;
}

/* --- second walk: the dtype ------------------------------------------------------------------ */

static int
join_dtype(Builder *b, FacDType dt)
{
    FacDType joined = b->dtype == FAC_DT_NONE ? dt : fac_promote(b->dtype, dt);
    if (joined == FAC_DT_NONE) {
        PyErr_Format(PyExc_TypeError, "the data holds %s and %s, which have no common dtype",
                     fac_dtype_info[b->dtype].name, fac_dtype_info[dt].name);
        return -1;
    }
    b->dtype = joined;
    return 0;
}

static FacDType
python_number_dtype(PyObject *o)
{
    if (PyFloat_Check(o)) return fac_default_dtype();
    if (PyBool_Check(o)) return FAC_DT_BOOL;
    if (PyLong_Check(o)) return FAC_DT_I64;
    return PyComplex_Check(o) ? fac_default_complex() : FAC_DT_NONE;
}

/* The dtype of a leaf that is no plain Python number. */
static int
join_leaf(Builder *b, int depth, PyObject *o, const Node *node)
{
    if (node->kind != NODE_NUMBER) return number_error(b, depth, o);
    if (node->block) return join_dtype(b, (FacDType)node->block->dtype);
    FacDType dt = python_number_dtype(o);
    if (dt == FAC_DT_NONE && PyIndex_Check(o)) dt = FAC_DT_I64;
    if (dt == FAC_DT_NONE) return number_error(b, depth, o);
    return join_dtype(b, dt);
}

static int
check_block(const Builder *b, int depth, const FacTensor *block)
{
    bool fits = block->ndim == b->ndim - depth;
    for (int d = 0; d < block->ndim && fits; d++) fits = block->sizes[d] == b->sizes[depth + d];
    return fits ? 0 : block_error(b, depth, block);
}

static int find_dtype(Builder *b, int depth, PyObject *o);

/* The leaves of one list: runs of plain numbers without a call. */
static int
find_row_dtype(Builder *b, int depth, PyObject *items)
{
    for (Py_ssize_t i = 0; i < items_length(items); i++) {
        unsigned floats = 0, ints = 0;
        PyObject *o = NULL;
        for (; i < items_length(items); i++) {
            o = items_at(items, i);
            bool is_float = PyFloat_CheckExact(o), is_int = PyLong_CheckExact(o);
            if (!is_float && !is_int) break;
            floats |= is_float;
            ints |= is_int;
        }
        if (floats && join_dtype(b, fac_default_dtype()) < 0) return -1;
        if (ints && join_dtype(b, FAC_DT_I64) < 0) return -1;
        if (i == items_length(items)) return 0;
        b->path[depth] = i;
        Py_INCREF(o);
        int failed = PyBool_Check(o) ? join_dtype(b, FAC_DT_BOOL) : find_dtype(b, depth + 1, o);
        Py_DECREF(o);
        if (failed) return -1;
    }
    return 0;
}

static int
find_dtype(Builder *b, int depth, PyObject *o)
{
    Node node;
    int failed = 0;
    if (node_open(o, &node) < 0) return -1;
    if (depth == b->ndim) {
        failed = join_leaf(b, depth, o, &node);
    } else if (node.kind == NODE_BLOCK) {
        failed = check_block(b, depth, node.block) || join_dtype(b, (FacDType)node.block->dtype);
    } else if (node.kind == NODE_NUMBER) {
        failed = sequence_error(b, depth, o);
    } else if (items_length(node.items) != b->sizes[depth]) {
        failed = length_error(b, depth, items_length(node.items));
    } else if (depth + 1 == b->ndim) {
        failed = find_row_dtype(b, depth, node.items);
    } else {
        for (Py_ssize_t i = 0; i < items_length(node.items) && !failed; i++) {
            PyObject *item = Py_NewRef(items_at(node.items, i));
            b->path[depth] = i;
            failed = find_dtype(b, depth + 1, item);
            Py_DECREF(item);
        }
    }
    node_close(&node);
    return failed ? -1 : 0;
}

/* --- third walk: the elements ---------------------------------------------------------------- */

static int
range_error(FacDType dt)
{
    PyErr_Format(PyExc_RuntimeError, "value cannot be converted to type %s without overflow",
                 fac_dtype_info[dt].name);
    return -1;
}

/* Whether an integer dtype holds the number; unsigned ones take negative numbers, which wrap. */
static bool
in_range(FacValue v, FacDType dt)
{
    int bits = 8 * fac_dtype_size(dt);
    bool is_signed = fac_dtype_info[dt].is_signed;
    if (v.tag == FAC_V_FLOAT) {
        double high = ldexp(1, is_signed ? bits - 1 : bits);
        double low = is_signed ? -high : -high + 1;
        return is_signed ? v.v.f >= low && v.v.f < high : v.v.f > low - 1 && v.v.f < high;
    }
    if (v.flags & FAC_VALUE_UNSIGNED) return dt == FAC_DT_U64;
    if (bits == 64) return true;
    int64_t high = (INT64_C(1) << (is_signed ? bits - 1 : bits)) - 1;
    return v.v.i <= high && v.v.i >= (is_signed ? -high - 1 : -high);
}

static int
store_value(FacValue v, FacDType dt, char *to)
{
    if (v.tag == FAC_V_COMPLEX && !FAC_IS_COMPLEX(dt)) {
        PyErr_Format(PyExc_TypeError,
                     "must be real number, not complex: %s holds no imaginary part",
                     fac_dtype_info[dt].name);
        return -1;
    }
    if (dt == FAC_DT_I64 && (v.flags & FAC_VALUE_UNSIGNED)) {
        PyErr_SetString(PyExc_ValueError, "Overflow when unpacking long long: the number does not "
                                          "fit into int64");
        return -1;
    }
    if (dt != FAC_DT_BOOL && FAC_IS_INT(dt) && v.tag != FAC_V_BOOL && !in_range(v, dt))
        return range_error(dt);
    fac_v_store(v, dt, to);
    return 0;
}

/* A Python int that may exceed 64 bits, for a dtype that is no integer's. */
static int
store_long_as_double(PyObject *o, FacDType dt, char *to)
{
    double d = PyLong_AsDouble(o);
    if (d == -1.0 && PyErr_Occurred()) return -1;
    fac_v_store(fac_v_float(d), dt, to);
    return 0;
}

static int
store_number(const Builder *b, int depth, PyObject *o, char *to)
{
    FacDType dt = b->dtype;
    if (PyLong_CheckExact(o) && !FAC_IS_INT(dt)) return store_long_as_double(o, dt, to);
    FacScratch scratch;
    FacValue v = FAC_VALUE_NONE;
    fac_scratch_init(&scratch);
    int known = fac_number_convert(o, &v, &scratch);
    if (known < 0 && PyErr_ExceptionMatches(PyExc_OverflowError)) {
        PyErr_Clear();
        PyErr_SetString(PyExc_ValueError, "Overflow when unpacking long long: the number does not "
                                          "fit into 64 bits");
    }
    int failed = known < 0 ? -1 : known == 0 ? number_error(b, depth, o) : store_value(v, dt, to);
    fac_scratch_release(&scratch);
    return failed;
}

/* The one element of a tensor or array that stands for a number. */
static int
store_element(const Builder *b, FacTensor *t, char *to)
{
    double c[2];
    FacValue v;
    FacTensor *flat = NULL;
    FacStatus st;
    if (t->ndim) {
        FAC_TRY(fac_tensor_view(t, 0, NULL, NULL, t->offset, &flat));
        t = flat;
    }
    FAC_TRY(fac_tensor_item(t, c, &v));
    fac_tensor_release(flat);
    return store_value(v, b->dtype, to);
done:
    fac_tensor_release(flat);
    return raise_status(st);
}

static int
store_block(const Builder *b, int depth, FacTensor *block, FacTensor *out, char *to)
{
    FacTensor *part = NULL;
    FacStatus st;
    FacDim strides[FAC_MAX_NDIM];
    int ndim = b->ndim - depth;
    if (check_block(b, depth, block) < 0) return -1;
    int64_t offset = (to - (char *)fac_data(out)) / fac_dtype_size(b->dtype);
    fac_strides_contiguous(ndim, b->sizes + depth, strides);
    FAC_TRY(fac_tensor_view(out, ndim, b->sizes + depth, strides, offset, &part));
    FAC_TRY(fac_tensor_copy(part, block));
done:
    fac_tensor_release(part);
    return st ? raise_status(st) : 0;
}

/* The numbers at the front of items[i..n) that need no conversion by a call; returns the new i. */
#define FILL_FLOATS(name, type)                                                                    \
    static Py_ssize_t name(PyObject *const *items, Py_ssize_t i, Py_ssize_t n, char *to)           \
    {                                                                                              \
        type *at = (type *)to;                                                                     \
        for (; i < n && PyFloat_CheckExact(items[i]); i++)                                         \
            at[i] = (type)PyFloat_AS_DOUBLE(items[i]);                                             \
        return i;                                                                                  \
    }
FILL_FLOATS(fill_f32, float)
FILL_FLOATS(fill_f64, double)
#undef FILL_FLOATS

static Py_ssize_t
fill_i64(PyObject *const *items, Py_ssize_t i, Py_ssize_t n, char *to)
{
    int64_t *at = (int64_t *)to;
    int overflow = 0;
    for (; i < n && PyLong_CheckExact(items[i]); i++) {
        at[i] = PyLong_AsLongLongAndOverflow(items[i], &overflow);
        if (overflow) break;
    }
    return i;
}

static int fill(Builder *b, int depth, PyObject *o, FacTensor *out, char *to);

static int
fill_row(Builder *b, int depth, PyObject *items, FacTensor *out, char *to)
{
    Py_ssize_t n = items_length(items), size = fac_dtype_size(b->dtype);
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *const *at = PySequence_Fast_ITEMS(items);
        if (b->dtype == FAC_DT_F32)
            i = fill_f32(at, i, n, to);
        else if (b->dtype == FAC_DT_F64)
            i = fill_f64(at, i, n, to);
        else if (b->dtype == FAC_DT_I64)
            i = fill_i64(at, i, n, to);
        if (i == n) return 0;
        PyObject *o = Py_NewRef(items_at(items, i));
        b->path[depth] = i;
        int failed = is_python_number(o) ? store_number(b, depth + 1, o, to + i * size)
                                         : fill(b, depth + 1, o, out, to + i * size);
        Py_DECREF(o);
        if (failed) return -1;
        if (items_length(items) != n) return length_error(b, depth, items_length(items));
    }
    return 0;
}

static int
fill(Builder *b, int depth, PyObject *o, FacTensor *out, char *to)
{
    Node node;
    int failed = 0;
    if (node_open(o, &node) < 0) return -1;
    if (depth == b->ndim) {
        failed = node.kind != NODE_NUMBER ? number_error(b, depth, o)
                 : node.block             ? store_element(b, node.block, to)
                                          : store_number(b, depth, o, to);
    } else if (node.kind == NODE_BLOCK) {
        failed = store_block(b, depth, node.block, out, to);
    } else if (node.kind == NODE_NUMBER) {
        failed = sequence_error(b, depth, o);
    } else if (items_length(node.items) != b->sizes[depth]) {
        failed = length_error(b, depth, items_length(node.items));
    } else if (depth + 1 == b->ndim) {
        failed = fill_row(b, depth, node.items, out, to);
    } else {
        Py_ssize_t n = items_length(node.items);
        int64_t bytes = fac_dtype_size(b->dtype);
        for (int d = depth + 1; d < b->ndim; d++) bytes *= b->sizes[d];
        for (Py_ssize_t i = 0; i < n && !failed; i++) {
            if (i >= items_length(node.items)) {
                failed = length_error(b, depth, items_length(node.items));
                break;
            }
            PyObject *item = Py_NewRef(items_at(node.items, i));
            b->path[depth] = i;
            failed = fill(b, depth + 1, item, out, to + i * bytes);
            Py_DECREF(item);
        }
    }
    node_close(&node);
    return failed;
}

/* --- tensors --------------------------------------------------------------------------------- */

/* t (taken) in the dtype and on the device; another tensor even so when `copy` says so. */
static FacTensor *
convert_take(FacTensor *t, FacDType dt, FacDevice device, bool copy)
{
    bool same_device =
        device.type == t->device.type && (device.index < 0 || device.index == t->device.index);
    if (!copy && same_device && (dt == FAC_DT_NONE || dt == (FacDType)t->dtype)) return t;
    FacValue result;
    FacValue args[] = {fac_v_tensor(t), fac_v_dtype(dt), FAC_VALUE_NONE, fac_v_device(device)};
    FacStatus st = fac_call(FAC_OP__to_copy, 4, args, &result);
    fac_tensor_release(t);
    if (st == FAC_OK) return result.v.t;
    fac_py_raise(st);
    return NULL;
}

static FacTensor *
build_nested(PyObject *data, FacDType dt, FacDevice device)
{
    Builder b = {.dtype = dt};
    FacTensor *out;
    if (find_shape(&b, data) < 0) return NULL;
    if (dt == FAC_DT_NONE && find_dtype(&b, 0, data) < 0) return NULL;
    if (b.dtype == FAC_DT_NONE) b.dtype = fac_default_dtype();
    FacStatus st = fac_tensor_new(b.dtype, FAC_CPU_DEVICE, b.ndim, b.sizes, &out);
    if (st) {
        fac_py_raise(st);
        return NULL;
    }
    if (fill(&b, 0, data, out, fac_data(out)) < 0) {
        fac_tensor_release(out);
        return NULL;
    }
    return convert_take(out, FAC_DT_NONE, device, false);
}

FacTensor *
fac_tensor_from_python(PyObject *data, FacDType dt, FacDevice device, bool copy)
{
    FacTensor *t = NULL;
    if (fac_is_tensor(data)) {
        FacStatus st = fac_tensor_alias(fac_unwrap(data), &t);
        if (st) {
            fac_py_raise(st);
            return NULL;
        }
        return convert_take(t, dt, device, copy);
    }
    if (!is_python_number(data) && !PyList_Check(data) && !PyTuple_Check(data)) {
        int known = fac_tensor_from_array(data, &t);
        if (known < 0) return NULL;
        if (known) return convert_take(t, dt, device, copy);
    }
    return build_nested(data, dt, device);
}

/* --- functions ------------------------------------------------------------------------------- */

/* What the functions of this file take besides their data. */
typedef struct Options {
    PyObject *data;
    FacDType dtype;
    FacDevice device;
    bool has_device, requires_grad;
    int copy; /* -1: not given */
    Py_ssize_t count, offset;
} Options;

enum {
    TAKES_DTYPE = 1,
    TAKES_DEVICE = 2,
    TAKES_REQUIRES_GRAD = 4,
    TAKES_PIN_MEMORY = 8,
    TAKES_COPY = 16,
    TAKES_RANGE = 32, /* count and offset */
};

static int
read_truth(PyObject *o, bool *out)
{
    int truth = PyObject_IsTrue(o);
    *out = truth > 0;
    return truth < 0 ? -1 : 0;
}

static int
read_count(PyObject *o, Py_ssize_t *out)
{
    *out = PyNumber_AsSsize_t(o, PyExc_OverflowError);
    return *out == -1 && PyErr_Occurred() ? -1 : 0;
}

static int
wrong_type(const char *function, const char *name, const char *wanted, PyObject *o)
{
    PyErr_Format(PyExc_TypeError, "%s(): argument '%s' must be %s, not %s", function, name, wanted,
                 Py_TYPE(o)->tp_name);
    return -1;
}

static int
read_pin_memory(PyObject *o)
{
    bool pin;
    if (read_truth(o, &pin) < 0) return -1;
    if (!pin) return 0;
    PyErr_SetString(PyExc_RuntimeError,
                    "pin_memory=True needs an accelerator, and this build has none");
    return -1;
}

static int
read_option(const char *function, int takes, const char *name, PyObject *o, Options *out)
{
    if ((takes & TAKES_DTYPE) && strcmp(name, "dtype") == 0) {
        int known = o == Py_None ? 1 : fac_dtype_convert(o, &out->dtype);
        return known > 0 ? 0 : known < 0 ? -1 : wrong_type(function, name, "a dtype", o);
    }
    if ((takes & TAKES_DEVICE) && strcmp(name, "device") == 0) {
        int known = o == Py_None ? 1 : fac_device_convert(o, &out->device);
        out->has_device = o != Py_None;
        return known > 0 ? 0 : known < 0 ? -1 : wrong_type(function, name, "a device", o);
    }
    if ((takes & TAKES_REQUIRES_GRAD) && strcmp(name, "requires_grad") == 0)
        return read_truth(o, &out->requires_grad);
    if ((takes & TAKES_PIN_MEMORY) && strcmp(name, "pin_memory") == 0) return read_pin_memory(o);
    if ((takes & TAKES_COPY) && strcmp(name, "copy") == 0) {
        out->copy = o == Py_None ? -1 : PyObject_IsTrue(o);
        return PyErr_Occurred() ? -1 : 0;
    }
    if ((takes & TAKES_RANGE) && strcmp(name, "count") == 0) return read_count(o, &out->count);
    if ((takes & TAKES_RANGE) && strcmp(name, "offset") == 0) return read_count(o, &out->offset);
    PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%s'", function, name);
    return -1;
}

/* `data_name` first, then up to `npositional` of dtype, device by position, all else by keyword. */
static int
read_options(const char *function, const char *data_name, int npositional, int takes,
             PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, Options *out)
{
    static const char *const positional[] = {"dtype", "device"};
    *out = (Options){.dtype = FAC_DT_NONE, .device = fac_default_device(), .copy = -1, .count = -1};
    if (nargs > 1 + npositional) {
        PyErr_Format(PyExc_TypeError, "%s() takes %d positional arguments, %zd were given",
                     function, 1 + npositional, nargs);
        return -1;
    }
    if (nargs > 0) out->data = args[0];
    for (Py_ssize_t i = 1; i < nargs; i++)
        if (read_option(function, takes, positional[i - 1], args[i], out) < 0) return -1;
    for (Py_ssize_t i = 0; kwnames && i < PyTuple_GET_SIZE(kwnames); i++) {
        const char *name = PyUnicode_AsUTF8(PyTuple_GET_ITEM(kwnames, i));
        if (!name) return -1;
        if (!out->data && strcmp(name, data_name) == 0)
            out->data = args[nargs + i];
        else if (read_option(function, takes, name, args[nargs + i], out) < 0)
            return -1;
    }
    if (out->data) return 0;
    PyErr_Format(PyExc_TypeError, "%s() misses its argument '%s'", function, data_name);
    return -1;
}

/* A mode of __torch_function__ gets these functions as any other. 1: *result is its answer. */
static int
overridden(const char *function, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
           PyObject **result)
{
    if (FAC_LIKELY(!fac_override_modes())) return 0;
    PyObject *self = PyObject_GetAttrString(fac_py.module, function);
    if (!self) return -1;
    *result = fac_override_call(self, args, nargs, kwnames);
    Py_DECREF(self);
    return 1;
}

static PyObject *
finish_take(FacTensor *t, const Options *options)
{
    if (t && options->requires_grad) {
        FacStatus st = fac_set_requires_grad(t, true);
        if (st) {
            fac_tensor_release(t);
            return fac_py_raise(st);
        }
    }
    return t ? fac_wrap_take(t) : NULL;
}

static FacDevice
device_for(const Options *options)
{
    if (!options->has_device && fac_is_tensor(options->data))
        return fac_unwrap(options->data)->device;
    return options->device;
}

/* Inside of a transform a new tensor belongs to it, as what operators make. */
static FacTensor *
inside_take(FacTensor *t)
{
    FacTensor *own;
    if (FAC_LIKELY(!t || !fac_thread.level)) return t;
    FacStatus st = fac_op_clone(t, FAC_VALUE_NONE, &own);
    fac_tensor_release(t);
    if (st == FAC_OK) return own;
    fac_py_raise(st);
    return NULL;
}

static PyObject *
build_tensor(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    (void)module;
    Options options;
    PyObject *result = NULL;
    int taken = overridden("tensor", args, nargs, kwnames, &result);
    if (taken) return result;
    if (read_options("tensor", "data", 0,
                     TAKES_DTYPE | TAKES_DEVICE | TAKES_REQUIRES_GRAD | TAKES_PIN_MEMORY, args,
                     nargs, kwnames, &options) < 0)
        return NULL;
    if (fac_is_tensor(options.data) &&
        PyErr_WarnEx(PyExc_UserWarning,
                     "To copy construct from a tensor, it is recommended to use "
                     "sourceTensor.detach().clone() or "
                     "sourceTensor.detach().clone().requires_grad_(True), rather than "
                     "tensor(sourceTensor).",
                     1) < 0)
        return NULL;
    FacTensor *t = fac_tensor_from_python(options.data, options.dtype, device_for(&options), true);
    return finish_take(inside_take(t), &options);
}

/* A number, which is of the default dtype whatever its kind, unless it is complex. */
static PyObject *
build_scalar_tensor(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    (void)module;
    Options options;
    PyObject *result = NULL;
    int taken = overridden("scalar_tensor", args, nargs, kwnames, &result);
    if (taken) return result;
    if (read_options("scalar_tensor", "s", 0,
                     TAKES_DTYPE | TAKES_DEVICE | TAKES_REQUIRES_GRAD | TAKES_PIN_MEMORY, args,
                     nargs, kwnames, &options) < 0)
        return NULL;
    if (options.dtype == FAC_DT_NONE)
        options.dtype = PyComplex_Check(options.data) ? fac_default_complex() : fac_default_dtype();
    FacTensor *t = fac_tensor_from_python(options.data, options.dtype, device_for(&options), true);
    if (t && t->ndim) {
        fac_tensor_release(t);
        wrong_type("scalar_tensor", "s", "a number", options.data);
        return NULL;
    }
    return finish_take(inside_take(t), &options);
}

/* as_tensor and asarray of a tensor keep its history; the object itself if nothing changes. */
static PyObject *
share_tensor(const Options *options)
{
    FacTensor *t = fac_unwrap(options->data);
    FacTensor *out =
        convert_take(fac_tensor_retain(t), options->dtype, device_for(options), options->copy == 1);
    if (!out) return NULL;
    if (out != t) return fac_wrap_take(out);
    fac_tensor_release(out);
    return Py_NewRef(options->data);
}

static PyObject *
build_as_tensor(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    (void)module;
    Options options;
    PyObject *result = NULL;
    int taken = overridden("as_tensor", args, nargs, kwnames, &result);
    if (taken) return result;
    if (read_options("as_tensor", "data", 2, TAKES_DTYPE | TAKES_DEVICE, args, nargs, kwnames,
                     &options) < 0)
        return NULL;
    PyObject *data = options.data;
    if (fac_is_tensor(data)) return share_tensor(&options);
    FacTensor *t = fac_tensor_from_python(data, options.dtype, device_for(&options), false);
    bool built = PyList_Check(data) || PyTuple_Check(data) || PyFloat_Check(data) ||
                 PyLong_Check(data) || PyComplex_Check(data); /* no memory is shared */
    return finish_take(built ? inside_take(t) : t, &options);
}

/* --- buffers --------------------------------------------------------------------------------- */

static FacTensor *
share_buffer(const Options *options, const char *function)
{
    Py_buffer view;
    FacTensor *t = NULL;
    FacDType dt = options->dtype == FAC_DT_NONE ? fac_default_dtype() : options->dtype;
    Py_ssize_t size = fac_dtype_size(dt), count = options->count, offset = options->offset;
    if (PyObject_GetBuffer(options->data, &view, PyBUF_SIMPLE) < 0) return NULL;
    Py_ssize_t room = view.len - offset;
    if (view.len == 0 || count == 0)
        PyErr_Format(PyExc_ValueError,
                     "%s(): both buffer length (%zd) and count (%zd) must not be 0", function,
                     view.len, count);
    else if (offset < 0 || room <= 0)
        PyErr_Format(PyExc_ValueError,
                     "%s(): offset (%zd bytes) must be non-negative and no greater "
                     "than buffer length (%zd bytes) minus 1",
                     function, offset, view.len);
    else if (count < 0 && room % size)
        PyErr_Format(PyExc_ValueError,
                     "%s(): buffer length (%zd bytes) after offset (%zd bytes) must "
                     "be a multiple of element size (%zd)",
                     function, room, offset, size);
    else if (count > 0 && count > room / size)
        PyErr_Format(PyExc_ValueError,
                     "%s(): requested buffer length (%zd * %zd bytes) after offset "
                     "(%zd bytes) must not be greater than actual buffer length "
                     "(%zd bytes)",
                     function, count, size, offset, view.len);
    else {
        FacDim n = count < 0 ? room / size : count, stride = 1;
        return fac_tensor_over_buffer(&view, dt, (char *)view.buf + offset, 1, &n, &stride);
    }
    PyBuffer_Release(&view);
    return t;
}

static PyObject *
build_frombuffer(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    (void)module;
    Options options;
    if (read_options("frombuffer", "buffer", 0, TAKES_DTYPE | TAKES_REQUIRES_GRAD | TAKES_RANGE,
                     args, nargs, kwnames, &options) < 0)
        return NULL;
    if (options.dtype == FAC_DT_NONE) {
        PyErr_SetString(PyExc_TypeError, "frombuffer() misses its argument 'dtype'");
        return NULL;
    }
    return finish_take(share_buffer(&options, "frombuffer"), &options);
}

static bool
is_plain_buffer(PyObject *o)
{
    return PyObject_CheckBuffer(o) && !fac_is_tensor(o);
}

/* asarray of what is no tensor: shares memory unless the dtype, the device or `copy` forbid it. */
static FacTensor *
share_or_build(const Options *options)
{
    FacTensor *t = NULL, *out;
    int known = fac_tensor_from_array(options->data, &t);
    bool is_buffer = known == 0 && is_plain_buffer(options->data);
    if (known < 0) return NULL;
    if (is_buffer && !(t = share_buffer(options, "asarray"))) return NULL;
    if (!t && options->copy == 0) {
        PyErr_SetString(PyExc_ValueError, "asarray(): copy=False, but the data cannot be shared");
        return NULL;
    }
    if (!t)
        return inside_take(
            fac_tensor_from_python(options->data, options->dtype, options->device, true));
    out = convert_take(fac_tensor_retain(t), is_buffer ? FAC_DT_NONE : options->dtype,
                       options->device, options->copy == 1);
    bool shared = out == t;
    fac_tensor_release(t);
    if (!out || shared || options->copy != 0) return out;
    fac_tensor_release(out);
    PyErr_SetString(PyExc_ValueError,
                    "asarray(): copy=False, but the dtype or device asked for needs "
                    "a copy");
    return NULL;
}

static PyObject *
build_asarray(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    (void)module;
    Options options;
    PyObject *result = NULL;
    int taken = overridden("asarray", args, nargs, kwnames, &result);
    if (taken) return result;
    if (read_options("asarray", "obj", 0,
                     TAKES_DTYPE | TAKES_DEVICE | TAKES_REQUIRES_GRAD | TAKES_COPY, args, nargs,
                     kwnames, &options) < 0)
        return NULL;
    if (fac_is_tensor(options.data)) {
        result = share_tensor(&options);
        if (!result || options.copy != 0 ||
            fac_unwrap(result)->storage == fac_unwrap(options.data)->storage)
            return result;
        Py_DECREF(result);
        PyErr_SetString(PyExc_ValueError,
                        "asarray(): copy=False, but the dtype or device asked for "
                        "needs a copy");
        return NULL;
    }
    return finish_take(share_or_build(&options), &options);
}

#define FAST_FUNCTION(name, function, doc)                                                         \
    {name, (PyCFunction)(void (*)(void))(function), METH_FASTCALL | METH_KEYWORDS, doc}

PyMethodDef fac_build_functions[] = {
    FAST_FUNCTION(
        "tensor", build_tensor,
        "tensor(data, *, dtype=None, device=None, requires_grad=False, pin_memory=False)"
        "\n--\n\nA new tensor with a copy of data: nested lists, numbers, arrays, tensors."),
    FAST_FUNCTION("scalar_tensor", build_scalar_tensor,
                  "scalar_tensor(s, *, dtype=None, device=None, requires_grad=False, "
                  "pin_memory=False)\n--\n\nA number as a 0-d tensor of the default dtype."),
    FAST_FUNCTION("as_tensor", build_as_tensor,
                  "as_tensor(data, dtype=None, device=None)\n--\n\n"
                  "A tensor of data, which shares memory and history with it where it can."),
    FAST_FUNCTION("asarray", build_asarray,
                  "asarray(obj, *, dtype=None, device=None, copy=None, requires_grad=False)\n--\n\n"
                  "A tensor of obj; copy=True always copies, copy=False never does."),
    FAST_FUNCTION(
        "frombuffer", build_frombuffer,
        "frombuffer(buffer, *, dtype, count=-1, offset=0, requires_grad=False)\n--\n\n"
        "A one-dimensional tensor over the memory of an object with the buffer protocol."),
    {NULL, NULL, 0, NULL},
};

int
fac_start_build(PyObject *module)
{
    (void)module;
    return 0;
}
