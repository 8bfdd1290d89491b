# Reductions: sums, products, extremes, statistics, norms, order statistics, and comparisons of whole
# tensors. The kernels are in kernels/cpu/reduce.c and rank.c.

# reduce_keep puts the reduced dimensions back with size 1, reduce_expand spreads over them as well.
helper("reduce_keep(Tensor reduced, int[] sizes, int[]? dim, bool keepdim) -> Tensor")
helper("reduce_expand(Tensor reduced, int[] sizes, int[]? dim, bool keepdim) -> Tensor")
helper("reduce_count(int[] sizes, int[]? dim) -> int")
helper("var_scale(int[] sizes, int[]? dim, Scalar? correction) -> float")
helper("prod_backward(Tensor grad, Tensor self, Tensor result, int? dim, bool keepdim) -> Tensor")

# --- sums and products --------------------------------------------------------------------------------

op("sum(Tensor self, *, ScalarType? dtype=None) -> Tensor",
   variants="function method out", rule="reduce_sum", kernel="sum", batch="all sum.dim_IntList",
   grad={"self": "expand(grad, self.shape)"}, like="numpy.sum",
   linear="self", doc="The sum of all elements. Integers are summed as int64.")

op("sum.dim_IntList(Tensor self, int[1]? dim, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
   variants="function method out", rule="reduce_sum", kernel="sum", batch="dims",
   grad={"self": "reduce_expand(grad, self.shape, dim, keepdim)"}, like="numpy.sum",
   linear="self", doc="The sum over some dimensions.")

op("nansum(Tensor self, int[1]? dim=None, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
   variants="function method out", rule="reduce_nansum", kernel="nansum", batch="dims",
   grad={"self": "masked_fill(reduce_expand(grad, self.shape, dim, keepdim), isnan(self), 0)"},
   like="numpy.nansum",
   doc="The sum, with NaN counted as 0.")

op("mean(Tensor self, *, ScalarType? dtype=None) -> Tensor",
   variants="function method out", rule="reduce_mean", kernel="mean", batch="all mean.dim",
   grad={"self": "expand(grad, self.shape) / self.numel"}, like="numpy.mean",
   linear="self", doc="The mean of all elements.")

op("mean.dim(Tensor self, int[1]? dim, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
   variants="function method out", rule="reduce_mean", kernel="mean", batch="dims",
   grad={"self": "reduce_expand(grad, self.shape, dim, keepdim) / reduce_count(self.shape, dim)"},
   like="numpy.mean",
   linear="self", doc="The mean over some dimensions.")

op("nanmean(Tensor self, int[1]? dim=None, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
   variants="function method out", composite="c:nanmean", like="numpy.nanmean",
   doc="The mean of the elements that are not NaN.")

op("prod(Tensor self, *, ScalarType? dtype=None) -> Tensor",
   variants="function method out", rule="reduce_sum", kernel="prod", batch="all prod.dim_int",
   grad={"self": "prod_backward(grad, self, result, None, False)"}, like="numpy.prod",
   doc="The product of all elements. Integers are multiplied as int64.")

op("prod.dim_int(Tensor self, int dim, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
   variants="function method out", rule="reduce_sum", kernel="prod", batch="dims",
   grad={"self": "prod_backward(grad, self, result, dim, keepdim)"}, like="numpy.prod",
   doc="The product over one dimension.")

op("count_nonzero(Tensor self, int? dim=None) -> Tensor",
   variants="function method out", rule="reduce_count", kernel="count_nonzero", batch="dims",
   grad=None,
   like="numpy.count_nonzero",
   doc="How many elements differ from zero.")

op("count_nonzero.dim_IntList(Tensor self, int[] dim) -> Tensor",
   variants="function method out", rule="reduce_count", kernel="count_nonzero", batch="dims",
   grad=None,
   like="numpy.count_nonzero",
   doc="How many elements along some dimensions differ from zero.")

op("trace(Tensor self) -> Tensor",
   variants="function method", composite="c:trace", like="numpy.trace",
   doc="The sum of the diagonal of a matrix.")

# --- extremes -----------------------------------------------------------------------------------------

op("amax(Tensor self, int[1] dim=[], bool keepdim=False) -> Tensor",
   variants="function method out", flags="tame", rule="reduce_extreme", kernel="amax", batch="dims",
   grad={"self": "reduce_keep(grad, self.shape, dim, keepdim)"
                 " * (m := self == reduce_keep(result, self.shape, dim, keepdim)) / sum(m, dim, True)"},
   like="numpy.amax",
   doc="The largest element over some dimensions. Equal ones share the gradient evenly.")

