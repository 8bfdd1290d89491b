/* registry.c - the rows: filled at start, found by name, registered at run time.
 *
 * fac_start chooses the processor's tier, puts its loops and kernels into the rows, and refuses to
 * go on when a row has no way to compute. Names are found through a table of chains, one entry a
 * row, in the order of declaration; chains only grow, so that readers take no lock.
 */
#include "base/cpu.h"
#include "dispatch/dispatch.h"

#include <pthread.h>
#include <string.h>

/* --- the table of names ----------------------------------------------------------------------- */

enum { BUCKETS = 4096, REGISTERED_MAX = 1 << 16 };

typedef struct Entry {
    const FacOp *op;
    struct Entry *_Atomic next;
} Entry;

static struct Entry *_Atomic buckets[BUCKETS];
static pthread_mutex_t rows_lock = PTHREAD_MUTEX_INITIALIZER; /* registration */
static pthread_mutex_t start_lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic bool started;

/* Registered rows in order; a chain of its own for listing. */
static Entry *_Atomic registered_first;
static Entry *registered_last;

typedef struct Name {
    const char *ns, *name, *overload;
    size_t ns_len, name_len, overload_len; /* overload NULL: not given */
} Name;

static Name
split_name(const char *text)
{
    Name n = {0};
    const char *colons = strstr(text, "::");
    if (colons) {
        n.ns = text;
        n.ns_len = (size_t)(colons - text);
        text = colons + 2;
    }
    const char *dot = strchr(text, '.');
    n.name = text;
    n.name_len = dot ? (size_t)(dot - text) : strlen(text);
    if (dot) {
        n.overload = dot + 1;
        n.overload_len = strlen(dot + 1);
    }
    return n;
}

static uint32_t
hash_name(const char *name, size_t n)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < n; i++) h = (h ^ (uint8_t)name[i]) * 16777619u;
    return h % BUCKETS;
}

static bool
equal(const char *text, const char *part, size_t n)
{
    return strncmp(text, part, n) == 0 && text[n] == 0;
}

static void
enter(Entry *entry, const FacOp *op)
{
    struct Entry *_Atomic *at = &buckets[hash_name(op->name, strlen(op->name))];
    entry->op = op;
    atomic_init(&entry->next, NULL);
    for (Entry *e = atomic_load(at); e; e = atomic_load(at)) at = &e->next;
    atomic_store_explicit(at, entry, memory_order_release);
}

/* The row of that name and overload; without one the default overload, else the first. */
static const FacOp *
look_up(const Name *n)
{
    const FacOp *first = NULL;
    Entry *e =
        atomic_load_explicit(&buckets[hash_name(n->name, n->name_len)], memory_order_acquire);
    for (; e; e = atomic_load_explicit(&e->next, memory_order_acquire)) {
        if (!equal(e->op->name, n->name, n->name_len)) continue;
        if (n->ns && !equal(e->op->ns, n->ns, n->ns_len)) continue;
        if (n->overload ? equal(e->op->overload, n->overload, n->overload_len)
                        : e->op->overload[0] == 0)
            return e->op;
        if (!n->overload && !first) first = e->op;
    }
    return first;
}

const FacOp *
fac_op_find(const char *name)
{
    if (fac_start() != FAC_OK) return NULL;
    Name n = split_name(name);
    return look_up(&n);
}

const FacOp *
fac_op_registered(int i)
{
    Entry *e = atomic_load_explicit(&registered_first, memory_order_acquire);
    for (; e && i > 0; i--) e = atomic_load_explicit(&e->next, memory_order_acquire);
    return e ? e->op : NULL;
}

/* --- start ------------------------------------------------------------------------------------ */

/* Tiers that this build does not have are NULL. */
extern const FacTierTable fac_tier_table_base __attribute__((weak));
extern const FacTierTable fac_tier_table_v2 __attribute__((weak));
extern const FacTierTable fac_tier_table_v3 __attribute__((weak));
extern const FacTierTable fac_tier_table_v4 __attribute__((weak));

