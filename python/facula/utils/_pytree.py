"""Trees of Python containers: their leaves as a list, and a TreeSpec that puts them back.

A node is a container of a registered class: list, tuple, dict, OrderedDict, defaultdict, deque,
named tuples, the named results of operators, Size, and what `register_pytree_node` adds. Anything
else is a leaf, None as well. Dictionaries keep their order. Function transforms take their
arguments apart at every call, so the walks here are plain recursion, one call a node and none a
leaf, and the structure of a flat tuple or list is made once for each length.
"""

import sys
from collections import OrderedDict, defaultdict, deque, namedtuple
from itertools import islice
from types import UnionType

from .._C import Size

PyTree = Context = DumpableContext = KeyEntry = object  # for annotations
KeyPath = tuple

# --- the registry

NodeDef = namedtuple("NodeDef", "type flatten_fn unflatten_fn flatten_with_keys_fn")
_Serialization = namedtuple("_Serialization", "name to_dumpable from_dumpable")

SUPPORTED_NODES = {}  # class -> NodeDef; named tuples stand under the function `namedtuple`
SUPPORTED_SERIALIZED_TYPES = {}  # class -> _Serialization
SERIALIZED_TYPE_TO_PYTHON_TYPE = {}
CONSTANT_NODES = set()
STANDARD_DICT_TYPES = frozenset({dict, OrderedDict, defaultdict})
BUILTIN_TYPES = frozenset({tuple, list, dict, namedtuple, OrderedDict, defaultdict, deque})
DEFAULT_TREESPEC_SERIALIZATION_PROTOCOL = 1

_find = SUPPORTED_NODES.get


def _add_node(cls, flatten, unflatten, with_keys, name=None, to_dumpable=None, from_dumpable=None):
    SUPPORTED_NODES[cls] = NodeDef(cls, flatten, unflatten, with_keys)
    SUPPORTED_SERIALIZED_TYPES[cls] = _Serialization(name, to_dumpable, from_dumpable)
    if name is not None:
        SERIALIZED_TYPE_TO_PYTHON_TYPE[name] = cls


def register_pytree_node(
    cls,
    flatten_fn,
    unflatten_fn,
    *,
    serialized_type_name=None,
    to_dumpable_context=None,
    from_dumpable_context=None,
    flatten_with_keys_fn=None,
):
    """Makes a class a kind of node.

    `flatten_fn(node)` returns (children, context) and `unflatten_fn(children, context)` a node;
    contexts compare equal where the structure is. `flatten_with_keys_fn` returns pairs of a key and
    a child instead of children; the name and the functions of the context serve `treespec_dumps`.
    """
    if cls in SUPPORTED_NODES:
        raise ValueError(f"{cls} is already registered as pytree node.")
    if (to_dumpable_context is None) != (from_dumpable_context is None):
        raise ValueError(
            f"{cls}: to_dumpable_context and from_dumpable_context are given together or not at all"
        )
    _add_node(
        cls,
        flatten_fn,
        unflatten_fn,
        flatten_with_keys_fn,
        serialized_type_name,
        to_dumpable_context,
        from_dumpable_context,
    )


_private_register_pytree_node = register_pytree_node


def _register_pytree_node(
    cls, flatten_fn, unflatten_fn, to_str_fn=None, maybe_from_str_fn=None, **more
):
    register_pytree_node(cls, flatten_fn, unflatten_fn, **more)


def _deregister_pytree_node(cls):
    del SUPPORTED_NODES[cls]
    name = SUPPORTED_SERIALIZED_TYPES.pop(cls).name
    SERIALIZED_TYPE_TO_PYTHON_TYPE.pop(name, None)
    CONSTANT_NODES.discard(cls)


def _register_namedtuple(cls, *, serialized_type_name):
    """Gives a class of named tuples a name in serialized trees."""
    SUPPORTED_SERIALIZED_TYPES[cls] = _Serialization(serialized_type_name, None, None)
    SERIALIZED_TYPE_TO_PYTHON_TYPE[serialized_type_name] = cls


