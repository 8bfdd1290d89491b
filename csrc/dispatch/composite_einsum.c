/* composite_einsum.c - Einstein sums.
 *
 * The equation becomes a numbering of dimensions: those of the output first, in its order, then those
 * that are summed. Every operand is permuted to that numbering (repeated labels by a diagonal, absent
 * ones as size 1); then operands are contracted from left to right, each pair by one bmm. A dimension
 * is summed as soon as no later operand has it.
 */
#include "dispatch/rules.h"
#include "generated/ops.h"

#include <string.h>

enum { LABELS = 52, ELLIPSIS = 52, SUBSCRIPTS = LABELS + 1 };

typedef struct Term {
    int n;
    int8_t at[FAC_MAX_NDIM]; /* labels; ELLIPSIS once at most */
    int dots;                /* dimensions that the ellipsis stands for */
} Term;

typedef struct Equation {
    int nterms, wide; /* wide: dimensions of the longest ellipsis */
    Term terms[FAC_MAX_NDIM];
    int position[SUBSCRIPTS]; /* number of the first dimension of a label, or -1 */
    int n, nout;              /* all dimensions, those of the output */
} Equation;

static void
replace(FacTensor **t, FacTensor *by)
{
    fac_tensor_release(*t);
    *t = by;
}

static int
label(char c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    return -1;
}

/* Reads one term up to a comma, an arrow or the end. */
static FacStatus
parse_term(const char **text, Term *term)
{
    const char *s = *text;
    bool seen = false;
    term->n = 0;
    for (; *s && *s != ',' && !(s[0] == '-' && s[1] == '>'); s++) {
        int what = label(*s);
        if (*s == ' ') continue;
        if (s[0] == '.' && s[1] == '.' && s[2] == '.') {
            if (seen)
                return fac_error(FAC_RUNTIME_ERROR, "einsum(): more than one ellipsis in a term");
            what = ELLIPSIS;
            seen = true;
            s += 2;
        }
        if (what < 0)
            return fac_error(FAC_RUNTIME_ERROR,
                             "einsum(): subscripts must be letters or '...', found '%c'", *s);
        if (term->n == FAC_MAX_NDIM)
            return fac_error(FAC_RUNTIME_ERROR, "einsum(): more than %d subscripts", FAC_MAX_NDIM);
        term->at[term->n++] = (int8_t)what;
    }
    *text = s;
    return FAC_OK;
}

static FacStatus
number_output(Equation *e, const char *text, const int *uses)
{
    Term out = {0};
    e->n = 0;
    for (int i = 0; i < SUBSCRIPTS; i++) e->position[i] = -1;
    if (*text) {
        text += 2;
        FAC_RETURN_IF_ERROR(parse_term(&text, &out));
        if (*text) return fac_error(FAC_RUNTIME_ERROR, "einsum(): there is more than one output");
    } else {
        if (uses[ELLIPSIS]) out.at[out.n++] = ELLIPSIS;
        for (int i = 0; i < LABELS; i++)
            if (uses[i] == 1) out.at[out.n++] = (int8_t)i;
    }
    for (int i = 0; i < out.n; i++) {
        const int what = out.at[i];
        if (e->position[what] >= 0)
            return fac_error(FAC_RUNTIME_ERROR,
                             "einsum(): a subscript appears more than once in the output");
        if (what != ELLIPSIS && !uses[what])
            return fac_error(FAC_RUNTIME_ERROR,
                             "einsum(): the output has a subscript that no operand has");
        e->position[what] = e->n;
        e->n += what == ELLIPSIS ? e->wide : 1;
    }
    e->nout = e->n;
    for (int i = ELLIPSIS; i >= 0; i--) {
        if (e->position[i] >= 0 || !uses[i]) continue;
        e->position[i] = e->n;
        e->n += i == ELLIPSIS ? e->wide : 1;
    }
    return e->n > FAC_MAX_NDIM / 2
               ? fac_error(FAC_RUNTIME_ERROR, "einsum(): more than %d dimensions", FAC_MAX_NDIM / 2)
               : FAC_OK;
}

