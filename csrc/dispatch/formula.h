/* formula.h - what the C code that tools/opgen makes from formulas calls.
 *
 * Ownership in generated functions: results of fac_call and of helpers lie in an array `t`, and a slot
 * of `t` owns its tensor or list of tensors whatever its flags say; everything else that the code
 * handles is borrowed. At the end fac_formula_release frees the whole array. Results leave by
 * fac_formula_move (which empties the slot) or as owning copies by fac_value_keep.
 *
 * Numbers are computed with as values: what a formula does with them is a few additions and
 * comparisons a call of an operator.
 */
#ifndef FAC_DISPATCH_FORMULA_H
#define FAC_DISPATCH_FORMULA_H

#include "dispatch/dispatch.h"

void fac_formula_release(FacValue *t, int n);
static inline void
fac_formula_move(FacValue *slot, FacValue *out)
{
    *out = *slot;
    *slot = FAC_VALUE_NONE;
}
/* Results of typed functions: moved to `out`, or dropped when it is NULL. */
void fac_formula_take(FacValue *result, FacValue *out);
void fac_formula_take_tensor(FacValue *result, FacTensor **out);

static inline FacValue
fac_formula_generator(FacGenerator *generator)
{
    return (FacValue){.tag = generator ? FAC_V_GENERATOR : FAC_V_NONE, .v.generator = generator};
}
/* An operand as a tensor, a new reference: a number becomes a 0-d tensor of the widest dtype of its
 * kind, which promotes as the number does. */
FacStatus fac_formula_tensor(FacValue operand, FacValue *out) FAC_MUST_CHECK;

/* Lists. Items and slices are borrowed from the list; indices count from the end when negative, and
 * an end of a slice may be None. */
FacStatus fac_formula_item(FacValue list, FacValue index, FacValue *out) FAC_MUST_CHECK;
FacValue fac_formula_slice(FacValue list, FacValue start, FacValue stop);
int64_t fac_formula_numel(FacValue sizes);

/* Python's + - * / // % ** on numbers of any kind, but that ints divided by zero give 0. `room` holds
 * a complex result; NULL where there can be none. */
FacValue fac_formula_arithmetic(FacValue a, const char *sign, FacValue b, double room[2]);
/* == != < <= > >= on numbers of any kind; order is that of real parts. */
bool fac_formula_compare(FacValue a, const char *sign, FacValue b);
/* Equality of strings, dtypes, devices, layouts, formats, and lists of ints; None equals None. */
bool fac_formula_equal(FacValue a, FacValue b);

#endif