def register_dataclass(cls, *, field_names=None, drop_field_names=None, serialized_type_name=None):
    """Makes a dataclass a kind of node whose children are its fields, without those that are None.

    For a class that is no dataclass `field_names` lists the arguments of its constructor. Dropped
    fields are not kept: unflattening leaves them at their defaults.
    """
    import dataclasses

    drop = list(drop_field_names or ())
    if dataclasses.is_dataclass(cls):
        fields = {field.name for field in dataclasses.fields(cls) if field.init}
        if field_names is None:
            declared = dataclasses.fields(cls)
            field_names = [f.name for f in declared if f.init and f.name not in drop]
        else:
            _check_fields(cls, fields, set(field_names), set(drop))
    elif field_names is None:
        raise ValueError(f"{cls} is not a dataclass: field_names must list its fields")
    else:
        field_names = [name for name in field_names if name not in drop]

    def flatten(node):
        values = [(name, getattr(node, name)) for name in field_names]
        present = [name for name, value in values if value is not None]
        absent = [name for name, value in values if value is None]
        return [value for _, value in values if value is not None], [present, absent]

    def unflatten(children, context):
        present, absent = context
        return cls(**dict(zip(present, children)), **dict.fromkeys(absent))

    def with_keys(node):
        children, context = flatten(node)
        return [(GetAttrKey(name), child) for name, child in zip(context[0], children)], context

    register_pytree_node(
        cls,
        flatten,
        unflatten,
        serialized_type_name=serialized_type_name,
        flatten_with_keys_fn=with_keys,
    )


def _check_fields(cls, fields, given, dropped):
    if missing := fields - given - dropped:
        raise ValueError(
            f"{cls}: fields {missing} are neither in `field_names` nor in `drop_field_names`"
        )
    if unknown := given - fields:
        raise ValueError(f"{cls}: `field_names` has {unknown}, which are no fields with init=True")
    if unknown := dropped - fields:
        raise ValueError(f"{cls}: `drop_field_names` has {unknown}, which are no such fields")
    if both := given & dropped:
        raise ValueError(f"{cls}: {both} are in `field_names` and in `drop_field_names`")


class ConstantNode:
    """The context of a constant: its value, which belongs to the structure."""

    __slots__ = ("value",)

    def __init__(self, value):
        self.value = value

    def __eq__(self, other):
        return isinstance(other, ConstantNode) and self.value == other.value

    def __hash__(self):
        return hash(self.value)

    def __repr__(self):
        return f"ConstantNode(value={self.value!r})"


def register_constant(cls):
    """Makes instances of a class part of the structure: nodes without children, no leaves."""
    for method in ("__eq__", "__hash__"):
        if getattr(cls, method) in (None, getattr(object, method)):
            raise TypeError(f"register_constant: {cls} needs {method}, by value")
    if cls in CONSTANT_NODES:
        return
    register_pytree_node(
        cls,
        lambda node: ([], ConstantNode(node)),
        lambda children, context: context.value,
        flatten_with_keys_fn=lambda node: ([], ConstantNode(node)),
    )
    CONSTANT_NODES.add(cls)


def is_constant_class(cls):
    """Whether `register_constant` was called with this class."""
    return isinstance(cls, type) and cls in CONSTANT_NODES


def _is_constant_holder(spec):
    return isinstance(spec.context, ConstantNode)


def _retrieve_constant(spec):
    return spec.context.value


# --- kinds of tuples


def is_namedtuple_class(cls):
    """Whether a class is one of named tuples."""
    if not isinstance(cls, type) or not issubclass(cls, tuple):
        return False
    fields = getattr(cls, "_fields", None)
    return (
        type(fields) is tuple
        and all(type(field) is str for field in fields)
        and callable(getattr(cls, "_make", None))
        and callable(getattr(cls, "_asdict", None))
    )


def is_namedtuple_instance(obj):
    """Whether an object is a named tuple."""
    return is_namedtuple_class(type(obj))


def is_namedtuple(obj):
    """Whether an object is a named tuple or a class of them."""
    return is_namedtuple_class(obj if isinstance(obj, type) else type(obj))


_is_namedtuple_instance = is_namedtuple_instance


