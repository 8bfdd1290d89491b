"""Handles of registered hooks, and the backward hooks of modules."""

import itertools
import weakref

from .._C import Tensor
from ..autograd import Function

_ids = itertools.count()


class RemovableHandle:
    """What registering a hook returns: `remove()` takes the hook out again.

    `extra_dict` is a dictionary, or a list of them, with further entries under the hook's id.
    """

    def __init__(self, hooks_dict, *, extra_dict=None):
        extra = extra_dict if isinstance(extra_dict, list) else [extra_dict]
        self.id = next(_ids)
        self.dicts = [weakref.ref(d) for d in (hooks_dict, *extra) if d is not None]

    def remove(self):
        """Takes the hook out. It does not matter if it is out already."""
        for ref in self.dicts:
            hooks = ref()
            if hooks is not None:
                hooks.pop(self.id, None)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.remove()

    # Weak references do not pickle; dictionaries keep their identity within one pickle.
    def __getstate__(self):
        return self.id, [ref() for ref in self.dicts]

    def __setstate__(self, state):
        self.id, dicts = state
        self.dicts = [weakref.ref(d) for d in dicts if d is not None]


class BackwardHook:
    """Runs a module's backward hooks in one call of it.

    The tensors among its arguments and among its results pass through an identity each, whose nodes
    in the graph see all gradients on that side at once.
    """

    def __init__(self, module, hooks, pre_hooks):
        self.module, self.hooks, self.pre_hooks = module, hooks, pre_hooks
        self.grad_outputs = None
        self.input_places = None  # of the tensors among the arguments, and how many there are
        self.output_places = None

    def setup_input(self, args):
        """The arguments as the module is to see them."""
        args, node, places = _through_identity(args)
        self.input_places = places, len(args)
        self.has_inputs = node is not None
        if node is not None and self.hooks:
            node.register_hook(self._at_inputs)
        return args

    def setup_output(self, result):
        """The result as the caller is to see it."""
        single = not isinstance(result, tuple)
        results = (result,) if single else result
        results, node, places = _through_identity(results)
        self.output_places = places, len(results)
        if node is not None:
            node.register_prehook(self._at_outputs)
        return results[0] if single else results

    def _at_outputs(self, grads):
        places, count = self.output_places
        grads = _spread(grads, places, count)
        for hook in self.pre_hooks:
            returned = hook(self.module, grads)
            if returned is not None:
                grads = returned if isinstance(returned, tuple) else (returned,)
        self.grad_outputs = grads
        if self.hooks and not self.has_inputs:
            self._call_hooks((None,) * self.input_places[1])
        return tuple(grads[i] for i in places)

    def _at_inputs(self, grads, _):
        if self.grad_outputs is None:
            raise RuntimeError(
                f"Module backward hook for {type(self.module).__name__} is called before the "
                "grad_output one. This happens when its inputs take part in the loss by another "
                "way than its outputs."
            )
        places, count = self.input_places
        grads = self._call_hooks(_spread(grads, places, count))
        self.grad_outputs = None
        return tuple(grads[i] for i in places)

    def _call_hooks(self, grads):
        for hook in self.hooks:
            returned = hook(self.module, grads, self.grad_outputs)
            if returned is not None:
                returned = returned if isinstance(returned, tuple) else (returned,)
                if len(returned) != len(grads):
                    raise RuntimeError(
                        "Backward hook returned an invalid number of grad_input, got "
                        f"{len(returned)}, but expected {len(grads)}"
                    )
                grads = returned
        return grads


class _Identity(Function):
    @staticmethod
    def forward(ctx, *tensors):
        ctx.set_materialize_grads(False)
        return tuple(t.view_as(t) for t in tensors)

    @staticmethod
    def backward(ctx, *grads):
        return grads


def _spread(grads, places, count):
    spread = [None] * count
    for place, grad in zip(places, grads):
        spread[place] = grad
    return tuple(spread)


def _through_identity(values):
    """Tensors among `values` through one node; returns (values, node or None, their places)."""
    places = [i for i, value in enumerate(values) if isinstance(value, Tensor)]
    if not any(values[i].requires_grad for i in places):
        return values, None, places
    passed = _Identity.apply(*(values[i] for i in places))
    node = next((t.grad_fn for t in passed if t.grad_fn is not None), None)
    values = list(values)
    for place, tensor in zip(places, passed):
        values[place] = tensor
    return tuple(values), node, places
