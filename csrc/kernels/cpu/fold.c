/* fold.c - the engine of reductions; see fold.h.
 *
 * Dims are sorted by stride and merged, kept ones and reduced ones apart. If memory runs fastest
 * along a kept dim, lanes run along it and the fold takes whole rows; otherwise each lane takes
 * runs of its own. Elements of another dtype or stride pass through a block in L1. A unit of work
 * is a block of lanes and a range of the reduced elements; ranges are cut only where there are few
 * blocks and much to reduce.
 */
#include "kernels/cpu/fold.h"

#include "base/mem.h"
#include "tensor/strided.h"

#include <string.h>

enum {
    BLOCK_BYTES = 8192, /* of elements on their way through conversion */
    BLOCK_ELEMENTS = 512,
    RANGE_ELEMENTS = 65536, /* a range of reduced elements is at least so large */
    BLOCKS_ENOUGH = 64,     /* blocks of lanes that keep all threads busy without ranges */
    UNIT_ELEMENTS = 16384,  /* elements that a task of the pool has at least */
    ROW_LANES = 32,         /* lanes in a block when each takes its own runs */
    LOADED_LANES = 256,     /* ... when rows pass through blocks */
    ROW_MULTIPLE = 16,      /* rows in a range of columns */
    ACROSS_BYTES = 16384,   /* of what lanes span that are gathered */
    SHORT_RUN = 64,         /* runs shorter than this are gathered to rows, */
    RUNS_ENOUGH = 16        /* where there are so many side by side */
};

/* Kept and reduced dims, outermost first; strides of the input in bytes, of the output in
 * elements. */
typedef struct Dims {
    int n;
    FacDim size[FAC_MAX_NDIM];
    FacDim in[FAC_MAX_NDIM];
    FacDim out[FAC_MAX_NDIM];
} Dims;

typedef struct Plan {
    const Fold *fold;
    const FoldArgs *args;
    const char *data;
    FacDType dtype;
    FacCast cast;       /* to the fold's dtype of loading; NULL where nothing is to be done */
    Dims kept, reduced; /* both have at least one dim */
    int64_t nreduced;
    bool columns;
    int64_t lanes;  /* of a full block */
    int64_t blocks; /* along the last kept dim */
    int64_t ranges, range;
    char *partial; /* accumulators of each unit, where there is more than one range */
    FoldOut out[2];
} Plan;

/* --- the plan --------------------------------------------------------------------------------- */

static int64_t
magnitude(int64_t x)
{
    return x < 0 ? -x : x;
}

static void
sort_dims(Dims *d)
{
    for (int i = 1; i < d->n; i++) {
        FacDim size = d->size[i], in = d->in[i], out = d->out[i];
        int k = i;
        for (; k > 0 && magnitude(d->in[k - 1]) < magnitude(in); k--) {
            d->size[k] = d->size[k - 1];
            d->in[k] = d->in[k - 1];
            d->out[k] = d->out[k - 1];
        }
        d->size[k] = size;
        d->in[k] = in;
        d->out[k] = out;
    }
}

static void
merge_dims(Dims *d)
{
    int last = 0;
    for (int i = 1; i < d->n; i++) {
        bool ends_meet =
            d->in[last] == d->in[i] * d->size[i] && d->out[last] == d->out[i] * d->size[i];
        if (ends_meet) {
            d->size[last] *= d->size[i];
        } else {
            last++;
            d->size[last] = d->size[i];
        }
        d->in[last] = d->in[i];
        d->out[last] = d->out[i];
    }
    if (d->n == 0) {
        d->size[0] = 1;
        d->in[0] = d->out[0] = 0;
    }
    d->n = last + 1;
}

static void
take_dims(Plan *p, int ndim, const FacDim *sizes, const FacDim *strides, uint64_t mask)
{
    FacDim out = 1, size = fac_dtype_info[p->dtype].size;
    FacDim out_strides[FAC_MAX_NDIM];
    for (int d = ndim - 1; d >= 0; d--) {
        out_strides[d] = mask >> d & 1 ? 0 : out;
        if (!(mask >> d & 1)) out *= sizes[d];
    }
    p->kept.n = p->reduced.n = 0;
    p->nreduced = 1;
    for (int d = 0; d < ndim; d++) {
        Dims *to = mask >> d & 1 ? &p->reduced : &p->kept;
        if (mask >> d & 1) p->nreduced *= sizes[d];
        if (sizes[d] == 1) continue;
        to->size[to->n] = sizes[d];
        to->in[to->n] = strides[d] * size;
        to->out[to->n++] = out_strides[d];
    }
    sort_dims(&p->kept);
    sort_dims(&p->reduced);
    merge_dims(&p->kept);
    merge_dims(&p->reduced);
}