class structseq(tuple):
    """Stands for tuples with named fields that C code makes, as the results of operators are."""

    __slots__ = ()
    n_fields = n_sequence_fields = n_unnamed_fields = 0

    def __init_subclass__(cls):
        raise TypeError("structseq is no base class")

    def __new__(cls, sequence, dict=...):
        raise NotImplementedError("structseq is not instantiated")


def is_structseq_class(cls):
    """Whether a class is one of named tuples that C code made."""
    return (
        isinstance(cls, type)
        and cls.__bases__ == (tuple,)
        and all(
            type(getattr(cls, f"n_{n}fields", None)) is int for n in ("", "sequence_", "unnamed_")
        )
        and not hasattr(cls, "_make")
        and cls is not structseq
    )


def is_structseq_instance(obj):
    """Whether an object is a named tuple that C code made."""
    return is_structseq_class(type(obj))


def is_structseq(obj):
    """Whether an object is a named tuple that C code made, or a class of them."""
    return is_structseq_class(obj if isinstance(obj, type) else type(obj))


def _find_tuple(cls):
    """The NodeDef of a subclass of tuple; None for a leaf."""
    if is_namedtuple_class(cls):
        return SUPPORTED_NODES.get(namedtuple)
    if is_structseq_class(cls) and cls.__module__ == "facula.return_types":

        def with_keys(node):
            return [(GetAttrKey(name), x) for name, x in zip(cls.__match_args__, node)], None

        _add_node(cls, lambda node: (node, None), lambda children, _: cls(children), with_keys)
        return SUPPORTED_NODES[cls]
    return None


def _node_of(tree):
    node = _find(type(tree))
    if node is None and isinstance(tree, tuple):
        node = _find_tuple(type(tree))
    return node


def _get_node_type(tree):
    node = _node_of(tree)
    return type(tree) if node is None else node.type


# --- keys


class _Key:
    """A step from a node to a child; `kind` is the name of its one field."""

    __slots__ = ()

    def _value(self):
        return getattr(self, self.__slots__[0])

    def __eq__(self, other):
        return type(self) is type(other) and self._value() == other._value()

    def __hash__(self):
        return hash((type(self).__name__, self._value()))

    def __repr__(self):
        return f"{type(self).__name__}({self.__slots__[0]}={self._value()!r})"

    def __reduce__(self):
        return type(self), (self._value(),)

    def get(self, obj):
        return obj[self._value()]

    def __str__(self):
        return f"[{self._value()!r}]"


class SequenceKey(_Key):
    """A place in a sequence."""

    __slots__ = ("idx",)

    def __init__(self, idx):
        self.idx = idx


class MappingKey(_Key):
    """A key of a mapping."""

    __slots__ = ("key",)

    def __init__(self, key):
        self.key = key


class GetAttrKey(_Key):
    """A field of an object."""

    __slots__ = ("name",)

    def __init__(self, name):
        self.name = name

    def get(self, obj):
        return getattr(obj, self.name)

    def __str__(self):
        return f".{self.name}"


def keystr(kp):
    """A path of keys as an expression: `['a'][0].x`."""
    return "".join(str(key) for key in kp)


def key_get(obj, kp):
    """What lies at the end of a path of keys."""
    for key in kp:
        obj = key.get(obj)
    return obj


# --- the classes that are nodes from the start


def _list_flatten(node):
    return node, None


def _list_flatten_with_keys(node):
    return [(SequenceKey(i), child) for i, child in enumerate(node)], None


def _list_unflatten(children, context):
    return list(children)


def _tuple_unflatten(children, context):
    return tuple(children)


def _dict_flatten(node):
    return list(node.values()), list(node)


def _dict_flatten_with_keys(node):
    return [(MappingKey(key), child) for key, child in node.items()], list(node)


def _dict_unflatten(children, context):
    return dict(zip(context, children))


def _ordereddict_unflatten(children, context):
    return OrderedDict(zip(context, children))


def _defaultdict_flatten(node):
    return list(node.values()), [node.default_factory, list(node)]


def _defaultdict_flatten_with_keys(node):
    children, _ = _dict_flatten_with_keys(node)
    return children, [node.default_factory, list(node)]


def _defaultdict_unflatten(children, context):
    factory, keys = context
    return defaultdict(factory, zip(keys, children))


