"""All rows of the operator table, with arguments that are right, as source.

Most rows have samples in tests/ops. The others are parts of them: what they are called with is
recorded while the samples, and the lines of CALLS, run, are differentiated twice and run in a
batch. A recording knows dtypes, sizes and numbers, not the elements of tensors, nor strings.
"""

import importlib
import sys
from pathlib import Path

import facula
from child import BATCH, NAMES, continuous, inside, tensors_in

OPS = Path(__file__).parents[1] / "ops"
sys.path.insert(0, str(OPS))
SMALL = 200  # elements of a tensor whose values are written out
RECORDED = 3  # calls of a row that are kept
WORDS = (
    "reduced prod gelsd nearest bilinear L fro constant".split()
)  # for strings of recorded calls
FLAT = "facula.tensor([[0.5, 2.0, -1.0], [1.0, 0.25, 3.0]])"
CLASSES = "facula.tensor([1, 0])"
IMAGE = (
    "facula.tensor([[[[0.5, 2.0, -1.0], [1.0, 0.25, 3.0], [1.0, 2.0, 0.0]]]]).repeat(2, 4, 1, 1)"
)
CALLS = [
    f"facula.nn.functional.cross_entropy({FLAT}, {CLASSES})",
    f"facula.nn.functional.cross_entropy({FLAT}, {CLASSES}, {FLAT}[0])",
    f"facula.nn.functional.cross_entropy({FLAT}, {CLASSES}, label_smoothing=0.5)",
    f"facula.nn.functional.cross_entropy({FLAT}, {FLAT}, {FLAT}[0], reduction='none')",
    f"facula.nn.functional.nll_loss({FLAT}, {CLASSES}, {FLAT}[0])",
    f"facula.nn.functional.nll_loss({IMAGE}, {CLASSES}[:, None, None].expand(2, 3, 3))",
    f"facula.nn.functional.binary_cross_entropy({FLAT}.sigmoid(), {FLAT}.sigmoid(), {FLAT}[0])",
    *(
        f"facula.nn.functional.{name}({FLAT}, {FLAT} * 2, reduction='{reduction}')"
        for name in "mse_loss l1_loss smooth_l1_loss huber_loss soft_margin_loss".split()
        for reduction in ("mean", "none")
    ),
    f"facula.nn.functional.mse_loss({FLAT}, {FLAT} * 2, weight={FLAT})",
    f"facula.nn.functional.gaussian_nll_loss({FLAT}, {FLAT} * 2, {FLAT}.abs())",
    f"facula.nn.functional.group_norm({IMAGE}.repeat(1, 1, 2, 3), 4, {IMAGE}[0, :, 0, 0])",
    f"facula.nn.functional.layer_norm({FLAT}, [3], {FLAT}[0], {FLAT}[0])",
    f"facula.nn.functional.layer_norm({FLAT}, [3], {FLAT}[0])",
    f"facula.nn.functional.layer_norm({FLAT}, [3])",
    f"facula.nn.functional.max_pool2d({IMAGE}, 2, return_indices=True)",
    f"facula.nn.functional.max_pool3d({IMAGE}, 2, return_indices=True)",
    f"facula.nn.functional.adaptive_avg_pool2d({IMAGE}, 2)",
    f"facula.nn.functional.adaptive_avg_pool3d({IMAGE}, 2)",
    f"facula.nn.functional.adaptive_max_pool2d({IMAGE}, 2)",
    f"facula.nn.functional.adaptive_max_pool3d({IMAGE}, 2)",
    f"facula.nn.functional.softmin({FLAT}, 1)",
    f"facula.nn.functional.embedding({CLASSES}, {FLAT})",
    f"facula.nn.functional.scaled_dot_product_attention({IMAGE}, {IMAGE}, {IMAGE}, dropout_p=0.5)",
    f"facula.meshgrid({FLAT}[0], {FLAT}[1])",
    f"facula.tensordot({FLAT}, {FLAT}.mT, 1)",
    f"facula.tensordot({FLAT}, {FLAT}, [[0, 1], [0, 1]])",
    f"facula.broadcast_tensors({FLAT}, {FLAT}[0])",
    f"facula.einsum('ij,kj->ik', {FLAT}, {FLAT})",
    f"facula.einsum('ij,kj->ik', [{FLAT}, {FLAT}])",
    *(
        f"facula._C._functions['_{text}"
        for text in (
            f"embedding_backward_each']({FLAT}, {CLASSES}, 2, -1, False)",
            f"embedding_renorm_each']({FLAT}.clone(), {CLASSES}, 1.0, 2.0)",
            f"named_rows']({FLAT}, {CLASSES})",
            f"linspace_each']({FLAT}[0, 0], {FLAT}[1, 0], 3)",
            f"logspace_each']({FLAT}[0, 0], {FLAT}[1, 0], 3)",
            f"layer_norm_backward_each']({FLAT}, {FLAT}, [3], *[{FLAT}[:, :1]] * 2, None, 1.0)",
            f"layer_norm_affine_each']({FLAT}, {FLAT}, [3], {FLAT}[:, :1], {FLAT}[:, :1], 1.0)",
            f"nll_loss_backward_each']({FLAT}[0, 0], [2, 3], {CLASSES}, None, 1, -1, {FLAT}[0, 0])",
            f"cross_entropy_backward_each']({FLAT}[0, 0], {FLAT}, {CLASSES}, None, 1, -1, "
            f"{FLAT}[0, 0], {FLAT}[:, :2])",
        )
    ),
    f"facula._C._functions['_conj']({FLAT}.to(facula.complex64))",
    f"facula._C._functions['_neg_view']({FLAT})",
    f"facula._C._functions['alias']({FLAT})",
    f"{FLAT}.T",
]


