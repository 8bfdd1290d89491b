/* transform.c - levels of transforms as Python sees them: what facula.func and
 * facula.autograd.forward_ad are made of.
 *
 * A level is known to Python by its id. All functions here act on tensors of one level, which must
 * be visible; what they return belongs to that level or to the next one outside.
 */
#include "bindings/bindings.h"

#include "generated/ops.h"
#include "layers/batch.h"

/* --- levels ----------------------------------------------------------------------------------- */

static int
level_convert(PyObject *o, void *out)
{
    unsigned long long id = PyLong_AsUnsignedLongLong(o);
    if (id == (unsigned long long)-1 && PyErr_Occurred()) return 0;
    FacLevel *level = fac_level_visible(id);
    *(FacLevel **)out = level;
    if (level) return 1;
    PyErr_SetString(PyExc_RuntimeError, "this level of transforms has ended, or belongs to another "
                                        "thread");
    return 0;
}

/* _level_push(kind, size=0, randomness=0): the id of a new innermost level; kind 0: a batch, 1: of
 * gradients, 2: of forward mode. */
static PyObject *
level_push(PyObject *Py_UNUSED(module), PyObject *args)
{
    int kind, randomness = 0;
    long long size = 0;
    FacLevel *level;
    if (!PyArg_ParseTuple(args, "i|Li:_level_push", &kind, &size, &randomness)) return NULL;
    if (kind < FAC_LEVEL_BATCH || kind > FAC_LEVEL_FORWARD || randomness < FAC_RANDOM_ERROR ||
        randomness > FAC_RANDOM_DIFFERENT || size < 0)
        return PyErr_SetString(PyExc_ValueError, "no such kind of level"), NULL;
    FacStatus st = fac_level_push((FacLevelKind)kind, size, (FacRandomness)randomness, &level);
    return st ? fac_py_raise(st) : PyLong_FromUnsignedLongLong(level->id);
}

static PyObject *
level_pop(PyObject *Py_UNUSED(module), PyObject *id)
{
    FacLevel *level;
    if (!level_convert(id, &level)) return NULL;
    FacStatus st = fac_level_pop(level);
    if (st) return fac_py_raise(st);
    Py_RETURN_NONE;
}

/* _level_depth(): how many levels are visible. */
static PyObject *
level_depth(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromLong(fac_thread.level ? fac_thread.level->depth : 0);
}

/* _level_batch(id): (size of the batch, randomness) */
static PyObject *
level_batch(PyObject *Py_UNUSED(module), PyObject *id)
{
    static const char *const randomness[] = {"error", "same", "different"};
    FacLevel *level;
    if (!level_convert(id, &level)) return NULL;
    return Py_BuildValue("(Ls)", (long long)level->size, randomness[level->randomness]);
}

/* --- tensors of a level ----------------------------------------------------------------------- */

static int
tensor_at_level(PyObject *args, const char *format, FacTensor **t, FacLevel **level)
{
    PyObject *o;
    if (!PyArg_ParseTuple(args, format, &o, level_convert, level)) return 0;
    if (!fac_is_tensor(o)) {
        PyErr_Format(PyExc_TypeError, "expected a Tensor, not %s", Py_TYPE(o)->tp_name);
        return 0;
    }
    *t = fac_unwrap(o);
    return 1;
}

static PyObject *
given(FacStatus st, FacTensor *t)
{
    return st ? fac_py_raise(st) : fac_wrap_take(t);
}

/* _lift(tensor, id): the tensor in a level of gradients, as a leaf that requires one if it can. */
static PyObject *
lift(PyObject *Py_UNUSED(module), PyObject *args)
{
    FacTensor *t, *made = NULL;
    FacLevel *level;
    if (!tensor_at_level(args, "OO&:_lift", &t, &level)) return NULL;
    if (level->kind != FAC_LEVEL_GRAD)
        return PyErr_SetString(PyExc_ValueError, "this is not a level of gradients"), NULL;
    FacStatus st = fac_level_wrap(level, t, &made);
    if (st == FAC_OK && !FAC_IS_INT(made->dtype)) st = fac_set_requires_grad(made, true);
    if (st != FAC_OK) fac_tensor_release(made);
    return given(st, made);
}

