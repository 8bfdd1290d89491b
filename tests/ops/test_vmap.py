"""vmap of every operator of the table, on its samples, beside a loop over the elements.

A batch of a sample is a stack of copies whose values are turned a little, so that what a sample
promises (distinct values, indices in range) holds for each element. Each tensor argument is a batch
alone, and all are together, along the first dimension and the last.
"""

import warnings
from dataclasses import replace

import facula
import pytest
from compare import assert_close, tensors_in, to_array
from facula import vmap
from facula.func import grad
from test_table import CASES, differentiable

SIZE = 3
# What these do has no meaning for a batch.
REFUSED = {
    *("resize_", "resize_as_", "set_", "set_.storage", "set_.tensor"),
    *("equal", "allclose"),  # a bool of Python
    *(case.name for case in CASES if case.name.startswith("_fused_")),
}
# What these give depends on the strides of the element, or they refuse some.
FIRST = {"as_strided", "view.dtype", "view_as_complex"}
# Raised where a batch alone makes no sense, by the cases in which it may be.
EXCUSES = {
    "dynamic shape": {"index", "repeat_interleave"},
    "running statistics": {"batch_norm", "native_batch_norm"},
}


# --- batches of samples


def main_dtype(case):
    wanted = (facula.float64, facula.complex128, facula.int64, facula.bool)
    return next((dtype for dtype in wanted if dtype in case.dtypes), case.dtypes[0])


def all_tensors(sample):
    return tensors_in((sample.args, sample.kwargs))


def samples_of(case, most=None):
    """The first samples that have tensors."""
    return [s for s in case.samples(main_dtype(case)) if all_tensors(s)][:most]


def with_tensors(sample, tensors):
    left = iter(tensors)
    return sample.mapped(lambda t: next(left))


def variants(tensor):
    """SIZE tensors: this one, and others with its values turned along each dimension."""
    made = [tensor]
    for k in range(1, SIZE):
        turned = tensor
        for dim in range(tensor.dim()):
            turned = turned.roll(k, dim)
        made.append(turned)
    return [t.clone(memory_format=facula.contiguous_format) for t in made]


class Batch:
    """A sample with a batch in the place of some of its tensors."""

    def __init__(self, case, sample, chosen, dim=0):
        self.case, self.sample, self.chosen, self.dim = case, sample, chosen, dim
        self.plain = all_tensors(sample)
        self.each = [variants(t) if c else [t] * SIZE for t, c in zip(self.plain, chosen)]
        self.stacked = [facula.stack(e, dim) for e, c in zip(self.each, chosen) if c]

    def element(self, k):
        return with_tensors(self.sample, [each[k] for each in self.each])

    def loop(self, call):
        """What `call` gives for each element, result by result."""
        results = [tensors_in(call(self.element(k))) for k in range(SIZE)]
        return [facula.stack(list(same)) for same in zip(*results)]

    def sample_of(self, tensors):
        """The sample with these in the place of the chosen ones."""
        left = iter(tensors)
        return with_tensors(
            self.sample, [next(left) if c else t for t, c in zip(self.plain, self.chosen)]
        )

    def vmap(self, call, **options):
        def function(*tensors):
            return tuple(tensors_in(call(self.sample_of(tensors))))

        return vmap(function, in_dims=self.dim, **options)(*self.stacked)


def choices(case, sample):
    """Which tensors are a batch: each alone with those that are written, and all."""
    count = len(all_tensors(sample))
    written = case.rows[0]["schema"].count("!)") if case.writes else 0
    first = len(tensors_in(list(sample.args[:written])))
    alone = [[i == k or i < first for i in range(count)] for k in range(first, count)]
    return [*(alone if count > 1 else []), [True] * count]


def assert_equal(results, expected, slack=1.0):
    assert len(results) == len(expected)
    for result, e in zip(results, expected):
        assert (result.dtype, result.shape) == (e.dtype, e.shape)
        assert_close(result, to_array(e), slack)


def excused(case, error):
    return any(text in str(error) and case.name in names for text, names in EXCUSES.items())


def runs(case):
    return not case.random and case.name not in REFUSED and samples_of(case, 1)


def cases(having=lambda case: True):
    chosen = [case for case in CASES if runs(case) and having(case)]
    return pytest.mark.parametrize("case", chosen, ids=[case.name for case in chosen])


