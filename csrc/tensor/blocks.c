/* blocks.c - running pointwise loops over an iteration.
 *
 * A loop wants contiguous runs of its own dtypes. What is contiguous and of that dtype already is
 * handed over in place; everything else passes through a block of FAC_BLOCK elements in L1: read,
 * cast, lazy bits applied, and the other way round for results. Four ways to cut the work, by
 * layout alone:
 *   - everything in place: large runs, no blocks;
 *   - long rows: each row in pieces of a block, or whole where all of it is in place;
 *   - an operand transposed against the results: panels of 16 rows, the operand read by tiles;
 *   - short rows: several rows gathered into one block, so that the loop still sees ~4 KiB; rows of
 *     middling length, too, if nothing need be gathered but what broadcasts.
 * A block that holds one repeated element is filled once and kept while it stays the same; an operand
 * that is there twice (x * x) is loaded once.
 */
#include "base/pool.h"
#include "tensor/strided.h"
#include "tensor/walk.h"

#include <string.h>

enum {
    LONG_ROW = 64,        /* from here on a row is worth a call of the loop */
    RUN_AT_ONCE = 4096,   /* below, not even asking for the grain pays */
    STEP_ROW = 16,        /* from here on filling a row with its element is worth a call */
    SHORT_BYTES = 1024,   /* up to here rows are put together even if the loop could have each */
    PIECE = 1024,         /* elements before which the lines of their results are asked for */
    FETCH_FROM = 8 << 20, /* bytes of a call that asks: they are not in the cache */
    WIDEST = 16,
    BLOCK_BYTES = 4096, /* a block of short rows is so much, and FAC_BLOCK elements at least */
    BLOCK_ROOM = (FAC_BLOCK + LONG_ROW) * WIDEST, /* bytes; beyond a block only for repeated rows */
    MAX_TILED = 2,
};

/* One operand as a task sees it. */
typedef struct Lane {
    FacDType dtype, loop_dtype;
    FacCast cast; /* to the loop's dtype; of results: from it; NULL where it is the same */
    int size;     /* of an element in memory */
    int loop_size;
    bool plain; /* in memory as the loop wants it */
    bool conj, neg;
    int same; /* an operand before this one with the same elements; or its own number */
    char *block;
    const char *filled; /* what the block repeats up to element `filled_n`; or NULL */
    int64_t filled_n;
} Lane;

typedef struct Job {
    const FacIter *it;
    FacLoop loop;
    const void *params;
    bool beside;    /* the loop takes the operands that are one element as they lie */
    int64_t block;  /* elements in a block of short rows */
    int64_t piece;  /* elements that the loop is given at once where all operands are in place */
    uint32_t ahead; /* results that are fetched before the loop writes them */
    uint32_t tiled; /* operands that are read by tiles */
    FacBody task;   /* what looking_task does before it looks */
} Job;

typedef struct Worker {
    const Job *job;
    int n, nresults;
    Lane lane[FAC_MAX_OPERANDS];
    char *spare; /* a block in the memory's dtype, before a cast or after it */
    _Alignas(64) char arena[(FAC_MAX_OPERANDS + 1) * BLOCK_ROOM];
} Worker;

static inline bool
is_plain(const FacIterOperand *op)
{
    return op->dtype == op->loop_dtype && !op->conj && !op->neg;
}

/* The first operand that reads what operand k reads. */
static int
first_same(const FacIter *it, int k)
{
    const FacIterOperand *op = &it->operand[k];
    for (int j = it->nresults; j < k; j++) {
        const FacIterOperand *other = &it->operand[j];
        bool same = op->data == other->data && op->dtype == other->dtype &&
                    op->loop_dtype == other->loop_dtype && op->conj == other->conj &&
                    op->neg == other->neg;
        for (int d = 0; d < it->ndim && same; d++) same = op->strides[d] == other->strides[d];
        if (same) return j;
    }
    return k;
}