/* _value(tensor, id): what it is one level further out: the value of a wrapper, else itself. The
 * level may have ended. */
static PyObject *
value(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *o;
    unsigned long long id;
    if (!PyArg_ParseTuple(args, "O!K:_value", fac_py.tensor_type, &o, &id)) return NULL;
    FacWrapped *wrapped = fac_wrapped(fac_unwrap(o));
    return wrapped && wrapped->id == id ? fac_wrap(wrapped->value) : Py_NewRef(o);
}

/* _in_batch(tensor, id): whether it differs within the batch. */
static PyObject *
in_batch(PyObject *Py_UNUSED(module), PyObject *args)
{
    FacTensor *t;
    FacLevel *level;
    if (!tensor_at_level(args, "OO&:_in_batch", &t, &level)) return NULL;
    return PyBool_FromLong(fac_value_at(t, level) != NULL);
}

/* _batch(tensor, dim, id): one element of the batch that lies along dim, as it looks from inside. */
static PyObject *
batch(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *o;
    long long dim;
    FacLevel *level;
    FacTensor *front, *made;
    if (!PyArg_ParseTuple(args, "O!LO&:_batch", fac_py.tensor_type, &o, &dim, level_convert,
                          &level))
        return NULL;
    FacTensor *t = fac_unwrap(o);
    if (level->kind != FAC_LEVEL_BATCH || dim < 0 || dim >= t->ndim || t->sizes[dim] != level->size)
        return PyErr_SetString(PyExc_ValueError, "the tensor has no such batch"), NULL;
    FacLevel *was = fac_level_enter(level->below);
    FacStatus st = dim ? fac_op_movedim(t, fac_v_ints((FacDim[]){dim}, 1),
                                        fac_v_ints((FacDim[]){0}, 1), &front)
                       : (front = fac_tensor_retain(t), FAC_OK);
    fac_level_enter(was);
    if (st != FAC_OK) return fac_py_raise(st);
    st = fac_level_wrap(level, front, &made);
    fac_tensor_release(front);
    return given(st, made);
}

/* _unbatch(tensor, dim, id): all elements, along dim; what is not in the batch is repeated. */
static PyObject *
unbatch(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *o;
    long long dim;
    FacLevel *level;
    FacTensor *all, *placed;
    if (!PyArg_ParseTuple(args, "O!LO&:_unbatch", fac_py.tensor_type, &o, &dim, level_convert,
                          &level))
        return NULL;
    FacTensor *t = fac_unwrap(o), *inner = fac_value_at(t, level);
    FacLevel *was = fac_level_enter(level->below);
    FacStatus st = FAC_OK;
    if (inner) {
        all = fac_tensor_retain(inner);
    } else {
        FacDim sizes[FAC_MAX_NDIM + 1] = {level->size};
        for (int i = 0; i < t->ndim; i++) sizes[i + 1] = t->sizes[i];
        st = fac_op_expand(t, fac_v_ints(sizes, t->ndim + 1), false, &all);
    }
    if (st == FAC_OK && dim) {
        st = fac_op_movedim(all, fac_v_ints((FacDim[]){0}, 1), fac_v_ints((FacDim[]){dim}, 1),
                            &placed);
        fac_tensor_release(all);
        all = placed;
    }
    fac_level_enter(was);
    return given(st, all);
}

/* --- forward mode ----------------------------------------------------------------------------- */

