"""Linear algebra: factorizations, systems of equations, spectra and norms of matrices."""

from . import _C

LinAlgError = _C._LinAlgError

globals().update(_C._published("linalg"))
