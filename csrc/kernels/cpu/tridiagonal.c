/* tridiagonal.c - see tridiagonal.h: divide and conquer.
 *
 * A matrix is two halves and a product of a vector with itself: T = diag(T1, T2) + rho u u^T. In the basis of
 * the eigenvectors of the halves that is diag(d) + rho z z^T, whose eigenvalues are the roots of
 * 1 + rho sum z_i^2 / (d_i - x), one between any two neighbours of d. What has (nearly) no part in z, or (nearly)
 * the same d as its neighbour, is an eigenvector already and is put aside. The roots are found
 * eight at a time, each as its distance from the nearest pole; z is then computed back from the roots,
 * for which they are exact (Gu and Eisenstat), so that the eigenvectors are orthogonal as they stand. Those of
 * the whole are two products of matrices: a row of the halves is zero in the columns of the other half.
 *
 * Parts of up to LEAF rows are left to QL. Numbers are double for both dtypes, rows of eigenvectors are of the dtype. Without eigenvectors
 * only their first and last elements go through the same steps.
 */
#include "kernels/cpu/tridiagonal.h"

#include "kernels/cpu/gemm.h"

#include <float.h>
#include <math.h>
#include <string.h>

#ifdef __AVX512F__
#include <immintrin.h>
#endif

#pragma GCC optimize("fp-contract=fast")
#pragma GCC diagnostic ignored "-Wpsabi" /* vectors go to static functions only */

enum { LANES = 8, MOST_STEPS = 60, LEAF = 24 };
enum { LEFT = 1, RIGHT = 2, BOTH = 3 };

typedef double Lanes __attribute__((vector_size(64), aligned(8), may_alias));
typedef float Singles __attribute__((vector_size(32), aligned(4), may_alias));
typedef int64_t Mask __attribute__((vector_size(64)));

/* 0 = inverse + sum weight_i / (pole_i - x): poles ascend. Root j is origins[j] + distances[j]. */
typedef struct Secular {
    int64_t n;
    const double *poles, *weights;
    double inverse, reach; /* reach: how far the last root may be from the last pole */
    double enough;         /* of what is summed, how much may be left */
    double *origins, *distances;
} Secular;

/* A whole problem. Rows first .. first + n of a part lie in `rows`, in any order; `order` has them by d. */
typedef struct Conquer {
    FacDType dtype;
    bool single, vectors, serial;
    int32_t *info;
    int64_t size, step; /* of an element, and from row to row */
    char *rows;
    double *d, *e;
    int64_t *order;
    /* of the step that is under way */
    double *z, *moved, *poles, *weights, *origins, *distances, *grouped, *hats;
    int64_t *merged, *kept, *aside, *place;
    unsigned char *side;
    char *gathered, *turn; /* n x n, of the turn each row padded */
} Conquer;

/* Rows that make up a part: n1 of the left and n2 of the right half, and their columns. */
typedef struct Part {
    int64_t n, n1, n2, width1, width2;
    char *rows;
    double *d;
    int64_t *order;
} Part;

#ifdef __AVX512F__
static inline Lanes
reciprocal(Lanes x)
{
    Lanes y = (Lanes)_mm512_rcp14_pd((__m512d)x);
    y += y * (1 - x * y);
    y += y * (1 - x * y);
    return y;
}
#else
#define reciprocal(x) (1 / (x))
#endif

/* --- roots -------------------------------------------------------------------------------------------- */

/* The sums over the poles up to that of the root, and over those beyond, with their derivatives. */
typedef struct Sums {
    double below[LANES], above[LANES], below_slope[LANES], above_slope[LANES];
} Sums;

