"""Functions of functions, and modules as functions of their state."""

from ._module import functional_call, replace_all_batch_norm_modules_, stack_module_state
