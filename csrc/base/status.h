/* status.h - failures and warnings. The codes and fac_error are in facula.h; this adds what only
 * the core uses: text that grows (shapes, lists of names) and warnings that can become errors.
 */
#ifndef FAC_BASE_STATUS_H
#define FAC_BASE_STATUS_H

#include "facula.h"

#include <stdarg.h>

FacStatus fac_error_v(FacStatus code, const char *format, va_list args);
const char *fac_status_python_class(FacStatus code);

/* Prefixes "where: " to this thread's message, once a call: dispatch adds the operator's name. */
void fac_error_prefix(const char *where);

typedef enum FacWarning {
    FAC_WARN_USER,        /* UserWarning */
    FAC_WARN_DEPRECATION, /* DeprecationWarning */
    FAC_WARN_RUNTIME,     /* RuntimeWarning */
} FacWarning;

/* FAC_FOREIGN when the warning became an exception; without a hook it goes to stderr, once. */
FacStatus fac_warn(FacWarning kind, const char *format, ...) FAC_PRINTF(2, 3) FAC_MUST_CHECK;
typedef FacStatus (*FacWarnHook)(FacWarning kind, const char *message);
void fac_set_warn_hook(FacWarnHook hook);

/* A bounded text under construction, for messages: cut with "..." rather than overflown. */
typedef struct FacText {
    char at[512];
    size_t len;
} FacText;
void fac_text_add(FacText *text, const char *format, ...) FAC_PRINTF(2, 3);
/* "[2, 3, 4]", as Python prints a list. */
void fac_text_dims(FacText *text, int n, const FacDim *dims);

#endif
