"""The package: lazy names, functions in Python, limits, configuration, the demo."""

import struct
import subprocess
import sys

import facula as torch
import numpy as np
import pytest
from facula.testing import assert_close, make_tensor


def test_every_lazy_name_is_there():
    for name in torch._HOMES:
        assert getattr(torch, name) is not None
    assert {"nn", "no_grad", "einsum", "float32", "add"} <= set(dir(torch))
    with pytest.raises(AttributeError, match="distributed is not there yet"):
        torch.distributed  # noqa: B018
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        torch.nothing  # noqa: B018


def test_constants_and_dtypes():
    assert torch.float is torch.float32 and torch.long is torch.int64
    assert torch.pi == np.pi and torch.newaxis is None and torch.inf > 0


@pytest.mark.parametrize("name", ["float16", "float32", "float64"])
def test_finfo(name):
    ours, numpys = torch.finfo(getattr(torch, name)), np.finfo(name)
    for field in ("bits", "eps", "max", "min", "tiny", "smallest_normal", "resolution"):
        assert getattr(ours, field) == pytest.approx(float(getattr(numpys, field)), rel=1e-3)
    assert torch.finfo() == torch.finfo(torch.float32) == torch.finfo(torch.complex64)
    with pytest.raises(TypeError):
        torch.finfo(torch.int8)


@pytest.mark.parametrize("name", ["uint8", "int8", "int16", "int32", "int64"])
def test_iinfo(name):
    ours, numpys = torch.iinfo(getattr(torch, name)), np.iinfo(name)
    assert (ours.bits, ours.min, ours.max) == (numpys.bits, numpys.min, numpys.max)
    with pytest.raises(TypeError):
        torch.iinfo(torch.float32)


def test_shape_functions():
    assert torch.broadcast_shapes((2, 1), (3,), 1) == (2, 3)
    with pytest.raises(RuntimeError, match="broadcast"):
        torch.broadcast_shapes((2,), (3,))
    a, b = torch.broadcast_tensors(torch.ones(2, 1), torch.ones(3))
    assert a.shape == b.shape == (2, 3)
    rows, columns = torch.meshgrid(torch.arange(2), torch.arange(3), indexing="xy")
    assert rows.shape == (3, 2) and columns[2, 0] == 2
    assert torch.cartesian_prod(torch.arange(2), torch.arange(3)).shape == (6, 2)
    blocks = torch.block_diag(torch.ones(2, 2), torch.tensor([[3.0]]))
    assert blocks.shape == (3, 3) and blocks.sum() == 7
    vander = torch.vander(torch.arange(3.0), increasing=True)
    assert torch.equal(vander, torch.tensor(np.vander([0.0, 1, 2], increasing=True)).float())
    assert [t.dim() for t in torch.atleast_2d(torch.tensor(1), torch.ones(3))] == [2, 2]


def test_products():
    a, b = torch.randn(2, 3), torch.randn(3, 4)
    assert_close(torch.einsum("ij,jk->ik", a, b), a @ b)
    assert_close(torch.einsum(a, [0, 1], b, [1, 2], [0, 2]), a @ b)
    assert_close(torch.einsum(a, [0, 1], b, [1, 2]), a @ b)
    assert_close(torch.tensordot(a, b, 1), a @ b)
    assert_close(torch.tensordot(a, b, ([1], [0])), a @ b)
    with pytest.raises(RuntimeError, match="dims >= 0"):
        torch.tensordot(a, b, -1)


def test_unique_and_norm():
    x = torch.tensor([3, 1, 3, 2, 2])
    values, inverse, counts = torch.unique(x, return_inverse=True, return_counts=True)
    assert values.tolist() == [1, 2, 3] and counts.tolist() == [1, 2, 2]
    assert torch.equal(values[inverse], x)
    assert torch.unique_consecutive(x).tolist() == x.unique_consecutive().tolist() == [3, 1, 3, 2]
    assert [t.tolist() for t in x.unique(return_counts=True)] == [[1, 2, 3], [1, 2, 2]]
    assert torch.unique(torch.tensor([[1, 2], [1, 2]]), dim=0).shape == (1, 2)
    assert torch.norm(torch.tensor([3.0, 4.0])).item() == 5.0
    assert torch.norm(torch.ones(2, 3), p=1, dim=1).tolist() == [3.0, 3.0]


