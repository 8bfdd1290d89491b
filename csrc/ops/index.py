# Indexing: views and copies by position, by index tensor and by mask, and the writes that mirror them.

# --- t[...]: basic indices (a view), advanced ones (a copy) ------------------------------------
# `spec` is a list of triples, see tensor/index.h.

op("_index_view(Tensor(a) self, int[] spec) -> Tensor(a)",
   variants="function", module="_C", family=VIEW, rule="index_view", batch="spec",
   grad={"self": "_index_view_backward(grad, self.shape, spec)"},
   doc="The view that a basic index describes.")
op("_index_view_backward(Tensor grad_output, int[] input_sizes, int[] spec) -> Tensor",
   variants="function", module="_C", rule="index_view_backward", kernel="index_view_backward",
   batch="spec",
   grad={"grad_output": "_index_view(grad, spec)"},
   linear="grad_output", doc="Zeros with grad_output at the place that a basic index describes.")
op("_index_view_scatter(Tensor self, Tensor src, int[] spec) -> Tensor",
   variants="function", module="_C", rule="index_view_scatter", kernel="index_view_scatter",
   batch="spec",
   grad={"self": "_index_view_scatter(grad, zeros_like(src), spec)",
         "src": "_index_view(grad, spec)"}, flags="broadcasts",
   linear="self src", doc="A copy of self with src at the place that a basic index describes.")

op("index(Tensor self, Tensor?[] indices) -> Tensor",
   variants="function", flags="tame", module="_C", rule="index", kernel="index", batch="index",
   grad={"self": "_index_backward(grad, self.shape, indices)"},
   linear="self", doc="The elements at index tensors and masks, one a dimension; None keeps a dimension whole.")
op("_index_backward(Tensor grad_output, int[] input_sizes, Tensor?[] indices) -> Tensor",
   variants="function", module="_C", rule="index_backward", kernel="index_backward",
   batch="as _index_backward_each",
   grad={"grad_output": "index(grad, indices)"},
   linear="grad_output", doc="Zeros to which grad_output is added at index tensors and masks.")
op("index_put(Tensor self, Tensor?[] indices, Tensor values, bool accumulate=False) -> Tensor",
   variants="function method inplace", rule="index_put", kernel="index_put", batch="index_put",
   flags="broadcasts",
   grad={"self": "grad if accumulate else index_put(grad, indices, grad.new_zeros([]))",
         "values": "index(grad, indices)"},
   linear="self values", doc="A copy of self with values written at, or added to, the places that the indices name.")

# --- along one dimension -----------------------------------------------------------------------

op("index_select(Tensor self, int dim, Tensor index) -> Tensor",
   variants="function method out", flags="tame", rule="index_select", kernel="index_select",
   batch="along _index_select_each",
   grad={"self": "index_add(grad.new_zeros(self.shape), dim, index, grad)"},
   linear="self", doc="Slices of a dimension, by their numbers.")
op("index_add(Tensor self, int dim, Tensor index, Tensor source, *, Scalar alpha=1) -> Tensor",
   variants="function method inplace out", rule="index_add", kernel="index_add",
   batch="along _index_add_each",
   grad={"self": "grad",
         "source": "index_select(grad, dim, index).reshape(source.shape) * conj_number(alpha)"},
   linear="self source", doc="alpha times the slices of source added to those slices of self that index names.")
op("index_copy(Tensor self, int dim, Tensor index, Tensor source) -> Tensor",
   variants="function method inplace out", rule="index_add", kernel="index_copy",
   batch="along _index_copy_each",
   grad={"self": "index_fill(grad, dim, index, 0)",
         "source": "index_select(grad, dim, index).reshape(source.shape)"},
   linear="self source", doc="The slices of source written over those slices of self that index names.")
op("index_fill(Tensor self, int dim, Tensor index, Operand value) -> Tensor",
   variants="function method inplace", rule="index_fill", kernel="index_fill",
   batch="along _index_fill_each",
   grad={"self": "index_fill(grad, dim, index, 0)", "value": "masked_fill(grad, index_fill(ones_like(grad), dim, index, 0) != 0, 0).sum()"},
   doc="One value written over those slices of self that index names.")
op("index_reduce(Tensor self, int dim, Tensor index, Tensor source, str reduce, *, bool include_self=True) -> Tensor",
   variants="function method inplace out", rule="index_reduce", kernel="index_reduce",
   batch="along _index_reduce_each",
   grad={"self, source": "_scatter_reduce_backward(grad, self, dim, _spread_index(index, dim, source.shape), source, reduce, include_self, result)"},
   doc="The slices of source combined (prod, mean, amax, amin) with those slices of self that index names.")
op("_spread_index(Tensor self, int dim, int[] sizes) -> Tensor",
   variants="function", module="_C", composite="c:spread_index", grad=None,
   doc="The index of slices as the index of all their elements, for scatter and gather.")

