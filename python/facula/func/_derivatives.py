"""Derivatives of functions: grad, vjp, jvp, Jacobians, and their linear maps."""

from functools import wraps

from .. import _C, Tensor, is_grad_enabled, zeros_like
from ..utils._pytree import tree_flatten, tree_map, tree_unflatten
from ._level import FORWARD, GRADIENT, Level, name_of, split_aux, tensors_of
from ._vmap import vmap

# --- arguments by number


def _positions(argnums, count, transform):
    """argnums as a tuple of positions among `count` arguments."""
    numbers = argnums if isinstance(argnums, tuple) else (argnums,)
    if not numbers or not all(isinstance(number, int) for number in numbers):
        raise RuntimeError(f"{transform}: argnums is an int or a tuple of ints, not {argnums!r}")
    for number in numbers:
        if not -count <= number < count:
            raise RuntimeError(
                f"{transform}: Got argnum={number}, but only {count} positional inputs"
            )
    positions = tuple(number % count for number in numbers)
    if len(set(positions)) < len(positions):
        raise RuntimeError(f"{transform}: argnums must be unique, got {argnums}")
    return positions


def _replaced(args, positions, new):
    args = list(args)
    for position, value in zip(positions, new):
        args[position] = value
    return args


def _chosen(argnums, args, transform):
    """Positions and tree of the arguments that are differentiated; no tuple for an int argnums."""
    positions = _positions(argnums, len(args), transform)
    picked = tuple(args[position] for position in positions)
    return positions, picked if isinstance(argnums, tuple) else picked[0]


def _function_of_chosen(func, argnums, args, kwargs, transform):
    positions, chosen = _chosen(argnums, args, transform)

    def of_chosen(picked):
        new = picked if isinstance(argnums, tuple) else (picked,)
        return func(*_replaced(args, positions, new), **kwargs)

    return of_chosen, chosen


# --- reverse mode


def _lifted(tree, level, transform):
    leaves, spec = tensors_of(tree, transform, "the arguments to be differentiated", ValueError)
    for leaf in leaves:
        if not (leaf.is_floating_point() or leaf.is_complex()):
            raise RuntimeError(
                f"{transform}: only Tensors of floating point and complex dtype can require "
                f"gradients, not {leaf.dtype}"
            )
    return [_C._lift(leaf, level) for leaf in leaves], spec


def _outside(tree, level):
    """The tree of what a level made, as it is one level further out."""
    return tree_map(lambda leaf: _C._value(leaf, level) if isinstance(leaf, Tensor) else leaf, tree)


def _or_zeros(gradients, inputs):
    return [zeros_like(t) if grad is None else grad for grad, t in zip(gradients, inputs)]


def _gradients(outputs, inputs, cotangents, keep_graph, create_graph):
    """Gradients of those outputs that depend on anything."""
    pairs = [(y, g) for y, g in zip(outputs, cotangents) if y.requires_grad]
    inputs_of_graph = [t for t in inputs if t.requires_grad]
    if not pairs or not inputs_of_graph:
        return [zeros_like(t) for t in inputs]
    roots, seeds = zip(*pairs)
    found = iter(
        _C._run_backward(roots, seeds, keep_graph, create_graph, inputs_of_graph, True, False)
    )
    return _or_zeros([next(found) if t.requires_grad else None for t in inputs], inputs)


def vjp(func, *primals, has_aux=False):
    """(func(*primals), vjp_fn): vjp_fn takes cotangents of the output to those of the primals."""
    with Level(GRADIENT) as level:
        inputs, spec = _lifted(primals, level, "vjp(f, *primals)")
        result = func(*tree_unflatten(inputs, spec))
        aux = None
        if has_aux:
            result, aux = split_aux(result, "vjp(f, *primals)")
        outputs, out_spec = tensors_of(result, "vjp(f, *primals)", "what f returns")
        primals_out = tree_unflatten([_C._value(y, level) for y in outputs], out_spec)
        aux = _outside(aux, level)

    def vjp_fn(cotangents, retain_graph=True, create_graph=None):
        seeds, seed_spec = tree_flatten(cotangents)
        if seed_spec != out_spec:
            raise RuntimeError(
                f"Expected pytree structure of cotangents to be the same as pytree structure of "
                f"outputs to the function. cotangents: {seed_spec}, primal output: {out_spec}"
            )
        create = is_grad_enabled() if create_graph is None else create_graph
        found = _gradients(outputs, inputs, seeds, retain_graph, create)
        return tree_unflatten([_C._value(grad, level) for grad in found], spec)

    return (primals_out, vjp_fn, aux) if has_aux else (primals_out, vjp_fn)


