# Scans: running sums, products and extremes along one dimension. The kernels are in
# kernels/cpu/scan.c.

helper("cumprod_backward(Tensor grad, Tensor self, Tensor result, int dim) -> Tensor")
helper("logcumsumexp_backward(Tensor grad, Tensor self, Tensor result, int dim) -> Tensor")

op("cumsum(Tensor self, int dim, *, ScalarType? dtype=None) -> Tensor",
   variants="function method inplace out", rule="scan_sum", kernel="cumsum", batch="dims",
   grad={"self": "_cumsum_back(grad, dim)"}, like="numpy.cumsum",
   linear="self", doc="Running sums along a dimension. Integers are summed as int64.")

op("_cumsum_back(Tensor self, int dim) -> Tensor",
   variants="function", module="_C", rule="scan_sum", kernel="cumsum_back", batch="dims",
   grad={"self": "cumsum(grad, dim)"},
   linear="self", doc="Running sums from the end of a dimension.")

op("cumprod(Tensor self, int dim, *, ScalarType? dtype=None) -> Tensor",
   variants="function method inplace out", rule="scan_sum", kernel="cumprod", batch="dims",
   grad={"self": "cumprod_backward(grad, self, result, dim)"}, like="numpy.cumprod",
   doc="Running products along a dimension. Integers are multiplied as int64.")

op("logcumsumexp(Tensor self, int dim) -> Tensor",
   variants="function method out", rule="scan_same", kernel="logcumsumexp", batch="dims",
   dtypes="float complex",
   grad={"self": "logcumsumexp_backward(grad, self, result, dim)"},
   doc="Running log(sum(exp(self))) along a dimension, without overflow.")

op("cummax(Tensor self, int dim) -> (Tensor values, Tensor indices)",
   variants="function method out", rule="scan_select", kernel="cummax", batch="dims",
   nondiff="indices",
   dtypes="bool int float",
   grad={"self": "scatter_add(zeros_like(grads[0]), dim, indices, grads[0])"},
   doc="The largest element so far along a dimension, and its last index.")

op("cummin(Tensor self, int dim) -> (Tensor values, Tensor indices)",
   variants="function method out", rule="scan_select", kernel="cummin", batch="dims",
   nondiff="indices",
   dtypes="bool int float",
   grad={"self": "scatter_add(zeros_like(grads[0]), dim, indices, grads[0])"},
   doc="The smallest element so far along a dimension, and its last index.")
