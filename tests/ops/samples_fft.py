"""Samples of csrc/ops/fft.py: transforms, frequencies and windows."""

import numpy as np
import scipy.fft
from registry import Sample, samples

REAL = "float32 float64"
COMPLEX = "complex64 complex128"
LENGTHS = (1, 2, 5, 8, 12, 17, 32, 60)


def over_one(name):
    def reference(a, n=None, dim=-1, norm=None):
        return getattr(scipy.fft, name)(a, n, dim, norm)

    return reference


def lines(make):
    """Lengths as they are, cut and filled up; another dimension; norms."""
    for n in LENGTHS:
        yield Sample((make(3, n + 1),), {"n": n, "norm": "ortho"})
    yield Sample((make(40, 9),), {"n": 12, "dim": 0})
    yield Sample((make(2, 16, 20),), {"dim": 1, "norm": "forward"})
    yield Sample((make(70),), {"n": 64, "norm": "backward"})
    yield Sample((make(0, 4),))


for name, dtypes in (
    ("fft", f"{REAL} {COMPLEX}"),
    ("ifft", f"{REAL} {COMPLEX}"),
    ("rfft", REAL),
    ("irfft", COMPLEX),
    ("hfft", COMPLEX),
    ("ihfft", REAL),
):
    samples(f"fft_{name}", reference=over_one(name), dtypes=dtypes)(lines)


def over_some(name, last=None):
    def reference(a, s=None, dim=last, norm=None):
        if s is not None and dim is not None:
            s = [size if size != -1 else a.shape[d] for d, size in zip(dim, s)]
        return getattr(scipy.fft, name)(a, s, dim, norm)

    return reference


def planes(make):
    yield Sample((make(4, 6),))
    yield Sample((make(2, 5, 8),), {"s": [3, 10], "norm": "ortho"})
    yield Sample((make(6, 3, 5),), {"dim": [0, 2], "norm": "forward"})
    yield Sample((make(20, 33),), {"dim": [1, 0], "norm": "backward"})


def spaces(make):
    yield from planes(make)
    yield Sample((make(3, 4, 5),))
    yield Sample((make(3, 4, 5, 6),), {"dim": [0, -1, 2]})
    yield Sample((make(3, 4, 5),), {"s": [4]})


for name, dtypes in (
    ("fft", f"{REAL} {COMPLEX}"),
    ("ifft", f"{REAL} {COMPLEX}"),
    ("rfft", REAL),
    ("irfft", COMPLEX),
    ("hfft", COMPLEX),
    ("ihfft", REAL),
):
    samples(f"fft_{name}2", reference=over_some(f"{name}2", (-2, -1)), dtypes=dtypes)(planes)
    samples(f"fft_{name}n", reference=over_some(f"{name}n"), dtypes=dtypes)(spaces)


def frequencies(make):
    for n in (1, 2, 7, 8):
        yield Sample((n, 0.5), {"dtype": make.dtype})


for name, like in (("fft_fftfreq", np.fft.fftfreq), ("fft_rfftfreq", np.fft.rfftfreq)):
    samples(name, reference=lambda n, d, dtype, like=like: like(n, d).astype(dtype), dtypes=REAL)(
        frequencies
    )


def shifts(make):
    yield Sample((make(5),))
    yield Sample((make(4, 7),))
    yield Sample((make(4, 7, 2),), {"dim": [0, -1]})


for name, like in (("fft_fftshift", np.fft.fftshift), ("fft_ifftshift", np.fft.ifftshift)):
    samples(
        name,
        reference=lambda a, dim=None, like=like: like(a, dim),
        dtypes="int64 float64 complex64",
    )(shifts)


# --- windows


def periodic(window):
    """Of a window of n + 1 elements all but the last, unless it is to be symmetric."""

    def reference(n, periodic=True, *shape, dtype=None):
        if n < 2:
            return np.ones(n, dtype)
        return window(n + periodic, *shape)[:n].astype(dtype)

    return reference


def cosines(*terms):
    def window(n, *given):
        angle = 2 * np.pi * np.arange(n) / (n - 1)
        return sum((-1) ** k * a * np.cos(k * angle) for k, a in enumerate(given or terms))

    return window


