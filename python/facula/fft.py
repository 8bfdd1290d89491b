"""Fourier transforms."""

from . import _C

globals().update(_C._published("fft"))
