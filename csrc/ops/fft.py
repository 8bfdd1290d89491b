# Fourier transforms. Three rows compute; all others cut or fill up what they are given, and call them.
# A normalization is 0: none, 1: by the square root of the number of points, 2: by their number.

family("FFT", variants="function out", module="_C", batch="dims", linear="self")

op("_fft_c2c(Tensor self, int[] dim, int normalization, bool forward) -> Tensor",
   family=FFT, rule="fft_c2c", kernel="fft_c2c",
   grad={"self": "_fft_c2c(grad, dim, normalization, not forward)"},
   doc="The transform of complex numbers.")
op("_fft_r2c(Tensor self, int[] dim, int normalization, bool onesided) -> Tensor",
   family=FFT, rule="fft_r2c", kernel="fft_r2c",
   grad={"self": "_fft_r2c_backward(grad, dim, normalization, onesided, self.shape)"},
   doc="The transform of real numbers: of the last dim the first half, or with the conjugates that follow.")
op("_fft_c2r(Tensor self, int[] dim, int normalization, int last_dim_size) -> Tensor",
   family=FFT, rule="fft_c2r", kernel="fft_c2r",
   grad={"self": "_fft_weigh(_fft_r2c(grad, dim, normalization, True), dim, last_dim_size, 2.0)"},
   doc="The inverse of _fft_r2c, for the first half of the last dim.")
# The gradient of the half that is there counts for the half that is not.
op("_fft_r2c_backward(Tensor grad, int[] dim, int normalization, bool onesided, int[] sizes) -> Tensor",
   variants="function", module="_C", composite="c:fft_r2c_backward", doc="The gradient of _fft_r2c.")
op("_fft_weigh(Tensor self, int[] dim, int n, float factor) -> Tensor",
   variants="function", module="_C", composite="c:fft_weigh",
   doc="The half of a transform of n real points, with a factor where an element stands for two.")

family("FFT_LINE", variants="function out", module="fft", composite="c:fft_line")
family("FFT_DIMS", variants="function out", module="fft", composite="c:fft_dims")

op("fft_fft(Tensor self, int? n=None, int dim=-1, str? norm=None) -> Tensor",
   public="fft", family=FFT_LINE, like="numpy.fft.fft",
   doc="The discrete Fourier transform over a dimension, cut or filled up with zeros to n.")
op("fft_ifft(Tensor self, int? n=None, int dim=-1, str? norm=None) -> Tensor",
   public="ifft", family=FFT_LINE, like="numpy.fft.ifft", doc="The inverse of fft.")
op("fft_rfft(Tensor self, int? n=None, int dim=-1, str? norm=None) -> Tensor",
   public="rfft", family=FFT_LINE, like="numpy.fft.rfft",
   doc="The transform of real numbers: the first half, which determines the rest.")
op("fft_irfft(Tensor self, int? n=None, int dim=-1, str? norm=None) -> Tensor",
   public="irfft", family=FFT_LINE, like="numpy.fft.irfft",
   doc="The inverse of rfft; n is the length of the result, by default an even one.")
op("fft_hfft(Tensor self, int? n=None, int dim=-1, str? norm=None) -> Tensor",
   public="hfft", family=FFT_LINE, like="numpy.fft.hfft",
   doc="The transform, which is real, of a signal of which the first half is given and the rest its conjugate.")
op("fft_ihfft(Tensor self, int? n=None, int dim=-1, str? norm=None) -> Tensor",
   public="ihfft", family=FFT_LINE, like="numpy.fft.ihfft", doc="The inverse of hfft.")

op("fft_fft2(Tensor self, int[1]? s=None, int[1] dim=[-2, -1], str? norm=None) -> Tensor",
   public="fft2", family=FFT_DIMS, like="numpy.fft.fft2", doc="fft over two dimensions.")
op("fft_ifft2(Tensor self, int[1]? s=None, int[1] dim=[-2, -1], str? norm=None) -> Tensor",
   public="ifft2", family=FFT_DIMS, like="numpy.fft.ifft2", doc="ifft over two dimensions.")
op("fft_rfft2(Tensor self, int[1]? s=None, int[1] dim=[-2, -1], str? norm=None) -> Tensor",
   public="rfft2", family=FFT_DIMS, like="numpy.fft.rfft2",
   doc="fft over two dimensions of real numbers: of the last the first half.")
op("fft_irfft2(Tensor self, int[1]? s=None, int[1] dim=[-2, -1], str? norm=None) -> Tensor",
   public="irfft2", family=FFT_DIMS, like="numpy.fft.irfft2", doc="The inverse of rfft2.")
op("fft_hfft2(Tensor self, int[1]? s=None, int[1] dim=[-2, -1], str? norm=None) -> Tensor",
   public="hfft2", family=FFT_DIMS, like="scipy.fft.hfft2",
   doc="The transform over two dimensions, which is real, of a signal given by its half.")