static const FacTierTable *
choose_tier(void)
{
    const FacTierTable *tables[FAC_TIERS] = {
        [FAC_TIER_BASE] = &fac_tier_table_base,
        [FAC_TIER_V2] = &fac_tier_table_v2,
        [FAC_TIER_V3] = &fac_tier_table_v3,
        [FAC_TIER_V4] = &fac_tier_table_v4,
    };
    for (int tier = fac_cpu_tier(); tier >= 0; tier--)
        if (tables[tier]) return tables[tier];
    return NULL;
}

static bool
has_loop(const FacLoops *loops)
{
    for (int d = 0; loops && d < FAC_DTYPES; d++)
        if (loops->loop[d]) return true;
    return false;
}

/* A row must have a way to compute, and pointwise rows their loops. */
static FacStatus
check_row(const FacOp *op)
{
    const char *lacks = NULL;
    if (op->flags & FAC_OP_VIEW)
        lacks = op->rule ? NULL : "rule";
    else if (!op->kernel[FAC_DEV_CPU] && !op->composite)
        lacks = "kernel";
    else if (op->kernel[FAC_DEV_CPU] && !op->rule)
        lacks = "rule";
    else if ((op->flags & FAC_OP_POINTWISE) && !has_loop(op->loops))
        lacks = "loop";
    if (!lacks) return FAC_OK;
    return fac_error(FAC_RUNTIME_ERROR, "the operator '%s%s%s' was declared and has no %s",
                     op->name, op->overload[0] ? "." : "", op->overload, lacks);
}

static void
put_loops(const FacTunedLoop *t)
{
    for (; t->loops; t++) {
        const bool half = t->dtype == FAC_DT_F16 || t->dtype == FAC_DT_BF16;
        if (!t->numbers)
            t->loops->loop[t->dtype] = t->loop;
        else if (half)
            t->loops->beside_numbers[t->dtype == FAC_DT_BF16] = t->loop;
        else
            t->loops->beside_element[t->dtype == FAC_DT_F64][t->numbers - 1] = t->loop;
        if (half) t->loops->numbers |= t->numbers;
    }
}

static FacStatus
start_rows(void)
{
    const FacTierTable *tier = choose_tier();
    if (!tier) return fac_error(FAC_RUNTIME_ERROR, "this build has no kernels for this processor");
    size_t bytes = (size_t)fac_op_count * sizeof(Entry);
    Entry *entries = fac_mem_alloc(bytes);
    if (!entries) return fac_mem_error(bytes);
    tier->fill_casts(fac_casts);
    put_loops(tier->tuned_loops);
    put_loops(tier->half_loops);
    put_loops(tier->beside_loops);
    fac_all_finite = tier->all_finite;
    for (int i = 0; i < fac_op_count; i++) {
        FacOp *op = &fac_ops[i];
        if (tier->loops[i]) op->loops = tier->loops[i];
        if (tier->kernels[i]) op->kernel[FAC_DEV_CPU] = tier->kernels[i];
        FacStatus st = check_row(op);
        if (st != FAC_OK) {
            fac_mem_free(entries);
            return st;
        }
    }
    for (int i = 0; i < fac_op_count; i++) enter(&entries[i], &fac_ops[i]);
    return FAC_OK;
}

FacStatus
fac_start(void)
{
    if (FAC_LIKELY(atomic_load_explicit(&started, memory_order_acquire))) return FAC_OK;
    pthread_mutex_lock(&start_lock);
    FacStatus st = FAC_OK;
    if (!started) {
        fac_tensor_start();
        st = start_rows();
        if (st == FAC_OK) atomic_store_explicit(&started, true, memory_order_release);
    }
    pthread_mutex_unlock(&start_lock);
    return st;
}

/* --- registration ----------------------------------------------------------------------------- */

static FacStatus
check_spec(const FacOp *op)
{
    Name n = split_name(op->schema);
    n.name = op->name;
    n.name_len = strlen(op->name);
    n.ns = op->ns;
    n.ns_len = strlen(op->ns);
    n.overload = op->overload;
    n.overload_len = strlen(op->overload);
    if (look_up(&n))
        return fac_error(FAC_VALUE_ERROR, "the operator '%s::%s%s%s' exists already", op->ns,
                         op->name, op->overload[0] ? "." : "", op->overload);
    return FAC_OK;
}