def _deque_flatten(node):
    return list(node), node.maxlen


def _deque_flatten_with_keys(node):
    return _list_flatten_with_keys(node)[0], node.maxlen


def _deque_unflatten(children, context):
    return deque(children, maxlen=context)


def _namedtuple_flatten(node):
    return node, type(node)


def _namedtuple_flatten_with_keys(node):
    return [(GetAttrKey(name), x) for name, x in zip(node._fields, node)], type(node)


def _namedtuple_unflatten(children, context):
    return context._make(children)


def _defaultdict_to_dumpable(context):
    factory, keys = context
    return {
        "default_factory_module": getattr(factory, "__module__", None),
        "default_factory_name": getattr(factory, "__qualname__", None),
        "dict_context": keys,
    }


def _defaultdict_from_dumpable(dumped):
    module, name = dumped["default_factory_module"], dumped["default_factory_name"]
    return [None if name is None else _imported(module, name), dumped["dict_context"]]


def _namedtuple_to_dumpable(cls):
    serialization = SUPPORTED_SERIALIZED_TYPES.get(cls)
    if serialization is None:
        raise NotImplementedError(
            f"{cls} has no name in serialized trees: give it one by _register_namedtuple"
        )
    return serialization.name


def _namedtuple_from_dumpable(name):
    return SERIALIZED_TYPE_TO_PYTHON_TYPE[name]


def _imported(module, name):
    value = __import__(module, fromlist=["_"])
    for part in name.split("."):
        value = getattr(value, part)
    return value


_tuple_flatten, _tuple_flatten_with_keys = _list_flatten, _list_flatten_with_keys
_ordereddict_flatten, _ordereddict_flatten_with_keys = _dict_flatten, _dict_flatten_with_keys
_odict_flatten, _odict_unflatten = _ordereddict_flatten, _ordereddict_unflatten

_add_node(tuple, _list_flatten, _tuple_unflatten, _list_flatten_with_keys, "builtins.tuple")
_add_node(list, _list_flatten, _list_unflatten, _list_flatten_with_keys, "builtins.list")
_add_node(dict, _dict_flatten, _dict_unflatten, _dict_flatten_with_keys, "builtins.dict")
_add_node(
    namedtuple,
    _namedtuple_flatten,
    _namedtuple_unflatten,
    _namedtuple_flatten_with_keys,
    "collections.namedtuple",
    _namedtuple_to_dumpable,
    _namedtuple_from_dumpable,
)
_add_node(
    OrderedDict,
    _dict_flatten,
    _ordereddict_unflatten,
    _dict_flatten_with_keys,
    "collections.OrderedDict",
)
_add_node(
    defaultdict,
    _defaultdict_flatten,
    _defaultdict_unflatten,
    _defaultdict_flatten_with_keys,
    "collections.defaultdict",
    _defaultdict_to_dumpable,
    _defaultdict_from_dumpable,
)
_add_node(deque, _deque_flatten, _deque_unflatten, _deque_flatten_with_keys, "collections.deque")
_add_node(
    Size, _list_flatten, lambda children, _: Size(children), _list_flatten_with_keys, "torch.Size"
)


# --- structures


