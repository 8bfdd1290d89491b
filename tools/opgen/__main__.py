"""The operator generator: python tools/opgen --ops csrc/ops --out build/generated

Reads the declarations in csrc/ops and writes rows, typed functions, gradients, composites and
loops as C. Files whose text stays the same are not touched. What is wrong with the declarations
goes to the standard error, all of it, and nothing is written then. Stubs and the reference are made
from the same table by tools/opdocs.py.
"""

import argparse
import sys
from pathlib import Path

import emit_formulas
import emit_loops
import emit_rows
from declare import read_table


def main() -> int:
    parser = argparse.ArgumentParser(prog="opgen", description="The operator generator.")
    parser.add_argument("--ops", type=Path, required=True, help="folder of the declarations")
    parser.add_argument("--out", type=Path, required=True, help="folder for generated C")
    args = parser.parse_args()
    table = read_table(args.ops)
    files = {}
    for emitter in (emit_loops, emit_formulas, emit_rows):
        files |= emitter.files(table) if not table.problems else {}
    if table.problems:
        print(*table.problems, sep="\n", file=sys.stderr)
        return 1
    args.out.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = args.out / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
