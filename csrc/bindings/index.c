/* index.c - t[...] and t[...] = x.
 *
 * A key is read in two passes. The first turns each item into one of five kinds (integer,
 * slice, new dimension, the rest, tensor) and counts the dimensions that they consume, which
 * tells what `...` stands for. The second walks the dimensions once and writes the basic part
 * as the triples of tensor/index.h and the advanced part as a list of index tensors over the
 * view that the basic part gives. So a basic key is one call of a row, an advanced one two. A
 * key with a single basic item is sent to the row of that item (select, slice, unsqueeze),
 * which says the same in simpler words.
 *
 * Where NumPy and the peer differ the peer is followed: an integer is basic also beside
 * advanced indices, and a list that holds slices or sequences is read as a tuple, with a
 * warning.
 */
#include "tensor/index.h"
#include "bindings/bindings.h"
#include "generated/ops.h"

enum { MAX_ITEMS = 2 * FAC_MAX_NDIM, MAX_LEGACY_SEQUENCE = 32 };

typedef enum ItemKind { ITEM_INT, ITEM_SLICE, ITEM_NEW, ITEM_REST, ITEM_TENSOR } ItemKind;

typedef struct Item {
    ItemKind kind;
    int consumes;      /* dimensions */
    int64_t at;        /* ITEM_INT */
    PyObject *slice;   /* ITEM_SLICE, borrowed */
    FacTensor *tensor; /* ITEM_TENSOR, owned */
} Item;

typedef struct Key {
    PyObject *tuple; /* owned: keeps the items alive while Python code runs; NULL for one item */
    Item items[MAX_ITEMS];
    int nitems;
    int64_t spec[FAC_INDEX_SPEC_MAX];
    int nspec;
    int changes;                   /* items of the spec that are not a whole dimension */
    int change;                    /* where the last of them lies in spec */
    int dim;                       /* dimension of self that the next item consumes */
    FacTensor *indices[MAX_ITEMS]; /* borrowed from items; over the dimensions of the view */
    int nindices, covered, view_ndim;
} Key;

/* --- reading items --------------------------------------------------------------------------- */

static void
key_release(Key *key)
{
    for (int i = 0; i < key->nitems; i++) fac_tensor_release(key->items[i].tensor);
    Py_XDECREF(key->tuple);
}

static bool
is_legacy_sequence(PyObject *o)
{
    return PySequence_Check(o) && !PyUnicode_Check(o) && !PyBytes_Check(o);
}

static int
invalid_item(PyObject *o)
{
    PyErr_Format(
        PyExc_IndexError,
        "only integers, slices (`:`), ellipsis (`...`), None, tensors, arrays and sequences "
        "of integers or bools are valid indices (got %s)",
        Py_TYPE(o)->tp_name);
    return -1;
}

/* An index tensor as an item; takes t. 0-d integers are integers, no elements are no indices. */
static int
take_index_tensor(Item *item, FacTensor *t)
{
    FacStatus st;
    if (FAC_IS_INT(t->dtype) && t->ndim == 0 && !fac_is_mask_dtype(t->dtype)) {
        double c[2];
        FacValue v;
        FAC_TRY(fac_tensor_item(t, c, &v));
        item->kind = ITEM_INT;
        item->consumes = 1;
        item->at = v.v.i;
        fac_tensor_release(t);
        return 0;
    }
    if (!FAC_IS_INT(t->dtype) && t->numel == 0) {
        FacTensor *none;
        FAC_TRY(fac_tensor_new(FAC_DT_I64, t->device, t->ndim, t->sizes, &none));
        fac_tensor_release(t);
        t = none;
    }
    if (!FAC_IS_INT(t->dtype))
        FAC_FAIL(FAC_INDEX_ERROR,
                 "tensors used as indices must be of an integer dtype or bool, not %s",
                 fac_dtype_info[t->dtype].name);
    if (t->dtype == FAC_DT_U8)
        FAC_TRY(fac_warn(FAC_WARN_USER, "indexing with dtype uint8 is deprecated: it stands for a "
                                        "mask, please use a dtype bool instead."));
    item->kind = ITEM_TENSOR;
    item->consumes = fac_is_mask_dtype(t->dtype) ? t->ndim : 1;
    item->tensor = t;
    return 0;
done:
    fac_tensor_release(t);
    fac_py_raise(st);
    return -1;
}