@pytest.fixture(autouse=True)
def no_loops():
    """The warning that a row has no rule, and runs element by element, is an error."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".*performance drop.*")
        yield


# --- values


def check_values(case, sample):
    for chosen in choices(case, sample):
        for dim in (0,) if case.name in FIRST else (0, -1):
            batch = Batch(case, sample, chosen, dim)
            if "data_shape" in case.flags:
                with pytest.raises(RuntimeError, match="dynamic shape"):
                    batch.vmap(case.call)
                continue
            try:
                results = batch.vmap(case.call)
            except RuntimeError as error:
                if all(chosen) or not excused(case, error):
                    if not excused(case, error):
                        raise
                continue
            assert_equal(results, batch.loop(case.call), case.samples.slack)


@cases()
def test_elements(case):
    for sample in samples_of(case, 2):
        check_values(case, sample)


@pytest.mark.slow
@cases()
def test_elements_of_all_samples(case):
    for sample in samples_of(case)[2:]:
        check_values(case, sample)


@cases(lambda case: "data_shape" not in case.flags)
def test_nested(case):
    """vmap in vmap: one argument a batch of both, or all of them."""
    sample = samples_of(case, 1)[0]
    chosen = choices(case, sample)[-1]
    batch = Batch(case, sample, chosen)
    twice = [facula.stack([t, t.flip(0)]) for t in batch.stacked]
    try:
        results = vmap(lambda *outer: batch_again(batch, outer))(*twice)
    except RuntimeError as error:
        if not excused(case, error):
            raise
        return
    expected = batch.loop(case.call)
    assert_equal(results, [facula.stack([e, e.flip(0)]) for e in expected], case.samples.slack)


def batch_again(batch, tensors):
    def function(*inner):
        return tuple(tensors_in(batch.case.call(batch.sample_of(inner))))

    return vmap(function)(*tensors)


# --- what is written


def fits_itself(case, sample):
    """Whether the in-place form can hold the result."""
    result, target = case.call(sample), sample.args[0]
    return (
        isinstance(target, facula.Tensor)
        and facula.can_cast(result.dtype, target.dtype)
        and (result.shape == target.shape or "view" in case.flags)
    )


@cases(lambda case: "inplace" in case.flags)
def test_inplace(case):
    method = getattr(facula.Tensor, case.rows[0]["name"] + "_")

    def call(sample):
        target = sample.args[0].clone()
        result = case.call(replace(sample, args=(target, *sample.args[1:])), method)
        assert result is target
        return target

    for sample in samples_of(case, 3):
        if not fits_itself(case, sample):
            continue
        for chosen in choices(case, sample):
            batch = Batch(case, sample, chosen)
            if not chosen[0] and "view" not in case.flags:
                with pytest.raises(RuntimeError, match="inplace arithmetic"):
                    batch.vmap(call)
                continue
            assert_equal(batch.vmap(call), batch.loop(call), case.samples.slack)


@cases(lambda case: "out" in case.flags)
def test_out(case):
    def call(sample):
        expected = case.call(sample)
        several = isinstance(expected, tuple)
        out = tuple(t.clone() for t in (expected if several else [expected]))
        for t in out:
            t.zero_()
        case.call(sample, case.core, out=out if several else out[0])
        return out

    sample = samples_of(case, 1)[0]
    batch = Batch(case, sample, [True] * len(all_tensors(sample)))
    if "data_shape" not in case.flags:
        assert_equal(batch.vmap(call), batch.loop(case.call), case.samples.slack)


@cases(lambda case: "view" in case.flags)
def test_views_are_written_through(case):
    """What is written into a view of an element is seen in the element, and outside."""

    def call(sample):
        for view in tensors_in(case.call(sample)):
            if 0 not in view.stride():
                view.zero_()
        return sample.args[0].clone()

    for sample in samples_of(case):
        batch = Batch(case, sample, [True] + [False] * (len(all_tensors(sample)) - 1))
        apart = [t.clone() for t in batch.stacked]
        results = batch.vmap(call)
        assert_equal(results, batch.stacked)
        batch.stacked = apart
        assert_equal(results, batch.loop(call))


# --- gradients


def of_main_dtype(case, sample):
    return [t.dtype == main_dtype(case) for t in all_tensors(sample)]


def gradient_sample(case):
    """The first sample that has a gradient, None if there is none."""
    if "data_shape" in case.flags or not differentiable(case, main_dtype(case)):
        return None
    found = (s for s in samples_of(case) if s.grad and any(of_main_dtype(case, s)))
    return next(found, None)


def loss_of(case, sample, where):
    """A real number from the tensors of a sample that `where` marks."""

    def loss(*tensors):
        left = iter(tensors)
        mixed = [next(left) if c else t for t, c in zip(all_tensors(sample), where)]
        result = case.call(with_tensors(sample, mixed))
        terms = [t for t in tensors_in(result) if t.is_floating_point() or t.is_complex()]
        return sum((abs(t) ** 2).sum() for t in terms) if terms else None

    return loss


@cases(gradient_sample)
def test_gradient_of_each(case):
    """vmap of grad: the rules of the gradients' rows."""
    sample = gradient_sample(case)
    where = of_main_dtype(case, sample)
    plain = loss_of(case, sample, where)(*(t for t, c in zip(all_tensors(sample), where) if c))
    if plain is None:  # integers and bools, which have no gradient
        return
    batch = Batch(case, sample, where)
    each = grad(loss_of(case, sample, where), argnums=tuple(range(sum(where))))

    def call(sample):
        return each(*(t for t, c in zip(all_tensors(sample), where) if c))

    try:
        results = batch.vmap(call)
    except RuntimeError as error:
        if not excused(case, error):
            raise
        return
    assert_equal(results, batch.loop(call), 10 * case.samples.slack)


