"""Scalar bodies: compiles the pointwise expressions of rows to loops, one a compute dtype.

For real dtypes a body is nearly C already. Complex dtypes are structs, so there operators become
functions of scalar.h, and it matters whether a part of the body is complex ("T"), real ("real"), a
literal or a truth value ("bool").
"""

from __future__ import annotations

import ast
import math
from dataclasses import dataclass

from ctext import c_literal
from declare import Row, Table
from schema import COMPUTE_DTYPES, FLOATS, Problem, dtype_enumerator

# Operators, and their names among the functions of complex numbers.
OPERATORS = {
    **{ast.Add: ("+", "add"), ast.Sub: ("-", "sub"), ast.Mult: ("*", "mul"), ast.Div: ("/", "div")},
    **{ast.BitAnd: ("&", ""), ast.BitOr: ("|", ""), ast.BitXor: ("^", "")},
    **{ast.LShift: ("<<", ""), ast.RShift: (">>", "")},
    **{ast.Eq: ("==", "eq"), ast.NotEq: ("!=", "ne"), ast.Lt: ("<", ""), ast.LtE: ("<=", "")},
    **{ast.Gt: (">", ""), ast.GtE: (">=", "")},
}


@dataclass(frozen=True)
class DType:
    name: str

    @property
    def kind(self) -> str:
        if self.name == "bool":
            return "bool"
        if "int" in self.name:
            return "unsigned" if self.name.startswith("u") else "signed"
        return self.name.rstrip("0123456789")

    @property
    def classes(self) -> tuple[str, ...]:
        """The words that mean this dtype, the most specific one first; "" is the plain string."""
        integer = ("int",) if "int" in self.name else ()
        return (self.name, self.kind, *integer, "")

    @property
    def floating(self) -> bool:
        return self.kind in ("float", "complex")

    @property
    def complex(self) -> bool:
        return self.kind == "complex"

    @property
    def narrow(self) -> bool:
        """C computes in int."""
        return self.name == "bool" or "int" in self.name and self.name.endswith(("8", "16"))

    @property
    def enumerator(self) -> str:
        return f"FAC_DT_{dtype_enumerator(self.name)}"

    @property
    def suffix(self) -> str:
        """Of the functions in scalar.h."""
        return "b" if self.name == "bool" else dtype_enumerator(self.name).lower()

    @property
    def ctype(self) -> str:
        if self.complex:
            return f"fac_{self.suffix}"
        return {"bool": "bool", "float32": "float", "float64": "double"}.get(self.name, f"{self.name}_t")

    @property
    def real(self) -> str:
        """The C type of its real part."""
        return {"complex64": "float", "complex128": "double"}.get(self.name, self.ctype)


DTYPES = tuple(map(DType, COMPUTE_DTYPES))
CLASSES = {word for dtype in DTYPES for word in dtype.classes}


def choose(bodies: dict, dtype: DType):
    """The body for a dtype: that of its most specific class, or None."""
    by_word = {word: body for key, body in bodies.items() for word in key.split() or [""]}
    return next((by_word[word] for word in dtype.classes if word in by_word), None)


def compute_dtypes(row: Row) -> list[DType]:
    """Those a row says that it computes in; none if its kernel decides."""
    allowed = set(row.dtypes or ("int", "float") * ("" in row.scalar) or CLASSES)
    unknown = {word for key in (*row.scalar, *row.dtypes) for word in key.split()} - CLASSES
    if unknown:
        raise Problem(f"no dtype class '{unknown.pop()}'; there are {', '.join(sorted(CLASSES))}")
    if not row.scalar and not row.dtypes:
        return []
    return [
        dtype
        for dtype in DTYPES
        if allowed & set(dtype.classes)
        and (not row.scalar or choose(row.scalar, dtype))
        and (dtype.floating or not row.scalar or row.promote != "FLOAT")
    ]


@dataclass(frozen=True)
class Part:
    kind: str  # "T", "real", "literal", or "bool"
    code: str


