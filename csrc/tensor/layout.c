/* layout.c - arithmetic on sizes and strides.
 *
 * Everything works on plain arrays, so the rules of the meta device, the views and the iterator
 * share one definition of what a shape can do. Two ideas carry most of the file: products are
 * taken with overflow checks, a zero size counting as one so that strides stay sound too; and
 * "the order of the dimensions in memory" is an insertion sort by stride in which stride 0 and
 * ties leave the order undecided, which is what makes results keep the order of their inputs.
 */
#include "tensor/layout.h"

#include "tensor/tensor.h"

/* --- products --------------------------------------------------------------------------------- */

static FacStatus
negative_size_error(int ndim, const FacDim *sizes)
{
    FacText text = {.len = 0};
    FacDim bad = 0;
    for (int i = ndim - 1; i >= 0; i--)
        if (sizes[i] < 0) bad = sizes[i];
    fac_text_dims(&text, ndim, sizes);
    return fac_error(FAC_RUNTIME_ERROR, "Trying to create tensor with negative dimension %lld: %s",
                     (long long)bad, text.at);
}

FacStatus
fac_sizes_overflow(int ndim, const FacDim *sizes)
{
    FacText text = {.len = 0};
    fac_text_dims(&text, ndim, sizes);
    return fac_error(FAC_RUNTIME_ERROR, "Storage size calculation overflowed with sizes=%s",
                     text.at);
}

FacStatus
fac_sizes_numel(int ndim, const FacDim *sizes, int64_t *out)
{
    int64_t product = 1;
    bool empty = false, overflow = false, negative = false;
    for (int i = 0; i < ndim; i++) {
        empty |= sizes[i] == 0;
        negative |= sizes[i] < 0;
        overflow |= __builtin_mul_overflow(product, sizes[i] ? sizes[i] : 1, &product);
    }
    if (negative) return negative_size_error(ndim, sizes);
    if (overflow) return fac_sizes_overflow(ndim, sizes);
    *out = empty ? 0 : product;
    return FAC_OK;
}

bool
fac_layout_reach(int ndim, const FacDim *sizes, const FacDim *strides, int64_t *low, int64_t *high)
{
    bool bad = false;
    *low = *high = 0;
    for (int i = 0; i < ndim; i++)
        if (sizes[i] == 0) return true;
    for (int i = 0; i < ndim; i++) {
        int64_t step;
        bad |= __builtin_mul_overflow(sizes[i] - 1, strides[i], &step);
        bad |= __builtin_add_overflow(*(step < 0 ? low : high), step, step < 0 ? low : high);
    }
    return !bad;
}

void
fac_strides_contiguous(int ndim, const FacDim *sizes, FacDim *strides)
{
    FacDim stride = 1;
    for (int i = ndim - 1; i >= 0; i--) {
        strides[i] = stride; /* wraps: sizes that are too large are refused later */
        stride = (FacDim)((uint64_t)stride * (uint64_t)(sizes[i] > 1 ? sizes[i] : 1));
    }
}

/* --- memory formats --------------------------------------------------------------------------- */

/* The dimensions of a channels-last layout from the innermost on: C, then the spatial ones from
 * the last, then N. Works for a missing N (ndim one less) too. */
static int
channels_last_order(FacMemoryFormat format, int ndim, int order[5])
{
    int full = format == FAC_CHANNELS_LAST_3D ? 5 : 4;
    if (ndim != full && ndim != full - 1) return 0;
    int channel = ndim == full ? 1 : 0, n = 0;
    order[n++] = channel;
    for (int d = ndim - 1; d > channel; d--) order[n++] = d;
    if (ndim == full) order[n++] = 0;
    return n;
}

void
fac_strides_format(FacMemoryFormat format, int ndim, const FacDim *sizes, FacDim *strides)
{
    int order[5], n = 0;
    if (format == FAC_CHANNELS_LAST || format == FAC_CHANNELS_LAST_3D)
        n = channels_last_order(format, ndim, order);
    if (n == 0) {
        fac_strides_contiguous(ndim, sizes, strides);
        return;
    }
    FacDim stride = 1;
    for (int i = 0; i < n; i++) { /* an empty size gives stride 0 outside of it, as the peer's */
        strides[order[i]] = stride;
        stride = fac_stride_product(stride, sizes[order[i]]);
    }
}

