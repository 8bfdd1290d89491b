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

# In the class Tensor some names of types are those of attributes, hence the underscores.
PYTHON_TYPES = {
    "Operand": "Tensor | Number",
    "Scalar": "Number",
    "ScalarType": "_dtype",
    "Device": "_device | str | int",
    "Layout": "_layout",
    "MemoryFormat": "memory_format",
    "Storage": "UntypedStorage",
}
PRELUDE = """\
# Made by tools/opdocs.py from csrc/ops: edit the declarations, not this file. The functions are
# those of facula itself; what is not listed is Any.
# ruff: noqa: E501
# fmt: off
import builtins
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, overload

Number = bool | int | float | builtins.complex

class dtype:
    itemsize: int
    is_complex: bool
    is_floating_point: bool
    is_signed: bool

class device:
    type: str
    index: int | None
    def __init__(self, type: str | device, index: int = ...) -> None: ...

class layout: ...
class memory_format: ...

class Size(tuple[int, ...]):
    def numel(self) -> int: ...

class Generator:
    device: _device
    def __init__(self, device: _device | str = ...) -> None: ...
    def get_state(self) -> Tensor: ...
    def initial_seed(self) -> int: ...
    def manual_seed(self, seed: int) -> Generator: ...
    def seed(self) -> int: ...
    def set_state(self, state: Tensor) -> Generator: ...

class UntypedStorage:
    def __getattr__(self, name: str) -> Any: ...

_dtype = dtype
_device = device
_layout = layout

def __getattr__(name: str) -> Any: ...
"""
TENSOR = """\
class Tensor:
    H: Tensor
    T: Tensor
    data: Tensor
    device: _device
    dtype: _dtype
    grad: Tensor | None
    grad_fn: Any
    imag: Tensor
    is_leaf: bool
    layout: _layout
    mH: Tensor
    mT: Tensor
    ndim: int
    real: Tensor
    requires_grad: bool
    shape: Size
    def __init__(self, *args: Any, **kwargs: Any) -> None: ...
    def __getattr__(self, name: str) -> Any: ...
    def __bool__(self) -> bool: ...
    def __complex__(self) -> builtins.complex: ...
    def __float__(self) -> float: ...
    def __index__(self) -> int: ...
    def __int__(self) -> int: ...
    def __getitem__(self, index: Any) -> Tensor: ...
    def __setitem__(self, index: Any, value: Tensor | Number) -> None: ...
    def __iter__(self) -> Iterator[Tensor]: ...
    def __len__(self) -> int: ...
    def __eq__(self, other: Any) -> Tensor: ...  # type: ignore[override]
    def __ne__(self, other: Any) -> Tensor: ...  # type: ignore[override]
"""
UNARY = "abs invert neg pos".split()
BINARY = "add and floordiv lshift matmul mod mul or pow rshift sub truediv xor".split()
ORDER = "ge gt le lt".split()


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
    parts, params = [], list(row.params)
    if method:  # of the parameter `self`, wherever it stands
        parts.append("self")
        params.remove(next((param for param in params if param.name == "self"), params[0]))
    for param in params:
        if param.keyword and "*" not in parts:
            parts.append("*")
        parts.append(python_param(param))
    if "factory" in row.flags:
        parts += ["*"] * ("*" not in parts)
        parts += ["requires_grad: bool = False", "pin_memory: bool = False"]
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


def operators() -> list[str]:
    """The operators of the class Tensor."""
    names = [*ORDER, *(side + name for name in BINARY for side in ("", "r", "i"))]
    lines = [f"    def __{name}__(self) -> Tensor: ..." for name in UNARY]
    return lines + [
        f"    def __{name}__(self, other: Tensor | Number) -> Tensor: ..."
        for name in names
        if name != "imatmul"
    ]


def stubs(table: Table) -> str:
    methods, functions, lines = defaultdict(list), defaultdict(list), [PRELUDE]
    for row in table.rows:
        published = "function" in row.variants and not row.module
        if len(row.results) > 1 and row.results[0].name and (published or "method" in row.variants):
            lines.append(f"class _result_{row.ident}(NamedTuple):")
            lines += [f"    {r.name}: {python_type(r.type)}" for r in row.results] + [""]
        if "method" in row.variants:
            methods[row.name].append(signature(row, True, returns(row)))
        if "inplace" in row.variants:
            methods[row.name + "_"].append(signature(row, True, "Tensor"))
        if published:
            functions[row.name].append(signature(row, False, returns(row)))
    lines += [TENSOR.rstrip(), *operators(), *definitions(methods, "    "), ""]
    return "\n".join([*lines, *definitions(functions, "")]) + "\n"


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
            print(f"{path} is stale: run python tools/opdocs.py", file=sys.stderr)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(pages[path], encoding="utf-8")
    return int(args.check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