/* Enters the row under its name and in the list of registered ones; both entries are given. */
static void
publish(Entry *entries, const FacOp *op)
{
    enter(&entries[0], op);
    entries[1].op = op;
    atomic_init(&entries[1].next, NULL);
    if (registered_last)
        atomic_store_explicit(&registered_last->next, &entries[1], memory_order_release);
    else
        atomic_store_explicit(&registered_first, &entries[1], memory_order_release);
    registered_last = &entries[1];
}

FacStatus
fac_op_register(const FacOpSpec *spec, void *foreign, const FacOp **out)
{
    static uint32_t next_id;
    FacStatus st = FAC_OK;
    Entry *entries = NULL;
    FAC_RETURN_IF_ERROR(fac_start());
    if (!spec->schema) return fac_error(FAC_VALUE_ERROR, "an operator needs a schema");
    FacOp *op = fac_mem_zalloc(sizeof *op);
    if (!op) return fac_mem_error(sizeof *op);
    pthread_mutex_lock(&rows_lock);
    FAC_TRY(fac_schema_parse(spec->schema, op));
    FAC_TRY(check_spec(op));
    entries = fac_mem_alloc(2 * sizeof *entries);
    if (!entries) FAC_TRY(fac_mem_error(2 * sizeof *entries));
    if (spec->doc) {
        FacValue doc;
        FAC_TRY(fac_value_keep(fac_v_str(spec->doc), &doc));
        op->doc = doc.v.s;
    }
    op->module = "";
    op->public_name = op->name;
    op->flags |= FAC_OP_RUNTIME | FAC_OP_FUNCTION;
    op->kernel[FAC_DEV_CPU] = spec->cpu;
    op->kernel[FAC_DEV_META] = spec->meta;
    op->composite = spec->composite;
    op->grad_kernel = spec->grad;
    op->foreign = foreign;
    op->id = (uint32_t)fac_op_count + next_id++;
    publish(entries, op);
    *out = op;
done:
    pthread_mutex_unlock(&rows_lock);
    if (st != FAC_OK) {
        fac_mem_free(entries);
        fac_schema_free(op);
        fac_mem_free(op);
    }
    return st;
}

FacStatus
fac_register_op(const FacOpSpec *spec)
{
    const FacOp *op;
    if (!spec->cpu && !spec->composite)
        return fac_error(FAC_VALUE_ERROR,
                         "an operator needs a function for the CPU or a composite");
    return fac_op_register(spec, NULL, &op);
}

/* --- calls by name ---------------------------------------------------------------------------- */

static const char *
list_tag(FacType type, uint8_t *tag)
{
    switch (type) {
    case FAC_TYPE_TENSOR: *tag = FAC_V_TENSORS; return "a list of tensors";
    case FAC_TYPE_INT: *tag = FAC_V_INTS; return "a list of ints";
    case FAC_TYPE_FLOAT: *tag = FAC_V_FLOATS; return "a list of floats";
    case FAC_TYPE_BOOL: *tag = FAC_V_BOOLS; return "a list of bools";
    default: *tag = FAC_V_VALUES; return "a list of values";
    }
}

