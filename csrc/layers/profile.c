/* profile.c - recordings, and the layer that fills them.
 *
 * An event is noted when it begins and completed when it ends; the event that is open then is its
 * parent. Memory is known by one counter of the thread's allocator, read at both ends, so that
 * allocating costs nothing more; what changed between two events without parent becomes an event of
 * its own. When memory for the recording itself is short, events are counted and not kept.
 */
#include "layers/profile.h"

#include "device/device.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { NAME_BYTES = 192, LIST_MAX = 64 };
#define PUSHED (UINT64_C(1) << 63)
#define NO_SEQUENCE UINT64_MAX

static _Thread_local FacRecording *recording;
static _Thread_local struct {
    FacRangePush push;
    FacRangePop pop;
    bool with_args;
} sink;
static _Atomic uint32_t next_id = 1;
FacForeign *(*fac_profile_stack)(void);

static int64_t
now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* --- start and stop --------------------------------------------------------------------------- */

static void
update_key(void)
{
    if ((recording && !recording->paused) || sink.push)
        fac_thread.include |= FAC_KEY(PROFILE);
    else
        fac_thread.include &= ~FAC_KEY(PROFILE);
}

FacStatus
fac_profile_start(unsigned what)
{
    if (recording)
        return fac_error(
            FAC_RUNTIME_ERROR,
            "a profiler runs in this thread already; one may not lie inside of another");
    FacRecording *made = fac_mem_zalloc(sizeof *made);
    if (!made) return fac_mem_error(sizeof *made);
    made->what = what;
    made->id = atomic_fetch_add(&next_id, 1) & 0x7fffffffu;
    made->open = -1;
    made->bytes = fac_host_thread_bytes();
    made->begin = now();
    recording = made;
    update_key();
    return FAC_OK;
}

void
fac_profile_pause(bool paused)
{
    if (recording) recording->paused = paused;
    update_key();
}

void
fac_recording_free(FacRecording *r)
{
    for (uint32_t i = 0; r && i < r->n; i++) {
        fac_mem_free(r->events[i].name);
        fac_mem_free(r->events[i].args);
        fac_foreign_release(r->events[i].stack);
    }
    if (r) fac_mem_free(r->events);
    fac_mem_free(r);
}

void
fac_profile_emit(FacRangePush push, FacRangePop pop, bool with_args)
{
    sink.push = push;
    sink.pop = pop;
    sink.with_args = with_args;
    update_key();
}

/* --- arguments -------------------------------------------------------------------------------- */

/* Where words go; with `at` NULL they are only counted. */
typedef struct Words {
    int64_t *at;
    size_t n;
} Words;

static void
put(Words *w, int64_t word)
{
    if (w->at) w->at[w->n] = word;
    w->n++;
}

static void
put_float(Words *w, double x)
{
    int64_t bits;
    memcpy(&bits, &x, sizeof bits);
    put(w, bits);
}

static void
put_tensor(Words *w, const FacTensor *t)
{
    put(w, t ? t->dtype : -1);
    put(w, t ? t->ndim : 0);
    for (int d = 0; t && d < t->ndim; d++) put(w, t->sizes[d]);
    for (int d = 0; t && d < t->ndim; d++) put(w, t->strides[d]);
}

static void
put_list(Words *w, FacValue v)
{
    if (v.len > LIST_MAX) {
        put(w, FAC_V_NONE);
        return;
    }
    put(w, v.tag);
    put(w, v.len);
    for (uint32_t i = 0; i < v.len; i++) {
        if (v.tag == FAC_V_TENSORS)
            put_tensor(w, v.v.tensors[i]);
        else if (v.tag == FAC_V_INTS)
            put(w, v.v.ints[i]);
        else if (v.tag == FAC_V_BOOLS)
            put(w, v.v.bools[i]);
        else
            put_float(w, v.v.floats[i]);
    }
}

