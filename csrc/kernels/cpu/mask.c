/* mask.c - the kernels whose work is chosen by a mask: fill, select, scatter, and nonzero.
 *
 * Filling runs in the strided engine. What packs or unpacks depends on the order of the
 * elements, so it works on contiguous copies: in chunks of a fixed size, whose true elements
 * are counted first, so that each chunk knows where its part begins and all of them run in the
 * pool.
 */
#include "kernels/cpu/kernel.h"

#include <string.h>

typedef struct MaskMoves {
    int64_t (*pack)(char *to, const char *from, const uint8_t *mask, int64_t n);
    int64_t (*unpack)(char *to, const char *from, const uint8_t *mask, int64_t n);
    FacRowBody fill;
} MaskMoves;

typedef struct Bytes16 {
    uint64_t at[2];
} Bytes16;
#define T uint8_t
#define SUFFIX 1
#include "kernels/cpu/mask_moves.h"
#define T uint16_t
#define SUFFIX 2
#include "kernels/cpu/mask_moves.h"
#define T uint32_t
#define SUFFIX 4
#include "kernels/cpu/mask_moves.h"
#define T uint64_t
#define SUFFIX 8
#include "kernels/cpu/mask_moves.h"
#define T Bytes16
#define SUFFIX 16
#include "kernels/cpu/mask_moves.h"

static const MaskMoves *
moves_of(const FacTensor *t)
{
    switch (fac_dtype_size((FacDType)t->dtype)) {
    case 1: return &moves_1;
    case 2: return &moves_2;
    case 4: return &moves_4;
    case 8: return &moves_8;
    default: return &moves_16;
    }
}

/* --- counting -------------------------------------------------------------------------------- */

enum { CHUNK = 1 << 12 };

typedef struct Chunks {
    const uint8_t *mask;
    int64_t n;
    int64_t *starts; /* one a chunk: true elements in front of it; and the total */
} Chunks;

static void
count_task(int64_t begin, int64_t end, void *context)
{
    const Chunks *chunks = context;
    for (int64_t c = begin; c < end; c++) {
        int64_t last = (c + 1) * CHUNK < chunks->n ? (c + 1) * CHUNK : chunks->n, count = 0;
        for (int64_t i = c * CHUNK; i < last; i++) count += chunks->mask[i] != 0;
        chunks->starts[c + 1] = count;
    }
}

static FacStatus
chunks_make(const FacTensor *mask, Chunks *chunks)
{
    int64_t n = fac_chunks(mask->numel, CHUNK);
    size_t bytes = (size_t)(n + 1) * sizeof *chunks->starts;
    *chunks = (Chunks){fac_data(mask), mask->numel, fac_mem_alloc(bytes)};
    if (!chunks->starts) return fac_mem_error(bytes);
    chunks->starts[0] = 0;
    fac_parallel(n, 4, count_task, chunks);
    for (int64_t c = 0; c < n; c++) chunks->starts[c + 1] += chunks->starts[c];
    return FAC_OK;
}

static int64_t
chunks_total(const Chunks *chunks)
{
    return chunks->starts[fac_chunks(chunks->n, CHUNK)];
}

/* A contiguous tensor with t's elements, broadcast to the sizes. */
static FacStatus
spread(FacTensor *t, FacDType dt, int ndim, const FacDim *sizes, FacTensor **out)
{
    FacStatus st;
    FacTensor *wide = NULL;
    FacDim strides[FAC_MAX_NDIM];
    int more = ndim - t->ndim;
    for (int d = 0; d < ndim; d++)
        strides[d] = d < more || t->sizes[d - more] == 1 ? 0 : t->strides[d - more];
    FAC_TRY(fac_tensor_view(t, ndim, sizes, strides, t->offset, &wide));
    FAC_TRY(fac_contiguous(wide, dt, out));
done:
    fac_tensor_release(wide);
    return st;
}

static FacStatus
common_sizes(const FacTensor *a, const FacTensor *b, int *ndim, FacDim *sizes)
{
    *ndim = a->ndim;
    for (int d = 0; d < a->ndim; d++) sizes[d] = a->sizes[d];
    return fac_broadcast(ndim, sizes, b->ndim, b->sizes);
}

/* --- packing --------------------------------------------------------------------------------- */

