/* nonfinite.h - NaN and infinities: whether a tensor holds one, and the layer that stops at the call
 * where the first one is born.
 *
 * Born means: it is in the result, or in what the call wrote to, and was not in an argument. A call
 * that is given an infinity, as a number or within a tensor, may pass infinities on, but not make
 * NaN of them unnoticed.
 */
#ifndef FAC_LAYERS_NONFINITE_H
#define FAC_LAYERS_NONFINITE_H

#include "dispatch/dispatch.h"

/* Integers, and tensors without data, hold neither. */
FacStatus fac_find_nonfinite(const FacTensor *t, bool *nan, bool *inf) FAC_MUST_CHECK;

enum { FAC_TRIP_NAN = 1, FAC_TRIP_INF = 2 };
/* What happens then: the status is that of the call. */
typedef FacStatus (*FacTripped)(const FacCall *call, FacValue found, bool nan);
/* Sets or clears the tripwire of this thread; what it was. */
unsigned fac_tripwire_set(unsigned kinds, FacTripped tripped);

#endif
