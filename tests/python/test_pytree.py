"""Trees of containers: facula.utils._pytree."""

import copy
import dataclasses
import enum
import pickle
import time
from collections import OrderedDict, defaultdict, deque, namedtuple

import facula
import pytest
from facula.utils import _pytree as pytree

Point = namedtuple("Point", "x y")


class Color(enum.Enum):
    RED = 1


TREES = [
    ([], 0),
    (None, 1),
    (5, 1),
    ((1, 2), 2),
    ([1, [2, (3,)]], 3),
    ({"b": 1, "a": {"c": [2, 3]}}, 3),
    (OrderedDict([("z", 1), ("a", (2,))]), 2),
    (defaultdict(list, {"k": 1, "j": [2]}), 2),
    (deque([1, (2, 3)], maxlen=4), 3),
    (Point(1, [2, Point(3, 4)]), 4),
    (facula.Size([3, 4]), 2),
    (tuple(range(40)), 40),
    (range(3), 1),
    ("text", 1),
]


@pytest.mark.parametrize("tree, count", TREES, ids=[type(tree).__name__ for tree, _ in TREES])
def test_round_trip(tree, count):
    leaves, spec = pytree.tree_flatten(tree)
    assert len(leaves) == spec.num_leaves == count
    again = pytree.tree_unflatten(leaves, spec)
    assert again == tree and type(again) is type(tree)
    assert pytree.tree_leaves(tree) == list(pytree.tree_iter(tree)) == leaves
    assert pytree.tree_structure(tree) == spec and hash(pytree.tree_structure(tree)) == hash(spec)
    assert pytree.tree_map(lambda x: x, tree) == tree
    assert spec.flatten_up_to(tree) == leaves
    assert [leaf for _, leaf in pytree.tree_flatten_with_path(tree)[0]] == leaves
    for path, leaf in pytree.tree_leaves_with_path(tree):
        assert pytree.key_get(tree, path) == leaf
    assert spec.num_nodes == 1 + sum(child.num_nodes for child in spec.children())
    assert pickle.loads(pickle.dumps(spec)) == spec == copy.deepcopy(spec)


def test_maxlen_and_factory_are_kept():
    assert pytree.tree_map(lambda x: x, deque([1], maxlen=4)).maxlen == 4
    assert pytree.tree_map(lambda x: x, defaultdict(list)).default_factory is list


def test_named_results_are_nodes():
    result = facula.max(facula.tensor([[1.0, 3.0], [5.0, 2.0]]), 0)
    leaves, spec = pytree.tree_flatten(result)
    assert len(leaves) == 2 and spec.type is type(result)
    again = spec.unflatten(leaves)
    assert type(again) is type(result) and again.values is result.values
    keys = [pytree.keystr(path) for path, _ in pytree.tree_leaves_with_path(result)]
    assert keys == [".values", ".indices"]
    assert len(pytree.tree_leaves(time.localtime())) == 1  # others are leaves


def test_kinds_of_tuples():
    result = facula.max(facula.ones(2, 2), 0)
    assert pytree.is_namedtuple(Point) and pytree.is_namedtuple(Point(1, 2))
    assert pytree.is_namedtuple_class(Point) and not pytree.is_namedtuple_class(tuple)
    assert pytree.is_namedtuple_instance(Point(1, 2)) and not pytree.is_namedtuple_instance(Point)
    for value in (result, time.localtime()):
        assert pytree.is_structseq(value) and pytree.is_structseq_class(type(value))
        assert pytree.is_structseq_instance(value) and not pytree.is_namedtuple(value)
    assert not pytree.is_structseq(Point(1, 2)) and not pytree.is_structseq((1,))


def test_order_of_a_dictionary_is_part_of_its_structure():
    assert pytree.tree_structure({"a": 1, "b": 2}) != pytree.tree_structure({"b": 1, "a": 2})
    assert pytree.tree_map(lambda a, b: a - b, {"a": 1, "b": 2}, {"b": 2, "a": 1}) == {
        "a": 0,
        "b": 0,
    }


def test_map_of_several_trees():
    add = pytree.tree_map(lambda a, b: (a, b), [1, (2,)], [3, ([4],)])
    assert add == [(1, 3), ((2, [4]),)]
    seen = []
    tree = [1, 2]
    assert pytree.tree_map_(lambda *args: seen.append(args), tree, [3, 4]) is tree
    assert seen == [(1, 3), (2, 4)]
    for other in ([1], (1, 2), 3, [1, 2, 3]):
        with pytest.raises(ValueError, match="mismatch"):
            pytree.tree_map(lambda a, b: a, [1, 2], other)
    with pytest.raises(ValueError, match="keys mismatch"):
        pytree.tree_map(lambda a, b: a, {"a": 1}, {"b": 1})


