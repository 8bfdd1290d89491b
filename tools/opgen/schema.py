"""Schemas: the types of operators, and the parser of `name.overload(parameters) -> results`.

What a declaration may say wrong raises Problem, which carries a sentence; whoever knows the file and
the line adds them.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, replace


class Problem(Exception):
    """A mistake in a declaration."""


# Spelling in a schema -> FAC_TYPE_ enumerator.
TYPES = {
    "Tensor": "TENSOR",
    "Operand": "OPERAND",
    "Scalar": "SCALAR",
    "int": "INT",
    "float": "FLOAT",
    "bool": "BOOL",
    "str": "STR",
    "ScalarType": "DTYPE",
    "Device": "DEVICE",
    "Layout": "LAYOUT",
    "MemoryFormat": "FORMAT",
    "Generator": "GENERATOR",
    "Storage": "STORAGE",
    "Any": "OBJECT",
}
NUMBERS = ("bool", "int", "float", "Scalar")

# Enumerators that stand by name in defaults and formulas: name -> (type, C constant).
CONSTANTS = {
    "contiguous_format": ("MemoryFormat", "FAC_CONTIGUOUS"),
    "preserve_format": ("MemoryFormat", "FAC_PRESERVE"),
    "channels_last": ("MemoryFormat", "FAC_CHANNELS_LAST"),
    "channels_last_3d": ("MemoryFormat", "FAC_CHANNELS_LAST_3D"),
    "strided": ("Layout", "FAC_STRIDED"),
    "sparse_coo": ("Layout", "FAC_SPARSE_COO"),
    "sparse_csr": ("Layout", "FAC_SPARSE_CSR"),
    "bool": ("ScalarType", "FAC_DT_BOOL"),
    "uint8": ("ScalarType", "FAC_DT_U8"),
    "int8": ("ScalarType", "FAC_DT_I8"),
    "uint16": ("ScalarType", "FAC_DT_U16"),
    "int16": ("ScalarType", "FAC_DT_I16"),
    "uint32": ("ScalarType", "FAC_DT_U32"),
    "int32": ("ScalarType", "FAC_DT_I32"),
    "uint64": ("ScalarType", "FAC_DT_U64"),
    "int64": ("ScalarType", "FAC_DT_I64"),
    "float16": ("ScalarType", "FAC_DT_F16"),
    "bfloat16": ("ScalarType", "FAC_DT_BF16"),
    "float32": ("ScalarType", "FAC_DT_F32"),
    "float64": ("ScalarType", "FAC_DT_F64"),
    "complex64": ("ScalarType", "FAC_DT_C64"),
    "complex128": ("ScalarType", "FAC_DT_C128"),
}
INFINITIES = {"inf": float("inf"), "-inf": float("-inf"), "nan": float("nan")}


@dataclass(frozen=True)
class Type:
    """T, T?, T[], T[2], T?[], T[]?; base is a key of TYPES, or "None", or "" for the items of []."""

    base: str
    optional: bool = False
    is_list: bool = False
    item_optional: bool = False
    length: int = 0

    def __str__(self) -> str:
        text = self.base + "?" * self.item_optional
        if self.is_list:
            text += f"[{self.length or ''}]"
        return text + "?" * self.optional

    @property
    def native(self) -> bool:
        """Held in C as int64_t, double or bool; all others as FacValue."""
        return self.base in ("int", "float", "bool") and not self.optional and not self.is_list

    @property
    def number(self) -> bool:
        return self.base in NUMBERS and not self.optional and not self.is_list

    @property
    def tensor(self) -> bool:
        return self.base == "Tensor" and not self.is_list

    @property
    def item(self) -> Type:
        return Type(self.base, optional=self.item_optional)

    def required(self) -> Type:
        return replace(self, optional=False)


TENSOR = Type("Tensor")
INT = Type("int")
FLOAT = Type("float")
BOOL = Type("bool")
NONE = Type("None", optional=True)
NO_DEFAULT = object()


@dataclass(frozen=True)
class Param:
    name: str
    type: Type
    default: object = NO_DEFAULT  # a literal; the name of a constant is a Name
    keyword: bool = False
    alias: str = ""
    writes: bool = False

    @property
    def differentiable(self) -> bool:
        return self.type.base in ("Tensor", "Operand")


@dataclass(frozen=True)
class Name:
    """A default that is a constant's name."""

    text: str


@dataclass(frozen=True)
class Result:
    type: Type
    name: str = ""
    alias: str = ""
    writes: bool = False