static void
worker_start(Worker *w, const Job *job)
{
    const FacIter *it = job->it;
    w->job = job;
    w->n = it->noperands;
    w->nresults = it->nresults;
    for (int k = 0; k < w->n; k++) {
        const FacIterOperand *op = &it->operand[k];
        Lane *lane = &w->lane[k];
        lane->dtype = op->dtype;
        lane->loop_dtype = op->loop_dtype;
        lane->size = fac_dtype_size(op->dtype);
        lane->loop_size = fac_dtype_size(op->loop_dtype);
        lane->cast = NULL;
        if (op->dtype != op->loop_dtype)
            lane->cast = k < w->nresults ? fac_casts[op->loop_dtype][op->dtype]
                                         : fac_casts[op->dtype][op->loop_dtype];
        lane->conj = op->conj;
        lane->neg = op->neg;
        lane->plain = is_plain(op);
        lane->filled = NULL;
        lane->same = first_same(it, k);
        lane->block = w->arena + k * BLOCK_ROOM;
    }
    w->spare = w->arena + FAC_MAX_OPERANDS * BLOCK_ROOM;
}

/* --- ahead of the stores ---------------------------------------------------------------------- */

/* Loads are foreseen by the processor, but a store waits for its line to come. So where results do not
 * come from the cache, the lines that the next piece will write are asked for before this one. Functions
 * of one operand are left alone: most compute for longer than the lines take to come. */
static uint32_t
find_ahead(const FacIter *it)
{
    int64_t bytes = 0;
    uint32_t ahead = 0;
    for (int k = 0; k < it->noperands; k++)
        bytes += it->operand[k].strides[0] ? it->numel * fac_dtype_size(it->operand[k].dtype) : 0;
    if (bytes < FETCH_FROM || it->noperands < it->nresults + 2) return 0;
    for (int k = 0; k < it->nresults; k++) {
        const FacIterOperand *op = &it->operand[k];
        FacDim end = fac_dtype_size(op->dtype);
        bool fits = is_plain(op);
        for (int d = 0; d < it->ndim && fits; end *= it->sizes[d++]) fits = op->strides[d] == end;
        for (int j = it->nresults; j < it->noperands && fits; j++)
            fits = it->operand[j].data != op->data;
        ahead |= (uint32_t)fits << k;
    }
    return ahead;
}

static inline void
run_loop(const Job *job, void *const *data, int64_t m)
{
    for (int k = 0; FAC_UNLIKELY(job->ahead >> k); k++) {
        int64_t bytes = job->ahead >> k & 1 ? m * fac_dtype_size(job->it->operand[k].dtype) : 0;
        const char *next = (const char *)data[k] + bytes;
        for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(next + i, 1, 3);
    }
    job->loop(data, m, job->params);
}

/* --- one block in, one block out -------------------------------------------------------------- */

/* m raw elements, contiguous at `raw`, into the lane's block as the loop wants them. */
static void
finish_load(Lane *lane, const char *raw, int64_t m)
{
    if (lane->cast)
        lane->cast(raw, lane->block, m);
    else if (raw != lane->block)
        memcpy(lane->block, raw, (size_t)(m * lane->size));
    if (lane->conj | lane->neg)
        fac_apply_lazy(lane->loop_dtype, lane->block, m, lane->conj, lane->neg);
}

static void
fill_block(Lane *lane, const char *from, int64_t m)
{
    finish_load(lane, from, 1);
    fac_move_row(lane->block + lane->loop_size, lane->loop_size, lane->block, 0, m - 1,
                 lane->loop_size);
    lane->filled = from;
    lane->filled_n = m;
}

/* Where the loop finds m <= FAC_BLOCK elements that lie `stride` bytes apart from `from` on. */
static char *
load(Worker *w, Lane *lane, char *from, FacDim stride, int64_t m)
{
    if (stride == lane->size && lane->plain) return from;
    if (stride == 0) {
        if (lane->filled != from || lane->filled_n < m) fill_block(lane, from, m);
        return lane->block;
    }
    const char *raw = from;
    lane->filled = NULL;
    if (stride != lane->size) {
        char *target = lane->cast ? w->spare : lane->block;
        fac_move_row(target, lane->size, from, stride, m, lane->size);
        raw = target;
    }
    finish_load(lane, raw, m);
    return lane->block;
}

/* The lane's block in the memory's dtype; in the block itself or in the spare one. */
static const char *
prepare_store(Worker *w, Lane *lane, int64_t m)
{
    if (lane->conj | lane->neg)
        fac_apply_lazy(lane->loop_dtype, lane->block, m, lane->conj, lane->neg);
    if (!lane->cast) return lane->block;
    lane->cast(lane->block, w->spare, m);
    return w->spare;
}

