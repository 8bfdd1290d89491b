"""The rows themselves, ops_rows.c, and their typed C functions, ops.h."""

from __future__ import annotations

import ast

from ctext import c_file, c_literal
from declare import Row, Table
from emit_formulas import has_gradient
from emit_loops import compute_dtypes
from schema import CONSTANTS, NO_DEFAULT, TYPES, Param, Type

# What a required parameter is in C, and how it becomes a FacValue; all others are FacValue.
ARGUMENTS = {
    "Tensor": ("FacTensor *", "fac_v_tensor({})"),
    "str": ("const char *", "fac_v_str({})"),
    "ScalarType": ("FacDType ", "fac_v_dtype({})"),
    "Generator": ("FacGenerator *", "fac_formula_generator({})"),
    "int": ("int64_t ", "fac_v_int({})"),
    "float": ("double ", "fac_v_float({})"),
    "bool": ("bool ", "fac_v_bool({})"),
}
for _base in ("Tensor", "str", "ScalarType", "Generator"):  # NULL or FAC_DT_NONE when absent
    ARGUMENTS[f"{_base}?"] = ARGUMENTS[_base]


def files(table: Table) -> dict[str, str]:
    return {"ops.h": header(table), "ops_rows.c": rows(table)}


# --- typed functions


def argument(param: Param) -> tuple[str, str]:
    """Declaration and FacValue of a parameter of a typed function."""
    ctype, value = ARGUMENTS.get(str(param.type), ("FacValue ", "{}"))
    return f"{ctype}{param.name}", value.format(param.name)


def outputs(row: Row) -> dict[str, Param]:
    """Results by the name they have in C; what is written and returned is not handed back."""
    if all(result.writes for result in row.results):
        return {}
    taken = [param.name for param in row.params]
    named = {}
    for i, result in enumerate(row.results):
        name = result.name or ("out" if len(row.results) == 1 else f"out{i}")
        named[name + "_out" * (name in taken)] = result
    return named


def prototype(row: Row, inplace: bool = False) -> str:
    params = [argument(param)[0] for param in row.params]
    for name, result in () if inplace else outputs(row).items():
        params.append(("FacTensor **" if result.type.tensor else "FacValue *") + name)
    return f"FacStatus fac_op_{row.ident}{'_' * inplace}({', '.join(params) or 'void'})"


def typed_functions(row: Row) -> list[str]:
    values = ", ".join(argument(param)[1] for param in row.params) or "{0}"
    arguments = f"FAC_OP_{row.ident}, {len(row.params)}, (FacValue[]){{{values}}}"
    count = max(len(row.results), 1)
    results = [
        f"fac_formula_take{'_tensor' * result.type.tensor}(&r[{i}], {name});"
        for i, (name, result) in enumerate(outputs(row).items())
    ] or [f"fac_formula_release(r, {count});"]
    lines = [f"static inline FAC_MUST_CHECK {prototype(row)}", "{"]
    lines.append(f"FacValue r[{count}] = {{0}};")
    lines.append(f"FAC_RETURN_IF_ERROR(fac_call({arguments}, r));")
    lines += [*results, "return FAC_OK;", "}", ""]
    if "inplace" in row.variants:
        lines += [f"static inline FAC_MUST_CHECK {prototype(row, inplace=True)}", "{"]
        lines += [f"return fac_call_inplace({arguments});", "}", ""]
    return lines


def header(table: Table) -> str:
    lines = ["#ifndef FAC_GENERATED_OPS_H", "#define FAC_GENERATED_OPS_H", ""]
    lines += ['#include "dispatch/formula.h"', "", "enum {"]
    lines += [f"FAC_OP_ID_{row.ident}," for row in table.rows] + ["FAC_OP_COUNT", "};", ""]
    lines += [f"#define FAC_OP_{row.ident} (&fac_ops[FAC_OP_ID_{row.ident}])" for row in table.rows]
    lines += ["", "/* Absent parameters: NULL, FAC_DT_NONE or FAC_VALUE_NONE. Results are new"]
    lines += [" * references; NULL drops one. Inline: a file compiles the few that it calls. */"]
    lines += [line for row in table.rows for line in typed_functions(row)]
    return c_file([], [*lines, "#endif"])


# --- rows


