"""Evaluates calls, one line of Python each, in a process that may die of it.

A line is written to a log before it is evaluated in NAMES, so that what is left there after a crash
is a line that reproduces it. Any exception is a good answer; a signal, an exit or a call that takes
longer than CALL_SECONDS is not.
"""

import gc
import math
import random
import resource
import signal
import sys
import warnings
from pathlib import Path

import facula
import facula.nn.functional

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


# --- what is done with tensors --------------------------------------------------------------------

BATCH, LIFT, DUAL, GRAD = range(4)


def tensors_in(value):
    """The tensors among a result, or among the items of it."""
    if isinstance(value, facula.Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value[:4]:
            yield from tensors_in(item)


def use(result):
    """Reads a result, and runs backward through it, at times twice."""
    for tensor in tensors_in(result):
        if tensor.numel() > 10_000:
            continue
        repr(tensor)
        if tensor.requires_grad:
            twice = tensor.numel() % 2 == 0
            tensor.abs().sum().backward(create_graph=twice)
        if tensor.is_leaf and tensor.device.type == "cpu":
            tensor.detach().clone().add_(tensor.detach())


def few(result):
    """The result; tensors that were expanded to billions of elements are passed over."""
    if isinstance(result, facula.Tensor) and result.numel() > 1 << 24:
        raise ValueError("too many elements")
    return result


def continuous(tensor):
    return tensor.is_floating_point() or tensor.is_complex()


def inside(kinds, seed, call):
    """Runs call(made) where most tensors that it makes belong to levels of transforms, or, by the
    kind GRAD, need a gradient."""
    rng, levels, core = random.Random(seed), [], facula._C

    def made(*args, **kwargs):
        t = facula.tensor(*args, **kwargs)
        for kind, level in zip(kinds, levels):
            if rng.random() < 0.3:
                continue
            if kind == BATCH:
                t = core._batch(facula.stack([t, t]), 0, level)
            elif kind == LIFT:
                t = core._lift(t, level)
            elif kind == DUAL and continuous(t):
                t = core._make_dual(t, facula.ones_like(t), level)
            elif kind == GRAD and continuous(t):
                t = t.requires_grad_()
        return t

    try:
        for kind in kinds:
            levels.append(core._level_push(kind, 2, 2) if kind != GRAD else None)
        result = call(made)
        use(result)
        return result
    finally:
        for level in reversed(levels):
            if level is not None:
                core._level_pop(level)


def write_inside(line, kinds, seed):
    """The line with its tensors made inside of levels."""
    return f"inside({kinds}, {seed}, lambda made: {line.replace('facula.tensor(', 'made(')})"


NAMES = {
    "facula": facula,
    "KEY": Keys(),
    "inf": math.inf,
    "nan": math.nan,
    **{item.__name__: item for item in (Stubborn, Override, FalseArray, nest, loop, emptying, few)},
    "inside": inside,
}


# --- the process ----------------------------------------------------------------------------------


def limit():
    """Limits on memory, and no core files."""
    # A sanitizer reserves far more than it uses: the limit is on what comes on top of that.
    status = Path("/proc/self/status").read_text()
    reserved = int(status.partition("VmData:")[2].split()[0]) << 10
    resource.setrlimit(resource.RLIMIT_DATA, (reserved + MEMORY, reserved + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")
    gc.set_threshold(200)


class Log:
    """A file that has the last line only."""

    def __init__(self, path):
        self.file = open(path, "wb", buffering=0)  # noqa: SIM115

    def write(self, line):
        self.file.seek(0)
        self.file.truncate()
        self.file.write(line.encode() + b"\n")


def run(lines, log):
    """Evaluates all, and says how many there were and how many of them gave no exception."""
    count, answered = 0, 0
    for line in lines:
        log.write(line)
        signal.alarm(CALL_SECONDS)
        try:
            use(eval(line, dict(NAMES)))
            answered += 1
        except Exception:
            pass
        count += 1
        signal.alarm(0)
    print(f"{count} calls, {answered} without an exception")
