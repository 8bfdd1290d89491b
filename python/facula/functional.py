"""Functions that are more than one operator, or whose arguments are."""

from __future__ import annotations

from . import _C
from ._C import Size, Tensor

_ops = _C._functions


def _is_list(values) -> bool:
    return len(values) == 1 and isinstance(values[0], (list, tuple))


def _unpacked(values) -> list:
    """f(a, b) and f([a, b]) are the same."""
    return list(values[0] if _is_list(values) else values)


# --- questions ------------------------------------------------------------------------------------


def is_floating_point(input: Tensor) -> bool:
    """Whether the dtype is a floating one."""
    return input.is_floating_point()


def is_complex(input: Tensor) -> bool:
    """Whether the dtype is a complex one."""
    return input.is_complex()


def is_signed(input: Tensor) -> bool:
    """Whether the dtype holds negative numbers."""
    return input.is_signed()


def is_conj(input: Tensor) -> bool:
    """Whether it is to be conjugated when it is read."""
    return input.is_conj()


def is_neg(input: Tensor) -> bool:
    """Whether it is to be negated when it is read."""
    return input.is_neg()


def is_inference(input: Tensor) -> bool:
    """Whether it was made in inference mode."""
    return input.is_inference()


def is_nonzero(input: Tensor) -> bool:
    """Whether its one element is not 0."""
    return input.is_nonzero()


def is_same_size(input: Tensor, other: Tensor) -> bool:
    """Whether two shapes are equal."""
    return input.shape == other.shape


def is_storage(obj) -> bool:
    """Whether obj is a storage."""
    return isinstance(obj, _C.UntypedStorage)


def numel(input: Tensor) -> int:
    """The number of elements."""
    return input.numel()


def typename(obj) -> str:
    """The name of the type, with that of its module."""
    if isinstance(obj, Tensor):
        return obj.type()
    kind = obj if hasattr(obj, "__qualname__") else type(obj)
    module = getattr(kind, "__module__", "")
    return kind.__qualname__ if module in ("", "builtins") else f"{module}.{kind.__qualname__}"


# --- shapes ---------------------------------------------------------------------------------------


def broadcast_shapes(*shapes) -> Size:
    """The shape of arithmetic on tensors of these shapes."""
    shapes = [(shape,) if isinstance(shape, int) else tuple(shape) for shape in shapes]
    result = [1] * max(map(len, shapes), default=0)
    for shape in shapes:
        for i, size in enumerate(reversed(shape), 1):
            if size < 0:
                raise RuntimeError(f"a size cannot be negative, got {size} in {shape}")
            if size != 1:
                if result[-i] not in (1, size):
                    raise RuntimeError(
                        "Shape mismatch: objects cannot be broadcast to a single shape: "
                        + ", ".join(map(str, shapes))
                    )
                result[-i] = size
    return Size(result)


