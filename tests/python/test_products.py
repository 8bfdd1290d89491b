"""What is promised of products beyond their values: an element's bits depend on its row and column
alone, not on the shape around them, the strides, or the number of threads."""

import json
import os
import subprocess
import sys

import facula
import pytest

DTYPES = [facula.float32, facula.float64, facula.complex64, facula.bfloat16, facula.float16]
SHAPES = [(1, 1, 1), (5, 300, 7), (13, 64, 33), (29, 90, 31), (70, 513, 65), (200, 40, 310)]
SHAPES += [(97, 700, 130), (7, 300, 500), (30, 500, 30), (32, 400, 203), (260, 257, 250)]


@pytest.fixture(params=DTYPES, ids=str)
def dtype(request):
    facula.manual_seed(0)
    return request.param


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and bool((a == b).all())


@pytest.mark.parametrize("m, k, n", SHAPES)
def test_a_row_alone(dtype, m, k, n):
    a, b = facula.randn(m, k, dtype=dtype), facula.randn(k, n, dtype=dtype)
    product = a @ b
    for i in {0, m // 2, m - 1}:
        assert same(product[i], a[i] @ b)
        assert same(product[i : i + 1], a[i : i + 1] @ b)
    for j in {0, n // 2, n - 1}:
        assert same(product[:, j], a @ b[:, j])


@pytest.mark.parametrize("m, k, n", SHAPES)
def test_strides_and_batches(dtype, m, k, n):
    a, b = facula.randn(m, k, dtype=dtype), facula.randn(k, n, dtype=dtype)
    product = a @ b
    assert same(product, a.t().contiguous().t() @ b.t().contiguous().t())
    assert same(product, facula.nn.functional.linear(a, b.t()))
    assert same(product, facula.bmm(facula.stack([a, a]), facula.stack([b, b]))[1])
    assert same(product.t(), b.t() @ a.t()) or dtype.is_complex


@pytest.mark.parametrize("m, k, n", SHAPES)
def test_number_of_threads(dtype, m, k, n):
    a, b = facula.randn(m, k, dtype=dtype), facula.randn(k, n, dtype=dtype)
    x, w = facula.randn(4, 3, 20, 20), facula.randn(8, 3, 3, 3)
    before, results = facula.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 8):
            facula.set_num_threads(threads)
            results.append([a @ b, a.flatten() @ a.flatten(), facula.conv2d(x, w, padding=1)])
    finally:
        facula.set_num_threads(before)
    assert all(same(x, y) for later in results[1:] for x, y in zip(results[0], later, strict=True))


@pytest.mark.parametrize("m, n", [(1, 40), (9, 17), (15, 300), (130, 90)])
def test_values(dtype, m, n):
    a, b = facula.randint(-8, 8, (m, 500)), facula.randint(-8, 8, (500, n))
    exact = (a @ b).to(dtype)
    for x in (a.to(dtype), a.t().contiguous().t().to(dtype)):
        for y in (b.to(dtype), b.t().contiguous().to(dtype).t()):
            assert same(x @ y, exact)


@pytest.mark.parametrize("m, k, n", [(1, 300, 40), (20, 500, 30), (31, 900, 77), (90, 700, 101)])
def test_part_of_a_matrix(dtype, m, k, n):
    """What stands beside an operand may be read, and is in no result."""
    a, b = facula.randn(m, k, dtype=dtype), facula.randn(k, n, dtype=dtype)
    wide_a = facula.full((m + 3, k + 9), float("nan"), dtype=dtype)
    wide_b = facula.full((k + 3, n + 9), float("nan"), dtype=dtype)
    wide_a[1 : m + 1, 4 : k + 4], wide_b[1 : k + 1, 4 : n + 4] = a, b
    inner_a, inner_b = wide_a[1 : m + 1, 4 : k + 4], wide_b[1 : k + 1, 4 : n + 4]
    assert same(inner_a @ inner_b, a @ b)
    assert same(inner_b.t() @ inner_a.t(), b.t() @ a.t())
    assert same(a[:1].expand(m, k) @ b[:, :1].expand(k, n), (a[:1] @ b[:, :1]).expand(m, n))


@pytest.mark.parametrize("m, n", [(1, 40), (9, 17), (130, 90)])
def test_nothing_to_sum(dtype, m, n):
    a, b = facula.empty(m, 0, dtype=dtype), facula.empty(0, n, dtype=dtype)
    d = facula.ones(n, dtype=dtype)
    assert same(a @ b, facula.zeros(m, n, dtype=dtype))
    assert same(facula.addmm(d, a, b), facula.ones(m, n, dtype=dtype))


@pytest.mark.parametrize("m, k, n", [(1, 20, 40), (9, 400, 17), (60, 70, 80)])
def test_not_finite(dtype, m, k, n):
    a, b = facula.zeros(m, k, dtype=dtype), facula.ones(k, n, dtype=dtype)
    b[k // 2, 0] = float("inf")
    b[0, 1] = float("nan")
    for right in (b, b.t().contiguous().t()):
        product = (a @ right).isnan()
        assert bool(product[:, :2].all()) and not bool(product[:, 2:].any())
    nan = facula.full((m, n), float("nan"), dtype=dtype)
    assert bool((facula.addmm(nan, a, facula.ones(k, n, dtype=dtype), beta=0) == 0).all())


def layouts(x):
    return x, x.t().contiguous().t(), facula.stack([x, x], 2)[:, :, 1]


BYTES = [(1, 1, 1), (70, 513, 65), (3, 2000, 7), (1, 1600, 500), (200, 1537, 350), (15, 3100, 33)]


@pytest.mark.parametrize("m, k, n", BYTES + [(300, 40, 100), (57, 64, 16)])
def test_bytes(m, k, n):
    a = facula.randint(-128, 128, (m, k)).to(facula.int8)
    b = facula.randint(-128, 128, (k, n)).to(facula.int8)
    exact = a.int() @ b.int()
    for x in layouts(a):
        for y in layouts(b):
            assert same(facula._int_mm(x, y), exact)
    for x in layouts((a.int() + 128).to(facula.uint8)):
        assert same(facula._int_mm(x, b), x.int() @ b.int())


@pytest.mark.parametrize("k", [384, 385, 1536, 1540, 5000])
def test_largest_bytes(k):
    low = facula.full((3, k), -128, dtype=facula.int8)
    assert facula._int_mm(low, low.t()).flatten().tolist() == [k * 128 * 128] * 9
    high = facula.full((3, k), 255, dtype=facula.uint8)
    assert facula._int_mm(high, low.t()).flatten().tolist() == [k * 255 * -128] * 9


def test_bytes_are_asked_for():
    a, b = facula.ones(2, 3, dtype=facula.int8), facula.ones(3, 2, dtype=facula.int8)
    with pytest.raises(RuntimeError, match="must be int8 or uint8"):
        facula._int_mm(a.float(), b)
    with pytest.raises(RuntimeError, match="must be int8, not uint8"):
        facula._int_mm(a, b.to(facula.uint8))
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        facula._int_mm(a, a)


PRODUCTS = """
import json
import facula
facula.manual_seed(0)
a, b = facula.randint(-8, 8, (70, 500)), facula.randint(-8, 8, (500, 65))
exact = a @ b
for x, y in ((a, b), (a, b.t().contiguous().t()), (a[:1], b)):
    for dtype in (facula.bfloat16, facula.float16):
        assert bool((x.to(dtype) @ y.to(dtype) == exact[: len(x)].to(dtype)).all())
    assert bool((facula._int_mm(x.to(facula.int8), y.to(facula.int8)) == exact[: len(x)]).all())
x = (a + 8).to(facula.uint8)
assert bool((facula._int_mm(x, b.to(facula.int8)) == (a + 8) @ b).all())
print(json.dumps(facula._C._config()["features"]))
"""


def features_after_products(allowed):
    """Products of narrow dtypes, with what FACULA_CPU allows: what is then known of features."""
    environment = os.environ | {"FACULA_CPU": allowed}
    command = [sys.executable, "-c", PRODUCTS]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_features_are_right():
    """Each kind is tried before its first use, against the plain sum."""
    states = features_after_products("")
    assert set(states) == {"AVX512-VNNI", "AVX512-BF16", "AMX-INT8", "AMX-BF16"}
    assert set(states.values()) <= {"absent", "found", "refused by the system"}


FEATURES = {
    "vnni": ["AVX512-VNNI"],
    "bf16": ["AVX512-BF16"],
    "amx": ["AMX-INT8", "AMX-BF16"],
}


@pytest.mark.parametrize("word, names", FEATURES.items())
def test_one_feature(word, names):
    states = features_after_products("")
    names = [name for name in names if states[name] not in ("absent", "refused by the system")]
    if not names:
        pytest.skip(f"this machine has no {word}")
    one = features_after_products(f"v4+{word}")
    assert [name for name, state in one.items() if state == "found"] == names


def test_no_feature():
    for tier in ("v2", "v3", "v4"):
        assert set(features_after_products(tier).values()) <= {"absent", "left out"}


@pytest.mark.parametrize("m, k, n", [(3, 4, 5), (70, 500, 65), (200, 40, 310)])
def test_activation(m, k, n):
    functional = facula.nn.functional
    for dtype in (facula.float32, facula.float64):
        d = facula.randn(n, dtype=dtype)
        a, b = facula.randn(m, k, dtype=dtype), facula.randn(k, n, dtype=dtype)
        for scale in ({}, {"beta": 0.5, "alpha": -2}):
            total = facula.addmm(d, a, b, **scale)
            assert same(facula._addmm_activation(d, a, b, **scale), total.relu())
            activated = facula._addmm_activation(d, a, b, use_gelu=True, **scale)
            assert same(activated, functional.gelu(total))
    with pytest.raises(NotImplementedError):
        facula._addmm_activation(d.int(), a.int(), b.int(), use_gelu=True)


@pytest.mark.parametrize("n", [1, 7, 64, 65, 130])
@pytest.mark.parametrize("dtype", [facula.float32, facula.float64, facula.complex128], ids=str)
def test_inverse(n, dtype):
    facula.manual_seed(0)
    a = facula.randn(2, n, n, dtype=dtype) + n**0.5 * facula.eye(n, dtype=dtype)
    before, results = facula.get_num_threads(), []
    try:
        for threads in (1, 2, 8):
            facula.set_num_threads(threads)
            results.append(facula.linalg.inv(a))
    finally:
        facula.set_num_threads(before)
    assert all(same(results[0], later) for later in results[1:])
    assert same(facula.linalg.inv(a[1]), results[0][1])
    limit = 1e-3 if dtype == facula.float32 else 1e-11
    assert (a @ results[0] - facula.eye(n, dtype=dtype)).abs().max().item() < limit


def test_inverse_of_singular():
    a = facula.eye(70)
    a[69, 69] = 0
    inverse, info = facula.linalg.inv_ex(facula.stack([a, facula.eye(70)]))
    assert info.tolist() == [70, 0] and same(inverse[1], facula.eye(70))
    with pytest.raises(RuntimeError, match="diagonal element 70"):
        facula.linalg.inv(a)
