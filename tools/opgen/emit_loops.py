"""Scalar bodies: compiles the pointwise expressions of rows to loops, one a compute dtype, and
writes what is compiled once a tier: these loops, and the table of kernels.

For real dtypes a body is nearly C already. Complex dtypes are structs, so there operators become
functions of scalar.h, and it matters whether a part of the body is complex ("T"), real ("real"), a
literal or a truth value ("bool").
"""

from __future__ import annotations

import ast
import math
from typing import NamedTuple

from ctext import SIGNS, c_file, c_if, c_literal, part_of
from declare import Row, Table
from schema import FLOATS, Problem, dtype_enumerator

# What operators on complex numbers are in scalar.h; the others are for real numbers only.
COMPLEX = {"+": "fx_add", "-": "fx_sub", "*": "fx_mul", "/": "fx_div", "==": "fx_eq", "!=": "fx_ne"}
PARTS = 8  # files of loops
BITS = ("&", "|", "^", "<<", ">>")
ORDER = ("<", "<=", ">", ">=")


class DType(NamedTuple):
    name: str
    kind: str
    ctype: str
    real: str  # the C type of its real part
    narrow: bool  # C computes in int

    @property
    def classes(self) -> tuple[str, ...]:
        """The words that mean this dtype, the most specific one first; "" is the plain string."""
        return (self.name, self.kind, *["int"] * ("int" in self.name), "")

    @property
    def floating(self) -> bool:
        return self.kind in ("float", "complex")

    @property
    def complex(self) -> bool:
        return self.kind == "complex"

    @property
    def enumerator(self) -> str:
        return f"FAC_DT_{dtype_enumerator(self.name)}"

    @property
    def suffix(self) -> str:
        """Of the functions in scalar.h."""
        return "b" if self.name == "bool" else dtype_enumerator(self.name).lower()


DTYPES = (
    DType("bool", "bool", "bool", "bool", True),
    *(
        DType(f"{u}int{bits}", kind, f"{u}int{bits}_t", f"{u}int{bits}_t", bits < 32)
        for bits in (8, 16, 32, 64)
        for u, kind in (("u", "unsigned"), ("", "signed"))
    ),
    DType("float32", "float", "float", "float", False),
    DType("float64", "float", "double", "double", False),
    DType("complex64", "complex", "fac_c64", "float", False),
    DType("complex128", "complex", "fac_c128", "double", False),
)
CLASSES = {word for dtype in DTYPES for word in dtype.classes}


def choose(bodies: dict, dtype: DType):
    """The body for a dtype: that of its most specific class, or None."""
    by_word = {word: body for key, body in bodies.items() for word in key.split() or [""]}
    return next((by_word[word] for word in dtype.classes if word in by_word), None)


def compute_dtypes(row: Row) -> list[DType]:
    """Those a row says that it computes in; none if its kernel decides."""
    allowed = set(row.dtypes or ("int", "float") * ("" in row.scalar) or CLASSES)
    keys = [*row.scalar, *row.dtypes, *(key for bodies in row.fast.values() for key in bodies)]
    unknown = {word for key in keys for word in key.split()} - CLASSES
    if unknown:
        known = ", ".join(sorted(CLASSES - {""}))
        raise Problem(f"no dtype class '{unknown.pop()}'; there are {known}")
    if not row.scalar and not row.dtypes:
        return []
    return [
        dtype
        for dtype in DTYPES
        if allowed & set(dtype.classes)
        and (not row.scalar or choose(row.scalar, dtype))
        and (dtype.floating or not row.scalar or row.promote != "FLOAT")
    ]


