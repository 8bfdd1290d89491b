# Tensors from nothing, from others, and from one dtype or device to another.

op("empty(int[] size, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, MemoryFormat? memory_format=None) -> Tensor",
   variants="function out", family=FACTORY, rule="empty", kernel="nothing", grad=None,
   doc="A tensor whose elements are whatever the memory held.")
op("empty_strided(int[] size, int[] stride, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None) -> Tensor",
   variants="function", family=FACTORY, rule="empty_strided", kernel="nothing", grad=None,
   doc="An uninitialised tensor with the given strides.")
op("empty_permuted(int[] size, int[] physical_layout, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None) -> Tensor",
   variants="function", family=FACTORY, rule="empty_permuted", kernel="nothing", grad=None,
   doc="An uninitialised tensor whose dimensions lie in memory in the given order.")
op("empty_like(Tensor self, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, MemoryFormat? memory_format=None) -> Tensor",
   variants="function", family=FACTORY, rule="like", kernel="nothing", batch="copy", grad=None,
   doc="An uninitialised tensor with the shape, dtype and device of another.")
op("new_empty(Tensor self, int[] size, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None) -> Tensor",
   variants="method", family=FACTORY, rule="new", kernel="nothing", batch="dims", grad=None,
   doc="An uninitialised tensor with the dtype and device of another.")
op("new_empty_strided(Tensor self, int[] size, int[] stride, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None) -> Tensor",
   variants="method", family=FACTORY, rule="new_strided", kernel="nothing", batch="strided",
   grad=None,
   doc="An uninitialised tensor with the given strides and the dtype and device of another.")

op("zeros(int[] size, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None) -> Tensor",
   variants="function out", family=FACTORY, rule="empty", kernel="zeros", grad=None,
   like="numpy.zeros", doc="A tensor of zeros.")
op("ones(int[] size, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None) -> Tensor",
   variants="function out", family=FACTORY, rule="empty", kernel="ones", grad=None,
   like="numpy.ones", doc="A tensor of ones.")
op("full(int[] size, Scalar fill_value, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None) -> Tensor",
   variants="function out", family=FACTORY, rule="full", kernel="full", grad=None,
   like="numpy.full", doc="A tensor of one number; its dtype follows from the number unless given.")
op("zeros_like(Tensor self, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, MemoryFormat? memory_format=None) -> Tensor",
   variants="function", family=FACTORY, rule="like", kernel="zeros", batch="copy", grad=None,
   doc="Zeros with the shape, dtype and device of another tensor.")
op("ones_like(Tensor self, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, MemoryFormat? memory_format=None) -> Tensor",
   variants="function", family=FACTORY, rule="like", kernel="ones", batch="copy", grad=None,
   doc="Ones with the shape, dtype and device of another tensor.")
op("full_like(Tensor self, Scalar fill_value, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, MemoryFormat? memory_format=None) -> Tensor",
   variants="function", family=FACTORY, rule="full_like", kernel="full", batch="copy", grad=None,
   doc="One number with the shape, dtype and device of another tensor.")
op("new_zeros(Tensor self, int[] size, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None) -> Tensor",
   variants="method", family=FACTORY, rule="new", kernel="zeros", batch="dims", grad=None,
   doc="Zeros with the dtype and device of another tensor.")
op("new_ones(Tensor self, int[] size, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None) -> Tensor",
   variants="method", family=FACTORY, rule="new", kernel="ones", batch="dims", grad=None,
   doc="Ones with the dtype and device of another tensor.")
op("new_full(Tensor self, int[] size, Scalar fill_value, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None) -> Tensor",
   variants="method", family=FACTORY, rule="new", kernel="new_full", batch="dims", grad=None,
   doc="One number with the dtype and device of another tensor.")

op("arange(Scalar end, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None) -> Tensor",
   variants="function out", family=FACTORY, rule="arange_end", kernel="arange_end", grad=None,
   like="numpy.arange", doc="0, 1, ... up to but not including end.")
op("arange.start(Scalar start, Scalar end, Scalar step=1, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None) -> Tensor",
   variants="function out", family=FACTORY, rule="arange", kernel="arange", grad=None,
   like="numpy.arange", doc="start, start + step, ... up to but not including end.")
