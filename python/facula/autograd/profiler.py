"""What ran when: a record of operators, backward and named ranges. See docs/profiler.md."""

from __future__ import annotations

import ctypes
import functools
import math
import os
import threading
import warnings

from .. import _C
from .profiler_util import (
    MEMORY_EVENT_NAME,
    DeviceType,
    EventList,
    FunctionEvent,
    FunctionEventAvg,
    Kernel,
    MemRecordsAcc,
    ProfilerActivity,
    RecordScope,
    StringTable,
)

__all__ = [
    "DeviceType",
    "EnforceUnique",
    "EventList",
    "FunctionEvent",
    "FunctionEventAvg",
    "Kernel",
    "KinetoStepTracker",
    "MemRecordsAcc",
    "ProfilerActivity",
    "emit_itt",
    "emit_nvtx",
    "kineto_available",
    "load_nvprof",
    "parse_nvprof_trace",
    "profile",
    "record_function",
]


def kineto_available() -> bool:
    """Whether profiles can be taken: always."""
    return True


class record_function:
    """Names a part of a program for profilers: a context manager and a decorator.

    While nobody listens it costs next to nothing.
    """

    __slots__ = ("name", "args", "_range")

    def __init__(self, name: str, args: str | None = None):
        self.name = name
        self.args = args

    def __enter__(self):
        self._range = _C._range_begin(self.name)
        return self

    def __exit__(self, *exc):
        if self._range:
            _C._range_end(self._range)

    def __call__(self, function):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            with record_function(self.name, self.args):
                return function(*args, **kwargs)

        return wrapper


# --- from what was recorded to events -----------------------------------------------------------

_CALL, _TASK, _NODE, _RANGE, _MODULE, _FUNCTION, _MEMORY = range(7)
_ARGS, _STACK, _MEMORY_TOO, _MODULES = 1, 2, 4, 8
_SCOPES = {
    _TASK: RecordScope.FUNCTION.value,
    _NODE: RecordScope.BACKWARD_FUNCTION.value,
    _RANGE: RecordScope.USER_SCOPE.value,
}
_TYPE_NAMES = {
    "float32": "float",
    "float64": "double",
    "int64": "long int",
    "int32": "int",
    "int16": "short int",
    "int8": "signed char",
    "uint8": "unsigned char",
    "float16": "c10::Half",
    "bfloat16": "c10::BFloat16",
    "complex64": "c10::complex<float>",
    "complex128": "c10::complex<double>",
}


def _is_tensors(value):
    return isinstance(value, list) and bool(value) and not isinstance(value[0], (int, float))


def _shape_of(value, part=1):
    """The sizes (or with part=2 the strides) of a tensor, of each of a list; [] of all else."""
    if isinstance(value, tuple):
        return value[part]
    return [_shape_of(item, part) for item in value] if _is_tensors(value) else []


def _type_of(value):
    if isinstance(value, tuple):
        return _TYPE_NAMES.get(value[0], value[0])
    if isinstance(value, list):
        return "TensorList" if _is_tensors(value) else "ScalarList"
    return "" if value is None else "Scalar"


def _plain(value):
    return None if isinstance(value, tuple) or _is_tensors(value) else value


def _product_flops(sizes, other):
    """Two for each multiplication and addition of (..., n, k) @ (..., k, m)."""
    return 2 * math.prod(sizes) * (other[-1] if len(other) > 1 else 1)


