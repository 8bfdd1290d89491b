"""Calling operators: how arguments are given, aliases, out=, errors, operators of Python."""

import inspect

import facula
import numpy as np
import pytest

A = facula.tensor([[1.0, 2.0], [3.0, 4.0]])


class Index:
    def __index__(self):
        return 1


@pytest.mark.parametrize(
    "call",
    [
        lambda: A.sum(1, True),
        lambda: A.sum(dim=1, keepdim=True),
        lambda: A.sum(axis=1, keepdims=True),
        lambda: A.sum((1,), keepdim=True),
        lambda: A.sum([1], True),
        lambda: A.sum(facula.tensor(1), True),
        lambda: A.sum(np.int64(1), True),
        lambda: A.sum(Index(), np.bool_(True)),
        lambda: facula.sum(A, 1, True),
        lambda: facula.sum(input=A, dim=1, keepdim=True),
        lambda: facula.sum(x=A, **{"".join(["di", "m"]): 1}, keepdim=True),
        lambda: facula.Tensor.sum(A, 1, True),
    ],
)
def test_ways_to_give_arguments(call):
    assert call().tolist() == [[3.0], [7.0]]


def test_sizes_singly_or_as_a_list():
    for made in (A.view(4, 1), A.view((4, 1)), A.view([4, 1]), A.view(facula.Size([4, 1]))):
        assert made.shape == (4, 1)
    assert A.permute(1, 0).shape == A.permute((1, 0)).shape
    assert facula.zeros(2, 3).shape == facula.zeros((2, 3)).shape == facula.zeros(size=(2, 3)).shape
    assert A.new_zeros(2, 3).shape == (2, 3)
    assert A.view(facula.int32).dtype is facula.int32


def test_out():
    out = facula.empty(2, 2)
    assert facula.add(A, A, out=out) is out
    assert out.tolist() == (A + A).tolist()
    values, indices = facula.empty(0), facula.empty(0, dtype=facula.int64)
    result = facula.max(A, 1, out=(values, indices))
    assert result.values is values
    assert result.indices is indices
    assert facula.add(A, A, out=None).tolist() == out.tolist()
    with pytest.raises(TypeError):
        A.add(A, out=out)


def test_factories():
    assert facula.zeros(2, requires_grad=True).requires_grad
    assert (
        facula.zeros(2, pin_memory=False, layout=facula.strided, dtype=float).dtype
        is facula.float64
    )
    with facula.device("meta"):
        assert facula.ones(2).is_meta
    assert not facula.ones(2).is_meta


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: facula.mm(A, 3),
            r"mm\(\): argument 'mat2' \(position 2\) must be Tensor, not int",
        ),
        (lambda: facula.add(A, "x"), r"argument 'other' \(position 2\) must be Tensor, not str"),
        (lambda: A.unsqueeze(1.0), r"argument 'dim' \(position 1\) must be int, not float"),
        (
            lambda: facula.zeros(2, dtype="float32"),
            r"argument 'dtype' must be facula.dtype, not str",
        ),
        (lambda: A.sum(True), r"got \(bool\), but expected one of"),
        (lambda: A.sum(what=1), r"got \(what=int\), but expected one of"),
        (lambda: facula.mm(A), r"got \(Tensor\), but expected \(Tensor input, Tensor mat2"),
        (lambda: facula.mm(A, A, mat2=A), "multiple values for argument 'mat2'"),
        (lambda: facula.mm(A, A, what=A), "unexpected keyword argument 'what'"),
        (lambda: facula.mm(A, A, A), r"got \(Tensor, Tensor, Tensor\)"),
        (lambda: facula.Tensor.size(3), "method of Tensor, not of int"),
        (lambda: A.item, None),
    ],
)
def test_type_errors_say_what_does_not_fit(call, message):
    if message is None:
        call()
        return
    with pytest.raises(TypeError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: A.item(), RuntimeError),
        (lambda: bool(A), RuntimeError),
        (lambda: A.size(2), IndexError),
        (lambda: len(facula.tensor(1)), TypeError),
        (lambda: iter(facula.tensor(1)), TypeError),
        (lambda: [1, 2][A], TypeError),
        (lambda: facula.ones(2, device="meta").item(), RuntimeError),
        (lambda: A + "x", TypeError),
        (lambda: A < "x", TypeError),
        (lambda: A @ 2, TypeError),
        (lambda: "x" in A, RuntimeError),
        (lambda: A.to(1.5), TypeError),
        (
            lambda: A.requires_grad_(True) and facula.ones(2, dtype=facula.int64).requires_grad_(),
            RuntimeError,
        ),
        (lambda: facula.device("nowhere"), RuntimeError),
        (lambda: facula.add(A, 2**70), OverflowError),
    ],
)
def test_error_classes(call, error):
    with pytest.raises(error):
        call()
    A.requires_grad_(False)