bool
fac_is_contiguous(int ndim, const FacDim *sizes, const FacDim *strides)
{
    FacDim expected = 1;
    bool matches = true;
    for (int i = ndim - 1; i >= 0; i--) {
        if (sizes[i] == 0) return true;
        if (sizes[i] == 1) continue;
        matches = matches && strides[i] == expected;
        if (matches) expected = fac_stride_product(expected, sizes[i]);
    }
    return matches;
}

bool
fac_is_format(FacMemoryFormat format, int ndim, const FacDim *sizes, const FacDim *strides)
{
    if (format == FAC_CONTIGUOUS) return fac_is_contiguous(ndim, sizes, strides);
    if (format == FAC_PRESERVE) return true;
    if (ndim != (format == FAC_CHANNELS_LAST ? 4 : 5)) return false;
    int order[5], n = channels_last_order(format, ndim, order);
    FacDim expected = 1;
    for (int i = 0; i < n; i++) {
        int d = order[i];
        if (sizes[d] == 1) continue;
        if (strides[d] != expected) return false;
        expected = fac_stride_product(expected, sizes[d]);
    }
    return true;
}

FacMemoryFormat
fac_format_of(int ndim, const FacDim *sizes, const FacDim *strides)
{
    if (ndim != 4 && ndim != 5) return FAC_CONTIGUOUS;
    FacMemoryFormat format = ndim == 4 ? FAC_CHANNELS_LAST : FAC_CHANNELS_LAST_3D;
    int order[5], n = channels_last_order(format, ndim, order);
    if (strides[1] == 0) return FAC_CONTIGUOUS;
    FacDim least = 0;
    for (int i = 0; i < n; i++) {
        int d = order[i];
        if (sizes[d] == 0 || strides[d] < least) return FAC_CONTIGUOUS;
        /* all sizes but N are 1: C order and channels last cannot be told apart; prefer C order */
        if (d == 0 && least == strides[1]) return FAC_CONTIGUOUS;
        least = fac_stride_product(strides[d], sizes[d] > 1 ? sizes[d] : 1);
    }
    return format;
}

/* --- order in memory -------------------------------------------------------------------------- */

static FacDim
magnitude(FacDim x)
{
    return x == INT64_MIN ? INT64_MAX : x < 0 ? -x : x;
}

/* Writes the dims with more than one element, by rising |stride|; returns how many. */
static int
sort_by_stride(int ndim, const FacDim *sizes, const FacDim *strides, int *order)
{
    int n = 0;
    for (int d = ndim - 1; d >= 0; d--) {
        if (sizes[d] <= 1) continue;
        int at = n++;
        for (; at > 0 && magnitude(strides[order[at - 1]]) > magnitude(strides[d]); at--)
            order[at] = order[at - 1];
        order[at] = d;
    }
    return n;
}

bool
fac_is_dense(int ndim, const FacDim *sizes, const FacDim *strides)
{
    if (fac_is_contiguous(ndim, sizes, strides)) return true;
    int order[FAC_MAX_NDIM], n = sort_by_stride(ndim, sizes, strides, order);
    FacDim expected = 1;
    for (int i = 0; i < n; i++) {
        if (strides[order[i]] != expected) return false;
        expected = fac_stride_product(expected, sizes[order[i]]);
    }
    return true;
}

bool
fac_may_overlap_itself(int ndim, const FacDim *sizes, const FacDim *strides)
{
    if (fac_is_contiguous(ndim, sizes, strides)) return false;
    int order[FAC_MAX_NDIM], n = sort_by_stride(ndim, sizes, strides, order);
    FacDim reach = 0; /* farthest element of the dimensions so far */
    for (int i = 0; i < n; i++) {
        FacDim stride = magnitude(strides[order[i]]);
        if (stride <= reach) return true;
        reach += (sizes[order[i]] - 1) * stride;
    }
    return false;
}

bool
fac_repeats_elements(int ndim, const FacDim *sizes, const FacDim *strides)
{
    bool repeats = false;
    for (int i = 0; i < ndim; i++) {
        if (sizes[i] == 0) return false;
        repeats |= sizes[i] > 1 && strides[i] == 0;
    }
    return repeats;
}

