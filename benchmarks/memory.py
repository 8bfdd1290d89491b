"""The highest resident memory of training steps, less what the process held after the import.

    python -m benchmarks.memory                         the models, beside torch if it is there
    python -m benchmarks.memory --cases FILE --only train

Each case runs in a fresh process; the figure is the least of several.
"""

import argparse
import math

from . import worker


def least(module, case, args):
    figures = [
        worker.run(module, case, args.threads, "peak", args.steps, args.cases)
        for _ in range(args.rounds)
    ]
    return min(figures)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", help="a Python file with a dict CASES")
    parser.add_argument("--only", nargs="*", help="cases whose names start so")
    parser.add_argument("--peer", default="torch", help="a module with the same interface")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=2)
    args = parser.parse_args()
    peer = worker.importable(args.peer)
    print(f"{'MiB above the import':34} {'facula':>8} {args.peer if peer else '':>8} {'ratio':>7}")
    for case in worker.chosen(args.cases, args.only):
        ours = least("facula", case, args) / 1024
        theirs = least(args.peer, case, args) / 1024 if peer else math.nan
        print(f"{case:34} {ours:8.1f} {theirs:8.1f} {ours / theirs:7.2f}", flush=True)


if __name__ == "__main__":
    main()
