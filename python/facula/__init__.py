"""facula: tensors, gradients and networks on a core in C, with the interface of torch.

    import facula as torch

What is needed by everybody is here at once. The rest, functions and packages, is imported when it
is first asked for, so that importing facula costs next to nothing.
"""

import sys as _sys
from math import e, inf, nan, pi

from . import _C
from ._C import (
    Generator,
    OutOfMemoryError,
    Size,
    Tensor,
    UntypedStorage,
    as_tensor,
    asarray,
    can_cast,
    default_generator,
    device,
    dtype,
    from_dlpack,
    from_numpy,
    frombuffer,
    get_default_device,
    get_default_dtype,
    get_num_threads,
    get_rng_state,
    initial_seed,
    is_anomaly_check_nan_enabled,
    is_anomaly_enabled,
    is_grad_enabled,
    is_inference_mode_enabled,
    is_tensor,
    layout,
    manual_seed,
    memory_format,
    promote_types,
    result_type,
    scalar_tensor,
    seed,
    set_default_device,
    set_default_dtype,
    set_num_threads,
    set_rng_state,
    tensor,
)
from ._C import __version__ as __version__

TYPE_CHECKING = False  # type checkers take it for True, and the operators from the stub of _C
if TYPE_CHECKING:
    from ._C import *


def _lu(self, pivot=True, get_infos=False):
    """(LU, pivots), and what went wrong with get_infos=True: facula.lu."""
    from .functional import lu

    return lu(self, pivot, get_infos)


Tensor.lu = _lu

newaxis = None

# Dtypes, layouts and memory formats by name, and the operators. From here on `bool`, `float`,
# `int`, `abs`, `sum` and others are facula's in this module.
globals().update(_C._constants)
globals().update(_C._published(""))

# Where names live that are imported when they are first asked for.
_HOMES = {
    "__config__": None,
    "autograd": None,
    "backends": None,
    "cpu": None,
    "fft": None,
    "func": None,
    "functional": None,
    "library": None,
    "linalg": None,
    "nn": None,
    "ops": None,
    "optim": None,
    "overrides": None,
    "profiler": None,
    "random": None,
    "special": None,
    "testing": None,
    "utils": None,
    **dict.fromkeys(("enable_grad", "inference_mode", "no_grad", "set_grad_enabled"), "autograd"),
    **dict.fromkeys(("get_printoptions", "set_printoptions"), "_tensor_str"),
    **dict.fromkeys(("finfo", "iinfo"), "_limits"),
    "vmap": "func",
    **dict.fromkeys(
        (
            "atleast_1d",
            "atleast_2d",
            "atleast_3d",
            "block_diag",
            "broadcast_shapes",
            "broadcast_tensors",
            "cartesian_prod",
            "einsum",
            "is_complex",
            "is_conj",
            "is_floating_point",
            "is_inference",
            "is_neg",
            "is_nonzero",
            "is_same_size",
            "is_signed",
            "is_storage",
            "lu",
            "meshgrid",
            "nonzero",
            "norm",
            "numel",
            "pca_lowrank",
            "svd_lowrank",
            "tensordot",
            "typename",
            "vander",
        ),
        "functional",
    ),
}

for _name in _HOMES:  # what Python adds to an operator of that name counts
    globals().pop(_name, None)

# Parts of the interface that are planned.
_PLANNED = {"amp", "compile", "compiler", "cuda", "distributed", "distributions", "export"}
_PLANNED |= {"fx", "hub", "jit", "load", "masked", "multiprocessing", "nested", "onnx"}
_PLANNED |= {"package", "save", "serialization", "signal", "sparse"}


def __getattr__(name):
    if name in _HOMES:
        home = _HOMES[name]
        path = f"{__name__}.{home or name}"
        __import__(path)
        value = _sys.modules[path] if home is None else getattr(_sys.modules[path], name)
        globals()[name] = value
        return value
    if name in _PLANNED:
        raise AttributeError(f"{__name__}.{name} is not there yet")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *_HOMES})
