/* status.c - the thread's last message, warnings, and bounded text.
 *
 * A message is formatted into a scratch buffer first, because its arguments may point into the
 * message that it replaces (a failure that quotes the one below it). A thread's room for
 * messages is made at its first error and goes with the thread; an error about exhausted memory must
 * not need any, so where there is none a constant takes its place.
 */
#include "base/status.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MESSAGE_SIZE = 2048, WARNINGS_SEEN = 64 };

static _Thread_local char *message;   /* MESSAGE_SIZE bytes; NULL before the first error */
static _Thread_local bool speechless; /* there was no memory for it */
static pthread_key_t exit_key;
static bool exit_key_made;
static _Atomic(FacWarnHook) warn_hook;

static void
at_thread_exit(void *at)
{
    message = NULL;
    free(at);
}

static void
start(void)
{
    exit_key_made = pthread_key_create(&exit_key, at_thread_exit) == 0;
}

static char *
message_room(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    if (message) return message;
    pthread_once(&once, start);
    message = calloc(1, MESSAGE_SIZE);
    speechless = !message;
    if (message && exit_key_made) (void)pthread_setspecific(exit_key, message);
    return message;
}

FacStatus
fac_error_v(FacStatus code, const char *format, va_list args)
{
    char scratch[MESSAGE_SIZE];
    vsnprintf(scratch, sizeof scratch, format, args);
    if (message_room()) memcpy(message, scratch, strlen(scratch) + 1);
    return code;
}

FacStatus
fac_error(FacStatus code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fac_error_v(code, format, args);
    va_end(args);
    return code;
}

const char *
fac_error_message(void)
{
    return message ? message : speechless ? "out of memory" : "";
}

const char *
fac_status_python_class(FacStatus code)
{
    static const char *const classes[] = {
#define PYTHON_CLASS(name, python) python,
        FAC_STATUS_LIST(PYTHON_CLASS)
#undef PYTHON_CLASS
    };
    return classes[code];
}

void
fac_error_prefix(const char *where)
{
    if (!message_room()) return;
    size_t n = strlen(where), old = strlen(message);
    bool there = strncmp(message, where, n) == 0 && strncmp(message + n, ": ", 2) == 0;
    if (there || n + 3 > MESSAGE_SIZE) return;
    if (old > MESSAGE_SIZE - 1 - (n + 2)) old = MESSAGE_SIZE - 1 - (n + 2);
    memmove(message + n + 2, message, old);
    memcpy(message, where, n);
    memcpy(message + n, ": ", 2);
    message[n + 2 + old] = 0;
}

/* Whether this kind of warning (told by its format) was printed before; beyond the table: yes. */
static bool
seen_before(const char *format)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static const char *seen[WARNINGS_SEEN];
    static int count;
    bool found = false;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < count && !found; i++) found = seen[i] == format;
    if (!found && count < WARNINGS_SEEN)
        seen[count++] = format;
    else
        found = true;
    pthread_mutex_unlock(&lock);
    return found;
}

FacStatus
fac_warn(FacWarning kind, const char *format, ...)
{
    static const char *const names[] = {"UserWarning", "DeprecationWarning", "RuntimeWarning"};
    char text[MESSAGE_SIZE];
    FacWarnHook hook = warn_hook;
    va_list args;
    if (!hook && seen_before(format)) return FAC_OK;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (hook) return hook(kind, text);
    fprintf(stderr, "facula: %s: %s\n", names[kind], text);
    return FAC_OK;
}

void
fac_set_warn_hook(FacWarnHook hook)
{
    warn_hook = hook;
}

void
fac_text_add(FacText *text, const char *format, ...)
{
    size_t room = sizeof text->at - text->len;
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text->at + text->len, room, format, args);
    va_end(args);
    if (n < 0) return;
    if ((size_t)n < room) {
        text->len += (size_t)n;
        return;
    }
    text->len = sizeof text->at - 1;
    memcpy(text->at + text->len - 3, "...", 4);
}

void
fac_text_dims(FacText *text, int n, const FacDim *dims)
{
    fac_text_add(text, "[");
    for (int i = 0; i < n; i++) fac_text_add(text, i ? ", %lld" : "%lld", (long long)dims[i]);
    fac_text_add(text, "]");
}