op("amin(Tensor self, int[1] dim=[], bool keepdim=False) -> Tensor",
   variants="function method out", flags="tame", rule="reduce_extreme", kernel="amin", batch="dims",
   grad={"self": "reduce_keep(grad, self.shape, dim, keepdim)"
                 " * (m := self == reduce_keep(result, self.shape, dim, keepdim)) / sum(m, dim, True)"},
   like="numpy.amin",
   doc="The smallest element over some dimensions. Equal ones share the gradient evenly.")

op("aminmax(Tensor self, *, int? dim=None, bool keepdim=False) -> (Tensor min, Tensor max)",
   variants="function method out", composite="c:aminmax", grad=None,
   doc="The smallest and the largest element, of all or along one dimension.")

op("max(Tensor self) -> Tensor",
   variants="function method out", flags="tame", rule="reduce_extreme", kernel="amax", batch="all amax",
   grad={"self": "_share_evenly(grad, self, result)"}, like="numpy.max",
   doc="The largest of all elements.")

op("max.other(Tensor self, Tensor other) -> Tensor",
   variants="function method out", composite="maximum(self, other)", like="numpy.maximum",
   doc="The larger of two elements; the same as maximum.")

op("max.dim(Tensor self, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)",
   variants="function method out", flags="tame", rule="reduce_select", kernel="max_dim", batch="dims",
   nondiff="indices",
   grad={"self": "_select_from_backward(grads[0], dim, indices, self.shape, keepdim)"},
   doc="The largest element along a dimension, and its first index there.")

op("min(Tensor self) -> Tensor",
   variants="function method out", flags="tame", rule="reduce_extreme", kernel="amin", batch="all amin",
   grad={"self": "_share_evenly(grad, self, result)"}, like="numpy.min",
   doc="The smallest of all elements.")

op("min.other(Tensor self, Tensor other) -> Tensor",
   variants="function method out", composite="minimum(self, other)", like="numpy.minimum",
   doc="The smaller of two elements; the same as minimum.")

op("min.dim(Tensor self, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)",
   variants="function method out", flags="tame", rule="reduce_select", kernel="min_dim", batch="dims",
   nondiff="indices",
   grad={"self": "_select_from_backward(grads[0], dim, indices, self.shape, keepdim)"},
   doc="The smallest element along a dimension, and its first index there.")

op("argmax(Tensor self, int? dim=None, bool keepdim=False) -> Tensor",
   variants="function method out", rule="reduce_arg", kernel="argmax", batch="dims",
   grad=None, like="numpy.argmax",
   doc="The index of the first largest element, along a dimension or of the flattened tensor.")

op("argmin(Tensor self, int? dim=None, bool keepdim=False) -> Tensor",
   variants="function method out", rule="reduce_arg", kernel="argmin", batch="dims",
   grad=None, like="numpy.argmin",
   doc="The index of the first smallest element, along a dimension or of the flattened tensor.")

op("_select_from_backward(Tensor grad, int dim, Tensor indices, int[] sizes, bool keepdim) -> Tensor",
   variants="function", module="_C", composite="c:select_from_backward", grad=None,
   doc="Zeros of the given sizes, with grad put at the indices that were selected along a dimension.")

op("_share_evenly(Tensor grad, Tensor self, Tensor result) -> Tensor",
   variants="function", module="_C",
   composite="grad * (m := logical_or(self == result, logical_and(isnan(self), isnan(result)))) / sum(m)",
   doc="The gradient of an extreme of all elements: shared by the elements that equal it.")

# --- truth --------------------------------------------------------------------------------------------

op("any(Tensor self) -> Tensor",
   variants="function method out", rule="reduce_truth", kernel="any", batch="all any.dim",
   grad=None, like="numpy.any",
   doc="Whether some element is true.")

op("any.dim(Tensor self, int dim, bool keepdim=False) -> Tensor",
   variants="function method out", rule="reduce_truth", kernel="any", batch="dims",
   grad=None, like="numpy.any",
   doc="Whether some element along a dimension is true.")

op("any.dims(Tensor self, int[]? dim=None, bool keepdim=False) -> Tensor",
   variants="function method out", rule="reduce_truth", kernel="any", batch="some",
   grad=None, like="numpy.any",
   doc="Whether some element along some dimensions is true.")

op("all(Tensor self) -> Tensor",
   variants="function method out", rule="reduce_truth", kernel="all", batch="all all.dim",
   grad=None, like="numpy.all",
   doc="Whether every element is true.")

op("all.dim(Tensor self, int dim, bool keepdim=False) -> Tensor",
   variants="function method out", rule="reduce_truth", kernel="all", batch="dims",
   grad=None, like="numpy.all",
   doc="Whether every element along a dimension is true.")

op("all.dims(Tensor self, int[]? dim=None, bool keepdim=False) -> Tensor",
   variants="function method out", rule="reduce_truth", kernel="all", batch="some",
   grad=None, like="numpy.all",
   doc="Whether every element along some dimensions is true.")

