/* dtype.h - what is known of each dtype, and promotion.
 *
 * A dtype has a kind (bool < int < float < complex), a size, and a compute dtype: the one that
 * arithmetic on it is done in (float16 and bfloat16 compute in float32, complex32 in complex64,
 * the float8 forms in float32; every other computes in itself).
 */
#ifndef FAC_BASE_DTYPE_H
#define FAC_BASE_DTYPE_H

#include "facula.h"

typedef enum FacKind { FAC_KIND_BOOL, FAC_KIND_INT, FAC_KIND_FLOAT, FAC_KIND_COMPLEX } FacKind;

typedef struct FacDTypeInfo {
    const char *name;   /* as Python prints it, without the module */
    const char *legacy; /* "Float", "Half", "Long" ..., for messages */
    uint8_t size;       /* bytes */
    uint8_t kind;       /* FacKind */
    int8_t compute;     /* FacDType */
    int8_t real;        /* of complex: the dtype of its parts; of others: itself */
    int8_t complex;     /* of floating: the complex dtype with such parts; else -1 or itself */
    bool is_signed;
} FacDTypeInfo;

extern const FacDTypeInfo fac_dtype_info[FAC_DTYPES];

#define FAC_BIT(dt) (UINT32_C(1) << (dt))
#define FAC_IS_FLOAT(dt) (fac_dtype_info[dt].kind == FAC_KIND_FLOAT)
#define FAC_IS_COMPLEX(dt) (fac_dtype_info[dt].kind == FAC_KIND_COMPLEX)
#define FAC_IS_INT(dt) (fac_dtype_info[dt].kind <= FAC_KIND_INT) /* bool too */
static inline int
fac_dtype_size(FacDType dt)
{
    return fac_dtype_info[dt].size;
}

/* The peer's promote_types; FAC_DT_NONE where it has none (float8 with another). */
FacDType fac_promote(FacDType a, FacDType b);
/* The peer's can_cast: no loss of kind (complex to float, float to int, int to bool). */
bool fac_can_cast(FacDType from, FacDType to);
FacDType fac_dtype_from_name(const char *name); /* "float32"; FAC_DT_NONE if unknown */

/* The default floating dtype (float32 unless set) and the complex one that goes with it. */
FacDType fac_default_dtype(void);
FacStatus fac_set_default_dtype(FacDType dt) FAC_MUST_CHECK;
FacDType fac_default_complex(void);

#endif
