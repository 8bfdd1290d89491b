/* index_moves.h - lanes that move elements; included by index.c once an element size.
 *
 * T is a type of that size, SUFFIX its name. See Lane in index.c for the geometry.
 */
#define NAME(name) FAC_JOIN(name, , SUFFIX)

static void
NAME(get)(const Lane *l, char *self, const int64_t *off, char *other)
{
    if (l->nj == 1 && l->off_i == 1 && l->other_i == sizeof(T)) {
        const int64_t n = l->ni, scale = l->scale;
        for (int64_t i = 0; i < n; i++) ((T *)other)[i] = *(const T *)(self + off[i] * scale);
        return;
    }
    for (int64_t i = 0; i < l->ni; i++, other += l->other_i) {
        const int64_t *at = off + i * l->off_i;
        if (l->nj == 1) {
            *(T *)other = *(const T *)(self + *at * l->scale);
        } else if (l->is_row) {
            memcpy(other, self + *at * l->scale, (size_t)l->nj * sizeof(T));
        } else {
            for (int64_t j = 0; j < l->nj; j++)
                *(T *)(other + j * l->other_j) =
                    *(const T *)(self + at[j * l->off_j] * l->scale + j * l->self_j);
        }
    }
}

static void
NAME(put)(const Lane *l, char *self, const int64_t *off, char *other)
{
    if (l->nj == 1 && l->off_i == 1 && l->other_i == sizeof(T)) {
        const int64_t n = l->ni, scale = l->scale;
        for (int64_t i = 0; i < n; i++) *(T *)(self + off[i] * scale) = ((const T *)other)[i];
        return;
    }
    for (int64_t i = 0; i < l->ni; i++, other += l->other_i) {
        const int64_t *at = off + i * l->off_i;
        if (l->nj == 1) {
            *(T *)(self + *at * l->scale) = *(const T *)other;
        } else if (l->is_row) {
            memcpy(self + *at * l->scale, other, (size_t)l->nj * sizeof(T));
        } else {
            for (int64_t j = 0; j < l->nj; j++)
                *(T *)(self + at[j * l->off_j] * l->scale + j * l->self_j) =
                    *(const T *)(other + j * l->other_j);
        }
    }
}

static const Moves NAME(moves) = {NAME(get), NAME(put)};

#undef NAME
#undef T
#undef SUFFIX
