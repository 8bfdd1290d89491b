"""vmap: a function of examples becomes one of batches."""

from functools import wraps

from .. import _C, Tensor, cat
from ..utils._pytree import _broadcast_to_and_flatten, tree_flatten, tree_unflatten
from ._level import BATCH, Level, name_of

RANDOMNESS = {"error": 0, "same": 1, "different": 2}  # as levels of batches take it


def vmap(func, in_dims=0, out_dims=0, randomness="error", *, chunk_size=None):
    """`func` over a batch: it sees one example, all are computed at once.

    in_dims: along which dimension the batch lies in each argument, None where there is none; an int
    for all, or a nesting as that of the arguments. out_dims: the same for what `func` returns.
    randomness: whether random operators in `func` raise ("error"), draw once for all ("same"), or
    for each ("different"). chunk_size: how many examples are computed at once; all unless given.
    """
    if randomness not in RANDOMNESS:
        raise RuntimeError(
            f"vmap: randomness is 'error', 'same' or 'different', not {randomness!r}"
        )
    if chunk_size is not None and not (chunk_size == float("inf") or chunk_size > 0):
        raise ValueError(f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})")

    @wraps(func)
    def batched(*args, **kwargs):
        dims, leaves, spec = _flat_dims(in_dims, args, func)
        size = _batch_size(dims, leaves, func)
        if chunk_size is None or chunk_size >= size:
            return _run(func, dims, leaves, spec, out_dims, randomness, size, kwargs)
        return _run_chunks(
            func, dims, leaves, spec, out_dims, randomness, size, int(chunk_size), kwargs
        )

    return batched


# --- arguments


def _flat_dims(in_dims, args, func):
    """The dimension of each leaf of the arguments, the leaves, and their structure."""
    if not isinstance(in_dims, (int, tuple, list)):
        raise ValueError(
            f"vmap({name_of(func)}, in_dims={in_dims}, ...)(<inputs>): in_dims is an int or a "
            f"tuple with an entry for each argument, not {type(in_dims).__name__}"
        )
    if not args:
        raise ValueError(
            f"vmap({name_of(func)})(<inputs>): got no inputs. Maybe you forgot to add inputs, or "
            "you are trying to vmap over a function with no inputs; a batch needs at least one."
        )
    leaves, spec = tree_flatten(args)
    in_dims = tuple(in_dims) if isinstance(in_dims, list) else in_dims
    dims = _broadcast_to_and_flatten(in_dims, spec)
    if dims is None:
        raise ValueError(
            f"vmap({name_of(func)}, in_dims={in_dims}, ...)(<inputs>): in_dims is not nested as "
            f"the inputs are, whose structure is {spec}"
        )
    for i, (dim, leaf) in enumerate(zip(dims, leaves)):
        if dim is None:
            continue
        where = f"vmap({name_of(func)}, in_dims={in_dims}, ...)(<inputs>)"
        if not isinstance(dim, int):
            raise ValueError(f"{where}: got in_dim={dim!r}, which is neither an int nor None")
        if not isinstance(leaf, Tensor):
            raise ValueError(
                f"{where}: got in_dim={dim} for an input of type {type(leaf).__name__}, which has "
                "no dimensions: use None for it"
            )
        if not -leaf.ndim <= dim < leaf.ndim:
            raise ValueError(
                f"{where}: got in_dim={dim} for a tensor of {leaf.ndim} dimensions, which has "
                f"those from {-leaf.ndim} to {leaf.ndim - 1}"
            )
        dims[i] = dim % leaf.ndim
    return dims, leaves, spec


def _batch_size(dims, leaves, func):
    sizes = [leaf.shape[dim] for dim, leaf in zip(dims, leaves) if dim is not None]
    if not sizes:
        raise ValueError(
            f"vmap({name_of(func)})(<inputs>): at least one input needs a batch, all in_dims are "
            "None"
        )
    if any(size != sizes[0] for size in sizes):
        raise ValueError(
            f"vmap: Expected all tensors to have the same size in the mapped dimension, got sizes "
            f"{sizes} for the mapped dimension"
        )
    return sizes[0]


# --- results


def _flat_out_dims(out_dims, spec, leaves, func):
    if isinstance(out_dims, int) or out_dims is None:
        return [out_dims] * len(leaves)
    if isinstance(out_dims, list):
        out_dims = tuple(out_dims)
    if spec.is_leaf() and isinstance(out_dims, tuple) and len(out_dims) == 1:
        out_dims = out_dims[0]
    dims = _broadcast_to_and_flatten(out_dims, spec)
    if dims is None:
        raise ValueError(
            f"vmap({name_of(func)}, ..., out_dims={out_dims})(<inputs>): out_dims is not nested as "
            f"the outputs are, whose structure is {spec}"
        )
    return dims


def _unbatched(leaf, dim, level, func):
    if not isinstance(leaf, Tensor):
        raise ValueError(
            f"vmap({name_of(func)}, ...): `{name_of(func)}` must only return Tensors, got type "
            f"{type(leaf)}. Did you mean to set out_dims= to None for output?"
        )
    if dim is None:
        if _C._in_batch(leaf, level):
            raise ValueError(
                f"vmap({name_of(func)}, ...): `{name_of(func)}` can not return a batched tensor "
                "where out_dims is None"
            )
        return leaf
    if not -leaf.ndim - 1 <= dim <= leaf.ndim:
        raise IndexError(
            f"vmap({name_of(func)}, ...): out_dims={dim} for an output of {leaf.ndim} dimensions, "
            f"to which the batch can be added from {-leaf.ndim - 1} to {leaf.ndim}"
        )
    return _C._unbatch(leaf, dim % (leaf.ndim + 1), level)


def _run_flat(func, dims, leaves, spec, out_dims, randomness, size, kwargs):
    """The batched results as a list, their dims, and their structure."""
    with Level(BATCH, size, RANDOMNESS[randomness]) as level:
        inside = [
            leaf if dim is None else _C._batch(leaf, dim, level) for dim, leaf in zip(dims, leaves)
        ]
        outputs, out_spec = tree_flatten(func(*tree_unflatten(inside, spec), **kwargs))
        flat = _flat_out_dims(out_dims, out_spec, outputs, func)
        results = [_unbatched(leaf, dim, level, func) for leaf, dim in zip(outputs, flat)]
    return results, flat, out_spec


def _run(*arguments):
    results, _, spec = _run_flat(*arguments)
    return tree_unflatten(results, spec)


def _run_chunks(func, dims, leaves, spec, out_dims, randomness, size, chunk_size, kwargs):
    chunks = []
    for start in range(0, size, chunk_size):
        length = min(chunk_size, size - start)
        part = [
            leaf if dim is None else leaf.narrow(dim, start, length)
            for dim, leaf in zip(dims, leaves)
        ]
        chunks.append(_run_flat(func, dims, part, spec, out_dims, randomness, length, kwargs))
    flat, out_spec = chunks[0][1:]
    joined = [
        parts[0] if dim is None else cat(parts, dim)
        for dim, *parts in zip(flat, *(results for results, _, _ in chunks))
    ]
    return tree_unflatten(joined, out_spec)