void
fac_strides_like(int ndim, const FacDim *sizes, const FacDim *strides, FacDim *out)
{
    if (fac_is_dense(ndim, sizes, strides)) {
        for (int i = 0; i < ndim; i++) out[i] = strides[i];
        return;
    }
    int perm[FAC_MAX_NDIM];
    for (int i = 0; i < ndim; i++) perm[i] = ndim - 1 - i;
    for (int i = 1; i < ndim; i++) {
        int moving = i;
        for (int j = i - 1; j >= 0; j--) {
            int a = perm[j], b = perm[moving];
            FacDim sa = magnitude(strides[a]), sb = magnitude(strides[b]);
            if (sa == 0 || sb == 0 || (sa == sb && sizes[a] <= sizes[b])) continue; /* undecided */
            if (sa < sb) break;
            perm[j] = b;
            perm[moving] = a;
            moving = j;
        }
    }
    FacDim stride = 1;
    for (int i = 0; i < ndim; i++) {
        out[perm[i]] = stride;
        if (sizes[perm[i]] > 1) stride = fac_stride_product(stride, sizes[perm[i]]);
    }
}

/* --- dimensions ------------------------------------------------------------------------------- */

FacStatus
fac_wrap_dim(int64_t dim, int ndim, int *out)
{
    int range = ndim ? ndim : 1; /* a 0-d tensor takes the dimensions of a 1-d one */
    if (dim < -range || dim >= range)
        return fac_error(FAC_INDEX_ERROR,
                         "Dimension out of range (expected to be in range of [%d, %d], "
                         "but got %lld)",
                         -range, range - 1, (long long)dim);
    *out = (int)(dim < 0 ? dim + range : dim);
    return FAC_OK;
}

FacStatus
fac_wrap_dims(const int64_t *dims, int n, int ndim, bool empty_means_all, uint64_t *mask)
{
    uint64_t seen = 0;
    if (n == 0 && empty_means_all) seen = ndim == 64 ? ~UINT64_C(0) : (UINT64_C(1) << ndim) - 1;
    for (int i = 0; i < n; i++) {
        int dim = 0;
        FAC_RETURN_IF_ERROR(fac_wrap_dim(dims[i], ndim, &dim));
        if (seen >> dim & 1)
            return fac_error(FAC_RUNTIME_ERROR, "dim %d appears multiple times in the list of dims",
                             dim);
        seen |= UINT64_C(1) << dim;
    }
    *mask = seen;
    return FAC_OK;
}

/* --- broadcasting ----------------------------------------------------------------------------- */

static int
digits(FacDim n)
{
    int count = n < 0 ? 2 : 1;
    for (; n > 9 || n < -9; n /= 10) count++;
    return count;
}

/* One line of the drawing: right-aligned, each column two characters wider than its numbers. */
static void
draw_sizes(FacText *text, const char *name, int columns, const int *width, int ndim,
           const FacDim *sizes)
{
    int missing = columns - ndim;
    fac_text_add(text, "\n    %s: ", name);
    for (int i = 0; i < missing; i++) fac_text_add(text, "%*s", width[i] + 2, "");
    for (int i = missing; i < columns; i++)
        fac_text_add(text, "%s%*lld", i == missing ? " [" : ", ", width[i],
                     (long long)sizes[i - missing]);
    fac_text_add(text, "]");
}

static FacStatus
broadcast_error(int a_ndim, const FacDim *a, int b_ndim, const FacDim *b, int from_end)
{
    int columns = a_ndim > b_ndim ? a_ndim : b_ndim, width[FAC_MAX_NDIM];
    int bad = columns - 1 - from_end, mark = 9;
    FacText text = {.len = 0};
    for (int i = 0; i < columns; i++) {
        int ia = i - (columns - a_ndim), ib = i - (columns - b_ndim);
        int wa = ia >= 0 ? digits(a[ia]) : 1, wb = ib >= 0 ? digits(b[ib]) : 1;
        width[i] = wa > wb ? wa : wb;
        if (i < bad) mark += width[i] + 2;
    }
    draw_sizes(&text, "a", columns, width, a_ndim, a);
    draw_sizes(&text, "b", columns, width, b_ndim, b);
    fac_text_add(&text, "\n%*s%.*s", mark, "", width[bad], "^^^^^^^^^^^^^^^^^^^^");
    return fac_error(FAC_RUNTIME_ERROR,
                     "The size of tensor a (%lld) must match the size of tensor b (%lld) at "
                     "non-singleton dimension %d%s",
                     (long long)a[a_ndim - 1 - from_end], (long long)b[b_ndim - 1 - from_end], bad,
                     text.at);
}

