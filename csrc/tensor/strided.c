/* strided.c - moving elements between strided places.
 *
 * One generic body a job, inlined with a constant element size for each of the five sizes there
 * are, so that the compiler sees loads and stores of a fixed width. The transpose works on squares
 * of 16 bytes each way held in vector registers: a row of either side is touched as whole vectors,
 * which is what makes it several times faster than element by element.
 */
#include "tensor/strided.h"

#include "base/dtype.h"

#include <string.h>
#include <wchar.h>

#define INLINE static inline __attribute__((always_inline))

/* Calls body(..., size) with size a constant. */
#define BY_SIZE(size, body, ...)                                                                   \
    switch (size) {                                                                                \
    case 1: body(__VA_ARGS__, 1); break;                                                           \
    case 2: body(__VA_ARGS__, 2); break;                                                           \
    case 4: body(__VA_ARGS__, 4); break;                                                           \
    case 8: body(__VA_ARGS__, 8); break;                                                           \
    default: body(__VA_ARGS__, 16); break;                                                         \
    }

/* --- rows ------------------------------------------------------------------------------------- */

INLINE void
gather(char *restrict to, const char *restrict from, FacDim stride, int64_t n, const int size)
{
    for (int64_t i = 0; i < n; i++) memcpy(to + i * size, from + i * stride, (size_t)size);
}

/* From the end to the start, by eight bytes. */
INLINE void
gather_back(char *restrict to, const char *restrict from, int64_t n, const int size)
{
    int64_t i = 0, step = 8 / size;
    for (; i + step <= n; i += step) {
        uint64_t bits;
        memcpy(&bits, from - (i + step - 1) * size, 8);
        if (size == 1) bits = __builtin_bswap64(bits);
        if (size == 2 || size == 4) bits = bits >> 32 | bits << 32;
        if (size == 2)
            bits = (bits >> 16 & 0x0000ffff0000ffffu) | (bits & 0x0000ffff0000ffffu) << 16;
        memcpy(to + i * size, &bits, 8);
    }
    for (; i < n; i++) memcpy(to + i * size, from - i * size, (size_t)size);
}

INLINE void
scatter(char *restrict to, FacDim stride, const char *restrict from, int64_t n, const int size)
{
    for (int64_t i = 0; i < n; i++) memcpy(to + i * stride, from + i * size, (size_t)size);
}

/* The C library fills bytes and words of four with the widest stores there are. */
INLINE void
fill(char *to, const char *from, int64_t n, const int size)
{
    if (size == 1) {
        memset(to, (unsigned char)*from, (size_t)n);
        return;
    }
    int64_t bytes = n * size, done = 0;
    char pattern[16];
    for (int i = 0; i < 16; i += size) memcpy(pattern + i, from, (size_t)size);
    if (size <= 4 && sizeof(wchar_t) == 4 && (uintptr_t)to % 4 == 0) {
        wchar_t word;
        memcpy(&word, pattern, sizeof word);
        wmemset((wchar_t *)(void *)to, word, (size_t)(bytes / 4));
        done = bytes / 4 * 4;
    }
    for (; done + 64 <= bytes; done += 64)
        for (int i = 0; i < 64; i += 16) memcpy(to + done + i, pattern, 16);
    for (; done < bytes; done += size) memcpy(to + done, pattern, (size_t)size);
}

INLINE void
move(char *to, FacDim to_stride, const char *from, FacDim from_stride, int64_t n, const int size)
{
    for (int64_t i = 0; i < n; i++)
        memcpy(to + i * to_stride, from + i * from_stride, (size_t)size);
}

void
fac_move_row(char *to, FacDim to_stride, const char *from, FacDim from_stride, int64_t n, int size)
{
    if (to == from && to_stride == from_stride) return;
    if (to_stride == size && from_stride == size)
        memmove(to, from, (size_t)(n * size));
    else if (to_stride == size && from_stride == 0)
        BY_SIZE(size, fill, to, from, n)
    else if (to_stride == size && from_stride == -size && size <= 8)
        BY_SIZE(size, gather_back, to, from, n)
    else if (to_stride == size)
        BY_SIZE(size, gather, to, from, from_stride, n)
    else if (from_stride == size)
        BY_SIZE(size, scatter, to, to_stride, from, n)
    else
        BY_SIZE(size, move, to, to_stride, from, from_stride, n)
}

/* --- transposes ------------------------------------------------------------------------------- */