static void
store(Worker *w, Lane *lane, char *to, FacDim stride, int64_t m)
{
    if (lane->cast && stride == lane->size && !(lane->conj | lane->neg))
        lane->cast(lane->block, to, m);
    else
        fac_move_row(to, stride, prepare_store(w, lane, m), lane->size, m, lane->size);
}

/* --- rows ------------------------------------------------------------------------------------- */

/* n elements of one row, of any length. */
static void
run_row(Worker *w, char *const *at, const FacDim *strides, int64_t n)
{
    const Job *job = w->job;
    void *data[FAC_MAX_OPERANDS];
    uint32_t in_place = 0;
    for (int k = 0; k < w->n; k++)
        in_place |= (uint32_t)(w->lane[k].plain && strides[k] == w->lane[k].size) << k;
    int64_t piece = in_place + 1 == 1u << w->n ? job->piece : FAC_BLOCK;
    for (int64_t done = 0; done < n; done += piece) {
        int64_t m = n - done < piece ? n - done : piece;
        for (int k = 0; k < w->n; k++) {
            char *from = at[k] + done * strides[k];
            if (in_place >> k & 1)
                data[k] = from;
            else if (k < w->nresults)
                data[k] = w->lane[k].block;
            else if (w->lane[k].same < k)
                data[k] = data[w->lane[k].same];
            else
                data[k] = load(w, &w->lane[k], from, strides[k], m);
        }
        run_loop(job, data, m);
        for (int k = 0; k < w->nresults; k++)
            if (!(in_place >> k & 1))
                store(w, &w->lane[k], at[k] + done * strides[k], strides[k], m);
    }
}

static void
rows_task(int64_t begin, int64_t end, void *context)
{
    const Job *job = context;
    const FacIter *it = job->it;
    FacDim strides[FAC_MAX_OPERANDS];
    char *at[FAC_MAX_OPERANDS];
    Worker w;
    Cursor c;
    worker_start(&w, job);
    for (int k = 0; k < w.n; k++) strides[k] = it->operand[k].strides[0];
    cursor_start(it, begin, &c);
    for (int64_t done = begin, n; done < end; done += n) {
        n = it->sizes[0] - c.index[0];
        if (n > end - done) n = end - done;
        for (int k = 0; k < w.n; k++) at[k] = c.row[k] + c.index[0] * strides[k];
        run_row(&w, at, strides, n);
        cursor_next_row(it, &c);
    }
}

/* --- several short rows to a block ------------------------------------------------------------ */

/* How an operand lies when rows are taken several at a time. */
typedef enum Spread {
    FLAT,     /* contiguous over the whole iteration */
    CONSTANT, /* one element */
    REPEATED, /* one row, again and again */
    STEPS,    /* one element a row */
    BOX,
} Spread;

static Spread
spread_of(const FacIter *it, const FacIterOperand *op)
{
    FacDim expected = fac_dtype_size(op->dtype);
    bool flat = true, repeated = true;
    for (int d = 0; d < it->ndim; d++) {
        flat &= op->strides[d] == expected;
        repeated &= d == 0 || op->strides[d] == 0;
        expected *= it->sizes[d];
    }
    if (flat) return FLAT;
    if (!repeated) return op->strides[0] == 0 && it->sizes[0] >= STEP_ROW ? STEPS : BOX;
    return op->strides[0] == 0 ? CONSTANT : REPEATED;
}

/* The repeated row lies in the block once and for all, longer than a block by one row, so that a
 * run may begin at any of its elements. */
static char *
load_repeated(Worker *w, Lane *lane, const FacIterOperand *op, int64_t first, int64_t m)
{
    const FacIter *it = w->job->it;
    if (lane->filled != op->data || lane->filled_n < first + m) {
        char *target = lane->cast ? w->spare : lane->block;
        lane->filled_n = m + it->sizes[0];
        lane->filled = op->data;
        fac_move_row(target, lane->size, op->data, op->strides[0], it->sizes[0], lane->size);
        size_t done = (size_t)(it->sizes[0] * lane->size);
        size_t all = (size_t)(lane->filled_n * lane->size);
        for (; done < all; done *= 2)
            memcpy(target + done, target, done < all - done ? done : all - done);
        finish_load(lane, target, lane->filled_n);
    }
    return lane->block + first * lane->loop_size;
}

