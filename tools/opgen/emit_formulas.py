"""What is compiled from formulas: composites, and the gradient of every row."""

from __future__ import annotations

from ctext import c_file, part_of
from declare import Row, Table, Text
from formula import FULL, META, SIZES, Compiler, Expr, Saves, number_from_value
from schema import NONE, TENSOR, BOOL, Problem, Type

PARTS = 4
INCLUDES = ["ops.h", "dispatch/formula.h"]
KINDS = {SIZES: "FAC_SAVE_SIZES", META: "FAC_SAVE_META"}


def files(table: Table) -> dict[str, str]:
    helpers = [
        f"FacStatus fac_helper_{name}(const FacValue *args, FacValue *out) FAC_MUST_CHECK;"
        for name in table.helpers
    ]
    lines = [*helpers, ""]
    for row in table.rows:
        if row.formula:
            lines += composite(table, row)
    out = {"ops_composites.c": c_file(INCLUDES, lines)}
    for i in range(PARTS):
        lines = [*helpers, ""]
        for row in table.rows:
            if row.has_grad_row and part_of(row.ident, PARTS) == i:
                lines += gradient(table, row)
        out[f"ops_grads_{i}.c"] = c_file([*INCLUDES, "layers/record.h"], lines)
    return out


def read_value(kind: Type, code: str) -> Expr:
    return Expr(kind, number_from_value(kind, code) if kind.native else code)


def composite(table: Table, row: Row) -> list[str]:
    names = {p.name: read_value(p.type, f"a[{i}]") for i, p in enumerate(row.params)}
    compiler = Compiler(table, names)
    try:
        expr = compiler.compile(row.formula)
        single = len(row.results) == 1
        items = (expr,) if single else expr.items or ()
        if len(items) != len(row.results):
            raise Problem(f"the formula gives {expr.describe()}, the row has {len(row.results)} results")
        compiler.give(
            [(e, r.type, f"call->results[{i}]") for i, (e, r) in enumerate(zip(items, row.results))]
        )
    except Problem as problem:
        table.report(row.formula.where, f"op {row.schema.full_name}: {problem}")
        return []
    signature = f"FacStatus\nfac_formula_{row.ident}(FacCall *call)"
    declared = f"FacStatus fac_formula_{row.ident}(FacCall *call);"
    return [declared, *compiler.finish(signature, {"a": "call->args"}), ""]


# --- gradients


def gradient(table: Table, row: Row) -> list[str]:
    """The FacGradRow of a row, after its backward function."""
    inputs = [name for joint in row.grad for name in joint]
    indices = [i for i, param in enumerate(row.params) if param.name in inputs]
    saves = Saves()
    body: list[str] = []
    if row.grad:
        backward(table, row, indices, saves)
        saves.lay_out()
        body = backward(table, row, indices, saves)
    nondiff = sum(1 << i for i, r in enumerate(row.results) if (r.name or "result") in row.nondiff)
    saved = [save_initialiser(row, *slot) for slot in saves.slots]
    fields = {
        "ninputs": len(indices),
        "nsaved": len(saved),
        "nondiff": nondiff,
        "inputs": f"(const uint8_t[]){{{', '.join(map(str, indices))}}}" if indices else "",
        "saved": f"(const FacSave[]){{{', '.join(saved)}}}" if saved else "",
        "backward": f"backward_{row.ident}" if row.grad else "",
    }
    lines = [f"    .{key} = {value}," for key, value in fields.items() if value]
    name = f"const FacGradRow fac_grad_{row.ident}"
    return [*body, f"extern {name};", f"{name} = {{", *lines, "};", ""]


def save_initialiser(row: Row, source: str, index: int, level: int, mask: int) -> str:
    full = "FAC_SAVE_ARG" if source == "arg" else "FAC_SAVE_RESULT"
    name = row.params[index].name if source == "arg" else row.results[index].name or "result"
    return f'{{{KINDS.get(level, full)}, {index}, {mask:#x}, "{name}"}}'


def gradient_names(row: Row) -> dict[str, Expr]:
    """What every gradient formula of the row may name."""
    names = {p.name: Expr(p.type, saved=("arg", i)) for i, p in enumerate(row.params)}
    results = [(r.name or "result", r.type) for r in row.results]
    if len(row.results) == 1 and row.results[0].type.is_list:
        results = [(row.results[0].name or "results", row.results[0].type)]
    for i, (name, kind) in enumerate(results):
        names.setdefault(name, Expr(kind, saved=("result", i)))
    grads = tuple(Expr(r.type, f"g[{i}]") for i, r in enumerate(row.results))
    names["grads"] = grads[0] if len(grads) == 1 else Expr(NONE, items=grads)
    differentiable = [g for g, r in zip(grads, row.results) if r.name not in row.nondiff]
    if len(differentiable) == 1 and not differentiable[0].type.is_list:
        names["grad"] = differentiable[0]
    return names


def backward(table: Table, row: Row, indices: list[int], saves: Saves) -> list[str]:
    bit = {row.params[index].name: 1 << i for i, index in enumerate(indices)}
    place = {row.params[index].name: f"call->out[{i}]" for i, index in enumerate(indices)}
    compiler = Compiler(table, gradient_names(row), saves)
    common = dict(compiler.names)
    for joint, formula in row.grad.items():
        saves.mask = sum(bit[name] for name in joint)
        needed = tuple(Expr(BOOL, f"((call->needed & {bit[name]:#x}) != 0)") for name in joint)
        compiler.names = {**common, "needed": Expr(NONE, items=needed)}
        compiler.emit(f"if (call->needed & {saves.mask:#x}) {{")
        compiler.depth += 1
        try:
            give_gradients(compiler, row, joint, formula, place)
        except Problem as problem:
            report_once(table, row, joint, formula, problem)
        compiler.depth -= 1
        compiler.emit("}")
    signature = f"static FacStatus\nbackward_{row.ident}(FacGradCall *call)"
    return [*compiler.finish(signature, {"s": "call->saved", "g": "call->grads"}), ""]


def give_gradients(compiler: Compiler, row: Row, joint, formula: Text, place) -> None:
    expr = compiler.compile(formula)
    items = (expr,) if len(joint) == 1 else expr.items or ()
    if len(items) != len(joint):
        raise Problem(f"the formula gives {expr.describe()}, the key names {len(joint)} parameters")
    kinds = {param.name: param.type for param in row.params}
    outs = []
    for name, item in zip(joint, items):
        listed = kinds[name].is_list
        wanted = Type("Tensor", optional=True, is_list=listed, item_optional=listed)
        outs.append((item, wanted, place[name]))
    compiler.give(outs)


def report_once(table: Table, row: Row, joint, formula: Text, problem: Problem) -> None:
    what = f"op {row.schema.full_name}, gradient of '{', '.join(joint)}': {problem}"
    if f"{formula.where}: {what}" not in table.problems:
        table.report(formula.where, what)
