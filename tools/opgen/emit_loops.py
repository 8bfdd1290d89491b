"""What is compiled once a tier: the loops of pointwise rows, and the table of kernels."""

from __future__ import annotations

from ctext import c_file, part_of
from declare import Row, Table
from scalar import Body, compute_dtypes
from schema import Problem

PARTS = 8


def files(table: Table) -> dict[str, str]:
    out = {}
    for i in range(PARTS):
        rows = [row for row in table.rows if row.scalar and part_of(row.ident, PARTS) == i]
        lines = ['#pragma GCC diagnostic ignored "-Wtype-limits"', ""]
        lines += [line for row in rows for line in loops(table, row)]
        out[f"pointwise_{i}.c"] = c_file(["kernels/cpu/kernel.h", "kernels/scalar.h"], lines)
    out["kernel_table.c"] = kernel_table(table)
    return out


def loops(table: Table, row: Row) -> list[str]:
    lines = [f"extern const FacLoops FAC_TIERED(loops_{row.ident});", ""]
    dtypes = compute_dtypes(row)
    for dtype in dtypes:
        try:
            lines += Body(table, row, dtype).loop()
        except Problem as problem:
            where = next(iter(row.scalar.values())).where
            table.report(where, row, problem, f", body in {dtype.name}")
            return []
    lines.append(f"const FacLoops FAC_TIERED(loops_{row.ident}) = {{.loop = {{")
    lines += [f"    [{dtype.enumerator}] = loop_{row.ident}_{dtype.suffix}," for dtype in dtypes]
    return [*lines, "}};", ""]


def kernel_table(table: Table) -> str:
    pointwise = [row.ident for row in table.rows if row.scalar]
    kernels = {row.ident: row.kernel for row in table.rows if row.kernel}
    lines = [f"extern const FacLoops FAC_TIERED(loops_{ident});" for ident in pointwise]
    lines += [f"FacStatus FAC_KERNEL({name})(FacCall *call);" for name in sorted(set(kernels.values()))]
    lines += ["void FAC_TIERED(fill_casts)(FacCast (*casts)[FAC_DTYPES]);"]
    lines += ["extern const FacTierTable FAC_TIERED(tier_table);", ""]
    lines += ["static const FacLoops *const loops[FAC_OP_COUNT] = {"]
    lines += [f"    [FAC_OP_ID_{ident}] = &FAC_TIERED(loops_{ident})," for ident in pointwise]
    lines += ["};", "", "static const FacKernel kernels[FAC_OP_COUNT] = {"]
    lines += [f"    [FAC_OP_ID_{ident}] = FAC_KERNEL({name})," for ident, name in kernels.items()]
    lines += ["};", "", "const FacTierTable FAC_TIERED(tier_table) = {"]
    lines += ["    .loops = loops, .kernels = kernels, .fill_casts = FAC_TIERED(fill_casts),", "};"]
    return c_file(["kernels/cpu/kernel.h", "ops.h"], lines)
