/* paths.c - the folder of the libraries that are opened at first use.
 *
 * One pointer, exchanged atomically. A path that was replaced is kept for good, since a reader may
 * still hold it; it is set once or twice in the life of a process.
 */
#include "base/paths.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static _Atomic(const char *) library_dir;

/* dir + name, from malloc: these live until the process ends and are no leak of the core's. */
static char *
join(const char *dir, size_t dir_length, const char *name)
{
    size_t n = strlen(name);
    char *path = malloc(dir_length + n + 1);
    if (!path) return NULL;
    memcpy(path, dir, dir_length);
    memcpy(path + dir_length, name, n + 1);
    return path;
}

static char *
beside_this_code(void)
{
    Dl_info info;
    const char *slash = NULL;
    if (dladdr((const void *)&library_dir, &info) && info.dli_fname)
        slash = strrchr(info.dli_fname, '/');
    return slash ? join(info.dli_fname, (size_t)(slash - info.dli_fname), "/lib") : NULL;
}

const char *
fac_library_dir(void)
{
    const char *path = library_dir;
    if (path) return path;
    char *found = beside_this_code();
    if (!found) return "lib";
    const char *before = NULL;
    if (atomic_compare_exchange_strong(&library_dir, &before, found)) return found;
    free(found);
    return before;
}

FacStatus
fac_set_library_dir(const char *path)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    char *copy = join(path, n, "");
    if (!copy) return fac_error(FAC_MEMORY_ERROR, "not enough memory for %zu bytes", n + 1);
    library_dir = copy;
    return FAC_OK;
}
