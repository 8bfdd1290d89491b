/* gemm_dots_tile.h - the tile of instructions on vectors: included with Sums (a vector of sums), FIRST(row)
 * (what the sums of a row of a panel start from) and DOT(sum, b, a) defined, a and b being groups.
 *
 * 14 rows of 2 vectors of sums stay in registers, as in gemm_tile.h. C is added when they are complete.
 */
#define TILE(rows, vecs)                                                                           \
    static void tile_##rows##_##vecs(int64_t groups, const int32_t *a, const int32_t *b,           \
                                     int32_t *c, int64_t c_row, bool add)                          \
    {                                                                                              \
        Sums acc[rows][vecs];                                                                      \
        _Pragma("GCC unroll 16")                                                                   \
        for (int i = 0; i < rows; i++) {                                                           \
            _Pragma("GCC unroll 2")                                                                \
            for (int v = 0; v < vecs; v++) acc[i][v] = FIRST(a + i * DOTS_ROW);                    \
        }                                                                                          \
        for (int64_t p = groups; p > 0; p--, a++, b += vecs * DOTS_LANES) {                        \
            _Pragma("GCC unroll 16")                                                               \
            for (int i = 0; i < rows; i++) {                                                       \
                const __m512i x = _mm512_set1_epi32(a[i * DOTS_ROW]);                              \
                _Pragma("GCC unroll 2")                                                            \
                for (int v = 0; v < vecs; v++)                                                     \
                    acc[i][v] = DOT(acc[i][v], _mm512_loadu_si512(b + v * DOTS_LANES), x);         \
            }                                                                                      \
        }                                                                                          \
        _Pragma("GCC unroll 16")                                                                   \
        for (int i = 0; i < rows; i++) {                                                           \
            _Pragma("GCC unroll 2")                                                                \
            for (int v = 0; v < vecs; v++) {                                                       \
                Sums *to = (Sums *)(c + i * c_row) + v;                                            \
                if (add) acc[i][v] += *to;                                                         \
                *to = acc[i][v];                                                                   \
            }                                                                                      \
        }                                                                                          \
    }
#define HEIGHTS(X, v)                                                                              \
    X(1, v)                                                                                        \
    X(2, v)                                                                                        \
    X(3, v)                                                                                        \
    X(4, v) X(5, v) X(6, v) X(7, v) X(8, v) X(9, v) X(10, v) X(11, v) X(12, v) X(13, v) X(14, v)
HEIGHTS(TILE, 1)
HEIGHTS(TILE, 2)

static void
tile(int rows, int vecs, int64_t groups, const int32_t *a, const int32_t *b, void *c, int64_t c_row,
     bool add)
{
    static void (*const tiles[GEMM_ROWS + 1][3])(int64_t, const int32_t *, const int32_t *,
                                                 int32_t *, int64_t, bool) = {
#define TILE_ENTRY(r, v) [r][v] = tile_##r##_##v,
        HEIGHTS(TILE_ENTRY, 1) HEIGHTS(TILE_ENTRY, 2)
#undef TILE_ENTRY
    };
    tiles[rows][vecs](groups, a, b, c, c_row, add);
}
#undef TILE
#undef HEIGHTS
