/* blas.c - opens OpenBLAS. Once a process; a failure is remembered and reported at every use. */
#include "kernels/blas.h"

#include "base/paths.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static void *library;

static void
open_library(void)
{
    char path[4096];
    void (*set_threads)(int);
    snprintf(path, sizeof path, "%s/libscipy_openblas.so", fac_library_dir());
    library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) library = dlopen("libscipy_openblas.so", RTLD_NOW | RTLD_LOCAL);
    if (!library) return;
    *(void **)&set_threads = dlsym(library, "scipy_openblas_set_num_threads");
    if (set_threads) set_threads(1);
}

FacStatus
fac_blas_symbol(const char *name, void **out)
{
    char symbol[64];
    pthread_once(&once, open_library);
    if (!library)
        return fac_error(
            FAC_NOT_IMPLEMENTED,
            "needs LAPACK: libscipy_openblas.so is neither in %s nor on the search path",
            fac_library_dir());
    snprintf(symbol, sizeof symbol, "scipy_%s", name);
    *out = dlsym(library, symbol);
    if (!*out) return fac_error(FAC_NOT_IMPLEMENTED, "the LAPACK library has no %s", symbol);
    return FAC_OK;
}
