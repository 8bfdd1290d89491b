/* walk.h - positions in an iteration; internal to tensor/.
 *
 * A cursor is an odometer over the dimensions above the innermost, with one pointer an operand to
 * the start of the current row. Tiles are the other way through an iteration, for operands that
 * are contiguous along another dimension than the results.
 */
#ifndef FAC_TENSOR_WALK_H
#define FAC_TENSOR_WALK_H

#include "tensor/iter.h"

typedef struct Cursor {
    int64_t index[FAC_MAX_NDIM];
    char *row[FAC_MAX_OPERANDS]; /* where index[0] is 0 */
} Cursor;

/* The cursor at element `position` in the order of the iteration. */
static inline void
cursor_start(const FacIter *it, int64_t position, Cursor *c)
{
    for (int k = 0; k < it->noperands; k++) c->row[k] = it->operand[k].data;
    for (int d = 0; d < it->ndim; d++) {
        c->index[d] = position;
        if (d == it->ndim - 1 && position < it->sizes[d]) {
            position = 0;
        } else {
            c->index[d] = position % it->sizes[d];
            position /= it->sizes[d];
        }
        if (d == 0 || c->index[d] == 0) continue;
        for (int k = 0; k < it->noperands; k++)
            c->row[k] += c->index[d] * it->operand[k].strides[d];
    }
}

/* To the start of the next row; wraps around at the end. */
static inline void
cursor_next_row(const FacIter *it, Cursor *c)
{
    c->index[0] = 0;
    for (int d = 1; d < it->ndim; d++) {
        bool carry = ++c->index[d] == it->sizes[d];
        int64_t steps = carry ? 1 - it->sizes[d] : 1;
        for (int k = 0; k < it->noperands; k++) c->row[k] += steps * it->operand[k].strides[d];
        if (!carry) return;
        c->index[d] = 0;
    }
}

/* n elements on, through as many rows as it takes. */
static inline void
cursor_advance(const FacIter *it, Cursor *c, int64_t n)
{
    int64_t rows = (c->index[0] += n) / it->sizes[0];
    c->index[0] -= rows * it->sizes[0];
    for (int d = 1; rows && d < it->ndim; d++) {
        int64_t before = c->index[d], after = before + rows;
        rows = after / it->sizes[d];
        c->index[d] = after - rows * it->sizes[d];
        for (int k = 0; k < it->noperands; k++)
            c->row[k] += (c->index[d] - before) * it->operand[k].strides[d];
    }
}

/* Elements a task for cheap work, a multiple of FAC_BLOCK. */
int64_t fac_iter_grain(void);

enum { TILE_ROWS = 16, TILE_COLUMNS = 64, PANEL_COLUMNS = 1024 };

/* Makes dimension 1 the one along which operand k is contiguous; false where tiles do not help. */
bool fac_iter_tile(FacIter *it, int k);
/* Hands out panels of at most PANEL_COLUMNS along dimension 0 by TILE_ROWS along dimension 1. */
typedef void (*FacPanelBody)(const FacIter *it, char *const *at, int64_t columns, int64_t rows,
                             void *context);
void fac_iter_panels(const FacIter *it, FacPanelBody body, void *context);

#endif