def broadcast_tensors(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors expanded to a common shape."""
    return tuple(_ops["broadcast_tensors"](_unpacked(tensors)))


def meshgrid(*tensors: Tensor, indexing: str = "ij") -> tuple[Tensor, ...]:
    """The coordinates of a grid from those of its axes."""
    return tuple(_ops["meshgrid"](_unpacked(tensors), indexing=indexing))


def cartesian_prod(*tensors: Tensor) -> Tensor:
    """All combinations of one element of each tensor, a row each."""
    if len(tensors) == 1:
        return tensors[0]
    return _ops["stack"]([grid.reshape(-1) for grid in meshgrid(*tensors)], 1)


def _atleast(n):
    operator = _ops[f"atleast_{n}d"]

    def atleast(*tensors):
        values = _unpacked(tensors)
        results = tuple(operator(value) for value in values)
        return results[0] if len(tensors) == 1 and not _is_list(tensors) else results

    atleast.__name__ = atleast.__qualname__ = f"atleast_{n}d"
    atleast.__doc__ = f"Each tensor with at least {n} dimensions."
    return atleast


atleast_1d, atleast_2d, atleast_3d = _atleast(1), _atleast(2), _atleast(3)


def block_diag(*tensors: Tensor) -> Tensor:
    """A matrix with the given ones along its diagonal."""
    blocks = [atleast_2d(block) for block in _unpacked(tensors)]
    total, rows, before = sum(block.shape[1] for block in blocks), [], 0
    for block in blocks:
        height, width = block.shape
        sides = block.new_zeros(height, before), block.new_zeros(height, total - before - width)
        rows.append(_ops["cat"]([sides[0], block, sides[1]], 1))
        before += width
    return _ops["cat"](rows, 0)


def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """The matrix of powers of a vector."""
    if x.dim() != 1:
        raise RuntimeError(f"vander() takes a vector, got a shape of {tuple(x.shape)}")
    count = x.shape[0] if N is None else N
    powers = [x**i for i in range(count)]
    if not powers:
        return x.new_empty(x.shape[0], 0)
    return _ops["stack"](powers if increasing else powers[::-1], -1)


# --- products -------------------------------------------------------------------------------------


def einsum(*args) -> Tensor:
    """Sums of products by Einstein's convention: "ij,jk->ik", or sublists of dimensions."""
    if not args:
        raise ValueError("einsum(): takes an equation and at least one tensor")
    equation, *operands = args
    if isinstance(equation, Tensor):
        equation, operands = _equation_of_sublists(args)
    return _ops["einsum"](equation, _unpacked(operands))


def _equation_of_sublists(args) -> tuple[str, list]:
    """einsum(a, [0, 1], b, [1, 2], [0, 2]) as an equation."""
    if len(args) < 2:
        raise ValueError("einsum(): a tensor must be followed by the list of its dimensions")

    def letters(sublist):
        return "".join("..." if d is Ellipsis else _letter(d) for d in sublist)

    count = len(args) // 2
    equation = ",".join(letters(args[2 * i + 1]) for i in range(count))
    if len(args) % 2:
        equation += "->" + letters(args[-1])
    return equation, [args[2 * i] for i in range(count)]


def _letter(dim: int) -> str:
    if not 0 <= dim < 52:
        raise ValueError(f"einsum(): a dimension in a sublist is from 0 to 51, got {dim}")
    return chr(dim + (ord("A") if dim < 26 else ord("a") - 26))


def tensordot(a: Tensor, b: Tensor, dims=2, out: Tensor | None = None) -> Tensor:
    """The sum of products over some dimensions of both."""
    if isinstance(dims, Tensor):
        dims = dims.tolist()
    if isinstance(dims, int):
        if dims < 0:
            raise RuntimeError(f"tensordot expects dims >= 0, but got dims={dims}")
        if dims > min(a.dim(), b.dim()):
            raise RuntimeError(f"tensordot expects dims < ndim_a or ndim_b, but got dims={dims}")
        dims_a, dims_b = list(range(a.dim() - dims, a.dim())), list(range(dims))
    else:
        dims_a, dims_b = ([d] if isinstance(d, int) else list(d) for d in dims)
    result = _ops["tensordot"](a, b, dims_a, dims_b)
    return result if out is None else out.resize_(result.shape).copy_(result)


# --- factorizations -------------------------------------------------------------------------------


def lu(A: Tensor, pivot: bool = True, get_infos: bool = False, out=None):  # noqa: N803
    """(LU, pivots) as linalg.lu_factor gives; with get_infos those of lu_factor_ex, unchecked."""
    factor = _ops["linalg_lu_factor_ex" if get_infos else "linalg_lu_factor"]
    return factor(A, pivot=pivot, out=out)


def svd_lowrank(
    A: Tensor,  # noqa: N803
    q: int | None = 6,
    niter: int | None = 2,
    M: Tensor | None = None,  # noqa: N803
) -> tuple[Tensor, Tensor, Tensor]:
    """U, S and V such that A - M is near U diag(S) V^H, of rank q.

    The range of A is found by random vectors, which `niter` products with A and A^H turn to the
    largest singular values.
    """
    q, niter = 6 if q is None else q, 2 if niter is None else niter
    if M is not None:
        A = A - M  # noqa: N806
    wide = A.shape[-2] < A.shape[-1]
    tall = A.mH if wide else A
    vectors = _ops["randn"](tall.shape[-1], q, dtype=A.dtype, device=A.device)
    basis = _ops["linalg_qr"](tall @ vectors)[0]
    for _ in range(niter):
        basis = _ops["linalg_qr"](tall.mH @ basis)[0]
        basis = _ops["linalg_qr"](tall @ basis)[0]
    left, values, right = _ops["linalg_svd"](basis.mH @ tall, full_matrices=False)
    left, right = basis @ left, right.mH
    return (right, values, left) if wide else (left, values, right)


def pca_lowrank(
    A: Tensor,  # noqa: N803
    q: int | None = None,
    center: bool = True,
    niter: int = 2,
) -> tuple[Tensor, Tensor, Tensor]:
    """The first q principal components of the rows of A: svd_lowrank of A less its mean row."""
    least = min(A.shape[-2:])
    q = min(6, least) if q is None else q
    if not 0 <= q <= least:
        raise ValueError(f"q(={q}) must be from 0 to the lesser side of the matrix, {least}")
    if niter < 0:
        raise ValueError(f"niter(={niter}) must not be negative")
    return svd_lowrank(A, q, niter, A.mean(-2, True) if center else None)


# --- norms ----------------------------------------------------------------------------------------


def norm(input: Tensor, p="fro", dim=None, keepdim=False, out=None, dtype=None) -> Tensor:
    """The norm of order p over some dimensions; of a whole tensor that of its elements."""
    if p == "fro" and (dim is None or isinstance(dim, int) or len(dim) <= 2):
        p = 2.0
    elif isinstance(p, str):
        if p != "nuc":
            raise RuntimeError(f"only valid string values are 'fro' and 'nuc', found {p}")
        return _ops["norm"](input, p, dim, keepdim, dtype=dtype, out=out)
    p = 2.0 if p is None else p
    return _ops["linalg_vector_norm"](input, p, dim, keepdim, dtype=dtype, out=out)


def nonzero(input: Tensor, *, out: Tensor | None = None, as_tuple: bool = False):
    """The positions of the elements that are not zero: a matrix, or a tensor a dimension."""
    if as_tuple:
        return _ops["nonzero"](input, as_tuple=True)
    return _ops["nonzero"](input, out=out)