static int
read_int(Item *item, PyObject *o)
{
    item->at = PyLong_AsSsize_t(o);
    if (item->at == -1 && PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_OverflowError)) return -1;
        PyErr_Clear();
        PyErr_SetString(PyExc_IndexError, "the index does not fit into 64 bits");
        return -1;
    }
    item->kind = ITEM_INT;
    item->consumes = 1;
    return 0;
}

/* What is neither a Python number, slice, None, Ellipsis nor tensor. */
static int
read_other(Item *item, PyObject *o)
{
    FacTensor *t = NULL;
    int known = fac_tensor_from_array(o, &t);
    if (known < 0) return -1;
    if (known) return take_index_tensor(item, t);
    if (PyIndex_Check(o)) {
        PyObject *number = PyNumber_Index(o);
        if (!number) return -1;
        int failed = read_int(item, number);
        Py_DECREF(number);
        return failed;
    }
    if (!is_legacy_sequence(o)) return invalid_item(o);
    t = fac_tensor_from_python(o, FAC_DT_NONE, FAC_CPU_DEVICE, false);
    return t ? take_index_tensor(item, t) : -1;
}

static int
read_item(Key *key, PyObject *o)
{
    if (key->nitems == MAX_ITEMS) {
        PyErr_Format(PyExc_IndexError, "an index has at most %d items", MAX_ITEMS);
        return -1;
    }
    Item *item = &key->items[key->nitems];
    item->tensor = NULL;
    item->consumes = 0;
    key->nitems++;
    if (PyLong_CheckExact(o)) return read_int(item, o);
    if (PySlice_Check(o)) {
        item->kind = ITEM_SLICE;
        item->consumes = 1;
        item->slice = o;
        return 0;
    }
    if (o == Py_None || o == Py_Ellipsis) {
        item->kind = o == Py_None ? ITEM_NEW : ITEM_REST;
        return 0;
    }
    if (fac_is_tensor(o)) return take_index_tensor(item, fac_tensor_retain(fac_unwrap(o)));
    if (PyBool_Check(o)) { /* a mask without dimensions: one element, or none */
        FacTensor *t;
        FacStatus st = fac_tensor_from_number(fac_v_bool(o == Py_True), FAC_DT_BOOL, &t);
        if (st) return fac_py_raise(st), -1;
        return take_index_tensor(item, t);
    }
    if (PyLong_Check(o)) return read_int(item, o);
    return read_other(item, o);
}

/* The peer's rule for lists: what holds anything but numbers is read as a tuple. 1, 0, -1. */
static int
reads_as_tuple(PyObject *o)
{
    if (PyTuple_Check(o)) return 1;
    if (!PyList_Check(o) || PyList_GET_SIZE(o) >= MAX_LEGACY_SEQUENCE) return 0;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(o); i++) {
        PyObject *item = PyList_GET_ITEM(o, i);
        if (item != Py_None && item != Py_Ellipsis && !PySlice_Check(item) &&
            !fac_is_tensor(item) && !is_legacy_sequence(item))
            continue;
        int failed = PyErr_WarnEx(PyExc_UserWarning,
                                  "Using a non-tuple sequence for multidimensional indexing is "
                                  "deprecated; use x[tuple(seq)] instead of x[seq]",
                                  1);
        return failed ? -1 : 1;
    }
    return 0;
}

static int
read_items(Key *key, PyObject *o)
{
    int many = reads_as_tuple(o);
    key->nitems = 0;
    key->tuple = NULL;
    if (many < 0) return -1;
    if (!many) return read_item(key, o);
    key->tuple = PySequence_Tuple(o);
    if (!key->tuple) return -1;
    int failed = 0;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(key->tuple) && !failed; i++)
        failed = read_item(key, PyTuple_GET_ITEM(key->tuple, i));
    return failed;
}

