# Convolutions. Three rows, each linear in both tensors and each the gradient of the others: `_conv`,
# its adjoint in the input (which is the transposed convolution), and its adjoint in the weight.
# `padding` has a number a spatial dim, or two: before and after.

op("_conv(Tensor input, Tensor weight, Tensor? bias, int[] stride, int[] padding, int[] dilation, "
   "int groups) -> Tensor",
   variants="function", module="_C", rule="conv", kernel="conv", batch="conv",
   dtypes="int float complex",
   grad={"input": "_conv_input(grad, conj(weight), input.shape, stride, padding, dilation, groups)",
         "weight": "_conv_weight(conj(input), grad, weight.shape, stride, padding, dilation, groups)",
         "bias": "sum(grad, channel_dims(grad.ndim))"},
   linear="input * weight", doc="Convolution of a batch.")
op("_conv_input(Tensor grad_output, Tensor weight, int[] size, int[] stride, int[] padding, "
   "int[] dilation, int groups) -> Tensor",
   variants="function", module="_C", rule="conv_input", kernel="conv_input", batch="conv_input",
   dtypes="int float complex",
   grad={"grad_output": "_conv(grad, conj(weight), None, stride, padding, dilation, groups)",
         "weight": "_conv_weight(grad, conj(grad_output), weight.shape, stride, padding, dilation, "
                   "groups)"},
   linear="grad_output * weight", doc="The adjoint of _conv in its input, which has the given size.")
op("_conv_weight(Tensor input, Tensor grad_output, int[] size, int[] stride, int[] padding, "
   "int[] dilation, int groups) -> Tensor",
   variants="function", module="_C", rule="conv_weight", kernel="conv_weight", batch="conv_weight",
   dtypes="int float complex",
   grad={"input": "_conv_input(conj(grad_output), grad, input.shape, stride, padding, dilation, "
                  "groups)",
         "grad_output": "_conv(conj(input), grad, None, stride, padding, dilation, groups)"},
   linear="input * grad_output", doc="The adjoint of _conv in its weight, which has the given size.")

op("convolution(Tensor input, Tensor weight, Tensor? bias, int[] stride, int[] padding, "
   "int[] dilation, bool transposed, int[] output_padding, int groups) -> Tensor",
   variants="function", composite="c:convolution",
   doc="A convolution or transposed convolution of any number of spatial dims.")
op("conv1d(Tensor input, Tensor weight, Tensor? bias=None, int[1] stride=1, int[1] padding=0, "
   "int[1] dilation=1, int groups=1) -> Tensor",
   variants="function", composite="c:conv", doc="Convolution over one dim.")
op("conv1d.padding(Tensor input, Tensor weight, Tensor? bias=None, int[1] stride=1, "
   "str padding=\"valid\", int[1] dilation=1, int groups=1) -> Tensor",
   variants="function", composite="c:conv", doc="Convolution over one dim, padding 'same' or 'valid'.")
op("conv2d(Tensor input, Tensor weight, Tensor? bias=None, int[2] stride=1, int[2] padding=0, "
   "int[2] dilation=1, int groups=1) -> Tensor",
   variants="function", composite="c:conv", doc="Convolution over two dims.")
op("conv2d.padding(Tensor input, Tensor weight, Tensor? bias=None, int[2] stride=1, "
   "str padding=\"valid\", int[2] dilation=1, int groups=1) -> Tensor",
   variants="function", composite="c:conv", doc="Convolution over two dims, padding 'same' or 'valid'.")
op("conv3d(Tensor input, Tensor weight, Tensor? bias=None, int[3] stride=1, int[3] padding=0, "
   "int[3] dilation=1, int groups=1) -> Tensor",
   variants="function", composite="c:conv", doc="Convolution over three dims.")
op("conv3d.padding(Tensor input, Tensor weight, Tensor? bias=None, int[3] stride=1, "
   "str padding=\"valid\", int[3] dilation=1, int groups=1) -> Tensor",
   variants="function", composite="c:conv",
   doc="Convolution over three dims, padding 'same' or 'valid'.")
op("conv_transpose1d(Tensor input, Tensor weight, Tensor? bias=None, int[1] stride=1, "
   "int[1] padding=0, int[1] output_padding=0, int groups=1, int[1] dilation=1) -> Tensor",
   variants="function", composite="c:conv_transpose", doc="The adjoint of a convolution over one dim.")
op("conv_transpose2d(Tensor input, Tensor weight, Tensor? bias=None, int[2] stride=1, "
   "int[2] padding=0, int[2] output_padding=0, int groups=1, int[2] dilation=1) -> Tensor",
   variants="function", composite="c:conv_transpose",
   doc="The adjoint of a convolution over two dims.")
op("conv_transpose3d(Tensor input, Tensor weight, Tensor? bias=None, int[3] stride=1, "
   "int[3] padding=0, int[3] output_padding=0, int groups=1, int[3] dilation=1) -> Tensor",
   variants="function", composite="c:conv_transpose",
   doc="The adjoint of a convolution over three dims.")
