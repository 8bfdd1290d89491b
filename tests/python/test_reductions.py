"""Reductions, scans and moves give the same bits for any number of threads."""

import facula
import numpy as np
import pytest

THREADS = [1, 2, 3, 8]

CALLS = {
    "sum": lambda x, dim: x.sum(dim),
    "mean": lambda x, dim: x.mean(dim),
    "prod": lambda x, dim: x.prod(dim),
    "var": lambda x, dim: x.var(dim),
    "norm": lambda x, dim: x.norm(dim=dim),
    "amax": lambda x, dim: x.amax(dim),
    "argmax": lambda x, dim: x.argmax(dim),
    "argmin": lambda x, dim: x.argmin(dim),
    "logsumexp": lambda x, dim: x.logsumexp(dim),
    "cumsum": lambda x, dim: x.cumsum(dim),
    "cumprod": lambda x, dim: x.cumprod(dim),
    "logcumsumexp": lambda x, dim: x.logcumsumexp(dim),
    "sort": lambda x, dim: x.sort(dim)[1],
    "topk": lambda x, dim: x.topk(3, dim)[0],
    "nonzero": lambda x, dim: (x > 0.5).nonzero(),
    "select": lambda x, dim: x[x > 0.5],
    "unique": lambda x, dim: (x * 100).long().unique(),
}


@pytest.fixture
def threads():
    before = facula.get_num_threads()
    yield facula.set_num_threads
    facula.set_num_threads(before)


def bits(t):
    return t.contiguous().numpy().tobytes()


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("shape", [(700, 300), (3, 70000), (70000, 3), (40, 50, 60)])
def test_same_bits(threads, name, shape):
    facula.manual_seed(1)
    x = facula.rand(shape)
    for dim in (0, len(shape) - 1):
        results = []
        for n in THREADS:
            threads(n)
            results.append(bits(CALLS[name](x, dim)))
        assert all(result == results[0] for result in results)


@pytest.mark.parametrize("name", ["sum", "mean", "var", "norm", "amax", "logsumexp", "prod"])
@pytest.mark.parametrize("dtype", [facula.float32, facula.bfloat16, facula.float64])
def test_whole_tensor(threads, name, dtype):
    facula.manual_seed(2)
    x = (facula.rand(1 << 19) + 0.5).to(dtype)
    results = []
    for n in THREADS:
        threads(n)
        results.append(bits(CALLS[name](x, 0).double()))
    assert all(result == results[0] for result in results)


RARE = (facula.float8_e5m2, facula.float8_e4m3fnuz, facula.uint16, facula.uint32)


@pytest.mark.parametrize("dtype", RARE, ids=str)
@pytest.mark.parametrize("n", [7, 600])
def test_rare_dtypes_sort_as_wider_ones(dtype, n):
    numbers = facula.randint(0, 100, (3, n)).to(dtype)
    values, places = numbers.sort(stable=True)
    wide_values, wide_places = numbers.double().sort(stable=True)
    assert values.dtype == dtype and facula.equal(values.double(), wide_values)
    assert facula.equal(places, wide_places)


@pytest.mark.parametrize("dtype", [facula.float32, facula.float64, facula.int64, facula.int8])
@pytest.mark.parametrize("descending", [False, True])
def test_long_rows_sort_stably(dtype, descending):
    """By digits: equal elements, zeros of both signs and NaNs stay in their order."""
    facula.manual_seed(3)
    x = (facula.randn(3, 1000) * 20).round().to(dtype)
    if dtype.is_floating_point:
        x[0, ::7] = float("nan")
        x[1, ::3] = -0.0
    values, indices = x.sort(dim=1, descending=descending, stable=True)
    assert facula.equal(x.gather(1, indices).nan_to_num(99), values.nan_to_num(99))
    key = values.nan_to_num(1e9)
    pairs = key[:, 1:] <= key[:, :-1] if descending else key[:, 1:] >= key[:, :-1]
    assert pairs.all()
    same = key[:, 1:] == key[:, :-1]
    assert (indices[:, 1:] > indices[:, :-1])[same].all()
    assert same.any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [1, 31, 32, 64, 65, 1000, 5000])
