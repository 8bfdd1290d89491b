"""Events of a profile, their averages and tables, and the files that they are written to."""

from __future__ import annotations

import bisect
import collections
import enum
import itertools
import os
from typing import Any, NamedTuple

__all__ = [
    "DeviceType",
    "EventList",
    "EventMetadata",
    "FormattedTimesMixin",
    "FunctionEvent",
    "FunctionEventAvg",
    "Interval",
    "Kernel",
    "MemRecordsAcc",
    "ProfilerActivity",
    "RecordScope",
    "StringTable",
]

MEMORY_EVENT_NAME = "[memory]"
OUT_OF_MEMORY_EVENT_NAME = "[OutOfMemory]"


def _enum(name, names):
    return enum.Enum(name, {member: number for number, member in enumerate(names.split())})


DeviceType = _enum(
    "DeviceType",
    "CPU CUDA MKLDNN OPENGL OPENCL IDEEP HIP FPGA MAIA XLA Vulkan Metal XPU MPS Meta HPU VE Lazy "
    "IPU MTIA PrivateUse1",
)
ProfilerActivity = _enum("ProfilerActivity", "CPU XPU CUDA HPU MTIA PrivateUse1")
RecordScope = _enum(
    "RecordScope",
    "FUNCTION BACKWARD_FUNCTION TORCHSCRIPT_FUNCTION KERNEL_FUNCTION_DTYPE CUSTOM_CLASS "
    "BUILD_FEATURE LITE_INTERPRETER USER_SCOPE STATIC_RUNTIME_OP STATIC_RUNTIME_MODEL",
)


class Kernel(NamedTuple):
    """What a device ran for an event; `duration` in microseconds."""

    name: str
    device: int
    duration: float


class Interval:
    """From `start` to `end`, in microseconds."""

    def __init__(self, start, end):
        self.start = start
        self.end = end

    def elapsed_us(self):
        return self.end - self.start


class EventMetadata(NamedTuple):
    """What accelerators and collectives say about an event; None where they say nothing."""

    registers_per_thread: int | None = None
    shared_memory: int | None = None
    grid: list[int] | None = None
    block: list[int] | None = None
    priority: int | None = None
    blocks_per_sm: float | None = None
    warps_per_sm: float | None = None
    occupancy: dict[str, Any] | None = None
    est_occupancy_pct: float | None = None
    queued: int | None = None
    graph_id: int | None = None
    graph_node_id: int | None = None
    stream: int | None = None
    context: int | None = None
    channel: int | None = None
    channel_type: int | None = None
    bytes: int | None = None
    bandwidth_gb_s: float | None = None
    collective_name: str | None = None
    dtype: str | None = None
    in_msg_nelems: int | None = None
    out_msg_nelems: int | None = None
    in_split_size: str | None = None
    out_split_size: str | None = None
    global_rank_start: int | None = None
    global_rank_stride: int | None = None
    group_size: int | None = None
    process_group_name: str | None = None
    process_group_desc: str | None = None
    group_ranks: str | None = None
    rank: int | None = None
    src_rank: int | None = None
    dst_rank: int | None = None
    seq: int | None = None
    is_async: bool | None = None


class MemRecordsAcc:
    """Finds records by time: each item is a tuple whose first member has `start_ns()`."""

    def __init__(self, mem_records):
        self._records = sorted(mem_records, key=lambda item: item[0].start_ns())
        self._starts = [item[0].start_ns() for item in self._records]

    def in_interval(self, start_ns, end_ns):
        first = bisect.bisect_left(self._starts, start_ns)
        last = bisect.bisect_right(self._starts, end_ns)
        return iter(self._records[first:last])


def _demangle(name):
    """The name of a C++ function as it is written, where the C++ library is there to tell."""
    import ctypes
    import ctypes.util

    path = ctypes.util.find_library("stdc++")
    if not path or not name.startswith("_Z"):
        return name
    library, status = ctypes.CDLL(path), ctypes.c_int()
    library.__cxa_demangle.restype = ctypes.c_void_p
    at = library.__cxa_demangle(name.encode(), None, None, ctypes.byref(status))
    if not at:
        return name
    text = ctypes.string_at(at).decode()
    library.free(ctypes.c_void_p(at))
    return text