def _convolution_flops(args):
    """Those of `_conv` and its two adjoints: of each element of the result of the convolution, a
    sum over a window."""
    weight = args["weight"][1] if "weight" in args else args["size"]
    if "grad_output" in args:
        return 2 * math.prod(args["grad_output"][1]) * math.prod(weight[1:])
    size, padding, n = args["input"][1], args["padding"], len(weight) - 2
    if len(padding) == n:  # before and behind each dimension
        padding = [p for p in padding for _ in range(2)]
    result = [size[0], weight[0]]
    for d in range(n):
        window = args["dilation"][d] * (weight[2 + d] - 1) + 1
        room = size[2 + d] + padding[2 * d] + padding[2 * d + 1] - window
        result.append(room // args["stride"][d] + 1)
    return 2 * math.prod(result) * math.prod(weight[1:])


_PRODUCTS = {
    "mm": ("self", "mat2"),
    "bmm": ("self", "mat2"),
    "mv": ("self", "vec"),
    "dot": ("self", "tensor"),
    "addmm": ("mat1", "mat2"),
    "baddbmm": ("batch1", "batch2"),
}
_CONVOLUTIONS = {"_conv", "_conv_input", "_conv_weight"}
_NAMED_CONVOLUTIONS = {
    f"aten::conv{form}{dims}d" for form in ("", "_transpose") for dims in (1, 2, 3)
}
_ELEMENTWISE = {"add", "sub", "mul", "div"}


def _flops_of(name, args):
    """Operations on numbers that the call itself makes (not the calls inside of it)."""
    name = name.removeprefix("aten::").rstrip("_")
    args = dict(args)
    if name in _PRODUCTS:
        left, right = (args[key] for key in _PRODUCTS[name])
        return _product_flops(left[1], right[1])
    if name == "linear":
        return 2 * math.prod(args["input"][1]) * math.prod(args["weight"][1][:-1])
    if name in _CONVOLUTIONS:
        return _convolution_flops(args)
    if name in _ELEMENTWISE:
        return max((math.prod(v[1]) for v in args.values() if isinstance(v, tuple)), default=0)
    return 0


class _Modules:
    """Numbers modules of one class in the order in which they were first called."""

    def __init__(self):
        self.names = {}
        self.counts = {}

    def name(self, kind, subject):
        kind = kind.rpartition(".")[2]
        if subject not in self.names:
            number = self.counts.setdefault(kind, 0)
            self.counts[kind] += 1
            self.names[subject] = f"nn.Module: {kind}_{number}"
        return self.names[subject]


def _event(number, item, begin, thread, modules):
    kind, name, overload, _, start, end, sequence, _, size, args, stack, subject = item
    options = {}
    if kind == _MODULE:
        name = modules.name(name, subject)
    elif kind == _MEMORY:
        name = MEMORY_EVENT_NAME
    elif kind == _CALL and args is not None:
        values = [value for _, value in args]
        shapes = [_shape_of(value) for value in values]
        options = {
            "input_shapes": shapes,
            "structured_input_shapes": shapes,
            "structured_input_strides": [_shape_of(value, 2) for value in values],
            "concrete_inputs": [_plain(value) for value in values],
            "input_dtypes": [_type_of(value) for value in values],
        }
    return FunctionEvent(
        number,
        name,
        thread,
        (start - begin) / 1000,
        (end - begin) / 1000,
        overload_name=overload,
        fwd_thread=thread if kind in (_TASK, _NODE) and sequence >= 0 else 0,
        stack=stack,
        scope=_SCOPES.get(kind, 0),
        cpu_memory_usage=size,
        flops=0,
        sequence_nr=sequence,
        is_user_annotation=kind == _RANGE,
        is_python_function=kind == _MODULE,
        **options,
    )


def _inherit_stacks(events):
    """What runs in backward is shown with the lines of the forward call that it belongs to."""
    forward = {e.sequence_nr: e for e in events if e.sequence_nr >= 0 and not e.fwd_thread}
    for event in events:
        made = forward.get(event.sequence_nr) if event.fwd_thread else None
        around = event.cpu_parent
        if made is not None and made.stack:
            event.stack = made.stack
        elif around is not None and around.fwd_thread and around.sequence_nr in forward:
            event.stack = around.stack
            event.fwd_thread = around.fwd_thread if event.scope == 1 else event.fwd_thread


def _named_convolution(event):
    """The call of conv2d or the like that a convolution is made for, or None."""
    around = event.cpu_parent if event.name.startswith("aten::_conv") else None
    while around is not None and around.name not in _NAMED_CONVOLUTIONS:
        around = around.cpu_parent
    return around


def _as_events(recorded, thread, with_flops=False, shapes=True, **options):
    """An EventList of what `_C._profile_stop` returned."""
    items, begin, _, lost = recorded
    if lost:
        warnings.warn(f"{lost} events are missing: there was no memory for them", stacklevel=3)
    modules = _Modules()
    if not shapes:
        plain = [item[:9] + (None,) + item[10:] for item in items]
    events = EventList(
        (
            _event(i, item, begin, thread, modules)
            for i, item in enumerate(items if shapes else plain)
        ),
        with_flops=with_flops,
        **options,
    )
    for item, event in zip(items, events):
        if item[3] >= 0:
            events[item[3]].append_cpu_child(event)
            event.set_cpu_parent(events[item[3]])
        if with_flops and item[9] is not None:
            counted = _flops_of(event.name, item[9])
            if around := _named_convolution(event):
                around.flops += counted
            else:
                event.flops = counted
    _inherit_stacks(events)
    events._tree_built = True
    events._trace_start_us = begin / 1000
    return events


# --- the profiler -------------------------------------------------------------------------------


class profile:
    """Records what the thread that enters it runs, forward and backward.

    record_shapes notes arguments, with_stack lines of Python, profile_memory what memory each
    event took or gave back, with_flops operations on numbers, with_modules the calls of modules.
    There is no device but the CPU to time here: asking for another gives a warning.
    """

    def __init__(
        self,
        enabled=True,
        *,
        use_cuda=False,
        use_device=None,
        record_shapes=False,
        with_flops=False,
        profile_memory=False,
        with_stack=False,
        with_modules=False,
        use_kineto=False,
        use_cpu=True,
        experimental_config=None,
        acc_events=False,
        custom_trace_id_callback=None,
        post_processing_timeout_s: float | None = None,
        activity_filters=None,
    ):
        self.enabled = enabled
        self.record_shapes = record_shapes
        self.with_flops = with_flops
        self.profile_memory = profile_memory
        self.with_stack = with_stack
        self.with_modules = with_modules
        self.use_cpu = use_cpu
        self.acc_events = acc_events
        self.custom_trace_id_callback = custom_trace_id_callback
        self.use_device = None
        self.trace_id = ""
        self.entered = False
        self._events: EventList | None = None
        self._old: EventList | None = None
        self._metadata: dict[str, str] = {}
        if enabled and (use_cuda or use_device not in (None, "cpu")):
            name = "cuda" if use_cuda else use_device
            warnings.warn(f"there is no {name} here: only the CPU is profiled", stacklevel=2)
        if enabled and not use_cpu:
            raise ValueError("use_cpu=False leaves nothing to profile: there is only the CPU here")

    def config(self, create_trace_id=False):
        """What is recorded, as bits for the recorder."""
        if create_trace_id:
            self.trace_id = self.create_trace_id()
        return (
            _ARGS * bool(self.record_shapes or self.with_flops)
            | _STACK * bool(self.with_stack)
            | _MEMORY_TOO * bool(self.profile_memory)
            | _MODULES * bool(self.with_modules)
        )

    def default_trace_id(self):
        return os.urandom(16).hex().upper()

    def create_trace_id(self):
        own = self.custom_trace_id_callback
        return own() if own is not None else self.default_trace_id()

    def __enter__(self):
        if not self.enabled:
            return self
        if self.entered:
            raise RuntimeError("a profile can be entered once; make another one")
        self.entered = True
        self._start()
        return self

    def _start(self):
        _C._profile_start(self.config(create_trace_id=True))

    def __exit__(self, *exc):
        if self.enabled:
            self._stop()
        return False

    def _stop(self):
        recorded = _C._profile_stop()
        if recorded is None:
            raise RuntimeError("the profiler does not run in this thread")
        events = _as_events(
            recorded,
            threading.get_native_id(),
            with_flops=self.with_flops,
            shapes=self.record_shapes,
            profile_memory=self.profile_memory,
        )
        if self._old is not None and self.acc_events:
            self._old.extend(events)
            events = self._old
        self._events = self._old = events
        events._metadata = self._metadata | {"trace_id": self.trace_id}

    def toggle_collection_dynamic(self, enabled: bool, activities):
        """Stops recording for a while, or goes on."""
        if any(activity is ProfilerActivity.CPU for activity in activities):
            _C._profile_pause(not enabled)

    def _finished(self):
        if self._events is None:
            raise RuntimeError("the profile has not ended yet; its events are there afterwards")
        return self._events

    @property
    def function_events(self):
        """All events, in the order of their beginnings."""
        return self._finished()

    @property
    def self_cpu_time_total(self):
        return self._finished().self_cpu_time_total

    def table(
        self,
        sort_by=None,
        row_limit=100,
        max_src_column_width=75,
        max_name_column_width=55,
        max_shapes_column_width=80,
        header=None,
        top_level_events_only=False,
    ):
        return self._finished().table(
            sort_by=sort_by,
            row_limit=row_limit,
            max_src_column_width=max_src_column_width,
            max_name_column_width=max_name_column_width,
            max_shapes_column_width=max_shapes_column_width,
            header=header,
            top_level_events_only=top_level_events_only,
        )

    table.__doc__ = EventList.table.__doc__

    def key_averages(
        self, group_by_input_shape=False, group_by_stack_n=0, group_by_overload_name=False
    ):
        return self._finished().key_averages(
            group_by_input_shape, group_by_stack_n, group_by_overload_name
        )

    key_averages.__doc__ = EventList.key_averages.__doc__

    def total_average(self):
        return self._finished().total_average()

    total_average.__doc__ = EventList.total_average.__doc__

    def export_chrome_trace(self, path, metadata=None, use_python_export=False):
        events = self._finished()
        events._metadata |= metadata or {}
        events.export_chrome_trace(path)

    export_chrome_trace.__doc__ = EventList.export_chrome_trace.__doc__

    def export_stacks(self, path: str, metric: str = "self_cpu_time_total"):
        if not self.with_stack:
            raise RuntimeError("export_stacks() needs a profile that was taken with_stack=True")
        return self._finished().export_stacks(path, metric)

    export_stacks.__doc__ = EventList.export_stacks.__doc__

    def __str__(self):
        return "<unfinished profile>" if self._events is None else str(self._events)

    __repr__ = __str__


# --- ranges for other tools ---------------------------------------------------------------------


class _Emit:
    """Hands every range to functions of somebody else's library; a context manager."""

    def __init__(self, enabled=True, record_shapes=False):
        self.enabled = enabled
        self.record_shapes = record_shapes
        self.entered = False
        self._functions = None  # kept alive while C calls them

    def __enter__(self):
        if not self.enabled:
            return self
        if self.entered:
            raise RuntimeError(f"{type(self).__name__} can be entered once; make another one")
        self._functions = self._open()
        push, pop = (ctypes.cast(f, ctypes.c_void_p).value for f in self._functions)
        self.entered = True
        _C._profile_emit(push, pop, self.record_shapes)
        return self

    def __exit__(self, *exc):
        if self.enabled:
            _C._profile_emit(0, 0, False)
        return False


class emit_nvtx(_Emit):
    """Marks each operator for NVIDIA's tools: run the program under `nsys profile`.

    Takes libnvToolsExt where it is installed (the CUDA toolkit, or pip install nvidia-nvtx-cu12).
    """

    def _open(self):
        for name in ("libnvToolsExt.so.1", "libnvToolsExt.so", *_nvtx_of_packages()):
            try:
                library = ctypes.CDLL(name)
            except OSError:
                continue
            return library.nvtxRangePushA, library.nvtxRangePop
        raise RuntimeError(
            "emit_nvtx needs NVIDIA's libnvToolsExt, which is not found; it comes with the CUDA "
            "toolkit or with pip install nvidia-nvtx-cu12"
        )


def _nvtx_of_packages():
    """Where NVIDIA's packages for pip put the library."""
    import sys
    from pathlib import Path

    for folder in sys.path:
        yield from map(str, Path(folder).glob("nvidia/nvtx/lib/libnvToolsExt.so*"))


class emit_itt(_Emit):
    """Marks each operator for Intel's tools: run the program under VTune (pip install ittapi)."""

    def _open(self):
        itt = _itt("emit_itt")
        domain = itt.domain("facula")

        @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_char_p)
        def push(name):
            itt.native.task_begin(domain, name.decode())
            return 0

        @ctypes.CFUNCTYPE(ctypes.c_int)
        def pop():
            itt.native.task_end(domain)
            return 0

        return push, pop


