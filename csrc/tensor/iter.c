/* iter.c - the iteration: operands over one broadcast shape, ordered and merged.
 *
 * Most calls are over contiguous tensors of one shape; they are recognised first and become one
 * row without looking at a stride. Otherwise each dimension with more than one element becomes a
 * column of byte strides; columns are sorted by the strides of the results, then of the operands
 * (a stride of 0 leaves the order open), and neighbours that lie end to end in every operand are
 * merged. Only what is used of the big arrays is written.
 */
#include "tensor/iter.h"

#include "base/pool.h"
#include "tensor/layout.h"
#include "tensor/walk.h"

/* --- building --------------------------------------------------------------------------------- */

static inline void
take_tensor(FacIterOperand *op, const FacTensor *t, FacDType loop_dtype)
{
    op->data = fac_data(t);
    op->dtype = (FacDType)t->dtype;
    op->loop_dtype = loop_dtype == FAC_DT_NONE ? op->dtype : loop_dtype;
    op->conj = t->flags & FAC_T_CONJ;
    op->neg = t->flags & FAC_T_NEG;
    op->is_number = false;
}

static inline void
take_number(FacIterOperand *op, FacValue v, FacDType loop_dtype)
{
    if (loop_dtype == FAC_DT_NONE) loop_dtype = fac_v_dtype_of_number(v);
    loop_dtype = fac_number_dtype(loop_dtype);
    op->data = (char *)op->number;
    op->dtype = op->loop_dtype = loop_dtype;
    op->conj = op->neg = false;
    op->is_number = true;
    fac_v_store(v, loop_dtype, op->number);
}

static inline bool
is_plain(const FacIterOperand *op)
{
    return op->dtype == op->loop_dtype && !op->conj && !op->neg;
}

static inline bool
same_sizes(const FacTensor *a, const FacTensor *b)
{
    if (a->ndim != b->ndim) return false;
    for (int i = 0; i < a->ndim; i++)
        if (a->sizes[i] != b->sizes[i]) return false;
    return true;
}

/* For at most one element: a row in which strides mean nothing. */
static void
make_single(FacIter *it, int64_t numel)
{
    it->ndim = 1;
    it->sizes[0] = it->numel = numel;
    it->contiguous = true;
    for (int k = 0; k < it->noperands; k++) {
        FacIterOperand *op = &it->operand[k];
        op->strides[0] = fac_dtype_size(op->dtype);
        it->contiguous &= is_plain(op);
    }
}

static FacStatus
shape_error(const FacTensor *t, int ndim, const FacDim *sizes)
{
    FacText shape = {.len = 0}, own = {.len = 0};
    fac_text_dims(&shape, ndim, sizes);
    fac_text_dims(&own, t->ndim, t->sizes);
    return fac_error(FAC_RUNTIME_ERROR, "a tensor of shape %s does not broadcast to shape %s",
                     own.at, shape.at);
}

/* Byte strides of t, NULL for a number, over the dimensions of `sizes` that are not in `skip` and
 * have more than one index, innermost first. */
static FacStatus
take_strides(FacIterOperand *op, const FacTensor *t, int ndim, const FacDim *sizes, uint64_t skip)
{
    int more = t ? ndim - t->ndim : 0, n = 0;
    FacDim size = fac_dtype_size(op->dtype);
    if (more < 0) return shape_error(t, ndim, sizes);
    for (int d = ndim - 1; d >= 0; d--) {
        bool spread = !t || d < more || (t->sizes[d - more] == 1 && sizes[d] != 1);
        if (!spread && t->sizes[d - more] != sizes[d]) return shape_error(t, ndim, sizes);
        if (sizes[d] == 1 || skip >> d & 1) continue;
        op->strides[n++] = spread ? 0 : fac_stride_product(t->strides[d - more], size);
    }
    return FAC_OK;
}

/* --- ordering and merging --------------------------------------------------------------------- */

static void
swap_dims(FacIter *it, int a, int b)
{
    FacDim size = it->sizes[a];
    it->sizes[a] = it->sizes[b];
    it->sizes[b] = size;
    for (int k = 0; k < it->noperands; k++) {
        FacDim *strides = it->operand[k].strides, stride = strides[a];
        strides[a] = strides[b];
        strides[b] = stride;
    }
}

/* Below 0: a belongs inside of b; above 0: outside; 0: undecided. */
static int
compare_dims(const FacIter *it, int a, int b)
{
    for (int k = 0; k < it->noperands; k++) {
        FacDim sa = it->operand[k].strides[a], sb = it->operand[k].strides[b];
        if (sa == 0 || sb == 0) continue;
        sa = sa < 0 ? -sa : sa;
        sb = sb < 0 ? -sb : sb;
        if (sa != sb) return sa < sb ? -1 : 1;
        if (it->sizes[a] > it->sizes[b]) return 1;
    }
    return 0;
}