class StringTable(dict):
    """Names by themselves, those of C++ functions demangled; anything may be put in place."""

    def __missing__(self, key):
        self[key] = _demangle(key) if isinstance(key, str) else key
        return self[key]


# --- numbers as text ----------------------------------------------------------------------------


def _format_time(us, unit=None):
    if unit is None:
        unit = "s" if us >= 1e6 else "ms" if us >= 1e3 else "us"
    return f"{us / {'s': 1e6, 'ms': 1e3, 'us': 1}[unit]:.3f}{unit}"


def _format_share(part, whole):
    if whole == 0:
        return "--" if part else "0.00%"
    return f"{100 * part / whole:.2f}%"


def _format_memory(count):
    for power, unit in ((30, "GB"), (20, "MB"), (10, "KB")):
        if abs(count) >= 1 << power:
            return f"{count / (1 << power):.2f} {unit}"
    return f"{count} B"


def _shortened(text, width):
    """The text, at most `width` characters of it; None: all."""
    return text if width is None or len(text) <= width else text[: width - 3] + "..."


# --- events -------------------------------------------------------------------------------------


def _as_text(name, scale=None):
    """A property that writes the one of that name as a time."""
    return property(lambda self: _format_time(getattr(self, name)))


class FormattedTimesMixin:
    """Times as text, and averages over `count`; for classes that have the totals."""

    cpu_time_str = _as_text("cpu_time")
    device_time_str = _as_text("device_time")
    cpu_time_total_str = _as_text("cpu_time_total")
    device_time_total_str = _as_text("device_time_total")
    self_cpu_time_total_str = _as_text("self_cpu_time_total")
    self_device_time_total_str = _as_text("self_device_time_total")

    @property
    def cpu_time(self):
        return self.cpu_time_total / self.count if self.count else 0.0

    @property
    def device_time(self):
        return self.device_time_total / self.count if self.count else 0.0

    cuda_time = device_time


