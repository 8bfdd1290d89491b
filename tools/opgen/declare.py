"""Declarations: reads csrc/ops/*.py into a Table of rows, and checks what each row says by itself.

The files are Python in syntax only. Each top-level statement is a call of `op`, `family`, `helper`,
`operators` or `scalar_results` with literal arguments; a bare word such as BINARY stands for itself.
"""

from __future__ import annotations

import ast
import difflib
from dataclasses import dataclass, field
from pathlib import Path

from schema import TENSOR, Problem, Schema, parse_schema

VARIANTS = ("function", "method", "inplace", "out")
FLAGS = ("data_shape", "random", "factory", "conj", "view", "broadcasts")
PROMOTES = ("NONE", "SAME", "FLOAT", "BOOL", "REAL", "INT_OUT")
FAMILY_KEYS = ("module", "variants", "promote", "rule", "kernel", "host_kernel", "flags", "dtypes")
OP_KEYS = (*FAMILY_KEYS, "public", "family", "scalar", "fast", "composite", "grad", "nondiff", "like",
           "doc")  # fmt: skip


@dataclass
class Text:
    """A string of a declaration, and where it stands."""

    text: str
    where: str


@dataclass
class Row:
    schema: Schema
    where: str
    group: str  # the name of its file
    variants: frozenset[str] = frozenset()
    flags: frozenset[str] = frozenset()
    module: str = ""
    public: str = ""
    promote: str = "NONE"
    dtypes: tuple[str, ...] = ()
    rule: str = ""
    kernel: str = ""
    host_kernel: str = ""
    composite: Text | None = None
    scalar: dict[str, Text] = field(default_factory=dict)
    fast: dict[str, dict[str, Text]] = field(default_factory=dict)
    grad: dict[tuple[str, ...], Text] = field(default_factory=dict)
    nondiff: tuple[str, ...] = ()
    like: str = ""
    doc: str = ""
    id: int = 0

    @property
    def name(self) -> str:
        return self.schema.name

    @property
    def ident(self) -> str:
        return self.schema.ident

    @property
    def params(self):
        return self.schema.params

    @property
    def results(self):
        return self.schema.results

    @property
    def computed(self) -> bool:
        return bool(self.scalar or self.kernel or self.host_kernel or self.composite)

    @property
    def view(self) -> bool:
        """The rule does all: results share memory with a parameter."""
        return any(r.alias and not r.writes for r in self.results) and not self.computed

    @property
    def writes(self) -> bool:
        return any(param.writes for param in self.params)

    @property
    def operands(self) -> int:
        """Pointwise: how many leading parameters are operands."""
        count = 0
        for param in self.params:
            if param.type.base not in ("Tensor", "Operand") or param.type.is_list:
                break
            count += 1
        return count if self.scalar else 0

    @property
    def numbers(self) -> int:
        """Pointwise: how many parameters after them go to the loop."""
        count = 0
        for param in self.params[self.operands :]:
            if not param.type.required().number:
                break
            count += 1
        return count if self.scalar else 0

    @property
    def formula(self) -> Text | None:
        return None if self.composite and self.composite.text.startswith("c:") else self.composite

    @property
    def has_grad_row(self) -> bool:
        return bool(self.grad or self.nondiff)

    def result_index(self, name: str) -> int:
        return next(i for i, result in enumerate(self.results) if result.name == name)


