"""t[...] and t[...] = x: against NumPy for whatever keys hypothesis finds, and against the peer."""

import itertools

import facula
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

SHAPE = (3, 4, 2)


def arrange(shape=SHAPE, dtype="float32"):
    array = np.arange(np.prod(shape), dtype=dtype).reshape(shape)
    return array, facula.from_numpy(array.copy())


def same(t, array):
    assert tuple(t.shape) == np.shape(array)
    np.testing.assert_array_equal(t.numpy(), array)


# --- basic ----


def items(size):
    bound = st.none() | st.integers(-size - 2, size + 2)
    steps = st.none() | st.sampled_from([1, 2, 3, -1, -2])
    return st.integers(-size, size - 1) | st.builds(slice, bound, bound, steps)


@st.composite
def basic_keys(draw, shape=SHAPE):
    """A tuple of ints, slices, Nones and perhaps an Ellipsis for a tensor of this shape."""
    count = draw(st.integers(0, len(shape)))
    key = [draw(items(n)) for n in shape[:count]]
    if draw(st.booleans()):
        at = draw(st.integers(0, count))
        key[at:] = [draw(items(n)) for n in shape[len(shape) - (count - at) :]]
        key.insert(at, ...)
    for _ in range(draw(st.integers(0, 2))):
        key.insert(draw(st.integers(0, len(key))), None)
    return tuple(key)


@given(basic_keys())
@settings(max_examples=300, deadline=None)
def test_basic_views(key):
    array, t = arrange()
    same(t[key], array[key])
    if t[key].numel():
        assert t[key].untyped_storage().data_ptr() == t.untyped_storage().data_ptr()


@given(basic_keys())
@settings(max_examples=200, deadline=None)
def test_basic_assignment(key):
    array, t = arrange()
    array[key] = -1
    t[key] = -1
    same(t, array)
    values = np.arange(array[key].size, dtype="float32").reshape(array[key].shape)
    array[key] = values
    t[key] = facula.from_numpy(values)
    same(t, array)


@given(basic_keys())
@settings(max_examples=100, deadline=None)
def test_basic_gradient(key):
    array, t = arrange()
    t.requires_grad_()
    (t[key] * 2).sum().backward()
    expected = np.zeros_like(array)
    expected[key] = 2
    same(t.grad, expected)


def test_views_of_views():
    array, t = arrange((4, 6))
    same(t.t()[1:, ::-1][::2], array.T[1:, ::-1][::2])
    same(t[::-1, ::-2].contiguous(), array[::-1, ::-2])


# --- advanced ----

ADVANCED = [
    [0, 2],
    [[0, 1, 2]],
    np.array([2, 0]),
    np.array([[2, 0], [1, 1]], dtype="int32"),
    ([0, 1], [1, 2]),
    (slice(None), [0, 3, 1]),
    ([0, 2], slice(None), [1, 0]),
    (slice(1), [0, 1], [1, 1]),
    ([[0], [1]], [0, 2, 3]),
    (None, [0, 1], None),
    (..., [1, 0]),
    np.arange(24).reshape(SHAPE) % 3 == 0,
    np.arange(12).reshape(3, 4) % 5 == 0,
    (slice(None), np.array([True, False, True, True])),
    (np.array([True, False, True]), [1, 2]),
    [True, False, True],
    True,
    False,
    (0, True),
    (..., None, [0]),
    np.array([], dtype="int64"),
    np.int64(1),
    np.array(1),
    (slice(2, None, -1), [-1, -4]),
    range(2),
]


def as_tensors(key):
    """The same key with tensors in place of arrays."""
    if isinstance(key, tuple):
        return tuple(as_tensors(item) for item in key)
    return facula.from_numpy(key) if isinstance(key, np.ndarray) else key


def as_numpy(key):
    """The key as NumPy reads it: a list of lists is a tuple of them here, as in the peer."""
    if isinstance(key, list) and isinstance(key[0], list):
        return tuple(key)
    return list(key) if isinstance(key, range) else key


@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence")
@pytest.mark.parametrize("key", ADVANCED, ids=repr)
def test_advanced(key):
    array, t = arrange()
    expected = array[as_numpy(key)]
    same(t[key], expected)
    same(t[as_tensors(key)], expected)


@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence")
@pytest.mark.parametrize("key", ADVANCED, ids=repr)
def test_advanced_assignment(key):
    array, t = arrange()
    place = as_numpy(key)
    array[place] = 7
    t[key] = 7
    same(t, array)
    values = np.arange(array[place].size, dtype="float32").reshape(array[place].shape)
    array[place] = values
    t[key] = values
    same(t, array)
    if values.ndim:
        array[place] = values[..., :1]
        t[key] = facula.from_numpy(values[..., :1].copy())[None]
        same(t, array)


@given(st.lists(st.integers(-3, 2), min_size=1, max_size=6), st.integers(0, 2))
@settings(max_examples=50, deadline=None)
def test_gradient_of_repeated_indices(rows, dim):
    rows = [min(row, SHAPE[dim] - 1) if row >= 0 else max(row, -SHAPE[dim]) for row in rows]
    array, t = arrange()
    t.requires_grad_()
    key = (slice(None),) * dim + (rows,)
    t[key].sum().backward()
    expected = np.zeros_like(array)
    np.add.at(expected, key, 1)
    same(t.grad, expected)


