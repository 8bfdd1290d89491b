"""The operator generator, on the small table in sample/.

golden/ holds all that it makes of it. After a change that is meant, make it again:

    python tools/opgen --ops tests/tools/sample --out tests/tools/golden
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SAMPLE, GOLDEN = HERE / "sample", HERE / "golden"
DOC = 'doc="What it does."'


def opgen(ops, out):
    command = [sys.executable, "-B", ROOT / "tools/opgen", "--ops", ops, "--out", out]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture
def declare(tmp_path):
    """Adds declarations to those of the sample and gives what the generator says of them."""

    def run(text):
        ops = tmp_path / "ops"
        shutil.copytree(SAMPLE, ops, ignore=shutil.ignore_patterns("__pycache__"))
        (ops / "tested.py").write_text(text)
        return opgen(ops, tmp_path / "out").stderr.replace(str(ops), "ops").strip()

    return run


def test_golden(tmp_path):
    done = opgen(SAMPLE, tmp_path)
    assert done.returncode == 0, done.stderr
    made = {path.name: path.read_text() for path in tmp_path.iterdir()}
    golden = {path.name: path.read_text() for path in GOLDEN.iterdir()}
    assert made.keys() == golden.keys()
    for name, text in made.items():
        assert text == golden[name], name


@pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc")
@pytest.mark.parametrize("part", ["ops_*.c", "kernel_table.c", "pointwise_*.c"])
def test_compiles(part):
    flags = ["-std=gnu11", "-Wall", "-Wextra", "-Wshadow", "-Werror", "-DFAC_TIER=base"]
    command = ["gcc", "-fsyntax-only", *flags, f"-I{ROOT / 'csrc'}", *sorted(GOLDEN.glob(part))]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_leaves_unchanged_files_alone(tmp_path):
    opgen(SAMPLE, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    (tmp_path / "ops.h").write_text("old")
    opgen(SAMPLE, tmp_path)
    assert (tmp_path / "ops.h").read_text() != "old"
    del before[tmp_path / "ops.h"]
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())


def composite(formula, params="Tensor self", results="Tensor"):
    return f'op("f({params}) -> {results}", composite="{formula}", {DOC})'


def with_grad(formula, key="self", params="Tensor self", results="Tensor"):
    return (
        f'op("f({params}) -> {results}", rule="r", kernel="k", '
        f'grad={{"{key}": "{formula}"}}, {DOC})'
    )


@pytest.mark.parametrize(
    "text",
    [
        composite("self if x is None else self * x", "Tensor self, Tensor? x"),
        composite(
            "self * x if not (x is None or n == 0) else self", "Tensor self, int n, Tensor? x"
        ),
        composite("cat([self, self], self.shape[-1])"),
        composite("max_dim(self, 0)[0]"),
        composite("max_dim(self, 0)", results="(Tensor, Tensor)"),
        composite("self * float(n) if min(n, 2) > 1 else self", "Tensor self, int n"),
        composite("self.sum(1) if self.dtype.is_complex else self.sum(None, dtype=float32)"),
        with_grad("grad if self.ndim > 1 else self"),
        with_grad("None"),
        with_grad("grads", "x, y", "Tensor x, Tensor y", "(Tensor, Tensor)"),
    ],
)
def test_accepts(declare, text):
    assert declare(text) == ""


@pytest.mark.parametrize(
    "text, message",
    [
        # declarations
        ("x = 1", "a declaration is a call of op, family"),
        ("op()", "a declaration is a call of op, family"),
        ('helper("f(int n) -> int", doc="x")', "a declaration is a call of op, family"),
        (f'op("f(Tensor self) -> Tensor", rule="r", kernel="k", grad="x", {DOC})', "is no dict"),
        (f'op("f(Tensor self) -> Tensor", kind="x", {DOC})', "op f: unknown key 'kind'"),
        (f'op("f(Tensor self) -> Tensor", family=UNARRY, {DOC})', "no family 'UNARRY'"),
        (f'op("f(Tensor self) -> Tensor", {DOC})', "nothing computes it"),
        (f'op("f(Tensor self) -> Tensor", kernel="k", {DOC})', "needs a 'rule'"),
        (f'op("f(Tensor self) -> Tensor", rule="r", kernel="k", {DOC})', "grad=None"),
        (f'op("f(Tensor self) -> Tensor", variants="methods", {DOC})', "'methods' is no word"),
        ('op("f(Tensor self) -> Tensor", composite="self")', "a row has a 'doc'"),
        (f'op("add(Tensor self) -> Tensor", composite="self", {DOC})', "declared at ops/rows.py:3"),
        (f'op("f(Tensr self) -> Tensor", composite="self", {DOC})', "'Tensr self' has no type"),
        (f'op("f(int n=1.5) -> int", composite="n", {DOC})', "1.5 does not fit the type int"),
        (
            f'op("f(Tensor self) -> Tensor(a)", rule="r", flags="view", {DOC})',
            "alias mark that no parameter has",
        ),
        # formulas
        (with_grad("grad * sigmod(self)"), "gradient of 'self': no row 'sigmod'"),
        (with_grad("grad * mull(self, 1)"), "did you mean 'mul'?"),
        (with_grad("grad", key="other"), "'grad' names what is no Tensor parameter"),
        (with_grad("1"), "int where Tensor? is wanted"),
        (with_grad("gard"), "'gard' is not known here; there are grads, grad, self, result"),
        (composite("self *"), "'self *' is no expression"),
        (composite("self if self else self"), "a condition is a number or a bool, not Tensor"),
        (composite("self * x", "Tensor self, Tensor? x"), "no operator 'a * b' for Tensor and"),
        (composite("x.shape", "Tensor? x", "int[]"), "it may be None"),
        (composite("expand(self, 3)"), "'size' takes int[], not int"),
        (composite("expand(self)"), "'size' is missing"),
        (composite("{self}"), "formulas cannot say '{self}'"),
        (composite("self", results="(Tensor, Tensor)"), "2 values are wanted"),
        (composite("[self, 1]", results="Tensor[]"), "a list has items of one type"),
        # bodies
        (f'op("f(Tensor self) -> Tensor", family=UNARY, scalar={{"int": "x"}}, {DOC})', "'x'"),
        (
            f'op("f(Tensor self) -> Tensor", family=UNARY, scalar={{"int": "a * 0.5"}}, {DOC})',
            "body in uint8: a body that computes in uint8 cannot say '0.5'",
        ),
        (
            f'op("f(Tensor self) -> Tensor", family=UNARY, scalar={{"reel": "a"}}, {DOC})',
            "no dtype class 'reel'",
        ),
        (
            'op("f(Tensor self) -> Tensor", family=UNARY, '
            f'scalar={{"complex": "fx_abs(a)"}}, grad=None, {DOC})',
            "body in complex64: the body gives real where promote is SAME",
        ),
    ],
)
def test_refuses(declare, text, message):
    said = declare(text)
    assert message in said
    assert said.startswith("ops/tested.py:1: ")


def test_reports_every_problem(declare):
    said = declare(composite("nothing(self)") + "\n" + with_grad("grad * 'a'").replace("f(", "g("))
    assert [line.split(":")[1] for line in said.splitlines()] == ["1", "2"]


def test_saves_only_what_is_read(tmp_path):
    """The size of `self` for one gradient, the whole for another, and no more for either."""
    ops = tmp_path / "ops"
    shutil.copytree(SAMPLE, ops)
    (ops / "tested.py").write_text(
        'op("f(Tensor self, Tensor other) -> Tensor", rule="r", kernel="k", '
        'grad={"self": "expand(grad, self.shape)", "other": "grad * self"}, ' + DOC + ")"
    )
    assert opgen(ops, tmp_path / "out").returncode == 0
    text = "".join(path.read_text() for path in (tmp_path / "out").glob("ops_grads_*.c"))
    row = text.split("fac_grad_f = {")[1].split("};")[0]
    assert '{FAC_SAVE_ARG, 0, 0x2, "self"}, {FAC_SAVE_SIZES, 0, 0x1, "self"}' in row
