/* sort_body.h - sorting, selecting and searching for one type; included by sort.c with T, NAME(x)
 * and KEY(x) defined. LESS(a, b) puts NaN after every number. Keys travel with their indices.
 *
 * Long rows are sorted by digits (radix.h), which keeps equal elements in their order; those of
 * one or two bytes, mostly ties, only where that is asked for. Short ones sort stably by a bottom-up merge over runs made by insertion.
 * Other sorting and topk leave equal keys in an order that depends on every step, so they are, step
 * by step, the introsort, introselect and heaps of the C++ library with which the peer is built: both
 * give the same indices.
 */

static inline bool
NAME(less)(T a, T b)
{
    return LESS(a, b);
}

static inline bool
NAME(before)(T a, T b, bool descending)
{
    return descending ? NAME(less)(b, a) : NAME(less)(a, b);
}

/* What is sorted: keys, where they come from, and which way. */
typedef struct NAME(Items) {
    T *key;
    int64_t *at;
    bool descending;
} NAME(Items);

static inline bool
NAME(precedes)(const NAME(Items) * s, int64_t i, int64_t j)
{
    return NAME(before)(s->key[i], s->key[j], s->descending);
}

static inline void
NAME(move)(const NAME(Items) * s, int64_t to, int64_t from)
{
    s->key[to] = s->key[from];
    s->at[to] = s->at[from];
}

static inline void
NAME(swap)(const NAME(Items) * s, int64_t i, int64_t j)
{
    T key = s->key[i];
    int64_t at = s->at[i];
    NAME(move)(s, i, j);
    s->key[j] = key;
    s->at[j] = at;
}

static void
NAME(insertion)(const NAME(Items) * s, int64_t begin, int64_t end)
{
    for (int64_t i = begin + 1; i < end; i++) {
        T key = s->key[i];
        int64_t at = s->at[i], j = i;
        for (; j > begin && NAME(before)(key, s->key[j - 1], s->descending); j--)
            NAME(move)(s, j, j - 1);
        s->key[j] = key;
        s->at[j] = at;
    }
}

/* --- stable ------------------------------------------------------------------------------------------------- */

static void
NAME(merge)(const T *key, const int64_t *at, T *to, int64_t *to_at, int64_t begin, int64_t middle,
            int64_t end, bool descending)
{
    int64_t a = begin, b = middle;
    for (int64_t i = begin; i < end; i++) {
        bool second = b < end && (a >= middle || NAME(before)(key[b], key[a], descending));
        int64_t from = second ? b++ : a++;
        to[i] = key[from];
        to_at[i] = at[from];
    }
}

/* Sorts n keys and their indices in place; `spare` arrays of the same length. */
static void
NAME(stable_sort)(const NAME(Items) * s, T *spare, int64_t *spare_at, int64_t n)
{
    enum { RUN = 16 };
    for (int64_t i = 0; i < n; i += RUN) NAME(insertion)(s, i, i + RUN < n ? i + RUN : n);
    T *from = s->key, *to = spare;
    int64_t *from_at = s->at, *to_at = spare_at;
    for (int64_t width = RUN; width < n; width *= 2) {
        for (int64_t i = 0; i < n; i += 2 * width) {
            int64_t middle = i + width < n ? i + width : n,
                    end = i + 2 * width < n ? i + 2 * width : n;
            NAME(merge)(from, from_at, to, to_at, i, middle, end, s->descending);
        }
        T *swap = from;
        int64_t *swap_at = from_at;
        from = to;
        from_at = to_at;
        to = swap;
        to_at = swap_at;
    }
    if (from != s->key) {
        memcpy(s->key, from, (size_t)n * sizeof *from);
        memcpy(s->at, from_at, (size_t)n * sizeof *from_at);
    }
}

/* --- not stable --------------------------------------------------------------------------------------------- */

/* Puts (key, at) into the hole of a heap of n items whose last item in order is on top. */
static void
NAME(sift)(const NAME(Items) * s, int64_t hole, int64_t n, T key, int64_t at)
{
    int64_t top = hole, child = hole;
    while (child < (n - 1) / 2) {
        child = 2 * (child + 1);
        if (NAME(precedes)(s, child, child - 1)) child--;
        NAME(move)(s, hole, child);
        hole = child;
    }
    if ((n & 1) == 0 && child == (n - 2) / 2) {
        child = 2 * child + 1;
        NAME(move)(s, hole, child);
        hole = child;
    }
    for (; hole > top; hole = (hole - 1) / 2) {
        int64_t parent = (hole - 1) / 2;
        if (!NAME(before)(s->key[parent], key, s->descending)) break;
        NAME(move)(s, hole, parent);
    }
    s->key[hole] = key;
    s->at[hole] = at;
}

