/* qr_body.h - reflectors of one panel in one type: included by qr.c with T, REAL, NAME, CONJ, PART
 * (real part) and SQUARE (of the absolute value) defined. A panel has a column of the matrix a row. */

/* The sum of CONJ(a) b, in several sums side by side. */
static T
NAME(dot)(const T *a, const T *b, int64_t n)
{
    enum { LANES = 64 / sizeof(REAL), PARTS = sizeof(T) / sizeof(REAL) };
    REAL re[2 * LANES] = {0}, im[2 * LANES] = {0};
    const REAL *x = (const REAL *)a, *y = (const REAL *)b;
    T sum = 0;
    if (PARTS == 1) {
        for (; n >= 2 * LANES; n -= 2 * LANES, x += 2 * LANES, y += 2 * LANES)
            for (int i = 0; i < 2 * LANES; i++) re[i] += x[i] * y[i];
        for (int i = 0; i < n; i++) re[i] += x[i] * y[i];
        for (int i = 0; i < 2 * LANES; i++) sum += re[i];
        return sum;
    }
    for (; n >= LANES; n -= LANES, x += 2 * LANES, y += 2 * LANES)
        for (int i = 0; i < LANES; i++) {
            re[i] += x[2 * i] * y[2 * i] + x[2 * i + 1] * y[2 * i + 1];
            im[i] += x[2 * i] * y[2 * i + 1] - x[2 * i + 1] * y[2 * i];
        }
    for (int i = 0; i < n; i++) {
        re[i] += x[2 * i] * y[2 * i] + x[2 * i + 1] * y[2 * i + 1];
        im[i] += x[2 * i] * y[2 * i + 1] - x[2 * i + 1] * y[2 * i];
    }
    REAL *ends = (REAL *)&sum;
    for (int i = 0; i < LANES; i++) {
        ends[0] += re[i];
        ends[PARTS - 1] += im[i];
    }
    return sum;
}

/* The norm of a vector; where its square is too large or too small, that of a multiple of it. */
static REAL
NAME(norm)(const T *a, int64_t n)
{
    const REAL square = PART(NAME(dot)(a, a, n)), low = QR_TINY, high = 1 / low;
    REAL most = 0, sum = 0;
    if (square > low && square < high) return NAME(root)(square);
    for (int64_t i = 0; i < n; i++) {
        const REAL x = NAME(size)(a[i]);
        if (!(x <= most) && most == most) most = x; /* a NaN stays */
    }
    if (most == 0 || !(most <= QR_MOST)) return most;
    for (int64_t i = 0; i < n; i++) {
        const REAL x = NAME(size)(a[i]) / most;
        sum += x * x;
    }
    return most * NAME(root)(sum);
}

/* H^H x = beta e for H = I - tau v v^H with v = (1, x[1:]), which replaces x; beta is real. */
static T
NAME(reflector)(T *x, int64_t n)
{
    const T alpha = x[0];
    const REAL rest = n > 1 ? NAME(norm)(x + 1, n - 1) : 0;
    if (rest == 0 && alpha == PART(alpha)) return 0;
    T ends[2] = {alpha, rest};
    const REAL length = NAME(norm)(ends, 2), beta = PART(alpha) >= 0 ? -length : length;
    if (length < QR_TINY) { /* where the reciprocal would overflow */
        for (int64_t i = 0; i < n; i++) x[i] *= 1 / QR_TINY;
        const T tau = NAME(reflector)(x, n);
        x[0] *= QR_TINY;
        return tau;
    }
    const T scale = 1 / (alpha - beta);
    for (int64_t i = 1; i < n; i++) x[i] *= scale;
    x[0] = beta;
    return (beta - alpha) / beta;
}

/* n columns of m rows, n <= m, to R and the reflectors: v holds them with their ones and zeros, r the
 * upper triangle by rows. */
