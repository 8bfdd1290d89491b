"""Scalar bodies: compiles the pointwise expressions of rows to loops, one a compute dtype, and
writes what is compiled once a tier: these loops, and the table of kernels.

For real dtypes a body is nearly C already. Complex dtypes are structs, so there operators become
functions of scalar.h, and it matters whether a part of the body is complex ("T"), real ("real"), a
literal or a truth value ("bool").
"""

from __future__ import annotations

import ast
from typing import NamedTuple

from ctext import SIGNS, c_file, c_if, part_of
from declare import Row, Table, expression
from schema import DTYPES, DType, Problem

# What operators on complex numbers are in scalar.h; the others are for real numbers only.
COMPLEX = {"+": "fx_add", "-": "fx_sub", "*": "fx_mul", "/": "fx_div", "==": "fx_eq", "!=": "fx_ne"}
PARTS = 8  # files of loops
BITS = ("&", "|", "^", "<<", ">>")
ORDER = ("<", "<=", ">", ">=")
SIGNED = ("<", ">", "/", "%", "fx_")  # without these an integer is as well taken without its sign


def choose(bodies: dict[str, ast.expr], dtype: DType) -> ast.expr | None:
    """The body for a dtype: that of its most specific class."""
    by_word = {word: body for key, body in bodies.items() for word in key.split()}
    return next((by_word[word] for word in dtype.classes if word in by_word), None)


def compute_dtypes(row: Row) -> list[DType]:
    """Those a row says that it computes in; none if its kernel decides."""
    said = {word for key in row.scalar or row.dtypes for word in key.split()}
    return [dtype for dtype in DTYPES if said & set(dtype.classes)]


class Part(NamedTuple):
    kind: str  # "T", "real", "literal", or "bool"
    code: str


class Body:
    """Compiles the bodies of a row for one dtype."""

    def __init__(self, table: Table, row: Row, dtype: DType):
        self.table = table
        self.row = row
        self.dtype = dtype
        self.operands = "abcdefgh"[: len(row.operands)]
        self.numbers = [param.name for param in row.numbers]

    # --- conversions

    def full(self, part: Part) -> str:
        """As an element of the compute dtype."""
        if self.dtype.real and part.kind != "T":
            return f"fx_widen_{self.dtype.suffix}({part.code})"
        return part.code

    def truth(self, part: Part) -> str:
        return part.code if part.kind == "bool" else f"({part.code} != 0)"

    def function(self, name: str, *parts: Part) -> str:
        return f"{name}_{self.dtype.suffix}({', '.join(map(self.full, parts))})"

    def integer(self, code: object) -> str:
        """Arithmetic that C may have done in int, back in the dtype."""
        return code if self.dtype.floating else f"(({self.dtype.ctype}){code})"

    def result(self, part: Part) -> str:
        promote = self.row.promote
        if promote == "BOOL":
            return self.truth(part)
        if not self.dtype.real or promote == "INT_OUT":
            return part.code
        if (promote == "REAL") != (part.kind in ("real", "bool")) and part.kind != "literal":
            raise Problem(f"the body gives {part.kind} where promote is {promote}")
        return part.code if promote == "REAL" else self.full(part)

    # --- expressions

    def visit(self, node: ast.expr) -> Part:
        match node:
            case ast.Constant(value=bool() | int() as value) if not self.dtype.floating:
                return Part("literal", self.integer(int(value)))
            case ast.Constant(value=bool() | int() | float() as value) if self.dtype.floating:
                real = self.dtype.real or self.dtype.ctype
                return Part("literal", repr(float(value)) + "f" * (real == "float"))
            case ast.Name(id=name) if name in self.operands:
                return Part("T", name)
            case ast.Name(id=name) if name in self.numbers:
                return Part("T", f"k_{name}")
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return Part("bool", f"!{self.truth(self.visit(operand))}")
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                part = self.visit(operand)
                if self.dtype.real and part.kind == "T":
                    return Part("T", self.function("fx_neg", part))
                return Part(part.kind, self.integer(f"(-{part.code})"))
            case ast.UnaryOp(op=ast.Invert(), operand=operand) if "int" in self.dtype.classes:
                return Part("T", self.integer(f"(~{self.visit(operand).code})"))
            case ast.BinOp(left=left, op=op, right=right):
                return self.operator(self.visit(left), SIGNS[type(op)], self.visit(right))
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                return self.operator(self.visit(left), SIGNS.get(type(op), "?"), self.visit(right))
            case ast.BoolOp(op=op, values=values):
                sign = " && " if isinstance(op, ast.And) else " || "
                return Part("bool", f"({sign.join(self.truth(self.visit(v)) for v in values)})")
            case ast.IfExp(test=test, body=body, orelse=orelse):
                test, a, b = self.truth(self.visit(test)), self.visit(body), self.visit(orelse)
                kind = a.kind if a.kind == b.kind else "T" if "T" in (a.kind, b.kind) else "real"
                a, b = (self.full(a), self.full(b)) if kind == "T" else (a.code, b.code)
                return Part(kind, f"({test} ? {a} : {b})")
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name.startswith("fx_"):
                return self.call(name, [self.visit(arg) for arg in args])
        raise Problem(f"a body that computes in {self.dtype.name} cannot say '{ast.unparse(node)}'")

    def operator(self, a: Part, sign: str, b: Part) -> Part:
        structs = self.dtype.real and "T" in (a.kind, b.kind)
        known = (*COMPLEX, *ORDER * (not structs), *BITS * (not self.dtype.floating))
        if sign not in known:
            raise Problem(f"no operator {sign} for {self.dtype.name}")
        if structs:
            code = self.function(COMPLEX[sign], a, b)
        else:
            code = f"({a.code} {sign} {b.code})"
        if sign in ("==", "!=", *ORDER):
            return Part("bool", code)
        return Part("real" if self.dtype.real and not structs else "T", self.integer(code))

    def call(self, name: str, parts: list[Part]) -> Part:
        """Arguments are passed as they are; literals are real beside real ones only."""
        real = any(part.kind == "real" for part in parts)
        codes = [self.full(p) if p.kind == "literal" and not real else p.code for p in parts]
        kind = self.table.scalar_results.get(name, "T")
        return Part(kind, f"{name}_{self.dtype.suffix}({', '.join(codes)})")

    # --- the loop

    def loop(self) -> list[str]:
        """The loop that computes the row in this dtype."""
        lines = []
        for condition, bodies in self.row.fast.items():
            if choose(bodies, self.dtype):
                fast = self.elements(choose(bodies, self.dtype))
                test = self.truth(self.visit(expression(condition)))
                lines += [c_if(test), *fast, "return;", "}"]
        lines += self.elements(choose(self.row.scalar, self.dtype))
        ctype, first = self.dtype.ctype, len(self.row.results)
        results = {"REAL": self.dtype.real or ctype, "BOOL": "bool", "INT_OUT": "int64_t"}
        result = results.get(self.row.promote, ctype)
        setup = [f"FAC_RESULT({result}, {i});" for i in range(first)]
        setup += [f"FAC_OPERAND({ctype}, {o}, {first + i});" for i, o in enumerate(self.operands)]
        setup += [f"FAC_NUMBER({ctype}, {name}, {i});" for i, name in enumerate(self.numbers)]
        head = f"FAC_LOOP(loop_{self.row.ident}_{self.dtype.suffix})"
        return [head, "{", *setup, *lines, "}", ""]

    def elements(self, tree: ast.expr) -> list[str]:
        """Loads, body and stores, over all elements."""
        items = tree.elts if isinstance(tree, ast.Tuple) else [tree]
        if len(items) != len(self.row.results):
            raise Problem(f"the body gives {len(items)} results, not {len(self.row.results)}")
        loads = [f"FAC_LOAD({self.dtype.ctype}, {o});" for o in self.operands]
        stores = [f"r{i}[i] = {self.result(self.visit(item))};" for i, item in enumerate(items)]
        return ["FAC_EACH {", *loads, *stores, "}"]


