"""Memory of large results: taken from the system once, kept, and given back when it is asked for or
when there is no other."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import facula
import pytest

MIB = 1 << 20
STRESS = os.environ.get("FACULA_STRESS") == "1"


def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def resident():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


@pytest.mark.skipif(STRESS, reason="nothing is cached")
@pytest.mark.parametrize("mib", [1, 16, 64])
def test_large_results_take_no_new_pages(mib):
    a, b = facula.ones(mib * MIB // 4), facula.ones(mib * MIB // 4)
    for _ in range(3):
        c = a + b
    before = faults()
    for _ in range(20):
        c = a + b
    pages = mib * MIB // resource.getpagesize()
    assert faults() - before < max(pages // 4, 64)  # the peer's way: 20 times all pages
    assert c.sum() == 2 * c.numel()


@pytest.mark.skipif(STRESS, reason="nothing is cached")
def test_memory_is_given_back():
    facula.cpu.empty_cache()
    before = resident()
    parts = [facula.ones(8 * MIB) for _ in range(4)]
    assert resident() - before > 120 * MIB
    del parts
    reserved = facula.cpu.memory_reserved()
    facula.cpu.empty_cache()
    assert reserved - facula.cpu.memory_reserved() >= 128 * MIB
    assert resident() - before < 16 * MIB


UNDER_PRESSURE = """
import resource, facula
pages = int(open("/proc/self/statm").read().split()[0])
room = pages * resource.getpagesize() + (600 << 20)
resource.setrlimit(resource.RLIMIT_AS, (room, room))
x = facula.ones(400 << 18)
del x  # kept: with it there is no room for the next
y = facula.ones(500 << 18)
assert y.sum() == 500 << 18
try:
    facula.ones(700 << 18)
except MemoryError as error:
    assert "not enough memory" in str(error)
else:
    raise AssertionError("there is no such memory")
"""


def test_what_is_kept_goes_under_pressure():
    path = str(Path(facula.__file__).parents[1])
    program = f"import sys; sys.path.insert(0, {path!r}); {UNDER_PRESSURE.strip()}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
