"""Samples of csrc/ops/pointwise.py: rows of one kind share a generator."""

from dataclasses import replace

import facula
import numpy as np
from registry import Sample, samples
from scipy import special

# --- one operand

# Name: range of the samples; options of Samples. Ranges keep away from poles and domain ends.
UNARY = {
    "neg": (-2, 2),
    "positive": (-2, 2),
    "reciprocal": (0.5, 2),
    "abs": (-2, 2),
    "square": (-2, 2, {"dtypes": "int float complex"}),
    "sqrt": (0.1, 4),
    "rsqrt": (0.1, 4, {"reference": lambda a: 1 / np.sqrt(a)}),
    "exp": (-2, 2),
    "exp2": (-2, 2),
    "expm1": (-2, 2),
    "log": (0.1, 4),
    "log2": (0.1, 4),
    "log10": (0.1, 4),
    "log1p": (-0.9, 4),
    "sigmoid": (-4, 4, {"reference": lambda a: 1 / (1 + np.exp(-a))}),
    "sin": (-4, 4),
    "cos": (-4, 4),
    "tan": (-1.2, 1.2),
    "asin": (-0.9, 0.9),
    "acos": (-0.9, 0.9),
    "atan": (-3, 3),
    "sinh": (-2, 2),
    "cosh": (-2, 2),
    "tanh": (-3, 3),
    "asinh": (-3, 3),
    "acosh": (1.1, 3),
    "atanh": (-0.9, 0.9),
    "sinc": (-2, 2),
    "deg2rad": (-180, 180),
    "rad2deg": (-3, 3),
    "erf": (-2, 2),
    "erfc": (-2, 2),
    "erfinv": (-0.9, 0.9),
    "lgamma": (0.5, 5),
    "digamma": (0.5, 5, {"reference": special.psi}),
    "sign": (-2, 2, {"reference": lambda a: a if a.dtype == bool else np.sign(a)}),
    "sgn": (-2, 2, {"reference": lambda a: a if a.dtype == bool else np.sign(a)}),
    "floor": (-3, 3),
    "ceil": (-3, 3),
    "trunc": (-3, 3),
    "frac": (-3, 3, {"reference": lambda a: a - np.trunc(a)}),
    "logical_not": (-2, 2),
    "bitwise_not": (-9, 9),
    "relu": (-2, 2, {"reference": lambda a: np.maximum(a, 0)}),
    "silu": (-3, 3, {"reference": lambda a: a / (1 + np.exp(-a))}),
    "hardsigmoid": (-5, 5, {"reference": lambda a: np.clip(a + 3, 0, 6) / 6}),
    "hardswish": (-5, 5, {"reference": lambda a: a * np.clip(a + 3, 0, 6) / 6}),
    "mish": (-3, 3, {"reference": lambda a: a * np.tanh(np.logaddexp(0, a))}),
    "log_sigmoid": (-5, 5, {"reference": lambda a: -np.logaddexp(0, -a)}),
}


def unary(name, low, high, options):
    @samples(name, **options)
    def _(make):
        yield Sample((make(3, 4, low=low, high=high),))
        yield Sample((make(low=low, high=high),))
        yield Sample((make(0, 3),))
        yield Sample((make(1100, low=low, high=high),), grad=False)  # more than two blocks


for name, (low, high, *options) in UNARY.items():
    unary(name, low, high, *options or ({},))


def special_values(make):
    if make.dtype.is_floating_point or make.dtype.is_complex:
        inf, nan = float("inf"), float("nan")
        values = facula.tensor([0.0, -0.0, 1.5, inf, -inf, nan, 1e-40, -3.0])
        yield Sample((values.to(make.dtype),), grad=False)
    yield Sample((make(2, 3),), grad=False)
    yield Sample((make(),), grad=False)


for name in ("isnan", "isinf", "isfinite", "isreal", "signbit"):
    samples(name)(special_values)
samples("isposinf", reference=lambda a: a == np.inf)(special_values)
samples("isneginf", reference=lambda a: a == -np.inf)(special_values)


# --- two operands


def signed(make, *shape):
    """Numbers between 0.5 and 2 in magnitude: divisors."""
    positive = make(*shape, low=1 if is_int(make.dtype) else 0.5, high=2)
    if make.dtype == facula.uint8 or make.dtype.is_complex:
        return positive
    return positive * (make(*shape, dtype=facula.int8, low=0, high=2) * 2 - 1).to(make.dtype)


def is_int(dtype):
    return not (dtype.is_floating_point or dtype.is_complex or dtype == facula.bool)


def pairs(first, second):
    """Samples of two operands: alike, broadcast, 0-d, empty, long."""

    def build(make):
        yield Sample((first(make, 3, 4), second(make, 3, 4)))
        yield Sample((first(make, 2, 3, 1), second(make, 4)))
        yield Sample((first(make), second(make)))
        yield Sample((first(make, 2, 3), second(make)))
        yield Sample((first(make, 0, 3), second(make, 1, 3)))
        yield Sample((first(make, 700), second(make, 700)), grad=False)

    return build