# --- files


def files(table: Table) -> dict[str, str]:
    out = {}
    for i in range(PARTS):
        rows = [row for row in table.rows if row.scalar and part_of(row.ident, PARTS) == i]
        lines = [line for row in rows for line in loops(table, row)]
        out[f"pointwise_{i}.c"] = c_file(["kernels/loop.h"], lines)
    out["kernel_table.c"] = kernel_table(table)
    return out


def loops(table: Table, row: Row) -> list[str]:
    lines, entries, what = [], [], ""
    try:
        for dtype in compute_dtypes(row):
            what, suffix = f", body in {dtype.name}", dtype.suffix
            loop = Body(table, row, dtype).loop()
            if suffix[0] == "i" and not any(mark in line for line in loop for mark in SIGNED):
                suffix = suffix.replace("i", "u")
            else:
                lines += loop
            entries.append(f"    [{dtype.enumerator}] = loop_{row.ident}_{suffix}")
    except Problem as problem:
        table.report(row, problem, what)
    return [*lines, f"FAC_LOOPS({row.ident},", ",\n".join(entries) + ")", ""]


def kernel_table(table: Table) -> str:
    pointwise = [row.ident for row in table.rows if row.scalar]
    kernels = {row.ident: row.kernel for row in table.rows if row.kernel}
    lines = [f"extern FacLoops FAC_TIERED(loops_{ident});" for ident in pointwise]
    for name in sorted(set(kernels.values())):
        lines.append(f"FacStatus FAC_KERNEL({name})(FacCall *call);")
    lines += ["extern const FacTierTable FAC_TIERED(tier_table);", ""]
    lines += ["static FacLoops *const loops[FAC_OP_COUNT] = {"]
    lines += [f"[FAC_OP_ID_{ident}] = &FAC_TIERED(loops_{ident})," for ident in pointwise]
    lines += ["};", "", "static const FacKernel kernels[FAC_OP_COUNT] = {"]
    lines += [f"[FAC_OP_ID_{ident}] = FAC_KERNEL({name})," for ident, name in kernels.items()]
    lines += ["};", "", "const FacTierTable FAC_TIERED(tier_table) = {", ".loops = loops,"]
    shared = ("tuned_loops", "half_loops", "beside_loops", "fill_casts", "all_finite")
    lines += [".kernels = kernels,", *(f".{name} = FAC_TIERED({name})," for name in shared), "};"]
    return c_file(["kernels/cpu/kernel.h", "ops.h"], lines)
