"""Utilities."""

from . import dlpack, hooks