op("linspace(Operand start, Operand end, int steps, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None) -> Tensor",
   variants="function out", family=FACTORY, rule="linspace", kernel="linspace",
   batch="as _linspace_each",
   grad=None,
   like="numpy.linspace", doc="steps numbers, evenly spaced from start to end, both included.")
op("logspace(Operand start, Operand end, int steps, float base=10.0, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None) -> Tensor",
   variants="function out", family=FACTORY, rule="linspace", kernel="logspace",
   batch="as _logspace_each",
   grad=None,
   like="numpy.logspace", doc="steps powers of base, with exponents evenly spaced from start to end.")
op("eye(int n, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None) -> Tensor",
   variants="function out", family=FACTORY, rule="eye", kernel="eye", grad=None,
   like="numpy.eye", doc="The identity matrix.")
op("eye.m(int n, int m, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None) -> Tensor",
   variants="function out", family=FACTORY, rule="eye_m", kernel="eye", grad=None,
   like="numpy.eye", doc="Ones on the diagonal, zeros elsewhere.")
op("tril_indices(int row, int col, int offset=0, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None) -> Tensor",
   variants="function", family=FACTORY, rule="tri_indices_lower", kernel="tri_indices_lower", grad=None,
   doc="Row and column indices of the lower triangle of a matrix.")
op("triu_indices(int row, int col, int offset=0, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None) -> Tensor",
   variants="function", family=FACTORY, rule="tri_indices_upper", kernel="tri_indices_upper", grad=None,
   doc="Row and column indices of the upper triangle of a matrix.")
op("complex(Tensor real, Tensor imag) -> Tensor",
   variants="function out", rule="complex", kernel="complex", batch="pointwise",
   grad={"real": "real(grad)", "imag": "imag(grad)"},
   linear="real imag", doc="Complex numbers from their real and imaginary parts.")
op("polar(Tensor abs, Tensor angle) -> Tensor",
   variants="function out", rule="complex", kernel="polar", batch="pointwise",
   grad={"abs, angle": "polar_backward(grad, result)"},
   doc="Complex numbers from their absolute values and angles.")

# --- copies and casts --------------------------------------------------------------------------------

op("clone(Tensor self, *, MemoryFormat? memory_format=None) -> Tensor",
   variants="function method", flags="tame", rule="clone", kernel="copy_to_result", batch="copy",
   grad={"self": "grad"}, linear="self", doc="A copy with memory of its own.")
op("contiguous(Tensor(a) self, *, MemoryFormat memory_format=contiguous_format) -> Tensor(a)",
   variants="method", composite="c:contiguous",
   doc="The tensor itself if it lies in memory in the given order, else a copy that does.")
op("_to_copy(Tensor self, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool non_blocking=False, MemoryFormat? memory_format=None) -> Tensor",
   variants="function", module="_C", rule="to_copy", kernel="copy_to_result", batch="copy",
   grad={"self": "_to_copy(grad, dtype=self.dtype, device=self.device)"},
   linear="self", doc="A copy in another dtype, on another device, or in another memory format.")
op("copy_(Tensor(a!) self, Tensor src, bool non_blocking=False) -> Tensor(a!)",
   variants="method", rule="copy_into", kernel="copy_into", batch="into",
   grad={"self": "zeros_like(grad)", "src": "sum_to_like(grad, src)"},
   linear="self src", doc="Copies the elements of src, which is broadcast and converted, into self.")
op("fill_(Tensor(a!) self, Operand value) -> Tensor(a!)",
   variants="method function", rule="fill", kernel="fill", batch="into",
   grad={"self": "zeros_like(grad)", "value": "grad.sum()"},
   linear="self value", doc="Sets every element to the number.")
op("zero_(Tensor(a!) self) -> Tensor(a!)",
   variants="method function", rule="inplace", kernel="zero", batch="dims",
   grad={"self": "zeros_like(grad)"}, linear="self", doc="Sets every element to 0.")