typedef struct Packing {
    const Chunks *chunks;
    const MaskMoves *moves;
    char *packed, *wide;
    int size;
} Packing;

/* A chunk packs to a buffer of its own size: its last store may lie one behind its part, which is
 * the start of the next chunk's. */
static void
pack_task(int64_t begin, int64_t end, void *context)
{
    const Packing *p = context;
    char buffer[(CHUNK + 1) * sizeof(Bytes16)];
    for (int64_t c = begin; c < end; c++) {
        int64_t first = c * CHUNK, n = p->chunks->n - first;
        int64_t count = p->chunks->starts[c + 1] - p->chunks->starts[c];
        if (count == 0) continue;
        p->moves->pack(buffer, p->wide + first * p->size, p->chunks->mask + first,
                       n < CHUNK ? n : CHUNK);
        memcpy(p->packed + p->chunks->starts[c] * p->size, buffer, (size_t)(count * p->size));
    }
}

static void
unpack_task(int64_t begin, int64_t end, void *context)
{
    const Packing *p = context;
    for (int64_t c = begin; c < end; c++) {
        int64_t first = c * CHUNK, n = p->chunks->n - first;
        p->moves->unpack(p->wide + first * p->size, p->packed + p->chunks->starts[c] * p->size,
                         p->chunks->mask + first, n < CHUNK ? n : CHUNK);
    }
}

static void
packing_run(const Chunks *chunks, FacTensor *packed, FacTensor *wide, FacBody task)
{
    Packing p = {chunks, moves_of(wide), fac_data(packed), fac_data(wide),
                 fac_dtype_size((FacDType)wide->dtype)};
    fac_parallel(fac_chunks(chunks->n, CHUNK), 2, task, &p);
}

FacStatus
FAC_KERNEL(masked_select)(FacCall *call)
{
    FacStatus st;
    FacTensor *self = fac_arg_tensor(call, 0), *mask = fac_arg_tensor(call, 1);
    FacTensor *wide = NULL, *wide_mask = NULL;
    FacDim sizes[FAC_MAX_NDIM], count;
    Chunks chunks = {.n = 0};
    int ndim;
    FAC_TRY(common_sizes(self, mask, &ndim, sizes));
    FAC_TRY(spread(mask, FAC_DT_NONE, ndim, sizes, &wide_mask));
    FAC_TRY(spread(self, FAC_DT_NONE, ndim, sizes, &wide));
    FAC_TRY(chunks_make(wide_mask, &chunks));
    count = chunks_total(&chunks);
    FAC_TRY(fac_out(call, 0, (FacDType)self->dtype, self->device, 1, &count));
    packing_run(&chunks, fac_result_tensor(call, 0), wide, pack_task);
done:
    fac_mem_free(chunks.starts);
    fac_tensor_release(wide);
    fac_tensor_release(wide_mask);
    return st;
}

FacStatus
FAC_KERNEL(masked_scatter)(FacCall *call)
{
    FacStatus st;
    FacTensor *self = fac_arg_tensor(call, 0), *out = fac_result_tensor(call, 0);
    FacTensor *mask = NULL, *source = NULL, *work = NULL;
    Chunks chunks = {.n = 0};
    FAC_TRY(spread(fac_arg_tensor(call, 1), FAC_DT_NONE, out->ndim, out->sizes, &mask));
    FAC_TRY(fac_contiguous(fac_arg_tensor(call, 2), FAC_DT_NONE, &source));
    FAC_TRY(chunks_make(mask, &chunks));
    if (chunks_total(&chunks) > source->numel)
        FAC_FAIL(FAC_RUNTIME_ERROR,
                 "argument 'source' has %lld elements, fewer than the %lld where the mask is true",
                 (long long)source->numel, (long long)chunks_total(&chunks));
    if (out != self) FAC_TRY(fac_tensor_copy(out, self));
    FAC_TRY(fac_contiguous(out, FAC_DT_NONE, &work));
    packing_run(&chunks, source, work, unpack_task);
    if (work != out) FAC_TRY(fac_tensor_copy(out, work));
done:
    fac_mem_free(chunks.starts);
    fac_tensor_release(work);
    fac_tensor_release(source);
    fac_tensor_release(mask);
    return st;
}

