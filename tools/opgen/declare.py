"""Declarations: reads csrc/ops/*.py into a Table of rows, and checks what each row says by itself.

The files are Python in syntax only. Each top-level statement is a call of `op`, `family`,
`helper`, `operators` or `scalar_results` with strings and dicts of strings; a bare word such as
BINARY stands for itself. Formulas and bodies are parsed here and compiled by the emitters.
"""

from __future__ import annotations

import ast
import difflib
from dataclasses import dataclass, field, fields
from itertools import takewhile
from pathlib import Path

from schema import CLASSES, Param, Problem, Schema, parse_schema

Literal = str | dict | None  # what a declaration may say in one place
# The words that a key may have.
WORDS = {
    "variants": ("function", "method", "inplace", "out"),
    "flags": ("data_shape", "random", "factory", "conj", "view", "broadcasts", "tame"),
    "promote": ("NONE", "SAME", "FLOAT", "BOOL", "REAL", "INT_OUT"),
    "dtypes": CLASSES,
}


@dataclass
class Row:
    schema: Schema
    where: str
    group: str  # the name of its file; the fields below are keys of op
    variants: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    module: str = ""
    public: str = ""
    promote: str = "NONE"
    dtypes: tuple[str, ...] = ()
    rule: str = ""
    kernel: str = ""
    host_kernel: str = ""
    composite: ast.expr | str = ""  # a formula, or the name of a C function
    scalar: dict[str, ast.expr] = field(default_factory=dict)  # by dtype classes
    fast: dict[str, dict[str, ast.expr]] = field(default_factory=dict)
    grad: dict[tuple[str, ...], ast.expr] = field(default_factory=dict)
    nondiff: tuple[str, ...] = ()
    linear: tuple[str, ...] = ()  # parameters; "*" among them: in each of them alone
    batch: str = ""
    like: str = ""
    doc: str = ""

    def __post_init__(self):
        self.name, self.ident = self.schema.name, self.schema.ident
        self.params, self.results = self.schema.params, self.schema.results

    @property
    def operands(self) -> tuple[Param, ...]:
        """Pointwise: the leading parameters that are loaded elementwise."""
        loaded = takewhile(lambda p: p.differentiable and not p.type.is_list, self.params)
        return tuple(loaded) if self.scalar else ()

    @property
    def numbers(self) -> tuple[Param, ...]:
        """Pointwise: the parameters after the operands that go to the loop."""
        rest = self.params[len(self.operands) :] if self.scalar else ()
        return tuple(takewhile(lambda p: p.type.required().number, rest))


KEYS = ("family", *(item.name for item in fields(Row)[3:]))


@dataclass
class Table:
    rows: list[Row] = field(default_factory=list)
    families: dict[str, dict] = field(default_factory=dict)
    helpers: dict[str, Schema] = field(default_factory=dict)
    operators: dict[str, ast.expr] = field(default_factory=dict)  # "a + b": its formula
    scalar_results: dict[str, str] = field(default_factory=dict)  # "fx_abs": "real"
    by_ident: dict[str, Row] = field(default_factory=dict)  # in-place forms too
    problems: list[str] = field(default_factory=list)

    def report(self, row: Row, problem: Problem, what: str = "") -> None:
        name = row.schema.text.partition("(")[0]
        self.problems.append(f"{row.where}: op {name}{what}: {problem}")

    def candidates(self, name: str) -> list[tuple[str, Schema]]:
        """What `name` may mean in a formula, in order, and how each is called."""
        rows = [("row", row.schema) for row in self.rows if name in (row.name, row.ident)]
        if name in self.helpers:
            rows.append(("helper", self.helpers[name]))
        inplace = not rows and self.by_ident.get(name)
        return [("inplace", inplace.schema)] if inplace else rows

    def unknown(self, name: str) -> Problem:
        known = [*self.by_ident, *(row.name for row in self.rows), *self.helpers]
        near = difflib.get_close_matches(name, known, 1)
        return Problem(f"no row '{name}'" + (f"; did you mean '{near[0]}'?" if near else ""))

    # --- reading

    def read(self, path: Path) -> None:
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        except SyntaxError as error:
            self.problems.append(f"{path}:{error.lineno}: {error.msg}")
            return
        for node in tree.body:
            where = f"{path}:{node.lineno}"
            try:
                self.statement(node, where, path.stem)
            except Problem as problem:
                self.problems.append(f"{where}: {problem}")

    def statement(self, node: ast.stmt, where: str, group: str) -> None:
        kind, args, keys = "", [], {}
        match node:
            case ast.Expr(value=ast.Call(func=ast.Name(id=kind), args=args, keywords=keywords)):
                args = [literal(arg) for arg in args]
                keys = {keyword.arg: literal(keyword.value) for keyword in keywords}
        match kind, args:
            case "op", [str(text)]:
                self.op(Row(parse_schema(text), where, group), keys)
            case "family", [str(name)]:
                self.families[name] = keys
            case "helper", [str(text)] if not keys:
                helper = parse_schema(text)
                self.helpers[helper.ident] = helper
            case "operators", [formulas] if not keys:
                self.operators |= expressions(formulas)
            case "scalar_results", []:
                for word, names in keys.items():
                    self.scalar_results |= dict.fromkeys(str(names).split(), word)
            case _:
                raise Problem("a declaration is a call of op, family, helper, operators, ...")

    def op(self, row: Row, keys: dict[str, Literal]) -> None:
        try:
            family = keys.pop("family", None)
            if family and family not in self.families:
                raise Problem(f"there is no family '{family}'")
            for key, value in {**self.families.get(family, {}), **keys}.items():
                setattr(row, key, converted(key, value))
            check_row(row, "grad" in keys)
            for ident in [row.ident] + [f"{row.ident}_"] * ("inplace" in row.variants):
                if ident in self.by_ident:
                    raise Problem(f"'{ident}' is declared at {self.by_ident[ident].where} already")
                self.by_ident[ident] = row
            self.rows.append(row)
        except Problem as problem:
            self.report(row, problem)


