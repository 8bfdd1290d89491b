"""finfo and iinfo: the limits of dtypes."""

from . import _C

_types = _C._constants

# dtype: bits of the exponent, bits of the fraction.
_FORMATS = {
    "float64": (11, 52),
    "float32": (8, 23),
    "float16": (5, 10),
    "bfloat16": (8, 7),
    "float8_e5m2": (5, 2),
}


class finfo:
    """The limits of a floating dtype; of a complex one those of its parts."""

    def __init__(self, type=None):
        type = _C.get_default_dtype() if type is None else type
        if not isinstance(type, _C.dtype):
            raise TypeError(f"finfo() takes a dtype, not {type!r}")
        if not (type.is_floating_point or type.is_complex):
            raise TypeError(
                f"finfo() requires a floating point input type. Use iinfo to handle '{type}'"
            )
        real = type.to_real()
        self.dtype = str(real).rpartition(".")[2]
        self.bits = 8 * real.itemsize
        if self.dtype == "float8_e4m3fn":  # has no infinities: the highest exponent is in use
            exponent, fraction, self.max = 4, 3, 448.0
        elif self.dtype in _FORMATS:
            exponent, fraction = _FORMATS[self.dtype]
            self.max = (2 - 2.0**-fraction) * 2.0 ** (2 ** (exponent - 1) - 1)
        else:
            raise TypeError(f"finfo() does not know {type}")
        lowest = 2 - 2 ** (exponent - 1)
        self.min = -self.max
        self.eps = 2.0**-fraction
        self.tiny = self.smallest_normal = 2.0**lowest
        self.resolution = 10.0 ** -int(fraction * 0.30103)

    def __eq__(self, other):
        return isinstance(other, finfo) and self.dtype == other.dtype

    def __hash__(self):
        return hash(self.dtype)

    def __repr__(self):
        return (
            f"finfo(resolution={self.resolution:g}, min={self.min:g}, max={self.max:g}, "
            f"eps={self.eps:g}, smallest_normal={self.smallest_normal:g}, tiny={self.tiny:g}, "
            f"dtype={self.dtype})"
        )


class iinfo:
    """The limits of an integer dtype."""

    def __init__(self, type):
        if not isinstance(type, _C.dtype):
            raise TypeError(f"iinfo() takes a dtype, not {type!r}")
        if type.is_floating_point or type.is_complex or type == _types["bool"]:
            raise TypeError(f"iinfo() requires an integer input type. Use finfo to handle '{type}'")
        self.dtype = str(type).rpartition(".")[2]
        self.bits = 8 * type.itemsize
        self.min = -(2 ** (self.bits - 1)) if type.is_signed else 0
        self.max = 2 ** (self.bits - type.is_signed) - 1

    def __eq__(self, other):
        return isinstance(other, iinfo) and self.dtype == other.dtype

    def __hash__(self):
        return hash(self.dtype)

    def __repr__(self):
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"
