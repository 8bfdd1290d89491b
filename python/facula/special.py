"""Special functions."""

from . import _C

globals().update(_C._published("special"))
