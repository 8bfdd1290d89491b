/* gemm_dots.h - products by instructions that multiply and add a group of narrow elements a lane.
 *
 * A group is four bytes: four steps of int8, or two of bfloat16. No tier has these instructions, so
 * what multiplies is a FacDots, of a file of its own: AMX, AVX512-BF16, VNNI. gemm_dots.c does for
 * all of them what is the same: it packs operands into groups, walks the blocks, and chooses.
 *
 * A panel of A is rows of groups, DOTS_ROW apart. A strip of B is lines of one or two vectors of
 * columns, a line for each group.
 */
#ifndef FAC_KERNELS_CPU_GEMM_DOTS_H
#define FAC_KERNELS_CPU_GEMM_DOTS_H

#include "base/cpu.h"
#include "kernels/cpu/gemm.h"

enum {
    DOTS_LANES = 16,             /* groups of a vector */
    DOTS_STRIP = 2 * DOTS_LANES, /* columns */
    DOTS_ROWS = 32,              /* of a panel, at most */
    DOTS_RUN = 384,              /* groups that pass at a time, at most */
    DOTS_ROW = DOTS_RUN + 16     /* behind them there is room for what `begin` finds out */
};

/* C = sums, or C += sums, float32 or int32: `groups` groups of a panel and of a strip of `vecs` vectors. */
typedef void (*FacDotsTile)(int rows, int vecs, int64_t groups, const int32_t *a, const int32_t *b,
                            void *c, int64_t c_row, bool add);

typedef struct FacDots {
    FacCpuFeature feature;
    FacDType dtype; /* of A: BF16, as B is, or I8 or U8 with a B of I8 */
    int rows;       /* of a panel, at most */
    int run;        /* groups that pass at a time: for floats a part of what the bits are */
    int fill;       /* a run is filled up with zeros to a multiple of so many groups */
    int32_t flip;   /* B is packed exclusive-or this */
    void (*begin)(int rows, int64_t groups, int32_t *panel); /* before a panel's tiles; or NULL */
    FacDotsTile tile;
    void (*end)(void); /* after them; or NULL */
    /* Of one row, in the calling thread, the steps of both side by side: where packing would not pay; or NULL. */
    void (*row_by_columns)(const FacGemm *g);
} FacDots;

/* A product by one kind, whatever the processor has: in the pool, and in the calling thread without an
 * allocation. */
FacStatus FAC_TIERED(dots_multiply)(const FacDots *, const FacGemm *, FacGemmFinish) FAC_MUST_CHECK;
void FAC_TIERED(dots_multiply_alone)(const FacDots *, const FacGemm *);
/* Whether a small product, with an edge in each direction, is the plain sum. */
bool FAC_TIERED(dots_agree)(const FacDots *);

extern const FacDots FAC_TIERED(dots_vnni), FAC_TIERED(dots_bf16), FAC_TIERED(dots_amx_bf16),
    FAC_TIERED(dots_amx_i8), FAC_TIERED(dots_amx_u8);

#endif
