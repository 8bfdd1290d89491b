/* hooks.c - hooks of gradients: the lists, and how they change while they are in use.
 *
 * A hook may be removed by anybody at any time, by itself while it runs too, and by threads other
 * than the one that runs backward. So lists change under a lock, and whoever calls hooks first takes
 * down which ones there are, and holds what they call. Nothing foreign runs or dies under the lock.
 */
#include "layers/node.h"

#include <pthread.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic int64_t next_id = 1;

/* --- lists ------------------------------------------------------------------------------------ */

void
fac_hook_release(FacHook *hook)
{
    if (hook && fac_refs_down(&hook->refs)) fac_mem_free(hook);
}

static FacStatus
add_hook(FacHook **list, FacForeign *f, FacHookCall call, int index, FacTensor *target,
         FacHook **out)
{
    FacHook *hook = fac_mem_zalloc(sizeof *hook);
    if (!hook) return fac_mem_error(sizeof *hook);
    atomic_init(&hook->refs, out ? 2 : 1);
    hook->id = atomic_fetch_add(&next_id, 1);
    hook->index = index;
    hook->call = call;
    hook->target = target;
    hook->foreign = f;
    hook->list = list;
    if (f) fac_foreign_retain(f);
    if (out) *out = hook;
    pthread_mutex_lock(&lock);
    while (*list) list = &(*list)->next;
    __atomic_store_n(list, hook, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&lock);
    return FAC_OK;
}

/* Under the lock: *at leaves its list; what it held is handed out, to be released afterwards. */
static FacForeign *
take_out(FacHook **at)
{
    FacHook *hook = *at;
    FacForeign *held = hook->foreign;
    __atomic_store_n(at, hook->next, __ATOMIC_RELEASE);
    hook->next = NULL;
    hook->list = NULL;
    hook->foreign = NULL;
    return held;
}

void
fac_hook_remove(FacHook *hook)
{
    FacForeign *held = NULL;
    bool found = false;
    pthread_mutex_lock(&lock);
    for (FacHook **at = hook->list; at && *at; at = &(*at)->next)
        if (*at == hook) {
            held = take_out(at);
            found = true;
            break;
        }
    pthread_mutex_unlock(&lock);
    fac_foreign_release(held);
    if (found) fac_hook_release(hook);
}

void
fac_hooks_free(FacHook **list)
{
    if (FAC_LIKELY(!fac_has_hooks(list))) return;
    for (;;) {
        pthread_mutex_lock(&lock);
        FacHook *hook = *list;
        FacForeign *held = hook ? take_out(list) : NULL;
        pthread_mutex_unlock(&lock);
        if (!hook) return;
        fac_foreign_release(held);
        fac_hook_release(hook);
    }
}

/* --- calling ---------------------------------------------------------------------------------- */

FacStatus
fac_hooks_hold(FacHook *const *list, FacHookRun *out)
{
    FacStatus st = FAC_OK;
    int n = 0;
    out->n = 0;
    out->at = out->few;
    pthread_mutex_lock(&lock);
    for (const FacHook *hook = *list; hook; hook = hook->next) n++;
    if (n > FAC_HOOKS_FEW && !(out->at = fac_mem_alloc((size_t)n * sizeof *out->at))) {
        st = fac_mem_error((size_t)n * sizeof *out->at);
        n = 0;
    }
    for (const FacHook *hook = *list; n && hook; hook = hook->next) {
        fac_foreign_retain(hook->foreign);
        out->at[out->n++] = (struct FacHookRunItem){hook->foreign, hook->call, hook->index};
    }
    pthread_mutex_unlock(&lock);
    return st;
}

void
fac_hooks_let_go(FacHookRun *run)
{
    for (int i = 0; i < run->n; i++) fac_foreign_release(run->at[i].foreign);
    if (run->at != run->few) fac_mem_free(run->at);
}

/* --- registering ------------------------------------------------------------------------------ */

FacStatus
fac_hook_node(FacNode *node, bool before, FacForeign *f, FacHookCall call, FacHook **out)
{
    return add_hook(before ? &node->prehooks : &node->hooks, f, call, -1, NULL, out);
}

FacStatus
fac_hook_tensor(FacTensor *t, FacForeign *f, FacHookCall call, FacHook **out)
{
    FacAutograd *au;
    FacNode *fn;
    if (!fac_needs_grad(t))
        return fac_error(FAC_RUNTIME_ERROR,
                         "cannot register a hook on a tensor that doesn't require gradient");
    FAC_RETURN_IF_ERROR(fac_grad_fn(t, &fn));
    FAC_RETURN_IF_ERROR(fac_autograd_make(t, &au));
    return add_hook(fn ? &fn->prehooks : &au->hooks, f, call, fn ? (int)au->index : 0, NULL, out);
}

FacStatus
fac_hook_post_accumulate(FacTensor *t, FacForeign *f, FacHookCall call, FacHook **out)
{
    FacAutograd *au;
    if (!fac_needs_grad(t) || !fac_is_leaf(t))
        return fac_error(
            FAC_RUNTIME_ERROR,
            "post accumulate grad hooks cannot be registered on non-leaf tensors or on "
            "tensors that do not require a gradient");
    FAC_RETURN_IF_ERROR(fac_autograd_make(t, &au));
    return add_hook(&au->post_hooks, f, call, 0, NULL, out);
}

/* --- retain_grad ------------------------------------------------------------------------------ */

FacStatus
fac_retain_link(FacNode *node, FacTensor *t, uint32_t index)
{
    return add_hook(&node->retain, NULL, NULL, (int)index, t, NULL);
}

void
fac_retain_unlink(FacNode *node, const FacTensor *t)
{
    FacHook *found = NULL;
    pthread_mutex_lock(&lock);
    for (FacHook **at = &node->retain; *at && !found; at = &(*at)->next)
        if ((*at)->target == t) {
            found = *at;
            take_out(at);
            break;
        }
    pthread_mutex_unlock(&lock);
    fac_hook_release(found);
}