/* Along which dim lanes lie, and how the work is cut: by the sizes only. */
static void
cut_work(Plan *p)
{
    FacDim kept = p->kept.size[p->kept.n - 1], step = magnitude(p->kept.in[p->kept.n - 1]);
    FacDim run = p->reduced.size[p->reduced.n - 1];
    bool fastest = step < magnitude(p->reduced.in[p->reduced.n - 1]) && kept >= 2;
    p->columns = kept > 1 && (fastest || (run < SHORT_RUN && kept >= RUNS_ENOUGH));
    bool loaded = p->cast || p->fold->map || step != (FacDim)fac_dtype_info[p->dtype].size;
    p->lanes = !p->columns ? ROW_LANES : loaded ? LOADED_LANES : FOLD_LANES;
    while (p->columns && loaded && p->lanes > ROW_LANES && p->lanes * step > ACROSS_BYTES)
        p->lanes /= 2;
    if (p->lanes > kept) p->lanes = kept;
    p->blocks = fac_chunks(kept, p->lanes);

    int64_t all = p->blocks;
    for (int d = 0; d < p->kept.n - 1; d++) all *= p->kept.size[d];
    p->ranges = 1;
    if (all < BLOCKS_ENOUGH) p->ranges = fac_chunks(p->nreduced * p->lanes, RANGE_ELEMENTS);
    if (p->ranges > p->nreduced) p->ranges = p->nreduced;
    if (p->ranges < 1) p->ranges = 1;
    p->range = fac_chunks(p->nreduced, p->ranges);
    int64_t multiple = p->columns ? ROW_MULTIPLE : BLOCK_ELEMENTS;
    p->range = fac_chunks(p->range, multiple) * multiple;
    p->ranges = p->nreduced ? fac_chunks(p->nreduced, p->range) : 1;
    p->blocks = all;
}

/* --- loading ---------------------------------------------------------------------------------- */

#define GATHER(TYPE)                                                                               \
    for (int64_t i = 0; i < n; i++) ((TYPE *)to)[i] = *(const TYPE *)(from + i * stride)

typedef struct Wide {
    uint64_t part[2];
} Wide;

static void
gather(char *to, const char *from, int64_t stride, size_t size, int64_t n)
{
    switch (size) {
    case 1: GATHER(uint8_t); break;
    case 2: GATHER(uint16_t); break;
    case 4: GATHER(uint32_t); break;
    case 8: GATHER(uint64_t); break;
    default: GATHER(Wide); break;
    }
}

typedef struct Blocks {
    _Alignas(64) char strided[BLOCK_BYTES];
    _Alignas(64) char loaded[BLOCK_BYTES];
    _Alignas(64) char mapped[BLOCK_BYTES];
    _Alignas(64) char across[BLOCK_BYTES];
} Blocks;

/* n <= BLOCK_ELEMENTS elements as the fold wants them: in place or in a block. The place is `to`
 * where the caller needs them there. */
static const char *
load(const Plan *p, Blocks *b, const char *from, int64_t stride, int64_t n, char *to)
{
    size_t size = fac_dtype_info[p->dtype].size;
    const Fold *fold = p->fold;
    if (stride != (int64_t)size) {
        char *at = to && !p->cast && !fold->map ? to : b->strided;
        gather(at, from, stride, size, n);
        from = at;
    }
    if (p->cast) {
        char *at = to && !fold->map ? to : b->loaded;
        p->cast(from, at, n);
        from = at;
    }
    if (fold->map) {
        char *at = to ? to : b->mapped;
        fold->map(from, at, n, p->args);
        from = at;
    }
    if (to && from != to) {
        memcpy(to, from, (size_t)n * fac_dtype_info[fold->element].size);
        from = to;
    }
    return from;
}

/* n elements of each of `lanes` runs that lie along memory, `step` bytes apart, as n rows. */
static void
load_across(const Plan *p, Blocks *b, const char *from, int64_t step, int64_t lanes, int64_t n,
            char *rows)
{
    const int size = fac_dtype_info[p->dtype].size;
    const bool plain = !p->cast && !p->fold->map;
    const int64_t row = lanes * size, to_row = lanes * fac_dtype_info[p->fold->element].size;
    char *raw = plain ? rows : b->across;
    fac_transpose(raw, row, from, step, n, lanes, size);
    for (int64_t r = 0; r < n && !plain; r++)
        load(p, b, raw + r * row, size, lanes, rows + r * to_row);
}

/* --- walking ---------------------------------------------------------------------------------- */