def test_questions():
    x = torch.ones(1)
    assert torch.is_tensor(x) and torch.is_floating_point(x) and not torch.is_complex(x)
    assert (
        torch.is_nonzero(x)
        and not torch.zeros(1, 1).is_nonzero()
        and torch.numel(x) == 1
        and torch.is_signed(x)
    )
    with pytest.raises(RuntimeError):
        torch.is_nonzero(torch.ones(2))


def test_grad_modes():
    x = torch.ones(1, requires_grad=True)

    @torch.no_grad
    def silent():
        return x * 2

    @torch.no_grad()
    def generator():
        yield (x * 2).requires_grad
        yield (x * 2).requires_grad

    assert not silent().requires_grad
    for inside in generator():
        assert not inside and torch.is_grad_enabled()
    with torch.no_grad(), torch.enable_grad():
        assert (x * 2).requires_grad
    with torch.set_grad_enabled(False):
        assert not torch.is_grad_enabled()
    assert torch.is_grad_enabled()
    with torch.inference_mode():
        assert (x * 2).is_inference()


def test_assert_close():
    assert_close([1.0, {"a": torch.ones(2)}], [1.0, {"a": torch.ones(2)}])
    with pytest.raises(AssertionError, match=r"Mismatched elements: 1 / 3"):
        assert_close(torch.tensor([1, 2, 3]), torch.tensor([1, 2, 4]))
    with pytest.raises(AssertionError, match="dtype"):
        assert_close(torch.ones(1), torch.ones(1, dtype=torch.float64))
    with pytest.raises(AssertionError, match="shape"):
        assert_close(torch.ones(1), torch.ones(2))
    with pytest.raises(AssertionError, match=r"item \[1\]"):
        assert_close([1.0, 2.0], [1.0, 3.0])
    nan = torch.tensor(float("nan"))
    assert_close(nan, nan, equal_nan=True)
    with pytest.raises(AssertionError):
        assert_close(nan, nan)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float16, torch.complex64])
def test_make_tensor(dtype):
    x = make_tensor(3, 4, dtype=dtype, device="cpu", noncontiguous=True)
    assert x.dtype == dtype and x.shape == (3, 4) and not x.is_contiguous()


def test_main_memory():
    x = torch.zeros(1 << 16)
    assert torch.cpu.memory_allocated() >= x.nbytes
    torch.cpu.reset_peak_memory_stats()
    del x
    torch.cpu.empty_cache()
    assert torch.cpu.max_memory_allocated() >= torch.cpu.memory_allocated()


def test_fork_rng():
    torch.manual_seed(5)
    with torch.random.fork_rng():
        inside = torch.rand(3)
    assert torch.equal(torch.rand(3), inside)


def run(module):
    done = subprocess.run([sys.executable, "-m", module], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_configuration():
    text = run("facula")
    for word in ("compiler", "BLAS", "tier", "threads", "cpu", "cuda"):
        assert word in text
    assert torch.backends.cpu.get_cpu_capability() in ("DEFAULT", "AVX2", "AVX512")


@pytest.mark.slow
def test_demo():
    text = run("facula.demo")
    assert "200/200" in text and "This is a" in text


@pytest.mark.skipif(sys.platform != "linux", reason="reads an ELF file")
def test_thread_local_variables_stay_few():
    with open(torch._C.__file__, "rb") as file:
        data = file.read()
    start, size, count = *struct.unpack_from("<32xQ14xH", data), *struct.unpack_from("<56xH", data)
    rows = [struct.unpack_from("<I36xQ", data, start + i * size) for i in range(count)]
    bytes_of_threads = [size for kind, size in rows if kind == 7]
    assert not bytes_of_threads or bytes_of_threads[0] <= 512  # beyond, each access is a call