class FunctionEvent(FormattedTimesMixin):
    """One call of an operator, of a node of the graph or of a module, or one named range.

    Times are in microseconds, memory in bytes. What happened inside is in `cpu_children`. An
    operator and the node that it made have the same `sequence_nr`.
    """

    def __init__(
        self,
        id,
        name,
        thread,
        start_us,
        end_us,
        overload_name=None,
        fwd_thread=None,
        input_shapes=None,
        stack=None,
        scope=0,
        use_device=None,
        cpu_memory_usage=0,
        device_memory_usage=0,
        is_async=False,
        is_remote=False,
        sequence_nr=-1,
        node_id=-1,
        device_type=DeviceType.CPU,
        device_index=0,
        device_resource_id=None,
        is_legacy=False,
        flops=None,
        trace_name=None,
        concrete_inputs=None,
        kwinputs=None,
        is_user_annotation=False,
        is_python_function=False,
        activity_type=None,
        metadata_json=None,
        flow_id=None,
        flow_type=None,
        flow_start=None,
        external_id=0,
        linked_correlation_id=0,
        extra_meta=None,
        structured_input_shapes=None,
        structured_input_strides=None,
        input_dtypes=None,
        python_id=-1,
        python_parent_id=-1,
        python_module_id=-1,
    ):
        self.id = id
        self.node_id = node_id
        self.name = name
        self.overload_name = overload_name or ""
        self.trace_name = trace_name or name
        self.time_range = Interval(start_us, end_us)
        self.thread = thread
        self.fwd_thread = fwd_thread
        self.kernels: list[Kernel] = []
        self.count = 1
        self.cpu_children: list[FunctionEvent] = []
        self.cpu_parent: FunctionEvent | None = None
        self.input_shapes = input_shapes or []
        self.concrete_inputs = concrete_inputs or []
        self.kwinputs = kwinputs or {}
        self.stack = stack or []
        self.scope = scope
        self.use_device = use_device
        self.cpu_memory_usage = cpu_memory_usage
        self.device_memory_usage = device_memory_usage
        self.is_async = is_async
        self.is_remote = is_remote
        self.sequence_nr = sequence_nr
        self.device_type = device_type
        self.device_index = device_index
        self.device_resource_id = thread if device_resource_id is None else device_resource_id
        self.is_legacy = is_legacy
        self.flops = flops
        self.is_user_annotation = is_user_annotation
        self.is_python_function = is_python_function
        self.activity_type = activity_type
        self.metadata_json = metadata_json
        self.flow_id = flow_id
        self.flow_type = flow_type
        self.flow_start = flow_start
        self.external_id = external_id
        self.linked_correlation_id = linked_correlation_id
        self.extra_meta = extra_meta
        self.event_metadata = EventMetadata(**extra_meta) if extra_meta else None
        self.self_cpu_percent = self.total_cpu_percent = self.total_device_percent = -1
        self.structured_input_shapes = structured_input_shapes or []
        self.structured_input_strides = structured_input_strides or []
        self.input_dtypes = input_dtypes or []
        self.python_id = python_id
        self.python_parent_id = python_parent_id
        self.python_module_id = python_module_id

    def append_kernel(self, name, device, duration):
        self.kernels.append(Kernel(name, device, duration))

    def append_cpu_child(self, child):
        self.cpu_children.append(child)

    def set_cpu_parent(self, parent):
        self.cpu_parent = parent

    @property
    def key(self):
        return self.name

    def _less_children(self, name):
        whole = getattr(self, name)
        return whole - sum(getattr(child, name) for child in self.cpu_children)

    @property
    def self_cpu_memory_usage(self):
        return self._less_children("cpu_memory_usage")

    @property
    def self_device_memory_usage(self):
        return self._less_children("device_memory_usage")

    @property
    def cpu_time_total(self):
        return self.time_range.elapsed_us() if self.device_type is DeviceType.CPU else 0

    @property
    def self_cpu_time_total(self):
        return self._less_children("cpu_time_total") if not self.is_async else 0

    @property
    def device_time_total(self):
        if self.device_type is not DeviceType.CPU:
            return self.time_range.elapsed_us()
        own = sum(kernel.duration for kernel in self.kernels)
        return own + sum(child.device_time_total for child in self.cpu_children)

    @property
    def self_device_time_total(self):
        return self._less_children("device_time_total")

    cuda_time_total = device_time_total
    self_cuda_time_total = self_device_time_total
    self_cuda_memory_usage = self_device_memory_usage

    def __repr__(self):
        return (
            f"<FunctionEvent id={self.id} name={self.name} thread={self.thread} "
            f"start_us={self.time_range.start:.3f} end_us={self.time_range.end:.3f} "
            f"cpu_time={self.cpu_time_str} cpu_children={[e.id for e in self.cpu_children]} "
            f"input_shapes={self.input_shapes} cpu_memory_usage={self.cpu_memory_usage} "
            f"sequence_nr={self.sequence_nr}>"
        )


class FunctionEventAvg(FormattedTimesMixin):
    """The sum of events that count as the same."""

    def __init__(self):
        self.key = None
        self.count = 0
        self.node_id = 0
        self.is_async = self.is_remote = self.is_legacy = self.is_user_annotation = False
        self.use_device = None
        self.cpu_time_total = self.device_time_total = 0
        self.self_cpu_time_total = self.self_device_time_total = 0
        self.input_shapes = None
        self.overload_name = None
        self.stack = None
        self.scope = None
        self.cpu_memory_usage = self.device_memory_usage = 0
        self.self_cpu_memory_usage = self.self_device_memory_usage = 0
        self.cpu_children = None
        self.cpu_parent = None
        self.device_type = DeviceType.CPU
        self.flops = 0

    _sums = (
        "cpu_time_total device_time_total self_cpu_time_total self_device_time_total "
        "cpu_memory_usage device_memory_usage self_cpu_memory_usage self_device_memory_usage count"
    ).split()
    _kinds = (
        "key node_id is_async is_remote use_device is_legacy is_user_annotation cpu_children "
        "cpu_parent input_shapes overload_name stack scope device_type"
    ).split()

    def add(self, other):
        """Counts an event, or an average of the same, in."""
        if self.key is None:  # the first says what it is
            for name in self._kinds:
                setattr(self, name, getattr(other, name))
        for name in self._sums:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.flops += other.flops or 0
        return self

    __iadd__ = add

    @property
    def self_cuda_time_total(self):
        return self.self_device_time_total

    @property
    def cuda_time_total(self):
        return self.device_time_total

    def __repr__(self):
        return (
            f"<FunctionEventAvg key={self.key} count={self.count} "
            f"self_cpu_time={self.self_cpu_time_total_str} cpu_time={self.cpu_time_str} "
            f"device_time={self.device_time_str} input_shapes={self.input_shapes} "
            f"cpu_memory_usage={self.cpu_memory_usage}>"
        )