/* --- walking the dimensions ------------------------------------------------------------------ */

static void
add_triple(Key *key, int64_t start, int64_t step, int64_t size, bool changes)
{
    int64_t *at = &key->spec[key->nspec];
    at[0] = start;
    at[1] = step;
    at[2] = size;
    if (changes) {
        key->changes++;
        key->change = key->nspec;
    }
    key->nspec += FAC_INDEX_STRIDE;
    key->view_ndim += size != FAC_INDEX_SELECT;
}

static void
add_whole(Key *key, const FacTensor *self, int n)
{
    for (; n > 0 && key->dim < self->ndim; n--)
        add_triple(key, 0, 1, self->sizes[key->dim++], false);
}

static int
add_int(Key *key, const FacTensor *self, int64_t at)
{
    FacDim size = self->sizes[key->dim];
    if (at < -size || at >= size) {
        fac_py_raise(fac_index_range_error(at, key->dim, size));
        return -1;
    }
    add_triple(key, at < 0 ? at + size : at, 1, FAC_INDEX_SELECT, true);
    key->dim++;
    return 0;
}

static int
add_slice(Key *key, const FacTensor *self, PyObject *slice)
{
    Py_ssize_t start, stop, step, size = self->sizes[key->dim];
    if (PySlice_Unpack(slice, &start, &stop, &step) < 0) return -1;
    Py_ssize_t n = PySlice_AdjustIndices(size, &start, &stop, step);
    add_triple(key, n ? start : 0, step, n, n != size || step != 1);
    key->dim++;
    return 0;
}

static int
add_tensor(Key *key, const FacTensor *self, const Item *item)
{
    while (key->covered < key->view_ndim && key->nindices < MAX_ITEMS) {
        key->indices[key->nindices++] = NULL;
        key->covered++;
    }
    if (key->nindices == MAX_ITEMS) {
        PyErr_Format(PyExc_IndexError, "an index has at most %d items", MAX_ITEMS);
        return -1;
    }
    key->indices[key->nindices++] = item->tensor;
    key->covered += item->consumes;
    add_whole(key, self, item->consumes);
    return 0;
}

static int
too_many(const FacTensor *self, const Key *key)
{
    if (self->ndim == 0 && key->nitems == 1 && key->items[0].kind == ITEM_INT)
        PyErr_SetString(PyExc_IndexError, "invalid index of a 0-dim tensor: use tensor.item() to "
                                          "convert a 0-dim tensor to a number");
    else
        PyErr_Format(PyExc_IndexError, "too many indices for tensor of dimension %d", self->ndim);
    return -1;
}

/* Reads `o` as a key for self. On failure too the key is to be released. */
static int
key_read(Key *key, const FacTensor *self, PyObject *o)
{
    int consumed = 0, rests = 0;
    key->nspec = key->changes = key->dim = key->nindices = key->covered = key->view_ndim = 0;
    if (read_items(key, o) < 0) return -1;
    for (int i = 0; i < key->nitems; i++) {
        consumed += key->items[i].consumes;
        rests += key->items[i].kind == ITEM_REST;
    }
    if (consumed > self->ndim) return too_many(self, key);
    if (rests > 1) {
        PyErr_SetString(PyExc_IndexError, "an index can only have a single ellipsis ('...')");
        return -1;
    }
    for (int i = 0; i < key->nitems; i++) {
        const Item *item = &key->items[i];
        int failed = 0;
        if (key->dim + item->consumes > self->ndim) return too_many(self, key); /* resized since */
        switch (item->kind) {
        case ITEM_INT: failed = add_int(key, self, item->at); break;
        case ITEM_SLICE: failed = add_slice(key, self, item->slice); break;
        case ITEM_NEW: add_triple(key, 0, 0, 1, true); break;
        case ITEM_REST: add_whole(key, self, self->ndim - consumed); break;
        case ITEM_TENSOR: failed = add_tensor(key, self, item); break;
        }
        if (failed) return -1;
    }
    return 0;
}

