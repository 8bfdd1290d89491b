"""The rows themselves: ops.h, ops_rows.c, and the typed C functions in ops_calls.c."""

from __future__ import annotations

from ctext import NOTICE, c_file, c_string
from declare import Row, Table
from scalar import DTYPES, loop_dtypes
from schema import CONSTANTS, INFINITIES, NO_DEFAULT, TYPES, Name, Param, Result, Type

# What a required parameter is in C, and how it becomes a FacValue; all others are FacValue.
ARGUMENTS = {
    "Tensor": ("FacTensor *", "fac_v_tensor({})"),
    "int": ("int64_t ", "fac_v_int({})"),
    "float": ("double ", "fac_v_float({})"),
    "bool": ("bool ", "fac_v_bool({})"),
    "str": ("const char *", "fac_v_str({})"),
    "ScalarType": ("FacDType ", "fac_v_dtype({})"),
    "Generator": ("FacGenerator *", "fac_formula_generator({})"),
}
OPTIONAL_TOO = ("Tensor", "str", "ScalarType", "Generator")  # NULL or FAC_DT_NONE when absent
RESERVED = {"default", "register", "signed", "unsigned", "short", "long", "double", "auto", "const",
            "static", "struct", "switch", "union", "volatile", "float", "int", "char", "inline",
            "I", "complex", "real", "imag", "n"}  # fmt: skip
TAGS = {"ScalarType": "DTYPE", "MemoryFormat": "FORMAT", "Layout": "LAYOUT"}
NOT_GIVEN = "{.tag = FAC_V_NONE}"


# --- typed functions


def c_name(name: str) -> str:
    return f"{name}_" if name in RESERVED else name


def argument(param: Param) -> tuple[str, str]:
    """Declaration and FacValue of a parameter of a typed function."""
    name = c_name(param.name)
    simple = not param.type.is_list and (not param.type.optional or param.type.base in OPTIONAL_TOO)
    if simple and param.type.base in ARGUMENTS:
        ctype, value = ARGUMENTS[param.type.base]
        return f"{ctype}{name}", value.format(name)
    return f"FacValue {name}", name


def result_names(row: Row) -> list[str]:
    taken = {c_name(param.name) for param in row.params}
    names = []
    for i, result in enumerate(row.results):
        name = result.name or ("out" if len(row.results) == 1 else f"out{i}")
        while name in taken:
            name = f"{name}_out"
        names.append(name)
    return names


def hands_back(row: Row) -> bool:
    """Rows that write a parameter and return it do not return it from C."""
    return any(not result.writes for result in row.results)


def prototype(row: Row, inplace: bool = False) -> str:
    params = [argument(param)[0] for param in row.params]
    if hands_back(row) and not inplace:
        for result, name in zip(row.results, result_names(row)):
            tensor = result.type.tensor
            params.append(f"FacTensor **{name}" if tensor else f"FacValue *{name}")
    return f"fac_op_{row.ident}{'_' * inplace}({', '.join(params) or 'void'})"


def typed_function(row: Row) -> list[str]:
    values = ", ".join(argument(param)[1] for param in row.params) or "{0}"
    arguments = f"FAC_OP_{row.ident}, {len(row.params)}, (FacValue[]){{{values}}}"
    count = max(len(row.results), 1)
    lines = ["FacStatus", prototype(row), "{", f"    FacValue r[{count}] = {{0}};"]
    lines.append(f"    FAC_RETURN_IF_ERROR(fac_call({arguments}, r));")
    if hands_back(row):
        for i, (result, name) in enumerate(zip(row.results, result_names(row))):
            taker = "fac_formula_take_tensor" if result.type.tensor else "fac_formula_take"
            lines.append(f"    {taker}(&r[{i}], {name});")
    elif row.results:
        lines.append(f"    fac_formula_release(r, {count});")
    lines += ["    return FAC_OK;", "}", ""]
    if "inplace" in row.variants:
        lines += ["FacStatus", prototype(row, inplace=True), "{"]
        lines += [f"    return fac_call_inplace({arguments});", "}", ""]
    return lines


