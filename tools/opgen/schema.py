"""Schemas: the types of operators, and the parser of `name.overload(parameters) -> results`.

What a declaration says wrong raises Problem, which carries a sentence; whoever knows the file and
the line adds them.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, replace
from typing import NamedTuple


class Problem(Exception):
    """A mistake in a declaration."""


class DType(NamedTuple):
    """A dtype that loops compute in."""

    name: str
    kind: str
    suffix: str  # of the functions in scalar.h
    ctype: str
    real: str = ""  # complex: the C type of its parts

    @property
    def classes(self) -> tuple[str, ...]:
        """The words that mean this dtype, the most specific one first."""
        return (self.name, self.kind, *["int"] * ("int" in self.name))

    @property
    def floating(self) -> bool:
        return self.kind in ("float", "complex")

    @property
    def enumerator(self) -> str:
        return "FAC_DT_BOOL" if self.name == "bool" else f"FAC_DT_{self.suffix.upper()}"


DTYPES = [
    DType("bool", "bool", "b", "bool"),
    *(
        DType(f"{u}int{bits}", kind, f"{u or 'i'}{bits}", f"{u}int{bits}_t")
        for bits in (8, 16, 32, 64)
        for u, kind in (("u", "unsigned"), ("", "signed"))
    ),
    DType("float32", "float", "f32", "float"),
    DType("float64", "float", "f64", "double"),
    DType("complex64", "complex", "c64", "fac_c64", "float"),
    DType("complex128", "complex", "c128", "fac_c128", "double"),
]
CLASSES = {word for dtype in DTYPES for word in dtype.classes}

# Spelling in a schema -> FAC_TYPE_ and FAC_V_ enumerator.
_types = "Tensor Operand Scalar int float bool str Device Layout Generator Storage".split()
TYPES = {name: name.upper() for name in _types}
TYPES |= {"ScalarType": "DTYPE", "MemoryFormat": "FORMAT", "Any": "OBJECT"}
NUMBERS = ("bool", "int", "float", "Scalar")  # each fits where a later one is asked for

# Names in defaults and formulas that stand for enumerators: name -> (type, C constant).
_formats = ("contiguous_format", "preserve_format", "channels_last", "channels_last_3d")
CONSTANTS = {"strided": ("Layout", "FAC_STRIDED")}
for _name in _formats:
    CONSTANTS[_name] = ("MemoryFormat", f"FAC_{_name.removesuffix('_format').upper()}")
CONSTANTS |= {dtype.name: ("ScalarType", dtype.enumerator) for dtype in DTYPES}
CONSTANTS |= {"float16": ("ScalarType", "FAC_DT_F16"), "bfloat16": ("ScalarType", "FAC_DT_BF16")}


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


@dataclass(frozen=True)
class Param:
    """A parameter, or a result: then without default, perhaps without name."""

    type: Type
    name: str = ""
    alias: str = ""
    writes: bool = False
    default: object = NO_DEFAULT  # a literal, or a key of CONSTANTS
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
COMMA = re.compile(r",(?![^\[\]]*\])")  # not in []


def parse_schema(text: str) -> Schema:
    match = SCHEMA.fullmatch(text.strip())
    if not match:
        raise Problem(f"'{text}' is no schema: name.overload(parameters) -> results")
    parts = split(match[3])
    star = parts.index("*") if "*" in parts else len(parts)
    params = [replace(parse_part(p), keyword=i > star) for i, p in enumerate(parts) if i != star]
    names = [param.name for param in params]
    if "" in names or len(names) > len(set(names)):
        raise Problem("each parameter has a name of its own")
    several = re.fullmatch(r"\((.*)\)", match[4].strip(), re.S)
    results = tuple(parse_part(part) for part in split(several[1] if several else match[4]))
    if len({bool(result.name) for result in results}) > 1:
        raise Problem("either all results have names or none")
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
    if CONSTANTS.get(text, ("",))[0] == kind.base:
        return text
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        raise Problem(f"'{text}' is no default: a literal or a known name is") from None
    base = type(value).__name__
    if value is None:
        fitting = kind.optional
    elif kind.is_list:
        fitting = base == "list" or kind.length > 0 and base in NUMBERS
    elif base in NUMBERS:
        fitting = kind.base in (*NUMBERS[NUMBERS.index(base) :], "Operand")
    else:
        fitting = kind.base == base
    if not fitting:
        raise Problem(f"the default {text} does not fit the type {kind}")
    return value
