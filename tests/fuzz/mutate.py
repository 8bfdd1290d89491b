"""Writes calls that would be right but for a change or two.

A call starts as a sample of tests/ops, written out as source. Then some of its arguments become
other ones: tensors of another dtype, layout, size or device, tensors that share memory with another
argument, numbers out of range, lists that lack an item. So it comes past the first checks, which
stop most calls that are made up altogether.
"""

import importlib
import sys
from pathlib import Path

import facula

OPS = Path(__file__).parents[1] / "ops"
SAMPLE_DTYPES = "float32 float32 float64 int64 int32 uint8 bool complex64 bfloat16".split()
SMALL = 200  # elements of a tensor whose values are written out

VIEWS = [
    *["[..., ::2]", "[::-1]", "[..., 1:]", "[..., :0]", "[:0]", "[:1]", "[None]", "[0]", "[-1:]"],
    *[".mT", ".sum()", ".flatten()", ".squeeze()", ".unsqueeze(-1)", ".reshape(-1, 1)"],
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
    *[".untyped_storage()", ".clone().resize_(0)", ".expand(1, 2, *{shape})"],
]
VIEWS += [f".to(facula.{name})" for name in SAMPLE_DTYPES + ["float16", "int8", "uint64"]]
# Views of a tensor that another argument is too; each but the last shares its memory.
SHARED = ["same", "same", "same[...]", "same[1:]", "same[:-1]", "same[..., :1]", "same.mT"]
SHARED += ["same.flip(0)", "same[::-1]", "same.flatten()", "same.as_strided({shape}, [1] * {ndim})"]
SHARED += ["same.expand(2, *[-1] * {ndim})", "same.detach()", "same.view(-1)", "same.clone()"]
AFTER = [".sum().backward()", "[0]", ".T", ".add_(1)", ".clone()", ".contiguous()", ".tolist()"]


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


def holes(value, path=()):
    """Paths to the arguments and to the items of short lists among them."""
    found = [path] if path else []
    if isinstance(value, list) and len(value) < 8:
        for i, item in enumerate(value):
            found += holes(item, (*path, i))
    return found


class Mutator:
    """Writes calls; everything is drawn from the writer's generator."""

    def __init__(self):
        sys.path.insert(0, str(OPS))
        self.registry = importlib.import_module("registry").REGISTRY
        for path in sorted(OPS.glob("samples_*.py")):
            importlib.import_module(path.stem)
        self.rows = {}
        for row in facula._C._rows():
            if "runtime" in row["flags"]:
                continue
            full = f"{row['name']}.{row['overload']}" if row["overload"] else row["name"]
            name = full if full in self.registry else row["name"]
            if name in self.registry:
                self.rows.setdefault(name, []).append(row)
        self.names = sorted(self.rows)
        self.known = {}

    def samples(self, name, dtype):
        """Lists of arguments and their keywords, of what can be written out."""
        if (name, dtype) not in self.known:
            try:
                made = list(self.registry[name](getattr(facula, dtype)))
            except Exception:
                made = []
            self.known[name, dtype] = made
        return self.known[name, dtype]

    def change(self, writer, value):
        """The source of something else in the place of the value."""
        rng = writer.rng
        if rng.random() < 0.1:
            return writer.anything()
        if isinstance(value, facula.Tensor):
            view = rng.choice(VIEWS).format(ndim=value.ndim, shape=list(value.shape))
            return source(value) + view
        if isinstance(value, bool):
            return rng.choice(["True", "False", "None", "2"])
        if isinstance(value, int):
            near = [str(value + 1), str(value - 1), str(-value), str(2 * value), str(-value - 1)]
            return rng.choice(near + writer.ints_to_choose + ["2.5", "True", "None"])
        if isinstance(value, (float, complex)):
            return rng.choice(writer.numbers_to_choose)
        if isinstance(value, list):
            items = [source(item) for item in value]
            how = rng.randrange(5)
            if how == 0:
                items = items[:-1]
            elif how == 1:
                items.append(rng.choice(items) if items else "0")
            elif how == 2:
                items = items * 2
            elif how == 3:
                items.insert(rng.randrange(len(items) + 1), "None")
            else:
                return writer.anything()
            return f"[{', '.join(items)}]"
        return writer.anything()

    def written(self, value, path, changed):
        """The source of a value whose parts at some paths have been replaced by source."""
        if path in changed:
            return changed[path]
        if isinstance(value, list) and any(key[: len(path)] == path for key in changed):
            items = (self.written(item, (*path, i), changed) for i, item in enumerate(value))
            return f"[{', '.join(items)}]"
        return source(value)

    def share(self, writer, arguments, places, changed):
        """Makes two of the tensors one, or views of one."""
        tensors = [path for path in places if isinstance(at(arguments, path), facula.Tensor)]
        if len(tensors) < 2:
            return tensors and source(at(arguments, tensors[0]))
        first, second = writer.rng.sample(tensors, 2)
        whole = at(arguments, first)
        for path in (first, second):
            view = writer.rng.choice(SHARED)
            changed[path] = view.format(ndim=whole.ndim, shape=list(whole.shape))
        return source(whole)

    def call(self, writer):
        """A line, or None where the sample cannot be written out."""
        rng = writer.rng
        name, dtype = rng.choice(self.names), rng.choice(SAMPLE_DTYPES)
        found = self.samples(name, dtype)
        if not found:
            return None
        sample, row = rng.choice(found), rng.choice(self.rows[name])
        arguments = dict(enumerate(sample.args)) | sample.kwargs
        places = [path for key, value in arguments.items() for path in holes(value, (key,))]
        if not places:
            return None
        changed = {}
        try:
            same = self.share(writer, arguments, places, changed) if rng.random() < 0.3 else None
            for path in rng.sample(places, min(len(places), rng.choice((0, 1, 1, 1, 2, 2, 3)))):
                if path not in changed:
                    changed[path] = self.change(writer, at(arguments, path))
            texts = [
                f"{key}={text}" if isinstance(key, str) else text
                for key, value in arguments.items()
                for text in [self.written(value, (key,), changed)]
            ]
        except TypeError:
            return None
        if rng.random() < 0.03:
            texts.pop(rng.randrange(len(texts)))
        return self.finished(writer, row, texts, same)

    def finished(self, writer, row, texts, same):
        """The call in one of its forms: function, method, in-place, out=, with what follows."""
        rng = writer.rng
        forms = []
        if "function" in row["flags"] and row["module"] != "_C":
            forms.append(".".join(filter(None, ["facula", row["module"], row["public_name"]])))
        if "function" in row["flags"]:
            forms.append(f"facula._C._functions['{row['name']}']")
        if "method" in row["flags"]:
            forms.append(f"facula.Tensor.{row['name']}")
        if "inplace" in row["flags"]:
            forms += [f"facula.Tensor.{row['name']}_"] * len(forms)
        texts.sort(key=lambda text: text.split("=")[0].isidentifier())
        if "out" in row["flags"] and rng.random() < 0.3:
            target = rng.choice([writer.tensor(), "same", "same[1:]", "same.mT", "same[:0]"])
            texts.append(f"out={target}")
        if any("same" in text for text in texts):
            same = same or writer.tensor()
            texts[0] = texts[0] if "=" in texts[0].split("(")[0] else f"({texts[0]})"
        line = f"{rng.choice(forms)}({', '.join(texts)})"
        if same and "same" in line:
            line = f"(lambda same: {line})({same})"
        return line + (rng.choice(AFTER) if rng.random() < 0.05 else "")


def at(arguments, path):
    value = arguments
    for key in path:
        value = value[key]
    return value
