"""The operator generator.

    python tools/opgen --ops csrc/ops --out build/generated [--stubs FILE] [--docs FOLDER] [--check]

Reads the declarations in csrc/ops and writes the rows, typed functions, gradients, composites and
loops as C, and the stubs and the reference for Python. Files whose text stays the same are not
touched. With --check nothing outside --out is written; stale stubs and references are errors.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import emit_docs
import emit_formulas
import emit_loops
import emit_rows
from ctext import write_if_changed
from declare import Table, read_table


def generate(table: Table) -> dict[str, str]:
    """All C files by name. What is wrong with the declarations is in table.problems after."""
    emit_loops.check(table)
    if table.problems:
        return {}
    return {
        "ops.h": emit_rows.header(table),
        "ops_rows.c": emit_rows.rows(table),
        "ops_calls.c": emit_rows.calls(table),
        **emit_formulas.files(table),
        **emit_loops.files(table),
    }


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="opgen", description=__doc__.split("\n")[0])
    parser.add_argument("--ops", type=Path, required=True, help="folder of the declarations")
    parser.add_argument("--out", type=Path, help="folder for generated C")
    parser.add_argument("--stubs", type=Path, help="the stub file of the extension module")
    parser.add_argument("--docs", type=Path, help="folder for the operator reference")
    parser.add_argument("--check", action="store_true", help="fail if stubs or reference are stale")
    args = parser.parse_args(argv)

    table = read_table(args.ops)
    sources = generate(table)
    if table.problems:
        print(*table.problems, sep="\n", file=sys.stderr)
        return 1
    if args.out:
        for name, text in sources.items():
            write_if_changed(args.out / name, text)

    pages = {}
    if args.stubs:
        pages[args.stubs] = emit_docs.stubs(table)
    if args.docs:
        pages[args.docs / "operators.md"] = emit_docs.reference(table)
    stale = [p for p, text in pages.items() if not p.exists() or p.read_text("utf-8") != text]
    if args.check and stale:
        print(*(f"{path} is stale: run tools/opgen again" for path in stale), sep="\n", file=sys.stderr)
        return 1
    for path in stale:
        write_if_changed(path, pages[path])
    return 0


if __name__ == "__main__":
    sys.exit(main())
