/* target.h - what is written: in-place targets, out=, parameters marked (a!). Internal to
 * dispatch/.
 */
#ifndef FAC_DISPATCH_TARGET_H
#define FAC_DISPATCH_TARGET_H

#include "dispatch/dispatch.h"

/* The device of the first tensor that is not 0-d on the CPU, else of the first tensor, else the
 * default device. */
FacDevice fac_call_device(const FacCall *call);

/* Before a call: nothing that it writes is read-only or an inference tensor out of its mode. */
FacStatus fac_check_written(const FacCall *call) FAC_MUST_CHECK;
/* After it: results made aside go to their targets; versions of all that was written are bumped. */
FacStatus fac_finish_written(FacCall *call) FAC_MUST_CHECK;
/* Composites: result i goes to the target by the row copy_, so that it is recorded if need be. */
FacStatus fac_copy_to_target(FacCall *call, int i, FacTensor *target) FAC_MUST_CHECK;
/* Releases the results of a call that failed. */
void fac_drop_results(FacCall *call);

/* Whether two tensors can share memory, and whether they are one and the same layout of it. */
typedef enum FacOverlap {
    FAC_OVERLAP_NONE,
    FAC_OVERLAP_SAME,
    FAC_OVERLAP_PARTIAL,
    FAC_OVERLAP_UNKNOWN
} FacOverlap;
FacOverlap fac_overlap(const FacTensor *a, const FacTensor *b);
/* The peer's errors for a tensor that is written though its elements share memory, with themselves
 * or with those of another tensor argument. */
FacStatus fac_check_overlap(const FacCall *call, const FacTensor *target) FAC_MUST_CHECK;

#endif