def with_number(build, number):
    """The same, and a Python number in the place of the second operand."""

    def more(make):
        yield from build(make)
        yield Sample((make(3, 4, low=0.5, high=2), number))

    return more


def values(low=-2, high=2):
    return lambda make, *shape: make(*shape, low=low, high=high)


def alpha_samples(make):
    yield from with_number(pairs(values(), values()), 2)(make)
    if make.dtype != facula.bool:
        yield Sample((make(3, 4), make(3, 4)), {"alpha": 3})
    if make.dtype.is_complex:
        yield Sample((make(3, 4), make(3, 4)), {"alpha": 0.5 - 2j})
    if make.dtype.is_floating_point:
        yield Sample((make(2, 3), 1.5), {"alpha": 0.5})


samples(
    "add", reference=lambda a, b, alpha=1: np.add(a, np.multiply(b, alpha) if alpha != 1 else b)
)(alpha_samples)
samples("sub", reference=lambda a, b, alpha=1: a - alpha * b)(alpha_samples)
samples("rsub", reference=lambda a, b, alpha=1: b - alpha * a)(alpha_samples)
samples("mul")(with_number(pairs(values(), values()), 3))
samples("div")(with_number(pairs(values(), signed), 2))

quotients = with_number(pairs(values(-9, 9), signed), 2)
for name in ("floor_divide", "remainder", "fmod"):
    samples(name)(quotients)


@samples(
    "div.mode",
    reference=lambda a, b, rounding_mode: (
        np.true_divide(a, b)
        if rounding_mode is None
        else np.floor_divide(a, b)
        if rounding_mode == "floor"
        else np.trunc(np.true_divide(a, b)).astype(np.result_type(a, b))
    ),
    dtypes="int float",
)
def _(make):
    for mode in ("floor", "trunc", None):
        for sample in quotients(make):
            yield Sample(sample.args, {"rounding_mode": mode})


for name in ("eq", "ne", "lt", "le", "gt", "ge"):
    samples(name)(with_number(pairs(values(-2, 2), values(-2, 2)), 1))

for name in ("logical_and", "logical_or", "logical_xor"):
    samples(name)(pairs(values(-2, 2), values(-2, 2)))

for name in ("bitwise_and", "bitwise_or", "bitwise_xor"):
    samples(name)(with_number(pairs(values(), values()), 1))

shifts = with_number(pairs(values(), values(0, 6)), 3)
samples("bitwise_left_shift", "bitwise_right_shift")(shifts)

samples("gcd", "lcm")(pairs(values(1, 10), values(1, 10)))
samples("maximum", "minimum", "fmax", "fmin")(pairs(values(), values()))
samples("heaviside", reference=lambda a, b: np.heaviside(a, b).astype(a.dtype))(
    pairs(values(), values())
)
samples("copysign")(with_number(pairs(values(), values()), -1.0))
samples("nextafter", dtypes="float64")(pairs(values(), values()))
samples("hypot", "atan2")(pairs(values(0.5, 2), values(0.5, 2)))
samples("xlogy")(with_number(pairs(values(), values(0.1, 3)), 2))
samples("logaddexp", reference=lambda a, b: np.log(np.exp(a) + np.exp(b)))(
    pairs(values(), values())
)
samples("logaddexp2")(pairs(values(), values()))
samples("isclose", dtypes="bool int float complex")(pairs(values(), values()))


@samples("pow")
def _(make):
    exponent = values(0, 3) if is_int(make.dtype) else values(-2, 2)
    yield from with_number(pairs(values(0.5, 2), exponent), 2)(make)
    for number in (0, 1, 3) if is_int(make.dtype) else (0, 1, 0.5, 3, -1, -2):
        if make.dtype != facula.bool or type(number) is int and number >= 0:
            yield Sample((make(2, 3, low=0.5, high=2), number))
    if make.dtype != facula.bool:
        yield Sample((2, make(2, 3, low=0, high=3)))


@samples("float_power", dtypes="int float complex")
def _(make):
    double = facula.complex128 if make.dtype.is_complex else facula.float64
    for sample in with_number(pairs(values(0.5, 2), values(0.5, 2)), 2)(make):
        yield replace(sample, dtype=double)
    yield Sample((1.5, make(2, 3)), dtype=double)


# --- more operands, and numbers


@samples("addcmul", reference=lambda a, b, c, value=1: a + value * b * c)
def _(make):
    yield Sample((make(3, 4), make(3, 4), make(3, 4)))
    yield Sample((make(3, 4), make(3, 1), make(4)), {"value": 2})
    yield Sample((make(3, 4), make(3, 4), 2))
    yield Sample((make(), make(), make()))
    yield Sample((make(0), make(0), make(0)))


@samples("addcdiv", reference=lambda a, b, c, value=1: a + value * b / c)
def _(make):
    yield Sample((make(3, 4), make(3, 4), signed(make, 3, 4)))
    yield Sample((make(3, 4), make(3, 1), signed(make, 4)), {"value": 2})
    yield Sample((make(), make(), signed(make)))
    yield Sample((make(0), make(0), make(0)))