static void
NAME(panel)(void *columns, int64_t m, int64_t n, void *taus, void *triangle)
{
    T *v = columns, *tau = taus, *r = triangle;
    for (int64_t j = 0; j < n; j++) {
        T *x = v + j * m + j;
        const int64_t left = m - j;
        tau[j] = NAME(reflector)(x, left);
        r[j * QR_PANEL + j] = x[0];
        x[0] = 1;
        for (int64_t c = j + 1; c < n; c++) {
            T *y = v + c * m + j;
            const T factor = CONJ(tau[j]) * NAME(dot)(x, y, left);
            for (int64_t i = 0; i < left; i++) y[i] -= factor * x[i];
        }
        for (int64_t i = 0; i < j; i++) {
            r[i * QR_PANEL + j] = v[j * m + i];
            v[j * m + i] = 0;
        }
    }
}

/* -T and -T^H of the product I - V T V^H of n reflectors, from V^H V. */
static void
NAME(product)(const void *gram, const void *taus, int64_t n, void *factor, void *adjoint)
{
    const T *g = gram, *tau = taus;
    T *t = factor, *h = adjoint;
    memset(t, 0, (size_t)(n * n) * sizeof(T));
    for (int64_t j = 0; j < n; j++) {
        for (int64_t i = 0; i < j; i++) {
            T sum = 0;
            for (int64_t p = i; p < j; p++) sum += t[i * n + p] * g[p * n + j];
            t[i * n + j] = -sum * tau[j];
        }
        t[j * n + j] = -tau[j];
    }
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) h[i * n + j] = CONJ(t[j * n + i]);
}

/* Whether the least singular value of an upper triangle by rows is above `least` times the largest:
 * both by a few steps of power iteration, with R and with its inverse. x and y are room for n numbers. */
static bool
NAME(is_regular)(const void *triangle, int64_t n, double least, void *room_x, void *room_y)
{
    enum { ROUNDS = 4 };
    const T *r = triangle;
    T *x = room_x, *y = room_y;
    double gain[2] = {0, 0};
    for (int inverted = 0; inverted < 2; inverted++) {
        for (int64_t i = 0; i < n; i++) x[i] = 1 - (REAL)i / (REAL)(2 * n);
        for (int round = 0; round < ROUNDS; round++) {
            const REAL size = NAME(norm)(x, n);
            if (!(size > 0 && size <= QR_MOST)) return false;
            for (int64_t i = 0; i < n; i++) x[i] /= size;
            for (int64_t i = 0; i < n; i++) {
                if (!inverted) {
                    y[i] = NAME(dot)(r + i * n + i, x + i, n - i);
                    continue;
                }
                y[i] = x[i] / r[i * n + i];
                for (int64_t j = i + 1; j < n; j++) x[j] -= r[i * n + j] * y[i];
            }
            gain[inverted] = NAME(norm)(y, n);
            for (int64_t i = 0; i < n && !inverted; i++) x[i] = 0;
            for (int64_t i = 0; i < n && !inverted; i++)
                for (int64_t j = i; j < n; j++) x[j] += r[i * n + j] * y[i];
            for (int64_t i = n - 1; i >= 0 && inverted; i--)
                x[i] = (y[i] - NAME(dot)(r + i * n + i + 1, x + i + 1, n - i - 1)) /
                       CONJ(r[i * n + i]);
        }
    }
    return 2 * least * gain[0] * gain[1] < 1; /* not where it is NaN */
}

static void
NAME(conjugate)(const void *from, int64_t n, void *to)
{
    const T *a = from;
    T *b = to;
    for (int64_t i = 0; i < n; i++) b[i] = CONJ(a[i]);
}

/* A block of rows of a matrix to columns. */
static void
NAME(turn)(const void *from, int64_t step, int64_t m, int64_t n, void *to)
{
    const T *a = from;
    T *b = to;
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) b[j * m + i] = a[i * step + j];
}

/* What is below the diagonal of reflectors, to the rows of a matrix. */
static void
NAME(store)(const void *columns, int64_t m, int64_t n, void *to, int64_t step)
{
    const T *v = columns;
    T *a = to;
    for (int64_t i = 1; i < m; i++)
        for (int64_t j = 0; j < (i < n ? i : n); j++) a[i * step + j] = v[j * m + i];
}

#undef T
#undef REAL
#undef NAME
#undef CONJ
#undef PART
#undef QR_TINY
#undef QR_MOST
