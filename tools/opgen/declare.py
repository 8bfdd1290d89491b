"""Declarations: reads csrc/ops/*.py into a Table of rows, and checks what each row says by itself.

The files are Python in syntax only. Each top-level statement is a call of `op`, `family`,
`helper`, `operators` or `scalar_results` with literal arguments; a bare word such as BINARY stands
for itself.
"""

from __future__ import annotations

import ast
import difflib
from dataclasses import dataclass, field
from pathlib import Path

from schema import Param, Problem, Schema, parse_schema

# The words that a key may have.
WORDS = {
    "variants": ("function", "method", "inplace", "out"),
    "flags": ("data_shape", "random", "factory", "conj", "view", "broadcasts"),
    "promote": ("NONE", "SAME", "FLOAT", "BOOL", "REAL", "INT_OUT"),
}
FAMILY_KEYS = (*WORDS, "module", "rule", "kernel", "host_kernel", "dtypes")
OP_KEYS = (*FAMILY_KEYS, *"public family scalar fast composite grad nondiff like doc".split())
Keys = dict[str, ast.expr]


@dataclass(frozen=True)
class Text:
    """A string of a declaration, and where it stands."""

    text: str
    where: str


@dataclass
class Row:
    schema: Schema
    where: str
    group: str  # the name of its file
    variants: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    module: str = ""
    public: str = ""
    promote: str = "NONE"
    dtypes: tuple[str, ...] = ()
    rule: str = ""
    kernel: str = ""
    host_kernel: str = ""
    composite: Text | None = None
    scalar: dict[str, Text] = field(default_factory=dict)  # by dtype classes; "": a plain string
    fast: dict[str, dict[str, Text]] = field(default_factory=dict)
    grad: dict[tuple[str, ...], Text] = field(default_factory=dict)
    nondiff: tuple[str, ...] = ()
    like: str = ""
    doc: str = ""

    def __post_init__(self):
        self.name, self.ident = self.schema.name, self.schema.ident
        self.params, self.results = self.schema.params, self.schema.results

    @property
    def view(self) -> bool:
        """The rule does all: results share memory with a parameter."""
        computed = self.scalar or self.kernel or self.host_kernel or self.composite
        return not computed and any(r.alias and not r.writes for r in self.results)

    @property
    def operands(self) -> tuple[Param, ...]:
        """Pointwise: the leading parameters that are loaded elementwise."""
        return leading(self.params if self.scalar else (), lambda param: param.differentiable)

    @property
    def numbers(self) -> tuple[Param, ...]:
        """Pointwise: the parameters after the operands that go to the loop."""
        rest = self.params[len(self.operands) :] if self.scalar else ()
        return leading(rest, lambda param: param.type.required().number)

    @property
    def formula(self) -> Text | None:
        """What it is composed of, unless that is written in C."""
        return None if self.composite and self.composite.text.startswith("c:") else self.composite


def leading(params: tuple[Param, ...], wanted) -> tuple[Param, ...]:
    stop = (i for i, param in enumerate(params) if param.type.is_list or not wanted(param))
    return params[: next(stop, len(params))]


@dataclass
class Table:
    rows: list[Row] = field(default_factory=list)
    families: dict[str, Keys] = field(default_factory=dict)
    helpers: dict[str, Schema] = field(default_factory=dict)
    operators: dict[str, list[Text]] = field(default_factory=dict)  # "a + b": formulas to try
    scalar_results: dict[str, str] = field(default_factory=dict)  # "fx_abs": "real"
    by_ident: dict[str, Row] = field(default_factory=dict)  # in-place forms too
    problems: list[str] = field(default_factory=list)

    def report(self, where: str, row: Row, problem: object, what: str = "") -> None:
        name = row.schema.text.partition("(")[0]
        line = f"{where}: op {name}{what}: {problem}"
        if line not in self.problems:
            self.problems.append(line)

    def add(self, row: Row) -> None:
        for ident in [row.ident] + [f"{row.ident}_"] * ("inplace" in row.variants):
            if ident in self.by_ident:
                raise Problem(f"'{ident}' is declared at {self.by_ident[ident].where} already")
            self.by_ident[ident] = row
        self.rows.append(row)

    def candidates(self, name: str) -> list[Row]:
        """The rows that `name` may mean in a formula, in order."""
        return [row for row in self.rows if name in (row.name, row.ident)]

    def unknown(self, name: str) -> Problem:
        known = [*self.by_ident, *(row.name for row in self.rows), *self.helpers]
        near = difflib.get_close_matches(name, known, 1)
        return Problem(f"no row '{name}'" + (f"; did you mean '{near[0]}'?" if near else ""))


