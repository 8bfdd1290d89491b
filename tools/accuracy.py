"""Measures the errors of elementary functions and writes docs/accuracy.md.

    python tools/accuracy.py              every tier of the build, 3,000 points a function and dtype
    python tools/accuracy.py --points 500 --print     a look at it, nothing is written

Each function is computed by facula in float32 and float64 at points of several kinds: uniform over
the range where the function is neither constant nor out of range, over all magnitudes in it, and
next to where its cases meet. The reference is mpmath with 60 digits. Errors are in units in the
last place of the exact result, those of gelu in units of its argument, whose size bounds the terms
that are subtracted. It fails where an error is above the limit of its function.

The reference is computed once; the functions run once a tier, in a process of their own with
FACULA_CPU set.
"""

import argparse
import json
import math
import os
import random
import struct
import subprocess
import sys
from pathlib import Path

import mpmath

ROOT = Path(__file__).resolve().parent.parent
TIERS = ["v2", "v3", "v4"]
DTYPES = {"float32": (24, -126), "float64": (53, -1022)}  # bits of a significand, least exponent


def gelu(x):
    return x * mpmath.ncdf(x)


# name: reference, range, where cases meet, limit in ulp
FUNCTIONS = {
    "exp": (mpmath.exp, (-87, 88), (0, 0.35), 1),
    "log": (mpmath.log, (1e-37, 1e37), (1, 0.7071, 1.4142), 1),
    "sin": (mpmath.sin, (-1000, 1000), (0, 0.785398, 3.14159265), 1),
    "cos": (mpmath.cos, (-1000, 1000), (0, 0.785398, 1.57079633), 1),
    "tan": (mpmath.tan, (-1000, 1000), (0, 0.785398, 1.57079633), 1),
    "tanh": (mpmath.tanh, (-9, 9), (0.9, -0.9, 0.35), 1),
    "erf": (mpmath.erf, (-4, 4), (1, -1, 0.85, 1.4), 1),
    "pow": (mpmath.power, (1e-3, 1e3), (1, 0.7071, 1.4142), 1),
    "sqrt": (mpmath.sqrt, (1e-37, 1e37), (1, 2), 1),
    "sigmoid": (lambda x: 1 / (1 + mpmath.exp(-x)), (-80, 80), (0,), 1.5),
    "gelu": (gelu, (-8, 8), (0, 1.2, -1.2), 1.5),
}


def rounded(x, dtype):
    """x as an element of the dtype holds it."""
    return struct.unpack("f", struct.pack("f", x))[0] if dtype == "float32" else x


def points_of(name, dtype, count, source):
    low, high = FUNCTIONS[name][1]
    meeting = FUNCTIONS[name][2]
    points = []
    for i in range(count):
        kind = i % 3
        if kind == 0 and low < 0:
            x = source.uniform(low, high)
        elif kind == 2:
            x = source.choice(meeting) * (1 + source.uniform(-0.1, 0.1)) + source.gauss(0, 0.01)
        else:
            bottom = math.log(max(low, 1e-6))
            x = math.exp(source.uniform(bottom, math.log(high)))
            x = -x if low < 0 and source.random() < 0.5 else x
        x = rounded(x, dtype)
        if low <= x <= high and x != 0:
            points.append(x)
    return points


def exponents_of(name, dtype, points, source):
    if name != "pow":
        return None
    return [rounded(source.uniform(-10, 10), dtype) for _ in points]


def ulp(size, dtype):
    """A unit in the last place of a number of that size."""
    bits, least = DTYPES[dtype]
    exponent = max(mpmath.frexp(size)[1] - 1, least) if size else least
    return mpmath.ldexp(1, exponent - bits + 1)


def compute(task):
    """In a process of its own: the values of facula, as floats."""
    import facula

    values = {"tier": facula._C._config()["tier"]}
    for key, (points, exponents) in task.items():
        name, dtype = key.split("/")
        x = facula.tensor(points, dtype=getattr(facula, dtype))
        if name == "gelu":
            y = facula.nn.functional.gelu(x)
        elif exponents:
            y = x ** facula.tensor(exponents, dtype=x.dtype)
        else:
            y = getattr(facula, name)(x)
        values[key] = y.tolist()
    return values


def values_at(tier, task):
    environment = os.environ | {"FACULA_CPU": tier}
    done = subprocess.run(
        [sys.executable, __file__, "--compute"],
        input=json.dumps(task), capture_output=True, text=True, env=environment,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"tier {tier}: {done.stderr.strip()}")
    values = json.loads(done.stdout)
    built = values.pop("tier").endswith(tier)
    return values if built else None  # not in this build, or not on this machine


def errors_of(key, points, exact, values):
    """The largest error, the mean, and where the largest is."""
    name, dtype = key.split("/")
    errors = []
    for x, y, value in zip(points, exact, values, strict=True):
        unit = ulp(abs(mpmath.mpf(x)) if name == "gelu" else abs(y), dtype)
        errors.append(float(abs(y - mpmath.mpf(value)) / unit))
    worst = max(errors)
    return worst, sum(errors) / len(errors), points[errors.index(worst)]


HEAD = """# Accuracy

Written by `python tools/accuracy.py`, which says how. Largest errors in units in the last place
(ulp) of the exact result, which mpmath gives with 60 digits; those of gelu in ulps of its argument.
Half a unit is what correct rounding gives at most.

"""


def table(dtype, tiers, found):
    lines = [f"## {dtype}", ""]
    lines += ["| function | " + " | ".join(tiers) + " | mean | largest at |"]
    lines += ["|---" * (len(tiers) + 3) + "|"]
    for name in FUNCTIONS:
        cells = [found[tier][f"{name}/{dtype}"] for tier in tiers]
        worst = max(cells)
        numbers = " | ".join(f"{cell[0]:.2f}" for cell in cells)
        lines.append(f"| {name} | {numbers} | {cells[-1][1]:.2f} | {worst[2]:.7g} |")
    return "\n".join([*lines, ""])


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--points", type=int, default=3000)
    parser.add_argument("--print", action="store_true", help="print instead of writing")
    parser.add_argument("--compute", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.compute:
        print(json.dumps(compute(json.load(sys.stdin))))
        return
    mpmath.mp.dps = 60
    source = random.Random(5)
    task, exact = {}, {}
    for name, (reference, *_) in FUNCTIONS.items():
        for dtype in DTYPES:
            points = points_of(name, dtype, args.points, source)
            exponents = exponents_of(name, dtype, points, source)
            inputs = zip(points, exponents, strict=True) if exponents else zip(points, strict=True)
            key = f"{name}/{dtype}"
            task[key] = points, exponents
            exact[key] = [reference(*map(mpmath.mpf, x)) for x in inputs]
    found = {}
    for tier in TIERS:
        values = values_at(tier, task)
        if values:
            found[tier] = {
                key: errors_of(key, task[key][0], exact[key], values[key]) for key in task
            }
    text = HEAD + "\n".join(table(dtype, list(found), found) for dtype in DTYPES)
    if args.print:
        print(text)
    else:
        (ROOT / "docs" / "accuracy.md").write_text(text)
    over = {
        (tier, key): results[key][0]
        for tier, results in found.items()
        for key in results
        if FUNCTIONS[key.split("/")[0]][3] and results[key][0] > FUNCTIONS[key.split("/")[0]][3]
    }
    for (tier, key), error in over.items():
        print(f"{key} at {tier}: {error:.2f} ulp is above the limit", file=sys.stderr)
    sys.exit(1 if over else 0)


if __name__ == "__main__":
    main()
