"""Calls operators with arguments that make no sense: python program.py SEED SECONDS LOG.

A call is a line of Python, made from the seed, that child.py evaluates.
"""

import random
import sys
import time
import types

import child
import facula
from mutate import Mutator
from odd import DEVICES, DTYPES, INTS, NUMBERS, ODD, WORDS, of_type
from table import Table

SHAPES = "[] [0] [1] [3] [2,3] [3,2] [3,3] [0,3] [2,0,3] [2,3,4] [1,1,1,1] [2,3,4,5]".split()
SHAPES += ["[700]", "[40,40]"]
FORMS = [
    *[""] * 6,
    ".mT",
    "[..., ::2]",
    ".flip(-1)[..., :1]",
    ".unsqueeze(0).expand(3, *[-1] * 2)",
    ".as_strided([3, 3], [1, 1])",
    ".as_strided([2, 2], [0, 0])",
    ".conj()",
    ".to('meta')",
    ".requires_grad_()",
    ".requires_grad_() * 1",
    ".detach()",
    ".fill_(nan)",
    ".fill_(-1)",
    ".fill_(2**31)",
    ".numpy()",
    ".view(facula.uint8)",
    ".resize_(2)",
]


class Writer:
    """Writes calls."""

    def __init__(self, rng):
        self.rng = rng

    def tensor(self):
        make = self.rng.choice(("facula.ones", "facula.zeros", "facula.randn", "facula.empty"))
        dtype = self.rng.choice(["facula.float32"] * 8 + ["facula.int64"] * 3 + DTYPES)
        form = self.rng.choice(FORMS)
        return f"{make}({self.rng.choice(SHAPES)}, dtype={dtype}){form}"

    def ints(self):
        if self.rng.random() < 0.03:
            return self.rng.choice(("[1] * 70", "list(range(65))", "[0, 1] * 40"))
        return "[" + ", ".join(self.rng.choices(INTS[:8] * 3 + INTS, k=self.rng.randrange(5))) + "]"

    def anything(self):
        kind = self.rng.randrange(6)
        if kind == 0:
            return self.tensor()
        if kind == 1:
            return f"[{', '.join(self.anything() for _ in range(self.rng.randrange(4)))}]"
        return self.rng.choice((INTS, NUMBERS, WORDS, ODD, DTYPES, DEVICES)[self.rng.randrange(6)])

    def of_type(self, param):
        """An argument of the type that the schema asks for, of a value without sense."""
        if param["optional"] and self.rng.random() < 0.2:
            return "None"
        kind = param["type"]
        if param["list"]:
            if kind == "int":
                return self.ints()
            items = (self.of_type({**param, "list": False}) for _ in range(self.rng.randrange(4)))
            return f"[{', '.join(items)}]"
        if kind in ("Tensor", "Operand") and not (kind == "Operand" and self.rng.random() < 0.4):
            return self.tensor()
        if kind == "int":
            return self.rng.choice(INTS[:8] * 2 + INTS)
        return self.rng.choice(of_type(param if kind != "Operand" else {**param, "type": "Scalar"}))

    def key(self):
        """What may stand between brackets."""
        kind, small = self.rng.randrange(8), INTS[:6]
        if kind < 3:
            return self.rng.choice(small + ["None", "...", "True", "slice(None)"])
        if kind == 3:
            start, stop, step = self.rng.choices(["", "", *small, "2**62", "-2**63"], k=3)
            return f"{start}:{stop}:{step}"
        if kind == 4:
            return f"[{', '.join(self.rng.choices(small, k=self.rng.randrange(4)))}]"
        if kind == 5:
            return f"facula.randint(-1, 3, {self.rng.choice(SHAPES)})"
        if kind == 6:
            return f"{self.tensor()} > 0"
        return self.anything()

    def indexing(self):
        """Reads or writes a part of a tensor."""
        keys = ", ".join(self.key() for _ in range(self.rng.choice((1, 1, 2, 2, 3, 5))))
        if self.rng.random() < 0.5:
            return f"{self.tensor()}[{keys}]"
        value = self.rng.choice((self.tensor, self.anything))()
        target = f"facula.Tensor.__setitem__(same, KEY[{keys}], {value})"
        if self.rng.random() < 0.2:
            target = target.replace(value, self.rng.choice(["same.flip(0)", "same[:1]", "same.mT"]))
        return f"(lambda same: [{target}, same])({self.tensor()})"

    def call(self, name, params):
        """A call of what goes by the name; params of its row, or None if it has none."""
        if params is None:
            args = [self.anything() for _ in range(self.rng.randrange(5))]
            if name.startswith("facula.Tensor."):
                args.insert(0, self.tensor())
            return f"{name}({', '.join(args)})"
        wild = 0.5 if self.rng.random() < 0.3 else 0.03
        args = []
        for param in params:
            if param["default"] and self.rng.random() < 0.5:
                continue
            text = self.anything() if self.rng.random() < wild else self.of_type(param)
            keyword = param["keyword"] or len(args) and "=" in args[-1].partition("(")[0]
            args.append(f"{param['name']}={text}" if keyword else text)
        if self.rng.random() < 0.1:
            args.append(f"out={self.tensor() if self.rng.random() < 0.7 else self.anything()}")
        if self.rng.random() < 0.05:
            args.insert(0, "same := " + self.tensor())
            args[1:2] = ["same"]
        return f"{name}({', '.join(args)})"


def targets():
    """All that is called: names, each with the parameters of its row or None."""
    skipped = {"set_num_threads", "set_default_device", "set_default_dtype", "manual_seed"}
    found = []
    for row in facula._C._rows():
        flags, inplace = row["flags"], "inplace" in row["flags"]
        for end in ("", "_") if inplace else ("",):
            if "function" in flags:
                found.append((f"facula._C._functions['{row['name']}{end}']", row["params"]))
            if "method" in flags or end:
                found.append((f"facula.Tensor.{row['name']}{end}", row["params"]))
    kinds = (types.BuiltinFunctionType, type(facula.add), type(facula.Tensor.add))
    owners = {"facula": facula, "facula.Tensor": facula.Tensor}
    owners["facula.nn.functional"] = facula.nn.functional
    for path, owner in owners.items():
        for name, item in vars(owner).items():
            if isinstance(item, kinds) and name not in skipped:
                found.append((f"{path}.{name}", None))
    found += [("facula.Tensor", None), ("facula.Size", None), ("facula.Generator", None)]
    return found


def write(seed, count, names, mutator):
    """The call of that number: of a sample that was changed, of anything at all, or an index; at
    times inside of transforms."""
    for attempt in range(10):
        writer = Writer(random.Random(f"{seed}-{count}-{attempt}"))
        kind = writer.rng.random()
        if kind < 0.1:
            line = writer.indexing()
        else:
            line = mutator.call(writer) if kind < 0.6 else writer.call(*writer.rng.choice(names))
        if not line:
            continue
        if "facula.tensor(" in line and writer.rng.random() < 0.25:
            kinds = [writer.rng.randrange(4) for _ in range(writer.rng.choice((1, 1, 2, 3)))]
            return child.write_inside(line, kinds, writer.rng.randrange(10**6))
        return line


def lines(seed, seconds, names, mutator):
    """Calls for that time."""
    end, count = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        line = write(seed, count, names, mutator)
        if line:
            yield line
        count += 1


def main(seed, seconds, log):
    log = child.Log(log)
    names, mutator = targets(), Mutator(Table(log))
    child.limit()
    child.run(lines(seed, seconds, names, mutator), log)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3])