/* A position among the reduced elements: the index in every dim, and the offset in bytes. */
typedef struct Place {
    FacDim index[FAC_MAX_NDIM];
    int64_t offset;
} Place;

static void
place_at(const Dims *d, int64_t flat, Place *place)
{
    place->offset = 0;
    for (int i = d->n - 1; i >= 0; i--) {
        place->index[i] = flat ? flat % d->size[i] : 0; /* most runs begin at 0: no division */
        flat = flat ? flat / d->size[i] : 0;
        place->offset += place->index[i] * d->in[i];
    }
}

/* On by n elements, which do not leave the innermost dim but for its end. */
static void
place_move(const Dims *d, int64_t n, Place *place)
{
    int i = d->n - 1;
    place->index[i] += n;
    place->offset += n * d->in[i];
    for (; i > 0 && place->index[i] == d->size[i]; i--) {
        place->offset -= d->size[i] * d->in[i];
        place->index[i] = 0;
        place->index[i - 1]++;
        place->offset += d->in[i - 1];
    }
}

static int64_t
smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void
fold_rows(const Plan *p, Blocks *b, char *acc, int64_t lanes, int64_t lane, const char *base,
          int64_t begin, int64_t end)
{
    const Dims *d = &p->reduced;
    int64_t stride = d->in[d->n - 1], run = d->size[d->n - 1];
    bool direct = !p->cast && !p->fold->map && stride == (int64_t)fac_dtype_info[p->dtype].size;
    Place place;
    place_at(d, begin, &place);
    for (int64_t i = begin; i < end;) {
        int64_t n = smaller(end - i, run - place.index[d->n - 1]);
        if (!direct) n = smaller(n, BLOCK_ELEMENTS);
        const char *x = base + place.offset;
        if (!direct) x = load(p, b, x, stride, n, NULL);
        p->fold->row(acc, lanes, lane, x, n, i);
        place_move(d, n, &place);
        i += n;
    }
}

static void
fold_columns(const Plan *p, Blocks *b, char *acc, int64_t lanes, const char *base, int64_t begin,
             int64_t end)
{
    const Dims *d = &p->reduced;
    int64_t step = p->kept.in[p->kept.n - 1], row = d->in[d->n - 1], run = d->size[d->n - 1];
    bool direct = !p->cast && !p->fold->map && step == (int64_t)fac_dtype_info[p->dtype].size;
    int64_t element = fac_dtype_info[p->fold->element].size, size = fac_dtype_info[p->dtype].size;
    int64_t room = BLOCK_BYTES / (lanes * (size > element ? size : element));
    bool across = row == size && step != size, adjacent = step == size && row == lanes * size;
    if (adjacent && room > BLOCK_ELEMENTS / lanes) room = BLOCK_ELEMENTS / lanes;
    _Alignas(64) char rows[BLOCK_BYTES];
    Place place;
    place_at(d, begin, &place);
    for (int64_t i = begin; i < end;) {
        int64_t n = smaller(end - i, run - place.index[d->n - 1]);
        const char *x = base + place.offset;
        if (direct) {
            p->fold->cols(acc, lanes, x, row, n, i);
        } else {
            n = smaller(n, room);
            if (across) load_across(p, b, x, step, lanes, n, rows);
            if (adjacent) load(p, b, x, size, n * lanes, rows);
            for (int64_t r = 0; r < n && !across && !adjacent; r++)
                load(p, b, x + r * row, step, lanes, rows + r * lanes * element);
            p->fold->cols(acc, lanes, rows, lanes * element, n, i);
        }
        place_move(d, n, &place);
        i += n;
    }
}

/* Where block `index` of lanes begins: offsets in the input (bytes) and the output (elements). */
static int64_t
find_block(const Plan *p, int64_t index, int64_t *in, int64_t *out)
{
    const Dims *d = &p->kept;
    int64_t last = d->size[d->n - 1], along = fac_chunks(last, p->lanes);
    int64_t lane = index % along * p->lanes;
    index /= along;
    *in = lane * d->in[d->n - 1];
    *out = lane * d->out[d->n - 1];
    for (int i = d->n - 2; i >= 0; i--) {
        *in += index % d->size[i] * d->in[i];
        *out += index % d->size[i] * d->out[i];
        index /= d->size[i];
    }
    return smaller(p->lanes, last - lane);
}

