"""Every operator of the table, from its row and its samples.

A case is a name of the registry and the rows that it stands for: one row, or all overloads of a
name that have no samples of their own. Each case is called as Python's users call it, and compared
with NumPy or SciPy, with finite differences, and with itself in its other forms: method, in-place,
out=, meta tensors, other strides.
"""

import importlib
import pickle
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path

import facula
import numpy as np
import pytest
from compare import NUMPY, assert_close, assert_same, each_tensor, tensors_in, to_array, wide
from facula.autograd import forward_ad, gradcheck, gradgradcheck
from forward_mode import forward_agrees
from registry import CLASSES, REGISTRY

for path in sorted(Path(__file__).parent.glob("samples_*.py")):
    importlib.import_module(path.stem)

ROWS = [row for row in facula._C._rows() if "runtime" not in row["flags"]]
PUBLIC = [
    row for row in ROWS if row["module"] != "_C" and {"function", "method"} & set(row["flags"])
]
HALVES = [facula.bfloat16, facula.float16]


def full_name(row):
    return f"{row['name']}.{row['overload']}" if row["overload"] else row["name"]


def sample_name(row):
    """The name under which the samples of a row stand, or would stand."""
    return full_name(row) if full_name(row) in REGISTRY else row["name"]


class Case:
    """A name of the registry, its rows, and how to call them."""

    def __init__(self, name, rows):
        self.name, self.rows, self.samples = name, rows, REGISTRY[name]
        self.flags = set.intersection(*(set(row["flags"]) for row in rows))
        self.random = self.samples.random or "random" in self.flags
        self.writes = "writes" in self.flags

    @cached_property
    def function(self):
        """The function, or the unbound method where there is none."""
        row = self.rows[0]
        if "function" not in self.flags:
            return getattr(facula.Tensor, row["name"])
        module = facula
        for part in row["module"].split(".") if row["module"] else ():
            module = getattr(module, part)
        return getattr(module, row["public_name"])

    @cached_property
    def dtypes(self):
        """The dtypes under test: those that the samples name, else those that the rows declare."""
        if self.samples.dtypes is not None:
            names = [n for word in self.samples.dtypes.split() for n in CLASSES.get(word, (word,))]
            return [getattr(facula, name) for name in names]
        declared = {dtype for row in self.rows for dtype in row["dtypes"]}
        if not declared:
            return [getattr(facula, name) for name in CLASSES["float"]]
        converted = HALVES if facula.float32 in declared else []
        known = [dtype for dtype in NUMPY if dtype in declared and dtype not in HALVES]
        return known + converted

    def call(self, sample, function=None, **more):
        """The result of one call; what it writes to is a copy. From the same random state."""
        if self.random:
            facula.manual_seed(7)
        args = list(sample.args)
        if self.writes:  # those that are written come first
            for i in range(self.rows[0]["schema"].partition("->")[0].count("!)")):
                args[i] = each_tensor(lambda t: t.clone(), args[i])
        result = (function or self.function)(*args, **sample.kwargs, **more)
        return args[0] if result is None else result

    @cached_property
    def core(self):
        """The function of the extension, also where Python's has another signature."""
        return facula._C._functions[self.rows[0]["name"]]

    def reference(self, sample, dtype):
        """What the reference gives in wide dtypes; None if there is none."""
        like = self.rows[0]["like"]
        function = self.samples.reference or (like and dotted(like))
        if not function:
            return None
        declared = {dtype for row in self.rows for dtype in row["dtypes"]}

        def convert(tensor):
            array = to_array(tensor)
            # Integers that a row computes in float.
            floats = declared and tensor.dtype not in declared and array.dtype.kind in "biu"
            return array.astype(np.float64) if floats else array

        args, kwargs = each_tensor(convert, (sample.args, sample.kwargs))
        if not self.samples.reference:
            names = {"dim": "axis", "keepdim": "keepdims"}
            kwargs = {names.get(key, key): value for key, value in kwargs.items()}
        args, kwargs = (
            [wide(arg) if isinstance(arg, facula.dtype) else arg for arg in args],
            {k: wide(v) if isinstance(v, facula.dtype) else v for k, v in kwargs.items()},
        )
        with np.errstate(all="ignore"):
            return function(*args, **kwargs)