op("gather(Tensor self, int dim, Tensor index, *, bool sparse_grad=False) -> Tensor",
   variants="function method out", flags="tame", rule="gather", kernel="gather", batch="gather",
   grad={"self": "scatter_add(grad.new_zeros(self.shape), dim, index, grad)"},
   linear="self", doc="result[i][j][k] = self[index[i][j][k]][j][k] for dim 0, and so for the others.")
op("scatter.src(Tensor self, int dim, Tensor index, Tensor src) -> Tensor",
   variants="function method inplace out", rule="scatter", kernel="scatter", batch="dims",
   grad={"self": "scatter_value(grad, dim, index, 0)", "src": "_gather_like(grad, dim, index, src.shape)"},
   linear="self src", doc="result[index[i][j][k]][j][k] = src[i][j][k] for dim 0, and so for the others.")
op("scatter.value(Tensor self, int dim, Tensor index, Scalar value) -> Tensor",
   variants="function method inplace out", rule="scatter", kernel="scatter", batch="dims",
   grad={"self": "scatter_value(grad, dim, index, 0)"},
   doc="One value written where index says.")
op("scatter.src_reduce(Tensor self, int dim, Tensor index, Tensor src, *, str reduce) -> Tensor",
   variants="function method inplace out", composite="c:scatter_with",
   doc="scatter that adds or multiplies: reduce is \"add\" or \"multiply\".")
op("scatter.value_reduce(Tensor self, int dim, Tensor index, Scalar value, *, str reduce) -> Tensor",
   variants="function method inplace out", composite="c:scatter_with",
   doc="scatter of one value that adds or multiplies: reduce is \"add\" or \"multiply\".")
op("scatter_add(Tensor self, int dim, Tensor index, Tensor src) -> Tensor",
   variants="function method inplace out", rule="scatter", kernel="scatter_add", batch="dims",
   grad={"self": "grad", "src": "_gather_like(grad, dim, index, src.shape)"},
   linear="self src", doc="src added to self where index says.")
op("scatter_reduce(Tensor self, int dim, Tensor index, Tensor src, str reduce, *, bool include_self=True) -> Tensor",
   variants="function method inplace out", rule="scatter_reduce", kernel="scatter_reduce",
   batch="dims",
   grad={"self, src": "_scatter_reduce_backward(grad, self, dim, index, src, reduce, include_self, result)"},
   doc="src combined with self where index says: sum, prod, mean, amax or amin.")
op("_scatter_reduce_backward(Tensor grad_output, Tensor self, int dim, Tensor index, Tensor src, str reduce, bool include_self, Tensor result) -> (Tensor, Tensor)",
   variants="function", module="_C", composite="c:scatter_reduce_backward",
   doc="The gradients of scatter_reduce.")
op("_scatter_mean_backward(Tensor grad_output, int dim, Tensor index, Tensor src, bool include_self) -> (Tensor, Tensor)",
   variants="function", module="_C",
   composite="(g := grad_output / masked_fill((n := scatter_add(ones_like(grad_output) if include_self else zeros_like(grad_output), dim, index, ones_like(src))), n == 0, 1), _gather_like(g, dim, index, src.shape))",
   doc="The gradients of scatter_reduce with mean.")
op("_scatter_extreme_backward(Tensor grad_output, Tensor self, int dim, Tensor index, Tensor src, bool include_self, Tensor result) -> (Tensor, Tensor)",
   variants="function", module="_C",
   composite="((w := (self == result) * ones_like(grad_output) if include_self else scatter_value((self == result) * ones_like(grad_output), dim, index, 0)) * (g := grad_output / scatter_add(w, dim, index, v := (src == _gather_like(result, dim, index, src.shape)) * ones_like(src))), v * _gather_like(g, dim, index, src.shape))",
   doc="The gradients of scatter_reduce with amax and amin: equal shares for equal values.")
op("_scatter_prod_backward(Tensor grad_output, Tensor self, int dim, Tensor index, Tensor src, bool include_self, Tensor result) -> (Tensor, Tensor)",
   variants="function", module="_C",
   composite="(grad_output * scatter_reduce(m := masked_fill(self, self == 0, 1), dim, index, src, \"prod\", include_self=include_self) / m, where(single := logical_and(z := src == 0, _gather_like(scatter_add(zeros_like(self), dim, index, z * ones_like(src)), dim, index, src.shape) == 1), _gather_like(grad_output * scatter_reduce(self, dim, index, masked_fill(src, single, 1), \"prod\", include_self=include_self), dim, index, src.shape), _gather_like(grad_output * result, dim, index, src.shape) / masked_fill(src, z, 1)))",
   doc="The gradients of scatter_reduce with prod; a factor of zero gets the product of the others.")
op("_gather_like(Tensor self, int dim, Tensor index, int[] sizes) -> Tensor",
   variants="function", module="_C", composite="c:gather_like",
   doc="gather, padded with zeros to sizes: the gradient of a src that is larger than the index.")
