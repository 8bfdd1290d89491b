/* finite.c - whether all of a piece of memory is finite.
 *
 * The exponent of a number that is not finite has all bits set, so that, with the sign shifted
 * out, it is at least as large as infinity: one addition and one maximum a vector, which is
 * less than memory takes. Sixty-four bits have no maximum below AVX-512; there the exponent plus
 * one carries into the sign bit.
 */
#include "kernels/cpu/kernel.h"

#define LARGEST(name, type)                                                                        \
    static type name(const type *x, int64_t n)                                                     \
    {                                                                                              \
        type most = 0;                                                                             \
        for (int64_t i = 0; i < n; i++) {                                                          \
            type bits = (type)(x[i] + x[i]);                                                       \
            most = bits > most ? bits : most;                                                      \
        }                                                                                          \
        return most;                                                                               \
    }
LARGEST(largest16, uint16_t)
LARGEST(largest32, uint32_t)

static uint64_t
carries64(const uint64_t *x, int64_t n)
{
    uint64_t any = 0;
    for (int64_t i = 0; i < n; i++)
        any |= (x[i] & UINT64_C(0x7ff0000000000000)) + UINT64_C(0x0010000000000000);
    return any;
}

bool
FAC_TIERED(all_finite)(FacDType real, const void *data, int64_t n)
{
    if (real == FAC_DT_F32) return largest32(data, n) < 2 * UINT32_C(0x7f800000);
    if (real == FAC_DT_F64) return !(carries64(data, n) >> 63);
    return largest16(data, n) < 2 * (real == FAC_DT_F16 ? 0x7c00 : 0x7f80);
}
