/* mask_moves.h - loops over masks; included by mask.c once an element size.
 *
 * T is a type of that size, SUFFIX its name.
 */
#define NAME(name) FAC_JOIN(name, , SUFFIX)

/* The elements where the mask is true, in a row; how many. `to` has room for one more. */
static int64_t
NAME(pack)(char *to, const char *from, const uint8_t *mask, int64_t n)
{
    T *out = (T *)to;
    const T *in = (const T *)from;
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++) {
        out[count] = in[i];
        count += mask[i] != 0;
    }
    return count;
}

/* The other way: places where the mask is true take the next element of `from`. */
static int64_t
NAME(unpack)(char *to, const char *from, const uint8_t *mask, int64_t n)
{
    T *out = (T *)to;
    const T *in = (const T *)from;
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++)
        if (mask[i]) out[i] = in[count++];
    return count;
}

static void
NAME(fill)(char *const *data, const FacDim *strides, int64_t n, void *context)
{
    const T value = *(const T *)context;
    char *to = data[0], *from = data[1], *mask = data[2];
    if (strides[0] == sizeof(T) && strides[1] == sizeof(T) && strides[2] == 1) {
        for (int64_t i = 0; i < n; i++) {
            T kept = ((const T *)from)[i];
            ((T *)to)[i] = mask[i] ? value : kept;
        }
        return;
    }
    for (int64_t i = 0; i < n; i++)
        *(T *)(to + i * strides[0]) =
            mask[i * strides[2]] ? value : *(const T *)(from + i * strides[1]);
}

static const MaskMoves NAME(moves) = {NAME(pack), NAME(unpack), NAME(fill)};

#undef NAME
#undef T
#undef SUFFIX