@dataclass
class Table:
    rows: list[Row] = field(default_factory=list)
    families: dict[str, dict[str, object]] = field(default_factory=dict)
    helpers: dict[str, Schema] = field(default_factory=dict)
    operators: dict[str, list[Text]] = field(default_factory=dict)  # "a + b": formulas to try
    scalar_results: dict[str, str] = field(default_factory=dict)  # "fx_abs": "real"
    by_name: dict[str, list[Row]] = field(default_factory=dict)
    by_ident: dict[str, Row] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def report(self, where: str, what: object) -> None:
        self.problems.append(f"{where}: {what}")

    def add(self, row: Row) -> None:
        other = self.by_ident.get(row.ident)
        if other:
            raise Problem(f"'{row.ident}' is declared at {other.where} already")
        row.id = len(self.rows)
        self.rows.append(row)
        self.by_ident[row.ident] = row
        self.by_name.setdefault(row.name, []).append(row)

    def candidates(self, name: str) -> list[Row]:
        """The rows that `name` may mean in a formula, in order."""
        exact = self.by_ident.get(name)
        named = self.by_name.get(name, [])
        return named if exact is None or exact in named else [exact, *named]

    def unknown(self, name: str) -> Problem:
        known = [*self.by_name, *self.by_ident, *self.helpers]
        near = difflib.get_close_matches(name, known, 1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        return Problem(f"no row '{name}'{hint}")


def words(value: object, allowed: tuple[str, ...], key: str) -> frozenset[str]:
    if not isinstance(value, str):
        raise Problem(f"'{key}' is a string of words")
    for word in value.split():
        if word not in allowed:
            raise Problem(f"'{word}' is no word of '{key}'; there are {', '.join(allowed)}")
    return frozenset(value.split())


class Reader:
    """Reads one file into the table."""

    def __init__(self, table: Table, path: Path):
        self.table = table
        self.path = path

    def where(self, node: ast.AST) -> str:
        return f"{self.path}:{node.lineno}"

    def read(self) -> None:
        try:
            tree = ast.parse(self.path.read_text(encoding="utf-8"), str(self.path))
        except SyntaxError as error:
            self.table.report(f"{self.path}:{error.lineno}", error.msg)
            return
        for node in tree.body:
            try:
                self.statement(node)
            except Problem as problem:
                self.table.report(self.where(node), problem)

    def statement(self, node: ast.stmt) -> None:
        call = node.value if isinstance(node, ast.Expr) else None
        if isinstance(call, ast.Constant) and isinstance(call.value, str):
            return
        kinds = {
            "op": self.op,
            "family": self.family,
            "helper": self.helper,
            "operators": self.operators,
            "scalar_results": self.scalar_results,
        }
        name = call.func.id if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) else ""
        if name not in kinds:
            raise Problem(f"a declaration is a call of {', '.join(kinds)}")
        args = [self.literal(arg) for arg in call.args]
        keys = {}
        for keyword in call.keywords:
            if keyword.arg is None or keyword.arg in keys:
                raise Problem("keys are given once each, by name")
            keys[keyword.arg] = keyword.value
        kinds[name](node, args, keys)

    def literal(self, node: ast.expr) -> object:
        if isinstance(node, ast.Name):
            return node.id
        try:
            return ast.literal_eval(node)
        except ValueError:
            raise Problem("arguments are literals: nothing here is executed") from None

    def one_string(self, args: list[object], what: str) -> str:
        if len(args) != 1 or not isinstance(args[0], str):
            raise Problem(f"the one positional argument is {what}")
        return args[0]

    # --- kinds of declarations

    def family(self, node, args, keys) -> None:
        name = self.one_string(args, "the family's name")
        if name in self.table.families:
            raise Problem(f"family '{name}' is declared twice")
        self.known(keys, FAMILY_KEYS)
        self.table.families[name] = keys

    def helper(self, node, args, keys) -> None:
        schema = parse_schema(self.one_string(args, "a schema"))
        if keys or schema.overload or schema.name in self.table.helpers or not schema.results:
            raise Problem("a helper has a name of its own, results, no overload and no keys")
        self.table.helpers[schema.name] = schema

    def operators(self, node, args, keys) -> None:
        if len(args) != 1 or keys or not isinstance(node.value.args[0], ast.Dict):
            raise Problem("operators takes a dict: {'a + b': 'formula' or ['formula', ...]}")
        for key, value in zip(node.value.args[0].keys, node.value.args[0].values):
            items = value.elts if isinstance(value, ast.List) else [value]
            self.table.operators[self.literal(key)] = [self.text(item, "operators") for item in items]

    def scalar_results(self, node, args, keys) -> None:
        self.known(keys, ("real", "bool"))
        for kind, value in keys.items():
            for name in str(self.literal(value)).split():
                self.table.scalar_results[name] = kind

    def op(self, node, args, keys) -> None:
        row = Row(parse_schema(self.one_string(args, "a schema")), self.where(node), self.path.stem)
        try:
            self.known(keys, OP_KEYS)
            if "family" in keys:
                family = self.literal(keys.pop("family"))
                if family not in self.table.families:
                    raise Problem(f"there is no family '{family}'")
                keys = {**self.table.families[family], **keys}
            for key, value in keys.items():
                getattr(self, f"key_{key}", self.key_string)(row, key, value)
            check_row(row, keys)
            self.table.add(row)
        except Problem as problem:
            raise Problem(f"op {row.schema.full_name}: {problem}") from None

    # --- keys

    def known(self, keys, allowed: tuple[str, ...]) -> None:
        for key in keys:
            if key not in allowed:
                raise Problem(f"unknown key '{key}'; there are {', '.join(allowed)}")

    def text(self, node: ast.expr, key: str) -> Text:
        value = self.literal(node)
        if not isinstance(value, str):
            raise Problem(f"'{key}' takes strings")
        return Text(value, self.where(node))

    def key_string(self, row: Row, key: str, node: ast.expr) -> None:
        setattr(row, key, self.text(node, key).text)

    def key_variants(self, row: Row, key: str, node: ast.expr) -> None:
        row.variants = words(self.literal(node), VARIANTS, key)

    def key_flags(self, row: Row, key: str, node: ast.expr) -> None:
        row.flags = words(self.literal(node), FLAGS, key)

    def key_promote(self, row: Row, key: str, node: ast.expr) -> None:
        row.promote = self.literal(node)
        if row.promote not in PROMOTES:
            raise Problem(f"'{row.promote}' is no promotion; there are {', '.join(PROMOTES)}")

    def key_dtypes(self, row: Row, key: str, node: ast.expr) -> None:
        row.dtypes = tuple(str(self.literal(node)).split())

    def key_nondiff(self, row: Row, key: str, node: ast.expr) -> None:
        row.nondiff = tuple(str(self.literal(node)).split())

    def key_composite(self, row: Row, key: str, node: ast.expr) -> None:
        row.composite = self.text(node, key)

    def key_scalar(self, row: Row, key: str, node: ast.expr) -> None:
        row.scalar = self.by_class(node, key)

    def key_fast(self, row: Row, key: str, node: ast.expr) -> None:
        if not isinstance(node, ast.Dict):
            raise Problem("'fast' is a dict from a condition to a body")
        for condition, body in zip(node.keys, node.values):
            row.fast[self.literal(condition)] = self.by_class(body, key)

    def by_class(self, node: ast.expr, key: str) -> dict[str, Text]:
        """Bodies by dtype class; a plain string has the class ""."""
        if not isinstance(node, ast.Dict):
            return {"": self.text(node, key)}
        return {str(self.literal(k)): self.text(v, key) for k, v in zip(node.keys, node.values)}

    def key_grad(self, row: Row, key: str, node: ast.expr) -> None:
        if isinstance(node, ast.Constant) and node.value is None:
            return
        if not isinstance(node, ast.Dict):
            raise Problem("'grad' is a dict from parameters to formulas, or None")
        for names, formula in zip(node.keys, node.values):
            joint = tuple(name.strip() for name in str(self.literal(names)).split(","))
            row.grad[joint] = self.text(formula, key)


