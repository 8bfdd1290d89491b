"""What may stand in the place of an argument, as source: another one that comes past the first
checks, or past none.
"""

import facula
from table import source

INTS = "0 1 -1 2 3 -2 5 64 2**31 2**32 2**62 -2**63 2**63-1 2**63 2**64 10**30".split()
NUMBERS = "0.5 -0.0 nan inf -inf 1e308 1e-320 1e30 1j nan*1j True False".split()
WORDS = [
    repr(w) for w in "mean sum none floor trunc fro nuc ij xy amax prod same valid tanh".split()
]
WORDS += [repr(w) for w in "gelsd gelsy nearest bicubic reduced raw complete L ortho".split()]
WORDS += ["''", "'\\0'", "'a,b->'", "'ij,jk->ik'", "'...'", "'é' * 1000", "b'x'"]
ODD = [
    "None",
    "...",
    "slice(None, None, -1)",
    "object()",
    "Stubborn()",
    "Override()",
    "FalseArray()",
    "{}",
    "{1: 2}",
    "set()",
    "lambda: 0",
    "int",
    "facula",
    "facula.Tensor",
    "nest(70)",
    "nest(20000)",
    "loop()",
    "emptying()",
    "range(3)",
    "iter([1])",
    "bytearray(8)",
]
DTYPES = sorted(
    f"facula.{name}" for name, item in vars(facula).items() if isinstance(item, facula.dtype)
)
DEVICES = ["'cpu'", "'meta'", "'cuda'", "'cpu:5'", "'bogus'", "facula.device('meta')", "-1"]
LAYOUTS = ["facula.strided", "facula.sparse_coo"]
FORMATS = ["facula.contiguous_format", "facula.channels_last", "facula.preserve_format"]

# What is written behind a tensor; {ndim} and {shape} are its own.
VIEWS = [
    *["[..., ::2]", "[::-1]", "[..., 1:]", "[..., :0]", "[:0]", "[:1]", "[None]", "[0]", "[-1:]"],
    *[".mT", ".sum()", ".flatten()", ".squeeze()", ".unsqueeze(-1)", ".reshape(-1, 1)"],
    *["[(None,) * (64 - {ndim})]", ".expand(1, 2, *{shape})", ".sum().expand({shape})"],
    *[".movedim(0, -1)", ".flip(0)", ".real", ".imag", ".unsqueeze(0).expand(3, *[-1] * {ndim})"],
    *[".as_strided({shape}, [1] * {ndim})", ".as_strided({shape}, [0] * {ndim})"],
    *[".as_strided([2, 3], [1, 1])", ".as_strided([0, 3], [9, 9])", ".as_strided([], [])"],
    *[".new_empty([0, 2**62])", ".new_empty([2**62, 0])", ".new_empty([2**31, 0, 2**31])"],
    *[".new_empty([0]).expand(2**40, 0)", ".new_empty([])", ".new_zeros([1, 0, 1, 2])"],
    *[".to('meta')", ".new_empty([2**31, 2**31], device='meta')", ".new_empty([2**40]).to('meta')"],
    *[".conj()", ".to(facula.complex64).conj()", ".to(facula.complex64).conj().imag"],
    *[".fill_(nan)", ".fill_(-inf)", ".fill_(-1)", ".fill_(2**31)", ".fill_(0)", " * 1e38"],
    *[".requires_grad_()", ".requires_grad_() * 1", ".detach()", ".numpy()", ".tolist()", ".shape"],
    *[".view(facula.uint8)", ".view(facula.int64)", ".to(facula.float8_e5m2)", ".resize_(3)"],
    *[".untyped_storage()", ".clone().resize_(0)"],
]
VIEWS += [
    f".to(facula.{name})"
    for name in (
        *("float32", "float64", "int64", "int32", "uint8", "bool", "complex64", "bfloat16"),
        *("float16", "int8", "uint64"),
    )
]
# The same for dimension {d}: none, one, more elements; no such dimension, one before it.
DIMENSIONS = [
    *[".narrow({d}, 0, 0)", ".narrow({d}, 0, 1)", ".repeat_interleave(2, {d})"],
    *[".select({d}, 0)", ".unsqueeze({d})"],
]
LENGTHS = ["[]", "[0]", "[-1]", "[1, 1]", "[1] * 70", "[2**62] * 4", "[2**31, 2**32]", "[None]"]


def views(tensor):
    """Odd forms of a tensor."""
    ndim, shape = tensor.ndim, list(tensor.shape)
    found = [view.format(ndim=ndim, shape=shape) for view in VIEWS]
    found += [view.format(d=d) for d in range(ndim) for view in DIMENSIONS]
    text = source(tensor)
    return [text + view for view in found]


def near(value):
    """Ints near one that would be right."""
    return [str(i) for i in (value + 1, value - 1, -value, 2 * value, -value - 1)]


def lists(value):
    """Lists of another length or with an item that is none."""
    items = [source(item) for item in value]
    found = [
        items[:-1],
        [*items, items[-1] if items else "0"],
        items * 2,
        items[:1],
        ["None", *items],
    ]
    return [f"[{', '.join(items)}]" for items in found] + LENGTHS


def instead_of(value):
    """All that may stand in the place of a value that would be right."""
    if isinstance(value, facula.Tensor):
        return [*views(value), "None", "2.5", "True", f"[{source(value)}]"]
    if isinstance(value, bool):
        return ["True", "False", "None", "2"]
    if isinstance(value, int):
        return [*near(value), *INTS, "2.5", "True", "None"]
    if isinstance(value, (float, complex)):
        return [*NUMBERS, "2**62", "None"]
    if isinstance(value, list):
        return [*lists(value), "None", "2", "()"]
    if isinstance(value, str):
        return [*WORDS, "None"]
    if isinstance(value, facula.dtype):
        return [*DTYPES, "None"]
    return [*ODD[:6], "2", "'mean'", "facula.ones(2)"]


def of_type(param):
    """What a parameter of that type may be given."""
    kind = param["type"]
    if param["list"]:
        tensors = ["[facula.tensor(1.0)]", "[facula.tensor([[1.0, 2.0]])] * 3", "[]", "[None]"]
        return tensors if kind in ("Tensor", "Operand") else LENGTHS
    choices = {
        "int": INTS,
        "Scalar": INTS + NUMBERS,
        "float": [*NUMBERS, "0.25", "0.75"],
        "bool": ["True", "False"],
        "str": WORDS,
        "ScalarType": DTYPES,
        "Device": DEVICES,
        "Layout": LAYOUTS,
        "MemoryFormat": FORMATS,
        "Generator": ["facula.Generator()", "facula.default_generator"],
        "Storage": ["facula.ones(4).untyped_storage()", "facula.empty(0).untyped_storage()"],
    }
    tensors = [
        f"facula.tensor([[1.5, 2.0, 3.0]]{view}" for view in (")", ").sum()", ")[0]", ").mT")
    ]
    tensors += ["facula.tensor([1, 0])", "facula.tensor([])", "facula.tensor(True)"]
    return choices.get(kind, tensors)