op("fft_ihfft2(Tensor self, int[1]? s=None, int[1] dim=[-2, -1], str? norm=None) -> Tensor",
   public="ihfft2", family=FFT_DIMS, like="scipy.fft.ihfft2", doc="The inverse of hfft2.")
op("fft_fftn(Tensor self, int[1]? s=None, int[1]? dim=None, str? norm=None) -> Tensor",
   public="fftn", family=FFT_DIMS, like="numpy.fft.fftn", doc="fft over several dimensions, by default all.")
op("fft_ifftn(Tensor self, int[1]? s=None, int[1]? dim=None, str? norm=None) -> Tensor",
   public="ifftn", family=FFT_DIMS, like="numpy.fft.ifftn", doc="ifft over several dimensions.")
op("fft_rfftn(Tensor self, int[1]? s=None, int[1]? dim=None, str? norm=None) -> Tensor",
   public="rfftn", family=FFT_DIMS, like="numpy.fft.rfftn",
   doc="fft over several dimensions of real numbers: of the last the first half.")
op("fft_irfftn(Tensor self, int[1]? s=None, int[1]? dim=None, str? norm=None) -> Tensor",
   public="irfftn", family=FFT_DIMS, like="numpy.fft.irfftn", doc="The inverse of rfftn.")
op("fft_hfftn(Tensor self, int[1]? s=None, int[1]? dim=None, str? norm=None) -> Tensor",
   public="hfftn", family=FFT_DIMS, like="scipy.fft.hfftn",
   doc="The transform over several dimensions, which is real, of a signal given by its half.")
op("fft_ihfftn(Tensor self, int[1]? s=None, int[1]? dim=None, str? norm=None) -> Tensor",
   public="ihfftn", family=FFT_DIMS, like="scipy.fft.ihfftn", doc="The inverse of hfftn.")

op("fft_fftfreq(int n, float d=1.0, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None) -> Tensor",
   variants="function out", module="fft", public="fftfreq", family=FACTORY, rule="fft_freq",
   host_kernel="fft_freq", grad=None, like="numpy.fft.fftfreq",
   doc="The frequencies of the elements of fft's result, for samples d apart.")
op("fft_rfftfreq(int n, float d=1.0, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None) -> Tensor",
   variants="function out", module="fft", public="rfftfreq", family=FACTORY, rule="fft_rfreq",
   host_kernel="fft_freq", grad=None, like="numpy.fft.rfftfreq",
   doc="The frequencies of the elements of rfft's result, for samples d apart.")
op("fft_fftshift(Tensor self, int[1]? dim=None) -> Tensor",
   variants="function", module="fft", public="fftshift", composite="c:fft_shift",
   like="numpy.fft.fftshift", doc="The elements moved so that the frequency 0 is in the middle.")
op("fft_ifftshift(Tensor self, int[1]? dim=None) -> Tensor",
   variants="function", module="fft", public="ifftshift", composite="c:fft_shift",
   like="numpy.fft.ifftshift", doc="The inverse of fftshift.")

op("stft(Tensor self, int n_fft, int? hop_length=None, int? win_length=None, Tensor? window=None, "
   "bool center=True, str pad_mode=\"reflect\", bool normalized=False, bool? onesided=None, "
   "bool? return_complex=None, bool? align_to_window=None) -> Tensor",
   variants="function method", composite="c:stft",
   doc="Transforms of windows that move over a signal: frequencies by windows.")
op("istft(Tensor self, int n_fft, int? hop_length=None, int? win_length=None, Tensor? window=None, "
   "bool center=True, bool normalized=False, bool? onesided=None, int? length=None, "
   "bool return_complex=False) -> Tensor",
   variants="function method", composite="c:istft",
   doc="The signal whose stft is nearest to the input: the windows, transformed back, are added up.")

family("WINDOW", variants="function", flags="factory", rule="window", host_kernel="window", grad=None)

op("hann_window(int window_length, bool periodic=True, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None) -> Tensor",
   family=WINDOW, doc="The Hann window, periodic or symmetric.")
op("hamming_window(int window_length, bool periodic=True, float alpha=0.54, float beta=0.46, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None) -> Tensor",
   family=WINDOW, doc="alpha - beta cos(2 pi k / n): the Hamming window.")
op("blackman_window(int window_length, bool periodic=True, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None) -> Tensor",
   family=WINDOW, doc="The Blackman window.")
op("bartlett_window(int window_length, bool periodic=True, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None) -> Tensor",
   family=WINDOW, doc="The Bartlett window: a triangle.")
op("kaiser_window(int window_length, bool periodic=True, float beta=12.0, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None) -> Tensor",
   family=WINDOW, doc="The Kaiser window with the shape beta.")