/* --- getting --------------------------------------------------------------------------------- */

static FacStatus
call_view(const FacOp *op, int nargs, const FacValue *args, FacTensor **out)
{
    FacValue result;
    FAC_RETURN_IF_ERROR(fac_call(op, nargs, args, &result));
    *out = result.v.t;
    return FAC_OK;
}

/* The view that the basic part describes. */
static FacStatus
key_view(const Key *key, FacTensor *self, FacTensor **out)
{
    FacValue args[5] = {fac_v_tensor(self)};
    if (key->changes == 0) return call_view(FAC_OP_alias, 1, args, out);
    const int64_t *item = &key->spec[key->change];
    int64_t step = item[1], size = item[2];
    if (key->changes > 1 || step < 0) {
        args[1] = fac_v_ints(key->spec, key->nspec);
        return call_view(FAC_OP__index_view, 2, args, out);
    }
    args[1] = fac_v_int(key->change / FAC_INDEX_STRIDE);
    if (step == 0) return call_view(FAC_OP_unsqueeze, 2, args, out);
    args[2] = fac_v_int(item[0]);
    if (size == FAC_INDEX_SELECT) return call_view(FAC_OP_select, 3, args, out);
    args[3] = fac_v_int(size ? item[0] + (size - 1) * step + 1 : item[0]);
    args[4] = fac_v_int(step);
    return call_view(FAC_OP_slice, 5, args, out);
}

/* The tensor that the advanced part is applied to: self when the basic part changes nothing. */
static FacStatus
key_base(const Key *key, FacTensor *self, FacTensor **out)
{
    if (key->changes) return key_view(key, self, out);
    *out = fac_tensor_retain(self);
    return FAC_OK;
}

static FacStatus
get_advanced(const Key *key, FacTensor *self, FacTensor **out)
{
    FacStatus st;
    FacTensor *base = NULL;
    FAC_TRY(key_base(key, self, &base));
    FacValue result = FAC_VALUE_NONE;
    FacValue args[] = {fac_v_tensor(base), fac_v_tensors(key->indices, key->nindices)};
    FacCall call = {.op = FAC_OP_index, .args = args, .results = &result};
    FAC_TRY(fac_dispatch(&call));
    *out = result.v.t;
done:
    fac_tensor_release(base);
    return st;
}

/* --- overrides ------------------------------------------------------------------------------- */

static inline bool
is_plain_item(PyObject *o)
{
    return PyLong_CheckExact(o) || PySlice_Check(o) || o == Py_None || o == Py_Ellipsis ||
           fac_is_exact_tensor(o);
}

/* Whether any part of the call asks for __torch_function__. */
static int
wants_override(PyObject *self, PyObject *o, PyObject *value)
{
    PyObject *args[] = {self, o, value};
    int wanted = fac_override_wanted(args, value ? 3 : 2);
    if (wanted || !PyTuple_Check(o)) return wanted;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(o) && !wanted; i++) {
        PyObject *item = PyTuple_GET_ITEM(o, i);
        if (!is_plain_item(item)) wanted = fac_override_wanted(&item, 1);
    }
    return wanted;
}

static inline bool
may_override(PyObject *self, PyObject *o, PyObject *value)
{
    if (!fac_is_exact_tensor(self) || fac_override_modes()) return true;
    if (value && !fac_is_exact_tensor(value) && !PyFloat_CheckExact(value) &&
        !PyLong_CheckExact(value))
        return true;
    if (!PyTuple_CheckExact(o)) return !is_plain_item(o);
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(o); i++)
        if (!is_plain_item(PyTuple_GET_ITEM(o, i))) return true;
    return false;
}