def test_operators_of_python():
    assert (1 - A).tolist() == [[0.0, -1.0], [-2.0, -3.0]]
    assert (2**A).tolist() == [[2.0, 4.0], [8.0, 16.0]]
    assert (A @ A).tolist() == [[7.0, 10.0], [15.0, 22.0]]
    assert (7 // A).tolist() == [[7.0, 3.0], [2.0, 1.0]]
    assert (A + np.ones((2, 2), "float32")).tolist() == (A + 1).tolist()
    assert A != "x"
    assert A is not None
    assert 2 in A
    assert 9 not in A
    total = A.sum()
    assert (int(total), float(total), complex(total), f"{total:.1f}") == (10, 10.0, 10 + 0j, "10.0")
    t = kept = A.clone()
    t += 1
    t *= 2
    assert t is kept
    assert t.tolist() == [[4.0, 6.0], [8.0, 10.0]]
    assert hash(A) == hash(A)
    assert [1, 2, 3][facula.tensor(1)] == 2


def test_conversion_gives_the_tensor_itself_where_nothing_changes():
    assert A.to(facula.float32) is A
    assert A.to("cpu") is A
    assert A.float() is A
    assert A.to(A) is A
    assert A.to(facula.float32, copy=True) is not A
    assert A.to("cpu", facula.float64).dtype is facula.float64
    assert A.to(dtype=facula.int32).type() == "facula.IntTensor"
    assert A.type("torch.DoubleTensor").dtype is facula.float64


def test_operator_objects():
    assert repr(facula.relu) == "<built-in method relu of facula>"
    assert facula.relu.__name__ == "relu"
    assert facula.relu.__module__ == "facula"
    assert "Tensor input" in facula.relu.__doc__
    assert facula.Tensor.relu.__qualname__ == "Tensor.relu"
    assert inspect.getdoc(facula.add)

    class Holder:
        act = facula.relu  # functions do not bind

    assert Holder().act(A).tolist() == A.tolist()


def test_named_results():
    result = A.max(1)
    assert result.values.tolist() == [2.0, 4.0]
    assert result[1].tolist() == [1, 1]
    assert repr(result).startswith("facula.return_types.max(\nvalues=tensor(")
    assert isinstance(A.split(1), tuple)


def test_the_old_constructor():
    assert facula.Tensor().shape == (0,)
    assert facula.Tensor(2, 3).shape == (2, 3)
    assert facula.Tensor(facula.Size([2])).shape == (2,)
    assert facula.Tensor([1, 2]).dtype is facula.float32
    assert facula.Tensor(A).data_ptr() == A.data_ptr()
    assert A.new_tensor([1, 2]).dtype is facula.float32
    assert A.new(2).shape == (2,)
    for wrong in (1.5, "x", facula.tensor(1)):
        with pytest.raises(TypeError):
            facula.Tensor(wrong)


def test_size():
    size = facula.Size([2, 3])
    assert repr(size) == "facula.Size([2, 3])"
    assert type(size + (1,)) is type((1,) + size) is type(size[:1]) is type(size * 2) is facula.Size
    assert size.numel() == 6
    with pytest.raises(TypeError):
        facula.Size([1.5])
    with pytest.raises(TypeError):
        size + [1]


def test_dtypes_and_devices():
    assert facula.float16.itemsize == 2
    assert facula.float32.to_complex() is facula.complex64
    assert facula.promote_types(facula.int8, facula.float16) is facula.float16
    assert facula.result_type(A, 1j) is facula.complex64
    assert facula.device("cuda", 1) == facula.device("cuda:1") != facula.device("cuda")
    assert repr(facula.device("cuda", 1)) == "device(type='cuda', index=1)"
    assert str(facula.device("cpu")) == "cpu"


def test_an_argument_is_not_resized_as_out():
    x, empty, full = facula.arange(10.0), facula.zeros(0), facula.ones(4, 6)
    with pytest.raises(RuntimeError, match="is an argument too"):
        facula.kthvalue(x, 5, out=(x, facula.tensor(0)))
    for out in (empty, full):
        with pytest.raises(RuntimeError, match="is an argument too"):
            facula.cat((empty, full, full), out=out)
    assert x.shape == (10,) and empty.shape == (0,) and full.shape == (4, 6)


def test_sizes_whose_sum_overflows_are_refused():
    t = facula.empty(2**62, 0, device="meta")
    with pytest.raises(RuntimeError, match="split sizes sum to"):
        t.split([2**62] * 5)