def header(table: Table) -> str:
    lines = [NOTICE, "#ifndef FAC_GENERATED_OPS_H", "#define FAC_GENERATED_OPS_H", ""]
    lines += ['#include "dispatch/dispatch.h"', "", "enum {"]
    lines += [f"    FAC_OP_ID_{row.ident}," for row in table.rows]
    lines += ["    FAC_OP_COUNT", "};", ""]
    lines += [f"#define FAC_OP_{row.ident} (&fac_ops[FAC_OP_ID_{row.ident}])" for row in table.rows]
    lines += [
        "",
        "/* Optional parameters: NULL, FAC_DT_NONE or FAC_VALUE_NONE when absent. Results are new",
        " * references; NULL drops one. */",
    ]
    for row in table.rows:
        lines.append(f"FacStatus {prototype(row)} FAC_MUST_CHECK;")
        if "inplace" in row.variants:
            lines.append(f"FacStatus {prototype(row, inplace=True)} FAC_MUST_CHECK;")
    return "\n".join([*lines, "", "#endif"]) + "\n"


def calls(table: Table) -> str:
    lines = [line for row in table.rows for line in typed_function(row)]
    return c_file(["ops.h", "dispatch/formula.h"], lines)


# --- rows


def number(value: object) -> str:
    if isinstance(value, bool):
        return f"{{.tag = FAC_V_BOOL, .v.i = {int(value)}}}"
    if isinstance(value, int):
        return f"{{.tag = FAC_V_INT, .v.i = {value}}}"
    return f"{{.tag = FAC_V_FLOAT, .v.f = {c_float(value)}}}"


def c_float(value: float) -> str:
    names = {"inf": "__builtin_inf()", "-inf": "-__builtin_inf()", "nan": '__builtin_nan("")'}
    return names.get(repr(value), repr(value))


def list_value(kind: Type, items: list) -> str:
    tag, ctype, member = {
        "float": ("FLOATS", "double", "floats"),
        "bool": ("BOOLS", "bool", "bools"),
        "Tensor": ("TENSORS", "FacTensor *const", "tensors"),
    }.get(kind.base, ("INTS", "int64_t", "ints"))
    if not items:
        return f"{{.tag = FAC_V_{tag}}}"
    listed = ", ".join(str(item).lower() for item in items)
    array = f"(const {ctype}[]){{{listed}}}"
    return f"{{.tag = FAC_V_{tag}, .len = {len(items)}, .v.{member} = {array}}}"


def default_value(param: Param) -> str:
    """The initialiser of a parameter's default."""
    value, kind = param.default, param.type
    if value is NO_DEFAULT or value is None:
        return NOT_GIVEN
    if isinstance(value, Name):
        if value.text in INFINITIES:
            return number(INFINITIES[value.text])
        base, constant = CONSTANTS[value.text]
        return f"{{.tag = FAC_V_{TAGS[base]}, .v.i = {constant}}}"
    if isinstance(value, list):
        return list_value(kind, value)
    if kind.is_list:
        return list_value(kind, [value] * kind.length)
    if isinstance(value, str):
        return f"{{.tag = FAC_V_STR, .len = {len(value)}, .v.s = {c_string(value)}}}"
    return number(float(value) if kind.base == "float" else value)


def param_initialiser(param: Param | Result) -> str:
    kind = param.type
    marks = {
        "OPTIONAL": kind.optional,
        "LIST": kind.is_list,
        "OPTIONAL_ITEM": kind.item_optional,
        "ALIAS": param.alias and not param.writes,
        "WRITE": param.writes,
    }
    fallback = NOT_GIVEN
    if isinstance(param, Param):
        marks |= {"KEYWORD": param.keyword, "DEFAULT": param.default is not NO_DEFAULT}
        fallback = default_value(param)
    flags = " | ".join(f"FAC_P_{mark}" for mark, on in marks.items() if on) or "0"
    alias = f"'{param.alias}'" if param.alias else "0"
    fields = f"FAC_TYPE_{TYPES[kind.base]}, {flags}, {alias}, {kind.length}, {fallback}"
    return f"{{{c_string(param.name)}, {fields}}}"