static void
sum_terms(const Secular *s, int64_t first, const double *origins, const double *distances,
          Sums *out)
{
    const Lanes origin = *(const Lanes *)origins, distance = *(const Lanes *)distances;
    Lanes below = {0}, above = {0}, below_slope = {0}, above_slope = {0};
    int64_t i = 0;
    for (; i <= first; i++) {
        const Lanes r = reciprocal(s->poles[i] - origin - distance), term = s->weights[i] * r;
        below += term;
        below_slope += term * r;
    }
    for (; i < first + LANES && i < s->n; i++) {
        const Lanes r = reciprocal(s->poles[i] - origin - distance), term = s->weights[i] * r;
        const Mask is_below = (Mask){0, 1, 2, 3, 4, 5, 6, 7} >= i - first;
        const Lanes term_below = (Lanes)((Mask)term & is_below);
        below += term_below;
        below_slope += term_below * r;
        above += term - term_below;
        above_slope += (term - term_below) * r;
    }
    for (; i < s->n; i++) {
        const Lanes r = reciprocal(s->poles[i] - origin - distance), term = s->weights[i] * r;
        above += term;
        above_slope += term * r;
    }
    *(Lanes *)out->below = below;
    *(Lanes *)out->above = above;
    *(Lanes *)out->below_slope = below_slope;
    *(Lanes *)out->above_slope = above_slope;
}

/* The root of c x^2 - a x + b between low and high; where both are outside, the middle. */
static inline double
root_between(double a, double b, double c, double low, double high)
{
    const double square = a * a - 4 * b * c, root = sqrt(square > 0 ? square : 0);
    const double sum = 0.5 * (a >= 0 ? a + root : a - root), x1 = b / sum, x2 = sum / c;
    const double middle = 0.5 * (low + high);
    const double other = (x2 > low) & (x2 < high) ? x2 : middle;
    return (x1 > low) & (x1 < high) ? x1 : other;
}

/* Roots first .. first + LANES. Between the poles p and q of a root the sums are taken for
 * c + u / (p - x) + v / (q - x), with their values and slopes, and that is solved; a step that would leave
 * the interval known to hold the root halves it. */
static void
find_roots(const Secular *s, int64_t first)
{
    double left[LANES], right[LANES], u[LANES], v[LANES], low[LANES], high[LANES];
    double origin[LANES], x[LANES];
    bool last[LANES];
    Sums sums;
    for (int l = 0; l < LANES; l++) {
        const int64_t j = first + l < s->n ? first + l : s->n - 1;
        last[l] = j + 1 == s->n;
        left[l] = origin[l] = s->poles[j];
        right[l] = last[l] ? left[l] + 4 * s->reach : s->poles[j + 1];
        u[l] = s->weights[j];
        v[l] = last[l] ? 0 : s->weights[j + 1];
        x[l] = 0.5 * (right[l] - left[l]);
    }
    sum_terms(s, first, origin, x, &sums);
    for (int l = 0; l < LANES; l++) {
        const double half = x[l], rest = s->inverse + sums.below[l] + sums.above[l];
        const double c = rest + u[l] / half - v[l] / half, width = right[l] - left[l];
        const bool from_left = rest >= 0 || last[l];
        origin[l] = from_left ? left[l] : right[l];
        low[l] = from_left ? 0 : -half;
        high[l] = from_left ? half : 0;
        const double p = from_left ? 0 : -width, q = from_left ? width : 0;
        x[l] = root_between(c * (p + q) + u[l] + v[l], u[l] * q + v[l] * p, c, low[l], high[l]);
    }
    for (int step = 0; step < MOST_STEPS; step++) {
        int open = 0;
        sum_terms(s, first, origin, x, &sums);
        for (int l = 0; l < LANES; l++) {
            const double f = s->inverse + sums.below[l] + sums.above[l];
            const double slope = sums.below_slope[l] + sums.above_slope[l];
            const double size = 8 * (sums.above[l] - sums.below[l]) + s->inverse;
            const double p = left[l] - origin[l] - x[l], q = right[l] - origin[l] - x[l];
            const double c = f - p * sums.below_slope[l] - q * sums.above_slope[l];
            const bool is_open = fabs(f) > s->enough * (size + fabs(x[l]) * slope);
            low[l] = f < 0 ? x[l] : low[l];
            high[l] = f < 0 ? high[l] : x[l];
            const double next = x[l] + root_between((p + q) * f - p * q * slope, p * q * f, c,
                                                    low[l] - x[l], high[l] - x[l]);
            open += is_open && next != x[l];
            x[l] = is_open && next > low[l] && next < high[l] ? next : x[l];
        }
        if (!open) break;
    }
    for (int l = 0; l < LANES && first + l < s->n; l++) {
        s->origins[first + l] = origin[l];
        s->distances[first + l] = x[l];
    }
}

