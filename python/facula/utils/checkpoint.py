"""Checkpointing: a region of the graph keeps its inputs alone, and computes the rest again.

Without reentry, each tensor that the region would save is replaced by a place, through the hooks
of saved tensors. The first place that backward asks for runs the region once more, which fills all
places in the order in which they were made; the run ends as soon as the last one is full. Inside
another region the inputs themselves are saved under its hooks, so that regions nest.

With reentry, the region is one node of the graph. It runs again, recorded, in that node's backward,
and backward goes through it from there.

A policy can keep the results of chosen operators: selective checkpointing, by dispatch modes.
"""

import contextlib
import enum
import sys
import threading
import warnings
import weakref

import facula

from .. import _C
from .._C import Tensor
from ..autograd import Function, backward
from ..autograd.grad_mode import enable_grad, no_grad
from ..autograd.graph import saved_tensors_hooks
from ._python_dispatch import TorchDispatchMode
from ._pytree import arg_tree_leaves, tree_map


class CheckpointError(RuntimeError):
    """A region that does not do the same when it runs again."""


# Operators that policies are not asked about, and that are not logged: they compute nothing.
SAC_IGNORED_OPS = {facula.ops.aten.detach.default}


# --- the state of random number generators


class DefaultDeviceType:
    """The type of device whose generators are kept where the arguments do not tell."""

    _type = "cuda"

    @staticmethod
    def set_device_type(device="cuda"):
        """Sets the type."""
        DefaultDeviceType._type = device

    @staticmethod
    def get_device_type():
        """The type."""
        return DefaultDeviceType._type


def _on_devices(args):
    leaves = arg_tree_leaves(*args)
    return [t for t in leaves if isinstance(t, Tensor) and t.device.type not in ("cpu", "meta")]


def _device_type(*args):
    """The type of device that the tensors among the arguments are on, apart from the CPU."""
    found = sorted({tensor.device.type for tensor in _on_devices(args)})
    if len(found) > 1:
        warnings.warn(
            f"checkpoint: the arguments are on devices of several types, {found}; only generators "
            f"of {found[0]} are kept.",
            stacklevel=3,
        )
    return found[0] if found else DefaultDeviceType.get_device_type()


def get_device_states(*args):
    """(indices of the devices that arguments are on, but the CPU; their generators' states)."""
    kind = _device_type(*args)
    indices = sorted({t.get_device() for t in _on_devices(args) if t.device.type == kind})
    states = [getattr(facula, kind).get_rng_state(index) for index in indices]
    return indices, states


def set_device_states(devices, states, *, device_type=None):
    """Sets the states of generators, by index of the device."""
    kind = DefaultDeviceType.get_device_type() if device_type is None else device_type
    for index, state in zip(devices, states):
        getattr(facula, kind).set_rng_state(state, index)


class _RandomState:
    """The state of the generators at one time; as a context manager it is back for a while."""

    def __init__(self, args):
        self.cpu = facula.get_rng_state()
        self.kind = _device_type(*args)
        self.devices, self.states = get_device_states(*args)

    def __enter__(self):
        self.outside = facula.get_rng_state()
        module = getattr(facula, self.kind) if self.devices else None
        self.outside_states = [module.get_rng_state(index) for index in self.devices]
        self._set(self.cpu, self.states)

    def __exit__(self, *exc):
        self._set(self.outside, self.outside_states)

    def _set(self, cpu, states):
        facula.set_rng_state(cpu)
        set_device_states(self.devices, states, device_type=self.kind)


# --- switches


_early_stop = _debug = None  # what the switches below say; None leaves it to the argument


@contextlib.contextmanager
def set_checkpoint_early_stop(enable):
    """Says for all regions inside whether running again stops at the last tensor that is needed."""
    global _early_stop
    before, _early_stop = _early_stop, enable
    try:
        yield
    finally:
        _early_stop = before


@contextlib.contextmanager
def set_checkpoint_debug_enabled(enabled):
    """Says for all regions inside whether operators are logged, for messages of errors.

    None leaves it to the arguments.
    """
    global _debug
    before, _debug = _debug, enabled
    try:
        yield
    finally:
        _debug = before


