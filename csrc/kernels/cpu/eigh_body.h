/* eigh_body.h - a panel of the reduction to tridiagonal form in one type: included by eigh.c with T, INDEX,
 * NAME and DTYPE defined. */

enum { NAME(LANES) = 64 / sizeof(T) };
typedef T NAME(Vec) __attribute__((vector_size(64), may_alias));
typedef INDEX NAME(Mask) __attribute__((vector_size(64)));

/* The sums of the lanes of EIGH_ROWS vectors. */
static inline void
NAME(add_up)(const NAME(Vec) * sums, T *out)
{
    T parts[NAME(LANES) / 2][EIGH_ROWS];
    const T *lanes = (const T *)sums;
    for (int l = 0; l < NAME(LANES) / 2; l++)
        for (int r = 0; r < EIGH_ROWS; r++)
            parts[l][r] = lanes[r * NAME(LANES) + l] + lanes[r * NAME(LANES) + NAME(LANES) / 2 + l];
    for (int half = NAME(LANES) / 4; half; half /= 2)
        for (int l = 0; l < half; l++)
            for (int r = 0; r < EIGH_ROWS; r++) parts[l][r] += parts[l + half][r];
    for (int r = 0; r < EIGH_ROWS; r++) out[r] = parts[0][r];
}

/* The products of EIGH_ROWS rows with x, of [from, to): whole vectors. */
static void
NAME(dots)(const T *a, int64_t step, const T *x, int64_t from, int64_t to, T *out)
{
    NAME(Vec) sums[EIGH_ROWS] = {{0}};
    for (int64_t p = from; p < to; p += NAME(LANES)) {
        const NAME(Vec) y = EIGH_LOAD(x + p);
        for (int r = 0; r < EIGH_ROWS; r++) sums[r] += EIGH_LOAD(a + r * step + p) * y;
    }
    NAME(add_up)(sums, out);
}

/* w = A x for rows and columns [from, to), of which the upper triangle is read, and each number of it
 * once: from is a multiple of EIGH_ROWS, to one of whole vectors. */
static void
NAME(symmetric)(const T *a, int64_t step, const T *x, int64_t from, int64_t to, T *w)
{
    NAME(Mask) lane;
    for (int l = 0; l < NAME(LANES); l++) lane[l] = l;
    for (int64_t p = from / NAME(LANES) * NAME(LANES); p < to; p++) w[p] = 0;
    for (int64_t i = from; i < to; i += EIGH_ROWS) {
        const T *row = a + i * step;
        const int64_t first = i / NAME(LANES) * NAME(LANES);
        NAME(Vec) sums[EIGH_ROWS], y = EIGH_LOAD(x + first), z = EIGH_LOAD(w + first);
        T out[EIGH_ROWS];
        for (int r = 0; r < EIGH_ROWS; r++) {
            const NAME(Mask) above = lane > (INDEX)(i - first + r);
            const NAME(Vec) u = (NAME(Vec))((NAME(Mask))EIGH_LOAD(row + r * step + first) & above);
            sums[r] = u * y;
            z += u * x[i + r];
        }
        *(NAME(Vec) *)(w + first) = z;
        for (int64_t p = first + NAME(LANES); p < to; p += NAME(LANES)) {
            y = EIGH_LOAD(x + p);
            z = EIGH_LOAD(w + p);
            for (int r = 0; r < EIGH_ROWS; r++) {
                const NAME(Vec) u = EIGH_LOAD(row + r * step + p);
                sums[r] += u * y;
                z += u * x[i + r];
            }
            *(NAME(Vec) *)(w + p) = z;
        }
        NAME(add_up)(sums, out);
        for (int r = 0; r < EIGH_ROWS; r++) w[i + r] += out[r] + row[r * step + i + r] * x[i + r];
    }
}

/* to -= the sum of x[p] * a_p + y[p] * b_p over rows p of a and b, for [from, end): whole vectors. */
static void
NAME(subtract)(T *to, int64_t from, int64_t end, int64_t count, int64_t step, const T *a,
               const T *x, const T *b, const T *y)
{
    for (; from < end; from += 2 * NAME(LANES)) {
        const int64_t next = from + NAME(LANES) < end ? from + NAME(LANES) : from;
        NAME(Vec) one = EIGH_LOAD(to + from), two = EIGH_LOAD(to + next);
        for (int64_t p = 0; p < count; p++) {
            const T *u = a + p * step, *v = b + p * step;
            one -= EIGH_LOAD(u + from) * x[p] + EIGH_LOAD(v + from) * y[p];
            two -= EIGH_LOAD(u + next) * x[p] + EIGH_LOAD(v + next) * y[p];
        }
        *(NAME(Vec) *)(to + from) = one;
        *(NAME(Vec) *)(to + next) = two;
    }
}