def test_is_leaf():
    def pair(x):
        return isinstance(x, tuple)

    assert pytree.tree_flatten([1, (2, 3)], is_leaf=pair)[0] == [1, (2, 3)]
    assert pytree.tree_leaves([1, [(2, 3)]], is_leaf=pair) == [1, (2, 3)]
    assert pytree.tree_map(str, [(1, 2), 3], is_leaf=pair) == ["(1, 2)", "3"]
    assert pytree.tree_is_leaf((1, 2), pair) and not pytree.tree_is_leaf((1, 2))
    assert pytree.tree_flatten((1, 2), is_leaf=pair) == ([(1, 2)], pytree.treespec_leaf())


def test_only_some_leaves():
    t = facula.ones(2)
    tree = [t, 1, (2.5, "a")]
    mapped = pytree.tree_map_only(facula.Tensor, lambda x: x + 1, tree)
    assert mapped[0].tolist() == [2.0, 2.0] and mapped[1:] == tree[1:]
    assert pytree.tree_map_only((int, float), lambda x: -x, tree[1:]) == [-1, (-2.5, "a")]
    assert pytree.tree_map_only(int | str, lambda x: 0, [1, "a", 2.0]) == [0, 0, 2.0]
    assert pytree.tree_map_only(lambda x: x == 1, lambda x: 7, [1, 2]) == [7, 2]
    assert pytree.map_only(int)(lambda x: x + 1)("a") == "a"
    with pytest.raises(TypeError):
        pytree.map_only(3)
    seen = []
    pytree.tree_map_only_(int, seen.append, [1, "a", {"k": 2}])
    assert seen == [1, 2]


def test_questions():
    assert pytree.tree_all(lambda x: x > 0, [1, (2,)]) and not pytree.tree_all(bool, [0])
    assert pytree.tree_any(lambda x: x > 1, [1, (2,)]) and not pytree.tree_any(bool, [0])
    assert pytree.tree_all_only(int, lambda x: x > 0, [1, "a"])
    assert not pytree.tree_any_only(int, lambda x: x > 1, [1, "a"])
    assert pytree.arg_tree_leaves(1, [2], k=(3,)) == [1, 2, 3]


def test_paths():
    tree = {"b": [1, (2,)], "p": Point(3, deque([4]))}
    pairs = pytree.tree_leaves_with_path(tree)
    texts = [pytree.keystr(path) for path, _ in pairs]
    assert texts == ["['b'][0]", "['b'][1][0]", "['p'].x", "['p'].y[0]"]
    assert pairs[2][0] == (pytree.MappingKey("p"), pytree.GetAttrKey("x"))
    assert repr(pairs[0][0]) == "(MappingKey(key='b'), SequenceKey(idx=0))"
    assert hash(pytree.SequenceKey(1)) == hash(pytree.SequenceKey(1))
    assert pytree.SequenceKey(1) != pytree.MappingKey(1)
    mapped = pytree.tree_map_with_path(lambda path, a, b: (len(path), a + b), [1, [2]], [3, [4]])
    assert mapped == [(1, 4), [(2, 6)]]


def test_wrong_leaves():
    spec = pytree.tree_structure([1, 2])
    with pytest.raises(ValueError, match="2 leaves, and 1"):
        spec.unflatten([1])
    with pytest.raises(TypeError):
        pytree.tree_unflatten([1], 3)
    assert spec.unflatten(iter([3, 4])) == [3, 4]


def test_specs():
    leaf = pytree.treespec_leaf()
    assert pytree.LeafSpec() is leaf and isinstance(leaf, pytree.LeafSpec)
    assert isinstance(pytree.tree_structure(1), pytree.LeafSpec)
    assert not isinstance(pytree.tree_structure([1]), pytree.LeafSpec)
    assert leaf.is_leaf() and leaf.num_children == 0 and leaf.num_nodes == leaf.num_leaves == 1
    assert pytree.treespec_tuple([leaf, leaf]) == pytree.tree_structure((1, 2))
    assert pytree.treespec_dict({"a": leaf}, b=leaf) == pytree.tree_structure({"a": 1, "b": 2})
    spec = pytree.TreeSpec(list, None, [leaf, pytree.TreeSpec(tuple, None, [leaf])])
    assert spec == pytree.tree_structure([1, (2,)]) and spec.child(1).type is tuple
    assert spec.children() == spec.children_specs and spec.num_children == 2
    assert repr(spec) == "TreeSpec(list, None, [*,\n  TreeSpec(tuple, None, [*])])"
    assert pytree.treespec_pprint(spec) == "[*, (*,)]"
    for make, wrong in ((pytree.treespec_tuple, [3]), (pytree.treespec_dict, {"a": 3})):
        with pytest.raises(ValueError):
            make(wrong)


def test_broadcast():
    def broadcast(prefix, tree):
        return pytree._broadcast_to_and_flatten(prefix, pytree.tree_structure(tree))

    assert broadcast(0, [1, [2, 3]]) == [0, 0, 0]
    assert broadcast((0, None), (1, [2, 3])) == [0, None, None]
    assert broadcast({"a": 0}, {"a": (1, 2)}) == [0, 0]
    assert broadcast((0, [1]), (1, [2, 3])) is None
    assert broadcast([0, 1], (1, 2)) is None