static char *
load_box(Worker *w, Lane *lane, const FacIterOperand *op, const Cursor *c, char *row, int64_t m)
{
    const FacIter *it = w->job->it;
    char *target = lane->cast ? w->spare : lane->block;
    fac_gather_box(target, row, it->ndim, it->sizes, op->strides, c->index, m, lane->size);
    finish_load(lane, target, m);
    return lane->block;
}

static char *
load_steps(Worker *w, Lane *lane, const FacIterOperand *op, const Cursor *c, const char *row,
           int64_t m)
{
    const FacIter *it = w->job->it;
    char *target = lane->cast ? w->spare : lane->block;
    int64_t index[FAC_MAX_NDIM], first = c->index[0];
    for (int d = 1; d < it->ndim; d++) index[d] = c->index[d];
    for (int64_t done = 0, n; done < m; done += n, first = 0) {
        n = it->sizes[0] - first < m - done ? it->sizes[0] - first : m - done;
        fac_move_row(target + done * lane->size, lane->size, row, 0, n, lane->size);
        for (int d = 1; d < it->ndim; d++) {
            row += op->strides[d];
            if (++index[d] < it->sizes[d]) break;
            row -= it->sizes[d] * op->strides[d];
            index[d] = 0;
        }
    }
    finish_load(lane, target, m);
    return lane->block;
}

/* Operand k at element `done`, which is where the cursor stands. */
static char *
load_spread(Worker *w, int k, Spread spread, const Cursor *c, int64_t done, int64_t m)
{
    const FacIterOperand *op = &w->job->it->operand[k];
    Lane *lane = &w->lane[k];
    switch (spread) {
    case FLAT: return load(w, lane, op->data + done * lane->size, lane->size, m);
    case CONSTANT: return load(w, lane, op->data, 0, m);
    case REPEATED: return load_repeated(w, lane, op, c->index[0], m);
    case STEPS: return load_steps(w, lane, op, c, c->row[k], m);
    default: return load_box(w, lane, op, c, c->row[k], m);
    }
}

static void
store_spread(Worker *w, int k, Spread spread, const Cursor *c, int64_t done, int64_t m)
{
    const FacIter *it = w->job->it;
    const FacIterOperand *op = &it->operand[k];
    Lane *lane = &w->lane[k];
    if (spread == FLAT) {
        if (!lane->plain) store(w, lane, op->data + done * lane->size, lane->size, m);
        return;
    }
    const char *raw = prepare_store(w, lane, m);
    fac_scatter_box(c->row[k], raw, it->ndim, it->sizes, op->strides, c->index, m, lane->size);
}

static void
short_rows_task(int64_t begin, int64_t end, void *context)
{
    const Job *job = context;
    const FacIter *it = job->it;
    void *data[FAC_MAX_OPERANDS];
    Spread spread[FAC_MAX_OPERANDS];
    Worker w;
    Cursor c;
    worker_start(&w, job);
    for (int k = 0; k < w.n; k++) spread[k] = spread_of(it, &it->operand[k]);
    cursor_start(it, begin, &c);
    for (int64_t done = begin, m; done < end; done += m) {
        m = end - done < job->block ? end - done : job->block;
        for (int k = 0; k < w.nresults; k++)
            data[k] = spread[k] == FLAT && w.lane[k].plain
                          ? it->operand[k].data + done * w.lane[k].size
                          : w.lane[k].block;
        for (int k = w.nresults; k < w.n; k++)
            data[k] = w.lane[k].same < k ? data[w.lane[k].same]
                                         : load_spread(&w, k, spread[k], &c, done, m);
        run_loop(job, data, m);
        for (int k = 0; k < w.nresults; k++) store_spread(&w, k, spread[k], &c, done, m);
        if (done + m < end) cursor_advance(it, &c, m);
    }
}

/* --- transposed operands ---------------------------------------------------------------------- */

