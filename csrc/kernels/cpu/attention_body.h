/* attention_body.h - attention in one real type: included by attention.c with T, NAME, EXP, LOG and
 * LANES (elements of a vector) defined.
 *
 * A block of queries lies side by side in the lanes of vectors: scores are kept transposed, one key
 * a row, so that maxima, sums and exponentials go down the columns and need no work across lanes.
 * All products have one form, `product`, in which one operand is read element by element wherever
 * it lies: keys and values are never copied.
 */

typedef T NAME(vec) __attribute__((vector_size(LANES * sizeof(T)), aligned(sizeof(T)), may_alias));
enum { NAME(VL) = LANES, NAME(BLOCK) = 4 * LANES < 32 ? 32 : 4 * LANES };

/* --- products ------------------------------------------------------------------------------------- */

#pragma GCC push_options
#pragma GCC optimize("fp-contract=fast")

/* A tile of its own beside gemm_tile.h: blocks of scores are in the first cache, where that one's
 * asking for C and its lines of k cost 2 to 5 % of all attention, forward and backward. */
#define TILE(rows, vecs)                                                                           \
    static void NAME(tile_##rows##_##vecs)(int64_t k, const T *a, int64_t a_row, int64_t a_col,    \
                                           const T *b, int64_t b_row, T *c, int64_t c_row,         \
                                           bool add)                                               \
    {                                                                                              \
        NAME(vec) acc[rows][vecs] = {0};                                                           \
        for (int64_t p = 0; p < k; p++, a += a_col, b += b_row) {                                  \
            const NAME(vec) *bv = (const NAME(vec) *)b;                                            \
            _Pragma("GCC unroll 8")                                                                \
            for (int i = 0; i < rows; i++) {                                                       \
                _Pragma("GCC unroll 2")                                                            \
                for (int v = 0; v < vecs; v++) acc[i][v] += bv[v] * a[i * a_row];                  \
            }                                                                                      \
        }                                                                                          \
        _Pragma("GCC unroll 8")                                                                    \
        for (int i = 0; i < rows; i++) {                                                           \
            _Pragma("GCC unroll 2")                                                                \
            for (int v = 0; v < vecs; v++) {                                                       \
                NAME(vec) *cv = (NAME(vec) *)(c + i * c_row) + v;                                  \
                if (add) acc[i][v] += *cv;                                                         \
                *cv = acc[i][v];                                                                   \
            }                                                                                      \
        }                                                                                          \
    }
ATTENTION_HEIGHTS(TILE, 1)
ATTENTION_HEIGHTS(TILE, 2)
#undef TILE

/* The sum of x[i] y[i]; for one query alone. */
static T
NAME(dot)(const T *x, const T *y, int64_t y_step, int64_t n)
{
    NAME(vec) lanes[2] = {{0}};
    T sum = 0;
    int64_t i = 0;
    for (; y_step == 1 && i + 2 * LANES <= n; i += 2 * LANES)
        for (int v = 0; v < 2; v++)
            lanes[v] += ((const NAME(vec) *)(x + i))[v] * ((const NAME(vec) *)(y + i))[v];
    lanes[0] += lanes[1];
    for (int j = 0; j < LANES; j++) sum += lanes[0][j];
    for (; i < n; i++) sum += x[i] * y[i * y_step];
    return sum;
}

#pragma GCC pop_options

