"""Schemas: the types of operators, and the parser of `name.overload(parameters) -> results`.

What a declaration says wrong raises Problem, which carries a sentence; whoever knows the file and
the line adds them.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, replace


class Problem(Exception):
    """A mistake in a declaration."""


# Spelling in a schema -> FAC_TYPE_ and FAC_V_ enumerator.
TYPES = {"ScalarType": "DTYPE", "MemoryFormat": "FORMAT", "Any": "OBJECT"}
for _name in "Tensor Operand Scalar int float bool str Device Layout Generator Storage".split():
    TYPES[_name] = _name.upper()
NUMBERS = ("bool", "int", "float", "Scalar")  # each fits where a later one is asked for


def dtype_enumerator(name: str) -> str:
    """ "uint8" -> "U8", "bfloat16" -> "BF16"."""
    short = {"uint": "U", "int": "I", "bfloat": "BF", "float": "F", "complex": "C"}
    return re.sub("[a-z]+", lambda word: short.get(word[0], word[0].upper()), name)


# Names in defaults and formulas that stand for enumerators: name -> (type, C constant).
CONSTANTS = {
    "contiguous_format": ("MemoryFormat", "FAC_CONTIGUOUS"),
    "preserve_format": ("MemoryFormat", "FAC_PRESERVE"),
    "channels_last": ("MemoryFormat", "FAC_CHANNELS_LAST"),
    "channels_last_3d": ("MemoryFormat", "FAC_CHANNELS_LAST_3D"),
    "strided": ("Layout", "FAC_STRIDED"),
}
for _name in "bool uint8 int8 int16 int32 int64 float16 bfloat16 float32 float64 complex64".split():
    CONSTANTS[_name] = ("ScalarType", f"FAC_DT_{dtype_enumerator(_name)}")
FLOATS = {"inf": float("inf"), "-inf": float("-inf"), "nan": float("nan")}


@dataclass(frozen=True)
class Type:
    """T, T?, T[], T[2], T?[], T[]?; base is a key of TYPES, or "None", or "" for items of []."""

    base: str
    optional: bool = False
    is_list: bool = False
    item_optional: bool = False
    length: int = 0

    def __str__(self) -> str:
        items = f"[{self.length or ''}]" if self.is_list else ""
        return self.base + "?" * self.item_optional + items + "?" * self.optional

    @property
    def number(self) -> bool:
        return self.base in NUMBERS and not self.optional and not self.is_list

    @property
    def tensor(self) -> bool:
        return self.base == "Tensor" and not self.is_list

    def required(self) -> Type:
        return replace(self, optional=False)


NO_DEFAULT = object()


class Name(str):
    """A default that is a constant's name."""


@dataclass(frozen=True)
class Param:
    """A parameter, or a result: then without default, perhaps without name."""

    type: Type
    name: str = ""
    alias: str = ""
    writes: bool = False
    default: object = NO_DEFAULT  # a literal, or a Name
    keyword: bool = False

    @property
    def differentiable(self) -> bool:
        return self.type.base in ("Tensor", "Operand")


@dataclass(frozen=True)
class Schema:
    text: str
    name: str
    overload: str
    params: tuple[Param, ...]
    results: tuple[Param, ...]

    @property
    def ident(self) -> str:
        return f"{self.name}_{self.overload}" if self.overload else self.name


SCHEMA = re.compile(r"(\w+)(?:\.(\w+))?\((.*)\)\s*->\s*(.+)", re.S)
PART = re.compile(
    r"(?P<base>\w+)(\((?P<alias>\w)(?P<writes>!)?\))?(?P<mark>\?)?"
    r"(?P<list>\[(?P<length>\d*)\](?P<optional>\?)?)?(\s+(?P<name>\w+)(\s*=\s*(?P<default>.+))?)?"
)
COMMA = re.compile(r",(?![^\[\]]*\])(?=(?:[^\"']*[\"'][^\"']*[\"'])*[^\"']*$)")  # not in [] or ""


def parse_schema(text: str) -> Schema:
    match = SCHEMA.fullmatch(text.strip())
    if not match:
        raise Problem(f"'{text}' is no schema: name.overload(parameters) -> results")
    params: list[Param] = []
    keyword = False
    for part in split(match[3]):
        if part == "*":
            keyword = True
            continue
        param = replace(parse_part(part), keyword=keyword)
        if not param.name or param.name in [other.name for other in params]:
            raise Problem(f"parameter '{part}' has no name of its own")
        params.append(param)
    several = re.fullmatch(r"\((.*)\)", match[4].strip(), re.S)
    results = tuple(parse_part(part) for part in split(several[1] if several else match[4]))
    if any(bool(r.name) != bool(results[0].name) or r.default is not NO_DEFAULT for r in results):
        raise Problem("either all results have names or none, and they have no defaults")
    return Schema(" ".join(text.split()), match[1], match[2] or "", tuple(params), results)


def split(text: str) -> list[str]:
    return [part.strip() for part in COMMA.split(text)] if text.strip() else []


def parse_part(text: str) -> Param:
    match = PART.fullmatch(text)
    base = match and {"SymInt": "int"}.get(match["base"], match["base"])
    if not match or base not in TYPES:
        raise Problem(f"'{text}' has no type: there are {', '.join(TYPES)}, with ?, [] and (a!)")
    listed, mark = bool(match["list"]), bool(match["mark"])
    optional = bool(match["optional"]) if listed else mark
    kind = Type(base, optional, listed, listed and mark, int(match["length"] or 0))
    default = parse_default(match["default"].strip(), kind) if match["default"] else NO_DEFAULT
    return Param(kind, match["name"] or "", match["alias"] or "", bool(match["writes"]), default)


def parse_default(text: str, kind: Type) -> object:
    if text in CONSTANTS or text in FLOATS:
        return Name(text)
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        raise Problem(f"'{text}' is no default: a literal or a known name is") from None
    bases = {bool: "bool", int: "int", float: "float", str: "str"}
    given = Type(bases.get(type(value), "None"))
    if value is None:
        fitting = kind.optional
    elif kind.is_list:
        fitting = isinstance(value, list) or kind.length > 0 and given.number
    else:
        wider = NUMBERS[NUMBERS.index(given.base) :] if given.number else ()
        fitting = kind.base in (given.base, *wider, *["Operand"] * given.number)
    if not fitting:
        raise Problem(f"the default {text} does not fit the type {kind}")
    return value
