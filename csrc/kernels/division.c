/* division.c - integer division refuses a divisor of 0; everything else of it is pointwise.
 */
#include "kernels/pointwise.h"

#include "tensor/iter.h"

#include <stdatomic.h>

typedef struct Search {
    int size;
    _Atomic bool found;
} Search;

static void
find_zero(char *const *data, const FacDim *strides, int64_t n, void *context)
{
    Search *search = context;
    bool found = false;
    for (int64_t i = 0; i < n; i++) {
        const char *at = data[0] + i * strides[0];
        switch (search->size) {
        case 1: found |= *(const uint8_t *)at == 0; break;
        case 2: found |= *(const uint16_t *)at == 0; break;
        case 4: found |= *(const uint32_t *)at == 0; break;
        default: found |= *(const uint64_t *)at == 0;
        }
    }
    if (found) atomic_store_explicit(&search->found, true, memory_order_relaxed);
}

static FacStatus
check_divisor(const FacCall *call)
{
    FacTensor *divisor = fac_arg_tensor(call, 1);
    Search search = {.found = false};
    if (!divisor) {
        search.found = !fac_v_is_true(call->args[1]);
    } else if (divisor->numel && FAC_IS_INT(divisor->dtype)) {
        FacIter it;
        search.size = fac_dtype_size((FacDType)divisor->dtype);
        FAC_RETURN_IF_ERROR(fac_iter_init(&it, 1, &divisor, 0, NULL, FAC_DT_NONE, FAC_DT_NONE));
        fac_iter_rows(&it, 0, find_zero, &search);
    }
    return search.found
               ? fac_error(FAC_RUNTIME_ERROR, "ZeroDivisionError: an integer was divided by 0")
               : FAC_OK;
}

FacStatus fac_k_division(FacCall *call);

FacStatus
fac_k_division(FacCall *call)
{
    if (FAC_IS_INT(call->compute) && fac_result_tensor(call, 0)->numel)
        FAC_RETURN_IF_ERROR(check_divisor(call));
    return fac_k_pointwise(call);
}