@cases(gradient_sample)
def test_gradient_through(case):
    """grad of vmap: what the rules call is recorded."""
    sample = gradient_sample(case)
    where = of_main_dtype(case, sample)
    plain = loss_of(case, sample, where)(*(t for t, c in zip(all_tensors(sample), where) if c))
    if plain is None:
        return
    batch = Batch(case, sample, where)
    loss = loss_of(case, sample, where)
    batch.stacked = [t.requires_grad_() for t in batch.stacked]
    try:
        total = vmap(loss)(*batch.stacked).sum()
    except RuntimeError as error:
        if not excused(case, error):
            raise
        return
    mine = facula.autograd.grad(total, batch.stacked, allow_unused=True)
    each = grad(loss, argnums=tuple(range(sum(where))))
    expected = batch.loop(
        lambda sample: each(*(t for t, c in zip(all_tensors(sample), where) if c))
    )
    mine = [facula.zeros_like(e) if m is None else m for m, e in zip(mine, expected)]
    assert_equal(mine, expected, 10 * case.samples.slack)


# --- random numbers


RANDOM = [case for case in CASES if "random" in case.flags]


def draws(case, sample, mode):
    """The first result for each element, all tensors of the sample being a batch."""
    batch = Batch(case, sample, [True] * len(all_tensors(sample)))

    def function(_, *tensors):
        return tensors_in(case.call(batch.sample_of(tensors)))[0]

    return vmap(function, randomness=mode)(facula.zeros(SIZE), *batch.stacked)


@pytest.mark.parametrize("case", RANDOM, ids=[case.name for case in RANDOM])
def test_random(case):
    dtype = facula.float32 if facula.float32 in case.dtypes else case.dtypes[-1]
    sample = case.samples(dtype)[0]
    plain = tensors_in(case.call(sample))[0]
    with pytest.raises(RuntimeError, match="randomness error mode"):
        draws(case, sample, "error")
    result = draws(case, sample, "different")
    assert (result.dtype, result.shape) == (plain.dtype, (SIZE, *plain.shape))
    if plain.numel() >= 8:
        assert not all(facula.equal(each, result[0]) for each in result)
    try:
        result = draws(case, sample, "same")
    except RuntimeError as error:
        assert "randomness='same' cannot draw" in str(error)
    else:
        assert (result.dtype, result.shape) == (plain.dtype, (SIZE, *plain.shape))


UNINITIALISED = [
    case
    for case in CASES
    if case.samples.random and "random" not in case.flags and samples_of(case, 1)
]


@pytest.mark.parametrize("case", UNINITIALISED, ids=[case.name for case in UNINITIALISED])
def test_uninitialised(case):
    """What holds no values yet has the shape that a loop gives."""
    for sample in samples_of(case):
        (plain,) = tensors_in(case.call(sample))
        (result,) = Batch(case, sample, [True] * len(all_tensors(sample))).vmap(case.call)
        assert (result.dtype, result.shape) == (plain.dtype, (SIZE, *plain.shape))


def test_draws_are_the_same_or_differ():
    dropout = facula.nn.functional.dropout

    def draw(x):
        new = facula.rand(9), facula.rand_like(x).mul_(2), x.clone().normal_()
        return *new, dropout(x), dropout(facula.ones(20))

    for drawn in vmap(draw, randomness="same")(facula.ones(3, 20)):
        assert all(facula.equal(each, drawn[0]) for each in drawn)
    for drawn in vmap(draw, randomness="different")(facula.ones(3, 20)):
        assert not facula.equal(drawn[0], drawn[1])


# --- an empty batch, masks


def test_empty_batch():
    x, number = facula.zeros(0, 4), facula.tensor([0, 1])
    for function, shape in (
        (lambda a: a.sum(), ()),
        (lambda a: a.view(-1, 2), (2, 2)),
        (lambda a: a[number], (2,)),
        (lambda a: a.view(4, 1) @ facula.ones(1, 2), (4, 2)),
    ):
        assert vmap(function)(x).shape == (0, *shape)


def test_masks_that_differ():
    """What needs no count of the true elements can be written by a mask of each element."""

    def put(a, mask):
        a = a.clone()
        a[mask] = 7.0
        return a

    x, mask = facula.arange(6.0).view(2, 3), facula.tensor([[1, 0, 1], [0, 1, 0]]).bool()
    assert facula.equal(vmap(put)(x, mask), facula.where(mask, 7.0, x))
    with pytest.raises(RuntimeError, match="dynamic shape"):
        vmap(lambda a, m: a[m])(x, mask)