static FacStatus
check_tangent(const FacTensor *t, const FacTensor *tangent)
{
    FacText text = {.len = 0};
    bool same = t->ndim == tangent->ndim;
    for (int i = 0; same && i < t->ndim; i++) same = t->sizes[i] == tangent->sizes[i];
    if (FAC_IS_INT(t->dtype))
        return fac_error(FAC_VALUE_ERROR,
                         "Expected primal to be floating point or complex, but got: %s",
                         fac_dtype_info[t->dtype].name);
    if (t->dtype != tangent->dtype)
        return fac_error(FAC_VALUE_ERROR,
                         "Expected tangent to have the dtype of the primal, %s, but got: %s",
                         fac_dtype_info[t->dtype].name, fac_dtype_info[tangent->dtype].name);
    if (same) return FAC_OK;
    fac_text_add(&text, "Expected tangent to have the size of the primal, ");
    fac_text_dims(&text, t->ndim, t->sizes);
    fac_text_add(&text, ", but got: ");
    fac_text_dims(&text, tangent->ndim, tangent->sizes);
    return fac_error(FAC_RUNTIME_ERROR, "%s", text.at);
}

/* The tensor as outer levels see it, an object of its own, without tangent. */
static FacStatus
outside(FacTensor *t, FacLevel *level, FacTensor **out)
{
    FacLevel *was = fac_level_enter(level->below);
    FacStatus st = fac_inherit_tangent(t, level);
    if (st == FAC_OK) st = fac_op_alias(t, out);
    if (st == FAC_OK) st = fac_set_tangent(*out, level, NULL);
    fac_level_enter(was);
    return st;
}

/* _make_dual(tensor, tangent, id) */
static PyObject *
make_dual(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *o, *tangent;
    FacLevel *level;
    FacTensor *made = NULL;
    if (!PyArg_ParseTuple(args, "O!O!O&:_make_dual", fac_py.tensor_type, &o, fac_py.tensor_type,
                          &tangent, level_convert, &level))
        return NULL;
    if (level->kind != FAC_LEVEL_FORWARD)
        return PyErr_SetString(PyExc_ValueError, "this is not a level of forward mode"), NULL;
    FacStatus st = check_tangent(fac_unwrap(o), fac_unwrap(tangent));
    if (st == FAC_OK) st = outside(fac_unwrap(o), level, &made);
    if (st == FAC_OK) st = fac_set_tangent(made, level, fac_unwrap(tangent));
    if (st != FAC_OK) fac_tensor_release(made);
    return given(st, made);
}

/* _unpack_dual(tensor, id): (primal, tangent or None) */
static PyObject *
unpack_dual(PyObject *Py_UNUSED(module), PyObject *args)
{
    FacTensor *t, *primal;
    FacLevel *level;
    if (!tensor_at_level(args, "OO&:_unpack_dual", &t, &level)) return NULL;
    FacStatus st = outside(t, level, &primal);
    if (st != FAC_OK) return fac_py_raise(st);
    FacTensor *tangent = fac_tangent(t, level);
    PyObject *first = fac_wrap_take(primal);
    PyObject *second = tangent ? fac_wrap(tangent) : Py_NewRef(Py_None);
    PyObject *both = first && second ? PyTuple_Pack(2, first, second) : NULL;
    Py_XDECREF(first);
    Py_XDECREF(second);
    return both;
}

/* _set_tangent(tensor, tangent, id): in place. */
static PyObject *
set_tangent(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *o, *tangent;
    FacLevel *level;
    if (!PyArg_ParseTuple(args, "O!O!O&:_set_tangent", fac_py.tensor_type, &o, fac_py.tensor_type,
                          &tangent, level_convert, &level))
        return NULL;
    FacStatus st = check_tangent(fac_unwrap(o), fac_unwrap(tangent));
    if (st == FAC_OK) st = fac_set_tangent(fac_unwrap(o), level, fac_unwrap(tangent));
    if (st) return fac_py_raise(st);
    Py_RETURN_NONE;
}

/* --- calls that go through levels by hand: autograd.Function ----------------------------------- */

/* _level_of(args): (id, kind) of the innermost level that a tensor among the arguments belongs to, or
 * None. */
