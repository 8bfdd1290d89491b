/* paths.c - the folder of the libraries that are opened at first use.
 *
 * One pointer, exchanged atomically. A path that was replaced stays in the chain behind the new
 * one, since a reader may still hold it; it is set once or twice in the life of a process.
 */
#include "base/paths.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

typedef struct Path {
    struct Path *replaced;
    char text[];
} Path;

static _Atomic(Path *) library_dir;

/* The first n bytes of dir, then name. From malloc: it lives until the process ends. */
static Path *
join(const char *dir, size_t n, const char *name)
{
    size_t more = strlen(name) + 1;
    Path *path = malloc(sizeof *path + n + more);
    if (!path) return NULL;
    path->replaced = NULL;
    memcpy(path->text, dir, n);
    memcpy(path->text + n, name, more);
    return path;
}

static Path *
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
    Path *path = library_dir;
    if (path) return path->text;
    Path *found = beside_this_code();
    if (!found) return "lib";
    if (atomic_compare_exchange_strong(&library_dir, &path, found)) return found->text;
    free(found);
    return path->text;
}

FacStatus
fac_set_library_dir(const char *path)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    Path *next = join(path, n, "");
    if (!next) return fac_error(FAC_MEMORY_ERROR, "not enough memory for a path of %zu bytes", n);
    next->replaced = library_dir;
    while (!atomic_compare_exchange_weak(&library_dir, &next->replaced, next)) continue;
    return FAC_OK;
}