static void
roots_task(int64_t begin, int64_t end, void *context)
{
    for (; begin < end; begin++) find_roots(context, begin * LANES);
}

/* --- eigenvectors ------------------------------------------------------------------------------------- */

typedef struct Turns {
    const Conquer *q;
    const Secular *s;
} Turns;

/* The z for which the roots are exact, at the places of their groups: the sum of the products of all
 * (d_i - root_j) / (d_i - d_j). */
static void
hats_task(int64_t begin, int64_t end, void *context)
{
    const Turns *t = context;
    const Conquer *q = t->q;
    const int64_t n = t->s->n;
    for (; begin < end; begin++) {
        const int64_t first = begin * LANES, many = n - first < LANES ? n - first : LANES;
        Lanes at = {0}, product = {1, 1, 1, 1, 1, 1, 1, 1};
        for (int64_t l = 0; l < LANES; l++) at[l] = q->poles[l < many ? first + l : first];
        for (int64_t j = 0; j < n; j++) {
            if (j == first) { /* where a root has its own pole among the lanes */
                for (; j < first + many; j++) {
                    Lanes gap = at - q->poles[j];
                    for (int64_t l = 0; l < LANES; l++)
                        if (first + l == j || (j == first && l >= many)) gap[l] = 1;
                    product *= (at - q->origins[j] - q->distances[j]) * reciprocal(gap);
                }
                j--;
                continue;
            }
            product *= (at - q->origins[j] - q->distances[j]) * reciprocal(at - q->poles[j]);
        }
        for (int64_t l = 0; l < many; l++)
            q->hats[q->place[first + l]] = copysign(sqrt(fabs(product[l])), q->moved[first + l]);
    }
}

static int64_t
padded(int64_t n)
{
    return fac_chunks(n, LANES) * LANES;
}

/* Rows of the turn from the kept rows to the eigenvectors, one a root, and zeros behind each. */
static void
turns_task(int64_t begin, int64_t end, void *context)
{
    const Turns *t = context;
    const Conquer *q = t->q;
    const int64_t row = padded(t->s->n);
    for (int64_t j = begin; j < end; j++) {
        const double origin = q->origins[j], distance = q->distances[j];
        double *wide = (double *)(q->turn + j * row * q->size), sum = 0;
        float *single = (float *)wide;
        Lanes squares = {0};
        for (int64_t i = 0; i < row; i += LANES) {
            const Lanes gap = *(const Lanes *)(q->grouped + i) - origin - distance;
            const Lanes part = *(const Lanes *)(q->hats + i) * reciprocal(gap);
            squares += part * part;
            if (q->single)
                *(Singles *)(single + i) = __builtin_convertvector(part, Singles);
            else
                *(Lanes *)(wide + i) = part;
        }
        for (int l = 0; l < LANES; l++) sum += squares[l];
        const double scale = 1 / sqrt(sum);
        if (q->single)
            for (int64_t i = 0; i < row; i++) single[i] *= (float)scale;
        else
            for (int64_t i = 0; i < row; i++) wide[i] *= scale;
    }
}

/* x = c x + s y and y = c y - s x. */
static void
rotate(const Conquer *q, char *x, char *y, int64_t n, double c, double s)
{
    if (q->single) {
        float *a = (float *)x, *b = (float *)y, cosine = (float)c, sine = (float)s;
        for (int64_t i = 0; i < n; i++) {
            const float saved = cosine * a[i] + sine * b[i];
            b[i] = cosine * b[i] - sine * a[i];
            a[i] = saved;
        }
        return;
    }
    double *a = (double *)x, *b = (double *)y;
    for (int64_t i = 0; i < n; i++) {
        const double saved = c * a[i] + s * b[i];
        b[i] = c * b[i] - s * a[i];
        a[i] = saved;
    }
}

/* --- one step of conquering ---------------------------------------------------------------------------- */