static void
sort_dims(FacIter *it)
{
    for (int i = 1; i < it->ndim; i++) {
        int moving = i;
        for (int j = i - 1; j >= 0; j--) {
            int order = compare_dims(it, j, moving);
            if (order < 0) break;
            if (order == 0) continue;
            swap_dims(it, j, moving);
            moving = j;
        }
    }
}

static void
merge_dims(FacIter *it)
{
    int last = 0;
    for (int d = 1; d < it->ndim; d++) {
        bool joins = true;
        for (int k = 0; k < it->noperands && joins; k++) {
            const FacDim *strides = it->operand[k].strides;
            joins = strides[d] == strides[last] * it->sizes[last];
        }
        if (joins) {
            it->sizes[last] *= it->sizes[d];
        } else if (++last != d) {
            it->sizes[last] = it->sizes[d];
            for (int k = 0; k < it->noperands; k++)
                it->operand[k].strides[last] = it->operand[k].strides[d];
        }
    }
    it->ndim = last + 1;
}

/* Sizes, order and merging, once the strides of all operands are there. */
static void
finish(FacIter *it, int ndim, const FacDim *sizes, uint64_t skip)
{
    int n = 0;
    int64_t numel = 1;
    for (int d = ndim - 1; d >= 0; d--) {
        if (sizes[d] == 1 || skip >> d & 1) continue;
        it->sizes[n++] = sizes[d];
        numel *= sizes[d];
    }
    if (n == 0 || numel == 0) {
        make_single(it, numel);
        return;
    }
    it->ndim = n;
    it->numel = numel;
    sort_dims(it);
    merge_dims(it);
    it->contiguous = it->ndim == 1;
    for (int k = 0; k < it->noperands; k++) {
        const FacIterOperand *op = &it->operand[k];
        it->contiguous &= is_plain(op) && op->strides[0] == fac_dtype_size(op->dtype);
    }
}

static FacStatus
too_many(int n)
{
    return fac_error(FAC_RUNTIME_ERROR, "an iteration takes at most %d operands, not %d",
                     FAC_MAX_OPERANDS, n);
}

/* The common case in one pass: contiguous tensors of one shape, and numbers. False, with nothing
 * decided, where it is anything else. */
static inline bool
init_simple(FacIter *it, int nresults, FacTensor *const *results, int noperands,
            const FacValue *operands, FacDType result_dtype, FacDType compute)
{
    const FacTensor *first = results[0];
    int64_t numel = first->numel;
    bool contiguous = true;
    for (int k = 0; k < nresults + noperands; k++) {
        FacIterOperand *op = &it->operand[k];
        const FacValue *v = k < nresults ? NULL : &operands[k - nresults];
        const FacTensor *t = v ? fac_v_as_tensor(*v) : results[k];
        if (FAC_LIKELY(t != NULL)) {
            if (!t->contiguous || (t != first && !same_sizes(t, first))) return false;
            take_tensor(op, t, v ? compute : result_dtype);
            op->strides[0] = fac_dtype_size(op->dtype);
            contiguous &= is_plain(op);
        } else {
            if (!fac_v_is_number(*v)) return false;
            take_number(op, *v, compute);
            op->strides[0] = numel == 1 ? fac_dtype_size(op->dtype) : 0;
            contiguous &= numel == 1;
        }
    }
    it->ndim = 1;
    it->sizes[0] = it->numel = numel;
    it->contiguous = contiguous;
    return true;
}

FacStatus
fac_iter_init(FacIter *it, int nresults, FacTensor *const *results, int noperands,
              const FacValue *operands, FacDType result_dtype, FacDType compute)
{
    int n = nresults + noperands, ndim = results[0]->ndim;
    const FacDim *sizes = results[0]->sizes;
    if (FAC_UNLIKELY(n > FAC_MAX_OPERANDS)) return too_many(n);
    it->noperands = n;
    it->nresults = nresults;
    it->looked = false;
    it->hit = NULL;
    it->beside = NULL;
    if (init_simple(it, nresults, results, noperands, operands, result_dtype, compute))
        return FAC_OK;
    for (int k = 0; k < n; k++) {
        FacIterOperand *op = &it->operand[k];
        FacValue v = k < nresults ? fac_v_tensor(results[k]) : operands[k - nresults];
        const FacTensor *t = fac_v_as_tensor(v);
        if (t)
            take_tensor(op, t, k < nresults ? result_dtype : compute);
        else if (fac_v_is_number(v))
            take_number(op, v, compute);
        else
            return fac_error(FAC_TYPE_ERROR, "operand %d is neither a tensor nor a number",
                             k - nresults);
        FAC_RETURN_IF_ERROR(take_strides(op, t, ndim, sizes, 0));
    }
    finish(it, ndim, sizes, 0);
    return FAC_OK;
}

