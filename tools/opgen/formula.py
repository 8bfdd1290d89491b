"""Formulas: type-checks Python expressions over rows and compiles them to C statements.

An expression becomes an Expr: its type and a C expression for it. Numbers of the types int, float and
bool are native C; everything else is a FacValue. Calls of rows become statements that put their result
into a slot of `t`; a slot of `v` holds what a condition has chosen. The rule of ownership is that of
dispatch/formula.h: every slot of `t` owns what is in it, whatever its flags say, and nothing else does.

What a gradient reads of the forward call goes through Saves, which decides how little of each
argument and result is to be kept.
"""

from __future__ import annotations

import ast
import math
import re
from dataclasses import dataclass, field, replace

from ctext import c_string
from declare import Row, Table, Text
from schema import (
    BOOL,
    CONSTANTS,
    FLOAT,
    INFINITIES,
    INT,
    NO_DEFAULT,
    NONE,
    TENSOR,
    Param,
    Problem,
    Schema,
    Type,
)

SCALAR = Type("Scalar")
INTS = Type("int", is_list=True)
BOOLS = Type("bool", is_list=True)
TENSORS = Type("Tensor", is_list=True)
DTYPE = Type("ScalarType")
DEVICE = Type("Device")

# How much of a tensor is kept for the backward pass; the order of FacSaveKind reversed.
SIZES, META, FULL = range(3)

# Attributes of tensors: type, what must be kept, C over the FacTensor *, C over saved sizes.
ATTRIBUTES = {
    "shape": (INTS, SIZES, "fac_v_ints({t}->sizes, {t}->ndim)", "{s}"),
    "ndim": (INT, SIZES, "(int64_t){t}->ndim", "(int64_t){s}.len"),
    "numel": (INT, SIZES, "{t}->numel", "fac_formula_numel({s})"),
    "dtype": (DTYPE, META, "fac_v_dtype({t}->dtype)", ""),
    "device": (DEVICE, META, "fac_v_device({t}->device)", ""),
    "strides": (INTS, FULL, "fac_v_ints({t}->strides, {t}->ndim)", ""),
}
DTYPE_ATTRIBUTES = {
    "is_floating_point": "FAC_IS_FLOAT({d}.v.i)",
    "is_complex": "FAC_IS_COMPLEX({d}.v.i)",
    "is_integral": "FAC_IS_INT({d}.v.i)",
}
ARITHMETIC = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.Pow: "**",
    ast.MatMult: "@",
    ast.BitAnd: "&",
    ast.BitOr: "|",
    ast.BitXor: "^",
    ast.LShift: "<<",
    ast.RShift: ">>",
}
COMPARISON = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}
UNARY = {ast.USub: "-", ast.Invert: "~"}


@dataclass(frozen=True)
class Expr:
    type: Type
    code: str = ""
    items: tuple[Expr, ...] | None = None  # of several results, or of a tuple
    names: tuple[str, ...] = ()  # the names of these items
    saved: tuple[str, int] | None = None  # a parameter or result that has to be kept to be read

    @property
    def value(self) -> str:
        """The C expression as a FacValue."""
        if self.type.native:
            return f"fac_v_{self.type.base}({self.code})"
        return self.code

    @property
    def tensor(self) -> str:
        return f"{self.code}.v.t"

    def describe(self) -> str:
        return "a tuple" if self.items is not None else str(self.type)


def number_from_value(kind: Type, code: str) -> str:
    """A FacValue that holds a number, as native C."""
    return {"int": "fac_v_as_int", "float": "fac_v_as_float", "bool": "fac_v_is_true"}[
        kind.base
    ] + f"({code})"


def fits(given: Type, wanted: Type) -> bool:
    """Whether a value of the one type can be passed where the other is asked for."""
    if given == NONE:
        return wanted.optional or wanted.base == "None"
    if given.optional and not wanted.optional:
        return False
    if given.is_list or wanted.is_list:
        if not given.is_list:
            return given == INT and wanted.base == "int" and wanted.length > 0
        same = given.base in (wanted.base, "")
        return wanted.is_list and same and given.item_optional <= wanted.item_optional
    ladder = (*("bool", "int", "float", "Scalar"), "Operand")
    if given.base in ladder[:-1] and wanted.base in ladder:
        return ladder.index(given.base) <= ladder.index(wanted.base)
    pairs = {("Tensor", "Operand"), ("Operand", "Tensor")}
    return given.base == wanted.base or (given.base, wanted.base) in pairs


