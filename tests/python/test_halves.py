"""Loops over halves as they lie give what float32 gives, rounded, in every layout and length."""

import facula
import pytest

HALVES = [facula.float16, facula.bfloat16]
ROWS = {
    "add": lambda a, b: facula.add(a, b, alpha=2),
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "mul a number": lambda a, b: a * 3.3,
    "less than a number": lambda a, b: a < 0.3,
    "clamp": lambda a, b: a.clamp(-0.5, 0.25),
    "clamp from below": lambda a, b: a.clamp(min=0.1),
    "lerp": lambda a, b: facula.lerp(a, b, 0.3),
    "lerp by a tensor": lambda a, b: facula.lerp(a, b, b),
    "addcmul": lambda a, b: facula.addcmul(a, a, b, value=0.5),
    "eq": lambda a, b: a == b,
    "maximum": facula.maximum,
    "leaky_relu": lambda a, b: facula.nn.functional.leaky_relu(a, 0.3),
    "neg": lambda a, b: -a,
    "abs": lambda a, b: a.abs(),
    "isfinite": lambda a, b: (a / 0).isfinite(),
    "sqrt": lambda a, b: a.abs().sqrt(),
}


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", ROWS)
def test_as_float32(name, dtype):
    facula.manual_seed(0)
    row = ROWS[name]
    for n in (1, 7, 16, 33, 513, 5000):
        a, b = facula.randn(n).to(dtype), facula.randn(n).to(dtype)
        wanted = row(a.float(), b.float())
        got = row(a, b)
        assert got.dtype == (facula.bool if wanted.dtype == facula.bool else dtype)
        assert facula.equal(got, wanted.to(got.dtype))
        # the same bits wherever the elements lie
        wide = facula.stack([a, b], 1)
        assert facula.equal(row(wide[:, 0], wide[:, 1]), got)
        assert facula.equal(row(a.flip(0), b.flip(0)).flip(0), got)
        assert facula.equal(row(a[n // 2 :], b[n // 2 :]), got[n // 2 :])


@pytest.mark.parametrize("dtype", HALVES)
def test_beside_other_dtypes(dtype):
    a = facula.arange(40).to(dtype)
    assert (a + facula.ones(40)).dtype == facula.float32
    assert (a * facula.tensor(2.0)).dtype == dtype
    assert facula.equal(a * facula.tensor(2.0), a + a)
    assert facula.equal(a.mul_(2)[:3], facula.tensor([0, 2, 4]).to(dtype))
    out = facula.empty(40)
    facula.add(a, a, out=out)
    assert facula.equal(out, a.float() * 2)


def test_sign_of_nan_and_zero():
    for dtype in HALVES:
        a = facula.tensor([0.0, -0.0, float("inf"), float("nan")]).to(dtype)
        assert (-a).signbit().tolist()[:3] == [True, False, True]
        assert (-a).isnan().tolist() == a.abs().isnan().tolist() == [False, False, False, True]


def test_powers_of_numbers():
    for dtype in (*HALVES, facula.float32, facula.float64):
        a = facula.linspace(-3, 3, 1001).to(dtype)
        compute = a.float() if dtype in HALVES else a
        assert facula.equal(a**2, (compute * compute).to(dtype))
        assert facula.equal(a**3, (compute * compute * compute).to(dtype))
        assert facula.equal(a**1, a)
        exponents = facula.full((1001,), 2.0, dtype=dtype)
        exponents[5:] = 3
        assert facula.equal(facula.pow(a, exponents)[5:], (a**3)[5:])
        assert facula.equal(facula.pow(a, exponents)[:5], (a**2)[:5])