/* The top of a heap of n items goes to `to`, whose item goes into the heap. */
static void
NAME(pop)(const NAME(Items) * s, int64_t n, int64_t to)
{
    T key = s->key[to];
    int64_t at = s->at[to];
    NAME(move)(s, to, 0);
    NAME(sift)(s, 0, n, key, at);
}

/* The first k of n items in order become a heap at the front. */
static void
NAME(heap_select)(const NAME(Items) * s, int64_t k, int64_t n)
{
    for (int64_t i = (k - 2) / 2; k > 1 && i >= 0; i--) NAME(sift)(s, i, k, s->key[i], s->at[i]);
    for (int64_t i = k; i < n; i++)
        if (NAME(precedes)(s, i, 0)) NAME(pop)(s, k, i);
}

static void
NAME(heap_sort)(const NAME(Items) * s, int64_t n)
{
    while (n-- > 1) NAME(pop)(s, n, n);
}

/* Splits at the median of three, which goes to the front; returns where the second part begins. */
static int64_t
NAME(partition)(const NAME(Items) * s, int64_t n)
{
    int64_t a = 1, b = n / 2, c = n - 1, low = 1, high = n;
    bool ab = NAME(precedes)(s, a, b), bc = NAME(precedes)(s, b, c), ac = NAME(precedes)(s, a, c);
    NAME(swap)(s, 0, ab ? (bc ? b : ac ? c : a) : ac ? a : bc ? c : b);
    for (;; low++) {
        while (NAME(precedes)(s, low, 0)) low++;
        for (high--; NAME(precedes)(s, 0, high);) high--;
        if (low >= high) return low;
        NAME(swap)(s, low, high);
    }
}

static NAME(Items) NAME(from)(const NAME(Items) * s, int64_t begin)
{
    return (NAME(Items)){s->key + begin, s->at + begin, s->descending};
}

static int
NAME(depth)(int64_t n)
{
    return 2 * (63 - __builtin_clzll((unsigned long long)n));
}

/* Sorts all but runs of at most 16. */
static void
NAME(introsort)(const NAME(Items) * s, int64_t n, int depth)
{
    while (n > 16) {
        if (depth-- == 0) {
            NAME(heap_select)(s, n, n);
            NAME(heap_sort)(s, n);
            return;
        }
        int64_t cut = NAME(partition)(s, n);
        NAME(Items) rest = NAME(from)(s, cut);
        NAME(introsort)(&rest, n - cut, depth);
        n = cut;
    }
}

static void
NAME(sort)(const NAME(Items) * s, int64_t n)
{
    if (n > 1) NAME(introsort)(s, n, NAME(depth)(n));
    NAME(insertion)(s, 0, n);
}

/* Item k becomes what it is in order, and what precedes it comes before it. */
static void
NAME(introselect)(NAME(Items) s, int64_t k, int64_t n)
{
    for (int depth = NAME(depth)(n); n > 3;) {
        if (depth-- == 0) {
            NAME(heap_select)(&s, k + 1, n);
            NAME(swap)(&s, 0, k);
            return;
        }
        int64_t cut = NAME(partition)(&s, n);
        if (cut <= k) {
            s = NAME(from)(&s, cut);
            k -= cut;
            n -= cut;
        } else {
            n = cut;
        }
    }
    NAME(insertion)(&s, 0, n);
}

/* The first k of n items in order come to the front. */
static void
NAME(select)(const NAME(Items) * s, int64_t k, int64_t n, bool sorted)
{
    if (k * 64 <= n) {
        NAME(heap_select)(s, k, n);
        NAME(heap_sort)(s, k);
    } else {
        NAME(introselect)(*s, k - 1, n);
        if (sorted) NAME(sort)(s, k - 1);
    }
}

/* --- rows --------------------------------------------------------------------------------------------------- */