@samples("lerp", reference=lambda a, end, weight: a + weight * (end - a))
def _(make):
    yield Sample((make(3, 4), make(3, 4), make(3, 4)))
    yield Sample((make(3, 4), make(4), 0.3))
    yield Sample((make(3, 1), make(4), make(3, 4)))
    yield Sample((make(), make(), 0.8))


@samples("where", reference=np.where, dtypes="bool int float complex")
def _(make):
    yield Sample((make(3, 4, dtype=facula.bool), make(3, 4), make(3, 4)))
    yield Sample((make(3, 1, dtype=facula.bool), make(4), make(1, 4)))
    yield Sample((make(dtype=facula.bool), make(2, 3), make()))
    if make.dtype != facula.bool:
        yield Sample((make(3, 4, dtype=facula.bool), make(3, 4), 0))


@samples("clamp", reference=np.clip, dtypes="int float")
def _(make):
    for low, high in ((-1, 1), (None, 1), (0, None), (3, 1)):
        if make.dtype != facula.uint8 or low != -1:
            yield Sample((make(3, 4), low, high))
    yield Sample((make(0),), {"min": 0})


@samples("clamp.Tensor", reference=np.clip, dtypes="int float")
def _(make):
    yield Sample((make(3, 4), make(3, 4), make(3, 4)))
    yield Sample((make(3, 4), make(4), None))
    yield Sample((make(3, 4), None, make(3, 1)))


@samples("round")
def _(make):
    yield Sample((make(3, 4, low=-9, high=9),))
    if make.dtype.is_floating_point:
        halves = facula.tensor([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5], dtype=make.dtype)
        yield Sample((halves,), grad=False)


@samples(
    "round.decimals", reference=lambda a, decimals: np.round(a, decimals), dtypes="float32 float64"
)
def _(make):
    for decimals in (0, 1, 3):
        yield Sample((make(3, 4),), {"decimals": decimals})
    yield Sample((make(3, 4, low=-400, high=400),), {"decimals": -2})


@samples("logit", reference=lambda a, eps=None: special.logit(np.clip(a, eps, eps and 1 - eps)))
def _(make):
    yield Sample((make(3, 4, low=0.1, high=0.9),))
    yield Sample((make(3, 4, low=0.3, high=0.7), 0.1))
    yield Sample((make(0),))


@samples("nan_to_num", dtypes="float64")
def _(make):
    yield from special_values(make)
    if make.dtype.is_floating_point:
        yield Sample((make(3, 4),))
        values = facula.tensor([float("nan"), float("-inf")], dtype=make.dtype)
        yield Sample((values,), {"nan": 1.0, "neginf": -2.0}, grad=False)


@samples("polygamma")
def _(make):
    for n in (0, 1, 2, 5):
        yield Sample((n, make(3, 4, low=0.5, high=5)))


@samples(
    "polygamma_", reference=lambda a, n: special.polygamma(n, a).astype(a.dtype), dtypes="float"
)
def _(make):
    yield Sample((make(3, 4, low=0.5, high=5), 1))


def reflected(a, n):
    """polygamma(1, a) left of 0."""
    return (np.pi / np.sin(np.pi * a)) ** 2 - special.polygamma(n, 1 - a)


@samples("_polygamma", reference=reflected, dtypes="float32 float64")
def _(make):
    yield Sample((facula.tensor([-0.3, -2.75, -7.5], dtype=make.dtype), 1))


# --- activations with parameters


@samples(
    "threshold",
    reference=lambda a, threshold, value: np.where(a <= threshold, value, a).astype(a.dtype),
)
def _(make):
    yield Sample((make(3, 4), 1, 2))
    yield Sample((make(), 0, 0))


@samples("leaky_relu", reference=lambda a, slope=0.01: np.where(a > 0, a, a * slope))
def _(make):
    yield Sample((make(3, 4),))
    yield Sample((make(3, 4), 0.2))


@samples(
    "elu",
    reference=lambda a, alpha=1, scale=1, input_scale=1: np.where(
        a > 0, a * scale, alpha * scale * np.expm1(a * input_scale)
    ),
)
def _(make):
    yield Sample((make(3, 4),))
    yield Sample((make(3, 4), 1.5))


def gelu(a, approximate="none"):
    if approximate == "none":
        return a * 0.5 * special.erfc(-a / np.sqrt(2))
    return a * 0.5 * (1 + np.tanh(np.sqrt(2 / np.pi) * (a + 0.044715 * a**3)))


@samples("gelu", reference=gelu)
def _(make):
    yield Sample((make(3, 4),))
    yield Sample((make(3, 4),), {"approximate": "tanh"})
    yield Sample((make(0),))


@samples(
    "softplus", reference=lambda a, beta=1, threshold=20: np.logaddexp(0, a * beta) / beta, slack=2
)
def _(make):
    yield Sample((make(3, 4),))
    yield Sample((make(3, 4), 2))
    yield Sample((make(3, 4, low=30, high=40),))


@samples("hardtanh", reference=lambda a, low=-1, high=1: np.clip(a, low, high))
def _(make):
    if make.dtype != facula.uint8:
        yield Sample((make(3, 4),))
    yield Sample((make(3, 4), 0, 1.5 if make.dtype.is_floating_point else 1))