static char *
row_of(const Conquer *q, const Part *p, int64_t i)
{
    return p->rows + i * q->step * q->size;
}

/* z, of the row in the middle of the one half and the other: the last of the left, the first of the right. */
static void
take_middle(const Conquer *q, const Part *p, double sign)
{
    const double half = M_SQRT1_2;
    for (int64_t i = 0; i < p->n; i++) {
        const bool is_left = i < p->n1;
        char *row = row_of(q, p, i);
        const int64_t at = !q->vectors ? is_left : is_left ? p->n1 - 1 : p->n1;
        char *number = row + at * q->size;
        q->z[i] = (q->single ? (double)*(float *)number : *(double *)number) *
                  (is_left ? half : sign * half);
        q->side[i] = is_left ? LEFT : RIGHT;
        if (!q->vectors) *(double *)number = 0; /* no longer at an end */
    }
}

/* The two orders to one. */
static void
merge_orders(const Part *p, const int64_t *a, int64_t n1, const int64_t *b, int64_t n2,
             int64_t shift, int64_t *out)
{
    int64_t i = 0, j = 0;
    while (i < n1 || j < n2) {
        const bool first = j == n2 || (i < n1 && p->d[a[i]] <= p->d[b[j] + shift]);
        *out++ = first ? a[i++] : b[j++] + shift;
    }
}

/* Parts the rows into those that are kept and those that are put aside, both by d; gives how many are kept. */
static int64_t
deflate(const Conquer *q, const Part *p, double rho)
{
    double most_d = 0, most_z = 0, *z = q->z, *d = p->d;
    int64_t kept = 0, aside = 0, last = -1;
    for (int64_t i = 0; i < p->n; i++) {
        if (fabs(d[i]) > most_d) most_d = fabs(d[i]);
        if (fabs(z[i]) > most_z) most_z = fabs(z[i]);
    }
    const double least =
        8 * (q->single ? FLT_EPSILON / 2 : DBL_EPSILON / 2) * (most_d > most_z ? most_d : most_z);
    for (int64_t o = 0; o < p->n; o++) {
        const int64_t i = q->merged[o];
        if (rho * fabs(z[i]) <= least) {
            q->aside[aside++] = i;
            continue;
        }
        if (last >= 0) {
            const double length = sqrt(z[i] * z[i] + z[last] * z[last]), gap = d[i] - d[last];
            const double c = z[i] / length, s = -z[last] / length;
            if (fabs(gap * c * s) > least) {
                q->kept[kept++] = last;
            } else {
                const double moved = d[last] * c * c + d[i] * s * s;
                d[i] = d[last] * s * s + d[i] * c * c;
                d[last] = moved;
                z[i] = length;
                if (q->side[i] != q->side[last]) q->side[i] = BOTH;
                rotate(q, row_of(q, p, last), row_of(q, p, i), p->width1 + p->width2, c, s);
                q->aside[aside++] = last;
            }
        }
        last = i;
    }
    if (last >= 0) q->kept[kept++] = last;
    for (int64_t i = 1; i < aside; i++) { /* what was rotated may have changed its place */
        const int64_t row = q->aside[i];
        int64_t j = i;
        for (; j > 0 && d[q->aside[j - 1]] > d[row]; j--) q->aside[j] = q->aside[j - 1];
        q->aside[j] = row;
    }
    return kept;
}

static FacStatus
multiply(const Conquer *q, int64_t m, int64_t k, int64_t n, const char *a, const char *b, char *c)
{
    const FacGemm g = {.dtype = q->dtype,
                       .m = m,
                       .n = n,
                       .k = k,
                       .a = a,
                       .a_row = padded(m),
                       .a_col = 1,
                       .b = b,
                       .b_row = n,
                       .b_col = 1,
                       .c = c,
                       .c_row = q->step};
    if (k == 0)
        for (int64_t i = 0; i < m; i++) memset(c + i * q->step * q->size, 0, (size_t)(n * q->size));
    if (k == 0) return FAC_OK;
    if (!q->serial) return FAC_TIERED(gemm)(&g);
    FAC_TIERED(gemm_serial)(&g);
    return FAC_OK;
}