def test_extremes_meet_nan_and_infinity(dtype, n):
    """At every kind of place in a run: a plain pass over it must notice both."""
    facula.manual_seed(0)
    plain = facula.randn(n, dtype=getattr(facula, dtype)).numpy()
    for value in (np.nan, np.inf, -np.inf):
        for at in {0, n // 2, n - 1, n // 32 * 32 - 1, n // 64 * 64 - 1} - {-1}:
            x = np.stack([plain, plain, -plain])
            x[1, at] = value
            t = facula.from_numpy(x)
            np.testing.assert_array_equal(t.amax(1).numpy(), x.max(1))
            np.testing.assert_array_equal(t.amin(1).numpy(), x.min(1))
            np.testing.assert_array_equal(t.argmax(1).numpy(), x.argmax(1))
            np.testing.assert_array_equal(t.min().numpy(), x.min())


@pytest.mark.parametrize("dtype", [facula.float16, facula.bfloat16, facula.float32])
def test_second_gradients_of_logcumsumexp_are_numbers(dtype):
    x = facula.linspace(-8, 8, 6, dtype=dtype, requires_grad=True)
    y = x.logcumsumexp(0)
    (first,) = facula.autograd.grad(y, x, facula.linspace(-4, 4, 6, dtype=dtype), create_graph=True)
    (second,) = facula.autograd.grad(first.sum(), x)
    assert first.isfinite().all() and second.isfinite().all()


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64", "int64", "bfloat16"])
@pytest.mark.parametrize("shape", [(300, 3), (70, 16), (33, 63), (1000, 5), (5, 3), (3, 40, 6)])
def test_short_runs(dtype, shape):
    facula.manual_seed(0)
    t = facula.randint(0, 7, shape).to(getattr(facula, dtype))
    x = t.to(facula.float64).numpy()
    for dim in range(len(shape)):
        np.testing.assert_array_equal(t.sum(dim, dtype=facula.float64).numpy(), x.sum(dim))
        np.testing.assert_array_equal(t.amax(dim).to(facula.float64).numpy(), x.max(dim))
        np.testing.assert_array_equal(t.argmin(dim).numpy(), x.argmin(dim))
        np.testing.assert_array_equal(t.any(dim).to(facula.bool).numpy(), (x != 0).any(dim))
        np.testing.assert_array_equal(t.all(dim).to(facula.bool).numpy(), (x != 0).all(dim))
        np.testing.assert_array_equal(t.count_nonzero(dim).numpy(), np.count_nonzero(x, dim))
        np.testing.assert_allclose(t.double().var(dim).numpy(), x.var(dim, ddof=1), rtol=1e-12)
    np.testing.assert_array_equal(t[..., ::2].sum(-1).double().numpy(), x[..., ::2].sum(-1))


@pytest.mark.parametrize("dtype, close", [("float32", 1e-6), ("float64", 1e-13)])
def test_logcumsumexp_of_far_numbers(dtype, close):
    facula.manual_seed(0)
    x = facula.randn(4, 1300, dtype=facula.float64).numpy()
    x[1] *= 100
    x[2, 600:] += 2000
    x[3, :700] = -np.inf
    wanted = np.logaddexp.accumulate(x.astype(dtype).astype(np.float64), 1)
    got = facula.from_numpy(x.astype(dtype)).logcumsumexp(1).numpy()
    np.testing.assert_allclose(got, wanted, rtol=close, atol=close)
    x[0, 5], x[1, 900] = np.inf, np.nan
    got = facula.from_numpy(x.astype(dtype)).logcumsumexp(1).numpy()
    assert (got[0, 5:] == np.inf).all() and np.isfinite(got[0, :5]).all()
    assert np.isnan(got[1, 900:]).all() and np.isfinite(got[1, :900]).all()


def test_searches_around_nan():
    x = np.array([-np.inf, 0, 1, 1, 2, np.inf, np.nan, np.nan], np.float32)
    values = np.array([-np.inf, -1, 0, 0.5, 1, 3, np.inf, np.nan], np.float32)
    for n in range(len(x) + 1):
        t = facula.from_numpy(x[:n].copy())
        for side in ("left", "right"):
            got = facula.searchsorted(t, facula.from_numpy(values), side=side)
            np.testing.assert_array_equal(got.numpy(), np.searchsorted(x[:n], values, side))
