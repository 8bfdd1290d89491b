/* index.c - the geometry of indexing.
 *
 * Both halves work on sizes alone and never touch elements: the layout of a basic view, and the
 * plan of an advanced index. A plan keeps each index tensor as a part that covers one dimension
 * or, for a mask, several; kernels turn each part into a list of byte offsets, so that masks
 * and numbers meet as the same thing and no mask is expanded into one index tensor a dimension.
 */
#include "tensor/index.h"

#include "tensor/layout.h"

FacStatus
fac_index_range_error(int64_t index, int dim, FacDim size)
{
    return fac_error(FAC_INDEX_ERROR, "index %lld is out of bounds for dimension %d with size %lld",
                     (long long)index, dim, (long long)size);
}

/* --- basic ----------------------------------------------------------------------------------- */

static bool
slice_fits(FacDim start, FacDim step, FacDim count, FacDim size)
{
    FacDim span, last;
    if (count < 0 || count > size) return false;
    if (count == 0) return true;
    if (__builtin_mul_overflow(count - 1, step, &span) ||
        __builtin_add_overflow(start, span, &last))
        return false;
    return start >= 0 && start < size && last >= 0 && last < size;
}

FacStatus
fac_index_layout(const FacTensor *t, int n, const int64_t *spec, FacLayout *out)
{
    int d = 0, ndim = 0;
    int64_t offset = t->offset;
    if (n % FAC_INDEX_STRIDE)
        return fac_error(FAC_VALUE_ERROR, "the items of an index are triples, not %d numbers", n);
    for (int i = 0; i < n; i += FAC_INDEX_STRIDE) {
        FacDim start = spec[i], step = spec[i + 1], count = spec[i + 2];
        bool consumes = step != 0 || count == FAC_INDEX_SELECT;
        if (consumes && d == t->ndim)
            return fac_error(FAC_INDEX_ERROR, "too many indices for tensor of dimension %d",
                             t->ndim);
        if (count != FAC_INDEX_SELECT && ndim == FAC_MAX_NDIM) goto too_many;
        if (!consumes) {
            out->sizes[ndim] = 1;
            out->strides[ndim++] = d < t->ndim ? fac_stride_product(t->sizes[d], t->strides[d]) : 1;
        } else if (count == FAC_INDEX_SELECT) {
            if (start < 0 || start >= t->sizes[d])
                return fac_index_range_error(start, d, t->sizes[d]);
            offset += t->numel ? start * t->strides[d] : 0;
            d++;
        } else {
            if (!slice_fits(start, step, count, t->sizes[d]))
                return fac_error(FAC_INDEX_ERROR,
                                 "%lld elements from %lld in steps of %lld are out of bounds for "
                                 "dimension %d with size %lld",
                                 (long long)count, (long long)start, (long long)step, d,
                                 (long long)t->sizes[d]);
            if (count && t->numel) offset += start * t->strides[d];
            out->sizes[ndim] = count;
            out->strides[ndim++] = fac_stride_product(t->strides[d++], step);
        }
    }
    if (ndim + t->ndim - d > FAC_MAX_NDIM) goto too_many;
    for (; d < t->ndim; d++, ndim++) {
        out->sizes[ndim] = t->sizes[d];
        out->strides[ndim] = t->strides[d];
    }
    out->ndim = ndim;
    out->offset = offset;
    return FAC_OK;
too_many:
    return fac_error(FAC_INDEX_ERROR, "the result of an index has at most %d dimensions",
                     FAC_MAX_NDIM);
}

/* --- advanced -------------------------------------------------------------------------------- */

static FacStatus
check_mask(const FacTensor *self, int dim, const FacTensor *mask)
{
    FacText want = {.len = 0}, have = {.len = 0};
    for (int i = 0; i < mask->ndim; i++) {
        if (mask->sizes[i] == self->sizes[dim + i]) continue;
        fac_text_dims(&have, mask->ndim, mask->sizes);
        fac_text_dims(&want, self->ndim, self->sizes);
        return fac_error(FAC_INDEX_ERROR,
                         "The shape of the mask %s at index %d does not match the shape of the "
                         "indexed tensor %s at index %d",
                         have.at, i, want.at, dim + i);
    }
    return FAC_OK;
}

