/* rank_body.h - selection by rank in one row of n elements of type T.
 *
 * Included once a dtype with T, SUFFIX and IS_NAN defined; undefines them. Rows stay as they are: what
 * moves is `order`, the positions 0..n-1. Of equal elements any may be the one selected; the partition
 * schemes here (median of three, from both ends) settle it as is usual in C++ and in quickselect.
 */
#define NAME_(a, b) a##_##b
#define NAME2(a, b) NAME_(a, b)
#define NAME(a) NAME2(a, SUFFIX)

/* x[i] stands before x[j]; NaN after everything else. */
static inline bool
NAME(before)(const T *x, int64_t i, int64_t j)
{
    return (x[i] < x[j]) | (!IS_NAN(x[i]) & IS_NAN(x[j]));
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
        middle = NAME(before)(x, order[b], order[c]) ? b : NAME(before)(x, order[a], order[c]) ? c : a;
    else
        middle = NAME(before)(x, order[a], order[c]) ? a : NAME(before)(x, order[b], order[c]) ? c : b;
    NAME(swap)(order, 0, middle);
}

/* After it order[k] is the k-th in rank, smaller ones stand before it and larger ones behind. */
static void
NAME(nth)(const T *x, int64_t *order, int64_t n, int64_t k)
{
    while (n > 3) {
        int64_t i = 1, j = n, pivot;
        NAME(choose_pivot)(x, order, n);
        pivot = order[0];
        for (;;) {
            while (NAME(before)(x, order[i], pivot)) i++;
            j--;
            while (NAME(before)(x, pivot, order[j])) j--;
            if (i >= j) break;
            NAME(swap)(order, i, j);
            i++;
        }
        if (i <= k) {
            order += i;
            n -= i;
            k -= i;
        } else {
            n = i;
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
    if (right == left + 1 && NAME(before)(x, order[right], order[left])) NAME(swap)(order, left, right);
}

static int64_t
NAME(kth_at)(const T *x, int64_t *order, int64_t n, int64_t k)
{
    NAME(quickselect)(x, order, n, k);
    return order[k];
}

/* The first NaN if there is one and NaN is not left out, else the lower median. */
static int64_t
NAME(median_at)(const T *x, int64_t *order, int64_t n, int64_t skip_nan)
{
    int64_t valid = 0;
    for (int64_t i = 0; i < n; i++) {
        if (!IS_NAN(x[i])) valid++;
        else if (!skip_nan) return i;
    }
    int64_t k = valid ? (valid - 1) / 2 : 0;
    NAME(nth)(x, order, n, k);
    return order[k];
}

static int
NAME(compare)(const void *a, const void *b)
{
    T x = *(const T *)a, y = *(const T *)b;
    if (IS_NAN(x) || IS_NAN(y)) return IS_NAN(x) - IS_NAN(y);
    return (x > y) - (x < y);
}

/* The last position of the value that comes most often, the smallest of several such values. */
static int64_t
NAME(mode_at)(const T *x, int64_t *order, int64_t n, int64_t unused)
{
    T *sorted = (T *)order, value;
    int64_t run = 0, longest = 0, at = n - 1;
    (void)unused;
    memcpy(sorted, x, (size_t)n * sizeof(T));
    qsort(sorted, (size_t)n, sizeof(T), NAME(compare));
    value = sorted[0];
    for (int64_t i = 0; i < n; i++) {
        run = i > 0 && sorted[i] == sorted[i - 1] ? run + 1 : 1;
        if (run > longest) {
            longest = run;
            value = sorted[i];
        }
    }
    while (at > 0 && !(x[at] == value || (IS_NAN(value) & IS_NAN(x[at])))) at--;
    return at;
}

#undef NAME
#undef NAME2
#undef NAME_
#undef T
#undef SUFFIX
#undef IS_NAN
