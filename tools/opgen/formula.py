"""Formulas: type-checks Python expressions over rows and compiles them to C statements.

An expression becomes an Expr: its type, and a C expression for it, a FacValue. Calls of rows
become statements that put their results into slots of `t`; a slot of `v` holds what a condition has
chosen or arithmetic has given. The rule of ownership is that of dispatch/formula.h: a slot of `t`
owns what is in it, and nothing else does.

What a gradient reads of the forward call goes through Saves, which decides how little of each
argument and result is to be kept.
"""

from __future__ import annotations

import ast
import math
import re
from dataclasses import dataclass, field, replace

from ctext import SIGNS, c_if, c_literal
from declare import Table, Text
from schema import CONSTANTS, FLOATS, NO_DEFAULT, NUMBERS, TYPES, Problem, Schema, Type

TENSOR, SCALAR, INT, FLOAT, BOOL = map(Type, ("Tensor", "Scalar", "int", "float", "bool"))
NONE = Type("None", optional=True)
INTS = Type("int", is_list=True)

# How much of a tensor is kept for the backward pass.
SIZES, META, FULL = range(3)

# Attributes of tensors: type, what must be kept, C over the FacTensor *, C over saved sizes.
ATTRIBUTES = {
    "shape": (INTS, SIZES, "fac_v_ints({t}->sizes, {t}->ndim)", "{s}"),
    "ndim": (INT, SIZES, "fac_v_int({t}->ndim)", "fac_v_int({s}.len)"),
    "numel": (INT, SIZES, "fac_v_int({t}->numel)", "fac_v_int(fac_formula_numel({s}))"),
    "dtype": (Type("ScalarType"), META, "fac_v_dtype({t}->dtype)", ""),
    "device": (Type("Device"), META, "fac_v_device({t}->device)", ""),
}
DTYPE_ATTRIBUTES = {
    "is_floating_point": "FAC_IS_FLOAT({d}.v.i)",
    "is_complex": "FAC_IS_COMPLEX({d}.v.i)",
    "is_integral": "FAC_IS_INT({d}.v.i)",
}
# How a list literal is made: type of the array, reading an item, making the value.
LISTS = {
    "int": ("int64_t ", "fac_v_as_int", "fac_v_ints"),
    "float": ("double ", "fac_v_as_float", "fac_formula_floats"),
    "bool": ("bool ", "fac_v_is_true", "fac_formula_bools"),
    "Tensor": ("FacTensor *", "fac_v_as_tensor", "fac_v_tensors"),
}
NUMBER_SIGNS = ("+", "-", "*", "/", "//", "%", "**")
SLOT = re.compile(r"[tvasg]\[\d+\]")


@dataclass(frozen=True)
class Expr:
    type: Type
    code: str = ""
    items: tuple[Expr, ...] | None = None  # of several results, or of a tuple
    names: tuple[str, ...] = ()  # the names of these items
    saved: tuple[str, int] | None = None  # a parameter or result that has to be kept to be read

    def __str__(self) -> str:
        return "a tuple" if self.items is not None else str(self.type)


def condition(test: str) -> Expr:
    return Expr(BOOL, f"fac_v_bool({test})")


TRUE, FALSE = condition("true"), condition("false")


def native(base: str, code: str) -> str:
    """A number or tensor out of its FacValue, as plain C."""
    make = f"fac_v_{base}("
    return code[len(make) : -1] if code.startswith(make) else f"{LISTS[base][1]}({code})"


def fits(given: Type, wanted: Type) -> bool:
    """Whether a value of the one type can be passed where the other is asked for."""
    if given == NONE:
        return wanted.optional
    if given.optional and not wanted.optional:
        return False
    if wanted.is_list and not given.is_list:
        return given.base == "int" == wanted.base and wanted.length > 0
    if given.is_list:
        same = given.base in (wanted.base, "")
        return wanted.is_list and same and given.item_optional <= wanted.item_optional
    if given.base in NUMBERS:
        return wanted.base in (*NUMBERS[NUMBERS.index(given.base) :], "Operand")
    return given.base == wanted.base or {given.base, wanted.base} == {"Tensor", "Operand"}