op("equal(Tensor self, Tensor other) -> bool",
   variants="function method", composite="c:equal", like="numpy.array_equal",
   doc="Whether two tensors have the same sizes and elements.")

op("allclose(Tensor self, Tensor other, float rtol=1e-05, float atol=1e-08, bool equal_nan=False) -> bool",
   variants="function method", composite="c:allclose", like="numpy.allclose",
   doc="Whether all elements satisfy |self - other| <= atol + rtol * |other|.")

# --- statistics ---------------------------------------------------------------------------------------

op("var(Tensor self, bool unbiased=True) -> Tensor",
   variants="function method", composite="var_correction(self, None, correction=1 if unbiased else 0)",
   doc="The variance of all elements.")

op("var.dim(Tensor self, int[1]? dim, bool unbiased=True, bool keepdim=False) -> Tensor",
   variants="function method out",
   composite="var_correction(self, dim, correction=1 if unbiased else 0, keepdim=keepdim)",
   doc="The variance over some dimensions.")

op("var.correction(Tensor self, int[1]? dim=None, *, Scalar? correction=None, bool keepdim=False) -> Tensor",
   variants="function method out", rule="reduce_var", kernel="var", batch="dims",
   grad={"self": "var_scale(self.shape, dim, correction) * reduce_keep(grad, self.shape, dim, keepdim)"
                 " * (self - mean_dim(self, dim, True))"},
   doc="The variance over some dimensions, dividing by the count less the correction (1 if None).")

op("std(Tensor self, bool unbiased=True) -> Tensor",
   variants="function method", composite="std_correction(self, None, correction=1 if unbiased else 0)",
   doc="The standard deviation of all elements.")

op("std.dim(Tensor self, int[1]? dim, bool unbiased=True, bool keepdim=False) -> Tensor",
   variants="function method out",
   composite="std_correction(self, dim, correction=1 if unbiased else 0, keepdim=keepdim)",
   doc="The standard deviation over some dimensions.")

op("std.correction(Tensor self, int[1]? dim=None, *, Scalar? correction=None, bool keepdim=False) -> Tensor",
   variants="function method out", rule="reduce_var", kernel="std", batch="dims",
   grad={"self": "var_scale(self.shape, dim, correction)"
                 " * reduce_keep(masked_fill(grad / (result * 2), result == 0, 0), self.shape, dim, keepdim)"
                 " * (self - mean_dim(self, dim, True))"},
   doc="The standard deviation over some dimensions, with the divisor of var.")

op("var_mean(Tensor self, bool unbiased=True) -> (Tensor, Tensor)",
   variants="function",
   composite="(var_correction(self, None, correction=1 if unbiased else 0), mean(self))",
   doc="The variance and the mean of all elements.")

op("var_mean.dim(Tensor self, int[1]? dim, bool unbiased=True, bool keepdim=False) -> (Tensor, Tensor)",
   variants="function",
   composite="(var_correction(self, dim, correction=1 if unbiased else 0, keepdim=keepdim),"
             " mean_dim(self, dim, keepdim))",
   doc="The variance and the mean over some dimensions.")

op("var_mean.correction(Tensor self, int[1]? dim=None, *, Scalar? correction=None, bool keepdim=False)"
   " -> (Tensor, Tensor)",
   variants="function",
   composite="(var_correction(self, dim, correction=correction, keepdim=keepdim),"
             " mean_dim(self, dim, keepdim))",
   doc="The variance and the mean over some dimensions, with a correction of the divisor.")

op("std_mean(Tensor self, bool unbiased=True) -> (Tensor, Tensor)",
   variants="function",
   composite="(std_correction(self, None, correction=1 if unbiased else 0), mean(self))",
   doc="The standard deviation and the mean of all elements.")

op("std_mean.dim(Tensor self, int[1]? dim, bool unbiased=True, bool keepdim=False) -> (Tensor, Tensor)",
   variants="function",
   composite="(std_correction(self, dim, correction=1 if unbiased else 0, keepdim=keepdim),"
             " mean_dim(self, dim, keepdim))",
   doc="The standard deviation and the mean over some dimensions.")

op("std_mean.correction(Tensor self, int[1]? dim=None, *, Scalar? correction=None, bool keepdim=False)"
   " -> (Tensor, Tensor)",
   variants="function",
   composite="(std_correction(self, dim, correction=correction, keepdim=keepdim),"
             " mean_dim(self, dim, keepdim))",
   doc="The standard deviation and the mean over some dimensions, with a correction of the divisor.")