def initialiser(value: object, kind: Type) -> str:
    """A default as the initialiser of a FacValue."""
    if kind.is_list and isinstance(value, int):
        value = [value] * kind.length
    match value:
        case str() if kind.base != "str":
            base, constant = CONSTANTS[value]
            return f"{{.tag = FAC_V_{TYPES[base]}, .v.i = {constant}}}"
        case list():
            items = f", .v.ints = (const int64_t[]){{{str(value)[1:-1]}}}" if value else ""
            return f"{{.tag = FAC_V_INTS, .len = {len(value)}{items}}}"
        case str():
            return f"{{.tag = FAC_V_STR, .len = {len(value)}, .v.s = {c_literal(value)}}}"
        case bool() | int() if kind.base != "float":
            return f"{{.tag = FAC_V_{type(value).__name__.upper()}, .v.i = {int(value)}}}"
        case int() | float():
            return f"{{.tag = FAC_V_FLOAT, .v.f = {c_literal(float(value))}}}"
    return "{.tag = FAC_V_NONE}"


def param_initialiser(param: Param) -> str:
    kind = param.type
    marks = {
        "OPTIONAL": kind.optional,
        "LIST": kind.is_list,
        "OPTIONAL_ITEM": kind.item_optional,
        "KEYWORD": param.keyword,
        "DEFAULT": param.default is not NO_DEFAULT,
        "ALIAS": param.alias and not param.writes,
        "WRITE": param.writes,
    }
    flags = " | ".join(f"FAC_P_{mark}" for mark, on in marks.items() if on) or "0"
    alias = f"'{param.alias}'" if param.alias else "0"
    default = initialiser(param.default, kind)
    name = c_literal(param.name)
    return f"{{{name}, FAC_TYPE_{TYPES[kind.base]}, {flags}, {alias}, {kind.length}, {default}}},"


def row_flags(row: Row) -> str:
    on = {
        "WRITES": any(param.writes for param in row.params),
        "POINTWISE": row.scalar,
        "MULTILINEAR": "*" in row.linear,
        "LIST_RESULT": row.results and row.results[0].type.is_list,
    }
    words = [word.upper() for word in (*row.variants, *row.flags)]
    return " | ".join(f"FAC_OP_{flag}" for flag in [*words, *(flag for flag in on if on[flag])])


def functions(row: Row) -> dict[str, str]:
    """The C functions in the slots of a row, by slot."""
    kernel = row.host_kernel or "pointwise" * bool(row.scalar)
    formula = isinstance(row.composite, ast.expr)
    composite = f"fac_composed_{row.ident}" if formula else f"fac_composite_{row.composite}"
    names = {
        "rule": row.rule and f"fac_rule_{row.rule}",
        "kernel": kernel and f"fac_k_{kernel}",
        "composite": row.composite and composite,
    }
    return {slot: name for slot, name in names.items() if name}


def row_initialiser(row: Row) -> list[str]:
    names = " ".join(result.name for result in row.results if len(row.results) > 1).strip()
    slots = functions(row)
    fields = {
        "name": c_literal(row.name),
        "overload": c_literal(row.schema.overload),
        "ns": '"aten"',
        "module": c_literal(row.module),
        "public_name": c_literal(row.public or row.name),
        "schema": c_literal(row.schema.text),
        "doc": c_literal(row.doc),
        "nparams": len(row.params),
        "npositional": sum(not param.keyword for param in row.params),
        "nresults": len(row.results),
        "noperands": len(row.operands),
        "nnumbers": len(row.numbers),
        "promote": f"FAC_PROMOTE_{row.promote}",
        "flags": row_flags(row),
        "dtypes": " | ".join(f"FAC_BIT({dtype.enumerator})" for dtype in compute_dtypes(row)),
        "id": f"FAC_OP_ID_{row.ident}",
        "result_names": names and c_literal(names),
        "like": row.like and c_literal(row.like),
        "linear": sum(1 << i for i, p in enumerate(row.params) if p.name in row.linear),
        "batch": row.batch and c_literal(row.batch),
        **slots,
        "kernel": "kernel" in slots and f"{{[FAC_DEV_CPU] = {slots['kernel']}}}",
        "grad": has_gradient(row) and f"&fac_grad_{row.ident}",
    }
    lines = [f".{key} = {value}," for key, value in fields.items() if value]
    for key, params in (("params", row.params), ("results", row.results)):
        if params:
            lines += [f".{key} = (const FacParam[]){{", *map(param_initialiser, params), "},"]
    return [f"[FAC_OP_ID_{row.ident}] = {{", *lines, "},"]


def rows(table: Table) -> str:
    names = {name for row in table.rows for name in functions(row).values()}
    lines = [f"FacStatus {name}(FacCall *call);" for name in sorted(names)]
    lines += [f"extern const FacGradRow fac_grad_{r.ident};" for r in table.rows if has_gradient(r)]
    lines += ["", "const int fac_op_count = FAC_OP_COUNT;", "", "FacOp fac_ops[FAC_OP_COUNT] = {"]
    lines += [line for row in table.rows for line in row_initialiser(row)]
    return c_file(["ops.h"], [*lines, "};"])
