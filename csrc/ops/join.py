# Joining, repeating, turning: tensors put together, or their elements in another place.

op("cat(Tensor[] tensors, int dim=0) -> Tensor",
   variants="function out", flags="tame", rule="cat", kernel="cat", batch="dims",
   grad={"tensors": "cat_backward(grad, tensors, dim)"}, like="numpy.concatenate",
   linear="tensors", doc="Tensors joined along a dimension.")
op("concat(Tensor[] tensors, int dim=0) -> Tensor",
   variants="function out", composite="cat(tensors, dim)", doc="Tensors joined along a dimension.")
op("concatenate(Tensor[] tensors, int dim=0) -> Tensor",
   variants="function out", composite="cat(tensors, dim)", doc="Tensors joined along a dimension.")
op("stack(Tensor[] tensors, int dim=0) -> Tensor",
   variants="function out", flags="tame", rule="stack", kernel="stack", batch="insert",
   grad={"tensors": "stack_backward(grad, tensors, dim)"}, like="numpy.stack",
   linear="tensors", doc="Tensors of one shape joined along a new dimension.")
op("hstack(Tensor[] tensors) -> Tensor",
   variants="function out", composite="c:hstack", like="numpy.hstack",
   doc="Tensors joined along the second dimension, vectors along their only one.")
op("vstack(Tensor[] tensors) -> Tensor",
   variants="function out", composite="c:vstack", like="numpy.vstack",
   doc="Tensors joined along the first dimension, vectors as rows.")
op("row_stack(Tensor[] tensors) -> Tensor",
   variants="function out", composite="vstack(tensors)", doc="Tensors joined along the first dimension.")
op("dstack(Tensor[] tensors) -> Tensor",
   variants="function out", composite="c:dstack", like="numpy.dstack",
   doc="Tensors joined along the third dimension.")
op("column_stack(Tensor[] tensors) -> Tensor",
   variants="function out", composite="c:column_stack", like="numpy.column_stack",
   doc="Tensors joined along the second dimension, vectors as columns.")

op("repeat(Tensor self, int[] repeats) -> Tensor",
   variants="method", flags="tame", composite="c:repeat", like="numpy.tile",
   doc="Copies of the tensor side by side, so many along each dimension.")
op("tile(Tensor self, int[] dims) -> Tensor",
   variants="function method", composite="c:tile", like="numpy.tile",
   doc="repeat, with missing leading counts taken as 1.")
op("repeat_interleave(Tensor self, Tensor repeats, int? dim=None, *, int? output_size=None) -> Tensor",
   variants="function method", composite="c:repeat_interleave_tensor", grad=None,
   doc="Each element so many times in a row.")
op("repeat_interleave.int(Tensor self, int repeats, int? dim=None, *, int? output_size=None) -> Tensor",
   variants="function method", composite="c:repeat_interleave_int",
   doc="Each element so many times in a row.")
op("repeat_interleave.counts(Tensor repeats, *, int? output_size=None) -> Tensor",
   variants="function", flags="data_shape", rule="data", kernel="repeat_interleave_counts", grad=None,
   doc="Index i so many times as repeats[i] says.")

op("flip(Tensor self, int[] dims) -> Tensor",
   variants="function method", flags="tame", composite="c:flip", like="numpy.flip",
   doc="The elements in reverse order along the given dimensions.")
op("fliplr(Tensor self) -> Tensor",
   variants="function method", composite="c:fliplr", like="numpy.fliplr", doc="Columns in reverse order.")
op("flipud(Tensor self) -> Tensor",
   variants="function method", composite="c:flipud", like="numpy.flipud", doc="Rows in reverse order.")
op("rot90(Tensor self, int k=1, int[] dims=[0, 1]) -> Tensor",
   variants="function method", composite="c:rot90", like="numpy.rot90",
   doc="Turned by 90 degrees k times in the plane of two dimensions.")
op("roll(Tensor self, int[1] shifts, int[1] dims=[]) -> Tensor",
   variants="function method", flags="tame", composite="c:roll", like="numpy.roll",
   doc="The elements shifted along dimensions; those that leave come in at the other end.")

op("tril(Tensor self, int diagonal=0) -> Tensor",
   variants="function method inplace out", flags="tame", rule="triangle", kernel="tril", batch="dims",
   grad={"self": "tril(grad, diagonal)"}, like="numpy.tril",
   linear="self", doc="The lower triangle of matrices, zeros above it.")
op("triu(Tensor self, int diagonal=0) -> Tensor",
   variants="function method inplace out", flags="tame", rule="triangle", kernel="triu", batch="dims",
   grad={"self": "triu(grad, diagonal)"}, like="numpy.triu",
   linear="self", doc="The upper triangle of matrices, zeros below it.")
op("diag_embed(Tensor self, int offset=0, int dim1=-2, int dim2=-1) -> Tensor",
   variants="function method", composite="c:diag_embed",
   doc="Vectors as the diagonals of matrices of zeros.")
op("diag(Tensor self, int diagonal=0) -> Tensor",
   variants="function method out", composite="c:diag", like="numpy.diag",
   doc="The diagonal of a matrix, or a matrix with the given diagonal.")
op("diagflat(Tensor self, int offset=0) -> Tensor",
   variants="function method", composite="diag_embed(self.reshape([-1]), offset)", like="numpy.diagflat",
   doc="A matrix with all elements on its diagonal.")
op("broadcast_tensors(Tensor[] tensors) -> Tensor[]",
   variants="function", module="_C", composite="c:broadcast_tensors",
   doc="All tensors expanded to their common shape.")
op("meshgrid(Tensor[] tensors, *, str indexing=\"ij\") -> Tensor[]",
   variants="function", module="_C", composite="c:meshgrid",
   doc="Coordinate grids from vectors.")
op("atleast_1d(Tensor(a) self) -> Tensor(a)",
   variants="function", composite="self.reshape([1]) if self.ndim == 0 else self", like="numpy.atleast_1d",
   doc="With at least one dimension.")
op("atleast_2d(Tensor(a) self) -> Tensor(a)",
   variants="function",
   composite="self.reshape([1, 1]) if self.ndim == 0 else unsqueeze(self, 0) if self.ndim == 1 else self",
   like="numpy.atleast_2d", doc="With at least two dimensions.")
op("atleast_3d(Tensor(a) self) -> Tensor(a)",
   variants="function",
   composite="self.reshape([1, 1, 1]) if self.ndim == 0 else unsqueeze(unsqueeze(self, 0), -1)"
             " if self.ndim == 1 else unsqueeze(self, -1) if self.ndim == 2 else self",
   like="numpy.atleast_3d", doc="With at least three dimensions.")