/* Whether the value is one of the type; ints become floats, bools ints, where that is asked for. */
static bool
fit_single(FacType type, FacValue *v)
{
    switch (type) {
    case FAC_TYPE_TENSOR: return v->tag == FAC_V_TENSOR;
    case FAC_TYPE_OPERAND: return v->tag == FAC_V_TENSOR || fac_v_is_number(*v);
    case FAC_TYPE_SCALAR: return fac_v_is_number(*v);
    case FAC_TYPE_INT:
        if (v->tag == FAC_V_BOOL) *v = fac_v_int(v->v.b);
        return v->tag == FAC_V_INT;
    case FAC_TYPE_FLOAT:
        if (v->tag == FAC_V_BOOL || v->tag == FAC_V_INT) *v = fac_v_float(fac_v_as_float(*v));
        return v->tag == FAC_V_FLOAT;
    case FAC_TYPE_BOOL: return v->tag == FAC_V_BOOL;
    case FAC_TYPE_STR: return v->tag == FAC_V_STR;
    case FAC_TYPE_DTYPE: return v->tag == FAC_V_DTYPE && v->v.i >= 0 && v->v.i < FAC_DTYPES;
    case FAC_TYPE_DEVICE: return v->tag == FAC_V_DEVICE;
    case FAC_TYPE_LAYOUT: return v->tag == FAC_V_LAYOUT;
    case FAC_TYPE_FORMAT: return v->tag == FAC_V_FORMAT;
    case FAC_TYPE_GENERATOR: return v->tag == FAC_V_GENERATOR;
    case FAC_TYPE_STORAGE: return v->tag == FAC_V_STORAGE;
    default: return true;
    }
}

static FacStatus
fit_arg(const FacOp *op, const FacParam *param, FacValue *v)
{
    static const char *const names[] = {
#define TYPE_NAME(name, text) text,
        FAC_TYPE_LIST(TYPE_NAME)
#undef TYPE_NAME
    };
    const char *what = names[param->type];
    if (v->tag == FAC_V_NONE && (param->flags & FAC_P_OPTIONAL)) return FAC_OK;
    if (param->flags & FAC_P_LIST) {
        uint8_t tag;
        what = list_tag((FacType)param->type, &tag);
        bool fixed = param->length && v->len != param->length && param->type != FAC_TYPE_TENSOR;
        if (v->tag == tag && !fixed) return FAC_OK;
    } else if (fit_single((FacType)param->type, v)) {
        return FAC_OK;
    }
    return fac_error(FAC_TYPE_ERROR, "%s(): argument '%s' must be %s", op->name, param->name, what);
}

FacStatus
fac_op_fit_args(const FacOp *op, int nargs, const FacValue *args, FacValue *frame)
{
    if (nargs > op->nparams)
        return fac_error(FAC_TYPE_ERROR, "%s() takes %d arguments, %d were given", op->name,
                         op->nparams, nargs);
    for (int i = 0; i < op->nparams; i++) {
        const FacParam *param = &op->params[i];
        if (i < nargs) {
            frame[i] = args[i];
            FAC_RETURN_IF_ERROR(fit_arg(op, param, &frame[i]));
        } else if (param->flags & (FAC_P_DEFAULT | FAC_P_OPTIONAL)) {
            frame[i] = param->fallback;
        } else {
            return fac_error(FAC_TYPE_ERROR, "%s() misses its argument '%s'", op->name,
                             param->name);
        }
    }
    return FAC_OK;
}

/* "add_" is the in-place form of the row add, where it has one. */
static const FacOp *
find_inplace(const char *name)
{
    Name n = split_name(name);
    if (n.name_len < 2 || n.name[n.name_len - 1] != '_') return NULL;
    n.name_len--;
    const FacOp *op = look_up(&n);
    return op && (op->flags & FAC_OP_INPLACE) ? op : NULL;
}

FacStatus
fac_call_name(const char *name, int nargs, const FacValue *args, int nresults, FacValue *results)
{
    FacValue frame[FAC_MAX_PARAMS];
    FAC_RETURN_IF_ERROR(fac_start());
    const FacOp *op = fac_op_find(name), *inplace = op ? NULL : find_inplace(name);
    if (!op) op = inplace;
    if (!op) return fac_error(FAC_NOT_IMPLEMENTED, "there is no operator '%s'", name);
    FAC_RETURN_IF_ERROR(fac_op_fit_args(op, nargs, args, frame));
    if (nresults != op->nresults)
        return fac_error(FAC_VALUE_ERROR, "%s() has %d results, room was given for %d", name,
                         op->nresults, nresults);
    if (!inplace) return fac_call(op, op->nparams, frame, results);
    FAC_RETURN_IF_ERROR(fac_call_inplace(op, op->nparams, frame));
    return fac_value_keep(frame[0], &results[0]);
}
