"""What the backends are and can do."""

from . import cpu
