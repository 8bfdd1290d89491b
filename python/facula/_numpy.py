"""NumPy's protocols, the parts that need not be fast: __array__, ufuncs, NumPy's functions, and
arrays whose dtype the buffer protocol has no word for.

NumPy is imported here, and this module only when an array is at hand or asked for.
"""

import numpy as np

from . import _C

_SUPPORTED = (
    "float64, float32, float16, complex64, complex128, int64, int32, int16, int8, uint64, uint32, "
    "uint16, uint8, and bool"
)

# Extension dtypes (ml_dtypes) by name: the integer dtype that has their bits.
_BY_BITS = {
    "bfloat16": "uint16",
    "float8_e4m3fn": "uint8",
    "float8_e5m2": "uint8",
    "float8_e4m3fnuz": "uint8",
    "float8_e5m2fnuz": "uint8",
}


def share(array):
    """A tensor over the memory of an array (or of what gives one) that C could not share."""
    if not isinstance(array, (np.ndarray, np.generic)):
        return _C.as_tensor(np.asarray(array))
    dtype = array.dtype
    if dtype.name in _BY_BITS:
        bits = np.asarray(array).view(_BY_BITS[dtype.name])
        return _C.from_numpy(bits).view(_C._constants[dtype.name])
    if not dtype.isnative:
        raise ValueError(
            "given numpy array has byte order different from the native byte order. Swap it with "
            "array.astype(array.dtype.newbyteorder('='))."
        )
    if dtype.kind == "O":
        hint = " An array of objects becomes one of numbers by array.astype(float)."
    elif dtype.kind in "mM":
        hint = " Times become numbers by array.astype('int64')."
    elif dtype.kind == "g" or dtype.name in ("longdouble", "float128", "clongdouble", "complex256"):
        hint = " Extended precision is given up by array.astype('float64') or 'complex128'."
    elif dtype.kind in "?biufc":
        raise ValueError(
            "given numpy array strides or address not a multiple of the element byte size. Copy "
            "the array with array.copy()."
        )
    else:
        hint = ""
    raise TypeError(
        f"can't convert {type(array).__module__.split('.')[0]}.{type(array).__name__} of type "
        f"numpy.{dtype.type.__name__}. The only supported types are: {_SUPPORTED}.{hint}"
    )


def array(tensor, dtype=None, copy=None):
    """Tensor.__array__"""
    result = tensor.numpy()
    if dtype is not None and result.dtype != np.dtype(dtype):
        if copy is False:
            raise ValueError(f"a conversion from {result.dtype} to {np.dtype(dtype)} needs a copy")
        return result.astype(dtype)
    return result.copy() if copy else result


# --- ufuncs ----

# NumPy's names of ufuncs where ours differ.
_UFUNCS = {
    "degrees": "rad2deg",
    "radians": "deg2rad",
    "invert": "bitwise_not",
    "left_shift": "bitwise_left_shift",
    "right_shift": "bitwise_right_shift",
    "rint": "round",
    "fabs": "abs",
    "conjugate": "conj_physical",
    "power": "pow",
}


def _as_tensor(value):
    """Arrays become tensors; everything else stays."""
    return _C.as_tensor(value) if isinstance(value, (np.ndarray, np.generic)) else value


def _as_array(value):
    """Tensors become arrays, inside lists and tuples too; everything else stays."""
    if isinstance(value, _C.Tensor):
        return value.numpy()
    if type(value) in (list, tuple):
        return type(value)(_as_array(item) for item in value)
    return value


def _ours(name):
    import facula

    function = getattr(facula, name, None)
    return function if callable(function) else None


def array_ufunc(tensor, ufunc, method, *inputs, **kwargs):
    """Tensor.__array_ufunc__: a row of the same name, else the ufunc on arrays; gives tensors."""
    function = _ours(_UFUNCS.get(ufunc.__name__, ufunc.__name__))
    if method == "__call__" and not kwargs and function is not None:
        return function(*(_as_tensor(value) for value in inputs))
    out = kwargs.get("out")
    if out is not None:
        kwargs["out"] = _as_array(out)
    result = getattr(ufunc, method)(*(_as_array(value) for value in inputs), **kwargs)
    if out is not None:
        return out[0] if len(out) == 1 else out
    if isinstance(result, tuple):
        return tuple(_as_tensor(value) for value in result)
    return _as_tensor(result)


# --- functions ----

# Reductions that mean the same here, and what they are called.
_REDUCTIONS = {
    "all": "all",
    "amax": "amax",
    "amin": "amin",
    "any": "any",
    "argmax": "argmax",
    "argmin": "argmin",
    "max": "amax",
    "mean": "mean",
    "min": "amin",
    "nansum": "nansum",
    "prod": "prod",
    "std": "std",
    "sum": "sum",
    "var": "var",
}
_SEVERAL_AXES = {"amax", "amin", "mean", "std", "sum", "var"}


def _reduce(name, tensor, axis=None, *, keepdims=False, ddof=None):
    """The reduction, or NotImplemented where it cannot be said with our arguments."""
    several = isinstance(axis, tuple)
    if several and name not in _SEVERAL_AXES:
        return NotImplemented
    if name in ("mean", "std", "var") and not (tensor.is_floating_point() or tensor.is_complex()):
        tensor = tensor.double()
    arguments = {}
    if name in ("std", "var"):
        arguments["correction"] = 0 if ddof is None else ddof
    elif ddof is not None:
        return NotImplemented
    if axis is not None:
        arguments["dim"] = axis
    if keepdims:
        arguments["keepdim"] = True
        arguments.setdefault("dim", tuple(range(tensor.dim())) if name in _SEVERAL_AXES else None)
        if arguments["dim"] is None:
            return NotImplemented
    return _ours(name)(tensor, **arguments)


def array_function(tensor, function, types, args, kwargs):
    """Tensor.__array_function__: reductions give tensors, all other functions work on arrays."""
    if not all(issubclass(kind, (_C.Tensor, np.ndarray)) for kind in types):
        return NotImplemented
    name = function.__name__
    known = {"axis", "keepdims", "ddof"}
    if (
        function.__module__ == "numpy"
        and name in _REDUCTIONS
        and len(args) in (1, 2)
        and isinstance(args[0], _C.Tensor)
        and set(kwargs) <= known
    ):
        result = _reduce(_REDUCTIONS[name], *args, **kwargs)
        if result is not NotImplemented:
            return result
    kwargs = {key: _as_array(value) for key, value in kwargs.items()}
    return function(*(_as_array(value) for value in args), **kwargs)
