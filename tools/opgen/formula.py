"""Formulas: type-checks Python expressions over rows and compiles them to C statements.

An expression becomes an Expr: its type, and a C expression for it, a FacValue. Calls of rows
become statements that put their results into slots of `t`; a slot of `v` holds what a condition has
chosen or arithmetic has given. The rule of ownership is that of dispatch/formula.h: a slot of `t`
owns what is in it, and nothing else does.

What a gradient formula reads of the forward call has to be kept; of a tensor often its sizes are
enough, and the syntax says so: `reads` looks at what is done with each name.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import reduce

from ctext import SIGNS, c_if, c_literal
from declare import Row, Table
from schema import CONSTANTS, NO_DEFAULT, NUMBERS, TYPES, Problem, Schema, Type

TENSOR, OPERAND, SCALAR, INT, FLOAT, BOOL = map(
    Type, "Tensor Operand Scalar int float bool".split()
)
OPERANDS = ("Tensor", "Operand")
NONE = Type("None", optional=True)
DTYPE = Type("ScalarType")
INTS = Type("int", is_list=True)

# How much of a tensor is read, and kept for the backward pass.
SIZES, META, FULL = range(3)

# Attributes of tensors: type, what must be kept, C over the FacTensor *, C over saved sizes.
ATTRIBUTES = {
    "shape": (INTS, SIZES, "fac_v_ints({t}->sizes, {t}->ndim)", "{s}"),
    "ndim": (INT, SIZES, "fac_v_int({t}->ndim)", "fac_v_int({s}.len)"),
    "numel": (INT, SIZES, "fac_v_int({t}->numel)", "fac_v_int(fac_formula_numel({s}))"),
    "dtype": (DTYPE, META, "fac_v_dtype({t}->dtype)", ""),
    "device": (Type("Device"), META, "fac_v_device({t}->device)", ""),
}
DTYPE_ATTRIBUTES = {"is_floating_point": "FLOAT", "is_complex": "COMPLEX", "is_integral": "INT"}
# Reading a FacValue as plain C, and of what lists are made: type of the array, making the value.
NATIVE = {"bool": "is_true", "int": "as_int", "float": "as_float", "Tensor": "as_tensor"}
LISTS = {"int": ("int64_t ", "fac_v_ints"), "Tensor": ("FacTensor *", "fac_v_tensors")}
ARITHMETIC = "+ - * / // % **".split()
COMPARISONS = "== != < <= > >=".split()
SLOT = re.compile(r"(t|v|call->\w+)\[\d+\]")


@dataclass(frozen=True)
class Expr:
    type: Type
    code: str = ""
    items: tuple[Expr, ...] | None = None  # of several results, or of a tuple
    # of what a gradient reads: for each level the place, and how much is kept there
    levels: dict[int, tuple[str, int]] = field(default_factory=dict)

    def __str__(self) -> str:
        return "a tuple" if self.items is not None else str(self.type)


def condition(test: str) -> Expr:
    return Expr(BOOL, f"fac_v_bool({test})")


def native(base: str, code: str) -> str:
    """A number or tensor out of its FacValue, as plain C."""
    make = f"fac_v_{base}("
    return code[len(make) : -1] if code.startswith(make) else f"fac_v_{NATIVE[base]}({code})"


def fits(given: Type, wanted: Type) -> bool:
    """Whether a value of the one type can be passed where the other is asked for."""
    if given == NONE:
        return wanted.optional
    if given.optional > wanted.optional:
        return False
    if given.is_list != wanted.is_list:
        return given == INT and wanted.base == "int" and wanted.length > 0
    if given.is_list:
        return given.base in (wanted.base, "") and given.item_optional <= wanted.item_optional
    if given.base in NUMBERS:
        return wanted.base in (*NUMBERS[NUMBERS.index(given.base) :], "Operand")
    return given.base == wanted.base or {given.base, wanted.base} == {"Tensor", "Operand"}


def join_types(one: Type, other: Type) -> Type:
    """The type of `one if c else other`."""
    if NONE in (one, other):
        return replace(other if one == NONE else one, optional=True)
    optional = one.optional or other.optional
    a, b = one.required(), other.required()
    for kind, wider in ((a, b), (b, a)):
        if fits(kind, wider) and (wider.base == kind.base or wider.base not in OPERANDS):
            return replace(wider, optional=optional)
    if fits(a, OPERAND) and fits(b, OPERAND):
        return Type("Operand", optional)
    raise Problem(f"the two sides have the types {one} and {other}")


def bind(schema: Schema, args: list[Expr], keywords: dict[str, Expr]) -> list[Expr | None]:
    """The arguments in the order of the parameters, None for defaults."""
    positional = [param.name for param in schema.params if not param.keyword]
    given = dict(zip(positional, args)) | keywords
    unknown = set(given) - {param.name for param in schema.params}
    if unknown or len(given) < len(args) + len(keywords):
        names = ", ".join(param.name for param in schema.params)
        raise Problem(f"takes each of {names} once, and by position no more than {len(positional)}")
    for param in schema.params:
        expr = given.get(param.name)
        if expr is None and param.default is NO_DEFAULT:
            raise Problem(f"'{param.name}' is missing")
        if expr and (expr.items is not None or not fits(expr.type, param.type)):
            hint = ", which may be None" if fits(expr.type.required(), param.type) else ""
            raise Problem(f"'{param.name}' takes {param.type}, not {expr}{hint}")
    return [given.get(param.name) for param in schema.params]


def reads(formula: ast.expr) -> Iterator[tuple[str, int]]:
    """The names in a formula, and how much of a tensor of that name is read."""
    for node in ast.walk(ast.Expression(formula)):
        level = FULL
        match node:
            case ast.Attribute(attr=name) if name in ATTRIBUTES:
                level = ATTRIBUTES[name][1]
            case ast.Compare(ops=[ast.Is() | ast.IsNot()]):
                level = SIZES
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Name) and child is not getattr(node, "func", None):
                yield child.id, level


class Compiler:
    """Compiles the formulas of one C function. `names` are what they may name."""

    def __init__(self, table: Table):
        self.table = table
        self.names: dict[str, Expr] = {}
        self.lines: list[str] = []
        self.arrays: list[str] = []  # declarations at the top of the function
        self.slots = {"t": 0, "v": 0}

    def compile(self, row: Row, formula: ast.expr, places: list[tuple[Type, str]], what: str = ""):
        """Puts new references to the values of a formula into places of the caller."""
        try:
            expr = self.visit(formula)
            items = (expr,) if len(places) == 1 else expr.items or ()
            if len(items) != len(places):
                raise Problem(f"the formula gives {expr}, and {len(places)} values are wanted")
            codes = [self.pass_as(item, wanted) for item, (wanted, _) in zip(items, places)]
        except Problem as problem:
            self.table.report(row, problem, what)
            return
        for i, (code, (_, place)) in enumerate(zip(codes, places)):
            if code.startswith("t[") and code not in codes[i + 1 :]:
                self.lines.append(f"fac_formula_move(&{code}, &{place});")
            else:
                self.attempt(f"fac_value_keep({code}, &{place})")

    def finish(self, *signature: str) -> list[str]:
        """The whole function around the statements."""
        head = [f"FacValue {n}[{count}] = {{0}};" for n, count in self.slots.items() if count]
        head += [*self.arrays, "FacStatus st = FAC_OK;"]
        label = ["done:"] * any("FAC_TRY" in line for line in self.lines)
        release = [f"fac_formula_release(t, {self.slots['t']});"] * bool(self.slots["t"])
        return [*signature, "{", *head, *self.lines, *label, *release, "return st;", "}", ""]

    # --- pieces of C

    def attempt(self, call: str) -> None:
        self.lines.append(f"FAC_TRY({call});")

    def slot(self, array: str) -> str:
        self.slots[array] += 1
        return f"{array}[{self.slots[array] - 1}]"

    def array(self, ctype: str, length: int) -> str:
        name = f"x{len(self.arrays)}"
        self.arrays.append(f"{ctype}{name}[{length}];")
        return name

    # --- reading values

    def truth(self, expr: Expr) -> str:
        if not expr.type.number:
            raise Problem(f"a condition is a number or a bool, not {expr}")
        return native("bool", expr.code)

    def pass_as(self, expr: Expr, wanted: Type) -> str:
        """The FacValue to pass where `wanted` is asked for."""
        if expr.items is not None or not fits(expr.type, wanted):
            raise Problem(f"{expr} where {wanted} is wanted")
        if wanted.is_list and expr.type == INT:
            return self.list_of([expr] * wanted.length).code
        if expr.type.base == "" and wanted.base in LISTS:
            return f"{LISTS[wanted.base][1]}(NULL, 0)"
        if expr.type.base == "Operand" and wanted.base == "Tensor":
            slot = self.slot("t")
            self.attempt(f"fac_formula_tensor({expr.code}, &{slot})")
            return slot
        if expr.type in (INT, BOOL) and wanted.base == "float":
            return f"fac_v_float(fac_v_as_float({expr.code}))"
        return expr.code

    def list_of(self, items: list[Expr]) -> Expr:
        if not items:
            return Expr(Type("", is_list=True), "fac_v_ints(NULL, 0)")
        kind = reduce(join_types, [item.type for item in items])
        if kind.base not in LISTS or kind.is_list or kind.optional and kind.base != "Tensor":
            raise Problem(f"a list has items of one type: {', '.join(LISTS)}; not {kind}")
        ctype, make = LISTS[kind.base]
        name = self.array(ctype, len(items))
        for i, item in enumerate(items):
            self.lines.append(f"{name}[{i}] = {native(kind.base, item.code)};")
        listed = Type(kind.base, is_list=True, item_optional=kind.optional)
        return Expr(listed, f"{make}({name}, {len(items)})")

    # --- expressions

    def visit(self, node: ast.expr) -> Expr:
        match node:
            case ast.Constant(value=None):
                return Expr(NONE, "FAC_VALUE_NONE")
            case ast.Constant(value=bool() | int() | float() | str() as value):
                kind = type(value).__name__
                return Expr(Type(kind), f"fac_v_{kind}({c_literal(value)})")
            case ast.Name(id=name) if name in self.names:
                return self.names[name]
            case ast.Name(id=name) if name in CONSTANTS:
                base, constant = CONSTANTS[name]
                return Expr(
                    Type(base), f"(FacValue){{.tag = FAC_V_{TYPES[base]}, .v.i = {constant}}}"
                )
            case ast.Name(id="inf" | "nan" | "pi" as name):
                return Expr(FLOAT, f"fac_v_float({c_literal(getattr(math, name))})")
            case ast.Name(id=name):
                raise Problem(f"'{name}' is not known here; there are {', '.join(self.names)}")
            case ast.NamedExpr(target=ast.Name(id=name), value=value):
                return self.bind_name(name, self.visit(value))
            case ast.List(elts=items):
                return self.list_of([self.visit(item) for item in items])
            case ast.Tuple(elts=items):
                return Expr(NONE, items=tuple(self.visit(item) for item in items))
            case ast.Attribute(value=owner, attr=attribute):
                return self.attribute(self.visit(owner), attribute)
            case ast.Subscript(value=owner, slice=index):
                return self.subscript(self.visit(owner), index)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return condition(f"!({self.truth(self.visit(operand))})")
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
                return self.visit(ast.Constant(-value))
            case ast.UnaryOp(op=ast.USub() | ast.Invert() as op, operand=operand):
                operand = self.visit(operand)
                if operand.type.number and isinstance(op, ast.USub):
                    return self.arithmetic(self.visit(ast.Constant(-1)), "*", operand)
                return self.row_operator(f"{SIGNS[type(op)]}a", {"a": operand})
            case ast.BinOp(left=left, op=op, right=right):
                return self.binary(self.visit(left), SIGNS[type(op)], self.visit(right))
            case ast.Compare(left=left, ops=[ast.Is() | ast.IsNot() as op], comparators=[
                ast.Constant(value=None)]):  # fmt: skip
                return self.is_none(self.visit(left), "==" if isinstance(op, ast.Is) else "!=")
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                return self.binary(self.visit(left), SIGNS.get(type(op), "?"), self.visit(right))
            case ast.BoolOp(op=op, values=[first, *rest]):
                rest = rest[0] if len(rest) == 1 else ast.BoolOp(op, rest)
                if isinstance(op, ast.And):
                    return self.choose(first, rest, ast.Constant(False))
                return self.choose(first, ast.Constant(True), rest)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return self.choose(test, body, orelse)
            case ast.Call(func=ast.Attribute(value=owner, attr=name), args=args, keywords=keywords):
                return self.call(name, [owner, *args], keywords)
            case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords):
                return self.call(name, args, keywords)
        raise Problem(f"formulas cannot say '{ast.unparse(node)}'")

    def bind_name(self, name: str, expr: Expr) -> Expr:
        if expr.items is None and not SLOT.fullmatch(expr.code):
            place = self.slot("v")
            self.lines.append(f"{place} = {expr.code};")
            expr = Expr(expr.type, place)
        self.names[name] = expr
        return expr

    def attribute(self, owner: Expr, name: str) -> Expr:
        if owner.type == DTYPE and name in DTYPE_ATTRIBUTES:
            return condition(f"FAC_IS_{DTYPE_ATTRIBUTES[name]}({owner.code}.v.i)")
        if name not in ATTRIBUTES or owner.items is not None or not fits(owner.type, TENSOR):
            hint = "; it may be None" if owner.type.optional else ""
            raise Problem(f"{owner} has no attribute '{name}'{hint}")
        kind, level, of_tensor, of_sizes = ATTRIBUTES[name]
        code, kept = owner.levels.get(level, (owner.code, FULL))
        if kept == SIZES:
            return Expr(kind, of_sizes.format(s=code))
        tensor = self.pass_as(Expr(owner.type, code), TENSOR)
        return Expr(kind, of_tensor.format(t=f"{tensor}.v.t"))

    def subscript(self, owner: Expr, index: ast.expr) -> Expr:
        if owner.items is not None:
            try:
                return owner.items[ast.literal_eval(index)]
            except (ValueError, TypeError, IndexError):
                raise Problem("a tuple is indexed by a literal within it") from None
        if not owner.type.is_list or owner.type.optional:
            raise Problem(f"{owner} has no items")
        if isinstance(index, ast.Slice):
            ends = [self.visit(end or ast.Constant(None)) for end in (index.lower, index.upper)]
            codes = ", ".join(self.pass_as(end, Type("int", optional=True)) for end in ends)
            return Expr(replace(owner.type, length=0), f"fac_formula_slice({owner.code}, {codes})")
        place, at = self.slot("v"), self.pass_as(self.visit(index), INT)
        self.attempt(f"fac_formula_item({owner.code}, {at}, &{place})")
        return Expr(Type(owner.type.base, optional=owner.type.item_optional), place)

    # --- operators

    def binary(self, a: Expr, sign: str, b: Expr) -> Expr:
        numbers = a.type.number and b.type.number
        if numbers and sign in ARITHMETIC:
            return self.arithmetic(a, sign, b)
        if numbers and sign in COMPARISONS:
            return condition(f'fac_formula_compare({a.code}, "{sign}", {b.code})')
        if sign in ("==", "!=") and a.type.base == b.type.base and a.type.base not in OPERANDS:
            return condition(f"{'!' * (sign == '!=')}fac_formula_equal({a.code}, {b.code})")
        return self.row_operator(f"a {sign} b", {"a": a, "b": b})

    def arithmetic(self, a: Expr, sign: str, b: Expr) -> Expr:
        """On numbers; a result that may be complex lies in an array."""
        kind = max(INT, a.type, b.type, key=lambda kind: NUMBERS.index(kind.base))
        if kind == INT and sign in ("/", "**"):
            kind = FLOAT if sign == "/" else SCALAR
        room = self.array("double ", 2) if kind == SCALAR else "NULL"
        place = self.slot("v")
        self.lines.append(
            f'{place} = fac_formula_arithmetic({a.code}, "{sign}", {b.code}, {room});'
        )
        return Expr(kind, place)

    def row_operator(self, pattern: str, operands: dict[str, Expr]) -> Expr:
        """An operator on tensors: the formula declared for it."""
        names, self.names = self.names, operands
        try:
            return self.visit(self.table.operators[pattern])
        except (KeyError, Problem) as problem:
            what = " and ".join(map(str, operands.values()))
            raise Problem(f"no operator '{pattern}' for {what}: {problem}") from None
        finally:
            self.names = names

    def is_none(self, operand: Expr, sign: str) -> Expr:
        if not operand.type.optional:
            raise Problem(f"{operand} is never None")
        code, _ = operand.levels.get(SIZES, (operand.code, FULL))
        return condition(f"{code}.tag {sign} FAC_V_NONE")

    def choose(self, test: ast.expr, body: ast.expr, orelse: ast.expr) -> Expr:
        """Only the chosen side runs."""
        checked = self.truth(self.visit(test))
        one, one_lines = self.side(body, test, True)
        other, other_lines = self.side(orelse, test, False)
        kind = join_types(one.type, other.type)
        if one_lines or other_lines:
            place = self.slot("v")
            self.lines += [c_if(checked), *one_lines, f"{place} = {one.code};", "} else {"]
            self.lines += [*other_lines, f"{place} = {other.code};", "}"]
            return Expr(kind, place)
        if kind == BOOL:
            return condition(f"({checked} ? {self.truth(one)} : {self.truth(other)})")
        return Expr(kind, f"({checked} ? {one.code} : {other.code})")

    def side(self, node: ast.expr, test: ast.expr, holds: bool) -> tuple[Expr, list[str]]:
        """One side of a condition and its statements; names bound there are forgotten after."""
        names, lines = self.names, self.lines
        self.names, self.lines = narrowed(dict(names), test, holds), []
        expr = self.visit(node)
        if expr.items is not None:
            raise Problem("a condition chooses between two values, not between tuples")
        made, self.names, self.lines = self.lines, names, lines
        return expr, made

    # --- calls

    def call(self, name: str, args: list[ast.expr], keywords: list[ast.keyword]) -> Expr:
        given = [self.visit(arg) for arg in args]
        named = {keyword.arg: self.visit(keyword.value) for keyword in keywords}
        reasons = []
        for form, schema in self.table.candidates(name):
            try:
                bound = bind(schema, given, named)
            except Problem as problem:
                reasons.append(str(problem))
                continue
            return self.call_form(form, schema, bound)
        builtin = None if named else self.builtin(name, given)
        if not builtin:
            raise Problem(f"{name}: {'; '.join(reasons)}") if reasons else self.table.unknown(name)
        return builtin

    def builtin(self, name: str, args: list[Expr]) -> Expr | None:
        """Python's own functions of numbers and lists; None if it is none or does not fit."""
        match name, [arg.code for arg in args], all(arg.type.number for arg in args):
            case "len", [code], _ if args[0].type.is_list:
                return Expr(INT, f"fac_v_int({code}.len)")
            case "int" | "float" | "bool", [code], True:
                return Expr(Type(name), f"fac_v_{name}({native(name, code)})")
            case "min" | "max", [a, b], True:
                test = f'fac_formula_compare({a}, "{"<" if name == "min" else ">"}", {b})'
                return Expr(join_types(args[0].type, args[1].type), f"({test} ? {a} : {b})")
        return None

    def call_form(self, form: str, schema: Schema, bound: list[Expr | None]) -> Expr:
        if form == "inplace":
            self.attempt(f"fac_call_inplace({self.arguments(schema, bound)})")
            return bound[0]
        slots = [self.slot("t") for _ in schema.results or [None]]
        if form == "helper":
            values = [self.pass_as(e, p.type) for p, e in zip(schema.params, bound)]
            call = f"fac_helper_{schema.name}((FacValue[]){{{', '.join(values) or '{0}'}}}"
        else:
            call = f"fac_call({self.arguments(schema, bound)}"
        self.attempt(f"{call}, &{slots[0]})")
        results = tuple(Expr(r.type, slot) for r, slot in zip(schema.results, slots))
        return results[0] if len(results) == 1 else Expr(NONE, items=results)

    def arguments(self, schema: Schema, bound: list[Expr | None]) -> str:
        given = max((i + 1 for i, expr in enumerate(bound) if expr), default=0)
        row = f"FAC_OP_{schema.ident}"
        values = [
            self.pass_as(expr, param.type) if expr else f"{row}->params[{i}].fallback"
            for i, (param, expr) in enumerate(zip(schema.params, bound[:given]))
        ]
        return f"{row}, {given}, (FacValue[]){{{', '.join(values) or '{0}'}}}"


def narrowed(names: dict[str, Expr], test: ast.expr, holds: bool) -> dict[str, Expr]:
    """The names as they are known where `test` holds, or does not: after `x is not None`, x is not
    optional."""
    match test:
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return narrowed(names, operand, not holds)
        case ast.BoolOp(op=op, values=parts) if isinstance(op, ast.And) == holds:
            for part in parts:
                names = narrowed(names, part, holds)
        case ast.Compare(left=ast.Name(id=name), ops=[op], comparators=[ast.Constant(value=None)]):
            if name in names and isinstance(op, ast.IsNot) == holds:
                known = names[name]
                return {**names, name: replace(known, type=known.type.required())}
    return names