FacStatus
fac_iter_init_skip(FacIter *it, int ntensors, FacTensor *const *tensors, int ndim,
                   const FacDim *sizes, uint64_t skip)
{
    if (ntensors > FAC_MAX_OPERANDS) return too_many(ntensors);
    it->noperands = ntensors;
    it->nresults = 0;
    it->looked = false;
    it->hit = NULL;
    it->beside = NULL;
    for (int k = 0; k < ntensors; k++) {
        take_tensor(&it->operand[k], tensors[k], FAC_DT_NONE);
        FAC_RETURN_IF_ERROR(take_strides(&it->operand[k], tensors[k], ndim, sizes, skip));
    }
    finish(it, ndim, sizes, skip);
    return FAC_OK;
}

/* --- rows ------------------------------------------------------------------------------------- */

int64_t
fac_iter_grain(void)
{
    int64_t grain = fac_grain(4);
    return (grain + FAC_BLOCK - 1) / FAC_BLOCK * FAC_BLOCK;
}

typedef struct RowsTask {
    const FacIter *it;
    FacRowBody body;
    void *context;
} RowsTask;

static void
rows_task(int64_t begin, int64_t end, void *context)
{
    const RowsTask *task = context;
    const FacIter *it = task->it;
    FacDim strides[FAC_MAX_OPERANDS];
    char *data[FAC_MAX_OPERANDS];
    Cursor c;
    for (int k = 0; k < it->noperands; k++) strides[k] = it->operand[k].strides[0];
    cursor_start(it, begin, &c);
    for (int64_t at = begin, n; at < end; at += n) {
        n = it->sizes[0] - c.index[0];
        if (n > end - at) n = end - at;
        for (int k = 0; k < it->noperands; k++) data[k] = c.row[k] + c.index[0] * strides[k];
        task->body(data, strides, n, task->context);
        cursor_next_row(it, &c);
    }
}

void
fac_iter_rows(FacIter *it, int64_t grain, FacRowBody body, void *context)
{
    if (it->numel == 0) return;
    RowsTask task = {it, body, context};
    fac_parallel(it->numel, grain > 0 ? grain : fac_iter_grain(), rows_task, &task);
}

/* --- panels ----------------------------------------------------------------------------------- */

/* Walks dimension d the other way. */
static void
turn_dim(FacIter *it, int d)
{
    for (int k = 0; k < it->noperands; k++) {
        FacIterOperand *op = &it->operand[k];
        op->data += (it->sizes[d] - 1) * op->strides[d];
        op->strides[d] = -op->strides[d];
    }
}

bool
fac_iter_tile(FacIter *it, int k)
{
    const FacIterOperand *op = &it->operand[k];
    FacDim size = fac_dtype_size(op->dtype), inner = op->strides[0];
    if (it->ndim < 2 || it->sizes[0] < TILE_ROWS || (inner < 8 * size && inner > -8 * size))
        return false;
    for (int d = 1; d < it->ndim; d++) {
        bool back = op->strides[d] == -size;
        if ((op->strides[d] != size && !back) || it->sizes[d] < TILE_ROWS / 2) continue;
        if (back) turn_dim(it, d);
        swap_dims(it, 1, d);
        return true;
    }
    return false;
}

typedef struct PanelsTask {
    const FacIter *it;
    FacPanelBody body;
    void *context;
    int64_t across, down; /* panels along dimension 0 and 1 */
} PanelsTask;

static void
panels_task(int64_t begin, int64_t end, void *context)
{
    const PanelsTask *task = context;
    const FacIter *it = task->it;
    char *at[FAC_MAX_OPERANDS];
    for (int64_t unit = begin; unit < end; unit++) {
        int64_t column = unit % task->across * PANEL_COLUMNS, rest = unit / task->across;
        int64_t row = rest % task->down * TILE_ROWS;
        rest /= task->down;
        for (int k = 0; k < it->noperands; k++) {
            const FacIterOperand *op = &it->operand[k];
            at[k] = op->data + column * op->strides[0] + row * op->strides[1];
        }
        for (int d = 2; d < it->ndim; d++) {
            int64_t index = rest % it->sizes[d];
            rest /= it->sizes[d];
            for (int k = 0; k < it->noperands; k++) at[k] += index * it->operand[k].strides[d];
        }
        int64_t columns = it->sizes[0] - column, rows = it->sizes[1] - row;
        task->body(it, at, columns < PANEL_COLUMNS ? columns : PANEL_COLUMNS,
                   rows < TILE_ROWS ? rows : TILE_ROWS, task->context);
    }
}

void
fac_iter_panels(const FacIter *it, FacPanelBody body, void *context)
{
    PanelsTask task = {it, body, context, fac_chunks(it->sizes[0], PANEL_COLUMNS),
                       fac_chunks(it->sizes[1], TILE_ROWS)};
    int64_t units = task.across * task.down, grain = fac_iter_grain();
    int64_t width = it->sizes[0] < PANEL_COLUMNS ? it->sizes[0] : PANEL_COLUMNS;
    for (int d = 2; d < it->ndim; d++) units *= it->sizes[d];
    fac_parallel(units, fac_chunks(grain, width * TILE_ROWS), panels_task, &task);
}
