"""Scalar bodies: compiles the pointwise expressions of rows to loops, one a compute dtype.

For real dtypes a body is nearly C already. Complex dtypes are structs, so there operators become
functions of scalar.h, and it matters whether a part of the body is complex ("T"), real ("real") or a
truth value ("bool").
"""

from __future__ import annotations

import ast
import math
from dataclasses import dataclass

from declare import Row, Table
from schema import Problem


@dataclass(frozen=True)
class DType:
    enum: str  # FAC_DT_
    suffix: str  # of functions in scalar.h
    ctype: str
    kind: str  # bool, unsigned, signed, float, complex
    narrow: bool = False  # C computes in int

    @property
    def complex(self) -> bool:
        return self.kind == "complex"


DTYPES = {
    "bool": DType("BOOL", "b", "bool", "bool", narrow=True),
    "uint8": DType("U8", "u8", "uint8_t", "unsigned", narrow=True),
    "int8": DType("I8", "i8", "int8_t", "signed", narrow=True),
    "uint16": DType("U16", "u16", "uint16_t", "unsigned", narrow=True),
    "int16": DType("I16", "i16", "int16_t", "signed", narrow=True),
    "uint32": DType("U32", "u32", "uint32_t", "unsigned"),
    "int32": DType("I32", "i32", "int32_t", "signed"),
    "uint64": DType("U64", "u64", "uint64_t", "unsigned"),
    "int64": DType("I64", "i64", "int64_t", "signed"),
    "float32": DType("F32", "f32", "float", "float"),
    "float64": DType("F64", "f64", "double", "float"),
    "complex64": DType("C64", "c64", "fac_c64", "complex"),
    "complex128": DType("C128", "c128", "fac_c128", "complex"),
}
REAL_CTYPES = {"complex64": "float", "complex128": "double"}
OPERATORS = {
    ast.Add: ("+", "fx_add"),
    ast.Sub: ("-", "fx_sub"),
    ast.Mult: ("*", "fx_mul"),
    ast.Div: ("/", "fx_div"),
    ast.BitAnd: ("&", ""),
    ast.BitOr: ("|", ""),
    ast.BitXor: ("^", ""),
    ast.LShift: ("<<", ""),
    ast.RShift: (">>", ""),
}
COMPARISONS = {
    ast.Eq: ("==", "fx_eq"),
    ast.NotEq: ("!=", "fx_ne"),
    ast.Lt: ("<", ""),
    ast.LtE: ("<=", ""),
    ast.Gt: (">", ""),
    ast.GtE: (">=", ""),
}
OPERAND_NAMES = "abcdefgh"


def classes_of(name: str) -> tuple[str, ...]:
    """The classes a dtype belongs to, the most specific one first; "" is the plain string."""
    kind = DTYPES[name].kind
    return (name, kind, "int", "") if kind in ("signed", "unsigned") else (name, kind, "")


def choose(bodies: dict[str, object], name: str):
    """The body for a dtype: that of its most specific class, or None."""
    by_word = {word: body for key, body in bodies.items() for word in key.split() or [""]}
    for word in classes_of(name):
        if word in by_word:
            return by_word[word]
    return None


def check_words(words: list[str]) -> None:
    known = {word for name in DTYPES for word in classes_of(name) if word}
    for word in words:
        if word not in known:
            raise Problem(f"'{word}' is no dtype class; there are {', '.join(sorted(known))}")


def loop_dtypes(row: Row) -> list[str]:
    """The compute dtypes of a row, by name."""
    allowed = list(row.dtypes)
    if row.scalar and not allowed and "" in row.scalar:
        allowed = ["int", "float"]
    if not row.scalar and not allowed:
        return []
    names = []
    for name in DTYPES:
        if allowed and not set(allowed) & set(classes_of(name)):
            continue
        if row.scalar and choose(row.scalar, name) is None:
            continue
        if row.scalar and row.promote == "FLOAT" and DTYPES[name].kind not in ("float", "complex"):
            continue
        names.append(name)
    return names


@dataclass(frozen=True)
class Part:
    kind: str  # "T", "real", "bool", or "literal"
    code: str