FacStatus
fac_broadcast(int *ndim, FacDim *sizes, int a_ndim, const FacDim *a_sizes)
{
    int common = *ndim < a_ndim ? *ndim : a_ndim;
    for (int i = 0; i < common; i++) {
        FacDim have = sizes[*ndim - 1 - i], other = a_sizes[a_ndim - 1 - i];
        if (have != other && have != 1 && other != 1)
            return broadcast_error(*ndim, sizes, a_ndim, a_sizes, i);
    }
    if (a_ndim > *ndim) {
        int more = a_ndim - *ndim;
        for (int i = *ndim - 1; i >= 0; i--) sizes[i + more] = sizes[i];
        for (int i = 0; i < more; i++) sizes[i] = a_sizes[i];
        *ndim = a_ndim;
    }
    for (int i = 0; i < common; i++) {
        FacDim *have = &sizes[*ndim - 1 - i];
        if (*have == 1) *have = a_sizes[a_ndim - 1 - i];
    }
    return FAC_OK;
}

/* --- views ------------------------------------------------------------------------------------ */

static FacStatus
infer_error(int n, const int64_t *wanted, int64_t numel)
{
    FacText text = {.len = 0};
    fac_text_dims(&text, n, wanted);
    return fac_error(FAC_RUNTIME_ERROR, "shape '%s' is invalid for input of size %lld", text.at,
                     (long long)numel);
}

FacStatus
fac_infer_size(int n, const int64_t *wanted, int64_t numel, FacDim *out)
{
    int unknown = -1;
    int64_t product = 1;
    bool overflow = false, empty = false;
    for (int i = 0; i < n; i++) {
        out[i] = wanted[i];
        if (wanted[i] == -1) {
            if (unknown >= 0)
                return fac_error(FAC_RUNTIME_ERROR, "only one dimension can be inferred");
            unknown = i;
        } else if (wanted[i] < 0) {
            FacText text = {.len = 0};
            fac_text_dims(&text, n, wanted);
            return fac_error(FAC_RUNTIME_ERROR,
                             "invalid shape dimension %lld at index %d of shape %s",
                             (long long)wanted[i], i, text.at);
        } else {
            empty |= wanted[i] == 0;
            overflow |= __builtin_mul_overflow(product, wanted[i] ? wanted[i] : 1, &product);
        }
    }
    if (empty) product = 0;
    if (overflow) return infer_error(n, wanted, numel);
    if (unknown < 0) return product == numel ? FAC_OK : infer_error(n, wanted, numel);
    if (product == 0 && numel == 0) {
        FacText text = {.len = 0};
        fac_text_dims(&text, n, wanted);
        return fac_error(FAC_RUNTIME_ERROR,
                         "cannot reshape tensor of 0 elements into shape %s because the "
                         "unspecified dimension size -1 can be any value and is ambiguous",
                         text.at);
    }
    if (product == 0 || numel % product) return infer_error(n, wanted, numel);
    out[unknown] = numel / product;
    return FAC_OK;
}

bool
fac_view_strides(int ndim, const FacDim *sizes, const FacDim *strides, int new_ndim,
                 const FacDim *new_sizes, FacDim *new_strides)
{
    bool same = ndim == new_ndim, empty = false;
    for (int i = 0; i < ndim; i++) {
        same = same && sizes[i] == new_sizes[i];
        empty |= sizes[i] == 0;
    }
    if (empty && same) {
        for (int i = 0; i < ndim; i++) new_strides[i] = strides[i];
        return true;
    }
    if (empty || ndim == 0) {
        fac_strides_contiguous(new_ndim, new_sizes, new_strides);
        return true;
    }
    /* Cut the old dimensions into chunks that lie evenly spaced in memory; the new dimensions must
     * fill each chunk exactly. */
    int v = new_ndim - 1, d = ndim - 1;
    while (d >= 0) {
        FacDim step = strides[d], chunk = sizes[d], filled = 1;
        for (d--; d >= 0 && (sizes[d] == 1 || strides[d] == fac_stride_product(chunk, step)); d--)
            chunk *= sizes[d];
        for (; v >= 0 && (filled < chunk || new_sizes[v] == 1); v--) {
            new_strides[v] = fac_stride_product(filled, step);
            filled *= new_sizes[v];
        }
        if (filled != chunk) return false;
    }
    return v < 0;
}
