/* Made by tools/opgen from csrc/ops: edit the declarations, not this file. */
#include "kernels/cpu/kernel.h"
#include "kernels/scalar.h"

#pragma GCC diagnostic ignored "-Wtype-limits"