# --- lists --------------------------------------------------------------------------------------


class EventList(list):
    """Events, or averages of them."""

    def __init__(self, *args, **options):
        self._use_device = options.pop("use_device", None)
        self._profile_memory = options.pop("profile_memory", False)
        self._with_flops = options.pop("with_flops", False)
        super().__init__(*args, **options)
        self._tree_built = False
        self._trace_start_us = 0.0
        self._metadata: dict[str, Any] = {}

    def _build_tree(self):
        """Events of one thread lie inside each other where their times do."""
        cpu = [e for e in self if e.device_type is DeviceType.CPU and not e.is_async]
        cpu.sort(key=lambda e: (e.thread, e.time_range.start, -e.time_range.end))
        for _, events in itertools.groupby(cpu, key=lambda e: e.thread):
            around: list[FunctionEvent] = []
            for event in events:
                while around and event.time_range.end > around[-1].time_range.end:
                    around.pop()
                if around:
                    around[-1].append_cpu_child(event)
                    event.set_cpu_parent(around[-1])
                around.append(event)
        self._tree_built = True

    @property
    def self_cpu_time_total(self):
        """The time in microseconds that all events together took, each moment counted once."""
        return sum(event.self_cpu_time_total for event in self)

    def key_averages(
        self, group_by_input_shapes=False, group_by_stack_n=0, group_by_overload_name=False
    ):
        """Sums over events of the same name, and where asked for also of the same input shapes, of
        the same innermost lines of their stack, of the same overload."""
        groups: dict[tuple, FunctionEventAvg] = collections.defaultdict(FunctionEventAvg)
        for event in self:
            key = [event.key, event.node_id, event.device_type, event.is_user_annotation]
            key.append(event.overload_name if group_by_overload_name else "")
            key.append(str(event.input_shapes) if group_by_input_shapes else "")
            key.extend(event.stack[:group_by_stack_n])
            groups[tuple(key)].add(event)
        averages = EventList(
            groups.values(),
            use_device=self._use_device,
            profile_memory=self._profile_memory,
            with_flops=self._with_flops,
        )
        for average in averages:
            average.stack = average.stack[:group_by_stack_n]
            if not group_by_input_shapes:
                average.input_shapes = ""
            if not group_by_overload_name:
                average.overload_name = ""
        return averages

    def total_average(self):
        """The sum over all events."""
        total = FunctionEventAvg()
        for event in self:
            total.add(event)
        total.key = "Total"
        return total

    def table(
        self,
        sort_by=None,
        row_limit=100,
        max_src_column_width=75,
        max_name_column_width=55,
        max_shapes_column_width=80,
        header=None,
        top_level_events_only=False,
        time_unit=None,
    ):
        """The events as text, in descending order of `sort_by`: count, cpu_time, cpu_time_total,
        self_cpu_time_total, cpu_memory_usage, self_cpu_memory_usage, or the same of a device."""
        rows = list(self)
        if sort_by is not None:
            if rows and not hasattr(rows[0], sort_by):
                raise AttributeError(f"events have no {sort_by!r} to sort by")
            rows.sort(key=lambda event: getattr(event, sort_by), reverse=True)
        if top_level_events_only:
            rows = [event for event in rows if event.cpu_parent is None]
        widths = (max_name_column_width, max_shapes_column_width, max_src_column_width)
        return _Table(self, rows, widths, time_unit).text(header, row_limit)

    def __str__(self):
        return self.table()

    # --- files

    def export_chrome_trace(self, path):
        """Writes what chrome://tracing and Perfetto read; compressed where the name ends in .gz."""
        import gzip
        import json

        open_file = gzip.open if str(path).endswith(".gz") else open
        trace = {
            "schemaVersion": 1,
            "displayTimeUnit": "ms",
            "deviceProperties": [],
            **self._metadata,
            "traceEvents": list(_trace_events(self)),
        }
        with open_file(path, "wt", encoding="utf-8") as file:
            json.dump(trace, file)

    def supported_export_stacks_metrics(self):
        return ["self_cpu_time_total", "self_cuda_time_total", "self_device_time_total"]

    def export_stacks(self, path: str, metric: str = "self_cpu_time_total"):
        """Writes "outermost;...;innermost value" lines, which tools for flame graphs read."""
        if metric not in self.supported_export_stacks_metrics():
            raise ValueError(
                f"metric must be one of {self.supported_export_stacks_metrics()}, not {metric!r}"
            )
        sums: dict[str, float] = collections.defaultdict(float)
        separators = str.maketrans(" ;\t\n", "____")
        for event in self:
            if event.stack:
                line = ";".join(entry.translate(separators) for entry in reversed(event.stack))
                sums[line] += getattr(event, metric)
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(f"{line} {int(us)}\n" for line, us in sums.items() if int(us) > 0)