def test_dumps():
    tree = {
        "l": [1, (2,)],
        "o": OrderedDict(z=1),
        "d": defaultdict(list, {"k": 1}),
        "q": deque([1], maxlen=3),
        "s": facula.Size([2]),
    }
    spec = pytree.tree_structure(tree)
    text = pytree.treespec_dumps(spec)
    assert text.startswith('[1, {"type": "builtins.dict"')
    assert pytree.treespec_loads(text) == spec
    with pytest.raises(ValueError, match="protocol"):
        pytree.treespec_dumps(spec, protocol=7)
    with pytest.raises(ValueError, match="protocol"):
        pytree.treespec_loads("[7, {}]")
    with pytest.raises(TypeError):
        pytree.treespec_dumps(3)


def test_dumps_of_named_tuples():
    Named = namedtuple("Named", "x")
    spec = pytree.tree_structure(Named(1))
    with pytest.raises(NotImplementedError, match="_register_namedtuple"):
        pytree.treespec_dumps(spec)
    pytree._register_namedtuple(Named, serialized_type_name="tests.Named")
    assert pytree.treespec_loads(pytree.treespec_dumps(spec)) == spec


class Pair:
    def __init__(self, x, y):
        self.x, self.y = x, y


def test_register_node():
    def flatten(pair):
        return [pair.x], pair.y

    with pytest.raises(ValueError, match="together"):
        pytree.register_pytree_node(Pair, flatten, None, to_dumpable_context=str)
    pytree.register_pytree_node(
        Pair, flatten, lambda children, y: Pair(*children, y), serialized_type_name="tests.Pair"
    )
    try:
        with pytest.raises(ValueError, match="already"):
            pytree.register_pytree_node(Pair, flatten, None)
        doubled = pytree.tree_map(lambda x: 2 * x, [Pair(3, "y")])
        assert (doubled[0].x, doubled[0].y) == (6, "y")
        with pytest.raises(ValueError, match="context"):
            pytree.tree_structure(Pair(1, "a")).flatten_up_to(Pair(1, "b"))
        with pytest.raises(ValueError, match="flatten_with_keys_fn"):
            pytree.tree_leaves_with_path(Pair(1, 2))
        spec = pytree.tree_structure(Pair(1, Color.RED))
        assert pytree.treespec_loads(pytree.treespec_dumps(spec)).context is Color.RED
        with pytest.raises(TypeError, match="to_dumpable_context"):
            pytree.treespec_dumps(pytree.tree_structure(Pair(1, object())))
    finally:
        pytree._deregister_pytree_node(Pair)
    assert pytree.tree_is_leaf(Pair(1, 2))
    with pytest.raises(ValueError, match="already"):
        pytree.register_pytree_node(list, flatten, None)


def test_register_dataclass():
    @dataclasses.dataclass
    class Both:
        a: int
        b: object = None
        c: int = dataclasses.field(default=7, init=False)

    assert pytree.tree_is_leaf(Both(1))
    with pytest.raises(ValueError, match="drop_field_names"):
        pytree.register_dataclass(Both, field_names=["a"])
    with pytest.raises(ValueError, match="init"):
        pytree.register_dataclass(Both, field_names=["a", "b", "c"])
    pytree.register_dataclass(Both)
    leaves, spec = pytree.tree_flatten(Both(1))
    assert leaves == [1] and spec.unflatten([5]) == Both(5)
    assert pytree.tree_leaves(Both(1, [2, 3])) == [1, 2, 3]
    paths = pytree.tree_leaves_with_path(Both(1, [2]))
    assert pytree.keystr(paths[1][0]) == ".b[0]"
    with pytest.raises(ValueError, match="dataclass"):
        pytree.register_dataclass(int)


def test_register_constant():
    @dataclasses.dataclass(frozen=True)
    class Fixed:
        value: int

    class Plain:
        pass

    with pytest.raises(TypeError, match="__eq__"):
        pytree.register_constant(Plain)
    pytree.register_constant(Fixed)
    pytree.register_constant(Fixed)
    leaves, spec = pytree.tree_flatten([Fixed(3), 2])
    assert leaves == [2] and spec.unflatten([5]) == [Fixed(3), 5]
    assert spec != pytree.tree_structure([Fixed(4), 2])
    assert pytree.is_constant_class(Fixed) and not pytree.is_constant_class(Plain)
    assert pytree._retrieve_constant(spec.child(0)) == Fixed(3)


def test_enum_encoder():
    import json

    text = json.dumps({"c": Color.RED}, cls=pytree.EnumEncoder)
    assert json.loads(text, object_hook=pytree.enum_object_hook) == {"c": Color.RED}