class TreeSpec:
    """The structure of a tree: the class of its root, its context, and the children's structures.

    A leaf has the class None. Equal structures compare equal and hash alike.
    """

    __slots__ = ("type", "context", "_children", "num_nodes", "num_leaves", "_hash")

    def __init__(self, type, context, children_specs):
        self.type = type
        self.context = context
        self._children = tuple(children_specs)
        self._hash = None
        if type is None:
            self.num_nodes = self.num_leaves = 1
            return
        self.num_nodes, self.num_leaves = 1, 0
        for child in self._children:
            self.num_nodes += child.num_nodes
            self.num_leaves += child.num_leaves

    @property
    def num_children(self):
        """How many children the root has."""
        return len(self._children)

    @property
    def children_specs(self):
        """The structures of the children, as a list."""
        return list(self._children)

    def children(self):
        """The structures of the children, as a list."""
        return list(self._children)

    def child(self, index):
        """The structure of a child."""
        return self._children[index]

    def is_leaf(self):
        """Whether the tree is a leaf."""
        return self.type is None

    def unflatten(self, leaves):
        """The tree of this structure with these leaves."""
        if type(leaves) not in (list, tuple):
            leaves = list(leaves)
        if len(leaves) != self.num_leaves:
            raise ValueError(
                f"unflatten: the structure has {self.num_leaves} leaves, and {len(leaves)} are "
                f"given ({self})"
            )
        if self.type is None:
            return leaves[0]
        if self.num_nodes == self.num_leaves + 1:
            return SUPPORTED_NODES[self.type].unflatten_fn(leaves, self.context)
        return _build(self, iter(leaves))

    def flatten_up_to(self, tree):
        """The parts of a tree that stand where this structure has its leaves."""
        parts = []
        _match(self, tree, parts)
        return parts

    def __eq__(self, other):
        if self is other:
            return True
        if not isinstance(other, TreeSpec):
            return NotImplemented
        return (
            self.type is other.type
            and self.num_nodes == other.num_nodes
            and self.context == other.context
            and self._children == other._children
        )

    def __hash__(self):
        if self._hash is None:
            keys = _keys_of(self) if self.type in STANDARD_DICT_TYPES else ()
            self._hash = hash((self.type, tuple(keys), self._children))
        return self._hash

    def __repr__(self):
        return _text(self, 0)

    def __reduce__(self):
        if self.type is None:
            return treespec_leaf, ()
        return TreeSpec, (self.type, self.context, self._children)

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self


PyTreeSpec = TreeSpec


class _LeafSpecMeta(type):
    def __instancecheck__(cls, obj):
        return isinstance(obj, TreeSpec) and obj.type is None

    def __call__(cls):
        return _LEAF


class LeafSpec(TreeSpec, metaclass=_LeafSpecMeta):
    """The structure of a leaf: calling it gives the one that there is."""

    __slots__ = ()


_LEAF = _LEAF_SPEC = TreeSpec(None, None, ())
_FLAT = {cls: [TreeSpec(cls, None, [_LEAF] * n) for n in range(17)] for cls in (tuple, list)}


def _text(spec, indent):
    if spec.type is None:
        return "*"
    inner = indent + 2
    children = f",\n{' ' * inner}".join(_text(child, inner) for child in spec._children)
    name = getattr(spec.type, "__name__", spec.type)
    return f"TreeSpec({name}, {spec.context}, [{children}])"


def _keys_of(spec):
    """The keys of a dictionary's structure."""
    return spec.context[1] if spec.type is defaultdict else spec.context


def treespec_leaf():
    """The structure of a leaf."""
    return _LEAF


def treespec_tuple(iterable=(), /):
    """The structure of a tuple of trees with these structures."""
    children = list(iterable)
    if not all(isinstance(child, TreeSpec) for child in children):
        raise ValueError(f"treespec_tuple takes TreeSpecs, not {children}")
    return TreeSpec(tuple, None, children)


def treespec_dict(mapping=(), /, **kwargs):
    """The structure of a dictionary of trees with these structures."""
    children = dict(mapping, **kwargs)
    if not all(isinstance(child, TreeSpec) for child in children.values()):
        raise ValueError(f"treespec_dict takes TreeSpecs as values, not {children}")
    return TreeSpec(dict, list(children), children.values())


# --- down and up again


def _flatten(tree, node, leaves, is_leaf):
    """Appends the leaves below a node; returns its structure."""
    children, context = node.flatten_fn(tree)
    specs, nested = [], False
    for child in children:
        below = _find(type(child))
        if below is None and isinstance(child, tuple):
            below = _find_tuple(type(child))
        if (is_leaf is not None and is_leaf(child)) or below is None:
            leaves.append(child)
            specs.append(_LEAF)
        else:
            nested = True
            specs.append(_flatten(child, below, leaves, is_leaf))
    if not nested and len(specs) <= 16 and node.type in _FLAT:
        return _FLAT[node.type][len(specs)]
    return TreeSpec(node.type, context, specs)