static PyObject *
call_override(const char *name, PyObject *self, PyObject *o, PyObject *value)
{
    PyObject *function = PyObject_GetAttrString((PyObject *)fac_py.tensor_type, name);
    if (!function) return NULL;
    PyObject *args[] = {self, o, value};
    PyObject *result = fac_override_call(function, args, value ? 3 : 2, NULL);
    Py_DECREF(function);
    return result;
}

static PyObject *
subscript(PyObject *self, PyObject *o)
{
    if (FAC_UNLIKELY(may_override(self, o, NULL))) {
        int wanted = wants_override(self, o, NULL);
        if (wanted < 0) return NULL;
        if (wanted) return call_override("__getitem__", self, o, NULL);
    }
    FacTensor *t = fac_unwrap(self), *out = NULL;
    FacStatus st = FAC_OK;
    Key key;
    int failed = key_read(&key, t, o);
    if (!failed) st = key.nindices ? get_advanced(&key, t, &out) : key_view(&key, t, &out);
    key_release(&key);
    if (failed) return NULL;
    return st ? fac_py_raise(st) : fac_wrap_take(out);
}

/* --- setting --------------------------------------------------------------------------------- */

/* What is assigned: a tensor (owned) or a number. */
typedef struct Source {
    FacTensor *tensor;
    FacValue number;
    FacScratch scratch;
} Source;

static int
source_read(Source *source, const FacTensor *self, PyObject *o)
{
    source->tensor = NULL;
    if (fac_is_tensor(o)) {
        source->tensor = fac_tensor_retain(fac_unwrap(o));
        return 0;
    }
    int known = fac_number_convert(o, &source->number, &source->scratch);
    if (known) return known < 0 ? -1 : 0;
    known = fac_tensor_from_array(o, &source->tensor);
    if (known) return known < 0 ? -1 : 0;
    if (is_legacy_sequence(o)) {
        source->tensor = fac_tensor_from_python(o, (FacDType)self->dtype, FAC_CPU_DEVICE, false);
        return source->tensor ? 0 : -1;
    }
    PyErr_Format(
        PyExc_TypeError,
        "can't assign a %s to elements of a tensor of %s: a number, tensor, array or nested "
        "list is needed",
        Py_TYPE(o)->tp_name, fac_dtype_info[self->dtype].name);
    return -1;
}

/* Leading dimensions of one element go away, so that [1, 1, 3] can be assigned to [3]. */
static FacStatus
strip_leading_ones(FacTensor **t)
{
    int ones = 0;
    FacTensor *out;
    while (ones < (*t)->ndim && (*t)->sizes[ones] == 1) ones++;
    if (ones == 0) return FAC_OK;
    FacValue args[] = {fac_v_tensor(*t), fac_v_ints((*t)->sizes + ones, (*t)->ndim - ones)};
    FAC_RETURN_IF_ERROR(call_view(FAC_OP_reshape, 2, args, &out));
    fac_tensor_release(*t);
    *t = out;
    return FAC_OK;
}

/* Runs a row that writes its first argument: the in-place form, or a row that is one. */
static FacStatus
run_written(const FacOp *op, FacValue *args, bool inplace)
{
    FacValue result = FAC_VALUE_NONE;
    FacTensor *target = args[0].v.t;
    FacCall call = {.op = op, .args = args, .results = &result};
    if (inplace) {
        call.targets = &target;
        call.flags = FAC_CALL_INPLACE;
    }
    FAC_RETURN_IF_ERROR(fac_dispatch(&call));
    fac_value_release(&result);
    return FAC_OK;
}

static FacStatus
set_basic(FacTensor *view, Source *source)
{
    if (!source->tensor) {
        FacValue fill[] = {fac_v_tensor(view), source->number};
        return run_written(FAC_OP_fill_, fill, false);
    }
    if (source->tensor->ndim > view->ndim) FAC_RETURN_IF_ERROR(strip_leading_ones(&source->tensor));
    FacValue copy[] = {fac_v_tensor(view), fac_v_tensor(source->tensor), fac_v_bool(false)};
    return run_written(FAC_OP_copy_, copy, false);
}