/* Copies the rows of one side, then those of both, ... that are kept, as they are grouped. */
static void
gather(const Conquer *q, const Part *p, int64_t kept, int64_t first, int64_t count, int64_t column,
       int64_t width, char *to)
{
    for (int64_t i = 0; i < kept; i++) {
        const int64_t place = q->place[i] - first;
        if (place < 0 || place >= count) continue;
        memcpy(to + place * width * q->size, row_of(q, p, q->kept[i]) + column * q->size,
               (size_t)(width * q->size));
    }
}

/* The rows of the part from the kept ones and those put aside. */
static FacStatus
replace_rows(const Conquer *q, const Part *p, int64_t kept, const int64_t counts[3])
{
    const int64_t width = p->width1 + p->width2, aside = p->n - kept;
    const int64_t left = counts[0] + counts[1], right = counts[1] + counts[2];
    char *from1 = q->gathered, *from2 = from1 + left * p->width1 * q->size;
    char *rest = from2 + right * p->width2 * q->size;
    gather(q, p, kept, 0, left, 0, p->width1, from1);
    gather(q, p, kept, counts[0], right, p->width1, p->width2, from2);
    for (int64_t i = 0; i < aside; i++)
        memcpy(rest + i * width * q->size, row_of(q, p, q->aside[i]), (size_t)(width * q->size));
    for (int64_t i = 0; i < aside; i++)
        memcpy(row_of(q, p, kept + i), rest + i * width * q->size, (size_t)(width * q->size));
    FAC_RETURN_IF_ERROR(multiply(q, kept, left, p->width1, q->turn, from1, p->rows));
    return multiply(q, kept, right, p->width2, q->turn + counts[0] * q->size, from2,
                    p->rows + p->width1 * q->size);
}

/* Places of the kept rows, with those of one side together, and what the steps read at them. */
static void
group(const Conquer *q, const Part *p, int64_t kept, int64_t counts[3])
{
    int64_t next[4] = {0};
    counts[0] = counts[1] = counts[2] = 0;
    for (int64_t i = 0; i < kept; i++) {
        const int64_t row = q->kept[i];
        q->poles[i] = p->d[row];
        q->moved[i] = q->z[row];
        q->weights[i] = q->z[row] * q->z[row];
        counts[q->side[row] == LEFT ? 0 : q->side[row] == BOTH ? 1 : 2]++;
    }
    next[BOTH] = counts[0];
    next[RIGHT] = counts[0] + counts[1];
    for (int64_t i = 0; i < kept; i++) {
        q->place[i] = next[q->side[q->kept[i]]]++;
        q->grouped[q->place[i]] = q->poles[i];
    }
}

static void
in_tasks(const Conquer *q, int64_t count, int64_t grain, void (*body)(int64_t, int64_t, void *),
         void *context)
{
    if (q->serial)
        body(0, count, context);
    else
        fac_parallel(count, grain, body, context);
}

/* Both halves are solved: the part, of the sum of them and e times what stands in their middle. */
static FacStatus
conquer(const Conquer *q, const Part *p, double e)
{
    const double rho = 2 * fabs(e);
    int64_t counts[3];
    double *d = p->d;
    take_middle(q, p, e < 0 ? -1 : 1);
    merge_orders(p, p->order, p->n1, p->order + p->n1, p->n2, p->n1, q->merged);
    const int64_t kept = deflate(q, p, rho), blocks = fac_chunks(kept, LANES);
    group(q, p, kept, counts);
    Secular s = {.n = kept,
                 .poles = q->poles,
                 .weights = q->weights,
                 .inverse = 1 / rho,
                 .enough = q->single ? 1e-11 : DBL_EPSILON,
                 .origins = q->origins,
                 .distances = q->distances};
    Turns t = {q, &s};
    for (int64_t i = 0; i < kept; i++) s.reach += rho * q->weights[i];
    for (int64_t i = kept; i < padded(kept);
         i++) { /* no part of anything, and far from the roots */
        q->grouped[i] = q->poles[kept - 1] + 4 * s.reach + 1;
        q->hats[i] = 0;
    }
    if (kept) {
        const int64_t grain = (int64_t)(1 << 14) / (kept * LANES) + 1;
        in_tasks(q, blocks, grain, roots_task, &s);
        in_tasks(q, blocks, grain, hats_task, &t);
        in_tasks(q, kept, grain * LANES, turns_task, &t);
    }
    FAC_RETURN_IF_ERROR(replace_rows(q, p, kept, counts));
    for (int64_t i = kept; i < p->n; i++) q->z[i] = d[q->aside[i - kept]];
    for (int64_t i = 0; i < kept; i++) q->z[i] = q->origins[i] + q->distances[i];
    memcpy(d, q->z, (size_t)p->n * sizeof *d);
    for (int64_t i = 0; i < p->n; i++) q->merged[i] = i;
    merge_orders(p, q->merged, kept, q->merged, p->n - kept, kept, p->order);
    return FAC_OK;
}