static void
store(const Plan *p, const char *acc, int64_t lanes, int64_t offset)
{
    _Alignas(64) char results[2][FOLD_LANES * 16], cast[FOLD_LANES * 16];
    void *out[2] = {results[0], results[1]};
    int64_t step = p->kept.out[p->kept.n - 1];
    p->fold->finish(acc, lanes, out, p->args);
    for (int k = 0; k < 2; k++) {
        if (!p->out[k].data) continue;
        size_t size = fac_dtype_info[p->out[k].dtype].size;
        char *to = (char *)p->out[k].data + (size_t)offset * size;
        FacCast convert = fac_casts[p->fold->result[k]][p->out[k].dtype];
        if (step == 1 || lanes == 1) {
            convert(results[k], to, lanes);
            continue;
        }
        convert(results[k], cast, lanes);
        for (int64_t i = 0; i < lanes; i++)
            memcpy(to + (size_t)(i * step) * size, cast + (size_t)i * size, size);
    }
}

/* Room for the accumulators of one unit: a multiple of what the widest of them is aligned to. */
static int64_t
partial_bytes(const Plan *p)
{
    return (p->lanes * p->fold->acc_bytes + 15) / 16 * 16;
}

static void
run_units(int64_t begin, int64_t end, void *context)
{
    const Plan *p = (const Plan *)context;
    _Alignas(64) char acc[FOLD_LANES * FOLD_ACC_MAX];
    Blocks blocks;
    for (int64_t unit = begin; unit < end; unit++) {
        int64_t in, out, lanes = find_block(p, unit / p->ranges, &in, &out);
        int64_t from = unit % p->ranges * p->range, to = smaller(from + p->range, p->nreduced);
        p->fold->init(acc, lanes);
        if (p->columns && from < to) fold_columns(p, &blocks, acc, lanes, p->data + in, from, to);
        for (int64_t lane = 0; !p->columns && from < to && lane < lanes; lane++)
            fold_rows(p, &blocks, acc, lanes, lane, p->data + in + lane * p->kept.in[p->kept.n - 1],
                      from, to);
        if (p->ranges == 1)
            store(p, acc, lanes, out);
        else
            memcpy(p->partial + unit * partial_bytes(p), acc, (size_t)(lanes * p->fold->acc_bytes));
    }
}

static void
join_ranges(const Plan *p)
{
    int64_t bytes = partial_bytes(p);
    for (int64_t block = 0; block < p->blocks; block++) {
        int64_t in, out, lanes = find_block(p, block, &in, &out);
        char *first = p->partial + block * p->ranges * bytes;
        for (int64_t i = 1; i < p->ranges; i++) p->fold->join(first, first + i * bytes, lanes);
        store(p, first, lanes, out);
    }
}

FacStatus
FAC_TIERED(fold_memory)(const Fold *fold, FoldArgs *args, const void *data, FacDType dtype,
                        int ndim, const FacDim *sizes, const FacDim *strides, uint64_t mask,
                        const FoldOut *out)
{
    Plan p = {.fold = fold, .args = args, .data = (const char *)data, .dtype = dtype};
    p.out[0] = out[0];
    p.out[1] = out[1];
    p.cast = dtype == fold->load ? NULL : fac_casts[dtype][fold->load];
    for (int d = 0; d < ndim; d++)
        if (!(mask >> d & 1) && sizes[d] == 0) return FAC_OK;
    take_dims(&p, ndim, sizes, strides, mask);
    cut_work(&p);
    args->count = (double)p.nreduced;

    int64_t units = p.blocks * p.ranges, each = p.range * p.lanes;
    if (each > p.nreduced * p.lanes) each = p.nreduced * p.lanes;
    if (p.ranges > 1) {
        size_t bytes = (size_t)(units * partial_bytes(&p));
        p.partial = (char *)fac_mem_alloc(bytes);
        if (!p.partial) return fac_mem_error(bytes);
    }
    fac_parallel(units, each < UNIT_ELEMENTS ? UNIT_ELEMENTS / (each + 1) + 1 : 1, run_units, &p);
    if (p.ranges > 1) join_ranges(&p);
    fac_mem_free(p.partial);
    return FAC_OK;
}

FacStatus
FAC_TIERED(fold_tensor)(const Fold *fold, FoldArgs *args, const FacTensor *t, uint64_t mask,
                        FacTensor *first, FacTensor *second)
{
    FoldOut out[2] = {{NULL, FAC_DT_NONE}, {NULL, FAC_DT_NONE}};
    if (first) out[0] = (FoldOut){fac_data(first), (FacDType)first->dtype};
    if (second) out[1] = (FoldOut){fac_data(second), (FacDType)second->dtype};
    return FAC_TIERED(fold_memory)(fold, args, fac_data(t), (FacDType)t->dtype, t->ndim, t->sizes,
                                   t->strides, mask, out);
}
