/* profile.h - what ran when: a record of the calls, backward nodes, modules and named ranges of a
 * thread.
 *
 * While a thread records, the key PROFILE is in its mask, and its layer, above all others that see
 * a frame, notes when a call begins and ends. What is inside of a call (the parts of a composite, the
 * calls of a formula) passes the layer again and so lies inside in time. Others who have something
 * to say, such as the engine, ask fac_profiling() and then begin and end events by themselves.
 */
#ifndef FAC_LAYERS_PROFILE_H
#define FAC_LAYERS_PROFILE_H

#include "layers/node.h"

typedef enum FacEventKind {
    FAC_EVENT_CALL,
    FAC_EVENT_TASK,     /* the engine with a node: its hooks, the node, handing gradients on */
    FAC_EVENT_NODE,     /* the node itself */
    FAC_EVENT_RANGE,    /* named by the user */
    FAC_EVENT_MODULE,   /* the call of a module */
    FAC_EVENT_FUNCTION, /* forward of an autograd.Function */
    FAC_EVENT_MEMORY,   /* memory that came or went outside of all others */
} FacEventKind;

typedef struct FacEvent {
    uint8_t kind; /* FacEventKind */
    bool inplace, ended;
    int32_t parent;      /* the event that it lies in, -1 for none */
    const FacOp *op;     /* of calls */
    char *name;          /* of others; owned */
    const void *subject; /* of modules: which one */
    int64_t begin, end;  /* ns of the monotonic clock */
    uint64_t sequence;   /* of the node that the call made, or that runs; UINT64_MAX: none */
    int64_t bytes_before, bytes; /* what this thread holds of the CPU's memory; then the change */
    int64_t *args;               /* of calls: the arguments (fac_event_args); owned */
    FacForeign *stack;           /* the stack of the program in another language; owned */
} FacEvent;

/* What is noted beside times. */
enum {
    FAC_RECORD_ARGS = 1,
    FAC_RECORD_STACK = 2,
    FAC_RECORD_MEMORY = 4,
    FAC_RECORD_MODULES = 8,
};

typedef struct FacRecording {
    unsigned what; /* FAC_RECORD_ bits */
    uint32_t id;
    FacEvent *events; /* in the order of their beginnings */
    uint32_t n, room, lost;
    int32_t open;  /* the innermost event that has not ended; -1 */
    int64_t bytes; /* what the thread held when the last event without parent ended */
    int64_t begin, end;
    bool paused;
} FacRecording;

/* Of this thread. RUNTIME_ERROR when it records already. */
FacStatus fac_profile_start(unsigned what) FAC_MUST_CHECK;
/* Notes nothing for a while; what is open goes on. */
void fac_profile_pause(bool paused);
/* Ends all open events and hands the recording over; NULL when there is none. */
FacRecording *fac_profile_stop(void);
void fac_recording_free(FacRecording *recording);

/* Ranges for somebody else's tool, instead of or beside a recording of this thread; NULL: no more. */
typedef int (*FacRangePush)(const char *name);
typedef int (*FacRangePop)(void);
void fac_profile_emit(FacRangePush push, FacRangePop pop, bool with_args);

static inline bool
fac_profiling(void) /* somebody listens to this thread */
{
    return fac_thread.include & FAC_KEY(PROFILE);
}

/* An event that runs, for its end; 0: none. It may outlive the recording. */
typedef uint64_t FacEventHandle;
FacEventHandle fac_profile_begin(FacEventKind kind, const char *name, const void *subject);
FacEventHandle fac_profile_begin_node(FacEventKind kind, FacNode *node);
void fac_profile_end(FacEventHandle handle);
/* The event has made that node. */
void fac_profile_link(FacEventHandle handle, const FacNode *node);

/* "aten::add_", "aten::linalg_inv", or the name of what is no call. Returns text. */
const char *fac_event_name(const FacEvent *event, char text[192]);
/* The arguments of a call as words, one parameter after the other, each with its tag in front:
 *   FAC_V_TENSOR           dtype, ndim, sizes, strides; dtype -1: none
 *   FAC_V_TENSORS          n, then each as above
 *   FAC_V_INT, ...         the value, as bits (FAC_V_COMPLEX: two)
 *   FAC_V_INTS, ...        n, then the values as bits
 *   FAC_V_NONE             and nothing more, also for what is not noted */

/* How the stack of the program is taken (bindings); NULL: not at all. */
extern FacForeign *(*fac_profile_stack)(void);

#endif
