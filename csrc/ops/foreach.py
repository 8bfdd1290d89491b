# The basic arithmetic on lists of tensors: one call for all of them. Each row runs the row of its name
# without `_foreach_` on every element of the list, so that gradients and dtypes are those of that row.

op("_foreach_add.Scalar(Tensor[] self, Scalar other) -> Tensor[]",
   variants="function", composite="c:foreach", doc="The sum for each tensor of a list.")
op("_foreach_add_.Scalar(Tensor(a!)[] self, Scalar other) -> ()",
   variants="function", composite="c:foreach_inplace", doc="The sum for each tensor of a list, in place.")
op("_foreach_add.List(Tensor[] self, Tensor[] other, *, Scalar alpha=1) -> Tensor[]",
   variants="function", composite="c:foreach", doc="The sum for each tensor of a list.")
op("_foreach_add_.List(Tensor(a!)[] self, Tensor[] other, *, Scalar alpha=1) -> ()",
   variants="function", composite="c:foreach_inplace", doc="The sum for each tensor of a list, in place.")
op("_foreach_add.ScalarList(Tensor[] self, Scalar[] other) -> Tensor[]",
   variants="function", composite="c:foreach", doc="The sum for each tensor of a list.")
op("_foreach_add_.ScalarList(Tensor(a!)[] self, Scalar[] other) -> ()",
   variants="function", composite="c:foreach_inplace", doc="The sum for each tensor of a list, in place.")
op("_foreach_sub.Scalar(Tensor[] self, Scalar other) -> Tensor[]",
   variants="function", composite="c:foreach", doc="The difference for each tensor of a list.")
op("_foreach_sub_.Scalar(Tensor(a!)[] self, Scalar other) -> ()",
   variants="function", composite="c:foreach_inplace", doc="The difference for each tensor of a list, in place.")
op("_foreach_sub.List(Tensor[] self, Tensor[] other, *, Scalar alpha=1) -> Tensor[]",
   variants="function", composite="c:foreach", doc="The difference for each tensor of a list.")
op("_foreach_sub_.List(Tensor(a!)[] self, Tensor[] other, *, Scalar alpha=1) -> ()",
   variants="function", composite="c:foreach_inplace", doc="The difference for each tensor of a list, in place.")
op("_foreach_sub.ScalarList(Tensor[] self, Scalar[] other) -> Tensor[]",
   variants="function", composite="c:foreach", doc="The difference for each tensor of a list.")
op("_foreach_sub_.ScalarList(Tensor(a!)[] self, Scalar[] other) -> ()",
   variants="function", composite="c:foreach_inplace", doc="The difference for each tensor of a list, in place.")
op("_foreach_mul.Scalar(Tensor[] self, Scalar other) -> Tensor[]",
   variants="function", composite="c:foreach", doc="The product for each tensor of a list.")
op("_foreach_mul_.Scalar(Tensor(a!)[] self, Scalar other) -> ()",
   variants="function", composite="c:foreach_inplace", doc="The product for each tensor of a list, in place.")
op("_foreach_mul.List(Tensor[] self, Tensor[] other) -> Tensor[]",
   variants="function", composite="c:foreach", doc="The product for each tensor of a list.")
op("_foreach_mul_.List(Tensor(a!)[] self, Tensor[] other) -> ()",
   variants="function", composite="c:foreach_inplace", doc="The product for each tensor of a list, in place.")
op("_foreach_mul.ScalarList(Tensor[] self, Scalar[] other) -> Tensor[]",
   variants="function", composite="c:foreach", doc="The product for each tensor of a list.")
op("_foreach_mul_.ScalarList(Tensor(a!)[] self, Scalar[] other) -> ()",
   variants="function", composite="c:foreach_inplace", doc="The product for each tensor of a list, in place.")
op("_foreach_div.Scalar(Tensor[] self, Scalar other) -> Tensor[]",
   variants="function", composite="c:foreach", doc="The quotient for each tensor of a list.")
op("_foreach_div_.Scalar(Tensor(a!)[] self, Scalar other) -> ()",
   variants="function", composite="c:foreach_inplace", doc="The quotient for each tensor of a list, in place.")
op("_foreach_div.List(Tensor[] self, Tensor[] other) -> Tensor[]",
   variants="function", composite="c:foreach", doc="The quotient for each tensor of a list.")