def read_table(folder: Path) -> Table:
    """All declarations of a folder; families.py comes first, the rest by name."""
    table = Table()
    for path in sorted(folder.glob("*.py"), key=lambda path: (path.stem != "families", path.name)):
        Reader(table, path).read()
    if not table.rows and not table.problems:
        table.problems.append(f"{folder}: there are no declarations")
    return table


class Reader:
    """Reads one file into the table."""

    def __init__(self, table: Table, path: Path):
        self.table = table
        self.path = path

    def read(self) -> None:
        try:
            tree = ast.parse(self.path.read_text(encoding="utf-8"), str(self.path))
        except SyntaxError as error:
            self.table.problems.append(f"{self.path}:{error.lineno}: {error.msg}")
            return
        for node in tree.body:
            try:
                self.statement(node)
            except Problem as problem:
                self.table.problems.append(f"{self.path}:{node.lineno}: {problem}")

    def statement(self, node: ast.stmt) -> None:
        kinds = ("op", "family", "helper", "operators", "scalar_results")
        match node:
            case ast.Expr(value=ast.Constant(value=str())):
                return  # a docstring
            case ast.Expr(value=ast.Call(func=ast.Name(id=name), args=args, keywords=keywords)):
                keys = {keyword.arg: keyword.value for keyword in keywords}
                if name in kinds and None not in keys and len(args) == (name != "scalar_results"):
                    getattr(self, name)(node, *args, keys)
                    return
        raise Problem(f"a declaration is a call of {', '.join(kinds)}, with keys by name")

    # --- kinds of declarations

    def family(self, node: ast.stmt, name: ast.expr, keys: Keys) -> None:
        self.check_keys(keys, FAMILY_KEYS)
        if self.literal(name) in self.table.families:
            raise Problem("a family of this name is declared already")
        self.table.families[self.literal(name)] = keys

    def helper(self, node: ast.stmt, schema: ast.expr, keys: Keys) -> None:
        self.check_keys(keys, ())
        helper = parse_schema(self.literal(schema))
        if helper.overload or helper.name in self.table.helpers:
            raise Problem("a helper has a name of its own and no overload")
        self.table.helpers[helper.name] = helper

    def operators(self, node: ast.stmt, formulas: ast.expr, keys: Keys) -> None:
        self.check_keys(keys, ())
        for pattern, value in self.items(formulas):
            tried = value.elts if isinstance(value, ast.List) else [value]
            self.table.operators[pattern] = [self.text(formula) for formula in tried]

    def scalar_results(self, node: ast.stmt, keys: Keys) -> None:
        self.check_keys(keys, ("real", "bool"))
        for kind, names in keys.items():
            self.table.scalar_results |= dict.fromkeys(self.literal(names).split(), kind)

    def op(self, node: ast.stmt, schema: ast.expr, keys: Keys) -> None:
        where = f"{self.path}:{node.lineno}"
        row = Row(parse_schema(self.literal(schema)), where, self.path.stem)
        try:
            self.check_keys(keys, OP_KEYS)
            family = self.literal(keys.pop("family", ast.Constant("")))
            if family and family not in self.table.families:
                raise Problem(f"there is no family '{family}'")
            for key, value in {**self.table.families.get(family, {}), **keys}.items():
                setattr(row, key, self.key(key, value))
            check_row(row, "grad" in keys)
            self.table.add(row)
        except Problem as problem:
            self.table.report(where, row, problem)

    # --- keys

    def check_keys(self, keys: Keys, allowed: tuple[str, ...]) -> None:
        for key in keys:
            if key not in allowed:
                raise Problem(f"unknown key '{key}'; there are {', '.join(allowed) or 'none'}")

    def key(self, key: str, node: ast.expr) -> object:
        if key == "composite":
            return self.text(node)
        if key == "scalar":
            return self.by_class(node)
        if key == "fast":
            return {condition: self.by_class(body) for condition, body in self.items(node)}
        if key == "grad":
            none = isinstance(node, ast.Constant) and node.value is None
            formulas = [] if none else self.items(node)
            return {tuple(k.replace(",", " ").split()): self.text(v) for k, v in formulas}
        value = self.literal(node)
        for word in value.split() if key in WORDS else ():
            if word not in WORDS[key]:
                raise Problem(f"'{word}' is no word of '{key}'; there are {', '.join(WORDS[key])}")
        return tuple(value.split()) if key in ("variants", "flags", "dtypes", "nondiff") else value

    def literal(self, node: ast.expr) -> str:
        match node:
            case ast.Name(id=text) | ast.Constant(value=str(text)):
                return text
        raise Problem(f"'{ast.unparse(node)}' is no string: nothing here is executed")

    def text(self, node: ast.expr) -> Text:
        return Text(self.literal(node), f"{self.path}:{node.lineno}")

    def items(self, node: ast.expr) -> list[tuple[str, ast.expr]]:
        if not isinstance(node, ast.Dict) or None in node.keys:
            raise Problem(f"'{ast.unparse(node)}' is no dict")
        return [(self.literal(key), value) for key, value in zip(node.keys, node.values)]

    def by_class(self, node: ast.expr) -> dict[str, Text]:
        if not isinstance(node, ast.Dict):
            return {"": self.text(node)}
        return {key: self.text(value) for key, value in self.items(node)}


