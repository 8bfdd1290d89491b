# Order: sorting, the largest elements, distinct elements, places in a sorted sequence.

op("sort(Tensor self, int dim=-1, bool descending=False) -> (Tensor values, Tensor indices)",
   variants="function method out", flags="tame", rule="sort", kernel="sort", batch="dims", nondiff="indices",
   grad={"self": "scatter(new_zeros(grads[0], self.shape), dim, indices, grads[0]) if self.ndim > 0 else grads[0]"},
   doc="The elements along a dimension in order, and where they were; equal ones in any order.")
op("sort.stable(Tensor self, *, bool? stable, int dim=-1, bool descending=False) -> (Tensor values, Tensor indices)",
   variants="function method out", flags="tame", rule="sort_stable", kernel="sort_stable", batch="dims",
   nondiff="indices",
   grad={"self": "scatter(new_zeros(grads[0], self.shape), dim, indices, grads[0]) if self.ndim > 0 else grads[0]"},
   doc="The elements along a dimension in order, and where they were; equal ones keep theirs if stable.")
op("argsort(Tensor self, int dim=-1, bool descending=False) -> Tensor",
   variants="function method", composite="sort(self, dim, descending)[1]", grad=None, like="numpy.argsort",
   doc="The indices that would sort along a dimension.")
op("argsort.stable(Tensor self, *, bool stable, int dim=-1, bool descending=False) -> Tensor",
   variants="function method", composite="sort_stable(self, stable=stable, dim=dim, descending=descending)[1]", grad=None,
   doc="The indices that would sort along a dimension.")
op("msort(Tensor self) -> Tensor",
   variants="function method out", composite="sort(self, 0)[0]",
   doc="The elements along the first dimension in order.")
op("topk(Tensor self, int k, int dim=-1, bool largest=True, bool sorted=True) -> (Tensor values, Tensor indices)",
   variants="function method out", flags="tame", rule="topk", kernel="topk", batch="dims", nondiff="indices",
   grad={"self": "scatter(new_zeros(grads[0], self.shape), dim, indices, grads[0]) if self.ndim > 0 else grads[0]"},
   doc="The k largest (or smallest) elements along a dimension, and where they were.")
op("_unique2(Tensor self, bool sorted=True, bool return_inverse=False, bool return_counts=False) -> (Tensor output, Tensor inverse, Tensor counts)",
   variants="function", module="_C", flags="data_shape", rule="data", kernel="unique", grad=None,
   doc="The distinct elements in order, for each element the place of its value, and how often each stands.")
op("unique_dim(Tensor self, int dim, bool sorted=True, bool return_inverse=False, bool return_counts=False) -> (Tensor output, Tensor inverse, Tensor counts)",
   variants="function", module="_C", flags="data_shape", rule="data", kernel="unique_dim", grad=None,
   doc="The distinct slices along a dimension, in order.")
op("_unique_consecutive(Tensor self, bool return_inverse=False, bool return_counts=False, int? dim=None) -> (Tensor output, Tensor inverse, Tensor counts)",
   variants="function", module="_C", flags="data_shape", rule="data", kernel="unique_consecutive", grad=None,
   doc="The elements (or slices) without repeats in a row, for each of self its place, and how often each stands.")
op("unique(Tensor self, bool sorted=True, bool return_inverse=False, bool return_counts=False, int? dim=None) -> Any",
   variants="function method", composite="c:unique", flags="data_shape", grad=None,
   doc="The distinct elements (or slices along dim) in order; on request their places and counts.")
op("unique_consecutive(Tensor self, bool return_inverse=False, bool return_counts=False, int? dim=None) -> Any",
   variants="function method", composite="c:unique_consecutive", flags="data_shape", grad=None,
   doc="The elements (or slices along dim) without those that equal the one before; on request their places and counts.")
op("searchsorted(Tensor sorted_sequence, Tensor self, *, bool out_int32=False, bool right=False, str? side=None, Tensor? sorter=None) -> Tensor",
   variants="function out", rule="searchsorted", kernel="searchsorted", batch="search",
   grad=None, like="numpy.searchsorted",
   doc="Where each value would be put into a sorted sequence to keep it sorted.")
op("searchsorted.Scalar(Tensor sorted_sequence, Scalar self, *, bool out_int32=False, bool right=False, str? side=None, Tensor? sorter=None) -> Tensor",
   variants="function out", rule="searchsorted_number", kernel="searchsorted_number",
   batch="search", grad=None,
   doc="Where a value would be put into a sorted sequence to keep it sorted.")
op("bucketize(Tensor self, Tensor boundaries, *, bool out_int32=False, bool right=False) -> Tensor",
   variants="function out", composite="searchsorted(boundaries, self, out_int32=out_int32, right=right)", grad=None,
   like="numpy.digitize", doc="The bucket of each element, by boundaries in increasing order.")
op("bincount(Tensor self, Tensor? weights=None, int minlength=0) -> Tensor",
   variants="function method", flags="data_shape", rule="data", kernel="bincount", grad=None, like="numpy.bincount",
   doc="How often each number stands among the elements, or the sum of their weights.")
