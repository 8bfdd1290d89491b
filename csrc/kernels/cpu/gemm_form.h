/* gemm_form.h - vectors of one real type and how operands of a dtype come into them: included once a type
 * with T, NAME, INDEX (the integer of its size), LANES (how many make a vector) and RUN defined.
 */
enum { NAME(VL) = GEMM_BYTES / sizeof(T), NAME(NR) = 2 * NAME(VL), NAME(RUN) = RUN };
typedef NAME(FacVec) NAME(vec);
typedef INDEX NAME(index) __attribute__((vector_size(GEMM_BYTES)));
static const NAME(index) NAME(low) = GEMM_LOW(LANES), NAME(high) = GEMM_HIGH(LANES);

/* A square of vectors to columns: after log2(VL) rounds of interleaving the first half of the vectors
 * with the second, it is transposed. */
static inline void
NAME(turn)(NAME(vec) r[])
{
#pragma GCC unroll 4
    for (int round = 1; round < NAME(VL); round *= 2) {
        NAME(vec) s[NAME(VL)];
#pragma GCC unroll 16
        for (int i = 0; i < NAME(VL) / 2; i++) {
            s[2 * i] = __builtin_shuffle(r[i], r[i + NAME(VL) / 2], NAME(low));
            s[2 * i + 1] = __builtin_shuffle(r[i], r[i + NAME(VL) / 2], NAME(high));
        }
#pragma GCC unroll 16
        for (int i = 0; i < NAME(VL); i++) r[i] = s[i];
    }
}

/* What a product does with operands of one dtype. */
typedef struct NAME(Form) {
    bool plain; /* they are of type T and may be read where they lie */
    void (*pack_a)(const FacGemm *g, int64_t i0, int rows, int64_t p0, int64_t k, T *to);
    void (*pack_b)(const FacGemm *g, int64_t j0, int64_t columns, int64_t width, int64_t p0,
                   int64_t k, T *to);
    void (*pack_strips)(const FacGemm *g, int64_t j0, int64_t strips, int64_t width, int64_t p0,
                        int64_t k, T *to);    /* NULL: strip by strip */
    void (*row_by_rows)(const FacGemm *g);    /* NULL: as all other products */
    void (*row_by_columns)(const FacGemm *g); /* likewise */
} NAME(Form);
