"""rearrange: permutes, splits, joins and adds axes, as a pattern with names says."""

from __future__ import annotations

import math
import re

from .._C import Tensor

_ELLIPSIS = "..."
_TOKEN = re.compile(r"\s*(?:(\.\.\.)|([()])|([^\W\d]\w*)|(\d+)|(\S))")


def _fail(pattern, text):
    raise ValueError(f"rearrange({pattern!r}): {text}")


def _parse_side(pattern, side):
    """A list of groups, each a list of names that one axis stands for; "..." is a group itself."""
    groups, inside, seen = [], None, set()
    for dots, bracket, name, number, other in _TOKEN.findall(side):
        if other:
            hint = "; an ellipsis is three dots" if other in ".\u2026" else ""
            _fail(pattern, f"{other!r} has no meaning in a pattern{hint}")
        if bracket == "(":
            if inside is not None:
                _fail(pattern, "brackets do not nest: (a (b c)) is (a b c)")
            inside = []
        elif bracket == ")":
            if inside is None:
                _fail(pattern, "a ')' without its '('")
            groups.append(inside)
            inside = None
        elif number:
            if number != "1":
                _fail(pattern, f"of numbers only 1 may stand for an axis: name the {number}")
            if inside is None:
                groups.append([])
        else:
            item = dots or name
            if item in seen:
                _fail(pattern, f"{item!r} stands twice on one side")
            seen.add(item)
            if inside is not None:
                inside.append(item)
            else:
                groups.append(_ELLIPSIS if dots else [item])
    if inside is not None:
        _fail(pattern, "a '(' without its ')'")
    return groups, seen


def _parse(pattern):
    sides = pattern.split("->")
    if len(sides) != 2:
        _fail(pattern, "a pattern has one '->' between what is there and what is wanted")
    (left, names), (right, wanted) = (_parse_side(pattern, side) for side in sides)
    if any(group is not _ELLIPSIS and _ELLIPSIS in group for group in left):
        _fail(pattern, "on the left an ellipsis stands outside of brackets")
    for name in names ^ wanted:
        where, other = ("left", "right") if name in names else ("right", "left")
        _fail(
            pattern, f"{name!r} is on the {where} side only; add it on the {other}, or leave it out"
        )
    return left, right, names


def _split(pattern, group, size, lengths, at):
    """The sizes of the names of a group; at most one of them may be unknown."""
    known = math.prod(lengths[name] for name in group if name in lengths)
    unknown = [name for name in group if name not in lengths]
    if len(unknown) > 1:
        _fail(pattern, f"give the sizes of all but one of {', '.join(group)}, as {unknown[0]}=...")
    if unknown and (not known or size % known):
        _fail(pattern, f"axis {at} of size {size} does not divide into parts of {known}")
    if unknown:
        return {unknown[0]: size // known}
    if known != size:
        what = " ".join(f"{name}={lengths[name]}" for name in group) or "1"
        _fail(pattern, f"axis {at} has size {size}, the pattern says {what}")
    return {}


def rearrange(
    tensor: Tensor | list[Tensor] | tuple[Tensor, ...], pattern: str, **axes_lengths: int
) -> Tensor:
    """The tensor with its axes in another order, split or joined: "b c h w -> b (h w) c".

    A name is an axis, brackets around names are one axis that is made of them (the last runs
    fastest), 1 and () are an axis of size 1, "..." is any number of axes. Of the names in brackets
    on the left, the sizes of all but one are given by keyword. A list of tensors is stacked: the
    pattern then begins with the axis of the list.
    """
    if not isinstance(tensor, Tensor):
        from .. import stack

        tensor = stack(tuple(tensor))
    left, right, names = _parse(pattern)
    for name, length in axes_lengths.items():
        if name not in names:
            _fail(pattern, f"there is no axis {name!r} to have a size")
        if not isinstance(length, int) or length < 0:
            _fail(pattern, f"the size of {name!r} is a number of 0 or more, not {length!r}")
    plain = len(left) - (_ELLIPSIS in left)
    if tensor.ndim < plain or (tensor.ndim > plain and _ELLIPSIS not in left):
        least = "at least " if _ELLIPSIS in left else ""
        _fail(pattern, f"it is for {least}{plain} axes, the tensor has {tensor.ndim}")

    # all axes by themselves, in the order on the left; an ellipsis is as many as it stands for
    sizes, order, at = dict(axes_lengths), [], 0
    for group in left:
        if group is _ELLIPSIS:
            count = tensor.ndim - plain
            around = [(_ELLIPSIS, i) for i in range(count)]
            sizes.update(zip(around, tensor.shape[at : at + count]))
            order += around
            at += count
        else:
            sizes.update(_split(pattern, group, tensor.shape[at], sizes, at))
            order += group
            at += 1
    dots = [axis for axis in order if isinstance(axis, tuple)]

    result, shape = [], []
    for group in right:
        axes = []
        for name in [_ELLIPSIS] if group is _ELLIPSIS else group:
            axes += dots if name == _ELLIPSIS else [name]
        result += axes
        lengths = [sizes[axis] for axis in axes]
        shape += lengths if group is _ELLIPSIS else [math.prod(lengths)]
    moved = tensor.reshape([sizes[axis] for axis in order])
    return moved.permute([order.index(axis) for axis in result]).reshape(shape)