op("logsumexp(Tensor self, int[1] dim, bool keepdim=False) -> Tensor",
   variants="function method out", composite="c:logsumexp", batch="dims",
   grad={"self": "reduce_keep(grad, self.shape, dim, keepdim)"
                 " * conj(exp(self - reduce_keep(result, self.shape, dim, keepdim)))"},
   like="scipy.special.logsumexp",
   doc="log(sum(exp(self))) over some dimensions, without overflow.")

op("_logsumexp(Tensor self, int[1] dim, bool keepdim=False) -> Tensor",
   variants="function", module="_C", rule="reduce_extreme", kernel="logsumexp", batch="dims",
   dtypes="float", grad=None,
   like="scipy.special.logsumexp",
   doc="logsumexp of real floats over dimensions that have elements.")

# --- norms --------------------------------------------------------------------------------------------

op("linalg_vector_norm(Tensor self, Scalar ord=2, int[1]? dim=None, bool keepdim=False, *,"
   " ScalarType? dtype=None) -> Tensor",
   variants="function out", module="linalg", public="vector_norm", rule="reduce_norm",
   kernel="vector_norm", batch="dims",
   grad={"self": "None if ord == 0 else _vector_norm_backward(reduce_keep(grad, self.shape, dim, keepdim), self,"
                 " reduce_keep(result, self.shape, dim, keepdim), ord, dim)"},
   doc="The norm of order ord over some dimensions: (sum |x| ** ord) ** (1 / ord); inf and -inf give"
       " the extremes of |x|, 0 the count of elements other than zero.")

op("_vector_norm_backward(Tensor grad, Tensor self, Tensor norm, Scalar ord, int[]? dim) -> Tensor",
   variants="function", module="_C", composite="c:vector_norm_backward", grad=None,
   doc="The gradient of vector_norm; grad and norm have kept their reduced dimensions.")

op("norm.name(Tensor self, str p=\"fro\", int[1]? dim=None, bool keepdim=False, *,"
   " ScalarType? dtype=None) -> Tensor",
   variants="function method out", composite="c:norm_name", grad=None,
   doc="The Frobenius (\"fro\") or nuclear (\"nuc\") norm.")

op("norm.Scalar(Tensor self, Scalar? p, int[1]? dim=None, bool keepdim=False, *,"
   " ScalarType? dtype=None) -> Tensor",
   variants="function method out", composite="c:norm_number", grad=None,
   doc="The norm of order p (2 if None) of the elements over some dimensions.")

op("dist(Tensor self, Tensor other, Scalar p=2) -> Tensor",
   variants="function method", composite="linalg_vector_norm(self - other, p)",
   doc="The norm of order p of self - other.")

# --- order statistics ---------------------------------------------------------------------------------

op("median(Tensor self) -> Tensor",
   variants="function method", rule="reduce_median", kernel="median", batch="all median.dim",
   grad={"self": "_share_evenly(grad, self, result)"},
   doc="The median of all elements, of an even number the lower one; NaN if there is one.")

op("median.dim(Tensor self, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)",
   variants="function method out", rule="reduce_select", kernel="median_dim", batch="dims",
   nondiff="indices",
   dtypes="int float",
   grad={"self": "_select_from_backward(grads[0], dim, indices, self.shape, keepdim)"},
   doc="The median along a dimension, and an index where it stands.")

op("nanmedian(Tensor self) -> Tensor",
   variants="function method", rule="reduce_median", kernel="nanmedian", batch="all nanmedian.dim",
   grad={"self": "_share_evenly(grad, self, result)"}, like="numpy.nanmedian",
   doc="The median of the elements that are not NaN.")

op("nanmedian.dim(Tensor self, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)",
   variants="function method out", rule="reduce_select", kernel="nanmedian_dim", batch="dims",
   nondiff="indices",
   dtypes="int float",
   grad={"self": "_select_from_backward(grads[0], dim, indices, self.shape, keepdim)"},
   doc="The median along a dimension of the elements that are not NaN.")

op("mode(Tensor self, int dim=-1, bool keepdim=False) -> (Tensor values, Tensor indices)",
   variants="function method out", rule="reduce_select", kernel="mode", batch="dims",
   nondiff="indices",
   dtypes="bool int float",
   grad={"self": "_select_from_backward(grads[0], dim, indices, self.shape, keepdim)"},
   doc="The most frequent value along a dimension (the smallest of several), and its last index.")

op("kthvalue(Tensor self, int k, int dim=-1, bool keepdim=False) -> (Tensor values, Tensor indices)",
   variants="function method out", rule="reduce_kth", kernel="kthvalue", batch="dims",
   nondiff="indices",
   dtypes="int float",
   grad={"self": "_select_from_backward(grads[0], dim, indices, self.shape, keepdim)"},
   doc="The k-th smallest element along a dimension, counted from 1, and an index where it stands.")