static PyObject *
level_of(PyObject *Py_UNUSED(module), PyObject *args)
{
    FacLevel *level = NULL;
    if (!PyTuple_Check(args)) return PyErr_SetString(PyExc_TypeError, "expected a tuple"), NULL;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(args); i++) {
        PyObject *o = PyTuple_GET_ITEM(args, i);
        if (fac_is_tensor(o)) level = fac_level_of(fac_unwrap(o), level);
    }
    if (!level) Py_RETURN_NONE;
    return Py_BuildValue("(Ki)", (unsigned long long)level->id, (int)level->kind);
}

/* _wrap(tensor, id): the tensor as one of this level, of gradients without requiring one. */
static PyObject *
wrap(PyObject *Py_UNUSED(module), PyObject *args)
{
    FacTensor *t, *made;
    FacLevel *level;
    if (!tensor_at_level(args, "OO&:_wrap", &t, &level)) return NULL;
    if (level->kind == FAC_LEVEL_FORWARD || fac_value_at(t, level)) return fac_wrap(t);
    if (level->kind == FAC_LEVEL_BATCH && (!t->ndim || t->sizes[0] != level->size))
        return PyErr_SetString(PyExc_ValueError, "the tensor has no such batch"), NULL;
    FacStatus st = fac_level_wrap(level, t, &made);
    return given(st, made);
}

/* _call_below(id, function, *args): with the level, and those inside of it, invisible. */
static PyObject *
call_below(PyObject *Py_UNUSED(module), PyObject *args)
{
    FacLevel *level;
    Py_ssize_t n = PyTuple_GET_SIZE(args);
    if (n < 2) return PyErr_SetString(PyExc_TypeError, "_call_below(id, function, *args)"), NULL;
    if (!level_convert(PyTuple_GET_ITEM(args, 0), &level)) return NULL;
    PyObject *rest = PyTuple_GetSlice(args, 2, n);
    if (!rest) return NULL;
    bool inside = fac_grad_enabled();
    if (level->kind == FAC_LEVEL_GRAD) fac_set_grad_enabled(level->grad_outside);
    FacLevel *was = fac_level_enter(level->below);
    PyObject *result = PyObject_CallObject(PyTuple_GET_ITEM(args, 1), rest);
    fac_level_enter(was);
    fac_set_grad_enabled(inside);
    Py_DECREF(rest);
    return result;
}

/* --- for repr and for errors ------------------------------------------------------------------ */

/* _transforms(tensor): None, or (kind, value) of a wrapper whose level is visible: kind is "batch" or
 * "gradient", with the depth of the level. */
static PyObject *
transforms(PyObject *Py_UNUSED(module), PyObject *o)
{
    if (!fac_is_tensor(o)) return PyErr_SetString(PyExc_TypeError, "expected a Tensor"), NULL;
    FacWrapped *wrapped = fac_wrapped(fac_unwrap(o));
    FacLevel *level = wrapped ? fac_level_visible(wrapped->id) : NULL;
    if (!level) Py_RETURN_NONE;
    return Py_BuildValue("(siN)", wrapped->kind == FAC_LEVEL_BATCH ? "batch" : "gradient",
                         level->depth, fac_wrap(wrapped->value));
}

PyMethodDef fac_transform_functions[] = {
    {"_level_push", level_push, METH_VARARGS, NULL},
    {"_level_pop", level_pop, METH_O, NULL},
    {"_level_depth", level_depth, METH_NOARGS, NULL},
    {"_level_batch", level_batch, METH_O, NULL},
    {"_lift", lift, METH_VARARGS, NULL},
    {"_value", value, METH_VARARGS, NULL},
    {"_in_batch", in_batch, METH_VARARGS, NULL},
    {"_batch", batch, METH_VARARGS, NULL},
    {"_unbatch", unbatch, METH_VARARGS, NULL},
    {"_make_dual", make_dual, METH_VARARGS, NULL},
    {"_unpack_dual", unpack_dual, METH_VARARGS, NULL},
    {"_set_tangent", set_tangent, METH_VARARGS, NULL},
    {"_level_of", level_of, METH_O, NULL},
    {"_wrap", wrap, METH_VARARGS, NULL},
    {"_call_below", call_below, METH_VARARGS, NULL},
    {"_transforms", transforms, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};