def check_row(row: Row, keys: dict[str, ast.expr]) -> None:
    """What can be said of a row without the others."""
    if not row.doc:
        raise Problem("a row has a 'doc'")
    if not row.computed and not row.view:
        raise Problem("nothing computes it: scalar, kernel, host_kernel, composite, or a view")
    if not row.composite and not row.rule:
        raise Problem("a row that is not composite needs a 'rule'")
    if row.kernel and (row.scalar or row.host_kernel):
        raise Problem("'kernel' goes with neither 'scalar' nor 'host_kernel'")
    if "view" in row.flags and not any(result.alias for result in row.results):
        raise Problem("a view has alias marks: Tensor(a) self ... -> Tensor(a)")
    marks = {param.alias for param in row.params if param.alias}
    for result in row.results:
        if result.alias and result.alias not in marks:
            raise Problem(f"no parameter has the alias mark ({result.alias})")
    if row.fast and not row.scalar:
        raise Problem("'fast' goes with 'scalar'")
    if row.scalar and row.operands == 0 and not row.flags & {"factory", "random"}:
        raise Problem("a pointwise row starts with its operands")
    if row.operands + len(row.results) > 8 or row.numbers > 6:
        raise Problem("a loop takes at most 8 results and operands, and 6 numbers")
    if "inplace" in row.variants and row.params[:1] and row.params[0].type.base == "Scalar":
        raise Problem("the in-place form writes to its first parameter, which is a number")
    for name in row.nondiff:
        if name not in [result.name or "result" for result in row.results]:
            raise Problem(f"'nondiff' names '{name}', which is no result")
    check_grad_keys(row, "grad" in keys)


def check_grad_keys(row: Row, given: bool) -> None:
    params = {param.name: param for param in row.params}
    seen: set[str] = set()
    for joint in row.grad:
        for name in joint:
            if name not in params or not params[name].differentiable:
                raise Problem(f"'grad' names '{name}', which is no Tensor parameter")
            if name in seen:
                raise Problem(f"'{name}' has two gradients")
            seen.add(name)
    if given or row.composite or row.promote in ("BOOL", "INT_OUT"):
        return
    real = not row.dtypes or any(word.startswith(("float", "complex")) for word in row.dtypes)
    if row.scalar and "" not in row.scalar:
        real = any("float" in key or "complex" in key for key in row.scalar)
    outcome = [r for r in row.results if r.type.base == TENSOR.base and r.name not in row.nondiff]
    if real and outcome and any(param.differentiable for param in row.params):
        raise Problem("it could be differentiated: give 'grad', or say grad=None")


def read_table(folder: Path) -> Table:
    """All declarations below a folder; families.py comes first, the rest by name."""
    table = Table()
    files = sorted(folder.glob("*.py"), key=lambda path: (path.name != "families.py", path.name))
    if not files:
        table.report(str(folder), "there are no declarations")
    for path in files:
        Reader(table, path).read()
    functions: dict[str, str] = {}
    for row in table.rows:
        names = [row.ident] + [f"{row.ident}_"] * ("inplace" in row.variants)
        for name in names:
            if name in functions:
                table.report(row.where, f"op {row.ident}: '{name}' is {functions[name]}'s already")
            functions[name] = row.ident
    return table
