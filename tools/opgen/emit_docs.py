"""For people: the stubs of the extension module, and the operator reference."""

from __future__ import annotations

import keyword

from declare import Row, Table
from schema import NO_DEFAULT, Name, Param, Type

PYTHON_TYPES = {
    "Operand": "Tensor | Number",
    "Scalar": "Number",
    "ScalarType": "dtype",
    "Device": "device | str | int",
    "Layout": "layout",
    "MemoryFormat": "memory_format",
    "Storage": "UntypedStorage",
}
PRELUDE = '''\
# Made by tools/opgen from csrc/ops: edit the declarations, not this file.
from collections.abc import Sequence
from typing import Any, NamedTuple

Number = bool | int | float | complex

class dtype: ...
class device: ...
class layout: ...
class memory_format: ...
class Generator: ...
class UntypedStorage: ...
'''


def python_type(kind: Type, given: bool) -> str:
    """As an annotation of something that is given, or that comes back."""
    text = PYTHON_TYPES.get(kind.base, kind.base)
    if kind.item_optional:
        text += " | None"
    if kind.is_list:
        single = f" | {text}" if kind.length and given else ""
        text = (f"Sequence[{text}]" if given else f"tuple[{text}, ...]") + single
    return text + " | None" * kind.optional


def python_name(name: str) -> str:
    return f"{name}_" if keyword.iskeyword(name) else name


def python_param(param: Param) -> str:
    text = f"{python_name(param.name)}: {python_type(param.type, given=True)}"
    if param.default is NO_DEFAULT:
        return text
    default = param.default
    if isinstance(default, (Name, list)) or param.type.base == "float" and isinstance(default, float):
        return f"{text} = ..." if not isinstance(default, float) else f"{text} = {default!r}"
    return f"{text} = {default!r}"


def signature(row: Row, method: bool, out: bool = False) -> str:
    params = list(row.params)
    parts = []
    if method:
        params = params[1:]
        parts.append("self")
    starred = False
    for param in params:
        if param.keyword and not starred:
            starred = True
            parts.append("*")
        parts.append(python_param(param))
    if out:
        count = len(row.results)
        kind = "Tensor" if count == 1 else f"tuple[{', '.join(['Tensor'] * count)}]"
        parts += ["*"] * (not starred) + [f"out: {kind} | None = None"]
    return ", ".join(parts)


def result_class(row: Row) -> str:
    return "_result_" + row.ident


def returns(row: Row) -> str:
    if not row.results:
        return "None"
    if len(row.results) == 1:
        return python_type(row.results[0].type, given=False)
    if row.results[0].name:
        return result_class(row)
    return f"tuple[{', '.join(python_type(r.type, given=False) for r in row.results)}]"


def named_tuples(table: Table) -> list[str]:
    lines = []
    for row in table.rows:
        if len(row.results) > 1 and row.results[0].name:
            lines += ["", f"class {result_class(row)}(NamedTuple):"]
            lines += [f"    {r.name}: {python_type(r.type, given=False)}" for r in row.results]
    return lines


def definitions(name: str, forms: list[str], indent: str) -> list[str]:
    """One `def`, or several overloads of it."""
    forms = list(dict.fromkeys(forms))
    lines = []
    for form in forms:
        if len(forms) > 1:
            lines.append(f"{indent}@overload")
        lines.append(f"{indent}def {name}({form}: ...")
    return lines


def methods_of(table: Table) -> dict[str, list[str]]:
    forms: dict[str, list[str]] = {}
    for row in table.rows:
        if "method" in row.variants:
            form = f"{signature(row, method=True)}) -> {returns(row)}"
            forms.setdefault(row.name, []).append(form)
        if "inplace" in row.variants:
            forms.setdefault(row.name + "_", []).append(f"{signature(row, method=True)}) -> Tensor")
    return forms


def functions_of(table: Table) -> dict[str, list[str]]:
    forms: dict[str, list[str]] = {}
    for row in table.rows:
        if "function" in row.variants:
            out = "out" in row.variants
            form = f"{signature(row, method=False, out=out)}) -> {returns(row)}"
            forms.setdefault(row.name, []).append(form)
    return forms


def stubs(table: Table) -> str:
    lines = [PRELUDE.replace("Any, NamedTuple", "Any, NamedTuple, overload").rstrip()]
    lines += [*named_tuples(table), "", "class Tensor:"]
    for name, forms in sorted(methods_of(table).items()):
        if not keyword.iskeyword(name):
            lines += definitions(name, forms, "    ")
    lines.append("")
    for name, forms in sorted(functions_of(table).items()):
        if not keyword.iskeyword(name):
            lines += definitions(name, forms, "")
    return "\n".join(lines) + "\n"


# --- the reference


def reference(table: Table) -> str:
    lines = ["# Operators", "", "Made by `tools/opgen` from the declarations in `csrc/ops`.", ""]
    groups: dict[str, dict[str, list[Row]]] = {}
    for row in table.rows:
        if row.module != "_C":
            groups.setdefault(row.group, {}).setdefault(row.name, []).append(row)
    for group, names in groups.items():
        lines += [f"## {group}", ""]
        for rows in names.values():
            lines += entry(rows)
    return "\n".join(lines).rstrip() + "\n"


def public_forms(row: Row) -> str:
    module = f"facula.{row.module}." if row.module else "facula."
    forms = []
    if "function" in row.variants:
        forms.append(f"`{module}{row.public or row.name}`")
    if "method" in row.variants:
        forms.append(f"`Tensor.{row.name}`")
    if "inplace" in row.variants:
        forms.append(f"`Tensor.{row.name}_`")
    if "out" in row.variants:
        forms.append("`out=`")
    return ", ".join(forms)


def differentiable(row: Row) -> str:
    names = [name for joint in row.grad for name in joint]
    if names:
        return "differentiable in " + ", ".join(f"`{name}`" for name in names)
    return "differentiable through its parts" if row.composite else "not differentiable"


def entry(rows: list[Row]) -> list[str]:
    lines = [f"### {rows[0].name}", "", "```"]
    lines += [row.schema.text for row in rows] + ["```", ""]
    for row in rows:
        facts = [fact for fact in (public_forms(row), differentiable(row)) if fact]
        lines += [f"{row.doc} *{'; '.join(facts)}.*", ""]
    return lines