def dotted(name):
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def make_cases():
    groups = {}
    for row in ROWS:
        if sample_name(row) in REGISTRY:
            groups.setdefault(sample_name(row), []).append(row)
    return [Case(name, rows) for name, rows in groups.items()]


CASES = make_cases()


def cases(*flags, having=lambda case: True):
    chosen = [case for case in CASES if case.flags.issuperset(flags) and having(case)]
    return pytest.mark.parametrize("case", chosen, ids=[case.name for case in chosen])


def cases_and_dtypes(having=lambda case, dtype: True):
    chosen = [(case, dtype) for case in CASES for dtype in case.dtypes if having(case, dtype)]
    ids = [f"{case.name}-{str(dtype).partition('.')[2]}" for case, dtype in chosen]
    return pytest.mark.parametrize("case, dtype", chosen, ids=ids)


def main_dtypes(case):
    """One dtype of each class that the case has: for comparisons of facula with itself."""
    wanted = (facula.float32, facula.int64, facula.complex64)
    return [dtype for dtype in wanted if dtype in case.dtypes] or case.dtypes[:1]


def expected_dtype(reference, dtype):
    """The dtypes that a result may have, from that of the reference and the one under test."""
    kind = np.asarray(reference).dtype.kind
    if kind == "b":
        return {facula.bool}
    if kind in "iu":
        return {facula.int64, dtype}
    if kind == "f":
        real = dtype if dtype.is_floating_point else None
        return {real or (dtype.to_real() if dtype.is_complex else facula.float32)}
    return {dtype if dtype.is_complex else dtype.to_complex()}


# --- the table itself


def test_every_public_row_has_samples():
    missing = sorted({full_name(row) for row in PUBLIC if sample_name(row) not in REGISTRY})
    assert not missing, f"{len(missing)} rows without samples: {', '.join(missing)}"


def test_every_sample_has_a_row():
    names = {name for row in ROWS for name in (row["name"], full_name(row))}
    assert not set(REGISTRY) - names


@pytest.mark.parametrize("row", PUBLIC, ids=full_name)
def test_row_is_described(row):
    assert row["doc"].endswith(".")
    assert row["schema"].startswith(full_name(row) + "(")
    assert row["like"] is None or callable(dotted(row["like"]))


def test_operators_pickle_by_identity():
    for case in CASES:
        assert pickle.loads(pickle.dumps(case.function)) is case.function


# --- values


@cases_and_dtypes()
def test_forward(case, dtype):
    samples = case.samples(dtype)
    assert samples, "the generator gives no sample"
    for sample in samples:
        result = case.call(sample)
        reference = None if case.random else case.reference(sample, dtype)
        if reference is None:
            continue
        assert_close(result, reference, case.samples.slack)
        wanted = sample.dtype or sample.kwargs.get("dtype")
        first, expected = result, reference
        while isinstance(first, (list, tuple)) and first:
            first, expected = first[0], expected[0]
        if isinstance(first, facula.Tensor):
            assert first.dtype in ({wanted} if wanted else expected_dtype(expected, dtype))


@cases("method", "function")
def test_method_is_function(case):
    method = getattr(facula.Tensor, case.rows[0]["name"])
    at = [param["name"] for param in case.rows[0]["params"]].index("self")
    for dtype in main_dtypes(case):
        for sample in case.samples(dtype):
            first, *rest = sample.args[at], *sample.args[:at], *sample.args[at + 1 :]
            if isinstance(first, facula.Tensor):
                mine = case.call(replace(sample, args=(first, *rest)), method)
                assert_same(mine, case.call(sample))