def test_gradient_of_assignment():
    x = facula.ones(3, 4, requires_grad=True)
    values = facula.ones(4, requires_grad=True)
    y = x * 1
    y[1] = values
    y[:, 0] = 5
    y[facula.tensor([2, 2]), facula.tensor([1, 2])] = values[:2] * 3
    (y * y).sum().backward()
    grad = np.full((3, 4), 2.0)
    grad[1], grad[:, 0], grad[2, 1:3] = 0, 0, 0
    same(x.grad, grad)
    same(values.grad, [18, 18 + 2, 2, 2])


def test_large_index_runs_in_parallel():
    rng = np.random.default_rng(0)
    array = rng.random((2000, 70))
    at = rng.integers(0, 2000, 5000)
    t = facula.from_numpy(array.copy())
    same(t[at], array[at])
    same(t.t()[:, at], array.T[:, at])
    expected = array.copy()
    np.add.at(expected, at, 1.0)
    t.index_put_((facula.from_numpy(at),), facula.tensor(1.0, dtype=facula.float64), True)
    np.testing.assert_allclose(t.numpy(), expected)
    mask = array > 0.5
    same(facula.from_numpy(array)[mask], array[mask])


# --- errors ----


@pytest.mark.parametrize(
    ("key", "error", "text"),
    [
        (5, IndexError, "index 5 is out of bounds for dimension 0 with size 3"),
        ((0, -5), IndexError, "index -5 is out of bounds for dimension 1 with size 4"),
        ((0, 0, 0, 0), IndexError, "too many indices for tensor of dimension 3"),
        ([0, 3], IndexError, "index 3 is out of bounds for dimension 0"),
        ((..., ...), IndexError, "single ellipsis"),
        (1.5, IndexError, "got float"),
        ({1}, IndexError, "got set"),
        ([0.5], IndexError, "float32"),
        (slice(None, None, 0), ValueError, "slice step cannot be zero"),
        (slice(0, 2.5), TypeError, "slice indices"),
        (([0, 1], [0, 1, 2]), IndexError, r"shape mismatch.*\[2\], \[3\]"),
        ([True, False], IndexError, r"mask \[2\] at index 0"),
        (2**80, IndexError, "64 bits"),
        ("a", IndexError, "got str"),
    ],
)
def test_errors(key, error, text):
    _, t = arrange()
    with pytest.raises(error, match=text):
        t[key]
    with pytest.raises(error, match=text):
        t[key] = 0


def test_errors_of_assignment():
    _, t = arrange()
    with pytest.raises(TypeError, match="can't assign a str"):
        t[0] = "a"
    with pytest.raises(RuntimeError, match="shape mismatch"):
        t[[0]] = facula.zeros(5)
    with pytest.raises(RuntimeError):
        t[0] = facula.zeros(5)
    with pytest.raises(RuntimeError, match="complex"):
        t[[0]] = 1j
    with pytest.raises(TypeError, match="cannot be deleted"):
        del t[0]
    with pytest.raises(IndexError, match="0-dim"):
        facula.tensor(1.0)[0]
    with pytest.raises(TypeError, match="0-d"):
        len(facula.tensor(1.0))
    same(t, arrange()[0])


def test_out_of_range_changes_nothing():
    array, t = arrange()
    for write in (
        lambda: t.index_add_(0, facula.tensor([0, 9]), facula.ones(2, 4, 2)),
        lambda: t.scatter_(0, facula.full((1, 1, 1), 9), 1.0),
        lambda: t.index_put_((facula.tensor([0, 9]),), facula.tensor(1.0)),
        lambda: t.put_(facula.tensor([0, 99]), facula.ones(2)),
        lambda: t.masked_scatter_(t >= 0, facula.ones(3)),
    ):
        with pytest.raises((IndexError, RuntimeError)):
            write()
        same(t, array)


def test_uint8_masks_are_deprecated():
    array, t = arrange()
    with pytest.warns(UserWarning, match="uint8"):
        same(t[facula.tensor([1, 0, 1], dtype=facula.uint8)], array[[0, 2]])


# --- the peer ----


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")
def test_mixtures_as_the_peer():
    torch = pytest.importorskip("torch")
    _, t = arrange()
    p = torch.arange(24.0).reshape(SHAPE)
    parts = [0, slice(1, None), None, [0, 1], True, [[0], [1]]]
    for key in itertools.chain(
        itertools.product(parts, repeat=2), itertools.product(parts, repeat=3), [(..., *parts[:2])]
    ):
        try:
            expected = p[key]
        except (IndexError, RuntimeError) as error:
            with pytest.raises(type(error)):
                t[key]
            continue
        same(t[key], expected.numpy())


@pytest.mark.peer
def test_names_of_nodes_as_the_peer():
    pytest.importorskip("torch")
    t = facula.zeros(3, 4, requires_grad=True)
    names = [t[key].grad_fn.name() for key in (1, slice(1, 3), (slice(None), 2), None)]
    assert names == ["SelectBackward0", "SliceBackward0", "SelectBackward0", "UnsqueezeBackward0"]