class GraphExecGroup:
    """Makes all backwards inside one, of which each region runs again once at most."""

    _of_thread = threading.local()

    def __enter__(self):
        if getattr(self._of_thread, "current", None) is not None:
            raise RuntimeError("GraphExecGroup: groups do not nest")
        self._of_thread.current = self

    def __exit__(self, *exc):
        self._of_thread.current = None


def noop_context_fn():
    """Two contexts that change nothing: for the first run of a region, and for the others."""
    return contextlib.nullcontext(), contextlib.nullcontext()


# --- with reentry


def detach_variable(inputs):
    """The inputs, tensors among them without history."""
    if not isinstance(inputs, tuple):
        raise RuntimeError(f"detach_variable takes a tuple, not {type(inputs).__name__}")
    return tuple(
        x.detach().requires_grad_(x.requires_grad) if isinstance(x, Tensor) else x for x in inputs
    )


def check_backward_validity(inputs):
    """Warns unless a tensor among the inputs requires gradients."""
    if not any(isinstance(x, Tensor) and x.requires_grad for x in inputs):
        warnings.warn(
            "checkpoint: no input requires gradients, so that with use_reentrant=True there will "
            "be none.",
            stacklevel=2,
        )


class CheckpointFunction(Function):
    """A region as one node."""

    @staticmethod
    def forward(ctx, run_function, preserve_rng_state, *args):
        ctx.run_function = run_function
        ctx.random = _RandomState(args) if preserve_rng_state else contextlib.nullcontext()
        ctx.places = [i for i, arg in enumerate(args) if isinstance(arg, Tensor)]
        ctx.args = [None if isinstance(arg, Tensor) else arg for arg in args]
        ctx.save_for_backward(*(args[i] for i in ctx.places))
        with no_grad():
            return run_function(*args)

    @staticmethod
    def backward(ctx, *grads):
        if not _C._is_checkpoint_valid():
            raise RuntimeError(
                "checkpoint: with use_reentrant=True gradients of chosen inputs, as grad() and "
                "backward(inputs=...) compute them, are not possible. Use use_reentrant=False."
            )
        args = list(ctx.args)
        for place, tensor in zip(ctx.places, ctx.saved_tensors):
            args[place] = tensor
        args = detach_variable(tuple(args))
        with ctx.random, enable_grad():
            outputs = ctx.run_function(*args)
        outputs = (outputs,) if isinstance(outputs, Tensor) else outputs
        pairs = [
            (output, gradient)
            for output, gradient in zip(outputs, grads)
            if isinstance(output, Tensor) and output.requires_grad
        ]
        if not pairs:
            raise RuntimeError(
                "checkpoint: none of the outputs requires gradients, so there is nothing to "
                "checkpoint"
            )
        backward(*map(list, zip(*pairs)))
        return None, None, *(arg.grad if isinstance(arg, Tensor) else None for arg in args)


# --- without reentry


class _Enough(Exception):
    """Ends a run: all that is needed has been computed."""


class _Place:
    """Stands in the graph for the index-th tensor that a region saved."""

    __slots__ = ("__weakref__", "frame", "index")

    def __init__(self, frame, index):
        self.frame, self.index = frame, index


class _KeepInputs(Function):
    """Saves tensors under the hooks that are active, and has a node that they are found at."""

    @staticmethod
    def forward(ctx, _, *tensors):
        ctx.save_for_backward(*tensors)
        return facula.empty(0)

    @staticmethod
    def backward(ctx, gradient):
        raise AssertionError("the node is never part of a backward")


def _describe(tensor):
    return {"shape": tuple(tensor.shape), "dtype": tensor.dtype, "device": tensor.device}


def _run_of_backward():
    """What says that two requests belong together: a group, or a run of the engine; else None."""
    group = getattr(GraphExecGroup._of_thread, "current", None)
    if group is not None:
        return group
    run = _C._current_graph_task_id()
    return None if run == -1 else run


