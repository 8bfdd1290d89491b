"""Fourier transforms beyond the samples: accuracy by length, the same bits alone and among others
and on any number of threads, layouts, plans, and errors."""

import threading

import facula
import numpy as np
import pytest
import scipy.fft

EPS = {facula.float32: 2**-24, facula.float64: 2**-53}
COMPLEX = {facula.float32: facula.complex64, facula.float64: facula.complex128}
# Powers, products of all radices, primes up to where a convolution takes over, and above.
LENGTHS = [*range(1, 41), 48, 64, 77, 91, 100, 121, 128, 143, 169, 210, 256, 289, 343, 360, 384]
LENGTHS += [400, 512, 625, 640, 768, 997, 1000, 1024, 1155, 1331, 2048, 2187, 2310, 4096, 4099]
LENGTHS += [5005, 6000, 8192, 16384]


@pytest.fixture(params=EPS, ids=str)
def dtype(request):
    facula.manual_seed(0)
    return request.param


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and bool((a == b).all())


def numbers(*shape, dtype=facula.complex64):
    return facula.randn(*shape, dtype=dtype)


def error(result, exact):
    return float(np.linalg.norm(result.numpy() - exact) / np.linalg.norm(exact))


def test_accuracy(dtype):
    """The relative error grows with the logarithm of the length: 1/2 eps log2(n), about."""
    exact = {facula.float32: np.complex128, facula.float64: np.clongdouble}[dtype]
    for n in LENGTHS:
        z = numbers(2, n, dtype=COMPLEX[dtype])
        x, half = z.real.contiguous(), z[:, : n // 2 + 1].contiguous()
        allowed = EPS[dtype] * (1 + np.log2(n))
        wide, wide_x, wide_half = (
            t.numpy().astype(exact if t.is_complex() else exact(0).real.dtype) for t in (z, x, half)
        )
        assert error(facula.fft.fft(z), scipy.fft.fft(wide)) < allowed, n
        assert error(facula.fft.ifft(z), scipy.fft.ifft(wide)) < allowed, n
        assert error(facula.fft.rfft(x), scipy.fft.rfft(wide_x)) < allowed, n
        assert error(facula.fft.irfft(half, n), scipy.fft.irfft(wide_half, n)) < allowed, n


@pytest.mark.parametrize("n", [1, 2, 7, 16, 17, 24, 64, 97, 100, 256, 500, 512, 1000, 1009, 2048])
def test_a_row_alone(dtype, n):
    """A line has the same bits alone, in a batch, and along any dimension."""
    z = numbers(37, n, dtype=COMPLEX[dtype])
    x = z.real.contiguous()
    fft = facula.fft
    for function, rows in ((fft.fft, z), (fft.ifft, z), (fft.rfft, x), (fft.fft, x)):
        whole = function(rows)
        for i in (0, 17, 36):
            assert same(whole[i], function(rows[i]))
        assert same(whole[4:9], function(rows[4:9]))
        assert same(whole, function(rows.t().contiguous(), dim=0).t())
        assert same(whole, function(rows.t().contiguous().t()))
    half = fft.rfft(x)
    whole = fft.irfft(half, n)
    assert same(whole[11], fft.irfft(half[11], n))
    assert same(whole, fft.irfft(half.t().contiguous(), n, dim=0).t())


# A power, a product of odd factors, one whose rows are no whole vectors, and twice an odd one.
@pytest.mark.parametrize("n", [2**18, 3**11, 2 * 5**7, 2 * 3**11])
def test_long_lines(dtype, n):
    """Lengths that are computed as matrices: accuracy, and the same bits in any layout."""
    fft = facula.fft
    z = numbers(2, n, dtype=COMPLEX[dtype])
    x, half = z.real.contiguous(), z[:, : n // 2 + 1].contiguous()
    wide = z.numpy().astype(np.complex128)
    allowed = max(EPS[dtype], 1e-15) * (1 + np.log2(n))
    for function, rows, reference in (
        (fft.fft, z, scipy.fft.fft(wide)),
        (fft.ifft, z, scipy.fft.ifft(wide)),
        (fft.rfft, x, scipy.fft.rfft(wide.real)),
        (fft.fft, x, scipy.fft.fft(wide.real)),
        (lambda t, **keys: fft.irfft(t, n, **keys), half, scipy.fft.irfft(half.numpy(), n)),
    ):
        whole = function(rows)
        assert error(whole, reference) < allowed
        assert same(whole[1], function(rows[1]))
        assert same(whole, function(rows.t().contiguous(), dim=0).t())
        gaps = facula.stack([rows, rows], -1).flatten(1)[:, ::2]
        assert same(whole, function(gaps))


def test_number_of_threads_of_a_long_line(dtype):
    z = numbers(3 * 2**17, dtype=COMPLEX[dtype])
    before, results = facula.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            facula.set_num_threads(threads)
            f = facula.fft
            results.append([f.fft(z), f.rfft(z.real), f.fft(z.real), f.irfft(z)])
    finally:
        facula.set_num_threads(before)
    for result in results[1:]:
        assert all(same(a, b) for a, b in zip(result, results[0], strict=True))


def test_number_of_threads(dtype):
    z = numbers(60, 33, 64, dtype=COMPLEX[dtype])
    x = z.real.contiguous()
    before, results = facula.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 8):
            facula.set_num_threads(threads)
            f = facula.fft
            results.append([f.fft(z), f.fftn(z), f.rfftn(x), f.irfft2(z), f.fft(z, dim=0)])
    finally:
        facula.set_num_threads(before)
    assert all(same(x, y) for later in results[1:] for x, y in zip(results[0], later))


@pytest.mark.parametrize("shape", [(3, 5), (20, 17), (16, 16, 3), (2, 34, 40), (5, 1, 6)])
def test_layouts(dtype, shape):
    z = numbers(*shape, dtype=COMPLEX[dtype])
    larger = numbers(*[2 * n for n in shape], dtype=COMPLEX[dtype])
    stepped = larger[tuple(slice(None, None, 2) for _ in shape)]
    repeated = z[:1].expand(shape)
    for t in (z, z.transpose(0, -1), stepped, z.flip(0)[::-1], z.conj(), repeated, z.imag):
        expected = scipy.fft.fftn(t.resolve_conj().resolve_neg().numpy().astype(np.complex128))
        assert error(facula.fft.fftn(t), expected) < 1e-5
        # One dimension after the other gives the same.
        steps = t
        for d in reversed(range(len(shape))):
            steps = facula.fft.fft(steps, dim=d)
        np.testing.assert_allclose(steps.numpy(), expected, rtol=1e-3, atol=1e-3)


def test_there_and_back(dtype):
    for shape in ((9, 12), (4, 6, 10), (33, 32)):
        x = facula.randn(*shape, dtype=dtype)
        tolerance = 100 * EPS[dtype]
        for norm in (None, "ortho", "forward"):
            back = facula.fft.irfftn(facula.fft.rfftn(x, norm=norm), shape, norm=norm)
            assert facula.allclose(back, x, rtol=tolerance, atol=tolerance)
            back = facula.fft.ihfftn(facula.fft.hfftn(x + 0j, norm=norm), norm=norm)
            assert back.shape[:-1] == x.shape[:-1]
        with pytest.raises(RuntimeError, match="normalization"):
            facula.fft.fft(x, norm="none")


def test_stft_and_back(dtype):
    x = facula.randn(3, 1000, dtype=dtype)
    window = facula.hann_window(200, dtype=dtype)
    y = facula.stft(x, 256, 64, 200, window, return_complex=True)
    assert y.shape == (3, 129, 16) and y.dtype == COMPLEX[dtype]
    back = facula.istft(y, 256, 64, 200, window, length=960)
    tolerance = 1000 * EPS[dtype]
    assert facula.allclose(back, x[:, :960], rtol=tolerance, atol=tolerance)
    with pytest.raises(RuntimeError, match="window overlap add"):
        facula.istft(y, 256, 256, 200, window)
    with pytest.warns(UserWarning, match="padded with zeros"):
        assert facula.istft(y, 256, 64, length=2000).shape == (3, 2000)


def test_integers():
    x = facula.arange(12)
    for name in ("fft", "ifft", "rfft", "irfft", "fft2", "ihfftn"):
        function = getattr(facula.fft, name)
        data = x.view(3, 4) if name[-1] in "2n" else x
        assert same(function(data), function(data.float()))
    assert facula.fft.fft(x > 3).dtype == facula.complex64


def test_more_plans_than_are_kept():
    first = numbers(300)
    expected = facula.fft.fft(first)
    for n in range(2, 200):
        facula.fft.rfft(facula.ones(n))
    assert same(facula.fft.fft(first), expected)


def test_plans_of_several_threads():
    inputs = [numbers(n) for n in range(100, 160)]
    expected = [facula.fft.fft(z) for z in inputs]
    failed = []

    def work():
        for z, wanted in zip(inputs, expected):
            if not same(facula.fft.fft(z), wanted):
                failed.append(len(z))

    for n in range(1000, 1070):  # the plans go out of the cache
        facula.fft.fft(numbers(n))
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


@pytest.mark.parametrize(
    "call, kind, text",
    [
        (lambda f, x: f.fft(x, 0), RuntimeError, "data points"),
        (lambda f, x: f.fft(x, dim=2), IndexError, "out of range"),
        (lambda f, x: f.fft(x.sum()), IndexError, "no dimensions"),
        (lambda f, x: f.fft(x.half()), RuntimeError, "float16"),
        (lambda f, x: f.fft(x[:0].t()), RuntimeError, "data points"),
        (lambda f, x: f.rfft(x + 0j), RuntimeError, "real input"),
        (lambda f, x: f.ihfftn(x + 0j), RuntimeError, "real input"),
        (lambda f, x: f.irfft(x, 0), RuntimeError, "data points"),
        (lambda f, x: f.irfft(x[:, :1]), RuntimeError, "data points"),
        (lambda f, x: f.fftn(x, dim=[0, 0]), RuntimeError, "unique"),
        (lambda f, x: f.fftn(x, [2, 2, 2]), RuntimeError, "3 values"),
        (lambda f, x: f.fftn(x, [2, 2], [0]), RuntimeError, "same length"),
        (lambda f, x: f.rfftn(x, dim=[]), RuntimeError, "at least one"),
        (lambda f, x: f.fftfreq(4, dtype=facula.int64), RuntimeError, "floating"),
        (lambda f, x: facula.hann_window(-1), RuntimeError, "negative"),
        (lambda f, x: facula.stft(x, 4), RuntimeError, "return_complex"),
        (lambda f, x: facula.stft(x, 40, return_complex=True), RuntimeError, "Padding size"),
        (lambda f, x: facula.stft(x, 4, 0, return_complex=True), RuntimeError, "hop_length"),
        (lambda f, x: facula.istft(x, 4), RuntimeError, "complex"),
        (lambda f, x: facula._C._fft_c2r(x + 0j, [1], 0, 20), RuntimeError, "last_dim_size"),
        (lambda f, x: facula._C._fft_c2c(x + 0j, [1, -1], 0, True), RuntimeError, "each once"),
    ],
)
def test_errors(call, kind, text):
    with pytest.raises(kind, match=text):
        call(facula.fft, facula.randn(3, 8))


@pytest.mark.parametrize(
    "name, args, text",
    [
        ("_fft_r2c_backward", ([], 0, True, [4]), "argument 'dim'"),
        ("_fft_r2c_backward", ([0], 0, True, []), "argument 'sizes'"),
        ("_fft_weigh", ([], 4, 2.0), "argument 'dim'"),
    ],
)
def test_gradients_check_their_arguments(name, args, text):
    with pytest.raises(RuntimeError, match=text):
        facula._C._functions[name](numbers(3), *args)


def test_transforms_of_one_number_give_it_back():
    x = facula.randn(3, 1, dtype=facula.complex64)
    for transform in (facula.fft.fft, facula.fft.ifft):
        assert facula.equal(transform(x), x)
    assert facula.fft.hfftn(facula.randn(2, 5, 8), s=[1, 10], norm="ortho").shape == (2, 1, 10)