/* --- the smallest parts -------------------------------------------------------------------------------- */

/* One step of QL with the shift of Wilkinson on rows first .. last; the rotations turn the eigenvectors. */
static void
chase(const Conquer *q, const Part *p, double *e, int64_t first, int64_t last)
{
    double *d = p->d, sine = 1, cosine = 1, shift = 0;
    const double ratio = (d[first + 1] - d[first]) / (2 * e[first]);
    double bulge =
        d[last] - d[first] + e[first] / (ratio + copysign(sqrt(ratio * ratio + 1), ratio));
    for (int64_t i = last - 1; i >= first; i--) {
        const double across = sine * e[i], along = cosine * e[i];
        const double length = sqrt(across * across + bulge * bulge);
        e[i + 1] = length;
        if (length == 0) { /* the matrix has come apart */
            d[i + 1] -= shift;
            e[last] = 0;
            return;
        }
        sine = across / length;
        cosine = bulge / length;
        const double lower = d[i + 1] - shift, turned = (d[i] - lower) * sine + 2 * cosine * along;
        shift = sine * turned;
        d[i + 1] = lower + shift;
        bulge = cosine * turned - along;
        rotate(q, row_of(q, p, i), row_of(q, p, i + 1), p->width1 + p->width2, cosine, -sine);
    }
    d[first] -= shift;
    e[first] = bulge;
    e[last] = 0;
}

/* A part by QL; what stands behind its last row belongs to others. */
static void
solve_leaf(const Conquer *q, const Part *p, double *behind)
{
    const double enough = q->single ? 1e-10 : DBL_EPSILON;
    double e[LEAF + 1] = {0};
    const int64_t n = p->n;
    if (n > 1) memcpy(e, behind, (size_t)(n - 1) * sizeof *e);
    for (int64_t i = 0; i < n; i++) {
        char *row = row_of(q, p, i) + (q->vectors ? i * q->size : 0);
        const bool first = q->vectors || i == 0;
        if (q->single)
            *(float *)row = 1;
        else
            ((double *)row)[0] = first;
        if (!q->vectors) ((double *)row)[1] = i + 1 == n;
        p->order[i] = i;
    }
    for (int64_t i = 0, last = 0, steps = 0; i < n;) {
        for (last = i; last + 1 < n; last++)
            if (fabs(e[last]) <= enough * (fabs(p->d[last]) + fabs(p->d[last + 1]))) break;
        if (last == i) {
            i++;
            continue;
        }
        if (++steps > MOST_STEPS * n) {
            *q->info = (int32_t)(i + 1);
            break;
        }
        chase(q, p, e, i, last);
    }
    for (int64_t i = 1; i < n; i++) {
        const int64_t row = p->order[i];
        int64_t j = i;
        for (; j > 0 && p->d[p->order[j - 1]] > p->d[row]; j--) p->order[j] = p->order[j - 1];
        p->order[j] = row;
    }
}

