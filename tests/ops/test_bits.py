"""Every operator of the table gives the same bits on 1, 2, 3 and 8 threads, in both directions.

The samples are small, so a process of its own runs them with FACULA_STRESS=1, where every chunk of
work that may be one is one.
"""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import facula
import pytest
from compare import assert_same, tensors_in
from test_table import CASES, main_dtypes

THREADS = (2, 3, 8)


def results(case, sample):
    """What a call gives, and the gradients of a sum over it with weights."""
    leaves = []

    def leaf(tensor):
        if not tensor.is_floating_point():
            return tensor
        leaves.append(tensor.detach().clone().requires_grad_())
        return leaves[-1]

    found = tensors_in(case.call(sample))
    if case.writes or not (case.samples.grad and sample.grad):
        return found
    outputs = [t for t in tensors_in(case.call(sample.mapped(leaf))) if t.requires_grad]
    if not leaves:
        return found
    weights = [t.detach().real.cos().to(t.dtype) for t in outputs]
    try:
        found += facula.autograd.grad(outputs, leaves, weights, allow_unused=True)
    except NotImplementedError:
        assert not all(row["differentiable"] for row in case.rows)
    return [t for t in found if t is not None]


def check(case):
    for dtype in main_dtypes(case):
        for sample in case.samples(dtype):
            facula.set_num_threads(1)
            expected = results(case, sample)
            for threads in THREADS:
                facula.set_num_threads(threads)
                assert_same(results(case, sample), expected)


def check_all(part, parts):
    """Prints the names of the cases that fail, of every so many-th case."""
    warnings.simplefilter("ignore")
    for case in CASES[part::parts]:
        if case.samples.random and "random" not in case.flags:
            continue  # memory that nobody wrote
        try:
            check(case)
        except (AssertionError, RuntimeError, TypeError) as error:
            print(f"{case.name}: {type(error).__name__}: {error}".replace("\n", " ")[:300])


@pytest.mark.parametrize("part", range(4))
def test_number_of_threads(part):
    here = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", f"import test_bits; test_bits.check_all({part}, 4)"],
        cwd=here,
        env={**os.environ, "FACULA_STRESS": "1", "PYTHONPATH": package_path()},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert not done.stdout, done.stdout


def package_path():
    return str(Path(facula.__file__).parents[1])
