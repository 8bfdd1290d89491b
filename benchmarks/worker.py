"""One case in a process of its own: what memory.py and busy.py measure.

A case is a function of the framework that returns one call: those of models.py, or those of a file
that has a dict CASES of them.
"""

import argparse
import importlib
import importlib.util
import json
import math
import re
import subprocess
import sys
import time
from pathlib import Path

from .models import MODELS

ROOT = Path(__file__).resolve().parent.parent


def load(path):
    """Cases by name: of a file, or the models."""
    if path is None:
        return MODELS
    spec = importlib.util.spec_from_file_location("cases", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.CASES


def chosen(path, prefixes):
    return [name for name in load(path) if not prefixes or name.startswith(tuple(prefixes))]


def status(field):
    """KiB of this process, by a field of /proc/self/status: VmRSS, or VmHWM, the highest VmRSS."""
    text = Path("/proc/self/status").read_text()
    return int(re.search(rf"{field}:\s+(\d+)", text).group(1))


def peak(call, steps, before):
    """KiB above what there was right after the import, at most, over `steps` calls."""
    for _ in range(steps):
        call()
    return status("VmHWM") - before


def seconds(call, budget):
    """Median seconds a call: beside other processes the best call says nothing."""
    call()
    times, deadline = [], time.perf_counter() + budget
    while time.perf_counter() < deadline or len(times) < 5:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2]


def run(module, case, threads, what, amount, path=None):
    """The figure of a fresh process: KiB for "peak", seconds for "seconds"; NaN where it fails."""
    command = [sys.executable, "-m", "benchmarks.worker", module, case, str(threads), what]
    command += [str(amount), *([str(path)] if path else [])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        print(done.stderr.strip().splitlines()[-1][:160], file=sys.stderr)
        return math.nan
    return json.loads(done.stdout.splitlines()[-1])


def importable(module):
    return importlib.util.find_spec(module) is not None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("module")
    parser.add_argument("case")
    parser.add_argument("threads", type=int)
    parser.add_argument("what", choices=("peak", "seconds"))
    parser.add_argument("amount", type=float)
    parser.add_argument("path", nargs="?")
    args = parser.parse_args()
    framework = importlib.import_module(args.module)
    framework.set_num_threads(args.threads)
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the highest VmRSS counts from here
    framework.manual_seed(0)
    call = load(args.path)[args.case](framework)
    if args.what == "peak":
        print(peak(call, int(args.amount), before))
    else:
        print(seconds(call, args.amount))


if __name__ == "__main__":
    main()
