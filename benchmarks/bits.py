"""Whether cases give the same bits on 1, 2, 3 and 8 threads.

    python -m benchmarks.bits                           the models
    python -m benchmarks.bits --cases FILE --only train

A case runs a few times on each number of threads, from the same seed. Compared are the tensors that
it returns and those that it reaches: its variables, the parameters and buffers of modules, the
gradients, the state of optimizers. Exit status 1 if a bit differs.
"""

import argparse
import hashlib
import sys

import facula

from . import worker


def tensors_of(value, seen):
    """The tensors that a value holds, in a fixed order."""
    if id(value) in seen or value is None:
        return
    seen[id(value)] = value
    if isinstance(value, facula.Tensor):
        yield value
        parts = [value.grad] if value.is_leaf else []
    elif isinstance(value, (facula.nn.Module, facula.optim.Optimizer)):
        parts = [value.state_dict(), *getattr(value, "parameters", list)()]
    elif isinstance(value, dict):
        parts = value.values()
    elif isinstance(value, (list, tuple)):
        parts = value
    elif callable(value) and getattr(value, "__closure__", None):
        parts = [cell.cell_contents for cell in value.__closure__]
    else:
        return
    for part in parts:
        yield from tensors_of(part, seen)


def digest(build, threads, steps):
    """A hash of all tensors after some calls."""
    facula.set_num_threads(threads)
    facula.manual_seed(0)
    call = build(facula)
    result = [call() for _ in range(steps)]
    hashed = hashlib.sha256()
    for tensor in tensors_of([result, call], {}):
        data = tensor.detach().resolve_conj().resolve_neg().contiguous().reshape(-1)
        hashed.update(str((tensor.dtype, tensor.shape)).encode())
        hashed.update(data.view(facula.uint8).numpy().tobytes() if data.numel() else b"")
    return hashed.hexdigest()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", help="a Python file with a dict CASES")
    parser.add_argument("--only", nargs="*", help="cases whose names start so")
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2, 3, 8])
    parser.add_argument("--steps", type=int, default=2)
    args = parser.parse_args()
    cases, wrong = worker.load(args.cases), 0
    names = worker.chosen(args.cases, args.only)
    for name in names:
        first, *others = [digest(cases[name], n, args.steps) for n in args.threads]
        differ = [n for n, other in zip(args.threads[1:], others) if other != first]
        wrong += bool(differ)
        if differ:
            print(f"{name}: other bits on {', '.join(map(str, differ))} threads", flush=True)
    print(f"{len(names)} cases, {wrong} with bits that depend on the number of threads")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
