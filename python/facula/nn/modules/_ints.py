"""Sizes that are given as one number for all dimensions."""


def repeated(value, n: int) -> tuple:
    """`value` for each of n dimensions, unless it is a sequence already."""
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * n