op("resize_(Tensor(a!) self, int[] size, *, MemoryFormat? memory_format=None) -> Tensor(a!)",
   variants="method", rule="resize", kernel="nothing", batch="never", grad=None,
   doc="Changes the shape in place; the memory grows where it has to, new elements are uninitialised.")
op("resize_as_(Tensor(a!) self, Tensor the_template, *, MemoryFormat? memory_format=None) -> Tensor(a!)",
   variants="method function", rule="resize_as", kernel="nothing", batch="never", grad=None,
   doc="resize_ to the shape of another tensor.")
op("set_.storage(Tensor(a!) self, Storage source, int storage_offset, int[] size, int[] stride=[]) -> Tensor(a!)",
   variants="method", rule="set_storage", kernel="nothing", batch="never", grad=None,
   doc="Makes self a view of a storage.")
op("set_.tensor(Tensor(a!) self, Tensor source) -> Tensor(a!)",
   variants="method", rule="set_tensor", kernel="nothing", batch="never", grad=None,
   doc="Makes self share the storage and layout of another tensor.")
op("set_(Tensor(a!) self) -> Tensor(a!)",
   variants="method", rule="set_empty", kernel="nothing", batch="never", grad=None,
   doc="Makes self an empty tensor.")

# --- complex parts -------------------------------------------------------------------------------------

op("real(Tensor(a) self) -> Tensor(a)",
   variants="function", family=VIEW, rule="real",
   grad={"self": "grad"}, like="numpy.real", doc="The real part, as a view; of a real tensor itself.")
op("imag(Tensor(a) self) -> Tensor(a)",
   variants="function", family=VIEW, rule="imag",
   grad={"self": "imag_backward(grad)"}, like="numpy.imag", doc="The imaginary part, as a view.")
op("view_as_real(Tensor(a) self) -> Tensor(a)",
   variants="function", family=VIEW, rule="view_as_real",
   grad={"self": "view_as_complex(contiguous(grad))"},
   doc="A complex tensor as a real one with a last dimension of 2.")
op("view_as_complex(Tensor(a) self) -> Tensor(a)",
   variants="function", family=VIEW, rule="view_as_complex",
   grad={"self": "view_as_real(resolve_conj(grad))"},
   doc="A real tensor with a last dimension of 2 as a complex one.")
op("conj(Tensor(a) self) -> Tensor(a)",
   variants="function method", family=VIEW, rule="conj", flags="view conj",
   grad={"self": "conj(grad)"}, like="numpy.conj",
   doc="The complex conjugate, as a view that is conjugated when it is read.")
op("_conj(Tensor(a) self) -> Tensor(a)",
   variants="function", module="_C", family=VIEW, rule="conj", flags="view conj",
   grad={"self": "conj(grad)"}, doc="conj.")
op("_neg_view(Tensor(a) self) -> Tensor(a)",
   variants="function", module="_C", family=VIEW, rule="neg_view", flags="view conj",
   grad={"self": "-grad"}, doc="The negative, as a view that is negated when it is read.")
op("conj_physical(Tensor self) -> Tensor",
   variants="function method inplace out", family=UNARY,
   scalar={"bool": "a", "int float": "a", "complex": "fx_conj(a)"},
   grad={"self": "conj(grad)"}, like="numpy.conj", doc="The complex conjugate, as a new tensor.")
op("resolve_conj(Tensor(a) self) -> Tensor(a)",
   variants="function method", composite="c:resolve_conj",
   doc="self, or a copy with conjugation carried out if it is pending.")
op("resolve_neg(Tensor(a) self) -> Tensor(a)",
   variants="function method", composite="c:resolve_neg",
   doc="self, or a copy with negation carried out if it is pending.")
op("angle(Tensor self) -> Tensor",
   variants="function method out", family=UNARY, promote="REAL",
   scalar={"float complex": "fx_angle(a)"},
   grad={"self": "angle_backward(grad, self)"}, like="numpy.angle",
   doc="The angle in radians; of negative real numbers pi.")
op("is_complex(Tensor self) -> bool", variants="", composite="c:is_complex",
   doc="Whether the dtype is complex.")