class Body:
    """Compiles expressions for one dtype."""

    def __init__(self, table: Table, name: str, names: dict[str, str]):
        self.table = table
        self.name = name
        self.dtype = DTYPES[name]
        self.real_ctype = REAL_CTYPES.get(name, self.dtype.ctype)
        self.names = names  # operands and numbers: name in the body -> name in C

    def compile(self, text: str) -> ast.expr:
        try:
            return ast.parse(text.strip(), mode="eval").body
        except SyntaxError as error:
            raise Problem(f"the body is no expression: {error.msg}") from None

    def visit(self, node: ast.expr) -> Part:
        method = getattr(self, f"visit_{type(node).__name__}", None)
        if method is None:
            raise Problem(f"bodies have no {type(node).__name__}: '{ast.unparse(node)}'")
        return method(node)

    # --- conversions

    def as_t(self, part: Part) -> str:
        if self.dtype.complex and part.kind != "T":
            return f"(({self.dtype.ctype}){{{part.code}, 0}})"
        return part.code

    def truth(self, part: Part) -> str:
        if self.dtype.complex and part.kind == "T":
            return f"fx_ne_{self.dtype.suffix}({part.code}, ({self.dtype.ctype}){{0, 0}})"
        return part.code if part.kind == "bool" else f"({part.code} != 0)"

    def arithmetic(self, code: str) -> str:
        return f"(({self.dtype.ctype}){code})" if self.dtype.narrow else code

    # --- expressions

    def visit_Name(self, node: ast.Name) -> Part:
        if node.id in self.names:
            return Part("T", self.names[node.id])
        constants = {"inf": "__builtin_inf()", "nan": '__builtin_nan("")', "pi": repr(math.pi)}
        if node.id in constants and self.dtype.kind in ("float", "complex"):
            return Part("literal", f"(({self.real_ctype}){constants[node.id]})")
        raise Problem(f"'{node.id}' is not known here; there are {', '.join(self.names)}")

    def visit_Constant(self, node: ast.Constant) -> Part:
        value = node.value
        if not isinstance(value, (bool, int, float)):
            raise Problem(f"'{value!r}' is no number")
        if self.dtype.kind in ("float", "complex"):
            return Part("literal", f"{float(value)!r}{'f' * (self.real_ctype == 'float')}")
        if isinstance(value, float):
            raise Problem(f"{value} in a body that computes in {self.name}")
        return Part("literal", f"(({self.dtype.ctype}){int(value)})")

    def visit_UnaryOp(self, node: ast.UnaryOp) -> Part:
        part = self.visit(node.operand)
        if isinstance(node.op, ast.Not):
            return Part("bool", f"!{self.truth(part)}")
        if isinstance(node.op, ast.USub):
            if part.kind == "literal":
                return Part("literal", f"(-{part.code})")
            if self.dtype.complex and part.kind == "T":
                return Part("T", f"fx_neg_{self.dtype.suffix}({part.code})")
            return Part(part.kind, self.arithmetic(f"(-{part.code})"))
        if isinstance(node.op, ast.Invert) and self.dtype.kind in ("signed", "unsigned"):
            return Part("T", self.arithmetic(f"(~{part.code})"))
        raise Problem(f"no '{ast.unparse(node)}' in {self.name}")

    def visit_BinOp(self, node: ast.BinOp) -> Part:
        if type(node.op) not in OPERATORS:
            raise Problem(f"bodies have no {type(node.op).__name__}; use a function of scalar.h")
        a, b = self.visit(node.left), self.visit(node.right)
        sign, function = OPERATORS[type(node.op)]
        if self.dtype.complex and "T" in (a.kind, b.kind):
            if not function:
                raise Problem(f"no operator {sign} for complex numbers")
            return Part("T", f"{function}_{self.dtype.suffix}({self.as_t(a)}, {self.as_t(b)})")
        if not function and self.dtype.kind == "float":
            raise Problem(f"no operator {sign} for {self.name}")
        kind = "real" if self.dtype.complex else "T"
        return Part(kind, self.arithmetic(f"({a.code} {sign} {b.code})"))

    def visit_Compare(self, node: ast.Compare) -> Part:
        parts = [self.visit(item) for item in (node.left, *node.comparators)]
        codes = []
        for op, a, b in zip(node.ops, parts, parts[1:]):
            sign, function = COMPARISONS.get(type(op), ("", ""))
            if not sign or (self.dtype.complex and "T" in (a.kind, b.kind) and not function):
                raise Problem(f"no such comparison for {self.name}: '{ast.unparse(node)}'")
            if self.dtype.complex and "T" in (a.kind, b.kind):
                codes.append(f"{function}_{self.dtype.suffix}({self.as_t(a)}, {self.as_t(b)})")
            else:
                codes.append(f"({a.code} {sign} {b.code})")
        return Part("bool", codes[0] if len(codes) == 1 else f"({' && '.join(codes)})")

    def visit_BoolOp(self, node: ast.BoolOp) -> Part:
        sign = " && " if isinstance(node.op, ast.And) else " || "
        return Part("bool", f"({sign.join(self.truth(self.visit(v)) for v in node.values)})")

    def visit_IfExp(self, node: ast.IfExp) -> Part:
        condition = self.truth(self.visit(node.test))
        a, b = self.visit(node.body), self.visit(node.orelse)
        if self.dtype.complex and "T" in (a.kind, b.kind):
            return Part("T", f"({condition} ? {self.as_t(a)} : {self.as_t(b)})")
        kind = a.kind if a.kind == b.kind else "T" if not self.dtype.complex else "real"
        return Part(kind, f"({condition} ? {a.code} : {b.code})")

    def visit_Call(self, node: ast.Call) -> Part:
        if not isinstance(node.func, ast.Name) or not node.func.id.startswith("fx_"):
            raise Problem(f"'{ast.unparse(node.func)}' is no function of scalar.h: fx_...")
        if node.keywords:
            raise Problem("functions of scalar.h take no keywords")
        parts = [self.visit(arg) for arg in node.args]
        real = any(part.kind == "real" for part in parts)
        codes = [self.as_t(p) if p.kind == "literal" and not real else p.code for p in parts]
        kind = self.table.scalar_results.get(node.func.id, "T")
        return Part(kind, f"{node.func.id}_{self.dtype.suffix}({', '.join(codes)})")

    # --- results

    def result(self, part: Part, promote: str) -> str:
        if promote == "BOOL":
            return self.truth(part)
        if promote == "INT_OUT":
            return f"(int64_t){part.code}"
        if not self.dtype.complex:
            return f"({self.dtype.ctype}){part.code}" if self.dtype.narrow else part.code
        if promote == "REAL":
            if part.kind == "T":
                raise Problem("promote REAL, but the body gives a complex number")
            return part.code
        if part.kind in ("real", "bool"):
            raise Problem("the body gives a real number, the result is complex; see promote REAL")
        return self.as_t(part)