INLINE void
transpose_plain(char *to, FacDim to_row, const char *from, FacDim from_column, int64_t rows,
                int64_t columns, const int size)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < columns; c++)
            memcpy(to + r * to_row + c * size, from + c * from_column + r * size, (size_t)size);
}

#if defined(__GNUC__)
/* A square of as many rows as there are elements in a vector. To interleave row i of the upper half with
 * row i of the lower one moves the first bit of a row's number behind the column's last; once a bit,
 * rows and columns have changed places. */
#define SQUARE(SIDE, TYPE, LOW, HIGH)                                                              \
    static void transpose_##SIDE(char *to, FacDim to_row, const char *from, FacDim from_column)    \
    {                                                                                              \
        typedef TYPE Vector __attribute__((vector_size(16)));                                      \
        Vector x[SIDE], y[SIDE];                                                                   \
        _Pragma("GCC unroll 16")                                                                   \
        for (int i = 0; i < SIDE; i++) memcpy(&x[i], from + i * from_column, 16);                  \
        _Pragma("GCC unroll 4")                                                                    \
        for (int side = SIDE; side > 1; side /= 2) {                                               \
            _Pragma("GCC unroll 8")                                                                \
            for (int i = 0; i < SIDE / 2; i++) {                                                   \
                y[2 * i] = __builtin_shufflevector(x[i], x[i + SIDE / 2], LOW);                    \
                y[2 * i + 1] = __builtin_shufflevector(x[i], x[i + SIDE / 2], HIGH);               \
            }                                                                                      \
            _Pragma("GCC unroll 16")                                                               \
            for (int i = 0; i < SIDE; i++) x[i] = y[i];                                            \
        }                                                                                          \
        _Pragma("GCC unroll 16")                                                                   \
        for (int i = 0; i < SIDE; i++) memcpy(to + i * to_row, &x[i], 16);                         \
    }
#define LIST(...) __VA_ARGS__
SQUARE(2, uint64_t, LIST(0, 2), LIST(1, 3))
SQUARE(4, uint32_t, LIST(0, 4, 1, 5), LIST(2, 6, 3, 7))
SQUARE(8, uint16_t, LIST(0, 8, 1, 9, 2, 10, 3, 11), LIST(4, 12, 5, 13, 6, 14, 7, 15))
SQUARE(16, uint8_t, LIST(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23),
       LIST(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31))

/* Squares first; the rest of the rows and columns element by element. */
static void
transpose_squares(char *to, FacDim to_row, const char *from, FacDim from_column, int64_t rows,
                  int64_t columns, int size)
{
    int64_t side = 16 / size, whole_rows = rows / side * side, whole = columns / side * side;
    for (int64_t c = 0; c < whole; c += side)
        for (int64_t r = 0; r < whole_rows; r += side) {
            char *square = to + r * to_row + c * size;
            const char *source = from + c * from_column + r * size;
            switch (size) {
            case 1: transpose_16(square, to_row, source, from_column); break;
            case 2: transpose_8(square, to_row, source, from_column); break;
            case 4: transpose_4(square, to_row, source, from_column); break;
            default: transpose_2(square, to_row, source, from_column);
            }
        }
    BY_SIZE(size, transpose_plain, to + whole * size, to_row, from + whole * from_column,
            from_column, rows, columns - whole)
    BY_SIZE(size, transpose_plain, to + whole_rows * to_row, to_row, from + whole_rows * size,
            from_column, rows - whole_rows, whole)
}
#endif

void
fac_transpose(char *to, FacDim to_row, const char *from, FacDim from_column, int64_t rows,
              int64_t columns, int size)
{
#if defined(__GNUC__)
    if (size <= 8) {
        transpose_squares(to, to_row, from, from_column, rows, columns, size);
        return;
    }
#endif
    BY_SIZE(size, transpose_plain, to, to_row, from, from_column, rows, columns)
}

/* --- boxes ------------------------------------------------------------------------------------ */

/* `rows` whole rows of `width` elements, between a block and a strided place. The direction and the
 * size are constants, so the untaken side goes away. */
INLINE char *
walk_rows(char *block, char *at, int64_t width, FacDim step, int64_t rows, FacDim row_step,
          const bool load, const int size)
{
    for (int64_t r = 0; r < rows; r++, at += row_step) {
        char *element = at;
        for (int64_t i = 0; i < width; i++, block += size, element += step) {
            if (load)
                memcpy(block, element, (size_t)size);
            else
                memcpy(element, block, (size_t)size);
        }
    }
    return block;
}