/* Rows [first, first + count) of the matrix to reflectors v and, beside them, w, such that what is left is
 * a - v w^T - w v^T; d and e are the diagonals of the result. Rows of v and w are zero in front of the
 * reflector and behind column n, those of a behind column n. */
static void
NAME(panel)(const Eigh *q, int64_t first, int64_t count)
{
    const int64_t n = q->n, step = q->step, end = (n + NAME(LANES) - 1) / NAME(LANES) * NAME(LANES);
    const T *a = (const T *)q->a;
    T *vs = (T *)q->v + first * step, *ws = (T *)q->w, x[EIGH_PANEL], y[EIGH_PANEL];
    T *d = (T *)q->d, *e = (T *)q->e, *tau = (T *)q->tau;
    for (int64_t c = 0; c < count; c++) {
        const int64_t j = first + c, left = n - j - 1, from = (j + 1) / NAME(LANES) * NAME(LANES);
        const int64_t start = j / NAME(LANES) * NAME(LANES);
        T *v = vs + c * step, *w = ws + c * step;
        memcpy(v + start, a + j * step + start, (size_t)(end - start) * sizeof(T));
        for (int64_t p = 0; p < c; p++) {
            x[p] = ws[p * step + j];
            y[p] = vs[p * step + j];
        }
        NAME(subtract)(v, start, end, c, step, vs, x, ws, y);
        d[j] = v[j];
        memset(v, 0, (size_t)(j + 1) * sizeof(T));
        memset(v + n, 0, (size_t)(step - n) * sizeof(T));
        memset(w, 0, (size_t)step * sizeof(T));
        tau[j] = 0;
        if (left == 0) break;
        FAC_TIERED(reflector)(DTYPE, v + j + 1, left, tau + j);
        e[j] = v[j + 1];
        v[j + 1] = 1;
        NAME(symmetric)(a, step, v, (j + 1) / EIGH_ROWS * EIGH_ROWS, end, w);
        for (int64_t p = 0; p < c; p += EIGH_ROWS) { /* of rows behind the panel, too: not read */
            NAME(dots)(ws + p * step, step, v, from, end, x + p);
            NAME(dots)(vs + p * step, step, v, from, end, y + p);
        }
        NAME(subtract)(w, from, end, c, step, vs, x, ws, y);
        memset(w, 0, (size_t)(j + 1) * sizeof(T));
        NAME(Vec) products = {0};
        T product = 0;
        for (int64_t p = from; p < end; p += NAME(LANES))
            products += EIGH_LOAD(w + p) * EIGH_LOAD(v + p);
        for (int l = 0; l < NAME(LANES); l++) product += products[l];
        product *= tau[j] * tau[j] / 2;
        for (int64_t p = from; p < end; p += NAME(LANES))
            *(NAME(Vec) *)(w + p) = tau[j] * EIGH_LOAD(w + p) - product * EIGH_LOAD(v + p);
    }
}

/* The upper triangle from a triangle of rows; zeros behind and below it. */
static void
NAME(take)(const Eigh *q, const void *from, bool upper)
{
    enum { TILE = 16 };
    const T *a = from;
    T *to = (T *)q->a;
    const int64_t n = q->n, rest = (q->step - n) * (int64_t)sizeof(T);
    for (int64_t i = 0; i < n; i++) {
        if (upper) memcpy(to + i * q->step + i, a + i * n + i, (size_t)(n - i) * sizeof(T));
        memset(to + i * q->step + n, 0, (size_t)rest);
    }
    memset(to + n * q->step, 0, (size_t)(EIGH_BEHIND * q->step) * sizeof(T));
    for (int64_t i0 = 0; i0 < n && !upper; i0 += TILE)
        for (int64_t j0 = 0; j0 <= i0; j0 += TILE)
            for (int64_t j = j0; j < j0 + TILE && j < n; j++)
                for (int64_t i = i0 > j ? i0 : j; i < i0 + TILE && i < n; i++)
                    to[j * q->step + i] = a[i * n + j];
}

static bool
NAME(is_finite)(const void *memory, int64_t n)
{
    const T *x = memory;
    for (int64_t i = 0; i < n; i++)
        if (!(x[i] - x[i] == 0)) return false;
    return true;
}

static void
NAME(negate)(const char *from, int64_t n, char *to)
{
    for (int64_t i = 0; i < n; i++) ((T *)to)[i] = -((const T *)from)[i];
}

static void
NAME(widen)(const Eigh *q, double *d, double *e)
{
    for (int64_t i = 0; i < q->n; i++) d[i] = ((const T *)q->d)[i];
    for (int64_t i = 0; i + 1 < q->n; i++) e[i] = ((const T *)q->e)[i];
}

static void
NAME(narrow)(const Eigh *q, const double *d, void *to)
{
    for (int64_t i = 0; i < q->n; i++) ((T *)to)[i] = (T)d[i];
}

#undef T
#undef INDEX
#undef NAME
#undef DTYPE
