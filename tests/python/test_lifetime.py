"""Tensor objects: identity, attributes that outlive their reference, subclasses, cycles, copies."""

import copy
import gc
import pickle
import weakref

import facula
import pytest


class Tagged(facula.Tensor):
    """A subclass with a slot, and a count of the instances that died."""

    __slots__ = ("tag",)
    died = 0

    def __del__(self):
        Tagged.died += 1


def leaf_with_gradient():
    leaf = facula.tensor([1.0, 2.0], requires_grad=True)
    (leaf * leaf).sum().backward()
    return leaf


def test_one_object_a_tensor():
    leaf = leaf_with_gradient()
    assert leaf.grad is leaf.grad
    product = leaf * leaf
    assert product.grad_fn is product.grad_fn
    assert leaf.untyped_storage() is leaf[0].untyped_storage()


def test_attributes_survive_while_the_core_holds_the_tensor():
    leaf = leaf_with_gradient()
    for value in range(3):  # the ownership turns round each time
        leaf.grad.note = value
        gc.collect()
        assert leaf.grad.note == value


def test_weak_references_survive_too():
    leaf = leaf_with_gradient()
    reference = weakref.ref(leaf.grad)
    gc.collect()
    assert reference() is leaf.grad
    leaf.grad = None
    assert reference() is None


def test_a_subclass_survives_and_dies_once():
    Tagged.died = 0
    leaf = facula.zeros(2, requires_grad=True)
    gradient = facula.ones(2).as_subclass(Tagged)
    gradient.tag, gradient.note = [1], "kept"
    leaf.grad = gradient
    del gradient
    gc.collect()
    assert type(leaf.grad) is Tagged
    assert (leaf.grad.tag, leaf.grad.note, Tagged.died) == ([1], "kept", 0)
    leaf.grad = None
    assert Tagged.died == 1


def test_a_dying_subclass_instance_can_be_read():
    read = []

    class Last(facula.Tensor):
        def __del__(self):
            read.append(self.tolist())

    leaf = facula.zeros(2, requires_grad=True)
    leaf.grad = facula.ones(2).as_subclass(Last)
    leaf.grad = None
    assert read == [[1.0, 1.0]]


@pytest.mark.parametrize("make_cycle", ["attribute", "leaf hook", "hook", "node hook", "post hook"])
def test_cycles_are_collected(make_cycle):
    t = facula.ones(2, requires_grad="hook" in make_cycle)
    if make_cycle in ("hook", "node hook"):
        t = t * 2
    if make_cycle == "attribute":
        t.itself = t
    elif make_cycle == "node hook":
        t.grad_fn.register_hook(lambda inputs, outputs, t=t: None)
    elif make_cycle == "post hook":
        t.register_post_accumulate_grad_hook(lambda leaf, t=t: None)
    else:
        t.register_hook(lambda grad, t=t: None)
    reference = weakref.ref(t)
    del t
    gc.collect()
    assert reference() is None


def test_a_long_chain_of_attributes_does_not_overflow_the_stack():
    first = facula.ones(1)
    for _ in range(100_000):
        t = facula.ones(1)
        t.next, first = first, t
    del first, t


def test_data_keeps_the_object_and_changes_the_tensor():
    t = facula.zeros(2)
    t.data = facula.arange(3)
    assert t.dtype is facula.int64
    assert t.tolist() == [0, 1, 2]
    assert t.data.data_ptr() == t.data_ptr()


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_copies_share_what_the_originals_share(duplicate):
    whole = facula.arange(6.0).reshape(2, 3)
    whole2, row2 = duplicate((whole, whole[1]))
    row2.zero_()
    assert whole2.tolist() == [[0.0, 1.0, 2.0], [0.0, 0.0, 0.0]]
    assert whole.tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_copies_keep_layout_and_flags(duplicate):
    for t in (
        facula.arange(6).reshape(2, 3).T,
        facula.tensor([1 + 2j]).conj(),
        facula.ones(3, requires_grad=True),
        facula.ones(2, 3, device="meta"),
        facula.zeros(0),
        facula.tensor(1.5, dtype=facula.bfloat16),
    ):
        made = duplicate(t)
        assert (made.shape, made.stride(), made.dtype, made.device, made.requires_grad) == (
            t.shape, t.stride(), t.dtype, t.device, t.requires_grad,
        )  # fmt: skip
        assert made.is_meta or made.tolist() == t.tolist()


def test_deepcopy_of_a_subclass():
    t = facula.arange(3.0).as_subclass(Tagged)
    t.tag, t.note = [1], {"a": 1}
    made = copy.deepcopy(t)
    assert type(made) is Tagged
    assert (made.tag, made.note) == ([1], {"a": 1})
    assert made.tag is not t.tag


def test_deepcopy_of_gradients_and_of_what_is_no_leaf():
    leaf = leaf_with_gradient()
    assert copy.deepcopy(leaf).grad.tolist() == leaf.grad.tolist()
    with pytest.raises(RuntimeError, match="graph leaves"):
        copy.deepcopy(leaf * 2)


@pytest.mark.parametrize(
    "value",
    [facula.float32, facula.strided, facula.channels_last, facula.relu, facula.Tensor.relu],
    ids=repr,
)
def test_singletons_are_pickled_by_name(value):
    assert pickle.loads(pickle.dumps(value)) is value
    assert copy.deepcopy(value) is value


@pytest.mark.parametrize(
    "value", [facula.device("cpu"), facula.device("cuda", 1), facula.Size([2, 3])], ids=repr
)
def test_values_are_pickled_by_value(value):
    made = pickle.loads(pickle.dumps(value))
    assert made == value
    assert type(made) is type(value)


def test_a_generator_is_pickled_with_its_state():
    generator = facula.Generator().manual_seed(5)
    facula.rand(3, generator=generator)
    other = pickle.loads(pickle.dumps(generator))
    assert facula.rand(3, generator=other).tolist() == facula.rand(3, generator=generator).tolist()


def test_a_storage_is_a_buffer_that_cannot_move_while_it_is_used():
    t = facula.zeros(4, dtype=facula.uint8)
    storage = t.untyped_storage()
    view = memoryview(storage)
    view[1] = 7
    assert t.tolist() == [0, 7, 0, 0]
    assert storage[1] == 7
    with pytest.raises(RuntimeError):
        storage.resize_(1 << 20)
    view.release()
    storage.resize_(8)
    assert storage.nbytes() == 8