def join_types(one: Type, other: Type) -> Type:
    """The type of `one if c else other`."""
    for a, b in ((one, other), (other, one)):
        if a == NONE:
            return replace(b, optional=True)
        if a == b:
            return a
        if a.number and b.number and fits(a, b):
            return b
        if not a.is_list and not b.is_list and b.base in ("Tensor", "Operand") and fits(a, Type("Operand")):
            optional = a.optional or b.optional
            return Type("Tensor" if a.base == b.base == "Tensor" else "Operand", optional=optional)
        if a.required() == b.required():
            return replace(a, optional=True)
        if a.is_list and b.is_list and a.base in ("", b.base):
            return replace(b, length=0, item_optional=a.item_optional or b.item_optional)
    raise Problem(f"the two sides have the types {one} and {other}")


@dataclass
class Saves:
    """What the gradients of a row read of its call. First the formulas are compiled to find out, then
    `lay_out` gives slots, then they are compiled again."""

    reads: dict[tuple[str, int], dict[int, int]] = field(default_factory=dict)
    slots: list[tuple[str, int, int, int]] = field(default_factory=list)  # source, index, level, mask
    where: dict[tuple[str, int, int], tuple[int, int]] = field(default_factory=dict)
    mask: int = 0  # the inputs whose gradient the present formula computes

    def read(self, source: tuple[str, int], level: int) -> tuple[int, int]:
        """The slot, and the level that is kept there."""
        levels = self.reads.setdefault(source, {})
        levels[level] = levels.get(level, 0) | self.mask
        return self.where.get((*source, level), (0, level))

    def lay_out(self) -> None:
        for source, levels in sorted(self.reads.items()):
            for level in sorted(levels, reverse=True):
                for slot, (*other, kept, mask) in enumerate(self.slots):
                    if tuple(other) == source and levels[level] | mask == mask:
                        self.where[(*source, level)] = (slot, kept)
                        break
                else:
                    self.where[(*source, level)] = (len(self.slots), level)
                    self.slots.append((*source, level, levels[level]))