@cases("inplace")
def test_inplace(case):
    method = getattr(facula.Tensor, case.rows[0]["name"] + "_")
    for dtype in case.dtypes:
        for sample in case.samples(dtype):
            result = case.call(sample)
            target = sample.args[0]
            if not isinstance(target, facula.Tensor):
                continue
            target = target.clone()
            real = dtype.is_complex and result.is_floating_point()
            fits = facula.can_cast(result.dtype, dtype) and not real
            fits &= result.shape == target.shape or "view" in case.flags
            call = replace(sample, args=(target, *sample.args[1:]))
            if not fits:
                with pytest.raises(RuntimeError):
                    case.call(call, method)
                continue
            version = target._version
            assert case.call(call, method) is target
            assert "view" in case.flags or target._version > version
            assert_same(target, result.to(dtype))


def shrunk(tensor):
    return tensor.new_empty(0)


@cases("out")
def test_out(case):
    for dtype in main_dtypes(case):
        for sample in case.samples(dtype):
            expected = case.call(sample)
            several = isinstance(expected, tuple)
            for layout in (facula.zeros_like, stepped, transposed, shrunk):
                out = tuple(layout(t) for t in (expected if several else [expected]))
                places = [t.data_ptr() for t in out]
                result = case.call(sample, case.core, out=out if several else out[0])
                assert all(r is t for r, t in zip(result if several else [result], out))
                assert layout is shrunk or places == [t.data_ptr() for t in out]
                if not case.samples.random:
                    assert_same(list(out), list(expected) if several else [expected])


# --- shapes, dtypes and strides without values


def to_meta(tensor):
    meta = facula.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")
    meta = facula._C._neg_view(meta) if tensor.is_neg() else meta
    return meta.conj() if tensor.is_conj() else meta


def assert_predicts(meta, real):
    """The meta result has the dtype, shape and strides of the real one."""
    assert len(tensors_in(meta)) == len(tensors_in(real))
    for m, r in zip(tensors_in(meta), tensors_in(real)):
        assert m.device.type == "meta"
        assert (m.dtype, m.shape) == (r.dtype, r.shape)
        if r.numel():
            strides = [(a, b) for size, a, b in zip(r.shape, m.stride(), r.stride()) if size > 1]
            assert all(a == b for a, b in strides), (m.stride(), r.stride())


@cases()
def test_meta(case):
    place = {"device": "meta"} if "factory" in case.flags else {}
    for dtype in main_dtypes(case):
        for sample in case.samples(dtype):
            for layout in (unchanged, *(LAYOUTS[name] for name in case.samples.layouts.split())):
                laid = sample.mapped(layout)
                if not sample.meta or "data_shape" in case.flags:
                    with pytest.raises((NotImplementedError, RuntimeError)):
                        case.call(laid.mapped(to_meta))
                elif not (layout is expanded and case.writes):
                    assert_predicts(case.call(laid.mapped(to_meta), **place), case.call(laid))


# --- strides


def unchanged(tensor):
    return tensor


def transposed(tensor):
    """The same tensor, its dimensions in memory in reverse order."""
    dims = list(range(tensor.dim()))[::-1]
    return tensor.permute(dims).clone(memory_format=facula.contiguous_format).permute(dims)


def stepped(tensor):
    """The same tensor, with every other element of a larger one, from an odd place."""
    larger = tensor.new_zeros([2 * size + 1 for size in tensor.shape])
    view = larger[tuple(slice(1, None, 2) for _ in tensor.shape)]
    return view.copy_(tensor)


def expanded(tensor):
    """The first index of the first dimension again and again, with stride 0."""
    return tensor[:1].expand(tensor.shape) if tensor.dim() else tensor


def conjugated(tensor):
    """The same tensor, a pending conjugate of its conjugate."""
    return tensor.conj().resolve_conj().conj()


LAYOUTS = {layout.__name__: layout for layout in (transposed, stepped, expanded, conjugated)}


@cases(having=lambda case: case.samples.layouts and not case.random)
def test_strides(case):
    for dtype in main_dtypes(case):
        for sample in case.samples(dtype):
            for layout in (LAYOUTS[name] for name in case.samples.layouts.split()):
                if layout is expanded and case.writes:
                    continue
                strided = sample.mapped(layout)
                plain = strided.mapped(lambda t: t.clone(memory_format=facula.contiguous_format))
                expected = each_tensor(to_array, case.call(plain))
                assert_close(case.call(strided), expected, case.samples.slack)


