"""How tensors print, to the character as the peer prints them.

The elements that are shown are read once, into nested lists of Python numbers in which `...` stands
for what is left out. A format for numbers is chosen from all that is shown; then lines are filled.
"""

import math

from . import _C

_PROFILES = {
    "default": {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80},
    "short": {"precision": 2, "threshold": 1000, "edgeitems": 2, "linewidth": 80},
    "full": {"precision": 4, "threshold": math.inf, "edgeitems": 3, "linewidth": 80},
}


class _Options:
    precision = 4
    threshold = 1000
    edgeitems = 3
    linewidth = 80
    sci_mode = None


PRINT_OPTS = _Options()


def set_printoptions(
    precision=None, threshold=None, edgeitems=None, linewidth=None, profile=None, sci_mode=None
):
    """Sets how tensors print.

    precision: digits after the point. threshold: more elements than this are summarized to
    `edgeitems` at both ends of each dimension. linewidth: characters a line. profile: "default",
    "short" or "full", defaults for all of these. sci_mode: True or False for scientific notation
    always or never, None to choose by the numbers.
    """
    if profile is not None:
        if profile not in _PROFILES:
            raise ValueError(f"profile must be one of {', '.join(_PROFILES)}, not {profile!r}")
        for name, value in _PROFILES[profile].items():
            setattr(PRINT_OPTS, name, value)
    given = {
        "precision": precision,
        "threshold": threshold,
        "edgeitems": edgeitems,
        "linewidth": linewidth,
    }
    for name, value in given.items():
        if value is not None:
            setattr(PRINT_OPTS, name, value)
    PRINT_OPTS.sci_mode = sci_mode


def get_printoptions():
    """The options as a dict, as set_printoptions takes them."""
    names = ("precision", "threshold", "edgeitems", "linewidth", "sci_mode")
    return {name: getattr(PRINT_OPTS, name) for name in names}


class printoptions:
    """Sets options for the length of a with block."""

    def __init__(self, **options):
        self._options = options

    def __enter__(self):
        self._before = get_printoptions()
        set_printoptions(**self._options)

    def __exit__(self, *exception):
        set_printoptions(**self._before)


# --- numbers ----


class _Formatter:
    """One format for all numbers of a tensor: their width, and for floats the notation."""

    def __init__(self, values, floating):
        self.floating = floating
        self.integral = True
        self.scientific = False
        self.width = 1
        if not floating:
            self.width = max((len(str(value)) for value in values), default=1)
            return
        shown = [value for value in values if value != 0 and math.isfinite(value)]
        if not shown:
            return
        smallest, largest = min(map(abs, shown)), max(map(abs, shown))
        self.integral = all(value == math.ceil(value) for value in shown)
        self.scientific = (
            largest / smallest > 1000.0
            or largest > 1.0e8
            or (not self.integral and smallest < 1.0e-4)
        )
        if PRINT_OPTS.sci_mode is not None:
            self.scientific = PRINT_OPTS.sci_mode
        if self.scientific:
            digits = f".{PRINT_OPTS.precision}e"
        else:
            digits = ".0f" if self.integral else f".{PRINT_OPTS.precision}f"
        point = self.integral and not self.scientific  # such a number gets a point: "2."
        self.width = max(1, *(len(format(value, digits)) + point for value in shown))

    def __call__(self, value):
        if not self.floating:
            text = str(value)
        elif self.scientific:
            text = format(value, f".{PRINT_OPTS.precision}e")
        elif self.integral:
            text = format(value, ".0f") + ("." if math.isfinite(value) else "")
        else:
            text = format(value, f".{PRINT_OPTS.precision}f")
        return text.rjust(self.width)


class _ComplexFormatter:
    """Real and imaginary parts, each in a format of its own."""

    def __init__(self, values):
        self.real = _Formatter([value.real for value in values], True)
        self.imag = _Formatter([value.imag for value in values], True)
        self.width = self.real.width + self.imag.width + 1

    def __call__(self, value):
        imag = self.imag(value.imag).lstrip() + "j"
        return self.real(value.real) + ("" if imag[0] in "+-" else "+") + imag


def _leaves(nested):
    """The numbers in nested lists, in order."""
    if nested is ...:
        return
    if isinstance(nested, list):
        for part in nested:
            yield from _leaves(part)
    else:
        yield nested


# --- what is shown ----