class Compiler:
    """Compiles the formulas of one C function. `names` are what the formulas may name."""

    def __init__(self, table: Table, names: dict[str, Expr], saves: Saves | None = None):
        self.table = table
        self.names = dict(names)
        self.saves = saves
        self.lines: list[str] = []
        self.declarations: list[str] = []
        self.depth = 1
        self.owned = 0  # slots of t
        self.chosen = 0  # slots of v

    # --- pieces of C

    def emit(self, line: str) -> None:
        self.lines.append("    " * self.depth + line)

    def attempt(self, call: str) -> None:
        self.emit(f"FAC_TRY({call});")

    def slot(self) -> str:
        self.owned += 1
        return f"t[{self.owned - 1}]"

    def choice(self) -> str:
        self.chosen += 1
        return f"v[{self.chosen - 1}]"

    def local(self, declaration: str) -> str:
        """Declares an array at the top of the function; `@` in the declaration is its name."""
        name = f"x{len(self.declarations)}"
        self.declarations.append(declaration.replace("@", name))
        return name

    # --- entry points

    def compile(self, text: Text) -> Expr:
        try:
            tree = ast.parse(text.text.strip(), mode="eval")
        except SyntaxError as error:
            raise Problem(f"the formula is no expression: {error.msg}") from None
        return self.visit(tree.body)

    def give(self, outs: list[tuple[Expr, Type, str]]) -> None:
        """Puts new references to values into places of the caller."""
        made = [(self.pass_as(expr, wanted), expr, out) for expr, wanted, out in outs]
        for i, (code, expr, out) in enumerate(made):
            later = any(code == other for other, *_ in made[i + 1 :])
            if SLOT.fullmatch(code) and not later:
                self.emit(f"fac_formula_move(&{code}, &{out});")
            elif expr.type.native:
                self.emit(f"{out} = {code};")
            else:
                self.attempt(f"fac_value_keep({code}, &{out})")

    def finish(self, signature: str, arrays: dict[str, str]) -> list[str]:
        """The whole function around the statements that have been emitted. `arrays` are what it
        may read: name and C expression."""
        body = "\n".join(self.lines)
        head = [
            f"    const FacValue *{name} = {source};"
            for name, source in arrays.items()
            if re.search(rf"\b{name}\[", body)
        ]
        head += [f"    {line}" for line in self.declarations]
        if self.chosen:
            head.append(f"    FacValue v[{self.chosen}] = {{0}};")
        if self.owned:
            head.append(f"    FacValue t[{self.owned}] = {{0}};")
        fallible = "FAC_TRY" in body
        if fallible:
            head.append("    FacStatus st = FAC_OK;")
        tail = ["done:"] * fallible
        if self.owned:
            tail.append(f"    fac_formula_release(t, {self.owned});")
        tail.append("    return st;" if fallible else "    return FAC_OK;")
        return [signature, "{", *head, *self.lines, *tail, "}"]

    # --- reading

    def plain(self, expr: Expr) -> Expr:
        """The expression with what it reads kept whole."""
        if expr.saved is None:
            return expr
        slot, _ = self.saves.read(expr.saved, FULL)
        return self.from_value(expr.type, f"s[{slot}]")

    def from_value(self, kind: Type, code: str) -> Expr:
        return Expr(kind, number_from_value(kind, code) if kind.native else code)

    def convert(self, expr: Expr, wanted: Type) -> str:
        """The FacValue to pass where `wanted` is asked for; fits() has said that it can be."""
        if expr.items is not None or not fits(expr.type, wanted):
            raise Problem(f"{expr.describe()} where {wanted} is wanted{self.hint(expr.type, wanted)}")
        if wanted.is_list and not expr.type.is_list and expr.type != NONE:
            name = self.local(f"int64_t @[{wanted.length}];")
            places = " = ".join(f"{name}[{i}]" for i in range(wanted.length))
            self.emit(f"{places} = {expr.code};")
            return f"fac_v_ints({name}, {wanted.length})"
        if expr.type.base == "Operand" and wanted.base == "Tensor":
            slot = self.slot()
            self.attempt(f"fac_formula_tensor({expr.code}, &{slot})")
            return slot
        if expr.type.native and wanted.base == "float":
            return f"fac_v_float({expr.code})"
        return expr.value

    def hint(self, given: Type, wanted: Type) -> str:
        if given.optional and given != NONE and fits(given.required(), wanted):
            return "; test it with 'is not None' first"
        return ""

    def list_of(self, items: list[Expr]) -> Expr:
        if not items:
            return Expr(Type("", is_list=True), "fac_v_ints(NULL, 0)")
        items = [self.plain(item) for item in items]
        kind = items[0].type
        for item in items[1:]:
            kind = join_types(kind, item.type)
        ctypes = {"int": "int64_t", "float": "double", "bool": "bool", "Tensor": "FacTensor *"}
        if kind.base not in ctypes or kind.is_list or (kind.optional and kind.base != "Tensor"):
            raise Problem(f"a list has items of one type, ints, floats, bools or Tensors, not {kind}")
        name = self.local(f"{ctypes[kind.base]} @[{len(items)}];".replace("* ", "*"))
        for i, item in enumerate(items):
            code = f"fac_v_as_tensor({item.code})" if kind.base == "Tensor" else item.code
            self.emit(f"{name}[{i}] = {code};")
        maker = {"int": "fac_v_ints", "Tensor": "fac_v_tensors", "float": "fac_formula_floats"}
        made = f"{maker.get(kind.base, 'fac_formula_bools')}({name}, {len(items)})"
        return Expr(Type(kind.base, is_list=True, item_optional=kind.optional), made)

    def truth(self, expr: Expr) -> str:
        expr = self.plain(expr)
        if expr.type.native:
            return expr.code
        if expr.type == SCALAR:
            return f"fac_v_is_true({expr.code})"
        if expr.type.is_list and not expr.type.optional:
            return f"({expr.code}.len > 0)"
        raise Problem(f"a condition is a number or a bool, not {expr.describe()}")

    # --- visiting

    def visit(self, node: ast.expr) -> Expr:
        method = getattr(self, f"visit_{type(node).__name__}", None)
        if method is None:
            raise Problem(f"formulas have no {type(node).__name__}: '{ast.unparse(node)}'")
        return method(node)

    def value(self, node: ast.expr) -> Expr:
        """Visits what is then read whole."""
        return self.plain(self.visit(node))

    def visit_Constant(self, node: ast.Constant) -> Expr:
        value = node.value
        if value is None:
            return Expr(NONE, "FAC_VALUE_NONE")
        if isinstance(value, bool):
            return Expr(BOOL, "true" if value else "false")
        if isinstance(value, int):
            return Expr(INT, str(value) if abs(value) < 2**31 else f"INT64_C({value})")
        if isinstance(value, float):
            return Expr(FLOAT, repr(value))
        if isinstance(value, complex):
            name = self.local(f"static const double @[2] = {{{value.real}, {value.imag}}};")
            return Expr(SCALAR, f"(FacValue){{.tag = FAC_V_COMPLEX, .v.c = {name}}}")
        if isinstance(value, str):
            return Expr(Type("str"), f"fac_v_str({c_string(value)})")
        raise Problem(f"'{value!r}' is no literal of formulas")

    def visit_Name(self, node: ast.Name) -> Expr:
        if node.id in self.names:
            return self.names[node.id]
        if node.id in CONSTANTS:
            kind, constant = CONSTANTS[node.id]
            return Expr(Type(kind), f"(FacValue){{.tag = FAC_V_{TAGS[kind]}, .v.i = {constant}}}")
        if node.id in INFINITIES or node.id == "pi":
            code = {"inf": "__builtin_inf()", "nan": '__builtin_nan("")'}
            return Expr(FLOAT, code.get(node.id, repr(math.pi)))
        raise Problem(f"'{node.id}' is not known here; there are {', '.join(self.names)}")

    def visit_NamedExpr(self, node: ast.NamedExpr) -> Expr:
        expr = self.visit(node.value)
        if expr.saved is None and expr.items is None and not is_place(expr.code):
            place = self.choice()
            self.emit(f"{place} = {expr.value};")
            expr = self.from_value(expr.type, place)
        self.names[node.target.id] = expr
        return expr

    def visit_List(self, node: ast.List) -> Expr:
        return self.list_of([self.visit(item) for item in node.elts])

    def visit_Tuple(self, node: ast.Tuple) -> Expr:
        return Expr(NONE, items=tuple(self.visit(item) for item in node.elts))

    def visit_Attribute(self, node: ast.Attribute) -> Expr:
        owner = self.visit(node.value)
        if owner.items is not None and node.attr in owner.names:
            return owner.items[owner.names.index(node.attr)]
        if owner.type == DTYPE and node.attr in DTYPE_ATTRIBUTES:
            return Expr(BOOL, DTYPE_ATTRIBUTES[node.attr].format(d=owner.code))
        if node.attr not in ATTRIBUTES or owner.items is not None:
            raise Problem(f"{owner.describe()} has no attribute '{node.attr}'")
        kind, level, of_tensor, of_sizes = ATTRIBUTES[node.attr]
        if owner.type.base == "Operand":
            owner = Expr(TENSOR, self.convert(self.plain(owner), TENSOR))
        if owner.type != TENSOR:
            hint = self.hint(owner.type, TENSOR)
            raise Problem(f"{owner.describe()} has no attribute '{node.attr}'{hint}")
        if owner.saved is not None:
            slot, kept = self.saves.read(owner.saved, level)
            if kept == SIZES:
                return Expr(kind, of_sizes.format(s=f"s[{slot}]"))
            owner = Expr(TENSOR, f"s[{slot}]")
        return Expr(kind, of_tensor.format(t=owner.tensor))

    def visit_Subscript(self, node: ast.Subscript) -> Expr:
        owner = self.visit(node.value)
        if owner.items is not None:
            try:
                return owner.items[ast.literal_eval(node.slice)]
            except (ValueError, TypeError, IndexError):
                raise Problem("a tuple is indexed by a literal within it") from None
        owner = self.plain(owner)
        if not owner.type.is_list or owner.type.optional:
            hint = self.hint(owner.type, owner.type.required()) if owner.type.is_list else ""
            raise Problem(f"{owner.describe()} has no items{hint}")
        if isinstance(node.slice, ast.Slice):
            if node.slice.step is not None:
                raise Problem("slices of lists have no step")
            lower, upper = node.slice.lower, node.slice.upper
            start = self.integer(lower) if lower else "0"
            stop = self.integer(upper) if upper else "INT64_MAX"
            return Expr(replace(owner.type, length=0), f"fac_formula_slice({owner.code}, {start}, {stop})")
        index = self.integer(node.slice)
        place = self.choice()
        self.attempt(f"fac_formula_item({owner.code}, {index}, &{place})")
        return self.from_value(owner.type.item, place)

    def integer(self, node: ast.expr) -> str:
        expr = self.value(node)
        if expr.type not in (INT, BOOL):
            raise Problem(f"an index is an int, not {expr.describe()}")
        return expr.code

    # --- operators

    def visit_UnaryOp(self, node: ast.UnaryOp) -> Expr:
        if isinstance(node.op, ast.Not):
            return Expr(BOOL, f"!{self.truth(self.visit(node.operand))}")
        operand = self.value(node.operand)
        sign = UNARY.get(type(node.op))
        if sign is None:
            raise Problem("formulas have no unary +")
        if operand.type.native and sign == "-":
            if isinstance(node.operand, ast.Constant):
                return self.visit_Constant(ast.Constant(-node.operand.value))
            return Expr(INT if operand.type == BOOL else operand.type, f"(-{operand.code})")
        if operand.type == SCALAR and sign == "-":
            return self.scalar_arithmetic("-", Expr(INT, "0"), operand)
        return self.row_operator(f"{sign}a", {"a": operand})

    def visit_BinOp(self, node: ast.BinOp) -> Expr:
        a, b = self.value(node.left), self.value(node.right)
        sign = ARITHMETIC[type(node.op)]
        if a.type.native and b.type.native:
            return native_arithmetic(sign, a, b)
        if a.type.number and b.type.number:
            return self.scalar_arithmetic(sign, a, b)
        if a.type.is_list and b.type.is_list and sign == "+":
            slot = self.slot()
            self.attempt(f"fac_formula_join({a.code}, {b.code}, &{slot})")
            return Expr(replace(join_types(a.type, b.type), length=0), slot)
        return self.row_operator(f"a {sign} b", {"a": a, "b": b})

    def scalar_arithmetic(self, sign: str, a: Expr, b: Expr) -> Expr:
        """On numbers whose kind is known at run time only; a complex result lies in an array."""
        if sign not in ("+", "-", "*", "/", "**"):
            raise Problem(f"Scalars have no operator {sign}")
        room = self.local("double @[2];")
        place = self.choice()
        self.emit(f'{place} = fac_formula_arithmetic({a.value}, "{sign}", {b.value}, {room});')
        return Expr(SCALAR, place)

    def row_operator(self, pattern: str, operands: dict[str, Expr]) -> Expr:
        """An operator on tensors: the first of the formulas declared for it that fits."""
        reasons = []
        for formula in self.table.operators.get(pattern, []):
            try:
                Compiler(self.table, operands).compile(formula)
            except Problem as problem:
                reasons.append(f": {problem}")
                continue
            names, self.names = self.names, operands
            result = self.compile(formula)
            self.names = names
            return result
        what = " and ".join(operand.describe() for operand in operands.values())
        raise Problem(f"no operator '{pattern}' for {what}{''.join(reasons[:1])}")

    def visit_Compare(self, node: ast.Compare) -> Expr:
        if isinstance(node.ops[0], (ast.Is, ast.IsNot)):
            return self.is_none(node)
        operands = [self.value(item) for item in (node.left, *node.comparators)]
        parts = [
            self.compare(COMPARISON.get(type(op)), a, b)
            for op, a, b in zip(node.ops, operands, operands[1:])
        ]
        if len(parts) == 1:
            return parts[0]
        return Expr(BOOL, "(" + " && ".join(self.truth(part) for part in parts) + ")")

    def compare(self, sign: str | None, a: Expr, b: Expr) -> Expr:
        if sign is None:
            raise Problem("comparisons are ==, !=, <, <=, >, >= and 'is None'")
        if a.type.native and b.type.native:
            return Expr(BOOL, f"({a.code} {sign} {b.code})")
        if a.type.number and b.type.number:
            return Expr(BOOL, f'fac_formula_compare({a.value}, "{sign}", {b.value})')
        tensors = any(side.type.base in ("Tensor", "Operand") for side in (a, b))
        if not tensors and a.type.required().base == b.type.required().base and sign in ("==", "!="):
            negate = "!" if sign == "!=" else ""
            return Expr(BOOL, f"{negate}fac_formula_equal({a.value}, {b.value})")
        return self.row_operator(f"a {sign} b", {"a": a, "b": b})

    def is_none(self, node: ast.Compare) -> Expr:
        if len(node.ops) > 1 or not is_none_literal(node.comparators[0]):
            raise Problem("'is' compares with None only")
        operand = self.visit(node.left)
        if operand.saved is not None and operand.type.tensor:
            code = f"s[{self.saves.read(operand.saved, SIZES)[0]}]"
        else:
            operand = self.plain(operand)
            code = operand.value
        if not operand.type.optional:
            raise Problem(f"'{ast.unparse(node.left)}' is {operand.describe()}, never None")
        sign = "==" if isinstance(node.ops[0], ast.Is) else "!="
        return Expr(BOOL, f"({code}.tag {sign} FAC_V_NONE)")

    def visit_BoolOp(self, node: ast.BoolOp) -> Expr:
        """The right side runs only if the left has not decided, as in C unless it calls rows."""
        conjunction = isinstance(node.op, ast.And)
        names = self.names
        result = self.truth(self.visit(node.values[0]))
        for before, operand in zip(node.values, node.values[1:]):
            mark = len(self.lines)
            self.names = narrowed(self, before, conjunction)
            code = self.truth(self.visit(operand))
            if len(self.lines) == mark:
                result = f"({result} {'&&' if conjunction else '||'} {code})"
            else:
                inner, self.lines[mark:] = self.lines[mark:], []
                place = self.choice()
                self.emit(f"{place} = fac_v_bool({result});")
                self.emit(f"if ({'' if conjunction else '!'}{place}.v.b) {{")
                self.lines += ["    " + line for line in inner]
                self.emit(f"    {place} = fac_v_bool({code});")
                self.emit("}")
                result = f"{place}.v.b"
        self.names = names
        return Expr(BOOL, result)

    def visit_IfExp(self, node: ast.IfExp) -> Expr:
        condition = self.truth(self.visit(node.test))
        sides = []
        for branch, holds in ((node.body, True), (node.orelse, False)):
            names, outer_lines = self.names, self.lines
            self.names, self.lines = narrowed(self, node.test, holds), []
            self.depth += 1
            sides.append((self.visit_side(branch), self.lines))
            self.depth -= 1
            self.names, self.lines = names, outer_lines
        (one, one_lines), (other, other_lines) = sides
        if one.items is not None or other.items is not None:
            return self.choose_tuple(condition, sides)
        kind = join_types(one.type, other.type)
        if not one_lines and not other_lines:
            if kind.native:
                return Expr(kind, f"({condition} ? {one.code} : {other.code})")
            return Expr(kind, f"({condition} ? {one.value} : {other.value})")
        place = self.choice()
        self.branches(condition, [(lines, [(place, side, kind)]) for side, lines in sides])
        return self.from_value(kind, place)

    def visit_side(self, node: ast.expr) -> Expr:
        expr = self.visit(node)
        if expr.items is None:
            return self.plain(expr)
        return replace(expr, items=tuple(self.plain(item) for item in expr.items))

    def choose_tuple(self, condition: str, sides: list[tuple[Expr, list[str]]]) -> Expr:
        (one, _), (other, _) = sides
        if one.items is None or other.items is None or len(one.items) != len(other.items):
            raise Problem("the two sides are tuples of different lengths")
        kinds = [join_types(a.type, b.type) for a, b in zip(one.items, other.items)]
        places = [self.choice() for _ in kinds]
        self.branches(
            condition, [(lines, list(zip(places, side.items, kinds))) for side, lines in sides]
        )
        items = tuple(self.from_value(kind, place) for kind, place in zip(kinds, places))
        return Expr(NONE, items=items)

    def branches(self, condition: str, sides) -> None:
        for head, (lines, places) in zip((f"if ({condition}) {{", "} else {"), sides):
            self.emit(head)
            self.lines += lines
            for place, expr, kind in places:
                code = f"fac_v_float({expr.code})" if kind == FLOAT else expr.value
                self.emit(f"    {place} = {code};")
        self.emit("}")

    # --- calls

    def visit_Call(self, node: ast.Call) -> Expr:
        args: list[Expr] = []
        if isinstance(node.func, ast.Attribute):
            if node.func.attr in ATTRIBUTES and not node.args and not node.keywords:
                return self.visit_Attribute(node.func)
            name = node.func.attr
            args.append(self.visit(node.func.value))
        elif isinstance(node.func, ast.Name):
            name = node.func.id
        else:
            raise Problem(f"'{ast.unparse(node.func)}' is no function")
        args += [self.visit(arg) for arg in node.args]
        keywords = {keyword.arg: self.visit(keyword.value) for keyword in node.keywords}
        if None in keywords:
            raise Problem("formulas have no ** in calls")
        return self.call(name, args, keywords)

    def call(self, name: str, args: list[Expr], keywords: dict[str, Expr]) -> Expr:
        rows = self.table.candidates(name)
        reasons = []
        for row in rows:
            try:
                bound = bind(row.schema, args, keywords)
            except Problem as problem:
                reasons.append(f"{row.schema.full_name}: {problem}")
            else:
                return self.call_row(row, bound)
        if name in self.table.helpers:
            helper = self.table.helpers[name]
            return self.call_helper(helper, bind(helper, args, keywords))
        builtin = None if keywords else self.builtin(name, args)
        if builtin:
            return builtin
        base = self.table.by_ident.get(name[:-1])
        if name.endswith("_") and base and "inplace" in base.variants:
            return self.call_row(base, bind(base.schema, args, keywords), inplace=True)
        if reasons:
            raise Problem("no row fits; " + "; ".join(reasons))
        raise self.table.unknown(name)

    def arguments(self, row: Row, bound: list[Expr | None]) -> str:
        while bound and bound[-1] is None:
            bound.pop()
        codes = []
        for i, (param, expr) in enumerate(zip(row.params, bound)):
            if expr is None:
                codes.append(f"FAC_OP_{row.ident}->params[{i}].fallback")
            else:
                codes.append(self.pass_as(expr, param.type))
        return f"{len(codes)}, (FacValue[]){{{', '.join(codes) or '{0}'}}}"

    def pass_as(self, expr: Expr, wanted: Type) -> str:
        if expr.items is not None and wanted.is_list:
            expr = self.list_of(list(expr.items))
        return self.convert(self.plain(expr), wanted)

    def call_row(self, row: Row, bound: list[Expr | None], inplace: bool = False) -> Expr:
        arguments = self.arguments(row, bound)
        if inplace:
            target = self.plain(bound[0])
            self.attempt(f"fac_call_inplace(FAC_OP_{row.ident}, {arguments})")
            return target
        slots = self.result_slots(row.schema)
        self.attempt(f"fac_call(FAC_OP_{row.ident}, {arguments}, &{slots[0]})")
        return self.results(row.schema, slots)

    def result_slots(self, schema: Schema) -> list[str]:
        return [self.slot() for _ in schema.results] or [self.slot()]

    def results(self, schema: Schema, slots: list[str]) -> Expr:
        results = tuple(self.from_value(r.type, slot) for r, slot in zip(schema.results, slots))
        if len(results) == 1:
            return results[0]
        return Expr(NONE, items=results, names=tuple(result.name for result in schema.results))

    def call_helper(self, helper: Schema, bound: list[Expr | None]) -> Expr:
        codes = [self.pass_as(expr, param.type) for param, expr in zip(helper.params, bound)]
        slots = self.result_slots(helper)
        values = f"(FacValue[]){{{', '.join(codes)}}}"
        self.attempt(f"fac_helper_{helper.name}({values}, &{slots[0]})")
        return self.results(helper, slots)

    def builtin(self, name: str, args: list[Expr]) -> Expr | None:
        """Python's own functions on numbers and lists; None if it is none or does not fit."""
        args = [self.plain(arg) for arg in args]
        if name == "len" and len(args) == 1 and args[0].type.is_list:
            return Expr(INT, f"(int64_t){args[0].code}.len")
        if name in ("float", "int", "bool") and len(args) == 1 and args[0].type.number:
            if args[0].type.native:
                ctype = {"float": "double", "int": "int64_t", "bool": "bool"}[name]
                return Expr(Type(name), f"({ctype}){args[0].code}")
            return self.from_value(Type(name), args[0].code)
        if name in ("min", "max") and len(args) == 2 and all(arg.type.native for arg in args):
            (a, b), sign = args, "<" if name == "min" else ">"
            kind = join_types(a.type, b.type)
            return Expr(kind, f"({a.code} {sign} {b.code} ? {a.code} : {b.code})")
        if name == "abs" and len(args) == 1 and args[0].type.native:
            return Expr(args[0].type, f"({args[0].code} < 0 ? -{args[0].code} : {args[0].code})")
        return None