class _Frame:
    """One call of a region: its places, and how it runs again.

    Places are held by the graph and hold the frame. Of what a run computed, values that have not
    been asked for yet wait until the same backward does.
    """

    def __init__(self, function, args, kwargs, random, context, early_stop, check, log):
        self.function, self.kwargs = function, kwargs
        self.random, self.context, self.early_stop = random, context, early_stop
        self.check, self.log = check, log
        self.places, self.descriptions = [], []
        self.values, self.run = {}, None
        spots = [i for i, arg in enumerate(args) if isinstance(arg, Tensor)]
        self.args = [None if isinstance(arg, Tensor) else arg for arg in args]
        self.spots = spots
        marker = facula.empty(0, requires_grad=True)
        self.inputs = _KeepInputs.apply(marker, *(args[i] for i in spots)).grad_fn

    def save(self, tensor):
        """The place of a tensor that the first run saves."""
        place = _Place(self, len(self.places))
        self.places.append(weakref.ref(place))
        self.descriptions.append(_describe(tensor) if self.check else None)
        return place

    @staticmethod
    def fetch(place):
        """The tensor of a place, from another run of the region if there is none yet."""
        self, run = place.frame, _run_of_backward()
        values = self.values if run is not None and run == self.run else {}
        if place.index not in values:
            values = self.compute()
        if run is not None:
            self.values, self.run = values, run
        return values.pop(place.index)

    def compute(self):
        """Runs the region again; the tensors by index."""
        values, differences = {}, []
        alive = [i for i, place in enumerate(self.places) if place() is not None]
        last = alive[-1]
        count = 0

        def save(tensor):
            nonlocal count
            index, count = count, count + 1
            if index < len(self.places):
                if self.check and _describe(tensor) != self.descriptions[index]:
                    differences.append((index, self.descriptions[index], _describe(tensor)))
                values[index] = tensor.detach()
                if self.early_stop and index == last:
                    raise _Enough
            return tensor.detach()

        args = list(self.args)
        with enable_grad():  # the inputs come with their history
            for spot, tensor in zip(self.spots, self.inputs.saved_tensors):
                args[spot] = tensor
        log = _OpLog() if self.log else contextlib.nullcontext()
        hooks = saved_tensors_hooks(save, lambda tensor: tensor)
        stopped = False
        try:
            with self.random, log, self.context, hooks, enable_grad():
                self.function(*args, **self.kwargs)
        except _Enough:
            stopped = True
        self.verify(differences, None if stopped else count, log)
        return {index: values[index] for index in alive}

    def verify(self, differences, count, log):
        """Raises if the region saved other things than at first; `count` of them, if it ended."""
        if differences:
            lines = [f"tensor {i}: {was} at first, {now} now" for i, was, now in differences]
            text = "other tensors were saved when the region ran again.\n" + "\n".join(lines)
        elif count is not None and count != len(self.places):
            text = (
                f"{len(self.places)} tensors were saved at first, and {count} when the region ran "
                "again."
            )
        else:
            return
        if self.log:
            text += f"\n{self.log.compare(log)}"
        else:
            text += "\nWith debug=True the message shows the operators of both runs."
        raise CheckpointError(f"checkpoint: {text}")


