# Views: other sizes and strides over the same storage. Their rules are all that there is to compute.

op("as_strided(Tensor(a) self, int[] size, int[] stride, int? storage_offset=None) -> Tensor(a)",
   variants="function method inplace", family=VIEW, rule="as_strided", batch="strided",
   grad={"self": "as_strided_backward(grad, self, size, stride, storage_offset)"},
   doc="A view with the given sizes, strides and offset, all in elements.")
op("view(Tensor(a) self, int[] size) -> Tensor(a)",
   variants="method", family=VIEW, rule="view",
   grad={"self": "grad.reshape(self.shape)"},
   doc="The same elements in another shape; raises if that needs a copy.")
op("view.dtype(Tensor(a) self, ScalarType dtype) -> Tensor(a)",
   variants="method", family=VIEW, rule="view_dtype", linear="", grad=None,
   doc="The same bytes read as another dtype.")
op("reshape(Tensor(a) self, int[] shape) -> Tensor(a)",
   variants="function method", composite="c:reshape", like="numpy.reshape",
   doc="The same elements in another shape; a view where that is possible.")
op("_reshape_copy(Tensor self, int[] size) -> Tensor",
   variants="function", module="_C", rule="reshape_copy", kernel="copy_reshaped", batch="dims",
   grad={"self": "grad.reshape(self.shape)"},
   linear="self", doc="The same elements in another shape, copied.")
op("view_as(Tensor(a) self, Tensor other) -> Tensor(a)",
   variants="method", composite="self.view(other.shape)", doc="view in the shape of another tensor.")
op("reshape_as(Tensor(a) self, Tensor other) -> Tensor(a)",
   variants="method", composite="self.reshape(other.shape)", doc="reshape to the shape of another tensor.")
op("flatten(Tensor(a) self, int start_dim=0, int end_dim=-1) -> Tensor(a)",
   variants="function method", composite="self.reshape(flattened_sizes(self.shape, start_dim, end_dim))",
   doc="Joins a range of dimensions into one.")
op("unflatten(Tensor(a) self, int dim, int[] sizes) -> Tensor(a)",
   variants="function method", composite="self.view(unflattened_sizes(self.shape, dim, sizes))",
   doc="Splits a dimension into several.")
op("ravel(Tensor(a) self) -> Tensor(a)",
   variants="function method", composite="self.contiguous().view([-1])", like="numpy.ravel",
   doc="All elements in one dimension.")
op("transpose(Tensor(a) self, int dim0, int dim1) -> Tensor(a)",
   variants="function method inplace", family=VIEW, rule="transpose",
   grad={"self": "transpose(grad, dim0, dim1)"},
   doc="Two dimensions exchanged.")
op("swapaxes(Tensor(a) self, int axis0, int axis1) -> Tensor(a)",
   variants="function method", composite="transpose(self, axis0, axis1)", like="numpy.swapaxes",
   doc="Two dimensions exchanged.")
op("swapdims(Tensor(a) self, int dim0, int dim1) -> Tensor(a)",
   variants="function method", composite="transpose(self, dim0, dim1)",
   doc="Two dimensions exchanged.")
op("t(Tensor(a) self) -> Tensor(a)",
   variants="function method inplace", family=VIEW, rule="t", batch="transpose",
   grad={"self": "t(grad)"},
   doc="The transpose of a matrix.")
op("numpy_T(Tensor(a) self) -> Tensor(a)",
   variants="function", module="_C", family=VIEW, rule="reverse_dims", batch="reverse",
   grad={"self": "numpy_T(grad)"},
   doc="All dimensions in reverse order.")
op("permute(Tensor(a) self, int[] dims) -> Tensor(a)",
   variants="function method", family=VIEW, rule="permute", batch="permute",
   grad={"self": "permute(grad, permutation_inverse(dims))"}, like="numpy.transpose",
   doc="The dimensions in another order.")
op("movedim(Tensor(a) self, int[] source, int[] destination) -> Tensor(a)",
   variants="function method",
   composite="permute(self, movedim_order(self.ndim, source, destination))", like="numpy.moveaxis",
   doc="Dimensions moved to other places.")
op("moveaxis(Tensor(a) self, int[] source, int[] destination) -> Tensor(a)",
   variants="function method",
   composite="permute(self, movedim_order(self.ndim, source, destination))", like="numpy.moveaxis",
   doc="Dimensions moved to other places.")
op("adjoint(Tensor(a) self) -> Tensor(a)",
   variants="function method", composite="conj(transpose(self, -2, -1))",
   doc="The conjugate transpose of matrices.")
op("expand(Tensor(a) self, int[] size, *, bool implicit=False) -> Tensor(a)",
   variants="method", family=VIEW, rule="expand", batch="widen", flags="view broadcasts",
   grad={"self": "grad"},
   doc="Dimensions of size 1 repeated without a copy.")
op("expand_as(Tensor(a) self, Tensor other) -> Tensor(a)",
   variants="method", composite="expand(self, other.shape)", doc="expand to the shape of another tensor.")
op("broadcast_to(Tensor(a) self, int[] size) -> Tensor(a)",
   variants="function method", composite="expand(self, size)", like="numpy.broadcast_to",
   doc="expand.")
op("squeeze(Tensor(a) self) -> Tensor(a)",
   variants="function method inplace", family=VIEW, rule="squeeze", batch="squeeze",
   grad={"self": "grad.reshape(self.shape)"}, like="numpy.squeeze",
   doc="Without dimensions of size 1.")