FacStatus
fac_index_plan(const FacTensor *self, int n, FacTensor *const *indices, FacIndexPlan *plan)
{
    int d = 0;
    bool adjacent = true;
    plan->nparts = plan->nmasks = plan->nrest = plan->before = 0;
    for (int i = 0; i < n; i++) {
        FacTensor *index = indices[i];
        bool mask = index && fac_is_mask_dtype(index->dtype);
        int covers = mask ? index->ndim : 1;
        if (d + covers > self->ndim || plan->nparts == FAC_MAX_NDIM)
            return fac_error(FAC_INDEX_ERROR, "too many indices for tensor of dimension %d",
                             self->ndim);
        if (!index) {
            plan->rest[plan->nrest++] = d++;
            continue;
        }
        if (!FAC_IS_INT(index->dtype))
            return fac_error(FAC_INDEX_ERROR,
                             "tensors used as indices must be of an integer dtype or bool, not %s",
                             fac_dtype_info[index->dtype].name);
        if (mask) FAC_RETURN_IF_ERROR(check_mask(self, d, index));
        if (plan->nparts == 0)
            plan->before = plan->nrest;
        else
            adjacent &= plan->nrest == plan->before;
        plan->nmasks += mask;
        plan->part[plan->nparts++] = (FacIndexPart){index, d, covers, mask};
        d += covers;
    }
    if (!adjacent) plan->before = 0;
    for (; d < self->ndim; d++) plan->rest[plan->nrest++] = d;
    return FAC_OK;
}

static FacStatus
broadcast_error(const FacIndexPlan *plan, const int64_t *counts)
{
    FacText text = {.len = 0};
    for (int p = 0; p < plan->nparts; p++) {
        const FacIndexPart *part = &plan->part[p];
        if (p) fac_text_add(&text, ", ");
        if (part->mask)
            fac_text_dims(&text, 1, &counts[p]);
        else
            fac_text_dims(&text, part->index->ndim, part->index->sizes);
    }
    return fac_error(FAC_INDEX_ERROR,
                     "shape mismatch: indexing tensors could not be broadcast together with shapes "
                     "%s",
                     text.at);
}

FacStatus
fac_index_plan_sizes(const FacTensor *self, const int64_t *counts, FacIndexPlan *plan)
{
    FacDim *have = plan->index_sizes; /* right-aligned while it grows */
    int ndim = 0, out = 0;
    for (int p = 0; p < plan->nparts; p++) {
        const FacIndexPart *part = &plan->part[p];
        int n = part->mask ? 1 : part->index->ndim;
        const FacDim *sizes = part->mask ? &counts[p] : part->index->sizes;
        if (n > ndim) {
            for (int i = ndim - 1; i >= 0; i--) have[i + n - ndim] = have[i];
            for (int i = 0; i < n - ndim; i++) have[i] = 1;
            ndim = n;
        }
        for (int i = 0; i < n; i++) {
            FacDim *at = &have[ndim - n + i];
            if (*at != sizes[i] && *at != 1 && sizes[i] != 1) return broadcast_error(plan, counts);
            if (*at == 1) *at = sizes[i];
        }
    }
    if (ndim + plan->nrest > FAC_MAX_NDIM)
        return fac_error(FAC_INDEX_ERROR, "the result of an index has at most %d dimensions",
                         FAC_MAX_NDIM);
    for (int i = 0; i < plan->before; i++) plan->sizes[out++] = self->sizes[plan->rest[i]];
    for (int i = 0; i < ndim; i++) plan->sizes[out++] = have[i];
    for (int i = plan->before; i < plan->nrest; i++)
        plan->sizes[out++] = self->sizes[plan->rest[i]];
    plan->index_ndim = ndim;
    plan->ndim = out;
    return fac_sizes_numel(ndim, have, &plan->index_numel);
}

void
fac_index_plan_dim(const FacTensor *self, int dim, FacTensor *index, FacIndexPlan *plan)
{
    plan->nparts = 1;
    plan->nmasks = 0;
    plan->nrest = 0;
    plan->before = self->ndim ? dim : 0;
    plan->part[0] = (FacIndexPart){index, dim, 1, false};
    for (int d = 0; d < self->ndim; d++)
        if (d != dim) plan->rest[plan->nrest++] = d;
    plan->index_ndim = 1;
    plan->index_sizes[0] = plan->index_numel = index->numel;
    plan->ndim = self->ndim;
    for (int d = 0; d < self->ndim; d++) plan->sizes[d] = self->sizes[d];
    if (self->ndim) plan->sizes[dim] = index->numel;
}