/* One row by digits; the scratch has room for two arrays of words or of pairs. */
static void
NAME(radix_row)(const Rows *r, const T *from, T *values, int64_t *indices, char *scratch)
{
    uint64_t flip = r->descending ? UINT64_MAX : 0;
    if (sizeof(T) <= 4) {
        uint64_t *items = (uint64_t *)scratch;
        for (int64_t i = 0; i < r->n; i++)
            items[i] = ((uint64_t)KEY(from[i * r->stride]) ^ flip) << 32 | (uint64_t)i;
        items = radix_short(items, items + r->n, r->n, (int)sizeof(T));
        for (int64_t i = 0; i < r->n; i++) {
            int64_t at = (int64_t)(items[i] & UINT32_MAX);
            indices[i * r->stride] = at;
            values[i * r->stride] = from[at * r->stride];
        }
        return;
    }
    Keyed *items = (Keyed *)scratch;
    for (int64_t i = 0; i < r->n; i++)
        items[i] = (Keyed){(uint64_t)KEY(from[i * r->stride]) ^ flip, i};
    items = radix_long(items, items + r->n, r->n);
    for (int64_t i = 0; i < r->n; i++) {
        indices[i * r->stride] = items[i].at;
        values[i * r->stride] = from[items[i].at * r->stride];
    }
}

static void
NAME(sort_rows)(int64_t begin, int64_t end, void *context)
{
    const Rows *rows = context;
    int64_t n = rows->n;
    char *scratch = fac_mem_alloc((size_t)n * 2 * (sizeof(T) + sizeof(int64_t)));
    if (!scratch) {
        atomic_store(rows->failed, true);
        return;
    }
    int64_t *at = (int64_t *)scratch, *spare_at = at + n;
    T *key = (T *)(spare_at + n), *spare = key + n;
    NAME(Items) items = {key, at, rows->descending};
    for (int64_t row = begin; row < end; row++) {
        const T *from = (const T *)rows->from + row_start(rows, row);
        T *values = (T *)rows->values + result_start(rows, row);
        int64_t *indices = rows->indices + result_start(rows, row), k = rows->k;
        if (rows->digits && n >= RADIX_MIN && n <= INT32_MAX) {
            NAME(radix_row)(rows, from, values, indices, scratch);
            continue;
        }
        for (int64_t i = 0; i < n; i++) {
            key[i] = from[i * rows->stride];
            at[i] = i;
        }
        if (rows->how == SORT_STABLE)
            NAME(stable_sort)(&items, spare, spare_at, n);
        else if (rows->how == SORT)
            NAME(sort)(&items, n);
        else
            NAME(select)(&items, k, n, rows->how == SELECT_SORTED);
        for (int64_t i = 0; i < k; i++) {
            values[i * rows->stride] = key[i];
            indices[i * rows->stride] = at[i];
        }
    }
    fac_mem_free(scratch);
}

static int64_t
NAME(lower)(const T *sequence, const int64_t *order, int64_t n, T value, bool right)
{
    int64_t low = 0, high = n;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        T at = sequence[order ? order[middle] : middle];
        bool go_right = right ? !NAME(less)(value, at) : NAME(less)(at, value);
        if (go_right)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The same for a number in a sequence that lies sorted, without a branch on the elements: nothing to
 * predict, and several searches are under way at once. NaN, at the end of the sequence, is neither below. */
static inline __attribute__((always_inline)) int64_t
NAME(lower_plain)(const T *sequence, int64_t n, T value, const bool right)
{
    const T *at = sequence;
    for (int64_t half; n > 0; n -= half) {
        half = (n + 1) / 2;
        const T middle = at[half - 1];
        const bool below = right ? middle <= value : middle < value;
        at += half & -(int64_t)below;
    }
    return at - sequence;
}

static void
NAME(search)(int64_t begin, int64_t end, void *context)
{
    const Search *s = context;
    for (int64_t i = begin; i < end; i++) {
        int64_t row = s->shared ? 0 : i / s->per_row;
        const T *sequence = (const T *)s->sequence + row * s->n, value = ((const T *)s->values)[i];
        const int64_t *order = s->order ? s->order + row * s->n : NULL;
        if (order || value != value)
            s->out[i] = NAME(lower)(sequence, order, s->n, value, s->right);
        else if (s->right)
            s->out[i] = NAME(lower_plain)(sequence, s->n, value, true);
        else
            s->out[i] = NAME(lower_plain)(sequence, s->n, value, false);
    }
}