class _OpLog(TorchDispatchMode):
    """Writes down the operators that run, and where they were called."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func not in SAC_IGNORED_OPS:
            frame = sys._getframe()
            while frame.f_back and frame.f_code.co_filename.startswith(facula.__path__[0]):
                frame = frame.f_back
            where = f"{frame.f_code.co_filename}:{frame.f_lineno}"
            self.calls.append((str(func), where))
        return func(*args, **(kwargs or {}))

    def compare(self, other):
        """Both lists of operators, with a mark at the first that differs."""
        mine, theirs = [op for op, _ in self.calls], [op for op, _ in other.calls]
        differing = next(
            (i for i, pair in enumerate(zip(mine, theirs)) if pair[0] != pair[1]), None
        )
        if differing is None:
            differing = min(len(mine), len(theirs))
        blocks = []
        for title, log in (("first run", self), ("run in backward", other)):
            lines = [
                f"{'>' if i == differing else ' '} {i}: {op}    {where}"
                for i, (op, where) in enumerate(log.calls)
            ]
            blocks.append("\n".join([f"{title}, {len(lines)} operators:", *lines]))
        return "\n".join(blocks)


def _checkpoint_without_reentry(
    function, args, kwargs, preserve_rng_state, context_fn, determinism_check, debug, early_stop
):
    debug = debug if _debug is None else _debug
    if debug and context_fn is not noop_context_fn:
        raise ValueError("checkpoint: debug=True and a context_fn do not go together")
    context, context_again = context_fn()
    if not facula.is_grad_enabled():
        with context:
            return function(*args, **kwargs)
    log = _OpLog() if debug else None
    frame = _Frame(
        function,
        args,
        kwargs,
        _RandomState((args, kwargs)) if preserve_rng_state else contextlib.nullcontext(),
        context_again,
        early_stop if _early_stop is None else _early_stop,
        determinism_check == "default",
        log,
    )
    with saved_tensors_hooks(frame.save, _Frame.fetch), log or contextlib.nullcontext(), context:
        return function(*args, **kwargs)


# --- the interface


def checkpoint(
    function,
    *args,
    use_reentrant=None,
    context_fn=noop_context_fn,
    determinism_check="default",
    debug=False,
    early_stop=True,
    **kwargs,
):
    """function(*args, **kwargs), which runs again in backward instead of keeping what it computes.

    `use_reentrant=False` is the better form: it allows grad(), keyword arguments, nesting, inputs
    in containers, and stops early. `preserve_rng_state=False` saves looking after the generators.
    `context_fn()` gives two contexts, for the first run and for the others. `determinism_check` is
    "default" or "none"; with `debug=True` errors of that check list the operators of both runs.
    """
    if use_reentrant is None:
        warnings.warn(
            "checkpoint: pass use_reentrant explicitly; False is recommended, True is the default.",
            stacklevel=2,
        )
        use_reentrant = True
    preserve_rng_state = kwargs.pop("preserve_rng_state", True)
    if determinism_check not in ("default", "none"):
        raise ValueError(
            f"checkpoint: determinism_check is 'default' or 'none', not {determinism_check!r}"
        )
    if not use_reentrant:
        return _checkpoint_without_reentry(
            function,
            args,
            kwargs,
            preserve_rng_state,
            context_fn,
            determinism_check,
            debug,
            early_stop,
        )
    if kwargs:
        raise ValueError(f"checkpoint: keyword arguments {sorted(kwargs)} need use_reentrant=False")
    if context_fn is not noop_context_fn or debug:
        raise ValueError("checkpoint: context_fn and debug need use_reentrant=False")
    if facula.is_grad_enabled():
        check_backward_validity(args)
    return CheckpointFunction.apply(function, preserve_rng_state, *args)


def checkpoint_sequential(functions, segments, input, use_reentrant=None, **kwargs):
    """Runs functions one after the other, in so many checkpointed segments.

    The last segment is not checkpointed: backward begins there.
    """
    if use_reentrant is None:
        warnings.warn(
            "checkpoint_sequential: pass use_reentrant explicitly; False is recommended, True is "
            "the default.",
            stacklevel=2,
        )
        use_reentrant = True
    preserve_rng_state = kwargs.pop("preserve_rng_state", True)
    if kwargs:
        raise ValueError(f"checkpoint_sequential: unknown arguments {sorted(kwargs)}")
    if isinstance(functions, facula.nn.Sequential):
        functions = list(functions.children())

    def segment(start, end):
        def run(x):
            for function in functions[start:end]:
                x = function(x)
            return x

        return run

    size = len(functions) // segments
    start = 0
    for _ in range(segments - 1):
        input = checkpoint(
            segment(start, start + size),
            input,
            use_reentrant=use_reentrant,
            preserve_rng_state=preserve_rng_state,
        )
        start += size
    return segment(start, len(functions))(input)


# --- selective checkpointing


class CheckpointPolicy(enum.Enum):
    """What becomes of the results of an operator in a region.

    MUST_* hold in any case; PREFER_* leave room to compilers. CPU_OFFLOAD keeps them on the CPU.
    """

    MUST_SAVE = 0
    PREFER_SAVE = 1
    MUST_RECOMPUTE = 2
    PREFER_RECOMPUTE = 3
    MUST_CPU_OFFLOAD = 4
    PREFER_CPU_OFFLOAD = 5


_SAVED = {CheckpointPolicy.MUST_SAVE, CheckpointPolicy.PREFER_SAVE}
_OFFLOADED = {CheckpointPolicy.MUST_CPU_OFFLOAD, CheckpointPolicy.PREFER_CPU_OFFLOAD}


class SelectiveCheckpointContext:
    """What a policy learns beside the operator: `is_recompute`, and the result in `op_output`."""

    def __init__(self, *, is_recompute, op_output=None):
        self.is_recompute, self.op_output = is_recompute, op_output


class _Cached:
    """A tensor that is kept, and its version, to notice changes."""

    def __init__(self, tensor, offload):
        self.device = tensor.device
        self.tensor = tensor.detach().to("cpu") if offload else tensor.detach()
        self.version = self.tensor._version

    def get(self, allow_mutation):
        if self.tensor._version != self.version and not allow_mutation:
            raise RuntimeError(
                "checkpoint: a tensor that the policy keeps was changed in place afterwards. Keep "
                "another one, or allow it with allow_cache_entry_mutation=True."
            )
        return self.tensor.detach().to(self.device)


class _CachingTorchDispatchMode(TorchDispatchMode):
    """In the first run: keeps what the policy says, in order, for each operator."""

    def __init__(self, policy_fn, storage):
        super().__init__()
        self.policy_fn, self.storage = policy_fn, storage

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if func in SAC_IGNORED_OPS:
            return result
        context = SelectiveCheckpointContext(is_recompute=False, op_output=result)
        policy = self.policy_fn(context, func, *args, **kwargs)
        if isinstance(policy, bool):
            policy = CheckpointPolicy.MUST_SAVE if policy else CheckpointPolicy.PREFER_RECOMPUTE
        kept = None
        if policy in _SAVED or policy in _OFFLOADED:

            def keep(x):
                return _Cached(x, policy in _OFFLOADED) if isinstance(x, Tensor) else x

            kept = (tree_map(keep, result),)
        self.storage.setdefault(func, []).append(kept)
        return result


class _CachedTorchDispatchMode(TorchDispatchMode):
    """In another run: what was kept, and the rest computed."""

    def __init__(self, storage, allow_mutation):
        super().__init__()
        self.storage, self.allow_mutation = storage, allow_mutation

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func in SAC_IGNORED_OPS:
            return func(*args, **(kwargs or {}))
        entries = self.storage.get(func)
        if not entries:
            raise RuntimeError(
                f"checkpoint: {func} runs more often than at first. A region with a policy has one "
                "backward; after that nothing is kept."
            )
        kept = entries.pop(0)
        if kept is None:
            return func(*args, **(kwargs or {}))

        def get(x):
            return x.get(self.allow_mutation) if isinstance(x, _Cached) else x

        return tree_map(get, kept[0])


def create_selective_checkpoint_contexts(policy_fn_or_list, allow_cache_entry_mutation=False):
    """For `context_fn`: contexts that keep the results of chosen operators of a region.

    The choice is a list of operators (`facula.ops.aten.mm.default`), whose results are kept, or a
    function `policy(context, op, *args, **kwargs)` that returns a CheckpointPolicy.
    """
    if isinstance(policy_fn_or_list, list):
        for op in policy_fn_or_list:
            if not isinstance(op, _C.OpOverload):
                raise ValueError(
                    f"create_selective_checkpoint_contexts: {op} is no single operator; of a group "
                    "take one, such as facula.ops.aten.mm.default"
                )
        chosen = frozenset(policy_fn_or_list)

        def policy_fn(context, op, *args, **kwargs):
            return op in chosen

    elif callable(policy_fn_or_list):
        policy_fn = policy_fn_or_list
    else:
        raise TypeError(
            "create_selective_checkpoint_contexts takes a function or a list of operators, not "
            f"{type(policy_fn_or_list).__name__}"
        )
    storage = {}
    return (
        _CachingTorchDispatchMode(policy_fn, storage),
        _CachedTorchDispatchMode(storage, allow_cache_entry_mutation),
    )