def full_name(row):
    return f"{row['name']}.{row['overload']}" if row["overload"] else row["name"]


def function_of(row):
    """An expression for the function, or the unbound method."""
    if "function" in row["flags"]:
        return f"facula._C._functions['{row['name']}']"
    owner = "facula.Tensor" if "method" in row["flags"] else "facula.ops.aten"
    return f"{owner}.{row['name']}"


# --- source ---------------------------------------------------------------------------------------


def source(value):
    """An expression for the value; raises TypeError where there is none."""
    if isinstance(value, facula.Tensor):
        return tensor_source(value)
    if isinstance(value, (list, tuple)):
        items = ", ".join(map(source, value))
        if isinstance(value, list):
            return f"[{items}]"
        return f"({items},)" if value else "()"
    if isinstance(value, slice):
        return f"slice({value.start}, {value.stop}, {value.step})"
    if isinstance(value, (type(None), bool, int, float, complex, str, type(...))):
        return repr(value) if value is not ... else "..."
    if isinstance(value, (facula.dtype, facula.memory_format, facula.layout)):
        return str(value)
    if isinstance(value, facula.device):
        return repr(str(value))
    raise TypeError(type(value))


def tensor_source(tensor):
    plain = tensor.detach().resolve_conj().resolve_neg()
    if plain.device.type != "cpu" or plain.numel() > SMALL:
        return f"facula.ones({list(plain.shape)}, dtype={plain.dtype}, device='{plain.device}')"
    narrow = plain.dtype.itemsize < 4 and plain.is_floating_point()
    values = (plain.float() if narrow else plain).tolist()
    made = f"facula.tensor({values}, dtype={plain.dtype})"
    return f"{made}.reshape({list(plain.shape)})" if not plain.numel() else made


def at(arguments, path):
    value = arguments
    for key in path:
        value = value[key]
    return value


def holes(value, path=()):
    """Paths to the arguments and to the items of short lists among them."""
    found = [path] if path else []
    if isinstance(value, list) and len(value) < 8:
        for i, item in enumerate(value):
            found += holes(item, (*path, i))
    return found


def written(value, path, changed):
    """The source of a value whose parts at some paths have been replaced by source."""
    if path in changed:
        return changed[path]
    if isinstance(value, list) and any(key[: len(path)] == path for key in changed):
        items = (written(item, (*path, i), changed) for i, item in enumerate(value))
        return f"[{', '.join(items)}]"
    return source(value)


def write_arguments(arguments, changed):
    """The source of each argument, those by keyword last; what is changed may stand at keys that
    have none so far."""
    every = {path[0]: None for path in changed if len(path) == 1} | arguments
    keys = sorted(every, key=lambda key: (1, 0) if isinstance(key, str) else (0, key))
    return [
        f"{key}={text}" if isinstance(key, str) else text
        for key in keys
        for text in [written(every[key], (key,), changed)]
    ]


# --- the rows -------------------------------------------------------------------------------------