class Part(NamedTuple):
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
            case ast.BinOp(left=left, op=op, right=right):
                return self.operator(self.visit(left), SIGNS[type(op)], self.visit(right))
            case ast.Compare(left=left, ops=ops, comparators=rest):
                sides = [self.visit(side) for side in (left, *rest)]
                signs = [SIGNS.get(type(op), "in") for op in ops]
                tests = [self.operator(*part).code for part in zip(sides, signs, sides[1:])]
                return Part("bool", tests[0] if len(tests) == 1 else f"({' && '.join(tests)})")
            case ast.BoolOp(op=op, values=values):
                sign = " && " if isinstance(op, ast.And) else " || "
                return Part("bool", f"({sign.join(self.truth(self.visit(v)) for v in values)})")
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return self.select(self.visit(test), self.visit(body), self.visit(orelse))
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

    def operator(self, a: Part, sign: str, b: Part) -> Part:
        comparison = sign in ("==", "!=", *ORDER)
        structs = self.dtype.complex and "T" in (a.kind, b.kind)
        floating = (*COMPLEX, *ORDER * (not structs))
        if sign not in (floating if self.dtype.floating else (*COMPLEX, *ORDER, *BITS)):
            raise Problem(f"no operator {sign} for {self.dtype.name}")
        kind = "real" if self.dtype.complex and not structs else "T"
        if structs:
            code = self.function(COMPLEX[sign], a, b)
        else:
            code = f"({a.code} {sign} {b.code})"
        return Part("bool", code) if comparison else Part(kind, self.narrow(code))

    def select(self, test: Part, a: Part, b: Part) -> Part:
        test = self.truth(test)
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
                lines += [f"    {c_if(test)}", *("    " + line for line in fast)]
                lines += ["        return;", "    }"]
        lines += main
        used = "\n".join(lines)
        results = {"REAL": self.dtype.real, "BOOL": "bool", "INT_OUT": "int64_t"}
        result, first = results.get(self.row.promote, ctype), len(self.row.results)
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
        """Loads, body and stores, over all elements. A result may lie exactly where an operand
        lies, never shifted: hence ivdep."""
        tree = self.parse(text)
        items = tree.elts if isinstance(tree, ast.Tuple) else [tree]
        if len(items) != len(self.row.results):
            raise Problem(f"the body gives {len(items)} results, not {len(self.row.results)}")
        used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        loads = [f"const {self.dtype.ctype} {o} = p_{o}[i];" for o in self.operands if o in used]
        stores = [f"r{i}[i] = {self.result(self.visit(item))};" for i, item in enumerate(items)]
        head = ["#pragma GCC ivdep", "    for (int64_t i = 0; i < n; i++) {"]
        return [*head, *("        " + line for line in loads + stores), "    }"]


# --- files


def files(table: Table) -> dict[str, str]:
    for row in table.rows:
        try:
            compute_dtypes(row)
        except Problem as problem:
            table.report(row.where, row, problem)
    if table.problems:
        return {}
    out = {}
    for i in range(PARTS):
        rows = [row for row in table.rows if row.scalar and part_of(row.ident, PARTS) == i]
        lines = ['#pragma GCC diagnostic ignored "-Wtype-limits"', ""]
        lines += [line for row in rows for line in loops(table, row)]
        out[f"pointwise_{i}.c"] = c_file(["kernels/cpu/kernel.h", "kernels/scalar.h"], lines)
    out["kernel_table.c"] = kernel_table(table)
    return out


def loops(table: Table, row: Row) -> list[str]:
    lines = [f"extern const FacLoops FAC_TIERED(loops_{row.ident});", ""]
    dtypes = compute_dtypes(row)
    for dtype in dtypes:
        try:
            lines += Body(table, row, dtype).loop()
        except Problem as problem:
            where = next(iter(row.scalar.values())).where
            table.report(where, row, problem, f", body in {dtype.name}")
            return []
    lines.append(f"const FacLoops FAC_TIERED(loops_{row.ident}) = {{.loop = {{")
    lines += [f"    [{dtype.enumerator}] = loop_{row.ident}_{dtype.suffix}," for dtype in dtypes]
    return [*lines, "}};", ""]


def kernel_table(table: Table) -> str:
    pointwise = [row.ident for row in table.rows if row.scalar]
    kernels = {row.ident: row.kernel for row in table.rows if row.kernel}
    lines = [f"extern const FacLoops FAC_TIERED(loops_{ident});" for ident in pointwise]
    for name in sorted(set(kernels.values())):
        lines.append(f"FacStatus FAC_KERNEL({name})(FacCall *call);")
    lines += ["void FAC_TIERED(fill_casts)(FacCast (*casts)[FAC_DTYPES]);"]
    lines += ["extern const FacTierTable FAC_TIERED(tier_table);", ""]
    lines += ["static const FacLoops *const loops[FAC_OP_COUNT] = {"]
    lines += [f"    [FAC_OP_ID_{ident}] = &FAC_TIERED(loops_{ident})," for ident in pointwise]
    lines += ["};", "", "static const FacKernel kernels[FAC_OP_COUNT] = {"]
    lines += [f"    [FAC_OP_ID_{ident}] = FAC_KERNEL({name})," for ident, name in kernels.items()]
    lines += ["};", "", "const FacTierTable FAC_TIERED(tier_table) = {"]
    lines += ["    .loops = loops, .kernels = kernels, .fill_casts = FAC_TIERED(fill_casts),", "};"]
    return c_file(["kernels/cpu/kernel.h", "ops.h"], lines)
