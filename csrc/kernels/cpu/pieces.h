/* pieces.h - dense operands read and results written piece by piece in a compute type: included
 * with T, NAME, DTYPE (its dtype) and PIECE (elements at most) defined.
 *
 * Elements that are of the type already are read and written in place; all others pass through a
 * buffer in the first cache, so that no converted copy of a whole tensor is made.
 */

typedef struct NAME(In) {
    const void *data;
    FacDType dtype;
    int64_t at; /* what the buffer holds; -1: nothing */
    T buffer[PIECE];
} NAME(In);

typedef struct NAME(Out) {
    void *data;
    FacDType dtype;
    T buffer[PIECE];
} NAME(Out);

/* Before use; the buffers stay as they are. */
static inline void
NAME(read_from)(NAME(In) * in, const void *data, FacDType dtype)
{
    in->data = data;
    in->dtype = dtype;
    in->at = -1;
}

static inline void
NAME(write_to)(NAME(Out) * out, void *data, FacDType dtype)
{
    out->data = data;
    out->dtype = dtype;
}

/* Elements [at, at + n); good until the next call with another `at`. */
static inline const T *
NAME(piece)(NAME(In) * in, int64_t at, int64_t n)
{
    if (in->dtype == DTYPE) return (const T *)in->data + at;
    if (in->at == at) return in->buffer;
    in->at = at;
    fac_casts[in->dtype][DTYPE]((const char *)in->data + at * fac_dtype_size(in->dtype), in->buffer,
                                n);
    return in->buffer;
}

/* Where to write elements from `at` on; `written` when they are there. */
static inline T *
NAME(room)(NAME(Out) * out, int64_t at)
{
    return out->dtype == DTYPE ? (T *)out->data + at : out->buffer;
}

static inline void
NAME(written)(const NAME(Out) * out, int64_t at, int64_t n)
{
    if (out->dtype == DTYPE) return;
    fac_casts[DTYPE][out->dtype](out->buffer, (char *)out->data + at * fac_dtype_size(out->dtype),
                                 n);
}