class Body:
    """Compiles the bodies of a row for one dtype."""

    def __init__(self, table: Table, row: Row, dtype: DType):
        self.table = table
        self.row = row
        self.dtype = dtype
        self.operands = {letter: i for i, letter in enumerate("abcdefgh"[: len(row.operands)])}
        self.numbers = {param.name: i for i, param in enumerate(row.numbers)}

    def parse(self, text: str) -> ast.expr:
        try:
            return ast.parse(text.strip(), mode="eval").body
        except SyntaxError as error:
            raise Problem(f"the body is no expression: {error.msg}") from None

    # --- conversions

    def full(self, part: Part) -> str:
        """As an element of the compute dtype."""
        if self.dtype.complex and part.kind != "T":
            return f"(({self.dtype.ctype}){{{part.code}, 0}})"
        return part.code

    def truth(self, part: Part) -> str:
        if self.dtype.complex and part.kind == "T":
            return f"fx_true_{self.dtype.suffix}({part.code})"
        return part.code if part.kind == "bool" else f"({part.code} != 0)"

    def function(self, name: str, *parts: Part) -> str:
        return f"{name}_{self.dtype.suffix}({', '.join(map(self.full, parts))})"

    def result(self, part: Part) -> str:
        promote = self.row.promote
        if promote == "BOOL":
            return self.truth(part)
        if not self.dtype.complex or promote == "INT_OUT":
            return part.code
        if (promote == "REAL") != (part.kind in ("real", "bool")) and part.kind != "literal":
            raise Problem(f"the body gives {part.kind} where promote is {promote}")
        return part.code if promote == "REAL" else self.full(part)

    # --- expressions

    def visit(self, node: ast.expr) -> Part:
        match node:
            case ast.Constant(value=bool() | int() | float() as value):
                return self.literal(value)
            case ast.Name(id=name) if name in self.operands:
                return Part("T", name)
            case ast.Name(id=name) if name in self.numbers:
                return Part("T", f"k_{name}")
            case ast.Name(id="inf" | "nan" | "pi" as name) if self.dtype.floating:
                value = c_literal(FLOATS.get(name, math.pi))
                return Part("literal", f"(({self.dtype.real}){value})")
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return Part("bool", f"!{self.truth(self.visit(operand))}")
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                part = self.visit(operand)
                if self.dtype.complex and part.kind == "T":
                    return Part("T", self.function("fx_neg", part))
                return Part(part.kind, self.narrow(f"(-{part.code})"))
            case ast.UnaryOp(op=ast.Invert(), operand=operand) if "int" in self.dtype.classes:
                return Part("T", self.narrow(f"(~{self.visit(operand).code})"))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
                return self.operator(op, self.visit(left), self.visit(right))
            case ast.Compare(left=left, ops=ops, comparators=rest):
                parts = [self.visit(side) for side in (left, *rest)]
                tests = [self.operator(op, a, b).code for op, a, b in zip(ops, parts, parts[1:])]
                return Part("bool", tests[0] if len(tests) == 1 else f"({' && '.join(tests)})")
            case ast.BoolOp(op=op, values=values):
                sign = " && " if isinstance(op, ast.And) else " || "
                return Part("bool", f"({sign.join(self.truth(self.visit(v)) for v in values)})")
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return self.select(self.truth(self.visit(test)), self.visit(body), self.visit(orelse))
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name.startswith("fx_"):
                return self.call(name, [self.visit(arg) for arg in args])
        raise Problem(f"a body that computes in {self.dtype.name} cannot say '{ast.unparse(node)}'")

    def literal(self, value: bool | int | float) -> Part:
        if self.dtype.floating:
            return Part("literal", f"{float(value)!r}{'f' * (self.dtype.real == 'float')}")
        if isinstance(value, float):
            raise Problem(f"{value} in a body that computes in {self.dtype.name}")
        return Part("literal", f"(({self.dtype.ctype}){int(value)})")

    def narrow(self, code: str) -> str:
        """Arithmetic that C has done in int, back in the dtype."""
        return f"(({self.dtype.ctype}){code})" if self.dtype.narrow else code

    def operator(self, op: ast.operator | ast.cmpop, a: Part, b: Part) -> Part:
        sign, name = OPERATORS[type(op)]
        comparison = isinstance(op, ast.cmpop)
        complex_ = self.dtype.complex and "T" in (a.kind, b.kind)
        if self.dtype.floating and not name and (complex_ or not comparison):
            raise Problem(f"no operator {sign} for {self.dtype.name}")
        kind = "bool" if comparison else "T" if complex_ or not self.dtype.complex else "real"
        if complex_:
            return Part(kind, self.function(f"fx_{name}", a, b))
        code = f"({a.code} {sign} {b.code})"
        return Part(kind, code if comparison else self.narrow(code))

    def select(self, test: str, a: Part, b: Part) -> Part:
        if self.dtype.complex and "T" in (a.kind, b.kind):
            return Part("T", f"({test} ? {self.full(a)} : {self.full(b)})")
        return Part(a.kind if a.kind == b.kind else "real", f"({test} ? {a.code} : {b.code})")

    def call(self, name: str, parts: list[Part]) -> Part:
        """Arguments are passed as they are; literals are real beside real ones only."""
        real = any(part.kind == "real" for part in parts)
        codes = [self.full(p) if p.kind == "literal" and not real else p.code for p in parts]
        kind = self.table.scalar_results.get(name, "T")
        return Part(kind, f"{name}_{self.dtype.suffix}({', '.join(codes)})")

    # --- the loop

    def loop(self) -> list[str]:
        """The C function that computes the row in this dtype."""
        main = self.elements(choose(self.row.scalar, self.dtype).text)
        ctype, lines = self.dtype.ctype, []
        for condition, bodies in self.row.fast.items():
            if choose(bodies, self.dtype):
                test = self.truth(self.visit(self.parse(condition)))
                fast = self.elements(choose(bodies, self.dtype).text)
                lines += [f"    if ({test}) {{", *("    " + line for line in fast)]
                lines += ["        return;", "    }"]
        lines += main
        used = "\n".join(lines)
        result = {"REAL": self.dtype.real, "BOOL": "bool", "INT_OUT": "int64_t"}.get(self.row.promote, ctype)
        first = len(self.row.results)
        setup = [f"    {result} *r{i} = data[{i}];" for i in range(first)]
        for letter, i in self.operands.items():
            if f"p_{letter}[" in used:
                setup.append(f"    const {ctype} *p_{letter} = data[{first + i}];")
        for name, i in self.numbers.items():
            if f"k_{name}" in used:
                setup.append(f"    const {ctype} k_{name} = ((const {ctype} *)params)[{i}];")
        if "params" not in "".join(setup):
            setup.append("    (void)params;")
        name = f"loop_{self.row.ident}_{self.dtype.suffix}"
        arguments = "void *const *data, int64_t n, const void *params"
        return ["static void", f"{name}({arguments})", "{", *setup, *lines, "}", ""]

    def elements(self, text: str) -> list[str]:
        """Loads, body and stores, over all elements. A result may lie exactly where an operand lies,
        never shifted: hence ivdep."""
        tree = self.parse(text)
        items = tree.elts if isinstance(tree, ast.Tuple) else [tree]
        if len(items) != len(self.row.results):
            raise Problem(f"the body gives {len(items)} results, not {len(self.row.results)}")
        used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        loads = [f"const {self.dtype.ctype} {o} = p_{o}[i];" for o in self.operands if o in used]
        stores = [f"r{i}[i] = {self.result(self.visit(item))};" for i, item in enumerate(items)]
        head = ["#pragma GCC ivdep", "    for (int64_t i = 0; i < n; i++) {"]
        return [*head, *("        " + line for line in loads + stores), "    }"]