static FacStatus
parse(const char *text, int noperands, FacTensor *const *operands, Equation *e)
{
    int uses[SUBSCRIPTS] = {0};
    e->nterms = e->wide = 0;
    for (;;) {
        if (e->nterms >= noperands)
            return fac_error(
                FAC_RUNTIME_ERROR,
                "einsum(): fewer operands were provided than specified in the equation");
        Term *term = &e->terms[e->nterms];
        FAC_RETURN_IF_ERROR(parse_term(&text, term));
        const int ndim = operands[e->nterms]->ndim;
        bool dots = false;
        for (int i = 0; i < term->n; i++) dots |= term->at[i] == ELLIPSIS;
        term->dots = dots ? ndim - (term->n - 1) : 0;
        if (dots ? term->dots < 0 : term->n != ndim)
            return fac_error(
                FAC_RUNTIME_ERROR,
                "einsum(): the number of subscripts in the equation (%d) does not match "
                "the number of dimensions (%d) for operand %d",
                term->n - dots, ndim, e->nterms);
        for (int i = 0; i < term->n; i++) uses[term->at[i]]++;
        if (term->dots > e->wide) e->wide = term->dots;
        e->nterms++;
        if (*text != ',') break;
        text++;
    }
    if (e->nterms < noperands)
        return fac_error(FAC_RUNTIME_ERROR,
                         "einsum(): more operands were provided than specified in the equation");
    return number_output(e, text, uses);
}

/* An operand in the numbering of the equation: e->n dimensions, 1 where it has none. */
static FacStatus
align(const Equation *e, const Term *term, FacTensor *operand, FacTensor **out)
{
    int from[FAC_MAX_NDIM]; /* by number: the dimension of the operand, -1 for none */
    FacDim order[FAC_MAX_NDIM], sizes[FAC_MAX_NDIM];
    FacTensor *t = fac_tensor_retain(operand), *next;
    FacStatus st = FAC_OK;
    int dim = 0, n = 0;
    for (int i = 0; i < e->n; i++) from[i] = -1;
    for (int i = 0; i < term->n; i++) {
        const int at = e->position[term->at[i]];
        if (term->at[i] == ELLIPSIS) {
            for (int j = 0; j < term->dots; j++) from[at + e->wide - term->dots + j] = dim++;
        } else if (from[at] < 0) {
            from[at] = dim++;
        } else {
            /* seen before: the diagonal, which comes last, takes the first one's place */
            if (t->sizes[from[at]] != t->sizes[dim])
                FAC_FAIL(FAC_RUNTIME_ERROR, "einsum(): a subscript is repeated for an operand but "
                                            "the sizes differ");
            FAC_TRY(fac_op_diagonal(t, 0, from[at], dim, &next));
            replace(&t, next);
            for (int j = 0, k = 0; j < t->ndim; j++) order[j] = j == from[at] ? t->ndim - 1 : k++;
            FAC_TRY(fac_op_permute(t, fac_v_ints(order, t->ndim), &next));
            replace(&t, next);
        }
    }
    for (int i = 0; i < e->n; i++) {
        sizes[i] = from[i] < 0 ? 1 : t->sizes[from[i]];
        if (from[i] >= 0) order[n++] = from[i];
    }
    FAC_TRY(fac_op_permute(t, fac_v_ints(order, n), &next));
    replace(&t, next);
    FAC_TRY(fac_op_reshape(t, fac_v_ints(sizes, e->n), out));
done:
    fac_tensor_release(t);
    return st;
}

/* Sums the dims of `mask` where the size is not 1, keeping them as 1. */
static FacStatus
sum_out(FacTensor **t, uint64_t mask)
{
    FacDim dims[FAC_MAX_NDIM];
    FacTensor *out;
    int n = 0;
    for (int i = 0; i < (*t)->ndim; i++)
        if (mask >> i & 1 && (*t)->sizes[i] != 1) dims[n++] = i;
    if (n == 0) return FAC_OK;
    FAC_RETURN_IF_ERROR(fac_op_sum_dim_IntList(*t, fac_v_ints(dims, n), true, FAC_DT_NONE, &out));
    replace(t, out);
    return FAC_OK;
}

/* Which dims go where in the product of a pair: lists of dims and the products of their sizes. */
enum { BOTH, LEFT, SUMMED, RIGHT, KINDS };
typedef struct Split {
    FacDim dims[KINDS][FAC_MAX_NDIM];
    int n[KINDS];
    FacDim size[KINDS];
} Split;

static FacStatus
split_dims(const FacTensor *l, const FacTensor *r, uint64_t mask, Split *s)
{
    *s = (Split){.size = {1, 1, 1, 1}};
    for (int i = 0; i < l->ndim; i++) {
        const FacDim a = l->sizes[i], b = r->sizes[i], big = a != 1 ? a : b;
        const int kind = mask >> i & 1 ? SUMMED : a != 1 && b != 1 ? BOTH : a != 1 ? LEFT : RIGHT;
        if (a != 1 && b != 1 && a != b)
            return fac_error(FAC_RUNTIME_ERROR,
                             "einsum(): operands do not broadcast with remapped shapes: sizes %lld "
                             "and %lld at dimension %d",
                             (long long)a, (long long)b, i);
        s->dims[kind][s->n[kind]++] = i;
        s->size[kind] *= big;
    }
    return FAC_OK;
}

