/* dlpack.h - the DLPack structures (ABI version 1.0 and the unversioned one) and the conversion.
 * Field order and enumerators are fixed by the DLPack specification.
 */
#ifndef FAC_TENSOR_DLPACK_H
#define FAC_TENSOR_DLPACK_H

#include "tensor/tensor.h"

typedef struct {
    int32_t device_type, device_id;
} DLDevice;
typedef struct {
    uint8_t code, bits;
    uint16_t lanes;
} DLDataType;
typedef struct {
    void *data;
    DLDevice device;
    int32_t ndim;
    DLDataType dtype;
    int64_t *shape, *strides;
    uint64_t byte_offset;
} DLTensor;
typedef struct DLManagedTensor {
    DLTensor dl_tensor;
    void *manager_ctx;
    void (*deleter)(struct DLManagedTensor *self);
} DLManagedTensor;
typedef struct DLManagedTensorVersioned {
    struct {
        uint32_t major, minor;
    } version;
    void *manager_ctx;
    void (*deleter)(struct DLManagedTensorVersioned *self);
    uint64_t flags; /* bit 0 read only, bit 1 copied */
    DLTensor dl_tensor;
} DLManagedTensorVersioned;

FacStatus fac_to_dlpack(FacTensor *t, DLManagedTensor **out) FAC_MUST_CHECK;
FacStatus fac_to_dlpack_versioned(FacTensor *t, bool copied,
                                  DLManagedTensorVersioned **out) FAC_MUST_CHECK;
/* Takes the managed tensor over on success only. */
FacStatus fac_from_dlpack(DLManagedTensor *managed, FacTensor **out) FAC_MUST_CHECK;
FacStatus fac_from_dlpack_versioned(DLManagedTensorVersioned *managed,
                                    FacTensor **out) FAC_MUST_CHECK;
FacStatus fac_dlpack_device(FacDevice device, DLDevice *out) FAC_MUST_CHECK;

#endif