static void
put_value(Words *w, FacValue v)
{
    switch (v.tag) {
    case FAC_V_TENSORS:
    case FAC_V_INTS:
    case FAC_V_FLOATS:
    case FAC_V_BOOLS: put_list(w, v); return;
    case FAC_V_TENSOR:
        put(w, v.tag);
        put_tensor(w, v.v.t);
        return;
    case FAC_V_BOOL:
    case FAC_V_INT:
    case FAC_V_FLOAT:
    case FAC_V_DTYPE:
        put(w, v.tag);
        put(w, v.v.i); /* a float by its bits */
        return;
    case FAC_V_COMPLEX:
        put(w, v.tag);
        put_float(w, v.v.c[0]);
        put_float(w, v.v.c[1]);
        return;
    default: put(w, FAC_V_NONE); return;
    }
}

static int64_t *
note_args(const FacCall *call)
{
    Words words = {0};
    for (int pass = 0; pass < 2; pass++) {
        words.n = 0;
        for (int i = 0; i < call->op->nparams; i++) put_value(&words, call->args[i]);
        if (pass || !words.n) break;
        words.at = fac_mem_alloc(words.n * sizeof *words.at);
        if (!words.at) return NULL;
    }
    return words.at;
}

/* --- events ----------------------------------------------------------------------------------- */

const char *
fac_event_name(const FacEvent *event, char text[NAME_BYTES])
{
    if (!event->op) return event->name ? event->name : "";
    snprintf(text, NAME_BYTES, "%s::%s%s", event->op->ns ? event->op->ns : "aten", event->op->name,
             event->inplace ? "_" : "");
    return text;
}

/* Room for one more event, or NULL. */
static FacEvent *
new_event(FacRecording *r)
{
    if (r->n == r->room) {
        uint32_t room = r->room ? 2 * r->room : 256;
        FacEvent *larger = fac_mem_realloc(r->events, room * sizeof *larger);
        if (!larger || room > INT32_MAX) {
            if (larger) r->events = larger;
            r->lost++;
            return NULL;
        }
        r->events = larger;
        r->room = room;
    }
    return &r->events[r->n++];
}

/* What came and went since the last event without parent. */
static void
note_memory(FacRecording *r, int64_t bytes, int64_t at)
{
    if (!(r->what & FAC_RECORD_MEMORY) || bytes == r->bytes) return;
    FacEvent *event = new_event(r);
    if (!event) return;
    *event = (FacEvent){.kind = FAC_EVENT_MEMORY,
                        .ended = true,
                        .parent = -1,
                        .begin = at,
                        .end = at,
                        .sequence = NO_SEQUENCE,
                        .bytes_before = r->bytes,
                        .bytes = bytes - r->bytes};
    r->bytes = bytes;
}

static FacEventHandle
begin(FacEvent what)
{
    FacRecording *r = recording;
    what.bytes_before = fac_host_thread_bytes();
    what.parent = r->open;
    if (r->open < 0) note_memory(r, what.bytes_before, now());
    if ((r->what & FAC_RECORD_STACK) && fac_profile_stack) what.stack = fac_profile_stack();
    FacEvent *event = new_event(r);
    if (!event) {
        fac_mem_free(what.name);
        fac_mem_free(what.args);
        fac_foreign_release(what.stack);
        return 0;
    }
    *event = what;
    r->open = (int32_t)(r->n - 1);
    event->begin = now();
    return (FacEventHandle)r->id << 32 | (r->n - 1);
}

static void
end(FacRecording *r, uint32_t index, int64_t at)
{
    FacEvent *event = &r->events[index];
    if (event->ended) return;
    event->ended = true;
    event->end = at;
    event->bytes = fac_host_thread_bytes() - event->bytes_before;
    while (r->open >= 0 && r->events[r->open].ended) r->open = r->events[r->open].parent;
    if (r->open < 0) r->bytes = fac_host_thread_bytes();
}

void
fac_profile_end(FacEventHandle handle)
{
    FacRecording *r = recording;
    uint32_t index = (uint32_t)handle;
    if ((handle & PUSHED) && sink.pop) sink.pop();
    handle &= ~PUSHED;
    if (handle && r && r->id == handle >> 32 && index < r->n) end(r, index, now());
}

FacRecording *
fac_profile_stop(void)
{
    FacRecording *r = recording;
    if (!r) return NULL;
    r->end = now();
    note_memory(r, r->open < 0 ? fac_host_thread_bytes() : r->bytes, r->end);
    for (uint32_t i = r->n; i-- > 0;) end(r, i, r->end);
    recording = NULL;
    update_key();
    return r;
}

