/* transform.h - what the layer of transforms does with a call, by the kind of level. Internal to
 * layers/.
 *
 * Each function gets a call of which at least one tensor belongs to `level`, or a random one in a
 * batch, with `level` visible; it runs what lies below with `level->below` visible.
 */
#ifndef FAC_LAYERS_TRANSFORM_H
#define FAC_LAYERS_TRANSFORM_H

#include "layers/level.h"

FacStatus fac_run_gradient(FacCall *call, FacLevel *level) FAC_MUST_CHECK;
FacStatus fac_run_forward(FacCall *call, FacLevel *level) FAC_MUST_CHECK; /* forward.c */
FacStatus fac_run_batch(FacCall *call, FacLevel *level) FAC_MUST_CHECK;   /* batch.c */

/* --- tangent.c: tangents and views. With what lies below `level` visible ---------------------- */

/* fac_inherit_tangent for every tensor of the call. */
FacStatus fac_inherit_tangents(const FacCall *call, const FacLevel *level) FAC_MUST_CHECK;
/* The tangent of t gets the strides of t: before a view of both is taken. */
FacStatus fac_lay_out_tangent(FacTensor *t, const FacLevel *level) FAC_MUST_CHECK;
/* The tangent of a tensor that the call writes (borrowed), made of zeros if it has none. */
FacStatus fac_tangent_to_write(const FacCall *call, FacTensor *t, const FacLevel *level,
                               FacTensor **out) FAC_MUST_CHECK;

/* --- transform.c ------------------------------------------------------------------------------ */

/* Every argument and target that is a wrapper of the level becomes its value. */
FacStatus fac_unwrap_call(const FacCall *call, FacLevel *level, FacMapped *out) FAC_MUST_CHECK;
/* The results, values of a call below, become those of `call`: what is the value of an
 * argument or target becomes that wrapper, everything else is wrapped anew. */
FacStatus fac_wrap_results(FacCall *call, FacLevel *level) FAC_MUST_CHECK;
/* The written wrappers of the call take over the layouts of their values. */
FacStatus fac_follow_written(const FacCall *call, const FacLevel *level) FAC_MUST_CHECK;

/* Visits what a call writes to: in-place and out= targets, and parameters marked (a!). */
typedef FacStatus (*FacWrittenVisit)(void *context, FacTensor *t);
FacStatus fac_visit_written(const FacCall *call, FacWrittenVisit visit,
                            void *context) FAC_MUST_CHECK;

#endif
