"""The state of the random number generators."""

from contextlib import contextmanager

from ._C import (
    get_rng_state,
    set_rng_state,
)


@contextmanager
def fork_rng(devices=None, enabled=True, device_type="cuda"):
    """Restores the state of the generators at the end."""
    if not enabled:
        yield
        return
    state = get_rng_state()
    try:
        yield
    finally:
        set_rng_state(state)
