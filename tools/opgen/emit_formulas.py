"""What is compiled from formulas: composites, and the gradients of rows."""

from __future__ import annotations

from ctext import c_file, part_of
from declare import Row, Table, Text
from formula import META, NONE, SIZES, Compiler, Expr, Saves, condition
from schema import Problem, Type

PARTS = 4
INCLUDES = ["ops.h", "dispatch/formula.h"]
SAVE_KINDS = {
    ("ARG", SIZES): "SIZES",
    ("ARG", META): "META",
    ("RESULT", SIZES): "RESULT_SIZES",
    ("RESULT", META): "RESULT_META",
}


def files(table: Table) -> dict[str, str]:
    helpers = [
        f"FacStatus fac_helper_{name}(const FacValue *args, FacValue *out) FAC_MUST_CHECK;"
        for name in table.helpers
    ] + [""]
    composites = [line for row in table.rows if row.formula for line in composite(table, row)]
    out = {"ops_composites.c": c_file(INCLUDES, helpers + composites)}
    for i in range(PARTS):
        rows = [row for row in table.rows if part_of(row.ident, PARTS) == i]
        lines = [line for row in rows if has_gradient(row) for line in gradient(table, row)]
        out[f"ops_grads_{i}.c"] = c_file([*INCLUDES, "layers/record.h"], helpers + lines)
    return out


def composite(table: Table, row: Row) -> list[str]:
    compiler = Compiler(table, {p.name: Expr(p.type, f"a[{i}]") for i, p in enumerate(row.params)})
    places = [(result.type, f"call->results[{i}]") for i, result in enumerate(row.results)]
    compile_into(compiler, row, row.formula, places)
    name = f"FacStatus fac_composed_{row.ident}(FacCall *call);"
    function = compiler.finish(name.replace(" ", "\n", 1).rstrip(";"), {"a": "call->args"})
    return [name, *function]


def compile_into(compiler: Compiler, row: Row, formula: Text, places, what: str = "") -> None:
    """Compiles a formula and puts its values into places of the caller."""
    try:
        expr = compiler.compile(formula)
        items = (expr,) if len(places) == 1 else expr.items or ()
        if len(items) != len(places):
            raise Problem(f"the formula gives {expr}, and {len(places)} values are wanted")
        compiler.give([(item, *place) for item, place in zip(items, places)])
    except Problem as problem:
        compiler.table.report(formula.where, row, problem, what)


# --- gradients


def has_gradient(row: Row) -> bool:
    return bool(row.grad or row.nondiff)


def gradient(table: Table, row: Row) -> list[str]:
    """The FacGradRow of a row, after its backward function."""
    wanted = {name for joint in row.grad for name in joint}
    inputs = [i for i, param in enumerate(row.params) if param.name in wanted]
    saves = Saves()
    backward(table, row, inputs, saves)
    saves.lay_out()
    function = backward(table, row, inputs, saves) if inputs else []
    nondiff = sum(1 << i for i, r in enumerate(row.results) if (r.name or "result") in row.nondiff)
    saved = [save_initialiser(row, *slot) for slot in saves.slots]
    fields = {
        "ninputs": len(inputs),
        "nsaved": len(saved),
        "nondiff": nondiff,
        "inputs": inputs and f"(const uint8_t[]){{{', '.join(map(str, inputs))}}}",
        "saved": saved and f"(const FacSave[]){{{', '.join(saved)}}}",
        "backward": inputs and f"backward_{row.ident}",
    }
    lines = [f"    .{key} = {value}," for key, value in fields.items() if value]
    name = f"const FacGradRow fac_grad_{row.ident}"
    return [*function, f"extern {name};", f"{name} = {{", *lines, "};", ""]


def save_initialiser(row: Row, source: tuple[str, int], level: int, mask: int) -> str:
    origin, index = source
    kind = SAVE_KINDS.get((origin, level), origin)
    name = (row.params if origin == "ARG" else row.results)[index].name or "result"
    return f'{{FAC_SAVE_{kind}, {index}, {mask:#x}, "{name}"}}'


def gradient_names(row: Row) -> dict[str, Expr]:
    """What every gradient formula of the row may name."""
    listed = len(row.results) == 1 and row.results[0].type.is_list
    unnamed = "results" if listed else "result"
    results = {
        result.name or unnamed: Expr(result.type, saved=("RESULT", i))
        for i, result in enumerate(row.results)
    }
    params = {param.name: Expr(param.type, saved=("ARG", i)) for i, param in enumerate(row.params)}
    grads = [Expr(result.type, f"g[{i}]") for i, result in enumerate(row.results)]
    names = {"grads": grads[0] if listed else Expr(NONE, items=tuple(grads))}
    differentiable = [g for g, r in zip(grads, row.results) if r.name not in row.nondiff]
    if len(differentiable) == 1 and not listed:
        names["grad"] = differentiable[0]
    return {**names, **results, **params}


def backward(table: Table, row: Row, inputs: list[int], saves: Saves) -> list[str]:
    bits = {row.params[index].name: (i, 1 << i) for i, index in enumerate(inputs)}
    lists = {param.name: param.type.is_list for param in row.params}
    compiler = Compiler(table, {}, saves)
    for joint, formula in row.grad.items():
        saves.mask = sum(bits[name][1] for name in joint)
        needed = tuple(condition(f"(call->needed & {bits[name][1]:#x})") for name in joint)
        compiler.names = {**gradient_names(row), "needed": Expr(NONE, items=needed)}
        places = [
            (Type("Tensor", True, lists[name], lists[name]), f"call->out[{bits[name][0]}]")
            for name in joint
        ]
        compiler.emit(f"if (call->needed & {saves.mask:#x}) {{")
        compiler.depth += 1
        compile_into(compiler, row, formula, places, f", gradient of '{', '.join(joint)}'")
        compiler.depth -= 1
        compiler.emit("}")
    signature = f"static FacStatus\nbackward_{row.ident}(FacGradCall *call)"
    return compiler.finish(signature, {"s": "call->saved", "g": "call->grads"})
