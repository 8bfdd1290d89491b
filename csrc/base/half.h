/* half.h - float16, bfloat16 and the float8 forms as bits, to and from float32.
 *
 * Plain integer arithmetic, branch-free where it is used in loops, so that the compiler vectorizes
 * it on every tier; round to nearest even, NaN stays NaN, saturation as the peer's.
 */
#ifndef FAC_BASE_HALF_H
#define FAC_BASE_HALF_H

#include <stdint.h>
#include <string.h>

static inline float
fac_bits_float(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, 4);
    return f;
}
static inline uint32_t
fac_float_bits(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, 4);
    return bits;
}

static inline float
fac_bf16_to_f32(uint16_t h)
{
    return fac_bits_float((uint32_t)h << 16);
}
static inline uint16_t
fac_f32_to_bf16(float f)
{
    uint32_t u = fac_float_bits(f);
    uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
    return (uint16_t)((u & 0x7fffffffu) > 0x7f800000u ? 0x7fc0u : rounded);
}

static inline float
fac_f16_to_f32(uint16_t h)
{
    /* shift the exponent up by scaling: exact for normals and subnormals alike */
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, body = (uint32_t)(h & 0x7fffu) << 13;
    float scaled = fac_bits_float(body) * fac_bits_float(0x77800000u); /* 2^112 */
    uint32_t bits = (h & 0x7c00u) == 0x7c00u ? body | 0x7f800000u : fac_float_bits(scaled);
    return fac_bits_float(bits | sign);
}
static inline uint16_t
fac_f32_to_f16(float f)
{
    uint32_t u = fac_float_bits(f), sign = (u >> 16) & 0x8000u;
    u &= 0x7fffffffu;
    /* normals: re-bias and round to even; subnormals: let a float addition do the rounding */
    uint32_t normal = (u - 0x38000000u + 0xfffu + ((u >> 13) & 1u)) >> 13;
    uint32_t tiny = fac_float_bits(fac_bits_float(u) + 0.5f) - 0x3f000000u;
    uint32_t bits = u < 0x38800000u ? tiny : normal;
    bits = u >= 0x477ff000u ? 0x7c00u : bits;
    bits = u > 0x7f800000u ? 0x7e00u : bits;
    return (uint16_t)(bits | sign);
}

float fac_f8_e4m3fn_to_f32(uint8_t b);
float fac_f8_e5m2_to_f32(uint8_t b);
float fac_f8_e4m3fnuz_to_f32(uint8_t b);
float fac_f8_e5m2fnuz_to_f32(uint8_t b);
uint8_t fac_f32_to_f8_e4m3fn(float f);
uint8_t fac_f32_to_f8_e5m2(float f);
uint8_t fac_f32_to_f8_e4m3fnuz(float f);
uint8_t fac_f32_to_f8_e5m2fnuz(float f);

#endif