@cases("view")
def test_views_share_memory(case):
    for dtype in main_dtypes(case):
        for sample in case.samples(dtype):
            for result in tensors_in(case.call(sample)):
                mine, base = result.untyped_storage(), sample.args[0].untyped_storage()
                assert mine.data_ptr() == base.data_ptr()


# --- gradients


def check_sample(case, sample, dtype, check):
    """Runs a check of gradients on a sample as a function of its tensors of one dtype."""
    inputs = [t for t in tensors_in((sample.args, sample.kwargs)) if t.dtype == dtype]
    chosen = {id(t) for t in inputs}

    def call(*inputs):
        left = iter(inputs)
        result = case.call(sample.mapped(lambda t: next(left) if id(t) in chosen else t))
        return tuple(tensors_in(result))

    inputs = [t.clone(memory_format=facula.contiguous_format).requires_grad_() for t in inputs]
    if inputs:
        check(call, inputs)


def has_gradients(case, dtype):
    exact = dtype in (facula.float64, facula.complex128)
    return exact and case.samples.grad and any(row["differentiable"] for row in case.rows)


def differentiable(case, dtype):
    """Whether differences can tell: what is drawn is constant, and its gradient zero."""
    return has_gradients(case, dtype) and not case.random


@cases_and_dtypes(differentiable)
def test_gradient(case, dtype):
    check = partial(gradcheck, fast_mode=True, check_undefined_grad=False, _all_outputs=True)
    for sample in case.samples(dtype):
        if sample.grad:
            check_sample(case, sample, dtype, check)


@cases_and_dtypes(lambda case, dtype: differentiable(case, dtype) and case.samples.gradgrad)
def test_double_gradient(case, dtype):
    check = partial(gradgradcheck, fast_mode=True, check_undefined_grad=False)
    for sample in case.samples(dtype):
        if sample.grad:
            check_sample(case, sample, dtype, check)


@cases_and_dtypes(has_gradients)
def test_forward_mode(case, dtype):
    for sample in case.samples(dtype):
        if sample.grad:
            check_sample(case, sample, dtype, forward_agrees)


def in_place_samples(case):
    """Samples whose result fits into their first argument, which has a gradient."""
    for sample in case.samples(facula.float64) if differentiable(case, facula.float64) else ():
        target = sample.args[0]
        if not sample.grad or not isinstance(target, facula.Tensor):
            continue
        result = case.call(sample)
        fits = (result.shape, result.dtype) == (target.shape, target.dtype)
        if fits and target.is_floating_point():
            yield sample, target


@cases("inplace")
def test_gradient_in_place(case):
    method = getattr(facula.Tensor, case.rows[0]["name"] + "_")
    for sample, target in in_place_samples(case):
        grads = []
        for call in ((), (method,)):
            leaf = target.detach().clone().requires_grad_()
            used = leaf.clone() if call else leaf
            y = case.call(replace(sample, args=(used, *sample.args[1:])), *call)
            y = facula.where(facula.isfinite(y), y, 0) + 0 * leaf.nan_to_num()
            grads += facula.autograd.grad(y, leaf, y.detach().cos())
        assert_same(grads[1], grads[0])


@cases("inplace")
def test_forward_mode_in_place(case):
    method = getattr(facula.Tensor, case.rows[0]["name"] + "_")
    for sample, target in in_place_samples(case):
        with forward_ad.dual_level():
            dual = forward_ad.make_dual(target, target.cos())
            expected = case.call(replace(sample, args=(dual, *sample.args[1:])))
            changed = dual.clone()
            assert case.call(replace(sample, args=(changed, *sample.args[1:])), method) is changed
            mine, truth = forward_ad.unpack_dual(changed), forward_ad.unpack_dual(expected)
        assert_same(mine.primal, truth.primal)
        if truth.tangent is None:
            assert mine.tangent is None or not mine.tangent.any()
        else:
            assert_same(mine.tangent, truth.tangent)
