/* config.c - what this build is and what it found on this machine, for reports. */
#include "bindings/bindings.h"

#include "base/cpu.h"
#include "base/paths.h"
#include "base/pool.h"
#include "device/device.h"
#include "kernels/blas.h"

#if defined(__clang__)
#define COMPILER "clang " __clang_version__
#elif defined(__GNUC__)
#define COMPILER "gcc " __VERSION__
#else
#define COMPILER "an unknown compiler"
#endif

/* The version of OpenBLAS, or the sentence that says why there is none. */
static PyObject *
blas_text(void)
{
    char *(*config)(void);
    void *symbol;
    if (fac_blas_symbol("openblas_get_config", &symbol))
        return PyUnicode_FromString(fac_error_message());
    *(void **)&config = symbol;
    return PyUnicode_FromString(config());
}

static PyObject *
built_tiers(void)
{
    PyObject *list = PyList_New(0);
    for (int tier = 0; list && tier < FAC_TIERS; tier++) {
        if (!(FAC_BUILT_TIERS & 1 << tier)) continue;
        PyObject *name = PyUnicode_FromString(fac_cpu_tier_name((FacTier)tier));
        if (!name || PyList_Append(list, name) < 0) Py_CLEAR(list);
        Py_XDECREF(name);
    }
    return list;
}

/* {name: what is known of it} */
static PyObject *
feature_dict(void)
{
    PyObject *dict = PyDict_New();
    for (int f = 0; dict && f < FAC_CPU_FEATURES; f++) {
        PyObject *state = PyUnicode_FromString(fac_cpu_feature_state((FacCpuFeature)f));
        const char *name = fac_cpu_feature_name((FacCpuFeature)f);
        if (!state || PyDict_SetItemString(dict, name, state) < 0) Py_CLEAR(dict);
        Py_XDECREF(state);
    }
    return dict;
}

/* {kind: number of devices, or the sentence that says what is missing} */
static PyObject *
device_dict(void)
{
    static const FacDeviceType kinds[] = {FAC_DEV_CPU, FAC_DEV_CUDA};
    PyObject *dict = PyDict_New();
    for (size_t i = 0; dict && i < sizeof kinds / sizeof *kinds; i++) {
        char text[32];
        const FacDeviceOps *ops = fac_devices[kinds[i]];
        FacDevice device = fac_device(kinds[i], -1);
        PyObject *found = fac_device_check(device) == FAC_OK
                              ? PyLong_FromLong(ops && ops->count ? ops->count() : 1)
                              : PyUnicode_FromString(fac_error_message());
        if (!found || PyDict_SetItemString(dict, fac_device_text(device, text), found) < 0)
            Py_CLEAR(dict);
        Py_XDECREF(found);
    }
    return dict;
}

static PyObject *
config(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return Py_BuildValue(
        "{s:s,s:s,s:s,s:s,s:N,s:N,s:(LLL),s:i,s:i,s:N,s:s,s:N}", "compiler", COMPILER, "processor",
        fac_cpu_model(), "tier", fac_cpu_tier_name(fac_cpu_tier()), "best_tier",
        fac_cpu_tier_name(fac_cpu_tier_best()), "built_tiers", built_tiers(), "features",
        feature_dict(), "caches", (long long)fac_cpu_cache(1), (long long)fac_cpu_cache(2),
        (long long)fac_cpu_cache(3), "processors", fac_cpu_count(), "threads", fac_num_threads(),
        "blas", blas_text(), "library_dir", fac_library_dir(), "devices", device_dict());
}

PyMethodDef fac_config_functions[] = {
    {"_config", config, METH_NOARGS,
     "_config()\n--\n\nThe build and the machine: compiler, processor, BLAS, threads, devices."},
    {NULL, NULL, 0, NULL},
};
