"""Calls operators with arguments that make no sense: python program.py SEED SECONDS LOG.

A call is a line of Python, made from the seed, written to LOG and then evaluated in NAMES. So what
is left in LOG after a crash is a line that reproduces it. Any exception is a good answer; a signal,
an exit or a call that takes longer than CALL_SECONDS is not.
"""

import gc
import math
import random
import resource
import signal
import sys
import time
import types
import warnings
from pathlib import Path

import facula
import facula.nn.functional
from mutate import Mutator

CALL_SECONDS = 30
MEMORY = 1 << 30


class Stubborn:
    """Refuses to be a number or a sequence, each in its own way."""

    def __index__(self):
        raise ArithmeticError("no index")

    def __float__(self):
        return "no float"

    def __len__(self):
        return sys.maxsize

    def __getitem__(self, key):
        raise LookupError(key)


class Emptying:
    """An index that empties the list that it stands in."""

    def __init__(self, items):
        self.items = items

    def __index__(self):
        self.items.clear()
        return 1


class Override:
    """Takes calls over and declines them."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        return NotImplemented


class FalseArray:
    """Claims an array of a negative size."""

    __array_interface__ = {"shape": (-4,), "typestr": "<f4", "data": (8, False), "version": 3}
    __dlpack__ = None


def nest(depth):
    items = 1
    for _ in range(depth):
        items = [items]
    return items


def loop():
    items = [1]
    items.append(items)
    return items


def emptying():
    items = [1, 2, 3]
    items[1] = Emptying(items)
    return items


class Keys:
    """KEY[...] is the key."""

    def __getitem__(self, key):
        return key


NAMES = {
    "facula": facula,
    "KEY": Keys(),
    "inf": math.inf,
    "nan": math.nan,
    **{item.__name__: item for item in (Stubborn, Override, FalseArray, nest, loop, emptying)},
}

INTS = "0 1 -1 2 3 -2 5 64 2**31 2**32 2**62 -2**63 2**63-1 2**63 2**64 10**30".split()
NUMBERS = "0.5 -0.0 nan inf -inf 1e308 1e-320 1e30 1j nan*1j True False".split()
WORDS = [
    repr(w) for w in "mean sum none floor trunc fro nuc ij xy amax prod same valid tanh".split()
]
WORDS += ["''", "'\\0'", "'a,b->'", "'ij,jk->ik'", "'...'", "'é' * 1000", "b'x'"]
ODD = [
    "None",
    "...",
    "slice(None, None, -1)",
    "object()",
    "Stubborn()",
    "Override()",
    "FalseArray()",
    "{}",
    "{1: 2}",
    "set()",
    "lambda: 0",
    "int",
    "facula",
    "facula.Tensor",
    "nest(70)",
    "nest(20000)",
    "loop()",
    "emptying()",
    "range(3)",
    "iter([1])",
    "bytearray(8)",
]
DTYPES = sorted(
    f"facula.{name}" for name, item in vars(facula).items() if isinstance(item, facula.dtype)
)
DEVICES = ["'cpu'", "'meta'", "'cuda'", "'cpu:5'", "'bogus'", "facula.device('meta')", "-1"]
LAYOUTS = ["facula.strided", "facula.sparse_coo"]
FORMATS = ["facula.contiguous_format", "facula.channels_last", "facula.preserve_format"]
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

    ints_to_choose, numbers_to_choose = INTS[:8] * 2 + INTS, NUMBERS

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
        choices = {
            "int": INTS[:8] * 2 + INTS,
            "Scalar": INTS + NUMBERS,
            "float": NUMBERS + ["0.25", "0.75"],
            "bool": ["True", "False"],
            "str": WORDS,
            "ScalarType": DTYPES,
            "Device": DEVICES,
            "Layout": LAYOUTS,
            "MemoryFormat": FORMATS,
            "Generator": ["facula.Generator()", "facula.default_generator"],
            "Storage": ["facula.ones(4).untyped_storage()", "facula.empty(0).untyped_storage()"],
        }
        if kind == "Operand" and self.rng.random() < 0.4:
            kind = "Scalar"
        return self.rng.choice(choices[kind]) if kind in choices else self.tensor()

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


def use(result):
    """Reads a result, and runs backward through it, at times twice."""
    if isinstance(result, (list, tuple)):
        for item in result[:4]:
            use(item)
    if not isinstance(result, facula.Tensor) or result.numel() > 10_000:
        return
    repr(result)
    if result.requires_grad:
        twice = result.numel() % 2 == 0
        result.abs().sum().backward(create_graph=twice)
    if result.is_leaf and result.device.type == "cpu":
        result.detach().clone().add_(result.detach())


def inside(kinds, seed, call):
    """Runs call(made) in levels of transforms, to which most tensors that it makes belong."""
    rng, levels, core = random.Random(seed), [], facula._C

    def made(*args, **kwargs):
        t = facula.tensor(*args, **kwargs)
        for kind, level in zip(kinds, levels):
            if rng.random() < 0.3:
                continue
            if kind == 0:
                t = core._batch(facula.stack([t, t]), 0, level)
            elif kind == 1:
                t = core._lift(t, level)
            elif t.is_floating_point() or t.is_complex():
                t = core._make_dual(t, facula.ones_like(t), level)
        return t

    try:
        for kind in kinds:
            levels.append(core._level_push(kind, 2, 2))
        result = call(made)
        use(result)
        return result
    finally:
        for level in reversed(levels):
            core._level_pop(level)


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
            kinds = [writer.rng.randrange(3) for _ in range(writer.rng.choice((1, 1, 2, 3)))]
            line = line.replace("facula.tensor(", "made(")
            return f"inside({kinds}, {writer.rng.randrange(10**6)}, lambda made: {line})"
        return line


def main(seed, seconds, log):
    # A sanitizer reserves far more than it uses: the limit is on what comes on top of that.
    status = Path("/proc/self/status").read_text()
    reserved = int(status.partition("VmData:")[2].split()[0]) << 10
    resource.setrlimit(resource.RLIMIT_DATA, (reserved + MEMORY, reserved + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")
    gc.set_threshold(200)
    names, mutator, count, answered = targets(), Mutator(), 0, 0
    end = time.monotonic() + seconds
    with open(log, "wb", buffering=0) as last:
        while time.monotonic() < end:
            line = write(seed, count, names, mutator)
            last.seek(0)
            last.truncate()
            last.write(line.encode() + b"\n")
            signal.alarm(CALL_SECONDS)
            try:
                use(eval(line, NAMES | {"inside": inside}))
                answered += 1
            except Exception:
                pass
            count += 1
        signal.alarm(0)
    print(f"{count} calls, {answered} without an exception")


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3])