/* t permuted to the kinds in `order` and folded to [both, second, third]; the fourth has size 1. */
static FacStatus
folded(FacTensor *t, const Split *s, const int order[KINDS], FacTensor **out)
{
    FacDim dims[FAC_MAX_NDIM], sizes[3];
    FacTensor *turned;
    int n = 0;
    for (int i = 0; i < KINDS; i++) {
        memcpy(dims + n, s->dims[order[i]], (size_t)s->n[order[i]] * sizeof *dims);
        n += s->n[order[i]];
        if (i < 3) sizes[i] = s->size[order[i]];
    }
    FAC_RETURN_IF_ERROR(fac_op_permute(t, fac_v_ints(dims, n), &turned));
    const FacStatus st = fac_op_reshape(turned, fac_v_ints(sizes, 3), out);
    fac_tensor_release(turned);
    return st;
}

/* *l becomes the sum over the dims of `mask` of l * r, those dims of size 1. */
static FacStatus
contract(FacTensor **l, FacTensor *right, uint64_t mask)
{
    static const int left_order[] = {BOTH, LEFT, SUMMED, RIGHT};
    static const int right_order[] = {BOTH, SUMMED, RIGHT, LEFT};
    FacTensor *r = fac_tensor_retain(right), *x = NULL, *y = NULL, *product = NULL, *wide = NULL;
    FacTensor *out;
    FacDim sizes[FAC_MAX_NDIM], back[FAC_MAX_NDIM];
    Split s;
    FacStatus st = FAC_OK;
    if (mask == 0) {
        FAC_TRY(fac_op_mul(fac_v_tensor(*l), fac_v_tensor(r), &out));
        replace(l, out);
        goto done;
    }
    for (int i = 0; i < r->ndim; i++) {
        if (!(mask >> i & 1)) continue;
        if ((*l)->sizes[i] == 1) FAC_TRY(sum_out(&r, UINT64_C(1) << i));
        if (r->sizes[i] == 1) FAC_TRY(sum_out(l, UINT64_C(1) << i));
    }
    FAC_TRY(split_dims(*l, r, mask, &s));
    FAC_TRY(folded(*l, &s, left_order, &x));
    FAC_TRY(folded(r, &s, right_order, &y));
    FAC_TRY(fac_op_bmm(x, y, &product));
    for (int i = 0, n = 0; i < KINDS; i++)
        for (int j = 0; j < s.n[i]; j++, n++) {
            const FacDim dim = s.dims[i][j], a = (*l)->sizes[dim], b = r->sizes[dim];
            sizes[n] = i == SUMMED ? 1 : a != 1 ? a : b;
            back[dim] = n;
        }
    FAC_TRY(fac_op_reshape(product, fac_v_ints(sizes, r->ndim), &wide));
    FAC_TRY(fac_op_permute(wide, fac_v_ints(back, r->ndim), &out));
    replace(l, out);
done:
    fac_tensor_release(r);
    fac_tensor_release(x);
    fac_tensor_release(y);
    fac_tensor_release(product);
    fac_tensor_release(wide);
    return st;
}

FacStatus
fac_composite_einsum(FacCall *call)
{
    const int n = (int)FAC_ARG(call, 1).len;
    FacTensor *operands[FAC_MAX_NDIM] = {NULL}, *out = NULL;
    Equation e = {0};
    FacStatus st = FAC_OK;
    if (n == 0 || n > FAC_MAX_NDIM)
        return fac_error(FAC_RUNTIME_ERROR, "einsum(): must provide 1 to %d operands",
                         FAC_MAX_NDIM);
    FAC_RETURN_IF_ERROR(parse(FAC_ARG(call, 0).v.s, n, FAC_ARG(call, 1).v.tensors, &e));
    for (int i = 0; i < n; i++)
        FAC_TRY(align(&e, &e.terms[i], FAC_ARG(call, 1).v.tensors[i], &operands[i]));
    uint64_t open = 0; /* summed dims that are still to be summed */
    for (int i = e.nout; i < e.n; i++) open |= UINT64_C(1) << i;
    if (n == 1) FAC_TRY(sum_out(&operands[0], open));
    for (int i = 1; i < n; i++) {
        uint64_t mask = open;
        for (int j = i + 1; j < n; j++)
            for (int d = e.nout; d < e.n; d++)
                if (operands[j]->sizes[d] != 1) mask &= ~(UINT64_C(1) << d);
        FAC_TRY(contract(&operands[0], operands[i], mask));
        open &= ~mask;
    }
    FAC_TRY(fac_op_reshape(operands[0], fac_v_ints(operands[0]->sizes, e.nout), &out));
    call->results[0] = fac_v_tensor(out);
done:
    for (int i = 0; i < n; i++) fac_tensor_release(operands[i]);
    return st;
}
