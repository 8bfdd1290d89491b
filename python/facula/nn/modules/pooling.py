"""Pooling."""

from ... import _C
from .. import functional as F
from .module import Module


class _MaxPoolNd(Module):
    def __init__(
        self,
        kernel_size,
        stride=None,
        padding=0,
        dilation=1,
        return_indices=False,
        ceil_mode=False,
    ):
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def extra_repr(self):
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


_MAX_POOL = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")


class MaxPool1d(_MaxPoolNd):
    """The largest element of each window of (N, C, L) or (C, L)."""

    forward = _C.Forward(F.max_pool1d, ("input",), _MAX_POOL)


class MaxPool2d(_MaxPoolNd):
    """The largest element of each window of (N, C, H, W) or (C, H, W)."""

    forward = _C.Forward(F.max_pool2d, ("input",), _MAX_POOL)


class MaxPool3d(_MaxPoolNd):
    """The largest element of each window of (N, C, D, H, W) or (C, D, H, W)."""

    forward = _C.Forward(F.max_pool3d, ("input",), _MAX_POOL)


class _AvgPoolNd(Module):
    def __init__(
        self,
        kernel_size,
        stride=None,
        padding=0,
        ceil_mode=False,
        count_include_pad=True,
        divisor_override=None,
    ):
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def extra_repr(self):
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


_AVG_POOL = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad")


class AvgPool1d(_AvgPoolNd):
    """The mean of each window of (N, C, L) or (C, L)."""

    def __init__(
        self, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True
    ):
        super().__init__(kernel_size, stride, padding, ceil_mode, count_include_pad)

    forward = _C.Forward(F.avg_pool1d, ("input",), _AVG_POOL)


class AvgPool2d(_AvgPoolNd):
    """The mean of each window of (N, C, H, W) or (C, H, W)."""

    forward = _C.Forward(F.avg_pool2d, ("input",), (*_AVG_POOL, "divisor_override"))


class AvgPool3d(_AvgPoolNd):
    """The mean of each window of (N, C, D, H, W) or (C, D, H, W)."""

    forward = _C.Forward(F.avg_pool3d, ("input",), (*_AVG_POOL, "divisor_override"))


class _AdaptiveAvgPoolNd(Module):
    def __init__(self, output_size):
        super().__init__()
        self.output_size = output_size

    def extra_repr(self):
        return f"output_size={self.output_size}"

    def _sizes(self, input, dims):
        """The output size of each dimension; None stands for that of the input."""
        if not isinstance(self.output_size, (tuple, list)):
            return [self.output_size] * dims
        own = input.shape[-dims:]
        return [own[i] if size is None else size for i, size in enumerate(self.output_size)]


class AdaptiveAvgPool1d(_AdaptiveAvgPoolNd):
    """Means of windows that divide the length into output_size parts."""

    def forward(self, input):
        return F.adaptive_avg_pool1d(input, self._sizes(input, 1))


class AdaptiveAvgPool2d(_AdaptiveAvgPoolNd):
    """Means of windows that divide the plane into output_size parts."""

    def forward(self, input):
        return F.adaptive_avg_pool2d(input, self._sizes(input, 2))


class AdaptiveAvgPool3d(_AdaptiveAvgPoolNd):
    """Means of windows that divide the volume into output_size parts."""

    def forward(self, input):
        return F.adaptive_avg_pool3d(input, self._sizes(input, 3))


class _AdaptiveMaxPoolNd(_AdaptiveAvgPoolNd):
    def __init__(self, output_size, return_indices=False):
        super().__init__(output_size)
        self.return_indices = return_indices


class AdaptiveMaxPool1d(_AdaptiveMaxPoolNd):
    """Maxima of windows that divide the length into output_size parts."""

    def forward(self, input):
        return F.adaptive_max_pool1d(input, self._sizes(input, 1), self.return_indices)


class AdaptiveMaxPool2d(_AdaptiveMaxPoolNd):
    """Maxima of windows that divide the plane into output_size parts."""

    def forward(self, input):
        return F.adaptive_max_pool2d(input, self._sizes(input, 2), self.return_indices)


class AdaptiveMaxPool3d(_AdaptiveMaxPoolNd):
    """Maxima of windows that divide the volume into output_size parts."""

    def forward(self, input):
        return F.adaptive_max_pool3d(input, self._sizes(input, 3), self.return_indices)
