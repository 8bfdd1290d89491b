"""Linear algebra."""

from . import _C

globals().update(_C._published("linalg"))
