"""Checks how the C sources hang together, from their text alone.

Rooms are ordered, and an include may only go to the same room or an earlier one:
base < device < tensor < kernels < dispatch < layers < bindings. The generated list of operators
counts as dispatch, facula.h as nothing (everyone may use it). Python.h is for bindings only, a .c
file with a header of its own includes that first, and no file grows beyond its budget of lines.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CSRC = ROOT / "csrc"
ROOMS = ["base", "device", "tensor", "kernels", "dispatch", "layers", "bindings"]
RANK = {room: rank for rank, room in enumerate(ROOMS)} | {"generated": ROOMS.index("dispatch")}
INCLUDE = re.compile(r'^\s*#\s*include\s+["<]([^">]+)[">]', re.M)
MAX_LINES = 1500
MAX_GENERATOR_LINES = 1500


def room_of_include(name, including):
    """The room that an include refers to, None for the system's and facula.h."""
    first = name.split("/")[0]
    if first in RANK:
        return first
    local = including.parent / name
    return local.relative_to(CSRC).parts[0] if local.exists() and local.parent != CSRC else None


def include_problems(path):
    room = path.relative_to(CSRC).parts[0]
    names = INCLUDE.findall(path.read_text())
    for name in names:
        target = room_of_include(name, path)
        if target and RANK[target] > RANK[room]:
            yield f"{room}/ may not include {name}: {target} comes later"
        if name == "Python.h" and room != "bindings":
            yield "Python.h belongs to bindings/ only"
    own = path.with_suffix(".h")
    own_name = own.relative_to(CSRC).as_posix()
    if path.suffix == ".c" and own.exists() and names[:1] not in ([own_name], [own.name]):
        first_may_be_python = room == "bindings" and own_name in names
        if not first_may_be_python:
            yield f"its own header {own_name} must be its first include"


def line_count(path):
    return path.read_text().count("\n")


def length_problems():
    for folder in ("csrc", "python", "tests", "tools", "benchmarks"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix not in (".c", ".h", ".cu", ".py", ".pyi", ".txt"):
                continue
            lines = line_count(path)
            if lines > MAX_LINES:
                yield path, f"{lines} lines; the limit is {MAX_LINES}"
    generator = sum(map(line_count, (ROOT / "tools/opgen").glob("*.py")))
    if generator > MAX_GENERATOR_LINES:
        yield ROOT / "tools/opgen", f"{generator} lines; the limit is {MAX_GENERATOR_LINES}"


def main():
    problems = list(length_problems())
    for room in ROOMS:
        for path in sorted((CSRC / room).rglob("*.[ch]")):
            problems += [(path, text) for text in include_problems(path)]
    for path, text in problems:
        print(f"{path.relative_to(ROOT)}: {text}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