class Table:
    """Names of the registry of samples, and of rows that have none, each with its rows."""

    def __init__(self, log):
        self.log = log
        self.registry = importlib.import_module("registry").REGISTRY
        for path in sorted(OPS.glob("samples_*.py")):
            importlib.import_module(path.stem)
        self.rows, self.known, self.recorded, alone = {}, {}, {}, {}
        for row in facula._C._rows():
            if "runtime" in row["flags"]:
                continue
            name = full_name(row) if full_name(row) in self.registry else row["name"]
            if name in self.registry:
                self.rows.setdefault(name, []).append(row)
            else:
                alone[full_name(row)] = row
        self.recorded = self.record(alone)
        self.rows.update({name: [row] for name, row in alone.items()})
        self.names = sorted(self.rows)

    def arguments(self, name, dtype):
        """Dicts of arguments, by position and by keyword."""
        if name in self.recorded:
            return self.recorded[name]
        if (name, dtype) not in self.known:
            try:
                made = self.registry[name](getattr(facula, dtype))
            except Exception:
                made = []
            self.known[name, dtype] = [dict(enumerate(s.args)) | s.kwargs for s in made]
        return self.known[name, dtype]

    def record(self, alone):
        """{name: [arguments]} of those rows, in calls of all others."""
        found = {name: {} for name in alone}
        lines = [*CALLS]
        for name, rows in sorted(self.rows.items()):
            for dtype, count in (("float32", 4), ("complex64", 1)):
                for arguments in self.arguments(name, dtype)[:count]:
                    lines += plain_call(rows[0], arguments)
        for line in lines:
            self.log.write(line)
            for event in events(line):
                name = event[1].partition("::")[2] + (f".{event[2]}" if event[2] else "")
                kept = found.get(name)
                if kept is not None and len(kept) < RECORDED:
                    kept.setdefault(repr(event[9]), event[9])
        return {
            name: [rebuilt(alone[name], dict(args)) for args in kept.values() if args]
            for name, kept in found.items()
        }


def plain_call(row, arguments):
    """[the line] of a call, [] where it cannot be written."""
    try:
        texts = write_arguments(arguments, {})
    except TypeError:
        return []
    return [f"{function_of(row)}({', '.join(texts)})"]


def twice(call, make=facula.tensor):
    """Differentiates call(made) twice."""
    leaves = []

    def made(*args, **kwargs):
        t = make(*args, **kwargs)
        if continuous(t):
            leaves.append(t.requires_grad_())
        return t

    results = [call(made)]
    for again in (True, False):
        total = sum(t.abs().sum() for t in tensors_in(results) if t.requires_grad)
        found = facula.autograd.grad(total, leaves, create_graph=again, allow_unused=True)
        results = [t for t in found if t is not None]


def events(line):
    """What is called when the line runs, is differentiated, and runs in a batch."""
    call = eval("lambda made: " + line.replace("facula.tensor(", "made("), dict(NAMES))
    facula._C._profile_start(1)
    for attempt in (
        lambda: twice(call),
        lambda: inside([BATCH], 1, lambda made: twice(call, made)),
    ):
        try:
            attempt()
        except Exception:
            pass
    return [event for event in facula._C._profile_stop()[0] if event[0] == 0]


def rebuilt(row, values):
    """The arguments of a recorded call by position or keyword: zeros and ones for tensors, for
    strings the first words that the row takes."""

    def tensor(recorded):
        if recorded is None:
            return None
        dtype, sizes, _ = recorded
        fill = facula.ones if "float" in dtype or "complex" in dtype else facula.zeros
        return fill(sizes, dtype=getattr(facula, dtype))

    arguments, strings = {}, []
    for i, param in enumerate(row["params"]):
        value = values[param["name"]]
        if param["type"] in ("Tensor", "Operand") and isinstance(value, tuple):
            value = tensor(value)
        elif param["type"] in ("Tensor", "Operand") and isinstance(value, list):
            value = [tensor(item) for item in value]
        key = param["name"] if param["keyword"] else i
        if param["type"] == "str" and not param["optional"]:
            strings.append(key)
        if value is None and param["keyword"] and param["default"]:
            continue
        arguments[key] = value
    for word in WORDS if strings else ():
        arguments.update(dict.fromkeys(strings, word))
        try:
            eval(*plain_call(row, arguments), dict(NAMES))
            break
        except Exception:
            pass
    return arguments