/* --- what begins ------------------------------------------------------------------------------ */

/* The name with what is known of the call, for a tool that keeps names only. */
static void
push_call(const FacCall *call, const char *name)
{
    FacText text = {.len = 0};
    fac_text_add(&text, "%s", name);
    for (int i = 0, n = 0; sink.with_args && i < call->op->nparams; i++) {
        const FacTensor *t = fac_v_as_tensor(call->args[i]);
        if (!t) continue;
        fac_text_add(&text, "%s", n++ ? ", " : ", sizes = [");
        fac_text_dims(&text, t->ndim, t->sizes);
    }
    if (strchr(text.at, '[')) fac_text_add(&text, "]");
    sink.push(text.at);
}

static FacEventHandle
begin_call(const FacCall *call)
{
    FacEvent what = {.kind = FAC_EVENT_CALL,
                     .op = call->op,
                     .inplace = call->flags & FAC_CALL_INPLACE,
                     .sequence = fac_next_sequence()};
    char name[NAME_BYTES];
    FacEventHandle pushed = sink.push ? PUSHED : 0;
    if (pushed) push_call(call, fac_event_name(&what, name));
    if (!recording) return pushed;
    if (recording->what & FAC_RECORD_ARGS) what.args = note_args(call);
    return begin(what) | pushed;
}

FacEventHandle
fac_profile_begin(FacEventKind kind, const char *name, const void *subject)
{
    FacEventHandle pushed = sink.push && kind != FAC_EVENT_MODULE ? PUSHED : 0;
    if (pushed) sink.push(name);
    if (!recording) return pushed;
    if (kind == FAC_EVENT_MODULE && !(recording->what & FAC_RECORD_MODULES)) return pushed;
    size_t bytes = strlen(name) + 1;
    char *copy = fac_mem_alloc(bytes);
    if (copy) memcpy(copy, name, bytes);
    FacEvent what = {.kind = (uint8_t)kind, .name = copy, .subject = subject};
    what.sequence = NO_SEQUENCE;
    return begin(what) | pushed;
}

void
fac_profile_link(FacEventHandle handle, const FacNode *node)
{
    uint64_t plain = handle & ~PUSHED;
    FacRecording *r = recording;
    if (plain && r && r->id == plain >> 32) r->events[(uint32_t)plain].sequence = node->sequence;
}

FacEventHandle
fac_profile_begin_node(FacEventKind kind, FacNode *node)
{
    char name[128], text[NAME_BYTES];
    const char *before = kind == FAC_EVENT_TASK ? "autograd::engine::evaluate_function: " : "";
    snprintf(text, sizeof text, "%s%s", before, fac_node_name(node, name));
    FacEventHandle handle = fac_profile_begin(kind, text, NULL);
    fac_profile_link(handle, node);
    return handle;
}

/* --- the layer -------------------------------------------------------------------------------- */

/* The number of the node that the call has made: that of its first result with a history. A result
 * may be an argument as it was, whose history is older than the call. */
static uint64_t
made_sequence(const FacCall *call, uint64_t first)
{
    for (int i = 0; i < call->op->nresults; i++) {
        FacValue v = call->results[i];
        const FacTensor *t = v.tag == FAC_V_TENSORS && v.len ? v.v.tensors[0] : fac_v_as_tensor(v);
        const FacAutograd *au = t ? fac_autograd(t) : NULL;
        const FacNode *node = au ? au->grad_fn : NULL;
        if (node && node->op == call->op && node->sequence >= first) return node->sequence;
    }
    return NO_SEQUENCE;
}

static FacStatus
layer_profile(FacCall *call)
{
    call->keys &= ~FAC_KEY(PROFILE);
    FacEventHandle handle = begin_call(call);
    FacStatus st = fac_dispatch_next(call);
    FacRecording *r = recording;
    uint64_t plain = handle & ~PUSHED;
    if (plain && r && r->id == plain >> 32) {
        FacEvent *event = &r->events[(uint32_t)handle];
        event->sequence = st == FAC_OK ? made_sequence(call, event->sequence) : NO_SEQUENCE;
    }
    fac_profile_end(handle);
    return st;
}

__attribute__((constructor)) static void
install(void)
{
    fac_layers[FAC_KEY_INDEX_PROFILE] = layer_profile;
}