/* A walk in either direction: a part of a row, whole rows along dimension 1, and so on. */
INLINE void
walk_box(char *block, char *at, int ndim, const FacDim *sizes, const FacDim *strides,
         const int64_t *start, int64_t n, const bool load, const int size)
{
    int64_t index[64], first = start[0], width = sizes[0];
    FacDim step = strides[0], row_step = ndim > 1 ? strides[1] : 0;
    for (int d = 1; d < ndim; d++) index[d] = start[d];
    while (n > 0) {
        int64_t whole = first || n < width ? 0 : n / width, rows = 1;
        if (whole && ndim > 1) rows = whole < sizes[1] - index[1] ? whole : sizes[1] - index[1];
        if (!whole) {
            int64_t part = width - first < n ? width - first : n;
            block = walk_rows(block, at + first * step, part, step, 1, 0, load, size);
            n -= part;
        } else {
            n -= rows * width;
            if (width == 2)
                block = walk_rows(block, at, 2, step, rows, row_step, load, size);
            else if (width == 3)
                block = walk_rows(block, at, 3, step, rows, row_step, load, size);
            else if (width == 4)
                block = walk_rows(block, at, 4, step, rows, row_step, load, size);
            else
                block = walk_rows(block, at, width, step, rows, row_step, load, size);
        }
        first = 0;
        for (int d = 1; d < ndim; d++, rows = 1) {
            at += rows * strides[d];
            if ((index[d] += rows) < sizes[d]) break;
            at -= sizes[d] * strides[d];
            index[d] = 0;
        }
    }
}

void
fac_gather_box(char *to, const char *at, int ndim, const FacDim *sizes, const FacDim *strides,
               const int64_t *index, int64_t n, int size)
{
    BY_SIZE(size, walk_box, to, (char *)at, ndim, sizes, strides, index, n, true)
}

void
fac_scatter_box(char *at, const char *from, int ndim, const FacDim *sizes, const FacDim *strides,
                const int64_t *index, int64_t n, int size){
    BY_SIZE(size, walk_box, (char *)from, at, ndim, sizes, strides, index, n, false)}

/* --- lazy bits -------------------------------------------------------------------------------- */

#define NEGATE(type)                                                                               \
    do {                                                                                           \
        type *x = at;                                                                              \
        for (int64_t i = first; i < n; i += step) x[i] = (type) - x[i];                            \
    } while (0)
#define FLIP_SIGN(type, sign)                                                                      \
    do {                                                                                           \
        type *x = at;                                                                              \
        for (int64_t i = first; i < n; i += step) x[i] = (type)(x[i] ^ (sign));                    \
    } while (0)

/* Negates the elements first, first + step, ... of a real dtype. */
static void negate(FacDType dtype, void *at, int64_t n, int64_t first, int64_t step)
{
    switch (dtype) {
    case FAC_DT_U8:
    case FAC_DT_I8: NEGATE(uint8_t); break;
    case FAC_DT_U16:
    case FAC_DT_I16: NEGATE(uint16_t); break;
    case FAC_DT_U32:
    case FAC_DT_I32: NEGATE(uint32_t); break;
    case FAC_DT_U64:
    case FAC_DT_I64: NEGATE(uint64_t); break;
    case FAC_DT_F16:
    case FAC_DT_BF16: FLIP_SIGN(uint16_t, 0x8000u); break;
    case FAC_DT_F32: NEGATE(float); break;
    case FAC_DT_F64: NEGATE(double); break;
    case FAC_DT_F8_E4M3FN:
    case FAC_DT_F8_E5M2: FLIP_SIGN(uint8_t, 0x80u); break;
    case FAC_DT_F8_E4M3FNUZ: /* there is no negative zero: its bits are the NaN */
    case FAC_DT_F8_E5M2FNUZ: FLIP_SIGN(uint8_t, x[i] & 0x7fu ? 0x80u : 0u); break;
    default: break; /* bool has no sign */
    }
}

void
fac_apply_lazy(FacDType dtype, void *at, int64_t n, bool conj, bool neg)
{
    if (!FAC_IS_COMPLEX(dtype)) {
        if (neg) negate(dtype, at, n, 0, 1);
        return;
    }
    FacDType real = (FacDType)fac_dtype_info[dtype].real;
    if (neg) negate(real, at, 2 * n, 0, 2);
    if (neg != conj) negate(real, at, 2 * n, 1, 2);
}