def join_types(one: Type, other: Type) -> Type:
    """The type of `one if c else other`."""
    for a, b in ((one, other), (other, one)):
        if a == NONE:
            return replace(b, optional=True)
        optional = a.optional or b.optional
        if a.is_list and b.is_list and a.base in ("", b.base):
            loose = a.item_optional or b.item_optional
            return Type(b.base, optional, is_list=True, item_optional=loose)
        if a.is_list or b.is_list:
            continue
        if a.base == b.base or a.base in NUMBERS and b.base in NUMBERS and fits(a.required(), b):
            return replace(b, optional=optional)
        if b.base in ("Tensor", "Operand") and fits(a.required(), Type("Operand")):
            return Type("Operand", optional)
    raise Problem(f"the two sides have the types {one} and {other}")


def bind(schema: Schema, args: list[Expr], keywords: dict[str, Expr]) -> list[Expr | None]:
    """The arguments in the order of the parameters, None for defaults."""
    positional = [param.name for param in schema.params if not param.keyword]
    if len(args) > len(positional):
        raise Problem(f"takes {len(positional)} positional arguments, not {len(args)}")
    given = dict(zip(positional, args))
    for name, expr in keywords.items():
        if name in given or all(param.name != name for param in schema.params):
            raise Problem(f"'{name}' is no parameter, or is given twice")
        given[name] = expr
    for param in schema.params:
        expr = given.get(param.name)
        if expr is None and param.default is NO_DEFAULT:
            raise Problem(f"'{param.name}' is missing")
        if expr and not (fits(expr.type, param.type) if expr.items is None else param.type.is_list):
            hint = ", which may be None" if fits(expr.type.required(), param.type) else ""
            raise Problem(f"'{param.name}' takes {param.type}, not {expr}{hint}")
    return [given.get(param.name) for param in schema.params]


@dataclass
class Saves:
    """What the gradients of a row read of its call. First the formulas are compiled to find out,
    then `lay_out` gives slots, then they are compiled again."""

    reads: dict[tuple[str, int], dict[int, int]] = field(default_factory=dict)
    slots: list[tuple[tuple[str, int], int, int]] = field(default_factory=list)
    where: dict[tuple[tuple[str, int], int], tuple[int, int]] = field(default_factory=dict)
    mask: int = 0  # the inputs whose gradient the present formula computes

    def read(self, source: tuple[str, int], level: int) -> tuple[str, int]:
        """The saved value, and how much is kept there."""
        levels = self.reads.setdefault(source, {})
        levels[level] = levels.get(level, 0) | self.mask
        slot, kept = self.where.get((source, level), (0, level))
        return f"s[{slot}]", kept

    def lay_out(self) -> None:
        """A slot for each source and level, or one that keeps more for at least the same inputs."""
        for source, levels in sorted(self.reads.items()):
            for level in sorted(levels, reverse=True):
                for slot, (other, kept, mask) in enumerate(self.slots):
                    if other == source and levels[level] | mask == mask:
                        self.where[source, level] = (slot, kept)
                if (source, level) not in self.where:
                    self.where[source, level] = (len(self.slots), level)
                    self.slots.append((source, level, levels[level]))


