/* generator.c - Generator, and the seeds of the default one.
 *
 * The Python object owns a count of its generator, which holds a weak way back, so that
 * default_generator is one object. A state is a uint8 tensor in the peer's layout.
 */
#include "bindings/bindings.h"

typedef struct FacPyGenerator {
    PyObject_HEAD
    FacGenerator *generator;
} FacPyGenerator;

static FacGenerator *
generator_of(PyObject *o)
{
    return ((FacPyGenerator *)o)->generator;
}

/* Takes the count. */
static PyObject *
wrap_generator_take(PyTypeObject *type, FacGenerator *g)
{
    FacPyGenerator *self = (FacPyGenerator *)type->tp_alloc(type, 0);
    if (!self) {
        fac_generator_release(g);
        return NULL;
    }
    self->generator = g;
    atomic_store(&g->wrapper, self);
    return (PyObject *)self;
}

PyObject *
fac_py_generator(FacGenerator *g)
{
    PyObject *o = atomic_load(&g->wrapper);
    if (o) return Py_NewRef(o);
    fac_generator_retain(g);
    return wrap_generator_take(fac_py.generator_type, g);
}

FacGenerator *
fac_generator_from_python(PyObject *o)
{
    return PyObject_TypeCheck(o, fac_py.generator_type) ? generator_of(o) : NULL;
}

static void
generator_dealloc(PyObject *o)
{
    PyTypeObject *type = Py_TYPE(o);
    atomic_store(&generator_of(o)->wrapper, NULL);
    fac_generator_release(generator_of(o));
    type->tp_free(o);
    Py_DECREF(type);
}

static PyObject *
generator_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"device", NULL};
    PyObject *where = Py_None;
    FacDevice device = FAC_CPU_DEVICE;
    FacGenerator *g;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:Generator", names, &where)) return NULL;
    int fits = where == Py_None ? 1 : fac_device_convert(where, &device);
    if (fits < 0) return NULL;
    if (!fits) return PyErr_Format(PyExc_TypeError, "Generator(): device must be a device");
    FacStatus st = fac_device_check(device);
    if (st == FAC_OK) st = fac_generator_new(device, &g);
    return st ? fac_py_raise(st) : wrap_generator_take(type, g);
}

/* --- seeds and states ------------------------------------------------------------------------- */

/* Any int of 64 bits; a negative one counts from the top. */
static bool
seed_from_python(PyObject *o, uint64_t *seed)
{
    PyObject *number = PyFloat_Check(o) ? PyNumber_Long(o) : PyNumber_Index(o);
    if (!number) return false;
    *seed = PyLong_AsUnsignedLongLong(number);
    if (*seed == (uint64_t)-1 && PyErr_Occurred()) {
        PyErr_Clear();
        *seed = (uint64_t)PyLong_AsLongLong(number);
    }
    Py_DECREF(number);
    if (!PyErr_Occurred()) return true;
    PyErr_SetString(PyExc_RuntimeError, "Overflow when unpacking long long: a seed has 64 bits");
    return false;
}

static PyObject *
seed_with(FacGenerator *g, PyObject *o)
{
    uint64_t seed;
    if (!seed_from_python(o, &seed)) return NULL;
    fac_generator_seed(g, seed);
    return fac_py_generator(g);
}

static PyObject *
state_of(FacGenerator *g)
{
    FacTensor *state;
    FacStatus st = fac_generator_state(g, &state);
    return st ? fac_py_raise(st) : fac_wrap_take(state);
}

static PyObject *
set_state(FacGenerator *g, PyObject *state)
{
    if (!fac_is_tensor(state))
        return PyErr_Format(PyExc_TypeError, "expected a %s.ByteTensor, but got %s",
                            fac_py.module_name, Py_TYPE(state)->tp_name);
    FacStatus st = fac_generator_set_state(g, fac_unwrap(state));
    return st ? fac_py_raise(st) : fac_py_generator(g);
}

static PyObject *
generator_manual_seed(PyObject *self, PyObject *seed)
{
    return seed_with(generator_of(self), seed);
}

static PyObject *
generator_seed(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromUnsignedLongLong(fac_generator_seed_random(generator_of(self)));
}

static PyObject *
generator_initial_seed(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromUnsignedLongLong(generator_of(self)->seed);
}

static PyObject *
generator_get_state(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return state_of(generator_of(self));
}

static PyObject *
generator_set_state(PyObject *self, PyObject *state)
{
    return set_state(generator_of(self), state);
}