@dataclass(frozen=True)
class Schema:
    text: str
    name: str
    overload: str
    params: tuple[Param, ...]
    results: tuple[Result, ...]

    @property
    def ident(self) -> str:
        return f"{self.name}_{self.overload}" if self.overload else self.name

    @property
    def full_name(self) -> str:
        return f"{self.name}.{self.overload}" if self.overload else self.name


SCHEMA = re.compile(r"(\w+)(?:\.(\w+))?\((.*)\)\s*->\s*(.+)", re.S)
TYPE = re.compile(r"(\w+)(?:\((\w)(!)?(?:\s*->\s*\*)?\))?(\?)?(?:(\[)(\d*)\](\?)?)?")


def split(text: str, what: str) -> list[str]:
    """Splits at commas outside of brackets and quotes."""
    parts, depth, quote, start = [], 0, "", 0
    for i, char in enumerate(text):
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char in "([":
            depth += 1
        elif char in ")]":
            depth -= 1
        elif char == "," and depth == 0:
            parts.append(text[start:i].strip())
            start = i + 1
    if depth or quote:
        raise Problem(f"unbalanced brackets or quotes in the {what}")
    last = text[start:].strip()
    return parts + [last] if last or parts else []


def parse_type(text: str) -> tuple[Type, str, bool]:
    """The type, its alias letter, and whether it is written."""
    match = TYPE.fullmatch(text.strip())
    base = match and {"SymInt": "int"}.get(match[1], match[1])
    if not match or base not in TYPES:
        raise Problem(f"'{text}' is no type; there are {', '.join(TYPES)}, with ?, [] and (a!)")
    is_list = bool(match[5])
    kind = Type(
        base,
        optional=bool(match[7] if is_list else match[4]),
        is_list=is_list,
        item_optional=is_list and bool(match[4]),
        length=int(match[6] or 0) if is_list else 0,
    )
    return kind, match[2] or "", bool(match[3])


def parse_default(text: str, kind: Type) -> object:
    if text in CONSTANTS or text in INFINITIES:
        return Name(text)
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        raise Problem(f"'{text}' is no default: a literal or a known name is") from None
    if value is None:
        fits = kind.optional
    elif kind.is_list:
        fits = isinstance(value, list) or bool(kind.length) and isinstance(value, (int, float))
    else:
        python = {"int": int, "float": (int, float), "bool": bool, "str": str}
        python |= dict.fromkeys(("Scalar", "Operand"), (int, float, bool))
        fits = isinstance(value, python.get(kind.base, ()))
        fits = fits and isinstance(value, bool) <= (kind.base in ("bool", "Scalar", "Operand"))
    if not fits:
        raise Problem(f"the default {text} does not fit the type {kind}")
    return value


def parse_params(text: str) -> tuple[Param, ...]:
    params: list[Param] = []
    keyword = False
    for part in split(text, "parameters"):
        if part == "*":
            keyword = True
            continue
        left, equals, default = part.partition("=")
        words = left.strip().rsplit(None, 1)
        if len(words) != 2 or not words[1].isidentifier():
            raise Problem(f"'{part}' is no parameter: it has a type and a name")
        kind, alias, writes = parse_type(words[0])
        value = parse_default(default.strip(), kind) if equals else NO_DEFAULT
        if any(param.name == words[1] for param in params):
            raise Problem(f"two parameters are called '{words[1]}'")
        params.append(Param(words[1], kind, value, keyword, alias, writes))
    return tuple(params)


def parse_results(text: str) -> tuple[Result, ...]:
    text = text.strip()
    if text.startswith("("):
        if not text.endswith(")"):
            raise Problem("unbalanced brackets in the results")
        text = text[1:-1]
    results = []
    for part in split(text, "results"):
        words = part.rsplit(None, 1)
        named = len(words) == 2 and words[1].isidentifier()
        kind, alias, writes = parse_type(words[0] if named else part)
        results.append(Result(kind, words[1] if named else "", alias, writes))
    if len({bool(result.name) for result in results}) > 1:
        raise Problem("either all results have names or none")
    return tuple(results)


def parse_schema(text: str) -> Schema:
    match = SCHEMA.fullmatch(text.strip())
    if not match:
        raise Problem(f"'{text}' is no schema: name.overload(parameters) -> results")
    return Schema(
        " ".join(text.split()),
        match[1],
        match[2] or "",
        parse_params(match[3]),
        parse_results(match[4]),
    )
