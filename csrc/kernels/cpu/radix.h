/* radix.h - sorting by digits of 8 bits, from the lowest; included by sort.c.
 *
 * Keys are unsigned numbers that order as the elements do (radix_key_*): of up to 32 bits they share
 * a word with the index, wider ones are a pair. The sort is stable, a pass whose digit is the same
 * everywhere is left out, and descending order is that of the inverted keys.
 */
#ifndef FAC_KERNELS_CPU_RADIX_H
#define FAC_KERNELS_CPU_RADIX_H

#include "kernels/cpu/kernel.h"

enum { RADIX_MIN = 256 }; /* elements from which on it is faster than comparing */

typedef struct Keyed {
    uint64_t key;
    int64_t at;
} Keyed;

static inline uint32_t
radix_key_f32(float x)
{
    uint32_t u = fac_float_bits(x);
    u = (u & 0x7fffffffu) == 0 ? 0 : u; /* -0 and 0 are equal; a NaN comes last */
    return x != x ? UINT32_MAX : u ^ (u >> 31 ? UINT32_MAX : 0x80000000u);
}

static inline uint64_t
radix_key_f64(double x)
{
    uint64_t u;
    memcpy(&u, &x, 8);
    u = (u & (UINT64_MAX >> 1)) == 0 ? 0 : u;
    return x != x ? UINT64_MAX : u ^ (u >> 63 ? UINT64_MAX : UINT64_C(1) << 63);
}

/* Counts of a digit to the places where its elements begin; false where one digit has them all. */
static inline bool
radix_places(int64_t *count, int64_t n)
{
    int64_t begin = 0;
    for (int d = 0; d < 256; d++) {
        int64_t c = count[d];
        if (c == n) return false;
        count[d] = begin;
        begin += c;
    }
    return true;
}

/* Words with a key of `bytes` bytes above 32 bits of index. The result lies in one of the two. */
static uint64_t *
radix_short(uint64_t *items, uint64_t *spare, int64_t n, int bytes)
{
    int64_t count[4][256] = {{0}};
    for (int64_t i = 0; i < n; i++)
        for (int b = 0; b < bytes; b++) count[b][items[i] >> (32 + 8 * b) & 255]++;
    for (int b = 0; b < bytes; b++) {
        if (!radix_places(count[b], n)) continue;
        for (int64_t i = 0; i < n; i++)
            spare[count[b][items[i] >> (32 + 8 * b) & 255]++] = items[i];
        uint64_t *sorted = spare;
        spare = items;
        items = sorted;
    }
    return items;
}

static Keyed *
radix_long(Keyed *items, Keyed *spare, int64_t n)
{
    int64_t count[8][256] = {{0}};
    for (int64_t i = 0; i < n; i++)
        for (int b = 0; b < 8; b++) count[b][items[i].key >> (8 * b) & 255]++;
    for (int b = 0; b < 8; b++) {
        if (!radix_places(count[b], n)) continue;
        for (int64_t i = 0; i < n; i++) spare[count[b][items[i].key >> (8 * b) & 255]++] = items[i];
        Keyed *sorted = spare;
        spare = items;
        items = sorted;
    }
    return items;
}

#endif
