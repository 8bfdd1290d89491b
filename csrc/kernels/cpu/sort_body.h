/* sort_body.h - sorting, selecting and searching for one type; included by sort.c with T and NAME(x)
 * defined. LESS(a, b) puts NaN after every number.
 *
 * Sorting is a bottom-up merge over short runs made by insertion: stable, and the same order whatever the
 * machine. Keys travel with their indices.
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

static void
NAME(insertion)(T *key, int64_t *at, int64_t begin, int64_t end, bool descending)
{
    for (int64_t i = begin + 1; i < end; i++) {
        T k = key[i];
        int64_t from = at[i], j = i;
        for (; j > begin && NAME(before)(k, key[j - 1], descending); j--) {
            key[j] = key[j - 1];
            at[j] = at[j - 1];
        }
        key[j] = k;
        at[j] = from;
    }
}

static void
NAME(merge)(const T *key, const int64_t *at, T *to, int64_t *to_at, int64_t begin, int64_t middle, int64_t end,
            bool descending)
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
NAME(sort)(T *key, int64_t *at, T *spare, int64_t *spare_at, int64_t n, bool descending)
{
    enum { RUN = 16 };
    for (int64_t i = 0; i < n; i += RUN) NAME(insertion)(key, at, i, i + RUN < n ? i + RUN : n, descending);
    T *from = key, *to = spare;
    int64_t *from_at = at, *to_at = spare_at;
    for (int64_t width = RUN; width < n; width *= 2) {
        for (int64_t i = 0; i < n; i += 2 * width) {
            int64_t middle = i + width < n ? i + width : n, end = i + 2 * width < n ? i + 2 * width : n;
            NAME(merge)(from, from_at, to, to_at, i, middle, end, descending);
        }
        T *swap = from;
        int64_t *swap_at = from_at;
        from = to;
        from_at = to_at;
        to = swap;
        to_at = swap_at;
    }
    if (from != key) {
        memcpy(key, from, (size_t)n * sizeof *key);
        memcpy(at, from_at, (size_t)n * sizeof *at);
    }
}

/* Whether element a ranks behind b among the k best: worse, or as good and later. */
static inline bool
NAME(behind)(const T *key, int64_t a, int64_t b, bool largest)
{
    if (NAME(before)(key[b], key[a], largest)) return true;
    return !NAME(before)(key[a], key[b], largest) && a > b;
}

/* The k best of n keys: a heap with the worst of them on top. */
static void
NAME(select)(const T *key, int64_t n, int64_t k, bool largest, int64_t *heap)
{
    int64_t size = 0;
    for (int64_t i = 0; i < n && k; i++) {
        int64_t slot;
        if (size < k) {
            slot = size++;
            for (; slot && NAME(behind)(key, i, heap[(slot - 1) / 2], largest); slot = (slot - 1) / 2)
                heap[slot] = heap[(slot - 1) / 2];
            heap[slot] = i;
        } else if (NAME(behind)(key, heap[0], i, largest)) {
            for (slot = 0;;) {
                int64_t child = 2 * slot + 1;
                if (child >= k) break;
                if (child + 1 < k && NAME(behind)(key, heap[child + 1], heap[child], largest)) child++;
                if (!NAME(behind)(key, heap[child], i, largest)) break;
                heap[slot] = heap[child];
                slot = child;
            }
            heap[slot] = i;
        }
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
    for (int64_t row = begin; row < end; row++) {
        const T *from = (const T *)rows->from + row_start(rows, row);
        T *values = (T *)rows->values + result_start(rows, row);
        int64_t *indices = rows->indices + result_start(rows, row), k = rows->k;
        for (int64_t i = 0; i < n; i++) {
            key[i] = from[i * rows->stride];
            at[i] = i;
        }
        if (rows->select) {
            NAME(select)(key, n, k, rows->descending, spare_at);
            for (int64_t i = 0; i < k; i++) at[i] = spare_at[i];
            index_insertion(at, k);
            for (int64_t i = 0; i < k; i++) spare[i] = key[at[i]];
            memcpy(key, spare, (size_t)k * sizeof *key);
        }
        NAME(sort)(key, at, spare, spare_at, k, rows->descending);
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
        if (go_right) low = middle + 1;
        else high = middle;
    }
    return low;
}

static void
NAME(search)(int64_t begin, int64_t end, void *context)
{
    const Search *s = context;
    for (int64_t i = begin; i < end; i++) {
        int64_t row = s->shared ? 0 : i / s->per_row;
        const int64_t *order = s->order ? s->order + row * s->n : NULL;
        s->out[i] = NAME(lower)((const T *)s->sequence + row * s->n, order, s->n, ((const T *)s->values)[i], s->right);
    }
}