def _shown(t, summarize):
    """Nested lists of the elements that are shown; `...` where some are left out."""
    edge = PRINT_OPTS.edgeitems
    if not summarize or t.dim() == 0:
        return t.tolist()
    if t.shape[0] > 2 * edge:
        rows = [*range(edge), ..., *range(t.shape[0] - edge, t.shape[0])]
    else:
        rows = list(range(t.shape[0]))
    if t.dim() == 1:
        return [... if row is ... else t[row].item() for row in rows]
    return [... if row is ... else _shown(t[row], True) for row in rows]


# --- lines ----


def _row_text(row, indent, formatter):
    per_line = max(1, (PRINT_OPTS.linewidth - indent) // (formatter.width + 2))
    only_dots = row == [...]
    words = [("..." if only_dots else " ...") if v is ... else formatter(v) for v in row]
    lines = [", ".join(words[i : i + per_line]) for i in range(0, len(words), per_line)] or [""]
    return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"


def _nested_text(nested, dim, indent, formatter):
    if dim == 0:
        return formatter(nested)
    if dim == 1:
        return _row_text(nested, indent, formatter)
    parts = [
        "..." if part is ... else _nested_text(part, dim - 1, indent + 1, formatter)
        for part in nested
    ]
    return "[" + ("," + "\n" * (dim - 1) + " " * (indent + 1)).join(parts) + "]"


def _elements_text(t, indent):
    nested = _shown(t, t.numel() > PRINT_OPTS.threshold)
    values = list(_leaves(nested))
    if t.dtype.is_complex:
        formatter = _ComplexFormatter(values)
    else:
        formatter = _Formatter(values, t.dtype.is_floating_point)
    return _nested_text(nested, t.dim(), indent, formatter)


def _add_suffixes(text, suffixes, indent):
    """Appends ", suffix" for each, on a new line where the line would grow too long."""
    room = len(text) - text.rfind("\n") + 1
    for suffix in suffixes:
        if room + len(suffix) + 2 > PRINT_OPTS.linewidth:
            text += ",\n" + " " * indent + suffix
            room = indent + len(suffix)
        else:
            text += ", " + suffix
            room += len(suffix) + 2
    return text + ")"


# --- the tensor ----


def _history_suffix(t):
    try:
        grad_fn = t.grad_fn
    except RuntimeError:  # a view made without gradients, and changed in place with them
        return "grad_fn=<Invalid>"
    if grad_fn is not None:
        return f"grad_fn=<{grad_fn.name().rsplit('::', 1)[-1]}>"
    return "requires_grad=True" if t.requires_grad else None


def _dtype_is_told(t):
    """Whether the elements alone tell the dtype."""
    default = _C.get_default_dtype()
    return t.dtype in (default, default.to_complex(), _C._constants["int64"], _C._constants["bool"])


def _text(t, contents):
    plain = t.detach()
    name = type(t).__name__
    prefix = "tensor(" if name in ("Tensor", "Parameter") else name + "("
    suffixes = []
    if t.device.type != "cpu":
        suffixes.append(f"device='{t.device}'")
    dtype = f"dtype={t.dtype}"
    if t.device.type == "meta":
        suffixes.append(f"size={tuple(t.shape)}")
        if t.dtype != _C.get_default_dtype():
            suffixes.append(dtype)
        body = "..."
    elif t.numel() == 0:
        if t.dim() != 1:
            suffixes.append(f"size={tuple(t.shape)}")
        if t.dtype != _C.get_default_dtype():
            suffixes.append(dtype)
        body = "[]"
    else:
        if not _dtype_is_told(t):
            suffixes.append(dtype)
        body = contents if contents is not None else _elements_text(plain, len(prefix))
    history = _history_suffix(t)
    if history:
        suffixes.append(history)
    return _add_suffixes(prefix + body, suffixes, len(prefix))


def _transformed_text(kind, depth, value):
    """What stands inside of vmap or grad: the level, and the value there."""
    name = "BatchedTensor" if kind == "batch" else "GradTrackingTensor"
    where = f"lvl={depth}, bdim=0" if kind == "batch" else f"lvl={depth}"
    lines = _str(value).replace("\n", "\n    ")
    return f"{name}({where}, value=\n    {lines}\n)"


def _str(t, *, tensor_contents=None):
    """repr(t); `tensor_contents` stands in for the elements."""
    transformed = _C._transforms(t)
    if transformed is not None:
        return _transformed_text(*transformed)
    was_off = _C._set_torch_function_off(True)
    try:
        return _text(t, tensor_contents)
    finally:
        _C._set_torch_function_off(was_off)