/* A number at a mask of all dimensions, the most common assignment by a mask. */
static bool
is_masked_fill(const Key *key, const FacTensor *base, const Source *source)
{
    const FacTensor *mask = key->indices[0];
    bool same = !source->tensor && key->nindices == 1 && mask->dtype == FAC_DT_BOOL &&
                mask->ndim == base->ndim;
    for (int d = 0; d < base->ndim && same; d++) same = mask->sizes[d] == base->sizes[d];
    return same;
}

/* The source as a tensor of base's dtype. */
static FacStatus
source_cast(const FacTensor *base, Source *source)
{
    FacDType dt = (FacDType)base->dtype;
    FacTensor *cast;
    if (!source->tensor) {
        if (source->number.tag == FAC_V_COMPLEX && !FAC_IS_COMPLEX(dt))
            return fac_error(FAC_RUNTIME_ERROR,
                             "value cannot be converted to type %s without "
                             "overflow: it is complex",
                             fac_dtype_info[dt].name);
        return fac_tensor_from_number(source->number, dt, &source->tensor);
    }
    if (source->tensor->dtype == dt) return FAC_OK;
    FacValue args[] = {fac_v_tensor(source->tensor), fac_v_dtype(dt)};
    FAC_RETURN_IF_ERROR(call_view(FAC_OP__to_copy, 2, args, &cast));
    fac_tensor_release(source->tensor);
    source->tensor = cast;
    return FAC_OK;
}

static FacStatus
set_advanced(const Key *key, FacTensor *base, Source *source)
{
    if (is_masked_fill(key, base, source)) {
        FacValue fill[] = {fac_v_tensor(base), fac_v_tensor(key->indices[0]), source->number};
        return run_written(FAC_OP_masked_fill, fill, true);
    }
    FAC_RETURN_IF_ERROR(source_cast(base, source));
    FAC_RETURN_IF_ERROR(strip_leading_ones(&source->tensor));
    FacValue put[] = {fac_v_tensor(base), fac_v_tensors(key->indices, key->nindices),
                      fac_v_tensor(source->tensor), fac_v_bool(false)};
    return run_written(FAC_OP_index_put, put, true);
}

static int
assign_subscript(PyObject *self, PyObject *o, PyObject *value)
{
    if (!value) {
        PyErr_SetString(PyExc_TypeError, "elements of a tensor cannot be deleted");
        return -1;
    }
    if (FAC_UNLIKELY(may_override(self, o, value))) {
        int wanted = wants_override(self, o, value);
        if (wanted < 0) return -1;
        if (wanted) {
            PyObject *result = call_override("__setitem__", self, o, value);
            Py_XDECREF(result);
            return result ? 0 : -1;
        }
    }
    FacTensor *t = fac_unwrap(self), *base = NULL;
    FacStatus st = FAC_OK;
    Source source;
    Key key;
    fac_scratch_init(&source.scratch);
    source.tensor = NULL;
    int failed = key_read(&key, t, o) || source_read(&source, t, value);
    if (!failed) {
        FAC_TRY(key_base(&key, t, &base));
        FAC_TRY(key.nindices ? set_advanced(&key, base, &source) : set_basic(base, &source));
    }
done:
    key_release(&key);
    fac_tensor_release(base);
    fac_tensor_release(source.tensor);
    fac_scratch_release(&source.scratch);
    if (st) fac_py_raise(st);
    return failed || st ? -1 : 0;
}

static Py_ssize_t
length(PyObject *self)
{
    FacTensor *t = fac_unwrap(self);
    if (t->ndim) return (Py_ssize_t)t->sizes[0];
    PyErr_SetString(PyExc_TypeError, "len() of a 0-d tensor");
    return -1;
}

PyMappingMethods fac_tensor_mapping = {
    .mp_length = length,
    .mp_subscript = subscript,
    .mp_ass_subscript = assign_subscript,
};
