/* rank_body.h - selection by rank in one row of n elements of type T.
 *
 * Included once a dtype with T, SUFFIX and IS_NAN defined; undefines them. Rows stay as they are:
 * what moves is `order`, the positions 0..n-1. Which of several equal elements is selected depends
 * on how they are moved: the schemes here are the usual ones, introsort as in C++ and quickselect.
 */
#define NAME_(a, b) a##_##b
#define NAME2(a, b) NAME_(a, b)
#define NAME(a) NAME2(a, SUFFIX)

/* NaN stands after everything else. */
static inline bool
NAME(is_less)(T a, T b)
{
    return (a < b) | (!IS_NAN(a) & IS_NAN(b));
}

static inline bool
NAME(same)(T a, T b)
{
    return (a == b) | (IS_NAN(a) & IS_NAN(b));
}

static inline bool
NAME(before)(const T *x, int64_t i, int64_t j)
{
    return NAME(is_less)(x[i], x[j]);
}

static inline void
NAME(swap)(int64_t *order, int64_t i, int64_t j)
{
    int64_t kept = order[i];
    order[i] = order[j];
    order[j] = kept;
}

static void
NAME(insertion_sort)(const T *x, int64_t *order, int64_t n)
{
    for (int64_t i = 1; i < n; i++) {
        int64_t moving = order[i], k = i;
        for (; k > 0 && NAME(before)(x, moving, order[k - 1]); k--) order[k] = order[k - 1];
        order[k] = moving;
    }
}

/* Moves the median of order[1], the middle and the last to order[0]. */
static void
NAME(choose_pivot)(const T *x, int64_t *order, int64_t n)
{
    int64_t a = 1, b = n / 2, c = n - 1, middle;
    if (NAME(before)(x, order[a], order[b]))
        middle = NAME(before)(x, order[b], order[c])   ? b
                 : NAME(before)(x, order[a], order[c]) ? c
                                                       : a;
    else
        middle = NAME(before)(x, order[a], order[c])   ? a
                 : NAME(before)(x, order[b], order[c]) ? c
                                                       : b;
    NAME(swap)(order, 0, middle);
}

/* Splits n > 3 positions by a pivot of theirs: none before the returned place stands behind one
 * after it. */
static int64_t
NAME(partition)(const T *x, int64_t *order, int64_t n)
{
    int64_t i = 1, j = n, pivot;
    NAME(choose_pivot)(x, order, n);
    pivot = order[0];
    for (;;) {
        while (NAME(before)(x, order[i], pivot)) i++;
        j--;
        while (NAME(before)(x, pivot, order[j])) j--;
        if (i >= j) return i;
        NAME(swap)(order, i, j);
        i++;
    }
}

static void
NAME(sift_down)(const T *x, int64_t *order, int64_t n, int64_t at)
{
    for (int64_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && NAME(before)(x, order[child], order[child + 1])) child++;
        if (!NAME(before)(x, order[at], order[child])) return;
        NAME(swap)(order, at, child);
    }
}

/* For the rows on which partitioning does badly. */
static void
NAME(heap_sort)(const T *x, int64_t *order, int64_t n)
{
    for (int64_t at = n / 2 - 1; at >= 0; at--) NAME(sift_down)(x, order, n, at);
    for (int64_t last = n - 1; last > 0; last--) {
        NAME(swap)(order, 0, last);
        NAME(sift_down)(x, order, last, 0);
    }
}

/* Sorts but for disorder within runs of 16. */
static void
NAME(sort_roughly)(const T *x, int64_t *order, int64_t n, int depth)
{
    for (; n > 16; depth--) {
        if (depth == 0) {
            NAME(heap_sort)(x, order, n);
            return;
        }
        int64_t cut = NAME(partition)(x, order, n);
        NAME(sort_roughly)(x, order + cut, n - cut, depth - 1);
        n = cut;
    }
}

/* After it order[k] is the k-th in rank, smaller ones stand before it and larger ones behind. */
static void
NAME(nth)(const T *x, int64_t *order, int64_t n, int64_t k)
{
    for (int depth = depth_limit(n); n > 3; depth--) {
        if (depth == 0) {
            NAME(heap_sort)(x, order, n);
            return;
        }
        int64_t cut = NAME(partition)(x, order, n);
        if (cut <= k) {
            order += cut;
            n -= cut;
            k -= cut;
        } else {
            n = cut;
        }
    }
    NAME(insertion_sort)(x, order, n);
}

/* The same result by quickselect with the pivot kept at the left end. */
static void
NAME(quickselect)(const T *x, int64_t *order, int64_t n, int64_t k)
{
    int64_t left = 0, right = n - 1;
    while (right > left + 1) {
        int64_t i = left + 1, j = right;
        NAME(swap)(order, left + (right - left) / 2, left + 1);
        if (NAME(before)(x, order[right], order[left + 1])) NAME(swap)(order, left + 1, right);
        if (NAME(before)(x, order[right], order[left])) NAME(swap)(order, left, right);
        if (NAME(before)(x, order[left], order[left + 1])) NAME(swap)(order, left + 1, left);
        int64_t pivot = order[left];
        for (;;) {
            do i++;
            while (NAME(before)(x, order[i], pivot));
            do j--;
            while (NAME(before)(x, pivot, order[j]));
            if (j < i) break;
            NAME(swap)(order, i, j);
        }
        NAME(swap)(order, left, j);
        if (j <= k) left = i;
        if (j >= k) right = j - 1;
    }
    if (right == left + 1 && NAME(before)(x, order[right], order[left]))
        NAME(swap)(order, left, right);
}

static int64_t
NAME(kth_at)(const T *x, int64_t *order, int64_t n, int64_t k)
{
    NAME(quickselect)(x, order, n, k);
    return order[k];
}

/* The first NaN if there is one and NaN is not left out, else the lower median; of equal elements
 * the one whose rank it is when they keep their order. */
static int64_t
NAME(median_at)(const T *x, int64_t *order, int64_t n, int64_t skip_nan)
{
    int64_t valid = 0;
    for (int64_t i = 0; i < n; i++) {
        if (!IS_NAN(x[i]))
            valid++;
        else if (!skip_nan)
            return i;
    }
    int64_t k = valid ? (valid - 1) / 2 : 0, at = 0;
    NAME(nth)(x, order, n, k);
    T value = x[order[k]];
    for (int64_t i = 0; i < n; i++) k -= NAME(is_less)(x[i], value);
    for (;; at++)
        if (NAME(same)(x[at], value) && k-- == 0) return at;
}

/* The value that comes most often, the smallest of several such values, at the place where an
 * unstable sort puts it last. */
static int64_t
NAME(mode_at)(const T *x, int64_t *order, int64_t n)
{
    int64_t run = 0, longest = 0, at = 0;
    NAME(sort_roughly)(x, order, n, depth_limit(n));
    NAME(insertion_sort)(x, order, n);
    for (int64_t i = 0; i < n; i++) {
        run++;
        if (i + 1 < n && x[order[i]] == x[order[i + 1]]) continue;
        if (run > longest) {
            longest = run;
            at = order[i];
        }
        run = 0;
    }
    return at;
}

#undef NAME
#undef NAME2
#undef NAME_
#undef T
#undef SUFFIX
#undef IS_NAN
