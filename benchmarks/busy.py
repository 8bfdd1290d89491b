"""Training steps with two threads on a quiet machine and beside two busy processes: how much longer
they take. Two processors that are shared evenly would make it twice as long.

    python -m benchmarks.busy                           the models
    python -m benchmarks.busy --cases FILE --only train --peer torch

Times are medians of single calls. It needs a machine with two processors and nothing else to do.
"""

import argparse
import math
import subprocess
import sys
from contextlib import contextmanager

from . import worker


@contextmanager
def busy(processes):
    """So many processes that do nothing but use a processor."""
    started = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)
    ]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def measure(module, case, args):
    """Seconds quiet and busy: the least of several rounds of each, in turns."""
    quiet, loaded = math.inf, math.inf
    for _ in range(args.rounds):
        options = (module, case, args.threads, "seconds", args.budget, args.cases)
        quiet = min(quiet, worker.run(*options))
        with busy(args.processes):
            loaded = min(loaded, worker.run(*options))
    return quiet, loaded


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", help="a Python file with a dict CASES")
    parser.add_argument("--only", nargs="*", help="cases whose names start so")
    parser.add_argument("--peer", help="a module with the same interface")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--budget", type=float, default=3.0, help="seconds a measurement")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    modules = ["facula", *([args.peer] if args.peer else [])]
    print(f"{'':34} {'':8} {'quiet':>10} {'busy':>10} {'ratio':>7}")
    for case in worker.chosen(args.cases, args.only):
        for module in modules:
            quiet, loaded = measure(module, case, args)
            print(f"{case:34} {module:8} {quiet * 1e3:7.2f} ms {loaded * 1e3:7.2f} ms", end="")
            print(f" {loaded / quiet:7.2f}", flush=True)


if __name__ == "__main__":
    main()