op("squeeze.dim(Tensor(a) self, int dim) -> Tensor(a)",
   variants="function method inplace", family=VIEW, rule="squeeze_dim",
   grad={"self": "grad.reshape(self.shape)"}, doc="Without this dimension if its size is 1.")
op("squeeze.dims(Tensor(a) self, int[] dim) -> Tensor(a)",
   variants="function method inplace", family=VIEW, rule="squeeze_dims", batch="some",
   grad={"self": "grad.reshape(self.shape)"}, doc="Without these dimensions where their size is 1.")
op("unsqueeze(Tensor(a) self, int dim) -> Tensor(a)",
   variants="function method inplace", family=VIEW, rule="unsqueeze", batch="insert",
   grad={"self": "grad.reshape(self.shape)"}, like="numpy.expand_dims",
   doc="With a new dimension of size 1.")
op("select(Tensor(a) self, int dim, int index) -> Tensor(a)",
   variants="function method", family=VIEW, rule="select",
   grad={"self": "select_backward(grad, self.shape, dim, index)"},
   doc="One index of a dimension, which goes away.")
op("select_backward(Tensor grad_output, int[] input_sizes, int dim, int index) -> Tensor",
   variants="function", module="_C", composite="c:select_backward", batch="dims",
   grad={"grad_output": "select(grad, dim, index)"}, linear="grad_output", doc="The gradient of select.")
op("slice(Tensor(a) self, int dim=0, int? start=None, int? end=None, int step=1) -> Tensor(a)",
   variants="function", module="_C", family=VIEW, rule="slice",
   grad={"self": "slice_backward(grad, self.shape, dim, start, end, step)"},
   doc="A range of a dimension; the step may be negative.")
op("slice_backward(Tensor grad_output, int[] input_sizes, int dim, int? start, int? end, int step) -> Tensor",
   variants="function", module="_C", composite="c:slice_backward", batch="dims",
   grad={"grad_output": "slice(grad, dim, start, end, step)"}, linear="grad_output", doc="The gradient of slice.")
op("narrow(Tensor(a) self, int dim, int start, int length) -> Tensor(a)",
   variants="function method", composite="c:narrow",
   doc="A range of a dimension by start and length.")
op("diagonal(Tensor(a) self, int offset=0, int dim1=0, int dim2=1) -> Tensor(a)",
   variants="function method", family=VIEW, rule="diagonal",
   grad={"self": "diagonal_backward(grad, self.shape, offset, dim1, dim2)"}, like="numpy.diagonal",
   doc="The diagonal of two dimensions, as a last dimension.")
op("diagonal_backward(Tensor grad_output, int[] input_sizes, int offset, int dim1, int dim2) -> Tensor",
   variants="function", module="_C", composite="c:diagonal_backward", batch="dims",
   grad={"grad_output": "diagonal(grad, offset, dim1, dim2)"}, linear="grad_output", doc="The gradient of diagonal.")
op("unfold(Tensor(a) self, int dimension, int size, int step) -> Tensor(a)",
   variants="method", family=VIEW, rule="unfold",
   grad={"self": "unfold_backward(grad, self.shape, dimension, size, step)"},
   doc="Windows over a dimension, as a last dimension.")
op("unfold_backward(Tensor grad_in, int[] input_sizes, int dim, int size, int step) -> Tensor",
   variants="function", module="_C", composite="c:unfold_backward", batch="dims",
   grad={"grad_in": "unfold(grad, dim, size, step)"}, linear="grad_in", doc="The gradient of unfold.")
op("detach(Tensor(a) self) -> Tensor(a)",
   variants="function method inplace", family=VIEW, rule="detach", linear="", grad=None,
   doc="The same elements without history: no gradient flows through it.")
op("alias(Tensor(a) self) -> Tensor(a)",
   variants="function", module="_C", family=VIEW, rule="alias", grad={"self": "grad"},
   doc="A view of the whole tensor.")

# --- several views at once --------------------------------------------------------------------------

op("unbind(Tensor(a) self, int dim=0) -> Tensor(a)[]",
   variants="function method", family=VIEW, rule="unbind",
   grad={"self": "stack(grads, dim)"}, doc="All indices of a dimension, each a view.")
op("split(Tensor(a) self, int split_size, int dim=0) -> Tensor(a)[]",
   variants="function method", family=VIEW, rule="split",
   grad={"self": "cat(grads, dim)"}, doc="Pieces of equal size along a dimension.")
op("split.sizes(Tensor(a) self, int[] split_size, int dim=0) -> Tensor(a)[]",
   variants="function method", family=VIEW, rule="split_sizes",
   grad={"self": "cat(grads, dim)"}, doc="Pieces of given sizes along a dimension.")
op("split_with_sizes(Tensor(a) self, int[] split_sizes, int dim=0) -> Tensor(a)[]",
   variants="function method", family=VIEW, rule="split_sizes",
   grad={"self": "cat(grads, dim)"}, doc="Pieces of given sizes along a dimension.")
op("chunk(Tensor(a) self, int chunks, int dim=0) -> Tensor(a)[]",
   variants="function method", family=VIEW, rule="chunk",
   grad={"self": "cat(grads, dim)"}, doc="At most this many pieces of equal size along a dimension.")