class Compiler:
    """Compiles the formulas of one C function. `names` are what the formulas may name."""

    def __init__(self, table: Table, names: dict[str, Expr], saves: Saves | None = None):
        self.table = table
        self.names = dict(names)
        self.saves = saves
        self.lines: list[str] = []
        self.arrays: list[str] = []  # declarations at the top of the function
        self.depth = 1
        self.slots = {"t": 0, "v": 0}

    def compile(self, text: Text) -> Expr:
        try:
            tree = ast.parse(text.text.strip(), mode="eval")
        except SyntaxError as error:
            raise Problem(f"the formula is no expression: {error.msg}") from None
        return self.visit(tree.body)

    def give(self, outs: list[tuple[Expr, Type, str]]) -> None:
        """Puts new references to values into places of the caller."""
        codes = [self.pass_as(expr, wanted) for expr, wanted, _ in outs]
        for i, (code, (*_, out)) in enumerate(zip(codes, outs)):
            if code.startswith("t[") and code not in codes[i + 1 :]:
                self.emit(f"fac_formula_move(&{code}, &{out});")
            else:
                self.attempt(f"fac_value_keep({code}, &{out})")

    def finish(self, signature: str, sources: dict[str, str]) -> list[str]:
        """The whole function around the statements; `sources` are the arrays that it may read."""
        body = "\n".join(self.lines)
        head = [f"FacValue {n}[{count}] = {{0}};" for n, count in self.slots.items() if count]
        for name, source in sources.items():
            if re.search(rf"\b{name}\[", body):
                head.insert(0, f"const FacValue *{name} = {source};")
        head = ["    " + line for line in [*head, *self.arrays, "FacStatus st = FAC_OK;"]]
        release = [f"    fac_formula_release(t, {self.slots['t']});"] * bool(self.slots["t"])
        label = ["done:"] * ("FAC_TRY" in body)
        return [signature, "{", *head, *self.lines, *label, *release, "    return st;", "}", ""]

    # --- pieces of C

    def emit(self, line: str) -> None:
        self.lines.append("    " * self.depth + line)

    def attempt(self, call: str) -> None:
        self.emit(f"FAC_TRY({call});")

    def slot(self, array: str) -> str:
        self.slots[array] += 1
        return f"{array}[{self.slots[array] - 1}]"

    def array(self, ctype: str, length: int) -> str:
        name = f"x{len(self.arrays)}"
        self.arrays.append(f"{ctype}{name}[{length}];")
        return name

    # --- reading values

    def plain(self, expr: Expr) -> Expr:
        """The expression with what it reads kept whole."""
        if expr.saved is None:
            return expr
        return Expr(expr.type, self.saves.read(expr.saved, FULL)[0])

    def value(self, node: ast.expr) -> Expr:
        return self.plain(self.visit(node))

    def truth(self, expr: Expr) -> str:
        expr = self.plain(expr)
        if expr.type.is_list and not expr.type.optional:
            return f"{expr.code}.len > 0"
        if not expr.type.number or expr.items is not None:
            raise Problem(f"a condition is a number or a bool, not {expr}")
        return native("bool", expr.code)

    def pass_as(self, expr: Expr, wanted: Type) -> str:
        """The FacValue to pass where `wanted` is asked for."""
        if wanted.is_list and expr.items is not None:
            expr = self.list_of(list(expr.items))
        if expr.items is not None or not fits(expr.type, wanted):
            raise Problem(f"{expr} where {wanted} is wanted")
        expr = self.plain(expr)
        if wanted.is_list and not expr.type.is_list and expr.type != NONE:
            return self.list_of([expr] * wanted.length).code
        if expr.type.base == "" and wanted.base in LISTS:
            return f"{LISTS[wanted.base][2]}(NULL, 0)"
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
        items = [self.plain(item) for item in items]
        kind = items[0].type
        for item in items[1:]:
            kind = join_types(kind, item.type)
        if kind.base not in LISTS or kind.is_list or kind.optional and kind.base != "Tensor":
            raise Problem(f"a list has items of one type: {', '.join(LISTS)}; not {kind}")
        ctype, _, make = LISTS[kind.base]
        name = self.array(ctype, len(items))
        for i, item in enumerate(items):
            self.emit(f"{name}[{i}] = {native(kind.base, item.code)};")
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
            case ast.Name(id=name):
                return self.name(name)
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
                operand = self.value(operand)
                if operand.type.number and isinstance(op, ast.USub):
                    return self.arithmetic(self.visit(ast.Constant(-1)), "*", operand)
                return self.row_operator(f"{SIGNS[type(op)]}a", {"a": operand})
            case ast.BinOp(left=left, op=op, right=right):
                return self.binary(self.value(left), SIGNS[type(op)], self.value(right))
            case ast.Compare(left=left, ops=[ast.Is() | ast.IsNot() as op], comparators=[
                ast.Constant(value=None)]):  # fmt: skip
                return self.is_none(self.visit(left), "==" if isinstance(op, ast.Is) else "!=")
            case ast.Compare(left=left, ops=ops, comparators=rest):
                sides = [self.value(side) for side in (left, *rest)]
                parts = [self.compare(*part) for part in zip(sides, map(type, ops), sides[1:])]
                if len(parts) == 1:
                    return parts[0]
                return condition(f"({' && '.join(map(self.truth, parts))})")
            case ast.BoolOp(op=op, values=[first, *rest]):
                rest = rest[0] if len(rest) == 1 else ast.BoolOp(op, rest)
                if isinstance(op, ast.And):
                    return self.choose(first, rest, ast.Constant(False))
                return self.choose(first, ast.Constant(True), rest)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return self.choose(test, body, orelse)
            case ast.Call(func=ast.Attribute(value=owner, attr=name), args=args, keywords=keywords):
                if name in ATTRIBUTES and not args and not keywords:
                    return self.attribute(self.visit(owner), name)
                return self.call(name, [owner, *args], keywords)
            case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords):
                return self.call(name, args, keywords)
        raise Problem(f"formulas cannot say '{ast.unparse(node)}'")

    def name(self, name: str) -> Expr:
        if name in self.names:
            return self.names[name]
        if name in CONSTANTS:
            base, constant = CONSTANTS[name]
            return Expr(Type(base), f"(FacValue){{.tag = FAC_V_{TYPES[base]}, .v.i = {constant}}}")
        if name in FLOATS or name == "pi":
            return Expr(FLOAT, f"fac_v_float({c_literal(FLOATS.get(name, math.pi))})")
        raise Problem(f"'{name}' is not known here; there are {', '.join(self.names)}")

    def bind_name(self, name: str, expr: Expr) -> Expr:
        if expr.saved is None and expr.items is None and not SLOT.fullmatch(expr.code):
            place = self.slot("v")
            self.emit(f"{place} = {expr.code};")
            expr = Expr(expr.type, place)
        self.names[name] = expr
        return expr

    def attribute(self, owner: Expr, name: str) -> Expr:
        if owner.items is not None and name in owner.names:
            return owner.items[owner.names.index(name)]
        if owner.type.base == "ScalarType" and name in DTYPE_ATTRIBUTES:
            return condition(DTYPE_ATTRIBUTES[name].format(d=self.plain(owner).code))
        if name not in ATTRIBUTES or owner.items is not None or not fits(owner.type, TENSOR):
            hint = "; it may be None" if owner.type.optional else ""
            raise Problem(f"{owner} has no attribute '{name}'{hint}")
        kind, level, of_tensor, of_sizes = ATTRIBUTES[name]
        if owner.saved and owner.type == TENSOR:
            saved, kept = self.saves.read(owner.saved, level)
            if kept == SIZES:
                return Expr(kind, of_sizes.format(s=saved))
            owner = Expr(TENSOR, saved)
        return Expr(kind, of_tensor.format(t=f"{self.pass_as(owner, TENSOR)}.v.t"))

    def subscript(self, owner: Expr, index: ast.expr) -> Expr:
        if owner.items is not None:
            try:
                return owner.items[ast.literal_eval(index)]
            except (ValueError, TypeError, IndexError):
                raise Problem("a tuple is indexed by a literal within it") from None
        owner = self.plain(owner)
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
        if a.type.number and b.type.number and sign in NUMBER_SIGNS:
            return self.arithmetic(a, sign, b)
        return self.row_operator(f"a {sign} b", {"a": a, "b": b})

    def arithmetic(self, a: Expr, sign: str, b: Expr) -> Expr:
        """On numbers; a result that may be complex lies in an array."""
        kind = max(INT, a.type, b.type, key=lambda kind: NUMBERS.index(kind.base))
        if kind == INT and sign in ("/", "**"):
            kind = FLOAT if sign == "/" else SCALAR
        room = self.array("double ", 2) if kind == SCALAR else "NULL"
        place = self.slot("v")
        self.emit(f'{place} = fac_formula_arithmetic({a.code}, "{sign}", {b.code}, {room});')
        return Expr(kind, place)

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
        what = " and ".join(map(str, operands.values()))
        raise Problem(f"no operator '{pattern}' for {what}{''.join(reasons[:1])}")

    def compare(self, a: Expr, op: type, b: Expr) -> Expr:
        sign = SIGNS.get(op, "")
        if a.type.number and b.type.number and sign:
            return condition(f'fac_formula_compare({a.code}, "{sign}", {b.code})')
        tensors = any(side.type.base in ("Tensor", "Operand") for side in (a, b))
        if sign in ("==", "!=") and a.type.base == b.type.base and not tensors:
            return condition(f"{'!' * (sign == '!=')}fac_formula_equal({a.code}, {b.code})")
        return self.row_operator(f"a {sign} b", {"a": a, "b": b})

    def is_none(self, operand: Expr, sign: str) -> Expr:
        if not operand.type.optional:
            raise Problem(f"{operand} is never None")
        if operand.saved and operand.type.tensor:
            operand = Expr(operand.type, self.saves.read(operand.saved, SIZES)[0])
        return condition(f"{self.plain(operand).code}.tag {sign} FAC_V_NONE")

    def choose(self, test: ast.expr, body: ast.expr, orelse: ast.expr) -> Expr:
        """Only the chosen side runs."""
        checked = self.truth(self.visit(test))
        ones, one_lines = self.side(body, test, True)
        others, other_lines = self.side(orelse, test, False)
        if len(ones) != len(others):
            raise Problem("the two sides are tuples of different lengths")
        kinds = [join_types(one.type, other.type) for one, other in zip(ones, others)]
        if len(kinds) == 1 and not one_lines and not other_lines:
            if others[0] == FALSE:
                return condition(f"({checked} && {self.truth(ones[0])})")
            if ones[0] == TRUE:
                return condition(f"({checked} || {self.truth(others[0])})")
            return Expr(kinds[0], f"({checked} ? {ones[0].code} : {others[0].code})")
        chosen = tuple(Expr(kind, self.slot("v")) for kind in kinds)
        sides = (c_if(checked), one_lines, ones), ("} else {", other_lines, others)
        for head, lines, exprs in sides:
            self.emit(head)
            self.lines += lines
            for place, expr in zip(chosen, exprs):
                self.emit(f"    {place.code} = {expr.code};")
        self.emit("}")
        return chosen[0] if len(chosen) == 1 else Expr(NONE, items=chosen)

    def side(self, node: ast.expr, test: ast.expr, holds: bool) -> tuple[list[Expr], list[str]]:
        """One side of a condition and its statements; names bound there are forgotten after."""
        names, lines = self.names, self.lines
        self.names, self.lines = narrowed(dict(names), test, holds), []
        self.depth += 1
        expr = self.visit(node)
        exprs = [self.plain(item) for item in ((expr,) if expr.items is None else expr.items)]
        self.depth -= 1
        made, self.names, self.lines = self.lines, names, lines
        return exprs, made

    # --- calls

    def call(self, name: str, args: list[ast.expr], keywords: list[ast.keyword]) -> Expr:
        given = [self.visit(arg) for arg in args]
        named = {keyword.arg: self.visit(keyword.value) for keyword in keywords}
        reasons = []
        schemas = [row.schema for row in self.table.candidates(name)]
        for schema in [*schemas, *filter(None, [self.table.helpers.get(name)])]:
            try:
                bound = bind(schema, given, named)
            except Problem as problem:
                reasons.append(str(problem))
                continue
            return self.call_schema(schema, bound)
        builtin = None if named else self.builtin(name, [self.plain(arg) for arg in given])
        if builtin:
            return builtin
        base = self.table.by_ident.get(name)
        if base and base.ident != name:
            bound = bind(base.schema, given, named)
            self.attempt(f"fac_call_inplace({self.arguments(base.schema, bound)})")
            return self.plain(bound[0])
        if reasons:
            raise Problem(f"{name}: " + "; ".join(reasons))
        raise self.table.unknown(name)

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

    def call_schema(self, schema: Schema, bound: list[Expr | None]) -> Expr:
        slots = [self.slot("t") for _ in schema.results or [None]]
        if schema is self.table.helpers.get(schema.name):
            values = [self.pass_as(e, p.type) for p, e in zip(schema.params, bound)]
            call = f"fac_helper_{schema.name}((FacValue[]){{{', '.join(values) or '{0}'}}}"
        else:
            call = f"fac_call({self.arguments(schema, bound)}"
        self.attempt(f"{call}, &{slots[0]})")
        results = tuple(Expr(r.type, slot) for r, slot in zip(schema.results, slots))
        names = tuple(result.name for result in schema.results)
        return results[0] if len(results) == 1 else Expr(NONE, items=results, names=names)

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
        case ast.Compare(
            left=ast.Name(id=name),
            ops=[ast.Is() | ast.IsNot() as op],
            comparators=[ast.Constant(value=None)],
        ) if name in names and isinstance(op, ast.IsNot) == holds:
            known = names[name]
            return {**names, name: replace(known, type=known.type.required())}
    return names
