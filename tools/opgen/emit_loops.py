"""What is compiled once a tier: the loops of pointwise rows, and the table of kernels."""

from __future__ import annotations

from ctext import c_file, part_of
from declare import Row, Table
from scalar import DTYPES, check_words, loop, loop_dtypes
from schema import Problem

PARTS = 8


def check(table: Table) -> None:
    """Reports what is wrong with the dtype words and bodies of rows; drops nothing."""
    for row in table.rows:
        try:
            for bodies in (row.scalar, *row.fast.values()):
                check_words([word for key in bodies for word in key.split()])
            check_words(list(row.dtypes))
            if row.scalar and not loop_dtypes(row):
                raise Problem("no dtype is left to compute in")
        except Problem as problem:
            table.report(row.where, f"op {row.schema.full_name}: {problem}")


def loops_of(table: Table, row: Row) -> list[str]:
    lines = []
    names = loop_dtypes(row)
    for name in names:
        try:
            lines += loop(table, row, name)
        except Problem as problem:
            where = next(iter(row.scalar.values())).where
            table.report(where, f"op {row.schema.full_name}, body in {name}: {problem}")
            return []
    entries = ", ".join(
        f"[FAC_DT_{DTYPES[name].enum}] = loop_{row.ident}_{DTYPES[name].suffix}" for name in names
    )
    lines.append(f"const FacLoops FAC_TIERED(loops_{row.ident}) = {{.loop = {{{entries}}}}};")
    return [*lines, ""]


def files(table: Table) -> dict[str, str]:
    out = {}
    pointwise = [row for row in table.rows if row.scalar]
    for i in range(PARTS):
        lines = ['#pragma GCC diagnostic ignored "-Wtype-limits"', ""]
        for row in pointwise:
            if part_of(row.ident, PARTS) == i:
                lines += [f"extern const FacLoops FAC_TIERED(loops_{row.ident});", ""]
                lines += loops_of(table, row)
        out[f"pointwise_{i}.c"] = c_file(["kernels/cpu/kernel.h", "kernels/scalar.h"], lines)
    out["kernel_table.c"] = kernel_table(table, pointwise)
    return out


def kernel_table(table: Table, pointwise: list[Row]) -> str:
    kernels = [row for row in table.rows if row.kernel]
    lines = [f"extern const FacLoops FAC_TIERED(loops_{row.ident});" for row in pointwise]
    lines += [f"FacStatus FAC_KERNEL({name})(FacCall *call);" for name in sorted({r.kernel for r in kernels})]
    lines += ["void FAC_TIERED(fill_casts)(FacCast (*casts)[FAC_DTYPES]);"]
    lines += ["extern const FacTierTable FAC_TIERED(tier_table);", ""]
    lines += ["static const FacLoops *const loops[FAC_OP_COUNT] = {"]
    lines += [f"    [FAC_OP_ID_{r.ident}] = &FAC_TIERED(loops_{r.ident})," for r in pointwise]
    lines += ["};", "", "static const FacKernel kernels[FAC_OP_COUNT] = {"]
    lines += [f"    [FAC_OP_ID_{row.ident}] = FAC_KERNEL({row.kernel})," for row in kernels]
    lines += ["};", "", "const FacTierTable FAC_TIERED(tier_table) = {"]
    lines += ["    .loops = loops, .kernels = kernels, .fill_casts = FAC_TIERED(fill_casts),", "};"]
    return c_file(["kernels/cpu/kernel.h", "ops.h"], lines)