FacStatus
FAC_KERNEL(masked_scatter_backward)(FacCall *call)
{
    FacStatus st;
    FacTensor *grad = fac_arg_tensor(call, 0), *out = fac_result_tensor(call, 0);
    FacTensor *mask = NULL, *wide = NULL;
    Chunks chunks = {.n = 0};
    FAC_TRY(spread(fac_arg_tensor(call, 1), FAC_DT_NONE, grad->ndim, grad->sizes, &mask));
    FAC_TRY(fac_contiguous(grad, FAC_DT_NONE, &wide));
    FAC_TRY(chunks_make(mask, &chunks));
    if (chunks_total(&chunks) > out->numel)
        FAC_FAIL(FAC_RUNTIME_ERROR, "more elements where the mask is true than in the result");
    if (out->numel) memset(fac_data(out), 0, fac_nbytes(out));
    packing_run(&chunks, out, wide, pack_task);
done:
    fac_mem_free(chunks.starts);
    fac_tensor_release(wide);
    fac_tensor_release(mask);
    return st;
}

/* --- filling --------------------------------------------------------------------------------- */

FacStatus
FAC_KERNEL(masked_fill)(FacCall *call)
{
    FacTensor *self = fac_arg_tensor(call, 0), *out = fac_result_tensor(call, 0);
    FacValue value = FAC_ARG(call, 2), operands[2] = {FAC_ARG(call, 0), FAC_ARG(call, 1)};
    double c[2], element[2];
    FacIter it;
    if (value.tag == FAC_V_TENSOR) FAC_RETURN_IF_ERROR(fac_tensor_item(value.v.t, c, &value));
    fac_v_store(value, (FacDType)self->dtype, element);
    FAC_RETURN_IF_ERROR(fac_iter_init(&it, 1, &out, 2, operands, FAC_DT_NONE, FAC_DT_NONE));
    fac_iter_rows(&it, 0, moves_of(out)->fill, element);
    return FAC_OK;
}

/* --- nonzero --------------------------------------------------------------------------------- */

typedef struct Positions {
    const Chunks *chunks;
    int ndim;
    const FacDim *sizes;
    int64_t *out;
} Positions;

/* By runs along the last dimension, without a branch on the mask. */
static void
positions_task(int64_t begin, int64_t end, void *context)
{
    const Positions *p = context;
    int64_t found[CHUNK + 1]; /* positions along the last dimension; the last store may be void */
    int inner = p->ndim - 1;
    for (int64_t c = begin; c < end; c++) {
        int64_t first = c * CHUNK, last = first + CHUNK, at[FAC_MAX_NDIM], rest = first;
        int64_t *out = p->out + p->chunks->starts[c] * p->ndim;
        if (last > p->chunks->n) last = p->chunks->n;
        for (int d = inner; d >= 0; d--) {
            at[d] = rest % p->sizes[d];
            rest /= p->sizes[d];
        }
        for (int64_t i = first, n; i < last; i += n) {
            n = p->sizes[inner] - at[inner] < last - i ? p->sizes[inner] - at[inner] : last - i;
            int64_t count = 0;
            for (int64_t k = 0; k < n; k++) {
                found[count] = at[inner] + k;
                count += p->chunks->mask[i + k] != 0;
            }
            for (int64_t k = 0; k < count; k++) {
                for (int d = 0; d < inner; d++) *out++ = at[d];
                *out++ = found[k];
            }
            at[inner] += n;
            for (int d = inner; d > 0 && at[d] == p->sizes[d]; d--) {
                at[d] = 0;
                at[d - 1]++;
            }
        }
    }
}

FacStatus
FAC_KERNEL(nonzero)(FacCall *call)
{
    FacStatus st;
    FacTensor *self = fac_arg_tensor(call, 0), *mask = NULL;
    Chunks chunks = {.n = 0};
    FAC_TRY(fac_contiguous(self, FAC_DT_BOOL, &mask));
    FAC_TRY(chunks_make(mask, &chunks));
    FacDim sizes[2] = {chunks_total(&chunks), self->ndim};
    FAC_TRY(fac_out(call, 0, FAC_DT_I64, self->device, 2, sizes));
    Positions p = {&chunks, self->ndim, self->sizes, fac_data(fac_result_tensor(call, 0))};
    if (p.out && p.ndim) fac_parallel(fac_chunks(chunks.n, CHUNK), 2, positions_task, &p);
done:
    fac_mem_free(chunks.starts);
    fac_tensor_release(mask);
    return st;
}