SLOT = re.compile(r"t\[\d+\]")
TAGS = {"MemoryFormat": "FORMAT", "Layout": "LAYOUT", "ScalarType": "DTYPE"}


def is_place(code: str) -> bool:
    """An element of an array of values, or a literal: cheap to write twice."""
    return code[:1] in "tvas" and code[1:2] == "[" and code.endswith("]") or code.isalnum()


def is_none_literal(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def narrowed(compiler: Compiler, test: ast.expr, holds: bool) -> dict[str, Expr]:
    """The names as they are known where `test` holds, or does not: after `x is not None`, x is not
    optional."""
    names = dict(compiler.names)
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return narrowed(compiler, test.operand, not holds)
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And) == holds:
        for part in test.values:
            before = compiler.names
            compiler.names = names
            names = narrowed(compiler, part, holds)
            compiler.names = before
    if isinstance(test, ast.Compare) and isinstance(test.left, ast.Name) and len(test.ops) == 1:
        absent = isinstance(test.ops[0], ast.Is) == holds
        expr = names.get(test.left.id)
        if expr and expr.type.optional and is_none_literal(test.comparators[0]) and not absent:
            kind = expr.type.required()
            if kind.native and expr.saved is None:
                names[test.left.id] = compiler.from_value(kind, expr.code)
            else:
                names[test.left.id] = replace(expr, type=kind)
    return names


