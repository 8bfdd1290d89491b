/* Made by tools/opgen from csrc/ops: edit the declarations, not this file. */
#include "kernels/loop.h"