op("take_along_dim(Tensor self, Tensor indices, int? dim=None) -> Tensor",
   variants="function method out", composite="c:take_along_dim",
   like="numpy.take_along_axis",
   doc="gather whose index broadcasts with self; without a dim both are flattened.")

# --- the tensor as one long row ----------------------------------------------------------------

op("take(Tensor self, Tensor index) -> Tensor",
   variants="function method out", rule="take", kernel="take", batch="as _take_each",
   grad={"self": "put(grad.new_zeros(self.shape), index, grad, True)"}, like="numpy.take",
   linear="self", doc="The elements at positions in the flattened tensor.")
op("put(Tensor self, Tensor index, Tensor source, bool accumulate=False) -> Tensor",
   variants="function method inplace", rule="put", kernel="put", batch="as _put_each",
   grad={"self": "grad if accumulate else put(grad, index, grad.new_zeros(source.shape))",
         "source": "take(grad, index).reshape(source.shape)"},
   linear="self source", doc="source written at, or added to, positions in the flattened tensor.")

# --- masks -------------------------------------------------------------------------------------

op("masked_fill(Tensor self, Tensor mask, Operand value) -> Tensor",
   variants="function method inplace", rule="masked_fill", kernel="masked_fill",
   batch="mask_fill _masked_fill_each", flags="broadcasts",
   grad={"self": "masked_fill(grad, mask, 0)", "value": "masked_fill(grad, logical_not(mask), 0).sum()"},
   doc="value where the mask is true, else self.")
op("masked_select(Tensor self, Tensor mask) -> Tensor",
   variants="function method out", rule="masked_select", kernel="masked_select",
   flags="data_shape broadcasts tame",
   grad={"self": "masked_scatter(grad.new_zeros(self.shape), mask, grad)"},
   linear="self", doc="The elements where the mask is true, as one row.")
op("masked_scatter(Tensor self, Tensor mask, Tensor source) -> Tensor",
   variants="function method inplace", rule="masked_scatter", kernel="masked_scatter",
   batch="as _masked_scatter_each",
   flags="broadcasts",
   grad={"self": "masked_fill(grad, mask, 0)",
         "source": "_masked_scatter_backward(grad, mask, source.shape)"},
   linear="self source", doc="self with the elements where the mask is true taken from source, one after the other.")
op("_masked_scatter_backward(Tensor grad_output, Tensor mask, int[] sizes) -> Tensor",
   variants="function", module="_C", rule="masked_scatter_backward",
   kernel="masked_scatter_backward", batch="as _masked_scatter_backward_each",
   grad={"grad_output": "masked_scatter(grad.new_zeros(grad_output.shape), mask, grad)"},
   linear="grad_output", doc="The elements where the mask is true, padded with zeros to sizes.")

op("nonzero(Tensor self) -> Tensor",
   variants="function method out", rule="data", kernel="nonzero", flags="data_shape", grad=None,
   doc="The positions of the elements that are not zero, one a row.")
op("nonzero.as_tuple(Tensor self, *, bool as_tuple) -> Any",
   variants="function method", composite="c:nonzero_as_tuple", flags="data_shape", grad=None,
   doc="With as_tuple the positions as a tensor a dimension, else one a row.")
op("nonzero_numpy(Tensor self) -> Tensor[]",
   variants="function method", module="_C", composite="c:nonzero_numpy", flags="data_shape", grad=None,
   like="numpy.nonzero", doc="The positions of the elements that are not zero, a tensor a dimension.")
op("where.condition(Tensor condition) -> Tensor[]",
   variants="function", composite="nonzero_numpy(condition)", flags="data_shape", grad=None,
   doc="The positions where the condition is true, a tensor a dimension.")
op("argwhere(Tensor self) -> Tensor",
   variants="function method", composite="nonzero(self)", flags="data_shape", grad=None, like="numpy.argwhere",
   doc="The positions of the elements that are not zero, one a row.")

# --- copies with a part replaced ---------------------------------------------------------------

op("select_scatter(Tensor self, Tensor src, int dim, int index) -> Tensor",
   variants="function method", composite="c:select_scatter",
   doc="A copy of self with src as one index of a dimension.")
op("slice_scatter(Tensor self, Tensor src, int dim=0, int? start=None, int? end=None, int step=1) -> Tensor",
   variants="function method out", composite="c:slice_scatter",
   doc="A copy of self with src as a range of a dimension.")
op("diagonal_scatter(Tensor self, Tensor src, int offset=0, int dim1=0, int dim2=1) -> Tensor",
   variants="function method", rule="diagonal_scatter", kernel="diagonal_scatter", batch="dims",
   grad={"self": "diagonal_scatter(grad, zeros_like(src), offset, dim1, dim2)",
         "src": "diagonal(grad, offset, dim1, dim2)"},
   linear="self src", doc="A copy of self with src as a diagonal.")