static FacStatus
divide(const Conquer *q, int64_t first, int64_t n)
{
    const int64_t n1 = n / 2;
    char *rows = q->rows + (first * q->step + (q->vectors ? first : 0)) * q->size;
    const Part p = {.n = n,
                    .n1 = n1,
                    .n2 = n - n1,
                    .width1 = q->vectors ? n1 : 1,
                    .width2 = q->vectors ? n - n1 : 1,
                    .rows = rows,
                    .d = q->d + first,
                    .order = q->order + first};
    if (n <= LEAF) {
        solve_leaf(q, &p, q->e + first);
        return FAC_OK;
    }
    const double e = q->e[first + n1 - 1];
    /* the halves do without the product */
    p.d[n1 - 1] -= fabs(e);
    p.d[n1] -= fabs(e);
    FAC_RETURN_IF_ERROR(divide(q, first, n1));
    FAC_RETURN_IF_ERROR(divide(q, first + n1, n - n1));
    return conquer(q, &p, e);
}

/* --- a whole matrix ------------------------------------------------------------------------------------- */

static int64_t
place(Conquer *q, int64_t n, char *scratch)
{
    char **const areas[] = {&q->gathered, &q->turn, q->vectors ? NULL : &q->rows};
    double **const numbers[] = {&q->z,       &q->moved,     &q->poles,   &q->weights,
                                &q->origins, &q->distances, &q->grouped, &q->hats};
    int64_t **const lists[] = {&q->order, &q->merged, &q->kept, &q->aside, &q->place};
    int64_t total = 0;
    for (int i = 0; i < 3; i++) {
        if (!areas[i]) continue;
        *areas[i] = scratch + total;
        const int64_t row = i == 1 ? padded(n) : i == 0 && q->vectors ? n : 2;
        total += (n * row * q->size + 63) / 64 * 64;
    }
    for (int i = 0; i < 8; i++, total += (n + LANES) * 8) *numbers[i] = (double *)(scratch + total);
    for (int i = 0; i < 5; i++, total += n * 8) *lists[i] = (int64_t *)(scratch + total);
    q->side = (unsigned char *)scratch + total;
    return total + n;
}

static Conquer
conquer_of(int64_t n, FacDType dtype, bool vectors)
{
    const bool single = vectors && dtype == FAC_DT_F32;
    return (Conquer){.dtype = single ? FAC_DT_F32 : FAC_DT_F64,
                     .single = single,
                     .vectors = vectors,
                     .size = single ? 4 : 8,
                     .step = vectors ? n : 2};
}

int64_t
FAC_TIERED(tridiagonal_scratch)(int64_t n, FacDType dtype, bool vectors)
{
    Conquer q = conquer_of(n, dtype, vectors);
    return place(&q, n, NULL);
}

FacStatus
FAC_TIERED(tridiagonal_eigen)(int64_t n, double *d, double *e, FacDType dtype, void *z,
                              char *scratch, bool serial, int32_t *info)
{
    Conquer q = conquer_of(n, dtype, z != NULL);
    const int64_t row = q.step * q.size;
    double most = 0;
    int shift;
    place(&q, n, scratch);
    *info = 0;
    q.info = info;
    q.serial = serial;
    q.d = d;
    q.e = e;
    if (z) q.rows = z;
    memset(q.rows, 0, (size_t)(n * row));
    for (int64_t i = 0; i < n; i++) {
        if (fabs(d[i]) > most) most = fabs(d[i]);
        if (i + 1 < n && fabs(e[i]) > most) most = fabs(e[i]);
    }
    (void)frexp(most, &shift);
    if (shift < -1000) shift = -1000;
    const double scale = ldexp(1, -shift);
    for (int64_t i = 0; i < n; i++) d[i] *= scale;
    for (int64_t i = 0; i + 1 < n; i++) e[i] *= scale;
    FAC_RETURN_IF_ERROR(divide(&q, 0, n));
    for (int64_t i = 0; i < n; i++) q.z[i] = d[q.order[i]] / scale;
    memcpy(d, q.z, (size_t)n * sizeof *d);
    if (!z) return FAC_OK;
    for (int64_t i = 0; i < n; i++)
        memcpy(q.turn + i * row, q.rows + q.order[i] * row, (size_t)row);
    memcpy(z, q.turn, (size_t)(n * row));
    return FAC_OK;
}