def result_ctype(row: Row, name: str) -> str:
    if row.promote == "REAL":
        return REAL_CTYPES.get(name, DTYPES[name].ctype)
    return {"BOOL": "bool", "INT_OUT": "int64_t"}.get(row.promote, DTYPES[name].ctype)


def loop(table: Table, row: Row, name: str) -> list[str]:
    """The C function that computes a row in one dtype."""
    dtype = DTYPES[name]
    operands = OPERAND_NAMES[: row.operands]
    numbers = [param.name for param in row.params[row.operands :][: row.numbers]]
    body = Body(table, name, {o: o for o in operands} | {n: f"k_{n}" for n in numbers})
    main = stores(body, row, choose(row.scalar, name).text, operands)
    fast = []
    for condition, bodies in row.fast.items():
        text = choose(bodies, name)
        if text is not None:
            test = body.truth(body.visit(body.compile(condition)))
            fast.append((test, stores(body, row, text.text, operands)))

    used = "\n".join([*main, *(line for test, lines in fast for line in [test, *lines])])
    setup = [f"    {result_ctype(row, name)} *r{i} = data[{i}];" for i in range(len(row.results))]
    for i, operand in enumerate(operands, len(row.results)):
        if f"const {dtype.ctype} {operand} =" in used:
            setup.append(f"    const {dtype.ctype} *p_{operand} = data[{i}];")
    for i, number in enumerate(numbers):
        if f"k_{number}" in used:
            setup.append(f"    const {dtype.ctype} k_{number} = ((const {dtype.ctype} *)params)[{i}];")
    if not any("params" in line for line in setup):
        setup.append("    (void)params;")

    lines = ["static void", f"loop_{row.ident}_{dtype.suffix}(void *const *data, int64_t n, const void *params)"]
    lines += ["{", *setup]
    for test, stored in fast:
        lines.append(f"    if {test} {{" if test.startswith("(") else f"    if ({test}) {{")
        lines += ["    " + line for line in over_elements(stored)] + ["        return;", "    }"]
    return [*lines, *over_elements(main), "}", ""]


def over_elements(stored: list[str]) -> list[str]:
    """A result may lie exactly where an operand lies, never shifted: hence ivdep."""
    head = ["#pragma GCC ivdep", "    for (int64_t i = 0; i < n; i++) {"]
    return [*head, *("        " + line for line in stored), "    }"]


def stores(body: Body, row: Row, text: str, operands: str) -> list[str]:
    """Loads of the operands that a body uses, and the stores of its results."""
    tree = body.compile(text)
    items = tree.elts if isinstance(tree, ast.Tuple) else [tree]
    if len(items) != len(row.results):
        raise Problem(f"the body gives {len(items)} results, the schema has {len(row.results)}")
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    loads = [f"const {body.dtype.ctype} {o} = p_{o}[i];" for o in operands if o in used]
    codes = [body.result(body.visit(item), row.promote) for item in items]
    return loads + [f"r{i}[i] = {code};" for i, code in enumerate(codes)]
