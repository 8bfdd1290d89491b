/* gemm_amx.c - bfloat16 to float32 and int8 to int32 by AMX: products of tiles of 16 rows of 64 bytes.
 *
 * Two tiles of A and two of B give four of C, which stay in their registers for a run:
 *
 *              B0 (6)  B1 (7)
 *     A0 (4)   C 0     C 1
 *     A1 (5)   C 2     C 3
 *
 * A tile of A is 16 rows of 16 groups, a tile of B 16 groups of 16 columns, both as they are packed.
 * Tiles are configured for the rows that a panel has: rows that are not there cost nothing, and tiles
 * of none are not configured and not touched. All that is written about tiles stands in the few operations
 * at the top; tests/c/amx_model.h has them in C.
 *
 * For 16 groups of bfloat16 the sums of even and of odd steps are taken apart from zero, then added to
 * each other, and that to C; each operation rounds to nearest even, and numbers below the normal ones are zero,
 * whatever MXCSR says. The order does not depend on runs, since C itself is what sums go on from.
 */
#include "kernels/cpu/gemm_dots.h"

#if defined(__AVX512F__) && defined(FAC_HAS_AMX)

/* How many rows, and bytes of a row, each tile has: as ldtilecfg reads it. */
typedef struct TileConfig {
    uint8_t palette, start_row, zero[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} TileConfig;
_Static_assert(sizeof(TileConfig) == 64, "the form that ldtilecfg reads");

/* Not the compiler's own functions: some versions do not tell it that tiles are read from memory. */
#if !defined(tile_configure)
#define tile_configure(config) __asm__ volatile("ldtilecfg %0" ::"m"(*(config)))
#define tile_release() __asm__ volatile("tilerelease" ::: "memory")
#define tile_zero(t) __asm__ volatile("tilezero %tmm" #t)
#define tile_load(t, from, row_bytes)                                                              \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #t::"r"(from), "r"(row_bytes) : "memory")
#define tile_store(t, to, row_bytes)                                                               \
    __asm__ volatile("tilestored %%tmm" #t ", (%0,%1,1)" ::"r"(to), "r"(row_bytes) : "memory")
/* c += a * b */
#define tile_dot(name, c, a, b) __asm__ volatile(#name " %tmm" #b ", %tmm" #a ", %tmm" #c)
#endif

enum { TILE_ROWS = 16, TILE_BYTES = 64, GROUP = sizeof(int32_t) };

static void
configure(int rows, int64_t groups, int32_t *panel)
{
    const uint8_t high = (uint8_t)(rows < TILE_ROWS ? rows : TILE_ROWS);
    const uint8_t low = (uint8_t)(rows - high);
    TileConfig config = {.palette = 1,
                         .rows = {high, high, low, low, high, low, TILE_ROWS, TILE_ROWS}};
    for (int t = 0; t < 8; t++) config.row_bytes[t] = config.rows[t] ? TILE_BYTES : 0;
    tile_configure(&config);
    (void)groups;
    (void)panel;
}

static void
release(void)
{
    tile_release();
}

#define DOT(c, a, b)                                                                               \
    do {                                                                                           \
        if (dtype == FAC_DT_BF16)                                                                  \
            tile_dot(tdpbf16ps, c, a, b);                                                          \
        else if (dtype == FAC_DT_I8)                                                               \
            tile_dot(tdpbssd, c, a, b);                                                            \
        else                                                                                       \
            tile_dot(tdpbusd, c, a, b);                                                            \
    } while (0)

static inline __attribute__((always_inline)) void
multiply(FacDType dtype, int rows, int vecs, int64_t groups, const int32_t *a, const int32_t *b,
         char *c, int64_t c_row, bool add)
{
    const int64_t a_row = DOTS_ROW * GROUP, b_row = vecs * TILE_BYTES;
    const bool right = vecs > 1, below = rows > TILE_ROWS;
    char *const c2 = c + TILE_ROWS * c_row;
    if (add) {
        tile_load(0, c, c_row);
        if (right) tile_load(1, c + TILE_BYTES, c_row);
        if (below) tile_load(2, c2, c_row);
        if (below && right) tile_load(3, c2 + TILE_BYTES, c_row);
    } else {
        tile_zero(0);
        if (right) tile_zero(1);
        if (below) tile_zero(2);
        if (below && right) tile_zero(3);
    }
    for (int64_t p = 0; p < groups; p += TILE_ROWS) {
        tile_load(4, a, a_row);
        tile_load(6, b, b_row);
        DOT(0, 4, 6);
        if (right) {
            tile_load(7, b + DOTS_LANES, b_row);
            DOT(1, 4, 7);
        }
        if (below) {
            tile_load(5, a + TILE_ROWS * DOTS_ROW, a_row);
            DOT(2, 5, 6);
            if (right) DOT(3, 5, 7);
        }
        a += TILE_BYTES / GROUP;
        b += TILE_ROWS * vecs * DOTS_LANES;
    }
    tile_store(0, c, c_row);
    if (right) tile_store(1, c + TILE_BYTES, c_row);
    if (below) tile_store(2, c2, c_row);
    if (below && right) tile_store(3, c2 + TILE_BYTES, c_row);
}

#define KIND(name, dt, cpu_feature)                                                                \
    static void multiply_##name(int rows, int vecs, int64_t groups, const int32_t *a,              \
                                const int32_t *b, void *c, int64_t c_row, bool add)                \
    {                                                                                              \
        multiply(dt, rows, vecs, groups, a, b, c, c_row * GROUP, add);                             \
    }                                                                                              \
    const FacDots FAC_TIERED(dots_amx_##name) = {.feature = cpu_feature,                           \
                                                 .dtype = dt,                                      \
                                                 .rows = DOTS_ROWS,                                \
                                                 .run = 256, /* panels fill the first cache */     \
                                                 .fill = TILE_BYTES / GROUP,                       \
                                                 .begin = configure,                               \
                                                 .tile = multiply_##name,                          \
                                                 .end = release};
KIND(bf16, FAC_DT_BF16, FAC_CPU_AMX_BF16)
KIND(i8, FAC_DT_I8, FAC_CPU_AMX_INT8)
KIND(u8, FAC_DT_U8, FAC_CPU_AMX_INT8)
#else
typedef int NoAmx; /* ISO C asks for a declaration */
#endif