def windows(*shapes):
    def build(make):
        for n in (0, 1, 2, 9, 16):
            yield Sample((n,), {"dtype": make.dtype})
            yield Sample((n, False), {"dtype": make.dtype})
        for shape in shapes:
            yield Sample((12, True, *shape), {"dtype": make.dtype})

    return build


for name, window, shapes in (
    ("hann_window", cosines(0.5, 0.5), ()),
    ("hamming_window", cosines(0.54, 0.46), [(0.3, 0.7)]),
    ("blackman_window", cosines(0.42, 0.5, 0.08), ()),
    ("bartlett_window", np.bartlett, ()),
    ("kaiser_window", lambda n, beta=12.0: np.kaiser(n, beta), [(3.0,)]),
):
    samples(name, reference=periodic(window), dtypes=f"{REAL} bfloat16")(windows(*shapes))


# --- windows over signals


def stft(x, n_fft, hop_length=None, win_length=None, window=None, center=True, pad_mode="reflect",
         normalized=False, onesided=None, return_complex=None, align_to_window=None):  # fmt: skip
    hop, length = hop_length or n_fft // 4, win_length or n_fft
    window = np.ones(length) if window is None else window
    before = (n_fft - length) // 2
    window = np.pad(window, (before, n_fft - length - before))
    lead = [(0, 0)] * (x.ndim - 1)
    if center:
        names = {"replicate": "edge", "circular": "wrap"}
        x = np.pad(x, [*lead, (n_fft // 2,) * 2], names.get(pad_mode, pad_mode))
    elif align_to_window:
        x = np.pad(x, [*lead, (before, before)])
    views = np.lib.stride_tricks.sliding_window_view(x, n_fft, -1)[..., ::hop, :] * window
    norm = "ortho" if normalized else "backward"
    whole = np.iscomplexobj(views) or onesided is False
    result = (np.fft.fft if whole else np.fft.rfft)(views, norm=norm).swapaxes(-1, -2)
    return result if return_complex else np.stack([result.real, result.imag], -1)


@samples("stft", reference=stft, dtypes=REAL)
def _(make):
    yield Sample((make(50), 16), {"return_complex": True})
    yield Sample((make(2, 41), 8, 3), {"window": make(8), "return_complex": False})
    part = {"win_length": 6, "return_complex": True}
    yield Sample((make(2, 40), 12, 5), {**part, "window": make(6), "normalized": True})
    yield Sample((make(40), 9, 4), {**part, "onesided": False, "pad_mode": "constant"})
    yield Sample((make(40), 10), {**part, "center": False, "align_to_window": True})
    for mode in ("replicate", "circular"):
        yield Sample((make(3, 20), 8, 4), {"pad_mode": mode, "return_complex": True})


def istft(x, n_fft, hop_length=None, win_length=None, window=None, center=True, normalized=False,
          onesided=None, length=None, return_complex=False):  # fmt: skip
    hop, size = hop_length or n_fft // 4, win_length or n_fft
    window = np.ones(size) if window is None else window
    before = (n_fft - size) // 2
    window = np.pad(window, (before, n_fft - size - before))
    norm = "ortho" if normalized else "backward"
    parts = x.swapaxes(-1, -2)
    if return_complex:
        parts = np.fft.ifft(parts, norm=norm)
    else:
        parts = np.fft.irfft(parts[..., : n_fft // 2 + 1], n_fft, norm=norm)
    whole = (parts.shape[-2] - 1) * hop + n_fft
    total, weight = np.zeros((*parts.shape[:-2], whole), parts.dtype), np.zeros(whole)
    for i in range(parts.shape[-2]):
        total[..., i * hop : i * hop + n_fft] += parts[..., i, :] * window
        weight[i * hop : i * hop + n_fft] += window * window
    start = n_fft // 2 if center else 0
    end = start + length if length else whole - start
    return total[..., start:end] / weight[start:end]


@samples("istft", reference=istft, dtypes=COMPLEX)
def _(make):
    window = make(8, dtype=make.dtype.to_real(), low=0.5)
    yield Sample((make(5, 9), 8))
    yield Sample((make(2, 5, 6), 8, 3), {"window": window, "normalized": True})
    yield Sample((make(5, 7), 9, 2), {"win_length": 8, "window": window, "length": 11})
    yield Sample((make(2, 9, 6), 9, 4), {"onesided": False, "center": False})
    yield Sample((make(8, 6), 8), {"return_complex": True, "onesided": False})
