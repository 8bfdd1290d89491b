"""Pointwise loops are vectorized by the compiler: those of float32 and float64."""

import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# As csrc/CMakeLists.txt compiles them.
FLAGS = "-std=gnu11 -fPIC -O3 -fno-math-errno -fno-trapping-math -ffp-contract=off -fwrapv"
TIERS = {  # flags, and bytes of a vector
    "v2": ("-march=x86-64-v2 -D_GNU_SOURCE -DFAC_TIER=v2", 16),
    "v3": ("-march=x86-64-v3 -D_GNU_SOURCE -DFAC_TIER=v3", 32),
    "v4": ("-march=x86-64-v4 -mprefer-vector-width=512 -D_GNU_SOURCE -DFAC_TIER=v4", 64),
}
# These call the C library or loop over a series; the last one stores a constant. Loops written by
# hand (kernels/cpu/elementary.c) are vectors as they stand.
SCALAR = {"fmod", "remainder", "floor_divide", "lgamma", "digamma", "_polygamma", "isreal"}


needs_gcc = pytest.mark.skipif(
    not shutil.which("gcc") or platform.machine() not in ("x86_64", "AMD64"),
    reason="reads what gcc says about loops for x86-64",
)


def report_of(source, tier, report):
    """What gcc says about the loops of each function."""
    command = ["gcc", *FLAGS.split(), *TIERS[tier][0].split(), f"-I{ROOT / 'csrc'}"]
    command += [f"-fdump-tree-vect-optimized={report}", "-S", "-o", "/dev/null", source]
    subprocess.run(command, check=True)
    functions = report.read_text().split(";; Function ")[1:]
    return {function.split(" ", 1)[0]: function for function in functions}


@needs_gcc
@pytest.mark.slow
@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_loops(generated, tmp_path, dtype, tier):
    width = TIERS[tier][1]
    loops, heads = {}, 0
    for path in generated.glob("pointwise_*.c"):
        text = path.read_text()
        found = re.finditer(rf"^FAC_LOOP\(loop_(\w+)_{dtype}\)\n.*?^}}\n", text, re.M | re.S)
        loops |= {match[1]: match[0] for match in found}
        heads += len(re.findall(rf"^FAC_LOOP\(loop_\w+_{dtype}\)", text, re.M))
    assert len(loops) == heads > 100
    table = ", ".join(f"loop_{name}_{dtype}" for name in loops)
    source, report = tmp_path / "loops.c", tmp_path / "report"
    source.write_text(
        '#include "kernels/loop.h"\n'
        + "".join(loops.values())
        + f"FacLoop table[] = {{{table}}};\n"
    )
    vectorized = dict.fromkeys(loops, 0)
    for function, said in report_of(source, tier, report).items():
        name = function.removeprefix("loop_").removesuffix(f"_{dtype}")
        vectorized[name] = said.count(f"loop vectorized using {width} byte vectors")
    missed = {name for name, text in loops.items() if vectorized[name] < text.count("FAC_EACH")}
    assert missed <= SCALAR
    assert {"fmod", "lgamma"} <= missed  # that these are reported shows that any would be


@needs_gcc
@pytest.mark.parametrize("tier", ["v3", "v4"])
def test_loops_of_halves(tmp_path, tier):
    source = ROOT / "csrc" / "kernels" / "cpu" / "halves.c"
    said = report_of(source, tier, tmp_path / "report")
    loops = {name: text for name, text in said.items() if name.endswith("f16")}
    assert len(loops) > 100
    assert not {name for name, text in loops.items() if "loop vectorized" not in text}


TILES = {"ldtilecfg", "tilezero", "tileloadd", "tilestored", "tilerelease"}
INSTRUCTIONS = {
    "amx": TILES | {"tdpbf16ps", "tdpbssd", "tdpbusd"},
    "bf16": {"vdpbf16ps"},
    "vnni": {"vpdpbusd"},
}


@needs_gcc
@pytest.mark.skipif(not shutil.which("objdump"), reason="reads what objdump says")
@pytest.mark.parametrize("name", INSTRUCTIONS)
def test_instructions(tmp_path, name):
    """Kernels for few machines hold their instructions, also where nothing could run them."""
    source, built = ROOT / "csrc" / "kernels" / "cpu" / f"gemm_{name}.c", tmp_path / "kernel.o"
    command = ["gcc", *FLAGS.split(), *TIERS["v4"][0].split(), f"-I{ROOT / 'csrc'}"]
    command += ["-DFAC_HAS_AMX", "-DFAC_HAS_AVX512_BF16", "-c", source, "-o", built]
    if subprocess.run(command, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("the compiler does not know them")
    dump = ["objdump", "-d", "--no-show-raw-insn", built]
    text = subprocess.run(dump, check=True, capture_output=True, text=True).stdout
    functions = dict(re.findall(r"<(\w+)>:\n(.*?)(?:\n\n|\Z)", text, re.S))
    found = {word for words in INSTRUCTIONS.values() for word in words if f"\t{word}" in text}
    assert found == INSTRUCTIONS[name]
    if name != "amx":  # 14 rows of 2 vectors, that stay in registers
        tile = functions["tile_14_2"]
        assert tile.count(next(iter(INSTRUCTIONS[name]))) == 28
        assert not re.search(r"%zmm\d+,-?(0x\w+)?\(%r[sb]p\)", tile)
