/* gemm_narrow.c - the dtypes that are multiplied in float32.
 *
 * Halves are converted while they are packed, and results are rounded when their sums are complete.
 * The products of bytes, and their sums over a run, are integers that float32 holds exactly; runs are
 * added up in int32. All that is worth it is written in vectors, so the compiler need not look for more.
 */
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/gemm_types.h"

#if defined(__F16C__)
#include <immintrin.h>
#endif

#pragma GCC optimize("O2", "fp-contract=fast", "no-tree-vectorize")

#define T float
#define INDEX int32_t
#define LANES GEMM_F32_LANES
#define RUN GEMM_F32_RUN
#define NAME(x) x##_f32
#include "kernels/cpu/gemm_form.h"

void FAC_TIERED(gemm_widen)(FacDType dtype, const uint16_t *from, int64_t step, int64_t n,
                            float *to);
void FAC_TIERED(gemm_round)(FacDType dtype, const float *from, int64_t n, uint16_t *to);
const Form_f32 *FAC_TIERED(gemm_narrow)(FacDType dtype);

typedef int32_t NarrowBits __attribute__((vector_size(GEMM_BYTES)));
typedef uint16_t NarrowHalves __attribute__((vector_size(GEMM_BYTES / 2), aligned(2), may_alias));
typedef uint8_t NarrowU8 __attribute__((vector_size(GEMM_BYTES / 4), aligned(1), may_alias));
typedef int8_t NarrowI8 __attribute__((vector_size(GEMM_BYTES / 4), aligned(1), may_alias));
_Static_assert(RUN * 255 * 128 <= 1 << 24, "a sum of a run of bytes is exact in float32");

static inline vec_f32
load_bf16(const uint16_t *p)
{
    return (vec_f32)(__builtin_convertvector(*(const NarrowHalves *)p, NarrowBits) << 16);
}

static inline vec_f32
load_f16(const uint16_t *p)
{
#if defined(__AVX512F__)
    return (vec_f32)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
#elif defined(__F16C__)
    return (vec_f32)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
#else
    float x[VL_f32];
    for (int i = 0; i < VL_f32; i++) x[i] = fac_f16_to_f32(p[i]);
    return *(vec_f32 *)x;
#endif
}

static inline vec_f32
load_i8(const int8_t *p)
{
    const NarrowBits wide = __builtin_convertvector(*(const NarrowI8 *)p, NarrowBits);
    return __builtin_convertvector(wide, vec_f32);
}

static inline vec_f32
load_u8(const uint8_t *p)
{
    const NarrowBits wide = __builtin_convertvector(*(const NarrowU8 *)p, NarrowBits);
    return __builtin_convertvector(wide, vec_f32);
}

#define S uint16_t
#define LOAD(p) load_bf16(p)
#define GET(x) fac_bf16_to_f32(x)
#define FROM(name) name##_bf16
#define PARTS 3
#include "kernels/cpu/gemm_source.h"
#define S uint16_t
#define LOAD(p) load_f16(p)
#define GET(x) fac_f16_to_f32(x)
#define FROM(name) name##_f16
#define PARTS 3
#include "kernels/cpu/gemm_source.h"
#define S int8_t
#define LOAD(p) load_i8(p)
#define GET(x) (float)(x)
#define FROM(name) name##_i8
#define PARTS 2
#include "kernels/cpu/gemm_source.h"
#define S uint8_t
#define LOAD(p) load_u8(p)
#define GET(x) (float)(x)
#define FROM(name) name##_u8
#define PARTS 1
#include "kernels/cpu/gemm_source.h"

const Form_f32 *
FAC_TIERED(gemm_narrow)(FacDType dtype)
{
    static const Form_f32 bf16 = {
        false, pack_a_bf16, pack_b_bf16, pack_strips_bf16, row_by_rows_bf16, row_by_columns_bf16};
    static const Form_f32 f16 = {false,           pack_a_f16,      pack_b_f16,
                                 pack_strips_f16, row_by_rows_f16, row_by_columns_f16};
    static const Form_f32 i8 = {false, pack_a_i8, pack_b_i8, pack_strips_i8, NULL, NULL};
    static const Form_f32 u8 = {false, pack_a_u8, pack_b_i8, pack_strips_i8, NULL, NULL};
    return dtype == FAC_DT_BF16  ? &bf16
           : dtype == FAC_DT_F16 ? &f16
           : dtype == FAC_DT_I8  ? &i8
                                 : &u8;
}

void
FAC_TIERED(gemm_widen)(FacDType dtype, const uint16_t *from, int64_t step, int64_t n, float *to)
{
    int64_t i = 0;
    if (step == 1)
        for (; i + VL_f32 <= n; i += VL_f32)
            *(vec_f32 *)(to + i) = dtype == FAC_DT_BF16 ? load_bf16(from + i) : load_f16(from + i);
    for (; i < n; i++)
        to[i] =
            dtype == FAC_DT_BF16 ? fac_bf16_to_f32(from[i * step]) : fac_f16_to_f32(from[i * step]);
}

#if defined(__F16C__)
static void
round_f16(const float *from, int64_t n, uint16_t *to)
{
    int64_t i = 0;
#if defined(__AVX512F__)
    for (; i + 16 <= n; i += 16)
        _mm256_storeu_si256((__m256i *)(to + i), _mm512_cvtps_ph(_mm512_loadu_ps(from + i), 0));
#endif
    for (; i < n; i += 4) {
        const int64_t left = n - i < 4 ? n - i : 4;
        float in[4] = {0};
        memcpy(in, from + i, (size_t)left * sizeof(float));
        const __m128i out = _mm_cvtps_ph(_mm_loadu_ps(in), 0);
        memcpy(to + i, &out, (size_t)left * sizeof(uint16_t));
    }
}
#else
static void
round_f16(const float *from, int64_t n, uint16_t *to)
{
    for (int64_t i = 0; i < n; i++) to[i] = fac_f32_to_f16(from[i]);
}
#endif

__attribute__((optimize("tree-vectorize"))) static void
round_bf16(const float *restrict from, int64_t n, uint16_t *restrict to)
{
    for (int64_t i = 0; i < n; i++) to[i] = fac_f32_to_bf16(from[i]);
}

void
FAC_TIERED(gemm_round)(FacDType dtype, const float *from, int64_t n, uint16_t *to)
{
    if (dtype == FAC_DT_BF16)
        round_bf16(from, n, to);
    else
        round_f16(from, n, to);
}
