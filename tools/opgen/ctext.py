"""Writing C text and files. Lines come without indentation, which follows from their braces."""

from __future__ import annotations

import ast
import zlib

# The operators of Python's syntax, as they are written.
_SIGNS = "Add + Sub - Mult * Div / FloorDiv // Mod % Pow ** MatMult @ BitAnd & BitOr | BitXor ^ "
_SIGNS += "LShift << RShift >> USub - Invert ~ Eq == NotEq != Lt < LtE <= Gt > GtE >="
SIGNS = {getattr(ast, kind): sign for kind, sign in zip(_SIGNS.split()[::2], _SIGNS.split()[1::2])}

NOTICE = "/* Made by tools/opgen from csrc/ops: edit the declarations, not this file. */"


def c_literal(value: bool | int | float | str) -> str:
    match value:
        case int():  # bool too
            return str(value).lower()
        case float():
            names = {"inf": "__builtin_inf()", "nan": '__builtin_nan("")'}
            return names.get(str(value), str(value))
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def c_if(test: str) -> str:
    """Conditions that start with a bracket are bracketed as a whole."""
    return f"if {test} {{" if test.startswith("(") else f"if ({test}) {{"


def c_file(includes: list[str], lines: list[str]) -> str:
    text, depth = [NOTICE, *(f'#include "{name}"' for name in includes), ""], 0
    for line in lines:
        depth -= line.startswith("}")
        text.append("    " * (depth * (line != "done:")) + line if line else "")
        depth += line.endswith("{")
    return "\n".join(text).rstrip() + "\n"


def part_of(name: str, parts: int) -> int:
    """Which of several files something goes to: by its name, so that others stay where they are."""
    return zlib.crc32(name.encode()) % parts