def _itt(what):
    try:
        import ittapi
    except ImportError:
        raise RuntimeError(
            f"{what} needs Intel's instrumentation, which is not found; pip install ittapi"
        ) from None
    return ittapi


# --- traces of nvprof ---------------------------------------------------------------------------


class EnforceUnique:
    """Raises when it sees a key for the second time."""

    def __init__(self):
        self.seen = set()

    def see(self, *key):
        if key in self.seen:
            raise RuntimeError(f"the key {key} comes up twice")
        self.seen.add(key)


def load_nvprof(path):
    """The events of a trace that nvprof wrote of a program under emit_nvtx."""
    return EventList(parse_nvprof_trace(path), use_device="cuda")


def parse_nvprof_trace(path):
    """The ranges of such a trace as a list of events, in order of time, with their kernels."""
    import sqlite3

    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        database.row_factory = sqlite3.Row
        strings = StringTable()
        for row in database.execute("SELECT _id_ AS id, value FROM StringTable"):
            strings[row["id"]] = StringTable()[row["value"]]
        events, unique = [], EnforceUnique()
        for row in database.execute(
            "SELECT opened.id, opened.name, opened.timestamp AS began, closed.timestamp AS ended "
            "FROM CUPTI_ACTIVITY_KIND_MARKER opened JOIN CUPTI_ACTIVITY_KIND_MARKER closed "
            "USING (id) WHERE opened.name <> 0 AND closed.name = 0 ORDER BY began, ended DESC"
        ):
            unique.see(row["id"])
            event = FunctionEvent(
                row["id"], strings[row["name"]], 0, row["began"] / 1000, row["ended"] / 1000
            )
            events.append(event)
        EventList(events)._build_tree()
        launches = database.execute(
            "SELECT runtime.start AS began, runtime.end AS ended, kernel.name, "
            "kernel.end - kernel.start AS duration FROM CUPTI_ACTIVITY_KIND_RUNTIME runtime JOIN "
            "CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL kernel USING (correlationId)"
        )
        for row in launches:
            around = _innermost(events, row["began"] / 1000, row["ended"] / 1000)
            if around is not None:
                around.append_kernel(strings[row["name"]], 0, row["duration"] / 1000)
    return events


def _innermost(events, begin, end):
    """The range that began last among those around a time."""
    for event in reversed(events):
        if event.time_range.start <= begin and end <= event.time_range.end:
            return event
    return None


class KinetoStepTracker:
    """Counts the steps of a program that several parts of it report: the largest count holds."""

    _counts: dict[str, int] = {}
    _step = 0

    @classmethod
    def init_step_count(cls, requester: str):
        cls._counts[requester] = cls._step

    @classmethod
    def erase_step_count(cls, requester: str) -> bool:
        return cls._counts.pop(requester, None) is not None

    @classmethod
    def increment_step(cls, requester: str) -> int:
        if requester not in cls._counts:
            cls.init_step_count(requester)
        cls._counts[requester] += 1
        cls._step = max(cls._step, *cls._counts.values())
        return cls._step

    @classmethod
    def current_step(cls) -> int:
        return cls._step