static PyObject *
generator_clone_state(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    FacGenerator *from = generator_of(self), *to = NULL;
    FacTensor *state = NULL;
    FacStatus st = fac_generator_state(from, &state);
    if (st == FAC_OK) st = fac_generator_new(from->device, &to);
    if (st == FAC_OK) st = fac_generator_set_state(to, state);
    fac_tensor_release(state);
    if (st == FAC_OK) return wrap_generator_take(fac_py.generator_type, to);
    if (to) fac_generator_release(to);
    return fac_py_raise(st);
}

static PyObject *
generator_setstate(PyObject *self, PyObject *state)
{
    PyObject *done = set_state(generator_of(self), state);
    Py_XDECREF(done);
    return done ? Py_NewRef(Py_None) : NULL;
}

static PyObject *
generator_reduce(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    PyObject *device = fac_py_device(generator_of(self)->device);
    PyObject *state = device ? state_of(generator_of(self)) : NULL;
    PyObject *reduced = state ? Py_BuildValue("O(O)O", Py_TYPE(self), device, state) : NULL;
    Py_XDECREF(device);
    Py_XDECREF(state);
    return reduced;
}

static PyObject *
generator_device(PyObject *self, void *Py_UNUSED(closure))
{
    return fac_py_device(generator_of(self)->device);
}

static PyMethodDef generator_methods[] = {
    {"manual_seed", generator_manual_seed, METH_O,
     "manual_seed($self, seed, /)\n--\n\nStarts anew from a seed; returns the generator."},
    {"seed", generator_seed, METH_NOARGS,
     "seed($self)\n--\n\nStarts anew from a random seed, which is returned."},
    {"initial_seed", generator_initial_seed, METH_NOARGS,
     "initial_seed($self)\n--\n\nThe seed that it started from."},
    {"get_state", generator_get_state, METH_NOARGS, "get_state($self)\n--\n\nIts state, a tensor."},
    {"set_state", generator_set_state, METH_O,
     "set_state($self, new_state, /)\n--\n\nContinues from a state."},
    {"clone_state", generator_clone_state, METH_NOARGS,
     "clone_state($self)\n--\n\nAnother generator in the same state."},
    {"__reduce__", generator_reduce, METH_NOARGS, NULL},
    {"__setstate__", generator_setstate, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef generator_getset[] = {
    {"device", generator_device, NULL, "The device that its numbers are made on.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot generator_slots[] = {
    {Py_tp_new, generator_new},
    {Py_tp_dealloc, generator_dealloc},
    {Py_tp_methods, generator_methods},
    {Py_tp_getset, generator_getset},
    {Py_tp_doc, "A source of random numbers with a state of its own."},
    {0, NULL},
};
static PyType_Spec generator_spec = {
    .name = "facula.Generator",
    .basicsize = sizeof(FacPyGenerator),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = generator_slots,
};

/* --- the default generator -------------------------------------------------------------------- */

static PyObject *
manual_seed(PyObject *Py_UNUSED(module), PyObject *seed)
{
    return seed_with(fac_default_generator(), seed);
}

static PyObject *
seed_default(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromUnsignedLongLong(fac_generator_seed_random(fac_default_generator()));
}

static PyObject *
initial_seed(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromUnsignedLongLong(fac_default_generator()->seed);
}

static PyObject *
get_rng_state(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return state_of(fac_default_generator());
}

static PyObject *
set_rng_state(PyObject *Py_UNUSED(module), PyObject *state)
{
    PyObject *done = set_state(fac_default_generator(), state);
    Py_XDECREF(done);
    return done ? Py_NewRef(Py_None) : NULL;
}

PyMethodDef fac_generator_functions[] = {
    {"manual_seed", manual_seed, METH_O,
     "manual_seed(seed, /)\n--\n\nSeeds the default generator, which is returned."},
    {"seed", seed_default, METH_NOARGS,
     "seed()\n--\n\nSeeds the default generator at random; returns the seed."},
    {"initial_seed", initial_seed, METH_NOARGS,
     "initial_seed()\n--\n\nThe seed of the default generator."},
    {"get_rng_state", get_rng_state, METH_NOARGS,
     "get_rng_state()\n--\n\nThe state of the default generator, a tensor."},
    {"set_rng_state", set_rng_state, METH_O,
     "set_rng_state(new_state, /)\n--\n\nContinues the default generator from a state."},
    {NULL, NULL, 0, NULL},
};

int
fac_start_generator(PyObject *module)
{
    fac_py.generator_type = fac_add_type(module, &generator_spec, NULL);
    if (!fac_py.generator_type) return -1;
    PyObject *generator = fac_py_generator(fac_default_generator());
    int st = generator ? PyModule_AddObjectRef(module, "default_generator", generator) : -1;
    Py_XDECREF(generator);
    return st;
}