# --- tables -------------------------------------------------------------------------------------


class _Table:
    """Columns as they fit the events: heading, width, text of an event, whether on the left."""

    def __init__(self, events, rows, widths, unit):
        self.rows = rows
        self.events = events
        self.unit = unit
        self.columns: list[tuple] = []
        self.time = events.self_cpu_time_total
        name_width, shapes_width, source_width = widths
        every = rows or [FunctionEventAvg()]
        self._add("Name", [event.key or "" for event in every], name_width)
        if any(event.overload_name for event in every):
            self._add("Overload Name", [event.overload_name for event in every], name_width)
        self._add_times("CPU", "cpu", self.time)
        if events._use_device:
            device_time = sum(event.self_device_time_total for event in events)
            self._add_times(events._use_device.upper(), "device", device_time)
        if events._profile_memory:
            self._add_each("CPU Mem", lambda e: _format_memory(e.cpu_memory_usage))
            self._add_each("Self CPU Mem", lambda e: _format_memory(e.self_cpu_memory_usage))
        self._add_each("# of Calls", lambda e: str(e.count))
        if any(event.input_shapes for event in every):
            self._add("Input Shapes", [str(event.input_shapes) for event in every], shapes_width)
        if any(event.stack for event in every):
            self._add(
                "Source Location", [e.stack[0] if e.stack else "" for e in every], source_width
            )
        if events._with_flops:
            self._add_flops(every)

    def _add(self, heading, texts, limit):
        texts = [_shortened(text, limit) for text in texts]
        width = max(len(heading), *map(len, texts))
        self.columns.append((heading, width, texts))

    def _add_each(self, heading, text):
        texts = [text(event) for event in self.rows]
        width = max([12, len(heading), *map(len, texts)])
        self.columns.append((heading, width, texts))

    def _add_times(self, heading, attribute, whole):
        own, total = f"self_{attribute}_time_total", f"{attribute}_time_total"
        share = _format_share
        self._add_each(f"Self {heading} %", lambda e: share(getattr(e, own), whole))
        self._add_each(f"Self {heading}", lambda e: _format_time(getattr(e, own), self.unit))
        self._add_each(f"{heading} total %", lambda e: share(getattr(e, total), whole))
        self._add_each(f"{heading} total", lambda e: _format_time(getattr(e, total), self.unit))
        average = f"{attribute}_time"
        self._add_each(
            f"{heading} time avg", lambda e: _format_time(getattr(e, average), self.unit)
        )

    def _add_flops(self, every):
        largest = max((event.flops or 0 for event in every), default=0)
        power = min(max(len(str(int(largest))) - 1, 0) // 3, 5) if largest >= 1e6 else 0
        unit = ("", "K", "M", "G", "T", "P")[power]
        self._add_each(
            f"Total {unit}FLOPs",
            lambda e: f"{e.flops / 1000**power:.3f}" if (e.flops or 0) > 0 else "--",
        )

    def text(self, header, row_limit):
        rule = "  ".join("-" * width for _, width, _ in self.columns)
        lines = [] if header is None else ["=" * len(rule), header]
        lines += [rule, "  ".join(f"{heading:>{width}}" for heading, width, _ in self.columns)]
        lines.append(rule)
        shown = len(self.rows) if row_limit is None or row_limit < 0 else row_limit
        for i, event in enumerate(self.rows[:shown]):
            lines.append("  ".join(f"{texts[i]:>{width}}" for _, width, texts in self.columns))
            lines += self._further_stack(event)
        lines += [rule, f"Self CPU time total: {_format_time(self.time, self.unit)}"]
        if self.events._use_device:
            device_time = sum(event.self_device_time_total for event in self.events)
            name = self.events._use_device.upper()
            lines.append(f"Self {name} time total: {_format_time(device_time, self.unit)}")
        return "\n".join(lines) + "\n"

    def _further_stack(self, event):
        """The lines of a stack below its first, each below the other."""
        before = 0
        for heading, width, _ in self.columns:
            if heading == "Source Location":
                return [f"{'':{before}}{entry:>{width}}" for entry in (event.stack or [])[1:]]
            before += width + 2
        return []


# --- traces -------------------------------------------------------------------------------------


def _args_of(event):
    args: dict[str, Any] = {"External id": event.id, "Ev Idx": event.id}
    if event.sequence_nr >= 0:
        args |= {"Sequence number": event.sequence_nr, "Fwd thread id": event.fwd_thread or 0}
    if event.input_shapes:
        args["Input Dims"] = event.input_shapes
        args["Input type"] = event.input_dtypes
        args["Input Strides"] = event.structured_input_strides
        args["Concrete Inputs"] = [
            "" if value is None else str(value) for value in event.concrete_inputs
        ]
    if event.stack:
        args["Call stack"] = ";".join(reversed(event.stack))
    if event.flops:
        args["flops"] = event.flops
    return args


def _trace_events(events):
    """The items of "traceEvents": complete events, arrows from forward to backward, and memory."""
    process, start = os.getpid(), events._trace_start_us
    yield {
        "ph": "M",
        "name": "process_name",
        "ts": start,
        "pid": process,
        "tid": 0,
        "args": {"name": "python"},
    }
    made = {
        e.sequence_nr: e for e in events if e.scope == 0 and e.sequence_nr >= 0 and not e.fwd_thread
    }
    total = 0
    for event in events:
        at = {"pid": process, "tid": event.thread, "ts": start + event.time_range.start}
        if event.name == MEMORY_EVENT_NAME or events._profile_memory and event.cpu_parent is None:
            total += event.cpu_memory_usage
            args = {"Total Allocated": total, "Bytes": event.cpu_memory_usage, "Device Type": 0}
            then = at | {"ts": start + event.time_range.end}
            yield {
                "ph": "i",
                "s": "t",
                "cat": "cpu_instant_event",
                "name": MEMORY_EVENT_NAME,
                **then,
                "args": args,
            }
        if event.name == MEMORY_EVENT_NAME:
            continue
        kind = "user_annotation" if event.is_user_annotation else "cpu_op"
        kind = "python_function" if event.is_python_function else kind
        duration = event.time_range.elapsed_us()
        yield {
            "ph": "X",
            "cat": kind,
            "name": event.name,
            **at,
            "dur": duration,
            "args": _args_of(event),
        }
        forward = made.get(event.sequence_nr)
        if forward is not None and event.scope == 1:
            arrow = {"cat": "fwdbwd", "name": "fwdbwd", "id": event.sequence_nr, "pid": process}
            begin = start + forward.time_range.start
            yield {"ph": "s", **arrow, "tid": forward.thread, "ts": begin}
            yield {"ph": "f", "bp": "e", **arrow, "tid": event.thread, "ts": at["ts"]}
        for kernel in event.kernels:
            yield {
                "ph": "X",
                "cat": "kernel",
                "name": kernel.name,
                **at,
                "dur": kernel.duration,
                "args": {"device": kernel.device},
            }
