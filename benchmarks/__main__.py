"""Times every operator of the table on its own test samples, and a training step of some models.

    python tools/dev.py bench                          every row and model, microseconds a call
    python tools/dev.py bench --only 'linalg.*' sum    some of them
    python tools/dev.py bench --only 'model/*'         the models of benchmarks/models.py
    python tools/dev.py bench --only 'model/*' --peer torch    and the ratio to another framework
    python tools/dev.py bench --json new.json          keep the figures
    python tools/dev.py bench --compare old.json       and the ratio to those of another commit

A row is timed on its first float32 sample, in the function form or, without one, as a method: what
it costs to get to the kernel and back. A figure is the best of several batches. With a peer, both
frameworks take turns, model by model.
"""

import argparse
import fnmatch
import importlib
import itertools
import json
import math
import sys
import time
from pathlib import Path

import facula

from .models import MODELS

ROOT = Path(__file__).resolve().parent.parent


def best_time(call, budget=0.02):
    """Least seconds a call over batches that together take about `budget` seconds."""
    call()
    start = time.perf_counter()
    call()
    batch = max(1, int(budget / 10 / max(time.perf_counter() - start, 1e-8)))
    best, deadline = math.inf, time.perf_counter() + budget
    while time.perf_counter() < deadline:
        start = time.perf_counter()
        for _ in range(batch):
            call()
        best = min(best, (time.perf_counter() - start) / batch)
    return best


def cases():
    """(name, call) for every case of the table tests that has a float32 sample."""
    sys.path.insert(0, str(ROOT / "tests" / "ops"))
    table = importlib.import_module("test_table")
    for case in table.CASES:
        try:
            sample = case.samples(facula.float32)[0]
        except (IndexError, TypeError, RuntimeError):
            continue  # the row does not take float32
        yield case.name, lambda c=case, s=sample: c.function(*s.args, **s.kwargs)


def models(framework):
    """(name, call) for a training step of every model."""
    for name, build in MODELS.items():
        framework.manual_seed(0)
        yield f"model/{name}", build(framework)


def compare_models(peer, patterns):
    """Prints the times of both frameworks and their ratio."""
    for (name, ours), (_, theirs) in zip(models(facula), models(peer)):
        if any(fnmatch.fnmatch(name, pattern) for pattern in patterns):
            times = [math.inf, math.inf]
            for _ in range(3):
                times = [min(t, best_time(c, 0.3)) for t, c in zip(times, (ours, theirs))]
            print(f"{name:20} {times[0] * 1e6:12.2f} us {times[1] * 1e6:12.2f} us ", end="")
            print(f"{times[0] / times[1]:8.2f}", flush=True)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="*", default=["*"], help="names, with * and ?")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--compare", type=Path)
    parser.add_argument("--peer", help="a module with the same interface, for the models")
    args = parser.parse_args()

    facula.set_num_threads(args.threads)
    if args.peer:
        peer = importlib.import_module(args.peer)
        peer.set_num_threads(args.threads)
        compare_models(peer, args.only)
        return
    old = json.loads(args.compare.read_text()) if args.compare else {}
    figures = {}
    for name, call in itertools.chain(cases(), models(facula)):
        if not any(fnmatch.fnmatch(name, pattern) for pattern in args.only):
            continue
        try:
            figures[name] = best_time(call)
        except (RuntimeError, TypeError, ValueError) as error:
            print(f"{name:40} {type(error).__name__}: {str(error).splitlines()[0][:80]}")
            continue
        ratio = f"{figures[name] / old[name]:8.2f}" if name in old else ""
        print(f"{name:40} {figures[name] * 1e6:10.2f} us {ratio}", flush=True)
    ratios = [figures[name] / old[name] for name in figures if name in old]
    if ratios:
        mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
        print(f"geomean of {len(ratios)} ratios {mean:.3f}")
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
