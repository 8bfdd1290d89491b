"""The scalar functions and generated loops compile as CUDA and as HIP, where their compilers are.
Nothing is run."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMPILERS = {
    "nvcc": "-x cu -arch=sm_80 -Werror=all-warnings",
    "hipcc": "-x hip --offload-arch=gfx90a -Werror -Wno-bitwise-conditional-parentheses",
}


@pytest.fixture(params=COMPILERS)
def compile(request, tmp_path):
    """Compiles a source file and gives what the compiler says."""
    compiler = shutil.which(request.param)
    if not compiler:
        pytest.skip(f"{request.param} was not found")

    def run(source):
        flags = [*COMPILERS[request.param].split(), "-std=c++17", f"-I{ROOT / 'csrc'}"]
        command = [compiler, *flags, "-c", source, "-o", tmp_path / "out.o"]
        done = subprocess.run(command, capture_output=True, text=True)
        return done.stderr + done.stdout if done.returncode else ""

    return run


def test_scalar_functions(compile, tmp_path):
    source = tmp_path / "scalar.c"
    source.write_text('#include "kernels/scalar.h"\n')
    assert compile(source) == ""


@pytest.mark.slow
def test_generated_loops(compile, generated):
    assert compile(generated / "pointwise_3.c") == ""
