"""The operator generator.

    python tools/opgen --ops csrc/ops --out build/generated [--stubs FILE] [--docs FOLDER] [--check]

Reads the declarations in csrc/ops and writes the rows, typed functions, gradients, composites and
loops as C, and the stubs and the reference for Python. Files whose text stays the same are not
touched. With --check stale stubs and references are errors instead of being written.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import emit_docs
import emit_formulas
import emit_loops
import emit_rows
from declare import Table, read_table
from scalar import compute_dtypes
from schema import Problem


def generate(table: Table) -> dict[str, str]:
    """All C files by name. What is wrong with the declarations is in table.problems after."""
    for row in table.rows:
        try:
            compute_dtypes(row)
        except Problem as problem:
            table.report(row.where, row, problem)
    if table.problems:
        return {}
    return {
        "ops.h": emit_rows.header(table),
        "ops_rows.c": emit_rows.rows(table),
        "ops_calls.c": emit_rows.calls(table),
        **emit_formulas.files(table),
        **emit_loops.files(table),
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="opgen", description="The operator generator.")
    parser.add_argument("--ops", type=Path, required=True, help="folder of the declarations")
    parser.add_argument("--out", type=Path, help="folder for generated C")
    parser.add_argument("--stubs", type=Path, help="the stub file of the extension module")
    parser.add_argument("--docs", type=Path, help="folder for the operator reference")
    parser.add_argument("--check", action="store_true", help="fail if stubs or reference are stale")
    args = parser.parse_args()

    table = read_table(args.ops)
    sources = generate(table)
    if table.problems:
        print(*table.problems, sep="\n", file=sys.stderr)
        return 1
    files = {args.out / name: text for name, text in sources.items()} if args.out else {}
    pages = {args.stubs: emit_docs.stubs(table)} if args.stubs else {}
    if args.docs:
        pages[args.docs / "operators.md"] = emit_docs.reference(table)
    stale = {
        path: text
        for path, text in (files | pages).items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    }
    for path, text in stale.items():
        if args.check and path in pages:
            print(f"{path} is stale: run tools/opgen without --check", file=sys.stderr)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return int(args.check and any(path in pages for path in stale))


if __name__ == "__main__":
    sys.exit(main())