def check_row(row: Row, has_grad: bool) -> None:
    """What can be said of a row without the others."""
    marks = [param.alias for param in row.params if param.alias]
    results = [result.name or "result" for result in row.results]
    differentiable = [param.name for param in row.params if param.differentiable]
    wanted = [name for joint in row.grad for name in joint]
    computed = row.scalar or row.kernel or row.host_kernel or row.composite
    mistakes = (
        (not row.doc, "a row has a 'doc'"),
        (not computed and not row.view, "nothing computes it, and it is no view"),
        (not row.composite and not row.rule, "a row that is not composite needs a 'rule'"),
        (row.kernel and (row.scalar or row.host_kernel), "'kernel' goes with no other kernel"),
        (row.fast and not row.scalar, "'fast' goes with 'scalar'"),
        (
            "view" in row.flags and not any(result.alias for result in row.results),
            "a view has alias marks: Tensor(a) self ... -> Tensor(a)",
        ),
        (
            any(result.alias and result.alias not in marks for result in row.results),
            "a result has an alias mark that no parameter has",
        ),
        (
            len(row.operands) + len(row.results) > 8 or len(row.numbers) > 6,
            "a loop has at most 8 results and operands, and 6 numbers",
        ),
        (
            "inplace" in row.variants and not (row.params and row.params[0].differentiable),
            "the in-place form writes to its first parameter, which is no tensor",
        ),
        (set(row.nondiff) - set(results), "'nondiff' names what is no result"),
        (set(wanted) - set(differentiable), "'grad' names what is no Tensor parameter"),
        (len(wanted) > len(set(wanted)), "'grad' names a parameter twice"),
        (
            differentiable and not has_grad and not row.composite and could_differ(row),
            "it could be differentiated: give 'grad', or say grad=None",
        ),
    )
    for is_so, sentence in mistakes:
        if is_so:
            raise Problem(sentence)


def could_differ(row: Row) -> bool:
    """Whether some result is floating and depends on the values of the parameters."""
    classes = " ".join(row.dtypes or row.scalar)
    real = not classes or "float" in classes or "complex" in classes
    outcomes = [r for r in row.results if r.type.base == "Tensor" and r.name not in row.nondiff]
    return real and bool(outcomes) and row.promote not in ("BOOL", "INT_OUT")
