/* amx_model.h - the instructions of gemm_amx.c and gemm_bf16.c in plain C, from the architecture's description.
 *
 * A program that includes this in front of a kernel runs it on a machine without them. What
 * the processor would fault on ends the program: a configuration that it does not take, a tile
 * that is not configured, operands that do not fit each other. Rows and bytes beyond a tile's configuration
 * are zero after each write. Floats: multiply-adds rounded once to nearest even, numbers below the
 * normal ones zero before and after.
 */
#ifndef FACULA_TESTS_AMX_MODEL_H
#define FACULA_TESTS_AMX_MODEL_H

#include <immintrin.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MODEL_TILES = 8, MODEL_ROWS = 16, MODEL_BYTES = 64 };

typedef struct Model {
    bool configured;
    struct ModelTile {
        int rows, row_bytes;
        uint8_t data[MODEL_ROWS][MODEL_BYTES];
    } tile[MODEL_TILES];
    int64_t dots; /* that were executed, by this thread */
} Model;
static _Thread_local Model model;

#define MODEL_FAULT(condition)                                                                     \
    do {                                                                                           \
        if (condition) {                                                                           \
            fprintf(stderr, "a fault of the processor: %s\n", #condition);                         \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static inline struct ModelTile *
model_tile(int t)
{
    MODEL_FAULT(!model.configured || t < 0 || t >= MODEL_TILES || model.tile[t].rows == 0);
    return &model.tile[t];
}

/* ldtilecfg: 64 bytes, the palette, the row to start from, bytes of a row at 16, rows at 48. */
static inline void
model_configure(const void *memory)
{
    const uint8_t *from = memory;
    MODEL_FAULT(from[0] != 1); /* 0 releases tiles, which kernels do otherwise */
    MODEL_FAULT(from[1] != 0); /* legal after an interrupted load only */
    for (int i = 2; i < 16; i++) MODEL_FAULT(from[i] != 0);
    for (int i = 16 + 2 * MODEL_TILES; i < 48; i++) MODEL_FAULT(from[i] != 0);
    for (int i = 48 + MODEL_TILES; i < 64; i++) MODEL_FAULT(from[i] != 0);
    memset(model.tile, 0, sizeof model.tile);
    for (int t = 0; t < MODEL_TILES; t++) {
        const int row_bytes = from[16 + 2 * t] | from[17 + 2 * t] << 8, rows = from[48 + t];
        MODEL_FAULT(row_bytes > MODEL_BYTES || rows > MODEL_ROWS);
        MODEL_FAULT((row_bytes == 0) != (rows == 0));
        model.tile[t].rows = rows;
        model.tile[t].row_bytes = row_bytes;
    }
    model.configured = true;
}

static inline void
model_release(void)
{
    memset(model.tile, 0, sizeof model.tile);
    model.configured = false;
}

static inline void
model_zero(int t)
{
    memset(model_tile(t)->data, 0, sizeof model.tile[t].data);
}

static inline void
model_load(int t, const void *from, int64_t stride)
{
    struct ModelTile *tile = model_tile(t);
    memset(tile->data, 0, sizeof tile->data);
    for (int i = 0; i < tile->rows; i++)
        memcpy(tile->data[i], (const char *)from + i * stride, (size_t)tile->row_bytes);
}

static inline void
model_store(int t, void *to, int64_t stride)
{
    const struct ModelTile *tile = model_tile(t);
    for (int i = 0; i < tile->rows; i++)
        memcpy((char *)to + i * stride, tile->data[i], (size_t)tile->row_bytes);
}

static inline float
model_flush(float x)
{
    return fabsf(x) < 0x1p-126f ? copysignf(0, x) : x;
}

/* a * b + c; and with a = 1 a sum. */
static inline float
model_fma(float a, float b, float c)
{
    return model_flush(fmaf(model_flush(a), model_flush(b), model_flush(c)));
}

static inline float
model_bf16(const uint8_t *at)
{
    const uint32_t bits = (uint32_t)(at[0] | at[1] << 8) << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline void
model_operands(int c, int a, int b)
{
    const struct ModelTile *tc = model_tile(c), *ta = model_tile(a), *tb = model_tile(b);
    MODEL_FAULT(a == b || a == c || b == c);
    MODEL_FAULT(tc->rows != ta->rows || tc->row_bytes != tb->row_bytes);
    MODEL_FAULT(ta->row_bytes % 4 || tb->row_bytes % 4 || ta->row_bytes / 4 != tb->rows);
    model.dots++;
}

static inline void
model_tdpbf16ps(int c, int a, int b)
{
    model_operands(c, a, b);
    struct ModelTile *tc = &model.tile[c], *ta = &model.tile[a], *tb = &model.tile[b];
    for (int m = 0; m < tc->rows; m++)
        for (int n = 0; n < tc->row_bytes / 4; n++) {
            float even = 0, odd = 0, sum;
            for (int k = 0; k < tb->rows; k++) {
                const uint8_t *x = ta->data[m] + 4 * k, *y = tb->data[k] + 4 * n;
                even = model_fma(model_bf16(x), model_bf16(y), even);
                odd = model_fma(model_bf16(x + 2), model_bf16(y + 2), odd);
            }
            memcpy(&sum, tc->data[m] + 4 * n, 4);
            sum = model_fma(1, model_fma(1, even, odd), sum);
            memcpy(tc->data[m] + 4 * n, &sum, 4);
        }
}

static inline void
model_tdpb(int c, int a, int b, bool unsigned_a)
{
    model_operands(c, a, b);
    struct ModelTile *tc = &model.tile[c], *ta = &model.tile[a], *tb = &model.tile[b];
    for (int m = 0; m < tc->rows; m++)
        for (int n = 0; n < tc->row_bytes / 4; n++) {
            uint32_t sum;
            memcpy(&sum, tc->data[m] + 4 * n, 4);
            for (int i = 0; i < 4 * tb->rows; i++) {
                const uint8_t x = ta->data[m][i];
                const int8_t y = (int8_t)tb->data[i / 4][4 * n + i % 4];
                sum += (uint32_t)((unsigned_a ? x : (int8_t)x) * y);
            }
            memcpy(tc->data[m] + 4 * n, &sum, 4);
        }
}
static inline void
model_tdpbssd(int c, int a, int b)
{
    model_tdpb(c, a, b, false);
}
static inline void
model_tdpbusd(int c, int a, int b)
{
    model_tdpb(c, a, b, true);
}

/* vdpbf16ps, whose first source is b: the odd elements come first. */
static inline __m512
model_dot_pairs(__m512 sum, __m512i b, __m512i a)
{
    float s[16];
    uint8_t x[64], y[64];
    memcpy(s, &sum, 64);
    memcpy(x, &b, 64);
    memcpy(y, &a, 64);
    for (int i = 0; i < 16; i++)
        for (int odd = 1; odd >= 0; odd--)
            s[i] =
                model_fma(model_bf16(x + 4 * i + 2 * odd), model_bf16(y + 4 * i + 2 * odd), s[i]);
    memcpy(&sum, s, 64);
    model.dots++;
    return sum;
}

/* What the kernels say in their place. */
#define tile_configure(config) model_configure(config)
#define tile_release() model_release()
#define tile_zero(t) model_zero(t)
#define tile_load(t, from, row_bytes) model_load(t, from, row_bytes)
#define tile_store(t, to, row_bytes) model_store(t, to, row_bytes)
#define tile_dot(name, c, a, b) model_##name(c, a, b)
#define dot_pairs(sum, b, a) model_dot_pairs(sum, b, a)

#endif
