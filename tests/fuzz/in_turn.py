"""Calls every row with each argument in turn replaced: python in_turn.py COUNT START LOG.

Of the samples of each row, the first few; of the odd values for an argument COUNT, drawn from a
fixed seed, or all with COUNT 0, each as function, in-place or with out=, at times with gradients or
inside of transforms. Lines end with their number: START goes on from there.
"""

import itertools
import random
import sys

import child
import odd
from table import Table, at, full_name, function_of, holes, write_arguments

SAMPLES = 3
# How a call runs: kinds of child.inside, None for plainly.
MANNERS = [None, None, [child.GRAD], [child.GRAD], [child.BATCH], [child.DUAL]]
MANNERS += [[child.BATCH, child.GRAD]]
OUT = ["facula.tensor([1.5])", "facula.tensor([]).to(facula.int64)", "facula.tensor(1.0).expand(3)"]
OUT += ["facula.empty(2, device='meta')", "facula.tensor([1.5, 2.0]).requires_grad_()"]


def first_samples(table, name):
    """Some arguments of a name, by type alone if none are known."""
    for dtype in ("float32", "complex64", "int64", "bool"):
        found = table.arguments(name, dtype)
        if found:
            # Spread, as neighbours are much alike.
            return found[:: max(1, len(found) // SAMPLES)][:SAMPLES]
    params = table.rows[name][0]["params"]
    return [{param["name"]: eval(odd.of_type(param)[0], dict(child.NAMES)) for param in params}]


def places(row, arguments):
    """Pairs of a path and what may stand there, also of parameters that are not given."""
    for key, value in arguments.items():
        for path in holes(value, (key,)):
            yield path, odd.instead_of(at(arguments, path))
    for i, param in enumerate(row["params"]):
        if i not in arguments and param["name"] not in arguments:
            yield (param["name"],), odd.of_type(param)


def functions(row):
    """(expression, whether it takes out=) of the forms of a row."""
    yield function_of(row), {"function", "out"} <= set(row["flags"])
    if "inplace" in row["flags"]:
        yield f"facula.Tensor.{row['name']}_", False


def write(row, arguments, path, text, manner, rng):
    """The line of a call with one argument replaced, None where it cannot be written."""
    try:
        texts = write_arguments(arguments, {path: text})
    except TypeError:
        return None
    function, out = rng.choice(list(functions(row)))
    if out and rng.random() < 0.15:
        targets = [rng.choice(OUT) for _ in row["results"]]
        texts.append(f"out={targets[0]}" if len(targets) == 1 else f"out=({', '.join(targets)})")
    line = f"{function}({', '.join(texts)})"
    return line if manner is None else child.write_inside(line, manner, rng.randrange(100))


def lines(table, count, start):
    """All calls from that number on."""
    numbers = itertools.count()
    for name in table.names:
        for row, arguments in itertools.product(table.rows[name], first_samples(table, name)):
            for path, choices in places(row, arguments):
                rng = random.Random(f"{full_name(row)} {path}")
                if count and len(choices) > count:
                    choices = rng.sample(choices, count)
                for text in choices:
                    number = next(numbers)
                    if number < start:
                        continue
                    rng = random.Random(number)
                    line = write(row, arguments, path, text, rng.choice(MANNERS), rng)
                    if line:
                        yield f"{line}  # {number}"


def main(count, start, log):
    log = child.Log(log)
    table = Table(log)
    child.limit()
    child.run(lines(table, count, start), log)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