static void
panel_body(const FacIter *it, char *const *at, int64_t columns, int64_t rows, void *context)
{
    const Job *job = context;
    _Alignas(64) char tile[MAX_TILED][TILE_ROWS * TILE_COLUMNS * WIDEST];
    FacDim strides[FAC_MAX_OPERANDS];
    char *row[FAC_MAX_OPERANDS];
    Worker w;
    worker_start(&w, job);
    for (int k = 0; k < w.n; k++)
        strides[k] = job->tiled >> k & 1 ? w.lane[k].size : it->operand[k].strides[0];
    for (int64_t c = 0; c < columns; c += TILE_COLUMNS) {
        int64_t n = columns - c < TILE_COLUMNS ? columns - c : TILE_COLUMNS;
        for (int k = 0, used = 0; k < w.n; k++) {
            FacDim stride = it->operand[k].strides[0];
            if (!(job->tiled >> k & 1)) continue;
            fac_transpose(tile[used++], TILE_COLUMNS * w.lane[k].size, at[k] + c * stride, stride,
                          rows, n, w.lane[k].size);
        }
        for (int64_t r = 0; r < rows; r++) {
            for (int k = 0, used = 0; k < w.n; k++)
                row[k] = job->tiled >> k & 1
                             ? tile[used++] + r * TILE_COLUMNS * w.lane[k].size
                             : at[k] + c * strides[k] + r * it->operand[k].strides[1];
            run_row(&w, row, strides, n);
        }
    }
}

/* The operands to be read by tiles, as bits; orders the dimensions for them. */
static uint32_t
find_tiled(FacIter *it)
{
    uint32_t tiled = 0;
    int count = 0;
    for (int k = it->nresults; k < it->noperands && count < MAX_TILED; k++) {
        const FacIterOperand *op = &it->operand[k];
        FacDim size = fac_dtype_size(op->dtype);
        bool like_first = tiled && op->strides[1] == size && op->strides[0] != size;
        if (tiled ? !like_first : !fac_iter_tile(it, k)) continue;
        tiled |= 1u << k;
        count++;
    }
    return tiled;
}

/* --- the choice ------------------------------------------------------------------------------- */

static void
in_place_task(int64_t begin, int64_t end, void *context)
{
    const Job *job = context;
    const FacIter *it = job->it;
    void *data[FAC_MAX_OPERANDS];
    for (int64_t at = begin; at < end; at += job->piece) {
        for (int k = 0; k < it->noperands; k++)
            data[k] = it->operand[k].data + at * it->operand[k].strides[0];
        run_loop(job, data, end - at < job->piece ? end - at : job->piece);
    }
}

/* Rows of which every operand is in place or one element: `x * 2`, a column beside a matrix. */
static void
constants_task(int64_t begin, int64_t end, void *context)
{
    const Job *job = context;
    const FacIter *it = job->it;
    _Alignas(64) char arena[FAC_MAX_OPERANDS * FAC_BLOCK * WIDEST];
    const char *filled[FAC_MAX_OPERANDS] = {NULL}; /* what the operand's block repeats */
    int64_t piece = job->piece;
    for (int k = it->nresults; k < it->noperands && !job->beside; k++)
        if (!it->operand[k].strides[0]) piece = job->block;
    int64_t longest = it->sizes[0] < piece ? it->sizes[0] : piece;
    Cursor c;
    cursor_start(it, begin, &c);
    for (int64_t done = begin, n; done < end; done += n) {
        void *data[FAC_MAX_OPERANDS];
        n = it->sizes[0] - c.index[0];
        if (n > end - done) n = end - done;
        for (int k = 0; k < it->noperands; k++) {
            const FacIterOperand *op = &it->operand[k];
            data[k] = c.row[k] + c.index[0] * op->strides[0];
            if (op->strides[0] || job->beside) continue;
            char *block = arena + k * FAC_BLOCK * WIDEST;
            int size = fac_dtype_size(op->dtype);
            if (filled[k] != c.row[k]) fac_move_row(block, size, c.row[k], 0, longest, size);
            filled[k] = c.row[k];
            data[k] = block;
        }
        for (int64_t at = 0; at < n; at += piece) {
            run_loop(job, data, n - at < piece ? n - at : piece);
            for (int k = 0; k < it->noperands; k++)
                data[k] = (char *)data[k] + piece * it->operand[k].strides[0];
        }
        cursor_next_row(it, &c);
    }
}