def native_arithmetic(sign: str, a: Expr, b: Expr) -> Expr:
    real = FLOAT in (a.type, b.type)
    kind = FLOAT if real else INT
    if sign in ("+", "-", "*"):
        return Expr(kind, f"({a.code} {sign} {b.code})")
    if sign == "/":
        return Expr(FLOAT, f"((double){a.code} / (double){b.code})")
    if sign == "**":
        if not real and b.code.isdigit():
            return Expr(INT, f"fac_formula_power({a.code}, {b.code})")
        return Expr(FLOAT, f"pow({a.code}, {b.code})")
    if sign in ("//", "%") and not real:
        name = "quotient" if sign == "//" else "remainder"
        return Expr(INT, f"fac_formula_{name}({a.code}, {b.code})")
    if sign in ("&", "|", "^", "<<", ">>") and not real:
        both = a.type == b.type == BOOL and sign in ("&", "|", "^")
        return Expr(BOOL if both else INT, f"({a.code} {sign} {b.code})")
    raise Problem(f"no operator {sign} for {a.type} and {b.type}")


def bind(schema: Schema, args: list[Expr], keywords: dict[str, Expr]) -> list[Expr | None]:
    """The arguments in the order of the parameters, None for defaults; Problem if they do not fit."""
    positional = sum(not param.keyword for param in schema.params)
    if len(args) > positional:
        raise Problem(f"takes {positional} positional arguments, not {len(args)}")
    given = dict(zip((param.name for param in schema.params), args))
    for name, expr in keywords.items():
        if name in given or all(param.name != name for param in schema.params):
            raise Problem(f"'{name}' is no parameter, or is given twice")
        given[name] = expr
    for param in schema.params:
        expr = given.get(param.name)
        if expr is None:
            if param.default is NO_DEFAULT:
                raise Problem(f"'{param.name}' is missing")
        elif expr.items is not None:
            if not param.type.is_list:
                raise Problem(f"'{param.name}' takes {param.type}, not a tuple")
        elif not fits(expr.type, param.type):
            raise Problem(f"'{param.name}' takes {param.type}, not {expr.type}")
    return [given.get(param.name) for param in schema.params]