/* One strip of up to two vectors of columns, all rows. */
static void
NAME(strip)(int64_t rows, int vecs, int64_t k, const T *a, int64_t a_row, int64_t a_col, const T *b,
            int64_t b_row, T *c, int64_t c_row, bool add)
{
    while (rows > 0) {
        int height = 1;
#define PICK(r, v)                                                                                 \
    if (height == 1 && rows >= r && vecs == v) {                                                   \
        NAME(tile_##r##_##v)(k, a, a_row, a_col, b, b_row, c, c_row, add);                         \
        height = r;                                                                                \
        goto next;                                                                                 \
    }
        ATTENTION_HEIGHTS(PICK, 2)
        ATTENTION_HEIGHTS(PICK, 1)
#undef PICK
    next:
        rows -= height;
        a += height * a_row;
        c += height * c_row;
    }
}

/* C[r][i] = (or +=) the sum over p < k of A(r, p) B[p][i], for i < columns. Rows of B are padded to
 * whole vectors; of C nothing beyond the columns is touched. */
static void
NAME(product)(int64_t rows, int64_t columns, int64_t k, const T *a, int64_t a_row, int64_t a_col,
              const T *b, int64_t b_row, T *c, int64_t c_row, bool add)
{
    int64_t i = 0;
    for (; i + 2 * LANES <= columns; i += 2 * LANES)
        NAME(strip)(rows, 2, k, a, a_row, a_col, b + i, b_row, c + i, c_row, add);
    if (i + LANES <= columns) {
        NAME(strip)(rows, 1, k, a, a_row, a_col, b + i, b_row, c + i, c_row, add);
        i += LANES;
    }
    if (i == columns) return;
    for (int64_t r = 0; r < rows; r++) {
        T row[LANES];
        NAME(strip)(1, 1, k, a + r * a_row, a_row, a_col, b + i, b_row, row, LANES, false);
        for (int64_t j = i; j < columns; j++)
            c[r * c_row + j] = add ? c[r * c_row + j] + row[j - i] : row[j - i];
    }
}

/* --- blocks ----------------------------------------------------------------------------------------- */

static inline int64_t
NAME(whole)(int64_t n)
{
    return (n + LANES - 1) / LANES * LANES;
}

/* n rows of `columns` elements, times `scale`, as columns of width BLOCK; lanes from n on are 0. */
static void
NAME(pack_turned)(const T *from, int64_t row, int64_t col, int64_t n, int64_t columns, T scale,
                  T *to)
{
    const int64_t width = NAME(whole)(n);
    for (int64_t c = 0; c < columns; c++, to += NAME(BLOCK)) {
        for (int64_t i = 0; i < n; i++) to[i] = from[i * row + c * col] * scale;
        for (int64_t i = n; i < width; i++) to[i] = 0;
    }
}

/* The same as rows, padded to whole vectors. */
static void
NAME(pack_rows)(const T *from, int64_t row, int64_t col, int64_t n, int64_t columns, T scale, T *to)
{
    const int64_t width = NAME(whole)(columns);
    for (int64_t i = 0; i < n; i++, to += width) {
        for (int64_t c = 0; c < columns; c++) to[c] = from[i * row + c * col] * scale;
        for (int64_t c = columns; c < width; c++) to[c] = 0;
    }
}

/* A block of scores: queries [i0, i0 + n) by keys [j0, j0 + m) of head `head`. */
typedef struct NAME(Block) {
    const Attention *p;
    int64_t head, i0, n, j0, m;
} NAME(Block);

typedef T NAME(line)
    __attribute__((vector_size(MASK_ROWS * sizeof(T)), aligned(sizeof(T)), may_alias));
typedef __typeof__((NAME(line)){0} == (NAME(line)){0}) NAME(bits);

/* Hides the keys that n queries do not see: s[j][i] of a block where seen[i][j] is 0. Squares of the
 * mask are transposed in registers. */
static void
NAME(hide)(const Operand *mask, const uint8_t *seen, int64_t n, int64_t keys, T *s)
{
    const NAME(bits) hidden = (NAME(bits))((NAME(line)){0} - (T)INFINITY);
    int64_t j = 0;
    for (; n == MASK_ROWS && mask->col == 1 && j + MASK_ROWS <= keys; j += MASK_ROWS) {
        uint64_t rows[MASK_ROWS];
        for (int i = 0; i < MASK_ROWS; i++) memcpy(&rows[i], seen + i * mask->row + j, MASK_ROWS);
        if (transpose_bytes(rows)) continue;
        for (int k = 0; k < MASK_ROWS; k++) {
            NAME(line) *x = (NAME(line) *)(s + (j + k) * NAME(BLOCK));
            Bytes bytes;
            memcpy(&bytes, &rows[k], sizeof bytes);
            const NAME(bits) kept = -__builtin_convertvector(bytes, NAME(bits));
            *x = (NAME(line))(((NAME(bits)) * x & kept) | (hidden & ~kept));
        }
    }
    for (; j < keys; j++)
        for (int64_t i = 0; i < n; i++)
            if (!seen[i * mask->row + j * mask->col]) s[j * NAME(BLOCK) + i] = -(T)INFINITY;
}

/* s[j][i] += add[i][j], likewise. */
static void
NAME(bias)(const Operand *mask, const T *add, int64_t n, int64_t keys, T *s)
{
    int64_t j = 0;
    for (; n == MASK_ROWS && mask->col == 1 && j + MASK_ROWS <= keys; j += MASK_ROWS) {
        NAME(line) r[MASK_ROWS];
        for (int i = 0; i < MASK_ROWS; i++) r[i] = *(const NAME(line) *)(add + i * mask->row + j);
#define STEP(apart, first, second)                                                                 \
    _Pragma("GCC unroll 8")                                                                        \
    for (int i = 0; i < MASK_ROWS; i++) {                                                          \
        if (i & apart) continue;                                                                   \
        const NAME(line) a = r[i], b = r[i + apart];                                               \
        r[i] = __builtin_shufflevector(a, b, first);                                               \
        r[i + apart] = __builtin_shufflevector(a, b, second);                                      \
    }
#define LIST(...) __VA_ARGS__
        STEP(4, LIST(0, 1, 2, 3, 8, 9, 10, 11), LIST(4, 5, 6, 7, 12, 13, 14, 15))
        STEP(2, LIST(0, 1, 8, 9, 4, 5, 12, 13), LIST(2, 3, 10, 11, 6, 7, 14, 15))
        STEP(1, LIST(0, 8, 2, 10, 4, 12, 6, 14), LIST(1, 9, 3, 11, 5, 13, 7, 15))
#undef LIST
#undef STEP
        for (int k = 0; k < MASK_ROWS; k++) *(NAME(line) *)(s + (j + k) * NAME(BLOCK)) += r[k];
    }
    for (; j < keys; j++)
        for (int64_t i = 0; i < n; i++)
            s[j * NAME(BLOCK) + i] += add[i * mask->row + j * mask->col];
}

/* Masks the transposed scores of a block. */
static void
NAME(mask_block)(const NAME(Block) * b, T *s)
{
    const Attention *p = b->p;
    const Operand *mask = &p->mask;
    if (p->causal && b->j0 + b->m - 1 > b->i0)
        for (int64_t j = 0; j < b->m; j++) {
            const int64_t first = b->j0 + j - b->i0; /* the first query that sees the key */
            for (int64_t i = 0; i < b->n && i < first; i++) s[j * NAME(BLOCK) + i] = -(T)INFINITY;
        }
    if (!mask->data) return;
    const int64_t at = offset_of(p, mask, b->head, 1) + b->i0 * mask->row + b->j0 * mask->col;
    const uint8_t *seen = (const uint8_t *)mask->data + at;
    const T *add = (const T *)mask->data + at;
    for (int64_t i = 0; i < b->n; i += MASK_ROWS) {
        const int64_t n = b->n - i < MASK_ROWS ? b->n - i : MASK_ROWS;
        if (p->mask_is_bool)
            NAME(hide)(mask, seen + i * mask->row, n, b->m, s + i);
        else
            NAME(bias)(mask, add + i * mask->row, n, b->m, s + i);
    }
}

/* Drops the weights of a block where the bits say so, and scales the others. */
static void
NAME(drop_block)(const NAME(Block) * b, T *s)
{
    const Attention *p = b->p;
    const T scale = (T)(1 / (1 - p->dropout));
    const int64_t row = (p->keys + 7) / 8;
    if (!p->keep) return;
    for (int64_t i = 0; i < b->n; i++) {
        const uint8_t *bits = p->keep + (b->head * p->queries + b->i0 + i) * row;
        for (int64_t j = 0; j < b->m; j++) {
            const int64_t at = b->j0 + j;
            s[j * NAME(BLOCK) + i] *= bits[at / 8] >> (at % 8) & 1 ? scale : 0;
        }
    }
}

/* How many keys the queries up to i1 can see. */
static int64_t
NAME(keys_seen)(const Attention *p, int64_t i1)
{
    return p->causal && i1 < p->keys ? i1 : p->keys;
}

/* --- forward ------------------------------------------------------------------------------------------ */

/* Scores to weights against the largest score so far; what came before is scaled down. */
static void
NAME(soften)(T *s, int64_t m, int64_t width, T *top, T *sum, T *factor)
{
    T shift[NAME(BLOCK)], now[NAME(BLOCK)], total[NAME(BLOCK)];
    for (int64_t i = 0; i < width; i++) now[i] = top[i];
    for (int64_t j = 0; j < m; j++)
        for (int64_t i = 0; i < width; i++) {
            const T x = s[j * NAME(BLOCK) + i];
            now[i] = x > now[i] ? x : now[i];
        }
    for (int64_t i = 0; i < width; i++) {
        shift[i] = now[i] == -(T)INFINITY ? 0 : now[i];
        factor[i] = EXP(top[i] - shift[i]);
        top[i] = now[i];
        total[i] = sum[i] * factor[i];
    }
    for (int64_t j = 0; j < m; j++)
        for (int64_t i = 0; i < width; i++) {
            const T e = EXP(s[j * NAME(BLOCK) + i] - shift[i]);
            s[j * NAME(BLOCK) + i] = e;
            total[i] += e;
        }
    for (int64_t i = 0; i < width; i++) sum[i] = total[i];
}

/* The block of queries that begins at i0. Scratch: queries [E][BLOCK], scores [BLOCK][BLOCK],
 * result [Ev][BLOCK]. */
static void
NAME(forward_block)(const Attention *p, int64_t head, int64_t i0, T *scratch)
{
    const int64_t left = p->queries - i0, n = left < NAME(BLOCK) ? left : NAME(BLOCK);
    const int64_t width = NAME(whole)(n), stop = NAME(keys_seen)(p, i0 + n);
    T *q = scratch, *s = q + p->size * NAME(BLOCK), *o = s + NAME(BLOCK) * NAME(BLOCK);
    const T *k = (const T *)p->k.data + offset_of(p, &p->k, head, p->group);
    const T *v = (const T *)p->v.data + offset_of(p, &p->v, head, p->group);
    T top[NAME(BLOCK)], sum[NAME(BLOCK)], factor[NAME(BLOCK)];
    NAME(Block) b = {p, head, i0, n, 0, 0};
    for (int64_t i = 0; i < width; i++) {
        top[i] = -(T)INFINITY;
        sum[i] = 0;
    }
    NAME(pack_turned)((const T *)p->q.data + offset_of(p, &p->q, head, 1) + i0 * p->q.row, p->q.row,
                      p->q.col, n, p->size, (T)p->scale, q);
    for (; b.j0 < stop; b.j0 += NAME(BLOCK)) {
        b.m = stop - b.j0 < NAME(BLOCK) ? stop - b.j0 : NAME(BLOCK);
        NAME(product)(b.m, width, p->size, k + b.j0 * p->k.row, p->k.row, p->k.col, q, NAME(BLOCK),
                      s, NAME(BLOCK), false);
        NAME(mask_block)(&b, s);
        NAME(soften)(s, b.m, width, top, sum, factor);
        for (int64_t c = 0; b.j0 > 0 && c < p->value_size; c++)
            for (int64_t i = 0; i < width; i++) o[c * NAME(BLOCK) + i] *= factor[i];
        NAME(drop_block)(&b, s);
        NAME(product)(p->value_size, width, b.m, v + b.j0 * p->v.row, p->v.col, p->v.row, s,
                      NAME(BLOCK), o, NAME(BLOCK), b.j0 > 0);
    }
    T *to = (T *)p->out.data + offset_of(p, &p->out, head, 1) + i0 * p->out.row;
    T *lse = (T *)p->lse + head * p->queries + i0;
    for (int64_t i = 0; i < width; i++) {
        factor[i] = sum[i] == 0 ? 0 : 1 / sum[i];
        top[i] += LOG(sum[i]);
    }
    for (int64_t i = 0; i < n; i++) {
        lse[i] = top[i];
        for (int64_t c = 0; c < p->value_size; c++)
            to[i * p->out.row + c] = o[c * NAME(BLOCK) + i] * factor[i];
    }
}

static void
NAME(forward)(int64_t begin, int64_t end, void *context)
{
    Attention *p = context;
    const int64_t blocks = fac_chunks(p->queries, NAME(BLOCK));
    const int64_t rows = p->size + NAME(BLOCK) + p->value_size;
    T *scratch = take_scratch(p, (size_t)(rows * NAME(BLOCK)) * sizeof(T));
    for (; scratch && begin < end; begin++)
        NAME(forward_block)(p, begin / blocks, begin % blocks * NAME(BLOCK), scratch);
    give_scratch(scratch, (size_t)(rows * NAME(BLOCK)) * sizeof(T));
}

/* One query, whose scores are a row: for calls with few queries, that would leave lanes empty. */
static void
NAME(forward_row)(const Attention *p, int64_t head, int64_t i, T *s, T *q)
{
    const int64_t stop = NAME(keys_seen)(p, i + 1);
    const T *from = (const T *)p->q.data + offset_of(p, &p->q, head, 1) + i * p->q.row;
    const T *k = (const T *)p->k.data + offset_of(p, &p->k, head, p->group);
    const T *v = (const T *)p->v.data + offset_of(p, &p->v, head, p->group);
    const int64_t mask = p->mask.data ? offset_of(p, &p->mask, head, 1) + i * p->mask.row : 0;
    T *o = (T *)p->out.data + offset_of(p, &p->out, head, 1) + i * p->out.row;
    T top = -(T)INFINITY, sum = 0;
    for (int64_t c = 0; c < p->size; c++) q[c] = from[c * p->q.col] * (T)p->scale;
    for (int64_t j = 0; j < stop; j++) {
        T x = NAME(dot)(q, k + j * p->k.row, p->k.col, p->size);
        if (p->mask.data && p->mask_is_bool)
            x = ((const uint8_t *)p->mask.data)[mask + j * p->mask.col] ? x : -(T)INFINITY;
        else if (p->mask.data)
            x += ((const T *)p->mask.data)[mask + j * p->mask.col];
        s[j] = x;
        top = x > top ? x : top;
    }
    const T shift = top == -(T)INFINITY ? 0 : top;
    for (int64_t j = 0; j < stop; j++) s[j] = EXP(s[j] - shift);
    for (int64_t j = 0; j < stop; j++) sum += s[j];
    const T factor = sum == 0 ? 0 : 1 / sum, scale = (T)(1 / (1 - p->dropout));
    const uint8_t *bits = p->keep;
    if (bits) bits += (head * p->queries + i) * ((p->keys + 7) / 8);
    for (int64_t c = 0; c < p->value_size; c++) o[c] = 0;
    for (int64_t j = 0; j < stop; j++) {
        const T *row = v + j * p->v.row;
        const T w = bits ? (bits[j / 8] >> (j % 8) & 1 ? s[j] * scale : 0) : s[j];
        if (p->v.col == 1)
            for (int64_t c = 0; c < p->value_size; c++) o[c] += w * row[c];
        else
            for (int64_t c = 0; c < p->value_size; c++) o[c] += w * row[c * p->v.col];
    }
    for (int64_t c = 0; c < p->value_size; c++) o[c] *= factor;
    ((T *)p->lse)[head * p->queries + i] = top + LOG(sum);
}

static void
NAME(forward_rows)(int64_t begin, int64_t end, void *context)
{
    Attention *p = context;
    const size_t bytes = (size_t)(p->keys + p->size) * sizeof(T);
    T *scratch = take_scratch(p, bytes);
    for (; scratch && begin < end; begin++)
        NAME(forward_row)(p, begin / p->queries, begin % p->queries, scratch, scratch + p->keys);
    give_scratch(scratch, bytes);
}

/* --- backward ----------------------------------------------------------------------------------------- */

/* What a block of queries needs, all in scratch: queries and gradients of the result as columns and
 * as rows, the gradient of the queries as columns, two blocks of scores. */
typedef struct NAME(Work) {
    T *q_turned, *g_turned, *q_rows, *g_rows, *dq, *s, *ds;
    T shift[NAME(BLOCK)], inner[NAME(BLOCK)];
} NAME(Work);

static size_t
NAME(lay_out)(const Attention *p, T *at, NAME(Work) * w)
{
    const T *const start = at;
    T **parts[] = {&w->q_turned, &w->dq, &w->q_rows, &w->g_turned, &w->g_rows, &w->s, &w->ds};
    for (int i = 0; i < 7; i++) {
        *parts[i] = at;
        at += NAME(BLOCK) * (i < 3   ? NAME(whole)(p->size)
                             : i < 5 ? NAME(whole)(p->value_size)
                                     : NAME(BLOCK));
    }
    return (size_t)(at - start) * sizeof(T);
}

/* Packs the block of queries at i0; shift is the logarithm of the sum of its weights, inner the
 * product of result and gradient, by which softmax's gradient is reduced. */
static void
NAME(open_block)(const Attention *p, int64_t head, int64_t i0, int64_t n, NAME(Work) * w)
{
    const T *q = (const T *)p->q.data + offset_of(p, &p->q, head, 1) + i0 * p->q.row;
    const T *g = (const T *)p->g.data + offset_of(p, &p->g, head, 1) + i0 * p->g.row;
    const T *o = (const T *)p->out.data + offset_of(p, &p->out, head, 1) + i0 * p->out.row;
    const T *lse = (const T *)p->lse + head * p->queries + i0;
    const int64_t width = NAME(whole)(n);
    NAME(pack_turned)(q, p->q.row, p->q.col, n, p->size, (T)p->scale, w->q_turned);
    NAME(pack_rows)(q, p->q.row, p->q.col, n, p->size, (T)p->scale, w->q_rows);
    NAME(pack_turned)(g, p->g.row, p->g.col, n, p->value_size, 1, w->g_turned);
    NAME(pack_rows)(g, p->g.row, p->g.col, n, p->value_size, 1, w->g_rows);
    for (int64_t i = 0; i < width; i++) {
        T sum = 0;
        for (int64_t c = 0; i < n && c < p->value_size; c++)
            sum += g[i * p->g.row + c * p->g.col] * o[i * p->out.row + c * p->out.col];
        w->inner[i] = sum;
        w->shift[i] = i < n && lse[i] != -(T)INFINITY ? lse[i] : (T)INFINITY;
    }
}

/* One block of scores: adds to the gradients of its keys and values, and of its queries. */
static void
NAME(backward_block)(const NAME(Block) * b, NAME(Work) * w, const T *k, const T *v, T *dk, T *dv)
{
    const Attention *p = b->p;
    const int64_t width = NAME(whole)(b->n), wide = NAME(BLOCK);
    T *s = w->s, *ds = w->ds;
    NAME(product)(b->m, width, p->size, k, p->k.row, p->k.col, w->q_turned, wide, s, wide, false);
    NAME(mask_block)(b, s);
    for (int64_t j = 0; j < b->m; j++)
        for (int64_t i = 0; i < width; i++) s[j * wide + i] = EXP(s[j * wide + i] - w->shift[i]);
    NAME(product)(b->m, width, p->value_size, v, p->v.row, p->v.col, w->g_turned, wide, ds, wide,
                  false);
    NAME(drop_block)(b, ds);
    for (int64_t j = 0; j < b->m; j++)
        for (int64_t i = 0; i < width; i++)
            ds[j * wide + i] = s[j * wide + i] * (ds[j * wide + i] - w->inner[i]);
    NAME(drop_block)(b, s);
    NAME(product)(b->m, p->value_size, b->n, s, wide, 1, w->g_rows, NAME(whole)(p->value_size), dv,
                  p->dv.row, true);
    NAME(product)(b->m, p->size, b->n, ds, wide, 1, w->q_rows, NAME(whole)(p->size), dk, p->dk.row,
                  true);
    NAME(product)(p->size, width, b->m, k, p->k.col, p->k.row, ds, wide, w->dq, wide, b->j0 > 0);
}

/* All queries of one head against its keys and values. */
static void
NAME(backward_head)(const Attention *p, int64_t head, NAME(Work) * w)
{
    const T *k = (const T *)p->k.data + offset_of(p, &p->k, head, p->group);
    const T *v = (const T *)p->v.data + offset_of(p, &p->v, head, p->group);
    T *dk = (T *)p->dk.data + offset_of(p, &p->dk, head, p->group);
    T *dv = (T *)p->dv.data + offset_of(p, &p->dv, head, p->group);
    T *dq = (T *)p->dq.data + offset_of(p, &p->dq, head, 1);
    for (int64_t i0 = 0; i0 < p->queries; i0 += NAME(BLOCK)) {
        const int64_t left = p->queries - i0, n = left < NAME(BLOCK) ? left : NAME(BLOCK);
        const int64_t stop = NAME(keys_seen)(p, i0 + n);
        NAME(Block) b = {p, head, i0, n, 0, 0};
        NAME(open_block)(p, head, i0, n, w);
        for (; b.j0 < stop; b.j0 += NAME(BLOCK)) {
            b.m = stop - b.j0 < NAME(BLOCK) ? stop - b.j0 : NAME(BLOCK);
            NAME(backward_block)(&b, w, k + b.j0 * p->k.row, v + b.j0 * p->v.row,
                                 dk + b.j0 * p->dk.row, dv + b.j0 * p->dv.row);
        }
        for (int64_t i = 0; i < n; i++)
            for (int64_t c = 0; c < p->size; c++)
                dq[(i0 + i) * p->dq.row + c] = w->dq[c * NAME(BLOCK) + i] * (T)p->scale;
    }
}

/* Tasks are heads of keys and values, each with the group of query heads that share it. */
static void
NAME(backward)(int64_t begin, int64_t end, void *context)
{
    Attention *p = context;
    NAME(Work) w;
    const size_t bytes = NAME(lay_out)(p, NULL, &w);
    T *scratch = take_scratch(p, bytes);
    if (scratch) NAME(lay_out)(p, scratch, &w);
    for (; scratch && begin < end; begin++) {
        T *dk = (T *)p->dk.data + offset_of(p, &p->dk, begin * p->group, p->group);
        T *dv = (T *)p->dv.data + offset_of(p, &p->dv, begin * p->group, p->group);
        for (int64_t j = 0; j < p->keys; j++) {
            memset(dk + j * p->dk.row, 0, (size_t)p->size * sizeof(T));
            memset(dv + j * p->dv.row, 0, (size_t)p->value_size * sizeof(T));
        }
        for (int64_t h = 0; h < p->group; h++) NAME(backward_head)(p, begin * p->group + h, &w);
    }
    give_scratch(scratch, bytes);
}
#undef T
#undef NAME
#undef EXP
#undef LOG
#undef LANES
