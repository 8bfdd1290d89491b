/* eigh_body.h - a panel of the reduction to tridiagonal form in one type: included by eigh.c with T, NAME
 * and DTYPE defined. */

enum { NAME(LANES) = 64 / sizeof(T) };
typedef T NAME(vec) __attribute__((vector_size(64), aligned(sizeof(T)), may_alias));

/* The sums of the products of `rows` rows with x. */
static inline __attribute__((always_inline)) void
NAME(dots)(const T *a, int64_t step, const T *x, int64_t n, int rows, T *out)
{
    NAME(vec) sums[8] = {{0}};
    int64_t p = 0;
    for (; p + NAME(LANES) <= n; p += NAME(LANES)) {
        const NAME(vec) y = *(const NAME(vec) *)(x + p);
        for (int r = 0; r < rows; r++) sums[r] += *(const NAME(vec) *)(a + r * step + p) * y;
    }
    for (int r = 0; r < rows; r++) {
        T sum = 0;
        for (int i = 0; i < NAME(LANES); i++) sum += sums[r][i];
        for (int64_t i = p; i < n; i++) sum += a[r * step + i] * x[i];
        out[r] = sum;
    }
}

static T
NAME(dot)(const T *a, const T *b, int64_t n)
{
    T sum;
    NAME(dots)(a, 0, b, n, 1, &sum);
    return sum;
}

static void
NAME(multiply)(const T *a, int64_t step, const T *x, int64_t n, int64_t rows, T *out)
{
    int64_t i = 0;
    for (; i + 8 <= rows; i += 8) NAME(dots)(a + i * step, step, x, n, 8, out + i);
    for (; i < rows; i++) out[i] = NAME(dot)(a + i * step, x, n);
}

/* to -= x * a + y * b. */
static void
NAME(subtract)(T *to, const T *a, T x, const T *b, T y, int64_t n)
{
    for (int64_t i = 0; i < n; i++) to[i] -= x * a[i] + y * b[i];
}

/* Rows [first, first + count) of the n x n matrix a to reflectors v and, beside them, w, such that what
 * is left is a - v w^T - w v^T; d and e are the diagonals of the result. Rows of v and w have n elements,
 * those before the reflector zero. */
static void
NAME(panel)(const Eigh *q, int64_t first, int64_t count)
{
    const int64_t n = q->n, step = q->step;
    const T *a = (const T *)q->a;
    T *vs = (T *)q->v + first * n, *ws = (T *)q->w;
    T *d = (T *)q->d, *e = (T *)q->e, *tau = (T *)q->tau;
    for (int64_t c = 0; c < count; c++) {
        const int64_t j = first + c, left = n - j - 1;
        T *v = vs + c * n, *w = ws + c * n;
        memcpy(v + j, a + j * step + j, (size_t)(left + 1) * sizeof(T));
        for (int64_t p = 0; p < c; p++)
            NAME(subtract)(v + j, vs + p * n + j, ws[p * n + j], ws + p * n + j, vs[p * n + j],
                           left + 1);
        d[j] = v[j];
        memset(v, 0, (size_t)(j + 1) * sizeof(T));
        memset(w, 0, (size_t)(j + 1) * sizeof(T));
        tau[j] = 0;
        if (left == 0) break;
        v += j + 1;
        w += j + 1;
        FAC_TIERED(reflector)(DTYPE, v, left, tau + j);
        e[j] = v[0];
        v[0] = 1;
        /* from a whole vector on: v is zero in front of the reflector */
        const int64_t from = (j + 1) / NAME(LANES) * NAME(LANES);
        NAME(multiply)(a + (j + 1) * step + from, step, vs + c * n + from, n - from, left, w);
        for (int64_t p = 0; p < c; p++) {
            const T *vp = vs + p * n, *wp = ws + p * n, *aligned = vs + c * n + from;
            const T x = NAME(dot)(wp + from, aligned, n - from);
            const T y = NAME(dot)(vp + from, aligned, n - from);
            NAME(subtract)(w, vp + j + 1, x, wp + j + 1, y, left);
        }
        for (int64_t i = 0; i < left; i++) w[i] *= tau[j];
        const T part = tau[j] * NAME(dot)(ws + c * n + from, vs + c * n + from, n - from) / 2;
        for (int64_t i = 0; i < left; i++) w[i] -= part * v[i];
    }
}

/* The whole matrix from one triangle of rows. */
static void
NAME(mirror)(const Eigh *q, const void *from, bool upper)
{
    enum { TILE = 16 };
    const T *a = from;
    T *to = (T *)q->a;
    for (int64_t i0 = 0; i0 < q->n; i0 += TILE)
        for (int64_t j0 = 0; j0 <= i0; j0 += TILE)
            for (int64_t i = i0; i < i0 + TILE && i < q->n; i++)
                for (int64_t j = j0; j < j0 + TILE && j <= i; j++)
                    to[i * q->step + j] = to[j * q->step + i] =
                        upper ? a[j * q->n + i] : a[i * q->n + j];
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
#undef NAME
#undef DTYPE