def row_flags(row: Row) -> list[str]:
    listed = row.results and row.results[0].type.is_list
    on = {
        "FUNCTION": "function" in row.variants,
        "METHOD": "method" in row.variants,
        "INPLACE": "inplace" in row.variants,
        "OUT": "out" in row.variants,
        "VIEW": row.view,
        "WRITES": row.writes,
        "POINTWISE": row.scalar,
        "DATA_SHAPE": "data_shape" in row.flags,
        "RANDOM": "random" in row.flags,
        "FACTORY": "factory" in row.flags,
        "CONJ": "conj" in row.flags,
        "LIST_RESULT": listed,
        "BROADCASTS": "broadcasts" in row.flags,
    }
    return [f"FAC_OP_{flag}" for flag, is_on in on.items() if is_on]


def composite_name(row: Row) -> str:
    if row.formula:
        return f"fac_formula_{row.ident}"
    return f"fac_composite_{row.composite.text[2:]}" if row.composite else ""


def host_kernel_name(row: Row) -> str:
    name = row.host_kernel or ("pointwise" if row.scalar else "")
    return f"fac_k_{name}" if name else ""


def array(items: tuple) -> str:
    if not items:
        return "NULL"
    listed = ",\n            ".join(param_initialiser(item) for item in items)
    return f"(const FacParam[]){{\n            {listed}}}"


def row_initialiser(row: Row) -> list[str]:
    text = {
        "name": row.name,
        "overload": row.schema.overload,
        "ns": "aten",
        "module": row.module,
        "public_name": row.public or row.name,
        "schema": row.schema.text,
        "doc": row.doc,
    }
    fields = {key: c_string(value) for key, value in text.items()}
    fields |= {
        "params": array(row.params),
        "results": array(row.results),
        "nparams": len(row.params),
        "npositional": sum(not param.keyword for param in row.params),
        "nresults": len(row.results),
        "noperands": row.operands,
        "nnumbers": row.numbers,
        "promote": f"FAC_PROMOTE_{row.promote}",
        "flags": " | ".join(row_flags(row)),
        "dtypes": " | ".join(f"FAC_BIT(FAC_DT_{DTYPES[name].enum})" for name in loop_dtypes(row)),
        "id": f"FAC_OP_ID_{row.ident}",
    }
    names = " ".join(result.name for result in row.results)
    fields["result_names"] = c_string(names) if len(row.results) > 1 and names.strip() else ""
    fields["like"] = c_string(row.like) if row.like else ""
    fields["rule"] = f"fac_rule_{row.rule}" if row.rule else ""
    kernel = host_kernel_name(row)
    fields["kernel"] = f"{{[FAC_DEV_CPU] = {kernel}}}" if kernel else ""
    fields["composite"] = composite_name(row)
    fields["grad"] = f"&fac_grad_{row.ident}" if row.has_grad_row else ""
    lines = [f"        .{key} = {value}," for key, value in fields.items() if value not in ("", 0)]
    return [f"    [FAC_OP_ID_{row.ident}] = {{", *lines, "    },"]


def rows(table: Table) -> str:
    functions = {f"fac_rule_{row.rule}" for row in table.rows if row.rule}
    functions |= {composite_name(row) for row in table.rows} | {host_kernel_name(row) for row in table.rows}
    lines = [f"FacStatus {name}(FacCall *call);" for name in sorted(functions - {""})]
    lines += [f"extern const FacGradRow fac_grad_{r.ident};" for r in table.rows if r.has_grad_row]
    lines += ["", "const int fac_op_count = FAC_OP_COUNT;", "", "FacOp fac_ops[FAC_OP_COUNT] = {"]
    for row in table.rows:
        lines += row_initialiser(row)
    return c_file(["ops.h"], [*lines, "};"])
