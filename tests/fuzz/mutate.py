"""Writes calls that would be right but for a change or two.

A call starts as a sample of tests/ops, written out as source. Then some of its arguments become
other ones: tensors of another dtype, layout, size or device, tensors that share memory with another
argument, numbers out of range, lists that lack an item. So it comes past the first checks, which
stop most calls that are made up altogether.
"""

import facula
from odd import instead_of
from table import at, function_of, holes, source, write_arguments

SAMPLE_DTYPES = "float32 float32 float64 int64 int32 uint8 bool complex64 bfloat16".split()

# Views of a tensor that another argument is too; each but the last shares its memory.
SHARED = ["same", "same", "same[...]", "same[1:]", "same[:-1]", "same[..., :1]", "same.mT"]
SHARED += ["same.flip(0)", "same[::-1]", "same.flatten()", "same.as_strided({shape}, [1] * {ndim})"]
SHARED += ["same.expand(2, *[-1] * {ndim})", "same.detach()", "same.view(-1)", "same.clone()"]
AFTER = [".sum().backward()", "[0]", ".T", ".add_(1)", ".clone()", ".contiguous()", ".tolist()"]


class Mutator:
    """Writes calls; everything is drawn from the writer's generator."""

    def __init__(self, table):
        self.table = table

    def change(self, writer, value):
        """The source of something else in the place of the value."""
        if writer.rng.random() < 0.1:
            return writer.anything()
        return writer.rng.choice(instead_of(value))

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
        name, dtype = rng.choice(self.table.names), rng.choice(SAMPLE_DTYPES)
        found = self.table.arguments(name, dtype)
        if not found:
            return None
        arguments, row = rng.choice(found), rng.choice(self.table.rows[name])
        places = [path for key, value in arguments.items() for path in holes(value, (key,))]
        if not places:
            return None
        changed = {}
        try:
            same = self.share(writer, arguments, places, changed) if rng.random() < 0.3 else None
            for path in rng.sample(places, min(len(places), rng.choice((0, 1, 1, 1, 2, 2, 3)))):
                if path not in changed:
                    changed[path] = self.change(writer, at(arguments, path))
            texts = write_arguments(arguments, changed)
        except TypeError:
            return None
        if rng.random() < 0.03:
            texts.pop(rng.randrange(len(texts)))
        return self.finished(writer, row, texts, same)

    def finished(self, writer, row, texts, same):
        """The call in one of its forms: function, method, in-place, out=, with what follows."""
        rng = writer.rng
        forms = [function_of(row)]
        if "function" in row["flags"] and row["module"] != "_C":
            forms.append(".".join(filter(None, ["facula", row["module"], row["public_name"]])))
        if "method" in row["flags"]:
            forms.append(f"facula.Tensor.{row['name']}")
        if "inplace" in row["flags"]:
            forms += [f"facula.Tensor.{row['name']}_"] * len(forms)
        if "out" in row["flags"] and rng.random() < 0.3:
            target = rng.choice([writer.tensor(), "same", "same[1:]", "same.mT", "same[:0]"])
            texts.append(f"out={target}")
        if any("same" in text for text in texts):
            same = same or writer.tensor()
            texts[0] = texts[0] if "=" in texts[0].split("(")[0] else f"({texts[0]})"
        line = f"{rng.choice(forms)}({', '.join(texts)})"
        if same and "same" in line:
            line = f"(lambda same: {line})({same})"
        return f"few({line}){rng.choice(AFTER)}" if rng.random() < 0.05 else line