def _gather(tree, node, leaves, is_leaf):
    """Appends the leaves below a node."""
    for child in node.flatten_fn(tree)[0]:
        below = _find(type(child))
        if below is None and isinstance(child, tuple):
            below = _find_tuple(type(child))
        if (is_leaf is not None and is_leaf(child)) or below is None:
            leaves.append(child)
        else:
            _gather(child, below, leaves, is_leaf)


def _map(func, tree, node, is_leaf):
    """A node with func called on each leaf."""
    children, context = node.flatten_fn(tree)
    mapped = []
    for child in children:
        below = _find(type(child))
        if below is None and isinstance(child, tuple):
            below = _find_tuple(type(child))
        if (is_leaf is not None and is_leaf(child)) or below is None:
            mapped.append(func(child))
        else:
            mapped.append(_map(func, child, below, is_leaf))
    return node.unflatten_fn(mapped, context)


def _build(spec, leaves):
    """The node of a structure, from an iterator over the leaves of all that is built."""
    if spec.num_nodes == spec.num_leaves + 1:
        children = list(islice(leaves, spec.num_leaves))
    else:
        children = [
            next(leaves) if child is _LEAF else _build(child, leaves) for child in spec._children
        ]
    return SUPPORTED_NODES[spec.type].unflatten_fn(children, spec.context)


def _match(spec, tree, parts):
    if spec.type is None:
        parts.append(tree)
        return
    node = _node_of(tree)
    found = type(tree) if node is None else node.type
    dicts = found in STANDARD_DICT_TYPES and spec.type in STANDARD_DICT_TYPES
    if node is None or (found is not spec.type and not dicts):
        raise ValueError(f"Node type mismatch; expected {spec.type}, but got {found}.")
    children, context = node.flatten_fn(tree)
    if len(children) != spec.num_children:
        raise ValueError(
            f"Node arity mismatch; expected {spec.num_children}, but got {len(children)}."
        )
    if dicts:
        keys = _keys_of(spec)
        if set(keys) != set(tree):
            missing, extra = set(keys) - set(tree), set(tree) - set(keys)
            raise ValueError(f"Node keys mismatch; missing: {missing}, extra: {extra}.")
        children = [tree[key] for key in keys]
    elif found is not deque and context != spec.context:
        raise ValueError(f"Node context mismatch; expected {spec.context}, but got {context}.")
    for child, below in zip(children, spec._children):
        _match(below, child, parts)


def tree_is_leaf(tree, is_leaf=None):
    """Whether a tree is a leaf: of no registered class, or one that `is_leaf` accepts."""
    return (is_leaf is not None and is_leaf(tree)) or _node_of(tree) is None


_is_leaf = tree_is_leaf


def tree_flatten(tree, is_leaf=None):
    """The leaves of a tree and its structure. `is_leaf` may say of nodes that they are leaves."""
    leaves = []
    if tree_is_leaf(tree, is_leaf):
        return [tree], _LEAF
    return leaves, _flatten(tree, _node_of(tree), leaves, is_leaf)


def tree_unflatten(leaves, treespec):
    """The tree of this structure with these leaves."""
    if not isinstance(treespec, TreeSpec):
        raise TypeError(f"tree_unflatten takes a TreeSpec, not {type(treespec).__name__}")
    return treespec.unflatten(leaves)


def tree_leaves(tree, is_leaf=None):
    """The leaves of a tree."""
    if tree_is_leaf(tree, is_leaf):
        return [tree]
    leaves = []
    _gather(tree, _node_of(tree), leaves, is_leaf)
    return leaves


def arg_tree_leaves(*args, **kwargs):
    """The leaves of all arguments of a call."""
    leaves = tree_leaves(args)
    if kwargs:
        leaves += tree_leaves(kwargs)
    return leaves


def tree_iter(tree, is_leaf=None):
    """The leaves of a tree, one after the other."""
    if tree_is_leaf(tree, is_leaf):
        yield tree
    else:
        for child in _node_of(tree).flatten_fn(tree)[0]:
            yield from tree_iter(child, is_leaf)


def tree_structure(tree, is_leaf=None):
    """The structure of a tree."""
    return tree_flatten(tree, is_leaf)[1]


# --- functions of leaves