def read_table(folder: Path) -> Table:
    """All declarations of a folder; families.py comes first, the rest by name."""
    table = Table()
    for path in sorted(folder.glob("*.py"), key=lambda path: (path.stem != "families", path.name)):
        table.read(path)
    if not table.rows and not table.problems:
        table.problems.append(f"{folder}: there are no declarations")
    return table


# --- what is said in a declaration


def literal(node: ast.expr) -> Literal:
    match node:
        case ast.Name(id=text) | ast.Constant(value=str() | None as text):
            return text
        case ast.Dict(keys=keys, values=values) if None not in keys:
            return {str(literal(key)): literal(value) for key, value in zip(keys, values)}
    raise Problem(f"'{ast.unparse(node)}' is no string and no dict: nothing here is executed")


def converted(key: str, value: Literal) -> object:
    """What a key of op says, as the field of a row."""
    if key not in KEYS:
        raise Problem(f"unknown key '{key}'; there are {', '.join(KEYS)}")
    match key, value:
        case "scalar", _:
            return by_class(value)
        case "fast", dict():
            return {condition: by_class(bodies) for condition, bodies in value.items()}
        case "grad", _:
            formulas = expressions(value).items()
            return {tuple(names.replace(",", " ").split()): tree for names, tree in formulas}
        case "composite", str():
            return value[2:] if value.startswith("c:") else expression(value)
        case _, str():
            for word in value.split() if key in WORDS else ():
                if word not in WORDS[key]:
                    known = ", ".join(sorted(WORDS[key]))
                    raise Problem(f"'{word}' is no word of '{key}'; there are {known}")
            several = key in ("variants", "flags", "dtypes", "nondiff", "linear")
            return tuple(value.split()) if several else value
    raise Problem(f"'{key}' cannot be {value!r}")


def expression(text: Literal) -> ast.expr:
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (AttributeError, SyntaxError):
        raise Problem(f"{text!r} is no expression") from None


def expressions(value: Literal) -> dict[str, ast.expr]:
    """Of a dict, or of None, which is an empty one."""
    if not isinstance(value or {}, dict):
        raise Problem(f"{value!r} is no dict")
    return {key: expression(text) for key, text in (value or {}).items()}


def by_class(value: Literal) -> dict[str, ast.expr]:
    """Bodies by dtype classes; a single one is for every dtype."""
    bodies = expressions({" ".join(CLASSES): value} if isinstance(value, str) else value)
    for word in " ".join(bodies).split():
        if word not in CLASSES:
            raise Problem(f"no dtype class '{word}'; there are {', '.join(sorted(CLASSES))}")
    return bodies


def check_row(row: Row, has_grad: bool) -> None:
    """What can be said of a row without the others."""
    view = "view" in row.flags
    computed = row.scalar or row.kernel or row.host_kernel or row.composite
    marks = {param.alias for param in row.params}
    aliases = {result.alias for result in row.results if result.alias}
    results = {result.name or "result" for result in row.results}
    no_target = "inplace" in row.variants and not any(p.differentiable for p in row.params[:1])
    loaded = len(row.operands) + len(row.results)
    tensors = {param.name for param in row.params if param.differentiable}
    wanted = [name for joint in row.grad for name in joint]
    classes = " ".join(row.dtypes or row.scalar) or "float"
    exact = row.promote in ("BOOL", "INT_OUT") or not ("float" in classes or "complex" in classes)
    outcomes = [r for r in row.results if r.type.base == "Tensor" and r.name not in row.nondiff]
    undecided = tensors and outcomes and not (exact or has_grad or row.composite)
    mistakes = (
        (not row.doc, "a row has a 'doc'"),
        (not computed and not view, "nothing computes it, and it is no view"),
        (not row.composite and not row.rule, "a row that is not composite needs a 'rule'"),
        (row.kernel and (row.scalar or row.host_kernel), "'kernel' goes with no other kernel"),
        (row.dtypes and row.scalar, "'dtypes' goes with kernels: those of 'scalar' are its keys"),
        (row.fast and not row.scalar, "'fast' goes with 'scalar'"),
        (view and not aliases, "a view has alias marks: Tensor(a) self ... -> Tensor(a)"),
        (aliases - marks, "a result has an alias mark that no parameter has"),
        (loaded > 8 or len(row.numbers) > 6, "a loop takes 8 results and operands, 6 numbers"),
        (no_target, "the in-place form writes to its first parameter, which is no tensor"),
        (set(row.nondiff) - results, "'nondiff' names what is no result"),
        (set(wanted) - tensors, "'grad' names what is no Tensor parameter"),
        (set(row.linear) - tensors - {"*"}, "'linear' names what is no Tensor parameter"),
        (len(wanted) > len(set(wanted)), "'grad' names a parameter twice"),
        (undecided, "it could be differentiated: give 'grad', or say grad=None"),
    )
    for is_so, sentence in mistakes:
        if is_so:
            raise Problem(sentence)