op("_foreach_div_.List(Tensor(a!)[] self, Tensor[] other) -> ()",
   variants="function", composite="c:foreach_inplace", doc="The quotient for each tensor of a list, in place.")
op("_foreach_div.ScalarList(Tensor[] self, Scalar[] other) -> Tensor[]",
   variants="function", composite="c:foreach", doc="The quotient for each tensor of a list.")
op("_foreach_div_.ScalarList(Tensor(a!)[] self, Scalar[] other) -> ()",
   variants="function", composite="c:foreach_inplace", doc="The quotient for each tensor of a list, in place.")
op("_foreach_neg(Tensor[] self) -> Tensor[]",
   variants="function", composite="c:foreach", doc="The negative of each tensor of a list.")
op("_foreach_neg_(Tensor(a!)[] self) -> ()",
   variants="function", composite="c:foreach_inplace", doc="The negative of each tensor of a list, in place.")
op("_foreach_abs(Tensor[] self) -> Tensor[]",
   variants="function", composite="c:foreach", doc="The absolute value of each tensor of a list.")
op("_foreach_abs_(Tensor(a!)[] self) -> ()",
   variants="function", composite="c:foreach_inplace", doc="The absolute value of each tensor of a list, in place.")
op("_foreach_sqrt(Tensor[] self) -> Tensor[]",
   variants="function", composite="c:foreach", doc="The square root of each tensor of a list.")
op("_foreach_sqrt_(Tensor(a!)[] self) -> ()",
   variants="function", composite="c:foreach_inplace", doc="The square root of each tensor of a list, in place.")
op("_foreach_exp(Tensor[] self) -> Tensor[]",
   variants="function", composite="c:foreach", doc="The exponential of each tensor of a list.")
op("_foreach_exp_(Tensor(a!)[] self) -> ()",
   variants="function", composite="c:foreach_inplace", doc="The exponential of each tensor of a list, in place.")
op("_foreach_log(Tensor[] self) -> Tensor[]",
   variants="function", composite="c:foreach", doc="The logarithm of each tensor of a list.")
op("_foreach_log_(Tensor(a!)[] self) -> ()",
   variants="function", composite="c:foreach_inplace", doc="The logarithm of each tensor of a list, in place.")
op("_foreach_reciprocal(Tensor[] self) -> Tensor[]",
   variants="function", composite="c:foreach", doc="The reciprocal of each tensor of a list.")
op("_foreach_reciprocal_(Tensor(a!)[] self) -> ()",
   variants="function", composite="c:foreach_inplace", doc="The reciprocal of each tensor of a list, in place.")
op("_foreach_sign(Tensor[] self) -> Tensor[]",
   variants="function", composite="c:foreach", doc="The sign of each tensor of a list.")
op("_foreach_sign_(Tensor(a!)[] self) -> ()",
   variants="function", composite="c:foreach_inplace", doc="The sign of each tensor of a list, in place.")
op("_foreach_zero_(Tensor(a!)[] self) -> ()",
   variants="function", composite="c:foreach_inplace", doc="Sets each tensor of a list to 0.")
op("_foreach_copy_(Tensor(a!)[] self, Tensor[] src, bool non_blocking=False) -> ()",
   variants="function", composite="c:foreach_inplace", doc="Copies each tensor of src to its place in self.")
op("_foreach_addcmul(Tensor[] self, Tensor[] tensor1, Tensor[] tensor2, *, Scalar value=1) -> Tensor[]",
   variants="function", composite="c:foreach", doc="addcmul for each tensor of a list.")
op("_foreach_addcmul_(Tensor(a!)[] self, Tensor[] tensor1, Tensor[] tensor2, *, Scalar value=1) -> ()",
   variants="function", composite="c:foreach_inplace", doc="addcmul for each tensor of a list, in place.")
op("_foreach_addcdiv(Tensor[] self, Tensor[] tensor1, Tensor[] tensor2, *, Scalar value=1) -> Tensor[]",
   variants="function", composite="c:foreach", doc="addcdiv for each tensor of a list.")
op("_foreach_addcdiv_(Tensor(a!)[] self, Tensor[] tensor1, Tensor[] tensor2, *, Scalar value=1) -> ()",
   variants="function", composite="c:foreach_inplace", doc="addcdiv for each tensor of a list, in place.")