static bool
has_only_constants(const FacIter *it)
{
    bool fits = it->ndim == 1 || it->sizes[0] >= LONG_ROW;
    for (int k = 0; k < it->noperands && fits; k++) {
        const FacIterOperand *op = &it->operand[k];
        bool in_place = op->strides[0] == fac_dtype_size(op->dtype);
        fits = is_plain(op) && (in_place || (op->strides[0] == 0 && k >= it->nresults));
    }
    return fits;
}

/* Takes the loop for a single element as the first or the second operand, where there is one. */
static void
find_beside(Job *job)
{
    const FacIter *it = job->it;
    unsigned single = 0;
    for (int k = it->nresults; k < it->noperands; k++)
        single |= (unsigned)!it->operand[k].strides[0] << (k - it->nresults);
    if (!it->beside || (single != 1 && single != 2) || !it->beside[single - 1]) return;
    job->loop = it->beside[single - 1];
    job->beside = true;
}

/* Sets what a block of short rows is; whether these rows are so short that blocks of them are best,
 * though the loop could have them one by one. */
static bool
choose_block(Job *job)
{
    const FacIter *it = job->it;
    int64_t widest = 1;
    bool spreads = it->ndim > 1;
    for (int k = 0; k < it->noperands; k++) {
        const FacIterOperand *op = &it->operand[k];
        FacDim size = fac_dtype_size(op->dtype), loop_size = fac_dtype_size(op->loop_dtype);
        widest = size > widest ? size : widest;
        widest = loop_size > widest ? loop_size : widest;
        spreads = spreads && spread_of(it, op) != BOX;
    }
    job->block = BLOCK_BYTES / widest > FAC_BLOCK ? BLOCK_BYTES / widest : FAC_BLOCK;
    int64_t room = BLOCK_ROOM / widest - job->block;
    return spreads && !job->beside && it->sizes[0] <= room && it->sizes[0] * widest <= SHORT_BYTES;
}

/* Results in one row, as the loop leaves them, are looked at while they are in the cache. */
static bool
can_look(const FacIter *it)
{
    bool can = it->hit && it->ndim == 1;
    for (int k = 0; k < it->nresults && can; k++) {
        const FacIterOperand *op = &it->operand[k];
        can = op->dtype == op->loop_dtype && op->strides[0] == fac_dtype_size(op->dtype);
    }
    return can;
}

static void
looking_task(int64_t begin, int64_t end, void *context)
{
    const Job *job = context;
    job->task(begin, end, context);
    for (int k = 0; k < job->it->nresults; k++) {
        const FacIterOperand *op = &job->it->operand[k];
        const FacDType real = fac_dtype_info[op->dtype].real;
        const int64_t n = (end - begin) * (FAC_IS_COMPLEX(op->dtype) ? 2 : 1);
        if (FAC_IS_FLOAT(real) && !fac_all_finite(real, op->data + begin * op->strides[0], n))
            atomic_store_explicit(job->it->hit, true, memory_order_relaxed);
    }
}

void
fac_iter_blocks(FacIter *it, FacLoop loop, const void *params)
{
    if (it->numel == 0) return;
    Job job = {.it = it, .loop = loop, .params = params, .piece = it->numel};
    FacBody task = in_place_task;
    if (it->numel > RUN_AT_ONCE) job.ahead = find_ahead(it);
    if (job.ahead) job.piece = PIECE;
    if (!it->contiguous) {
        job.tiled = it->ndim > 1 && it->numel > RUN_AT_ONCE ? find_tiled(it) : 0;
        task = it->ndim == 1 || it->sizes[0] >= LONG_ROW ? rows_task : short_rows_task;
        if (has_only_constants(it)) {
            task = constants_task;
            find_beside(&job);
        }
        if (choose_block(&job)) task = short_rows_task;
    }
    if (FAC_UNLIKELY(can_look(it))) {
        it->looked = true;
        job.task = task;
        task = looking_task;
    }
    if (job.tiled)
        fac_iter_panels(it, panel_body, &job);
    else if (it->numel <= RUN_AT_ONCE)
        task(0, it->numel, &job);
    else
        fac_parallel(it->numel, fac_iter_grain(), task, &job);
}