def grad_and_value(func, argnums=0, has_aux=False):
    """A function that returns the gradient of `func`, and its value (with aux: a pair).

    `func` returns a tensor of one element. argnums: the arguments to differentiate, an int or a
    tuple of ints.
    """

    @wraps(func)
    def gradient_and_value(*args, **kwargs):
        positions, chosen = _chosen(argnums, args, f"grad({name_of(func)})")
        with Level(GRADIENT) as level:
            inputs, spec = _lifted(chosen, level, f"grad({name_of(func)})")
            lifted = tree_unflatten(inputs, spec)
            new = lifted if isinstance(argnums, tuple) else (lifted,)
            output = func(*_replaced(args, positions, new), **kwargs)
            aux = None
            if has_aux:
                output, aux = split_aux(output, "grad_and_value(f)(*args)")
            if not isinstance(output, Tensor):
                raise RuntimeError(
                    "grad_and_value(f)(*args): Expected f(*args) to return a tensor, got "
                    f"{type(output)}"
                )
            if output.ndim:
                raise RuntimeError(
                    "grad_and_value(f)(*args): Expected f(*args) to return a scalar tensor, got "
                    f"tensor with {output.ndim} dims. Maybe you wanted to use the vjp or jacrev "
                    "APIs instead?"
                )
            found = _gradients([output], inputs, [None], False, False)
            gradient = tree_unflatten([_C._value(grad, level) for grad in found], spec)
            value = _C._value(output, level)
            aux = _outside(aux, level)
        return gradient, (value, aux) if has_aux else value

    return gradient_and_value


def grad(func, argnums=0, has_aux=False):
    """A function that returns the gradient of `func`; with has_aux=True, (gradient, aux)."""
    both = grad_and_value(func, argnums, has_aux)

    @wraps(func)
    def gradient(*args, **kwargs):
        result, value = both(*args, **kwargs)
        return (result, value[1]) if has_aux else result

    return gradient


# --- forward mode


def _check_tangents(primals, primal_spec, tangents, tangent_spec):
    if primal_spec != tangent_spec:
        raise RuntimeError(
            "jvp(f, primals, tangents): Expected primals and tangents to have the same python "
            f"structure: {primal_spec} and {tangent_spec}"
        )
    for primal, tangent in zip(primals, tangents):
        if primal.shape != tangent.shape:
            raise RuntimeError(
                f"jvp(f, primals, tangents): a tangent of shape {tuple(tangent.shape)} belongs to "
                f"a primal of shape {tuple(primal.shape)}"
            )


def jvp(func, primals, tangents, *, strict=False, has_aux=False):
    """(func(*primals), its derivative in the direction of the tangents)."""
    if not isinstance(primals, tuple) or not primals:
        raise RuntimeError(
            "jvp(f, primals, tangents): Expected primals to be a tuple of at least one argument "
            f"of f, got {type(primals).__name__}"
        )
    flat, spec = tensors_of(primals, "jvp(f, primals, tangents)", "the primals")
    directions, tangent_spec = tensors_of(tangents, "jvp(f, primals, tangents)", "the tangents")
    _check_tangents(flat, spec, directions, tangent_spec)
    with Level(FORWARD) as level:
        duals = [_C._make_dual(x, t, level) for x, t in zip(flat, directions)]
        result = func(*tree_unflatten(duals, spec))
        aux = None
        if has_aux:
            result, aux = split_aux(result, "jvp(f, primals, tangents)")
            aux = _primal_tree(aux, level)
        outputs, out_spec = tensors_of(result, "jvp(f, primals, tangents)", "what f returns")
        pairs = [_C._unpack_dual(y, level) for y in outputs]
    if strict and any(tangent is None for _, tangent in pairs):
        raise RuntimeError(
            "jvp(f, primals, tangents, strict=True): an output of f does not depend on the primals"
        )
    values = [primal for primal, _ in pairs]
    derivatives = [zeros_like(primal) if tangent is None else tangent for primal, tangent in pairs]
    both = tree_unflatten(values, out_spec), tree_unflatten(derivatives, out_spec)
    return (*both, aux) if has_aux else both


def _primal_tree(tree, level):
    return tree_map(lambda x: _C._unpack_dual(x, level)[0] if isinstance(x, Tensor) else x, tree)


