/* chain.h - a few operators called one after the other, their results released together.
 *
 * For composites and helpers in C: every result is held by the chain, so that it is borrowed
 * wherever it is used; chain_give hands one of them out.
 *
 *     Chain c = {.n = 0};
 *     CHAIN(log, &y, x);          // FAC_TRY: goes to `done` on failure
 *     st = chain_give(y, out);
 * done:
 *     chain_end(&c);
 */
#ifndef FAC_DISPATCH_CHAIN_H
#define FAC_DISPATCH_CHAIN_H

#include "dispatch/formula.h"
#include "generated/ops.h"

enum { CHAIN_MAX = 48 };

typedef struct Chain {
    FacValue held[CHAIN_MAX];
    int n;
} Chain;

static inline FacStatus
chain_call(Chain *c, const FacOp *op, FacValue *out, int nargs, const FacValue *args)
{
    *out = FAC_VALUE_NONE;
    if (c->n == CHAIN_MAX)
        return fac_error(FAC_RUNTIME_ERROR, "more than %d results in one chain", CHAIN_MAX);
    FacValue *slot = &c->held[c->n];
    FAC_RETURN_IF_ERROR(fac_call(op, nargs, args, slot));
    c->n++;
    *out = *slot;
    out->flags = 0;
    return FAC_OK;
}

/* A result of its own for the caller. */
static inline FacStatus
chain_give(FacValue v, FacValue *out)
{
    return fac_value_keep(v, out);
}

static inline void
chain_end(Chain *c)
{
    fac_formula_release(c->held, c->n);
}

#define CHAIN_ARGS(...)                                                                            \
    (int)(sizeof((FacValue[]){__VA_ARGS__}) / sizeof(FacValue)), (FacValue[])                      \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }
#define CHAIN(op, out, ...) FAC_TRY(chain_call(&c, FAC_OP_##op, out, CHAIN_ARGS(__VA_ARGS__)))

#endif
