/* Made by tools/opgen from csrc/ops: edit the declarations, not this file. */
#include "kernels/cpu/kernel.h"
#include "ops.h"

extern FacLoops FAC_TIERED(loops_add);
extern FacLoops FAC_TIERED(loops_mul);
extern FacLoops FAC_TIERED(loops_eq);
extern FacLoops FAC_TIERED(loops_abs);
extern FacLoops FAC_TIERED(loops_clip);
FacStatus FAC_KERNEL(cat)(FacCall *call);
FacStatus FAC_KERNEL(fill)(FacCall *call);
FacStatus FAC_KERNEL(pool)(FacCall *call);
FacStatus FAC_KERNEL(sum)(FacCall *call);
extern const FacTierTable FAC_TIERED(tier_table);

static FacLoops *const loops[FAC_OP_COUNT] = {
    [FAC_OP_ID_add] = &FAC_TIERED(loops_add),
    [FAC_OP_ID_mul] = &FAC_TIERED(loops_mul),
    [FAC_OP_ID_eq] = &FAC_TIERED(loops_eq),
    [FAC_OP_ID_abs] = &FAC_TIERED(loops_abs),
    [FAC_OP_ID_clip] = &FAC_TIERED(loops_clip),
};

static const FacKernel kernels[FAC_OP_COUNT] = {
    [FAC_OP_ID_sum_dim] = FAC_KERNEL(sum),
    [FAC_OP_ID_cat] = FAC_KERNEL(cat),
    [FAC_OP_ID_fill_] = FAC_KERNEL(fill),
    [FAC_OP_ID_pool] = FAC_KERNEL(pool),
};

const FacTierTable FAC_TIERED(tier_table) = {
    .loops = loops,
    .kernels = kernels,
    .tuned_loops = FAC_TIERED(tuned_loops),
    .half_loops = FAC_TIERED(half_loops),
    .beside_loops = FAC_TIERED(beside_loops),
    .fill_casts = FAC_TIERED(fill_casts),
    .all_finite = FAC_TIERED(all_finite),
};