def linearize(func, *primals):
    """(func(*primals), jvp_fn): jvp_fn takes tangents to the derivative in their direction.

    `func` runs once; jvp_fn runs the transpose of its transpose.
    """
    output, pull = vjp(func, *primals)
    flat, spec = tensors_of(primals, "linearize(f, *primals)", "the primals")
    _, push = vjp(lambda g: pull(g, create_graph=True), tree_map(zeros_like, output))

    def jvp_fn(*tangents):
        given, tangent_spec = tensors_of(tangents, "linearize(f)(*tangents)", "the tangents")
        _check_tangents(flat, spec, given, tangent_spec)
        return push(tangents)[0]

    return output, jvp_fn


# --- Jacobians


def _basis(leaves):
    """For each of some tensors, unit vectors of all: [n, *shape], n the number of all elements."""
    total = sum(leaf.numel() for leaf in leaves)
    parts, start = [], 0
    for leaf in leaves:
        part = leaf.new_zeros((total, leaf.numel()))
        part.diagonal(-start).fill_(1)
        parts.append(part.view(total, *leaf.shape))
        start += leaf.numel()
    return parts


def _split_rows(rows, leaves):
    """[n, ...] by the elements of the leaves: [*leaf.shape, ...] for each."""
    parts = rows.split([leaf.numel() for leaf in leaves])
    return [part.reshape(*leaf.shape, *part.shape[1:]) for part, leaf in zip(parts, leaves)]


def jacrev(func, argnums=0, *, has_aux=False, chunk_size=None, _preallocate_and_copy=False):
    """The Jacobian of `func`, row by row in reverse mode: output.shape + input.shape.

    chunk_size: how many rows are computed at once.
    """
    if chunk_size is not None and not chunk_size > 0:
        raise ValueError("jacrev: `chunk_size` should be greater than 0.")

    @wraps(func)
    def jacobian(*args, **kwargs):
        of_chosen, chosen = _function_of_chosen(func, argnums, args, kwargs, "jacrev")
        output, pull, *aux = vjp(of_chosen, chosen, has_aux=has_aux)
        outputs, out_spec = tensors_of(output, f"jacrev({name_of(func)})", "what f returns")
        inputs, spec = tree_flatten(chosen)
        rows = vmap(
            lambda *seeds: tuple(tree_flatten(pull(tree_unflatten(seeds, out_spec)))[0]),
            chunk_size=chunk_size,
        )(*_basis(outputs))
        by_input = [_split_rows(row, outputs) for row in rows]
        trees = [tree_unflatten(list(blocks), spec) for blocks in zip(*by_input)]
        result = tree_unflatten(trees, out_spec)
        return (result, aux[0]) if has_aux else result

    return jacobian


def jacfwd(func, argnums=0, has_aux=False, *, randomness="error"):
    """The Jacobian of `func`, column by column in forward mode: output.shape + input.shape."""

    @wraps(func)
    def jacobian(*args, **kwargs):
        of_chosen, chosen = _function_of_chosen(func, argnums, args, kwargs, "jacfwd")
        inputs, spec = tensors_of(chosen, f"jacfwd({name_of(func)})", "the arguments")

        def column(*directions):
            tangent = tree_unflatten(directions, spec)
            results = jvp(of_chosen, (chosen,), (tangent,), has_aux=has_aux)
            return results[1:]

        columns, *aux = vmap(column, randomness=randomness)(*_basis(inputs))
        outputs, out_spec = tree_flatten(columns)
        blocks = [
            [
                part.movedim(tuple(range(t.ndim)), tuple(range(-t.ndim, 0)))
                for part, t in zip(_split_rows(y, inputs), inputs)
            ]
            for y in outputs
        ]
        result = tree_unflatten([tree_unflatten(row, spec) for row in blocks], out_spec)
        if not has_aux:
            return result
        return result, tree_map(lambda x: x[0] if isinstance(x, Tensor) else x, aux[0])

    return jacobian


def hessian(func, argnums=0):
    """The second derivatives of `func`: forward mode over reverse mode."""
    return jacfwd(jacrev(func, argnums), argnums)


# --- mutation


def functionalize(func, *, remove="mutations"):
    """`func` itself: operators here are told apart by what they write, so that a program that is
    traced needs no rewriting first. `remove` is "mutations" or "mutations_and_views".
    """
    if remove not in ("mutations", "mutations_and_views"):
        raise RuntimeError(
            f"functionalize: remove is 'mutations' or 'mutations_and_views', not {remove!r}"
        )

    @wraps(func)
    def same(*args, **kwargs):
        return func(*args, **kwargs)

    return same