def tree_map(func, tree, *rests, is_leaf=None):
    """A tree of this structure with func(leaf, ...) as its leaves.

    Of `rests` func receives what stands at the place of the leaf: a leaf or a tree.
    """
    if rests:
        leaves, spec = tree_flatten(tree, is_leaf)
        return spec.unflatten(list(map(func, leaves, *map(spec.flatten_up_to, rests))))
    if tree_is_leaf(tree, is_leaf):
        return func(tree)
    return _map(func, tree, _node_of(tree), is_leaf)


def tree_map_(func, tree, *rests, is_leaf=None):
    """Calls func as `tree_map` does, for its effect; returns the tree."""
    leaves, spec = tree_flatten(tree, is_leaf)
    for args in zip(leaves, *map(spec.flatten_up_to, rests)):
        func(*args)
    return tree


def map_only(type_or_types_or_pred, /):
    """A decorator: the function for arguments of these types, or with this property."""
    if isinstance(type_or_types_or_pred, (type, tuple, UnionType)):

        def chosen(x):
            return isinstance(x, type_or_types_or_pred)

    elif callable(type_or_types_or_pred):
        chosen = type_or_types_or_pred
    else:
        raise TypeError(
            "map_only takes a type, a tuple or union of types, or a function, not "
            f"{type_or_types_or_pred!r}"
        )

    def decorator(func):
        return lambda x: func(x) if chosen(x) else x

    return decorator


def tree_map_only(type_or_types_or_pred, /, func, tree, is_leaf=None):
    """tree_map for leaves of these types, or with this property; others stay."""
    return tree_map(map_only(type_or_types_or_pred)(func), tree, is_leaf=is_leaf)


def tree_map_only_(type_or_types_or_pred, /, func, tree, is_leaf=None):
    """tree_map_ for leaves of these types, or with this property."""
    return tree_map_(map_only(type_or_types_or_pred)(func), tree, is_leaf=is_leaf)


def tree_all(pred, tree, is_leaf=None):
    """Whether pred holds for every leaf."""
    return all(map(pred, tree_iter(tree, is_leaf)))


def tree_any(pred, tree, is_leaf=None):
    """Whether pred holds for a leaf."""
    return any(map(pred, tree_iter(tree, is_leaf)))


def tree_all_only(type_or_types, /, pred, tree, is_leaf=None):
    """Whether pred holds for every leaf of these types."""
    return all(pred(x) for x in tree_iter(tree, is_leaf) if isinstance(x, type_or_types))


def tree_any_only(type_or_types, /, pred, tree, is_leaf=None):
    """Whether pred holds for a leaf of these types."""
    return any(pred(x) for x in tree_iter(tree, is_leaf) if isinstance(x, type_or_types))


def _broadcast_to_and_flatten(tree, treespec, is_leaf=None):
    """The leaves of a tree, each as often as the part of the structure in its place has leaves.

    None where the tree is no prefix of the structure.
    """
    if tree_is_leaf(tree, is_leaf):
        return [tree] * treespec.num_leaves
    node = _node_of(tree)
    if node.type is not treespec.type:
        return None
    children, context = node.flatten_fn(tree)
    if len(children) != treespec.num_children or context != treespec.context:
        return None
    spread = []
    for child, below in zip(children, treespec._children):
        part = _broadcast_to_and_flatten(child, below, is_leaf)
        if part is None:
            return None
        spread += part
    return spread


# --- with paths


def _generate_key_paths(key_path, tree, is_leaf=None):
    if tree_is_leaf(tree, is_leaf):
        yield key_path, tree
        return
    node = _node_of(tree)
    if node.flatten_with_keys_fn is None:
        raise ValueError(f"{node.type} was registered without a flatten_with_keys_fn")
    for key, child in node.flatten_with_keys_fn(tree)[0]:
        yield from _generate_key_paths((*key_path, key), child, is_leaf)


def tree_leaves_with_path(tree, is_leaf=None):
    """Pairs of the path of keys that leads to a leaf, and the leaf."""
    return list(_generate_key_paths((), tree, is_leaf))


def tree_flatten_with_path(tree, is_leaf=None):
    """Pairs of the path of keys that leads to a leaf, and the leaf; and the structure."""
    return tree_leaves_with_path(tree, is_leaf), tree_structure(tree, is_leaf)


