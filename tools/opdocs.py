"""For people: the stubs of the extension module and the operator reference, from csrc/ops.

    python tools/opdocs.py [--check]

writes python/facula/_C.pyi and docs/reference/operators.md, which are committed; with --check it
writes nothing and fails if they are stale.
"""

from __future__ import annotations

import argparse
import keyword
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools" / "opgen"))

from declare import Row, Table, read_table  # noqa: E402
from schema import NO_DEFAULT, Param, Type  # noqa: E402

PYTHON_TYPES = {
    "Operand": "Tensor | Number",
    "Scalar": "Number",
    "ScalarType": "dtype",
    "Device": "device | str | int",
    "Layout": "layout",
    "MemoryFormat": "memory_format",
    "Storage": "UntypedStorage",
}
PRELUDE = """\
# Made by tools/opdocs.py from csrc/ops: edit the declarations, not this file.
from collections.abc import Sequence
from typing import Any, NamedTuple, overload

Number = bool | int | float | complex

class dtype: ...
class device: ...
class layout: ...
class memory_format: ...
class Generator: ...
class UntypedStorage: ...
"""


def python_type(kind: Type, given: bool = False) -> str:
    """As an annotation of something that is given, or that comes back."""
    text = PYTHON_TYPES.get(kind.base, kind.base)
    if kind.is_list:
        items = text + " | None" * kind.item_optional
        text = f"Sequence[{items}]" if given else f"tuple[{items}, ...]"
        text += f" | {items}" * (given and kind.length > 0)
    return text + " | None" * kind.optional


def python_param(param: Param) -> str:
    name = param.name + "_" * keyword.iskeyword(param.name)
    text = f"{name}: {python_type(param.type, given=True)}"
    if param.default is NO_DEFAULT:
        return text
    simple = param.type.base == "str" or not isinstance(param.default, (str, list))
    return f"{text} = {repr(param.default) if simple else '...'}"


def signature(row: Row, method: bool, returns: str) -> str:
    parts = ["self"] * method
    for param in row.params[method:]:
        if param.keyword and "*" not in parts:
            parts.append("*")
        parts.append(python_param(param))
    if "out" in row.variants and not method:
        kinds = ", ".join(["Tensor"] * len(row.results))
        out = kinds if len(row.results) == 1 else f"tuple[{kinds}]"
        parts += ["*"] * ("*" not in parts) + [f"out: {out} | None = None"]
    return f"({', '.join(parts)}) -> {returns}: ..."


def returns(row: Row) -> str:
    kinds = [python_type(result.type) for result in row.results]
    if len(kinds) > 1:
        return f"_result_{row.ident}" if row.results[0].name else f"tuple[{', '.join(kinds)}]"
    return kinds[0] if kinds else "None"


def definitions(forms: dict[str, list[str]], indent: str) -> list[str]:
    """A `def` for each name, or several overloads of it."""
    lines = []
    for name, signatures in sorted(forms.items()):
        signatures = list(dict.fromkeys(signatures))
        for form in signatures if not keyword.iskeyword(name) else ():
            lines += [f"{indent}@overload"] * (len(signatures) > 1) + [f"{indent}def {name}{form}"]
    return lines


def stubs(table: Table) -> str:
    methods, functions, lines = defaultdict(list), defaultdict(list), [PRELUDE]
    for row in table.rows:
        if len(row.results) > 1 and row.results[0].name:
            lines.append(f"class _result_{row.ident}(NamedTuple):")
            lines += [f"    {r.name}: {python_type(r.type)}" for r in row.results] + [""]
        if "method" in row.variants:
            methods[row.name].append(signature(row, True, returns(row)))
        if "inplace" in row.variants:
            methods[row.name + "_"].append(signature(row, True, "Tensor"))
        if "function" in row.variants:
            functions[row.name].append(signature(row, False, returns(row)))
    lines += ["class Tensor:", *definitions(methods, "    "), "", *definitions(functions, "")]
    return "\n".join(lines) + "\n"


# --- the reference


def reference(table: Table) -> str:
    lines = ["# Operators", "", "Made by `tools/opdocs.py` from the declarations in csrc/ops.", ""]
    groups: dict[str, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in table.rows:
        if row.module != "_C":
            groups[row.group][row.name].append(row)
    for group, names in groups.items():
        lines += [f"## {group}", ""]
        for name, rows in names.items():
            lines += [f"### {name}", "", "```", *(row.schema.text for row in rows), "```", ""]
            lines += [line for row in rows for line in (f"{row.doc} *{facts(row)}.*", "")]
    return "\n".join(lines).rstrip() + "\n"


def facts(row: Row) -> str:
    """How a row is called, and what it can be differentiated in."""
    module = f"facula.{row.module}." if row.module else "facula."
    forms = {
        "function": f"`{module}{row.public or row.name}`",
        "method": f"`Tensor.{row.name}`",
        "inplace": f"`Tensor.{row.name}_`",
        "out": "`out=`",
    }
    called = ", ".join(form for word, form in forms.items() if word in row.variants)
    names = ", ".join(f"`{name}`" for joint in row.grad for name in joint)
    gradient = "differentiable through its parts" if row.composite else "not differentiable"
    gradient = f"differentiable in {names}" if names else gradient
    return f"{called}; {gradient}" if called else gradient


def main() -> int:
    parser = argparse.ArgumentParser(description="Stubs and reference from the declarations.")
    parser.add_argument("--ops", type=Path, default=ROOT / "csrc/ops")
    parser.add_argument("--stubs", type=Path, default=ROOT / "python/facula/_C.pyi")
    parser.add_argument("--reference", type=Path, default=ROOT / "docs/reference/operators.md")
    parser.add_argument("--check", action="store_true", help="fail if they are stale")
    args = parser.parse_args()
    table = read_table(args.ops)
    if table.problems:
        print(*table.problems, sep="\n", file=sys.stderr)
        return 1
    pages = {args.stubs: stubs(table), args.reference: reference(table)}
    stale = [p for p, text in pages.items() if not p.exists() or p.read_text("utf-8") != text]
    for path in stale:
        if args.check:
            print(f"{path} is stale: run tools/opdocs.py", file=sys.stderr)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(pages[path], encoding="utf-8")
    return int(args.check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
