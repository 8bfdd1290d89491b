/* beside.c - loops of arithmetic in which one operand is a single element.
 *
 * A number, or the element of a column beside a row of a matrix: the engine (tensor/blocks.c) hands it
 * over as it lies, and here it stays in a register. For other rows and dtypes the engine fills a block
 * with it. The bits are those of the generated loops.
 */
#include "kernels/cpu/kernel.h"

#define EACH                                                                                       \
    _Pragma("GCC ivdep")                                                                           \
    for (int64_t i = 0; i < n; i++)
#define FIRST(name, T, body)                                                                       \
    static void name(void *const *data, int64_t n, const void *params)                             \
    {                                                                                              \
        T *to = data[0];                                                                           \
        const T a = *(const T *)data[1], *from = data[2], alpha = *(const T *)params;              \
        (void)alpha;                                                                               \
        EACH                                                                                       \
        {                                                                                          \
            const T b = from[i];                                                                   \
            to[i] = body;                                                                          \
        }                                                                                          \
    }
#define SECOND(name, T, body)                                                                      \
    static void name(void *const *data, int64_t n, const void *params)                             \
    {                                                                                              \
        T *to = data[0];                                                                           \
        const T *from = data[1], b = *(const T *)data[2], alpha = *(const T *)params;              \
        (void)alpha;                                                                               \
        EACH                                                                                       \
        {                                                                                          \
            const T a = from[i];                                                                   \
            to[i] = body;                                                                          \
        }                                                                                          \
    }

/* X(row, its body as in csrc/ops/pointwise.py) */
#define ROWS(X)                                                                                    \
    X(add, a + alpha * b)                                                                          \
    X(sub, a - alpha * b)                                                                          \
    X(mul, a *b)                                                                                   \
    X(div, a / b)
#define LOOPS(row, body)                                                                           \
    FIRST(row##_first_f32, float, body)                                                            \
    FIRST(row##_first_f64, double, body)                                                           \
    SECOND(row##_second_f32, float, body)                                                          \
    SECOND(row##_second_f64, double, body)
#define DECLARE(row, body) extern FacLoops FAC_TIERED(loops_##row);
#define ENTRIES(row, body)                                                                         \
    {&FAC_TIERED(loops_##row), FAC_DT_F32, row##_first_f32, 1},                                    \
        {&FAC_TIERED(loops_##row), FAC_DT_F32, row##_second_f32, 2},                               \
        {&FAC_TIERED(loops_##row), FAC_DT_F64, row##_first_f64, 1},                                \
        {&FAC_TIERED(loops_##row), FAC_DT_F64, row##_second_f64, 2},

ROWS(LOOPS)
ROWS(DECLARE)

const FacTunedLoop FAC_TIERED(beside_loops)[] = {ROWS(ENTRIES){NULL, FAC_DT_NONE, NULL, 0}};
