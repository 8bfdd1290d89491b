"""What is compiled from formulas: composites, and the gradients of rows."""

from __future__ import annotations

import ast

from ctext import c_file, part_of
from declare import Row, Table
from formula import FULL, NONE, Compiler, Expr, reads
from schema import Type

PARTS = 4
INCLUDES = ["ops.h", "dispatch/formula.h"]
# FAC_SAVE_ enumerators by what is kept: SIZES, META, FULL.
SAVES = {"ARG": ("SIZES", "META", "ARG"), "RESULT": ("RESULT_SIZES", "RESULT_META", "RESULT")}


def files(table: Table) -> dict[str, str]:
    helpers = [
        f"FacStatus fac_helper_{name}(const FacValue *args, FacValue *out) FAC_MUST_CHECK;"
        for name in table.helpers
    ] + [""]
    rows = [row for row in table.rows if isinstance(row.composite, ast.expr)]
    composites = [line for row in rows for line in composite(table, row)]
    out = {"ops_composites.c": c_file(INCLUDES, helpers + composites)}
    for i in range(PARTS):
        rows = [row for row in table.rows if part_of(row.ident, PARTS) == i]
        lines = [line for row in rows if has_gradient(row) for line in gradient(table, row)]
        out[f"ops_grads_{i}.c"] = c_file([*INCLUDES, "layers/record.h"], helpers + lines)
    return out


def composite(table: Table, row: Row) -> list[str]:
    compiler = Compiler(table)
    compiler.names = {p.name: Expr(p.type, f"call->args[{i}]") for i, p in enumerate(row.params)}
    places = [(result.type, f"call->results[{i}]") for i, result in enumerate(row.results)]
    compiler.compile(row, row.composite, places)
    name = f"fac_composed_{row.ident}(FacCall *call)"
    return [f"FacStatus {name};", *compiler.finish("FacStatus", name)]


# --- gradients


def has_gradient(row: Row) -> bool:
    return bool(row.grad or row.nondiff)


def gradient(table: Table, row: Row) -> list[str]:
    """The FacGradRow of a row, after its backward function."""
    wanted = {name for joint in row.grad for name in joint}
    inputs = [i for i, param in enumerate(row.params) if param.name in wanted]
    bits = {row.params[index].name: 1 << i for i, index in enumerate(inputs)}
    masks = {joint: sum(bits[name] for name in joint) for joint in row.grad}
    names, saved = kept(row, masks)
    nondiff = sum(1 << i for i, r in enumerate(row.results) if (r.name or "result") in row.nondiff)
    fields = {
        "ninputs": len(inputs),
        "nsaved": len(saved),
        "nondiff": nondiff,
        "inputs": inputs and f"(const uint8_t[]){{{', '.join(map(str, inputs))}}}",
        "saved": saved and f"(const FacSave[]){{{', '.join(saved)}}}",
        "backward": inputs and f"backward_{row.ident}",
    }
    lines = [f".{key} = {value}," for key, value in fields.items() if value]
    name = f"const FacGradRow fac_grad_{row.ident}"
    function = backward(table, row, masks, list(bits), names) if inputs else []
    return [*function, f"extern {name};", f"{name} = {{", *lines, "};", ""]


def kept(row: Row, masks: dict) -> tuple[dict[str, Expr], list[str]]:
    """The parameters and results as gradient formulas name them, and what is saved of them: each
    level that is read, for the inputs whose formulas read it. A level that keeps more serves for
    less, where it is kept for at least the same inputs."""
    listed = row.results[:1] and row.results[0].type.is_list
    sources = {param.name: ("ARG", i, param) for i, param in enumerate(row.params)}
    for i, result in enumerate(row.results):
        sources.setdefault(result.name or "result" + "s" * listed, ("RESULT", i, result))
    names, saved = {}, []
    for name, (origin, i, param) in sources.items():
        wanted: dict[int, int] = {}
        for joint, formula in row.grad.items():
            for level in (level for read, level in reads(formula) if read == name):
                level = level if param.type.tensor else FULL
                wanted[level] = wanted.get(level, 0) | masks[joint]
        levels: dict[int, tuple[str, int]] = {}
        for level, mask in sorted(wanted.items(), reverse=True):
            more = [levels[other] for other in levels if wanted[other] | mask == wanted[other]]
            levels[level] = more[-1] if more else (f"call->saved[{len(saved)}]", level)
            if not more:
                kind = SAVES[origin][level]
                saved.append(f'{{FAC_SAVE_{kind}, {i}, {mask:#x}, "{name}"}}')
        names[name] = Expr(param.type, levels.get(FULL, ("", FULL))[0], levels=levels)
    return names, saved


def backward(table: Table, row: Row, masks: dict, inputs: list[str], names: dict) -> list[str]:
    grads = [Expr(result.type, f"call->grads[{i}]") for i, result in enumerate(row.results)]
    listed = len(grads) == 1 and row.results[0].type.is_list
    own = {"grads": grads[0] if listed else Expr(NONE, items=tuple(grads))}
    differentiable = [g for g, r in zip(grads, row.results) if r.name not in row.nondiff]
    if len(differentiable) == 1 and not listed:
        own["grad"] = differentiable[0]
    lists = {param.name: param.type.is_list for param in row.params}
    compiler = Compiler(table)
    for joint, formula in row.grad.items():
        places = [
            (Type("Tensor", True, lists[name], lists[name]), f"call->out[{inputs.index(name)}]")
            for name in joint
        ]
        compiler.names = own | names
        compiler.lines.append(f"if (call->needed & {masks[joint]:#x}) {{")
        compiler.compile(row, formula, places, f", gradient of '{', '.join(joint)}'")
        compiler.lines.append("}")
    return compiler.finish("static FacStatus", f"backward_{row.ident}(FacGradCall *call)")
