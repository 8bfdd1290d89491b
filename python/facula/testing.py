"""Helpers for tests: assert_close, make_tensor."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from . import (
    as_tensor,
    promote_types,
    rand,
    randint,
    where,
)
from . import (
    bool as bool_,
)
from . import (
    complex as complex_,
)
from ._C import Tensor, _constants

# rtol and atol that suit the precision of a dtype; all others compare exactly.
_TOLERANCES = {
    "float16": (1e-3, 1e-5),
    "bfloat16": (1.6e-2, 1e-5),
    "float32": (1.3e-6, 1e-5),
    "float64": (1e-7, 1e-7),
    "complex32": (1e-3, 1e-5),
    "complex64": (1.3e-6, 1e-5),
    "complex128": (1e-7, 1e-7),
}


def _tolerances(dtypes, rtol, atol):
    if (rtol is None) != (atol is None):
        raise ValueError("rtol and atol must both be specified or both be unspecified")
    if rtol is not None:
        return rtol, atol
    known = [_TOLERANCES.get(str(dtype).rpartition(".")[2], (0.0, 0.0)) for dtype in dtypes]
    return max(r for r, _ in known), max(a for _, a in known)


def assert_close(
    actual,
    expected,
    *,
    allow_subclasses: bool = True,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_device: bool = True,
    check_dtype: bool = True,
    check_layout: bool = True,
    check_stride: bool = False,
    msg: str | Callable[[str], str] | None = None,
) -> None:
    """Raises an AssertionError unless |actual - expected| <= atol + rtol * |expected|.

    Takes tensors, numbers, and sequences and mappings of them. Without tolerances they follow from
    the dtype.
    """
    checks = {"device": check_device, "dtype": check_dtype, "layout": check_layout}
    checks["stride"] = check_stride

    def fail(text, where):
        text = f"{text}\n\nThe failure occurred for item {where}" if where else text
        raise AssertionError(msg(text) if callable(msg) else msg or text)

    def compare(a, b, where):
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            if a.keys() != b.keys():
                fail(f"The keys of the mappings do not match: {list(a)} != {list(b)}", where)
            for key in a:
                compare(a[key], b[key], f"{where}[{key!r}]")
        elif _is_sequence(a) and _is_sequence(b):
            if len(a) != len(b):
                fail(f"The length of the sequences mismatch: {len(a)} != {len(b)}", where)
            for i in range(len(a)):
                compare(a[i], b[i], f"{where}[{i}]")
        elif a is None or b is None or isinstance(a, str) or isinstance(b, str):
            if a != b:
                fail(f"{a!r} does not equal {b!r}", where)
        else:
            if not allow_subclasses and type(a) is not type(b):
                fail(f"The types do not match: {type(a)} != {type(b)}", where)
            tensors = isinstance(a, Tensor) or isinstance(b, Tensor)
            problem = _difference(
                as_tensor(a), as_tensor(b), rtol, atol, equal_nan, checks if tensors else {}
            )
            if problem:
                fail(problem, where)

    compare(actual, expected, "")


def _is_sequence(value) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _difference(a: Tensor, b: Tensor, rtol, atol, equal_nan, checks) -> str | None:
    """What is wrong with a as b, or None."""
    if a.shape != b.shape:
        return f"The values for attribute 'shape' do not match: {a.shape} != {b.shape}."
    for name, wanted in checks.items():
        ours, theirs = (t.stride() if name == "stride" else getattr(t, name) for t in (a, b))
        if wanted and ours != theirs:
            return f"The values for attribute '{name}' do not match: {ours} != {theirs}."
    rtol, atol = _tolerances((a.dtype, b.dtype), rtol, atol)
    common = promote_types(a.dtype, b.dtype)
    a, b = a.detach().to(common), b.detach().to(common)
    if common.is_floating_point and common.itemsize < 4:
        a, b = a.float(), b.float()
    close = a.isclose(b, rtol=rtol, atol=atol, equal_nan=equal_nan)
    if bool(close.all()):
        return None
    if common == bool_:
        a, b = a.int(), b.int()
    elif not (common.is_floating_point or common.is_complex):
        a, b = a.double(), b.double()
    absolute = (a - b).abs()
    absolute = where(close, 0.0, absolute)
    relative = absolute / b.abs()
    relative = where(close, 0.0, relative)
    wrong = int((~close).sum())
    if a.dim() == 0:
        return (
            f"Scalars are not close!\n\nExpected {b.item()} but got {a.item()}.\n"
            f"Absolute difference: {absolute.item()} (up to {atol} allowed)\n"
            f"Relative difference: {relative.item()} (up to {rtol} allowed)"
        )
    return (
        f"Tensor-likes are not {'close' if rtol or atol else 'equal'}!\n\n"
        f"Mismatched elements: {wrong} / {a.numel()} ({100 * wrong / a.numel():.1f}%)\n"
        f"Greatest absolute difference: {absolute.max().item()} at index {_where_max(absolute)} "
        f"(up to {atol} allowed)\n"
        f"Greatest relative difference: {relative.max().item()} at index {_where_max(relative)} "
        f"(up to {rtol} allowed)"
    )


def _where_max(t: Tensor) -> tuple[int, ...]:
    flat, index = int(t.argmax()), []
    for size in reversed(t.shape):
        flat, i = divmod(flat, size)
        index.append(i)
    return tuple(reversed(index))


def make_tensor(
    *shape,
    dtype,
    device,
    low: float | None = None,
    high: float | None = None,
    requires_grad: bool = False,
    noncontiguous: bool = False,
    exclude_zero: bool = False,
    memory_format=None,
) -> Tensor:
    """A tensor of random numbers from [low, high); by default [-9, 9) or what the dtype holds."""
    shape = tuple(shape[0]) if len(shape) == 1 and not isinstance(shape[0], int) else shape
    full = (*shape[:-1], 2 * shape[-1]) if noncontiguous and shape else shape
    integral = not (dtype.is_floating_point or dtype.is_complex)
    if low is None:
        low = 0 if dtype in (bool_, _constants["uint8"]) else -9
    if high is None:
        high = 2 if dtype == bool_ else 10 if integral else 9
    if low >= high:
        raise ValueError(f"make_tensor() takes low < high, got {low} and {high}")
    if integral:
        result = randint(math.ceil(low), math.ceil(high), full, device=device).to(dtype)
    elif dtype.is_complex:
        parts = [rand(full, device=device) for _ in range(2)]
        result = complex_(*(part * (high - low) + low for part in parts)).to(dtype)
    else:
        result = (rand(full, device=device) * (high - low) + low).to(dtype)
    if exclude_zero:
        result = where(result == 0, 1, result)
    if noncontiguous and shape:
        result = result[..., ::2]
    elif memory_format is not None:
        result = result.contiguous(memory_format=memory_format)
    return result.requires_grad_(requires_grad)