def tree_map_with_path(func, tree, *rests, is_leaf=None):
    """tree_map with the path of keys to the leaf as the first argument of func."""
    pairs, spec = tree_flatten_with_path(tree, is_leaf)
    paths, leaves = [path for path, _ in pairs], [leaf for _, leaf in pairs]
    return spec.unflatten(list(map(func, paths, leaves, *map(spec.flatten_up_to, rests))))


# --- as text


class _Asterisk(str):
    def __repr__(self):
        return "*"


def treespec_pprint(treespec):
    """A structure as the tree looks, with asterisks for leaves."""
    return repr(treespec.unflatten([_Asterisk()] * treespec.num_leaves))


def _encode_enum(member):
    cls = type(member)
    return {"__enum__": True, "fqn": f"{cls.__module__}:{cls.__qualname__}", "name": member.name}


def enum_object_hook(obj):
    """For json.loads: the member of an enumeration that EnumEncoder wrote, or the dictionary."""
    if "__enum__" not in obj:
        return obj
    module, _, name = obj["fqn"].partition(":")
    return _imported(module, name)[obj["name"]]


def _dumpable(spec):
    import json

    if spec.type is None:
        return {"type": None, "context": None, "children_spec": []}
    name, to_dumpable, _ = SUPPORTED_SERIALIZED_TYPES.get(spec.type, (None, None, None))
    if name is None:
        raise NotImplementedError(
            f"{spec.type} has no name in serialized trees: register it with a serialized_type_name"
        )
    if to_dumpable is not None:
        context = to_dumpable(spec.context)
    else:
        try:
            context = json.dumps(spec.context, cls=_lazy("EnumEncoder"))
        except TypeError as error:
            raise TypeError(
                f"the context of {spec.type} is no JSON: register it with a to_dumpable_context"
            ) from error
    children = [_dumpable(child) for child in spec._children]
    return {"type": name, "context": context, "children_spec": children}


def _from_dumpable(dumped):
    import json

    name, context = dumped["type"], dumped["context"]
    if name is None:
        return _LEAF
    if name not in SERIALIZED_TYPE_TO_PYTHON_TYPE:
        raise NotImplementedError(f"no class is registered under the serialized name {name}")
    cls = SERIALIZED_TYPE_TO_PYTHON_TYPE[name]
    from_dumpable = SUPPORTED_SERIALIZED_TYPES[cls].from_dumpable
    if from_dumpable is not None:
        context = from_dumpable(context)
    else:
        context = json.loads(context, object_hook=enum_object_hook)
    return TreeSpec(cls, context, [_from_dumpable(child) for child in dumped["children_spec"]])


def _check_protocol(protocol):
    if protocol != DEFAULT_TREESPEC_SERIALIZATION_PROTOCOL:
        raise ValueError(f"Unknown protocol {protocol}. Available protocols: [1]")


def treespec_dumps(treespec, protocol=None):
    """A structure as JSON."""
    import json

    if not isinstance(treespec, TreeSpec):
        raise TypeError(f"treespec_dumps takes a TreeSpec, not {type(treespec).__name__}")
    protocol = DEFAULT_TREESPEC_SERIALIZATION_PROTOCOL if protocol is None else protocol
    _check_protocol(protocol)
    return json.dumps((protocol, _dumpable(treespec)), cls=_lazy("EnumEncoder"))


def treespec_loads(serialized):
    """The structure that `treespec_dumps` wrote."""
    import json

    protocol, dumped = json.loads(serialized, object_hook=enum_object_hook)
    _check_protocol(protocol)
    return _from_dumpable(dumped)


pytree_to_str, str_to_pytree = treespec_dumps, treespec_loads


def _lazy(name):
    return getattr(sys.modules[__name__], name)


def __getattr__(name):
    if name != "EnumEncoder":  # whose base comes with json, which nothing else needs
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import enum
    import json

    class EnumEncoder(json.JSONEncoder):
        """JSON with members of enumerations."""

        def default(self, obj):
            return _encode_enum(obj) if isinstance(obj, enum.Enum) else super().default(obj)

    EnumEncoder.__qualname__ = name
    globals()[name] = EnumEncoder
    return EnumEncoder
