/* schema.c - the schema of an operator that is registered at run time, from text to a row.
 *
 *     ns::name.overload(Tensor(a!) self, int[2] size=1, *, float? eps=None) -> (Tensor, Tensor)
 *
 * The grammar is that of the declarations (docs/operators.md), which opgen reads at build time. One
 * pass with a cursor; an error says what was expected and shows the rest of the text. Everything
 * that the row points to afterwards is the row's own, and fac_schema_free gives it back.
 */
#include "dispatch/dispatch.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

typedef struct Parser {
    const char *at;
} Parser;

static FacStatus
expected(const Parser *p, const char *what)
{
    return fac_error(FAC_VALUE_ERROR, "the schema is not valid: expected %s at \"%s\"", what,
                     p->at);
}

static void
skip_space(Parser *p)
{
    while (isspace((unsigned char)*p->at)) p->at++;
}

static bool
take(Parser *p, const char *text)
{
    size_t n = strlen(text);
    skip_space(p);
    if (strncmp(p->at, text, n) != 0) return false;
    p->at += n;
    return true;
}

static bool
is_word_char(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

/* Whether the next word is `word`, and if so goes past it. */
static bool
take_word(Parser *p, const char *word)
{
    const char *before = p->at;
    if (take(p, word) && !is_word_char(*p->at)) return true;
    p->at = before;
    return false;
}

static FacStatus
copy_text(const char *from, size_t n, const char **out)
{
    char *copy = fac_mem_alloc(n + 1);
    if (!copy) return fac_mem_error(n + 1);
    memcpy(copy, from, n);
    copy[n] = 0;
    *out = copy;
    return FAC_OK;
}

static FacStatus
parse_word(Parser *p, const char *what, const char **out)
{
    skip_space(p);
    size_t n = 0;
    while (is_word_char(p->at[n])) n++;
    if (n == 0 || isdigit((unsigned char)*p->at)) return expected(p, what);
    const char *from = p->at;
    p->at += n;
    return copy_text(from, n, out);
}

/* --- types ------------------------------------------------------------------------------------ */

static FacStatus
parse_base(Parser *p, uint8_t *type)
{
    static const struct {
        const char *text;
        FacType type;
    } types[] = {
#define TYPE_TEXT(name, text) {text, FAC_TYPE_##name},
        FAC_TYPE_LIST(TYPE_TEXT)
#undef TYPE_TEXT
            {"SymInt", FAC_TYPE_INT},
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (take_word(p, types[i].text)) {
            *type = (uint8_t)types[i].type;
            return FAC_OK;
        }
    return expected(p, "a type");
}

/* "(a)" or "(a!)" after a type. */
static FacStatus
parse_alias(Parser *p, FacParam *param)
{
    if (!take(p, "(")) return FAC_OK;
    skip_space(p);
    if (!isalpha((unsigned char)*p->at)) return expected(p, "a letter that names the alias");
    param->alias = *p->at++;
    param->flags |= take(p, "!") ? FAC_P_WRITE : FAC_P_ALIAS;
    return take(p, ")") ? FAC_OK : expected(p, "')'");
}

static FacStatus
parse_type(Parser *p, FacParam *param)
{
    FAC_RETURN_IF_ERROR(parse_base(p, &param->type));
    FAC_RETURN_IF_ERROR(parse_alias(p, param));
    bool optional = take(p, "?");
    if (!take(p, "[")) {
        if (optional) param->flags |= FAC_P_OPTIONAL;
        return FAC_OK;
    }
    param->flags |= FAC_P_LIST;
    if (optional) param->flags |= FAC_P_OPTIONAL_ITEM;
    skip_space(p);
    if (isdigit((unsigned char)*p->at)) {
        char *end;
        long length = strtol(p->at, &end, 10);
        if (length < 1 || length > FAC_MAX_NDIM) return expected(p, "a length from 1 to 64");
        param->length = (uint8_t)length;
        p->at = end;
    }
    if (!take(p, "]")) return expected(p, "']'");
    if (take(p, "?")) param->flags |= FAC_P_OPTIONAL;
    return FAC_OK;
}

/* --- defaults --------------------------------------------------------------------------------- */

static FacStatus
parse_number(Parser *p, FacType type, FacValue *out)
{
    char *end_int, *end_float;
    skip_space(p);
    bool truth = take_word(p, "True");
    if (truth || take_word(p, "False")) {
        *out = fac_v_bool(truth);
        return FAC_OK;
    }
    int64_t i = strtoll(p->at, &end_int, 10);
    double f = strtod(p->at, &end_float);
    if (end_float == p->at) return expected(p, "a number");
    bool whole = end_int == end_float && type != FAC_TYPE_FLOAT;
    *out = whole ? fac_v_int(i) : fac_v_float(f);
    p->at = end_float;
    return FAC_OK;
}

static FacStatus
parse_quoted(Parser *p, FacValue *out)
{
    char quote = *p->at++;
    const char *end = strchr(p->at, quote), *copy = NULL;
    if (!end) return expected(p, "the end of the string");
    FAC_RETURN_IF_ERROR(copy_text(p->at, (size_t)(end - p->at), &copy));
    *out = fac_v_str(copy);
    out->flags = FAC_VALUE_OWNED;
    p->at = end + 1;
    return FAC_OK;
}

static FacStatus
parse_constant(Parser *p, FacValue *out)
{
    static const struct {
        const char *text;
        uint8_t tag;
        int value;
    } constants[] = {{"contiguous_format", FAC_V_FORMAT, FAC_CONTIGUOUS},
                     {"preserve_format", FAC_V_FORMAT, FAC_PRESERVE},
                     {"channels_last_3d", FAC_V_FORMAT, FAC_CHANNELS_LAST_3D},
                     {"channels_last", FAC_V_FORMAT, FAC_CHANNELS_LAST},
                     {"strided", FAC_V_LAYOUT, FAC_STRIDED},
#define DTYPE_CONSTANT(name, text, bytes, kind) {text, FAC_V_DTYPE, FAC_DT_##name},
                     FAC_DTYPE_LIST(DTYPE_CONSTANT)
#undef DTYPE_CONSTANT
    };
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++)
        if (take_word(p, constants[i].text)) {
            *out = (FacValue){.tag = constants[i].tag, .v.i = constants[i].value};
            return FAC_OK;
        }
    return expected(p, "a constant");
}

/* A list of ints, floats or bools as an owned value; a single item stands for `length` of them. */
static FacStatus
keep_list(FacType type, int n, const FacValue *items, FacValue *out)
{
    int64_t ints[FAC_MAX_NDIM];
    double floats[FAC_MAX_NDIM];
    bool bools[FAC_MAX_NDIM];
    FacValue list = {.len = (uint32_t)n};
    for (int i = 0; i < n; i++) {
        ints[i] = fac_v_as_int(items[i]);
        floats[i] = fac_v_as_float(items[i]);
        bools[i] = fac_v_is_true(items[i]);
    }
    switch (type) {
    case FAC_TYPE_INT:
        list.tag = FAC_V_INTS;
        list.v.ints = ints;
        break;
    case FAC_TYPE_FLOAT:
        list.tag = FAC_V_FLOATS;
        list.v.floats = floats;
        break;
    case FAC_TYPE_BOOL:
        list.tag = FAC_V_BOOLS;
        list.v.bools = bools;
        break;
    case FAC_TYPE_TENSOR:
        list.tag = FAC_V_TENSORS;
        list.len = 0;
        break;
    default:
        list.tag = FAC_V_VALUES;
        list.v.values = items;
        break;
    }
    return fac_value_keep(list, out);
}

static FacStatus
parse_list(Parser *p, const FacParam *param, FacValue *out)
{
    FacValue items[FAC_MAX_NDIM];
    int n = 0;
    if (!take(p, "[")) {
        FAC_RETURN_IF_ERROR(parse_number(p, (FacType)param->type, &items[0]));
        for (n = 1; n < param->length; n++) items[n] = items[0];
        return keep_list((FacType)param->type, n, items, out);
    }
    while (!take(p, "]")) {
        if (n == FAC_MAX_NDIM || (n && !take(p, ","))) return expected(p, "']'");
        FAC_RETURN_IF_ERROR(parse_number(p, (FacType)param->type, &items[n++]));
    }
    return keep_list((FacType)param->type, n, items, out);
}

static FacStatus
parse_default(Parser *p, FacParam *param)
{
    param->flags |= FAC_P_DEFAULT;
    if (take_word(p, "None")) return FAC_OK;
    if (param->flags & FAC_P_LIST) return parse_list(p, param, &param->fallback);
    skip_space(p);
    if (*p->at == '"' || *p->at == '\'') return parse_quoted(p, &param->fallback);
    switch ((FacType)param->type) {
    case FAC_TYPE_DTYPE:
    case FAC_TYPE_LAYOUT:
    case FAC_TYPE_FORMAT: return parse_constant(p, &param->fallback);
    default: return parse_number(p, (FacType)param->type, &param->fallback);
    }
}

/* --- parameters and results ------------------------------------------------------------------- */

static FacStatus
parse_params(Parser *p, FacOp *op, FacParam *params)
{
    bool keyword = false;
    if (!take(p, "(")) return expected(p, "'('");
    while (!take(p, ")")) {
        if ((op->nparams || keyword) && !take(p, ",")) return expected(p, "',' or ')'");
        if (take(p, "*")) {
            if (keyword) return expected(p, "a parameter: '*' stands once only");
            keyword = true;
            continue;
        }
        if (op->nparams == FAC_MAX_PARAMS) return expected(p, "at most 64 parameters");
        FacParam *param = &params[op->nparams++];
        FAC_RETURN_IF_ERROR(parse_type(p, param));
        FAC_RETURN_IF_ERROR(parse_word(p, "the name of a parameter", &param->name));
        if (take(p, "=")) FAC_RETURN_IF_ERROR(parse_default(p, param));
        if (keyword)
            param->flags |= FAC_P_KEYWORD;
        else
            op->npositional = op->nparams;
        if (param->flags & FAC_P_WRITE) op->flags |= FAC_OP_WRITES;
    }
    return FAC_OK;
}

static FacStatus
parse_result(Parser *p, FacOp *op, FacParam *results)
{
    if (op->nresults == FAC_MAX_RESULTS) return expected(p, "at most 16 results");
    FacParam *result = &results[op->nresults++];
    FAC_RETURN_IF_ERROR(parse_type(p, result));
    if (result->flags & FAC_P_LIST) op->flags |= FAC_OP_LIST_RESULT;
    skip_space(p);
    if (isalpha((unsigned char)*p->at) || *p->at == '_')
        return parse_word(p, "the name of a result", &result->name);
    return copy_text("", 0, &result->name);
}

static FacStatus
parse_results(Parser *p, FacOp *op, FacParam *results)
{
    if (!take(p, "->")) return expected(p, "'->'");
    if (!take(p, "(")) {
        FAC_RETURN_IF_ERROR(parse_result(p, op, results));
    } else {
        while (!take(p, ")")) {
            if (op->nresults && !take(p, ",")) return expected(p, "',' or ')'");
            FAC_RETURN_IF_ERROR(parse_result(p, op, results));
        }
    }
    skip_space(p);
    return *p->at ? expected(p, "the end") : FAC_OK;
}

static FacStatus
parse_name(Parser *p, FacOp *op)
{
    FAC_RETURN_IF_ERROR(parse_word(p, "the name of the operator", &op->name));
    if (take(p, "::")) {
        op->ns = op->name;
        op->name = NULL;
        FAC_RETURN_IF_ERROR(parse_word(p, "the name of the operator", &op->name));
    } else {
        FAC_RETURN_IF_ERROR(copy_text("user", 4, &op->ns));
    }
    if (take(p, ".")) return parse_word(p, "the name of the overload", &op->overload);
    return copy_text("", 0, &op->overload);
}

/* "values indices", where every one of several results has a name. */
static FacStatus
join_result_names(FacOp *op)
{
    char text[512];
    size_t n = 0;
    for (int i = 0; i < op->nresults; i++) {
        const char *name = op->results[i].name;
        size_t len = strlen(name);
        if (op->nresults < 2 || !len || n + len + 2 > sizeof text) return FAC_OK;
        if (i) text[n++] = ' ';
        memcpy(text + n, name, len);
        n += len;
    }
    return n ? copy_text(text, n, &op->result_names) : FAC_OK;
}

FacStatus
fac_schema_parse(const char *schema, FacOp *op)
{
    Parser p = {schema};
    FacStatus st = FAC_OK;
    FacParam *params = fac_mem_zalloc(FAC_MAX_PARAMS * sizeof *params);
    FacParam *results = fac_mem_zalloc(FAC_MAX_RESULTS * sizeof *results);
    op->params = params;
    op->results = results;
    op->nparams = op->npositional = op->nresults = 0;
    if (!params || !results) FAC_TRY(fac_mem_error(FAC_MAX_PARAMS * sizeof *params));
    FAC_TRY(copy_text(schema, strlen(schema), &op->schema));
    FAC_TRY(parse_name(&p, op));
    FAC_TRY(parse_params(&p, op, params));
    FAC_TRY(parse_results(&p, op, results));
    FAC_TRY(join_result_names(op));
done:
    if (st != FAC_OK) fac_schema_free(op);
    return st;
}

static void
free_params(const FacParam *params, int n)
{
    for (int i = 0; i < n; i++) {
        FacValue fallback = params[i].fallback;
        fac_value_release(&fallback);
        fac_mem_free((void *)params[i].name);
    }
    fac_mem_free((void *)params);
}

void
fac_schema_free(FacOp *op)
{
    free_params(op->params, op->nparams);
    free_params(op->results, op->nresults);
    fac_mem_free((void *)op->name);
    fac_mem_free((void *)op->overload);
    fac_mem_free((void *)op->ns);
    fac_mem_free((void *)op->schema);
    fac_mem_free((void *)op->result_names);
    op->params = op->results = NULL;
    op->name = op->overload = op->ns = op->schema = op->result_names = NULL;
    op->nparams = op->nresults = 0;
}
