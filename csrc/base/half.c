/* half.c - the four float8 forms, to and from float32.
 *
 * One encoder and one decoder, told the number of mantissa bits and the bias. Encoding rounds to
 * nearest even: normals by integer arithmetic on the bits, subnormals by adding a power of two
 * whose last place is the form's smallest step. What is too large becomes infinity in e5m2 and, as
 * in the peer, the largest number in e4m3fn, which has no infinity. The "fnuz" forms have one NaN,
 * for overflow too, under the code of the negative zero that they lack.
 */
#include "base/half.h"

#include <math.h>

static inline float
decode(uint8_t b, int mantissa, int bias)
{
    uint32_t low = b & ((1u << mantissa) - 1u);
    int exponent = (b & 0x7f) >> mantissa;
    uint32_t whole = exponent ? low | (1u << mantissa) : low;
    float magnitude = ldexpf((float)whole, (exponent ? exponent : 1) - bias - mantissa);
    return b & 0x80 ? -magnitude : magnitude;
}

/* The code without its sign for |f| given as bits below the form's overflow. */
static inline uint32_t
encode(uint32_t u, int mantissa, int bias)
{
    uint32_t smallest_normal = (uint32_t)(128 - bias) << 23;
    uint32_t step = (uint32_t)(151 - bias - mantissa) << 23;
    int shift = 23 - mantissa;
    if (u < smallest_normal) return fac_float_bits(fac_bits_float(u) + fac_bits_float(step)) - step;
    u -= (uint32_t)(127 - bias) << 23;
    return (u + (1u << (shift - 1)) - 1u + ((u >> shift) & 1u)) >> shift;
}

float
fac_f8_e4m3fn_to_f32(uint8_t b)
{
    return (b & 0x7f) == 0x7f ? (b & 0x80 ? -NAN : NAN) : decode(b, 3, 7);
}

float
fac_f8_e5m2_to_f32(uint8_t b)
{
    if ((b & 0x7f) > 0x7c) return b & 0x80 ? -NAN : NAN;
    if ((b & 0x7f) == 0x7c) return b & 0x80 ? -INFINITY : INFINITY;
    return decode(b, 2, 15);
}

float
fac_f8_e4m3fnuz_to_f32(uint8_t b)
{
    return b == 0x80 ? NAN : decode(b, 3, 8);
}

float
fac_f8_e5m2fnuz_to_f32(uint8_t b)
{
    return b == 0x80 ? NAN : decode(b, 2, 16);
}

uint8_t
fac_f32_to_f8_e4m3fn(float f)
{
    uint32_t u = fac_float_bits(f), sign = (u >> 24) & 0x80u;
    u &= 0x7fffffffu;
    uint32_t code = u > 0x7f800000u ? 0x7fu : u >= fac_float_bits(448.0f) ? 0x7eu : encode(u, 3, 7);
    return (uint8_t)(code | sign);
}

uint8_t
fac_f32_to_f8_e5m2(float f)
{
    uint32_t u = fac_float_bits(f), sign = (u >> 24) & 0x80u;
    u &= 0x7fffffffu;
    uint32_t code = u > 0x7f800000u                ? 0x7fu
                    : u >= fac_float_bits(65536.f) ? 0x7cu
                                                   : encode(u, 2, 15);
    return (uint8_t)(code | sign);
}

static inline uint8_t
encode_fnuz(float f, float overflow, int mantissa, int bias)
{
    uint32_t u = fac_float_bits(f), sign = (u >> 24) & 0x80u;
    u &= 0x7fffffffu;
    if (u >= fac_float_bits(overflow)) return 0x80u;
    uint32_t code = encode(u, mantissa, bias);
    return (uint8_t)(code ? code | sign : 0u);
}

uint8_t
fac_f32_to_f8_e4m3fnuz(float f)
{
    return encode_fnuz(f, 256.0f, 3, 8);
}

uint8_t
fac_f32_to_f8_e5m2fnuz(float f)
{
    return encode_fnuz(f, 65536.0f, 2, 16);
}
