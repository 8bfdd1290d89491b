"""autograd.profiler and facula.profiler: what is recorded, the tables and the files."""

import ctypes.util
import gzip
import json
import os
import sqlite3
import subprocess
import sys
import textwrap
import threading

import facula as torch
import pytest
from facula.autograd import profiler as P
from facula.autograd import profiler_util as U
from facula.profiler import ProfilerAction, ProfilerActivity, schedule


def names(events):
    return [event.name for event in events]


def train(x, layer):
    layer(x).sum().backward()


@pytest.fixture
def trained():
    x, layer = torch.randn(4, 8), torch.nn.Linear(8, 3)
    with P.profile(record_shapes=True, profile_memory=True, with_flops=True) as prof:
        with P.record_function("mine"):
            train(x, layer)
    return prof


def test_names_and_nesting(trained):
    events = trained.function_events
    mine = events[0]
    assert mine.name == "mine" and mine.is_user_annotation and mine.scope == 7
    inside = names(mine.cpu_children)
    assert inside[:2] == ["aten::linear", "aten::sum"]
    assert "autograd::engine::evaluate_function: LinearBackward0" in inside
    task = next(e for e in events if e.name.endswith("function: LinearBackward0"))
    node = task.cpu_children[0]
    assert node.name == "LinearBackward0" and node.scope == 1
    assert "aten::mm" in names(events)
    for event in events:
        around = event.cpu_parent
        if around is not None:
            assert event in around.cpu_children
            assert around.time_range.start <= event.time_range.start
            assert event.time_range.end <= around.time_range.end


def test_self_times_add_up(trained):
    events = trained.function_events
    roots = [event for event in events if event.cpu_parent is None]
    assert trained.self_cpu_time_total == pytest.approx(sum(e.cpu_time_total for e in roots))
    assert all(e.self_cpu_time_total >= 0 for e in events)


def test_links_from_forward_to_backward(trained):
    forward = next(e for e in trained.function_events if e.name == "aten::linear")
    backward = next(e for e in trained.function_events if e.name == "LinearBackward0")
    assert forward.sequence_nr == backward.sequence_nr >= 0
    assert backward.fwd_thread == forward.thread == threading.get_native_id()


def test_inplace_and_views_keep_numbers_of_their_own():
    x = torch.ones(3, requires_grad=True)
    with P.profile() as prof:
        y = x * 2
        y.mul_(3)
        y.contiguous()  # gives y itself, whose history is older
    by_name = {e.name: e.sequence_nr for e in prof.function_events}
    assert by_name["aten::mul"] < by_name["aten::mul_"]
    assert by_name["aten::contiguous"] == -1


def test_arguments():
    with P.profile(record_shapes=True) as prof:
        torch.cat([torch.ones(2, 3), torch.ones(1, 3)], 0)
        torch.ones(2, 3).double().sum(1, keepdim=True)
        torch.add(torch.ones(2), 2.5, alpha=2)
    found = {event.name: event for event in prof.function_events}
    assert found["aten::cat"].input_shapes == [[[2, 3], [1, 3]], []]
    assert found["aten::cat"].input_dtypes == ["TensorList", "Scalar"]
    total = found["aten::sum"]
    assert total.input_shapes[:2] == [[2, 3], []] and total.concrete_inputs[1:3] == [[1], True]
    assert total.input_dtypes[0] == "double" and total.overload_name == "dim_IntList"
    assert found["aten::add"].concrete_inputs == [None, 2.5, 2]
    assert found["aten::add"].structured_input_strides[0] == [1]


def test_shapes_only_when_asked_for():
    with P.profile(with_flops=True) as prof:
        torch.ones(2, 3) @ torch.ones(3, 4)
    assert all(event.input_shapes == [] for event in prof.function_events)
    assert sum(event.flops for event in prof.function_events) == 48


@pytest.mark.parametrize(
    "call, flops",
    [
        (lambda: torch.ones(5, 7) @ torch.ones(7, 3), 2 * 5 * 7 * 3),
        (lambda: torch.ones(2, 5, 7) @ torch.ones(2, 7, 3), 2 * 2 * 5 * 7 * 3),
        (lambda: torch.ones(5, 7) @ torch.ones(7), 2 * 5 * 7),
        (lambda: torch.ones(5) + torch.ones(2, 5), 10),
        (lambda: torch.nn.functional.linear(torch.ones(4, 7), torch.ones(3, 7)), 2 * 4 * 7 * 3),
        (
            lambda: torch.nn.functional.conv2d(
                torch.ones(2, 4, 9, 9), torch.ones(6, 2, 3, 3), stride=2, padding=1, groups=2
            ),
            2 * (2 * 6 * 5 * 5) * (2 * 3 * 3),
        ),
        (
            lambda: torch.nn.functional.conv_transpose1d(torch.ones(2, 4, 9), torch.ones(4, 6, 3)),
            2 * (2 * 4 * 9) * (6 * 3),
        ),
    ],
)
def test_flops(call, flops):
    with P.profile(with_flops=True) as prof:
        call()
    total = sum(event.flops for event in prof.function_events)
    assert total == flops


def test_flops_stand_with_the_convolution_that_was_called():
    with P.profile(with_flops=True) as prof:
        torch.nn.functional.conv2d(torch.ones(1, 1, 4, 4), torch.ones(1, 1, 2, 2))
    assert {e.name for e in prof.function_events if e.flops} == {"aten::conv2d"}
    assert "Total FLOPs" in prof.table()


def test_memory():
    with P.profile(profile_memory=True) as prof:
        x = torch.empty(1 << 20, dtype=torch.uint8)
        y = x + 1
        del x, y
    found = {event.name: event for event in prof.function_events}
    assert found["aten::empty"].cpu_memory_usage == 1 << 20
    assert found["aten::add"].self_cpu_memory_usage == 1 << 20
    assert found["[memory]"].cpu_memory_usage == -(2 << 20)
    assert "CPU Mem" in prof.table() and "1.00 MB" in prof.table()


def outer(x):
    return inner(x)


def inner(x):
    return x.exp()


def test_stacks(tmp_path):
    x = torch.ones(3, requires_grad=True)
    with P.profile(with_stack=True) as prof:
        outer(x).sum().backward()
    exp = next(e for e in prof.function_events if e.name == "aten::exp")
    assert exp.stack[0].endswith(": inner") and exp.stack[1].endswith(": outer")
    assert exp.stack[0].startswith(__file__)
    node = next(e for e in prof.function_events if e.name == "ExpBackward0")
    assert node.stack == exp.stack  # backward is shown where forward was
    groups = prof.key_averages(group_by_stack_n=1)
    assert any(g.stack and g.stack[0].endswith(": inner") for g in groups)
    assert "Source Location" in groups.table()
    path = tmp_path / "stacks"
    prof.export_stacks(path)
    lines = path.read_text().splitlines()
    assert lines and all(line.rpartition(" ")[2].isdigit() for line in lines)
    with pytest.raises(ValueError, match="metric"):
        prof.export_stacks(path, "speed")


def test_export_stacks_needs_stacks(trained, tmp_path):
    with pytest.raises(RuntimeError, match="with_stack=True"):
        trained.export_stacks(tmp_path / "stacks")


def test_modules():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU(), torch.nn.Linear(2, 2))
    x = torch.ones(1, 2)
    with P.profile(with_modules=True) as prof:
        model(x)
        model(x)
    top = prof.function_events[0]
    modules = [e.name for e in prof.function_events if e.is_python_function]
    once = ["Sequential_0", "Linear_0", "ReLU_0", "Linear_1"]
    assert modules == [f"nn.Module: {name}" for name in once * 2]
    assert names(top.cpu_children) == modules[1:4]


def test_averages(trained):
    averages = trained.key_averages()
    assert len({average.key for average in averages}) == len(averages)
    accumulate = next(a for a in averages if a.key == "AccumulateGrad")
    assert accumulate.count == 2 and accumulate.cpu_time == accumulate.cpu_time_total / 2
    assert accumulate.cpu_time_str.endswith("us")
    by_shape = trained.key_averages(group_by_input_shape=True)
    assert len(by_shape) >= len(averages)
    linear = next(a for a in by_shape if a.key == "aten::linear")
    assert linear.input_shapes == [[4, 8], [3, 8], [3]]
    total = trained.total_average()
    assert total.key == "Total" and total.count == len(trained.function_events)
    assert total.self_cpu_time_total == pytest.approx(trained.self_cpu_time_total)


def test_overloads_apart():
    with P.profile() as prof:
        torch.ones(2, 2).sum()
        torch.ones(2, 2).sum(0)
    sums = [a for a in prof.key_averages(group_by_overload_name=True) if a.key == "aten::sum"]
    assert {a.overload_name for a in sums} == {"", "dim_IntList"}


def test_table(trained):
    text = trained.key_averages().table(sort_by="cpu_time_total", row_limit=2, header="Mine")
    lines = text.splitlines()
    assert lines[1] == "Mine" and "Self CPU %" in lines[3] and lines[5].lstrip().startswith("mine")
    rows = lines[5 : lines.index(lines[2], 5)]
    assert len(rows) == 2
    assert lines[-1].startswith("Self CPU time total: ")
    assert "us  " not in trained.function_events.table(time_unit="s")
    assert len({len(line) for line in lines[2:-1]}) == 1
    with pytest.raises(AttributeError, match="beauty"):
        trained.table(sort_by="beauty")
    top = trained.table(top_level_events_only=True)
    assert "mine" in top and "aten::linear" not in top
    assert str(trained) == trained.table()
    assert str(U.EventList()).count("Name") == 1


def test_times_and_sizes_as_text():
    assert [U._format_time(t) for t in (0, 999, 1000, 12_345_678)] == [
        "0.000us",
        "999.000us",
        "1.000ms",
        "12.346s",
    ]
    assert [U._format_memory(n) for n in (0, -4, 1024, -5000, 2 << 30)] == [
        "0 B",
        "-4 B",
        "1.00 KB",
        "-4.88 KB",
        "2.00 GB",
    ]


@pytest.mark.parametrize("suffix", ["json", "json.gz"])
def test_chrome_trace(trained, tmp_path, suffix):
    path = tmp_path / f"trace.{suffix}"
    trained.export_chrome_trace(path, metadata={"who": "me"})
    text = gzip.open(path, "rt").read() if suffix.endswith("gz") else path.read_text()
    trace = json.loads(text)
    assert trace["who"] == "me"
    events = trace["traceEvents"]
    complete = [e for e in events if e["ph"] == "X"]
    for event in complete:
        assert event.keys() >= {"name", "cat", "pid", "tid", "ts", "dur", "args"}
        assert event["dur"] >= 0
    assert {"user_annotation", "cpu_op"} <= {e["cat"] for e in complete}
    linear = next(e for e in complete if e["name"] == "aten::linear")
    assert linear["args"]["Input Dims"] == [[4, 8], [3, 8], [3]]
    begins = {e["id"]: e for e in events if e["ph"] == "s"}
    ends = {e["id"]: e for e in events if e["ph"] == "f"}
    assert begins.keys() == ends.keys() and begins
    assert all(begins[i]["ts"] <= ends[i]["ts"] for i in begins)
    assert any(e["name"] == "[memory]" for e in events)


# --- what is being recorded ---------------------------------------------------------------------


def test_off_costs_no_layer():
    assert not torch._C._is_profiling()
    with P.profile(enabled=False) as prof:
        assert not torch._C._is_profiling()
    with pytest.raises(RuntimeError, match="has not ended"):
        prof.table()
    assert str(prof) == "<unfinished profile>"


def test_one_at_a_time():
    with P.profile() as prof:
        with pytest.raises(RuntimeError, match="already"):
            P.profile().__enter__()
        torch.ones(1)
    assert names(prof.function_events) == ["aten::ones"]
    with pytest.raises(RuntimeError, match="once"):
        prof.__enter__()


def test_of_one_thread():
    with P.profile() as prof:
        other = threading.Thread(target=lambda: torch.zeros(2))
        other.start()
        other.join()
        torch.ones(2)
    assert names(prof.function_events) == ["aten::ones"]


def test_pausing():
    with P.profile() as prof:
        torch.ones(1)
        prof.toggle_collection_dynamic(False, [ProfilerActivity.CPU])
        torch.zeros(1)
        prof.toggle_collection_dynamic(True, [ProfilerActivity.CPU])
        torch.ones(1)
    assert names(prof.function_events) == ["aten::ones", "aten::ones"]


def test_ended_inside_of_a_range():
    x = torch.ones(2, requires_grad=True)
    prof = P.profile()
    prof.__enter__()
    y = (x * 2).sum()
    y.register_hook(lambda grad: prof.__exit__(None, None, None) or None)
    with P.record_function("open"):
        y.backward()  # ends the record while events are open
    found = {event.name: event for event in prof.function_events}
    assert found["open"].time_range.end >= found["open"].time_range.start
    assert not torch._C._is_profiling()
    torch.ones(1)


def test_ranges_that_overlap():
    with P.profile() as prof:
        a, b = P.record_function("a"), P.record_function("b")
        a.__enter__()
        b.__enter__()
        a.__exit__(None, None, None)
        torch.ones(1)
        b.__exit__(None, None, None)
        torch.zeros(1)
    found = {event.name: event for event in prof.function_events}
    assert found["b"].cpu_parent is found["a"]
    assert found["aten::ones"].cpu_parent is found["b"]
    assert found["aten::zeros"].cpu_parent is None


def test_failures_are_events_too():
    with P.profile() as prof:
        with pytest.raises(RuntimeError):
            torch.ones(2) @ torch.ones(3)
        torch.ones(1)
    assert prof.function_events[-1].cpu_parent is None


def test_transforms_and_functions_of_ones_own():
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            return grad * 2

    with P.profile() as prof:
        torch.func.vmap(torch.func.grad(lambda x: x.sin().sum()))(torch.ones(3, 2))
        Double.apply(torch.ones(2, requires_grad=True)).sum().backward()
    found = {event.name: event for event in prof.function_events}
    assert {"aten::sin", "SinBackward0", "Double", "DoubleBackward"} <= found.keys()
    assert names(found["Double"].cpu_children) == ["aten::mul"]
    assert found["Double"].sequence_nr == found["DoubleBackward"].sequence_nr >= 0


def test_steps_of_optimizers():
    layer = torch.nn.Linear(2, 2)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    layer(torch.ones(1, 2)).sum().backward()
    with P.profile() as prof:
        optimizer.step()
    step = prof.function_events[0]
    assert step.name == "Optimizer.step#SGD.step" and step.cpu_children


def test_tripwire_beside_it():
    with P.profile() as prof:
        with pytest.raises(torch.autograd.NonfiniteError):
            with torch.autograd.trace_nonfinite():
                torch.zeros(1).log()
    assert "aten::log" in names(prof.function_events)


def test_range_as_a_decorator():
    @P.record_function("named")
    def double(x, again=0):
        return double(x, again - 1) if again else x * 2

    x = torch.ones(1)
    with P.profile() as prof:
        double(x, again=2)
    assert names(prof.function_events) == ["named"] * 3 + ["aten::mul"]
    assert double.__name__ == "double"
    with P.profile():
        with pytest.raises(TypeError, match="str"):
            P.record_function(3).__enter__()


def test_what_is_not_there_is_said():
    with pytest.warns(UserWarning, match="no cuda"):
        P.profile(use_cuda=True)
    with pytest.raises(ValueError, match="use_cpu"):
        P.profile(use_cpu=False)
    with pytest.warns(FutureWarning, match="deprecated"):
        prof = torch.autograd.profiler_legacy.profile()
    with prof:
        torch.ones(1)
    assert names(prof.function_events) == ["aten::ones"]


# --- other tools --------------------------------------------------------------------------------

FAKE_NVTX = """
#include <stdio.h>
int nvtxRangePushA(const char *name) { printf("push %s\\n", name); fflush(stdout); return 0; }
int nvtxRangePop(void) { printf("pop\\n"); fflush(stdout); return 0; }
"""


def compiled(folder, name, text):
    source = folder / "source.c"
    source.write_text(text)
    command = ["cc", "-shared", "-fPIC", "-o", str(folder / name), str(source)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("there is no C compiler")


def run(program, **environment):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        env=os.environ | environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_nvtx(tmp_path):
    compiled(tmp_path, "libnvToolsExt.so.1", FAKE_NVTX)
    program = """
        import facula
        from facula.autograd.profiler import emit_nvtx, record_function
        x = facula.ones(2, 3, requires_grad=True)
        with emit_nvtx(record_shapes=True):
            with record_function("mine"):
                y = x + 1
        y * 2
    """
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("LD_LIBRARY_PATH")]))
    assert run(program, LD_LIBRARY_PATH=path) == [
        "push mine",
        "push aten::add, sizes = [[2, 3]]",
        "pop",
        "pop",
    ]


@pytest.mark.skipif(bool(ctypes.util.find_library("nvToolsExt")), reason="NVTX is there")
def test_nvtx_is_missing():
    with pytest.raises(RuntimeError, match="libnvToolsExt"):
        P.emit_nvtx().__enter__()
    with P.emit_nvtx(enabled=False):
        pass


def test_itt(tmp_path):
    (tmp_path / "ittapi.py").write_text(
        textwrap.dedent("""
            class native:
                def task_begin(domain, name): print("begin", domain, name)
                def task_end(domain): print("end", domain)
            def domain(name): return name
        """)
    )
    program = """
        import facula
        with facula.autograd.profiler.emit_itt():
            facula.ones(1)
        with facula.profiler.itt.range("{} of {}", 1, 2):
            pass
        assert facula.profiler.itt.is_available()
    """
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    assert run(program, PYTHONPATH=path) == [
        "begin facula aten::ones",
        "end facula",
        "begin facula 1 of 2",
        "end facula",
    ]


def test_itt_is_missing():
    if torch.profiler.itt.is_available():
        pytest.skip("ittapi is installed")
    with pytest.raises(RuntimeError, match="pip install ittapi"):
        P.emit_itt().__enter__()
    with pytest.raises(RuntimeError, match="pip install ittapi"):
        torch.profiler.itt.mark("here")


def test_nvprof(tmp_path):
    path = tmp_path / "trace.prof"
    with sqlite3.connect(path) as database:
        database.executescript("""
            CREATE TABLE StringTable (_id_ INTEGER, value TEXT);
            CREATE TABLE CUPTI_ACTIVITY_KIND_MARKER (id INTEGER, name INTEGER, timestamp INTEGER);
            CREATE TABLE CUPTI_ACTIVITY_KIND_RUNTIME
                (correlationId INTEGER, start INTEGER, end INTEGER, cbid INTEGER);
            CREATE TABLE CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL
                (correlationId INTEGER, name INTEGER, start INTEGER, end INTEGER);
            INSERT INTO StringTable VALUES (1, 'outer'), (2, 'inner'), (3, '_Z6kernelPf');
            INSERT INTO CUPTI_ACTIVITY_KIND_MARKER VALUES
                (7, 1, 1000), (8, 2, 2000), (8, 0, 5000), (7, 0, 9000);
            INSERT INTO CUPTI_ACTIVITY_KIND_RUNTIME VALUES (4, 3000, 3500, 211);
            INSERT INTO CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL VALUES (4, 3, 6000, 8000);
        """)
    outer, inner = P.load_nvprof(path)
    assert (outer.name, inner.name, inner.cpu_parent) == ("outer", "inner", outer)
    assert outer.cpu_time_total == 8.0 and outer.self_cpu_time_total == 5.0
    (kernel,) = inner.kernels
    assert kernel.duration == 2.0 and kernel.name in ("kernel(float*)", "_Z6kernelPf")
    assert inner.device_time_total == outer.device_time_total == 2.0
    assert outer.self_device_time_total == 0


# --- small parts --------------------------------------------------------------------------------


def test_small_parts():
    once = P.EnforceUnique()
    once.see(1, 2)
    once.see(2)
    with pytest.raises(RuntimeError, match="twice"):
        once.see(1, 2)

    class At:
        def __init__(self, ns):
            self.ns = ns

        def start_ns(self):
            return self.ns

    records = U.MemRecordsAcc([(At(5), "b"), (At(1), "a"), (At(9), "c")])
    assert [name for _, name in records.in_interval(1, 5)] == ["a", "b"]
    assert U.Interval(2, 5).elapsed_us() == 3
    assert U.Kernel("k", 0, 1.5)._fields == ("name", "device", "duration")
    assert U.EventMetadata(stream=3).stream == 3 and U.EventMetadata().block is None
    assert U.StringTable()["plain"] == "plain"
    assert torch.autograd.kineto_available()
    tracker = P.KinetoStepTracker
    tracker.init_step_count("a")
    before = tracker.current_step()
    assert tracker.increment_step("a") == before + 1
    assert tracker.erase_step_count("a") and not tracker.erase_step_count("a")


def test_events_of_ones_own():
    events = U.EventList(
        [
            U.FunctionEvent(0, "a", 1, 0, 10),
            U.FunctionEvent(1, "b", 1, 2, 5),
            U.FunctionEvent(2, "b", 1, 6, 7),
            U.FunctionEvent(3, "c", 2, 3, 4),
        ]
    )
    events._build_tree()
    assert names(events[0].cpu_children) == ["b", "b"] and events[3].cpu_parent is None
    assert events.self_cpu_time_total == 11
    assert {a.key: a.self_cpu_time_total for a in events.key_averages()} == {"a": 6, "b": 4, "c": 1}


# --- schedules ----------------------------------------------------------------------------------


def test_schedule():
    plan = schedule(wait=1, warmup=1, active=2, repeat=2, skip_first=1)
    none, warm, record, save = (
        ProfilerAction.NONE,
        ProfilerAction.WARMUP,
        ProfilerAction.RECORD,
        ProfilerAction.RECORD_AND_SAVE,
    )
    cycle = [none, warm, record, save]
    assert [plan(i) for i in range(11)] == [none] + cycle * 2 + [none] * 2
    endless = schedule(wait=0, warmup=1, active=1)
    assert [endless(i) for i in range(4)] == [warm, save] * 2
    with pytest.raises(ValueError):
        schedule(wait=0, warmup=1, active=0)
    with pytest.warns(UserWarning, match="warmup"):
        schedule(wait=0, warmup=0, active=1)


def test_profile_with_a_schedule(tmp_path):
    traces = []

    def ready(prof):
        traces.append([e.name for e in prof.events() if e.is_user_annotation])
        torch.profiler.tensorboard_trace_handler(str(tmp_path), "worker", use_gzip=True)(prof)

    with torch.profiler.profile(
        activities=[ProfilerActivity.CPU],
        schedule=schedule(wait=1, warmup=1, active=2, repeat=2),
        on_trace_ready=ready,
        record_shapes=True,
    ) as prof:
        prof.add_metadata("run", "7")
        prof.add_metadata_json("numbers", "[1, 2]")
        for _ in range(10):
            torch.ones(2) + 1
            prof.step()
    assert traces == [["ProfilerStep#2", "ProfilerStep#3"], ["ProfilerStep#6", "ProfilerStep#7"]]
    files = sorted(tmp_path.glob("worker.*.pt.trace.json.gz"))
    assert len(files) == 2
    trace = json.load(gzip.open(files[0], "rt"))
    assert trace["run"] == "7" and trace["numbers"] == [1, 2]
    assert "aten::add" in {e["name"] for e in trace["traceEvents"]}
    assert "aten::add" in {a.key for a in prof.key_averages()}
    assert prof.get_trace_id()


def test_profile_without_a_schedule():
    seen = []
    with torch.profiler.profile(on_trace_ready=seen.append) as prof:
        torch.ones(2)
    assert seen == [prof] and names(prof.events()) == ["aten::ones"]
    prof = torch.profiler.profile()
    prof.start()
    torch.zeros(1)
    prof.stop()
    assert names(prof.events()) == ["aten::zeros"]


def test_accumulated_records():
    with torch.profiler.profile(
        schedule=schedule(wait=0, warmup=1, active=1, repeat=2), acc_events=True
    ) as prof:
        for _ in range(5):
            torch.ones(2)
            prof.step()
    assert names(prof.events()).count("aten::ones") == 2


def test_profiles_need_the_cpu():
    with pytest.raises(ValueError, match="CPU"):
        torch.profiler.profile(activities=[ProfilerActivity.CUDA])
    with pytest.warns(UserWarning, match="no CUDA"):
        torch.profiler.profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA])
    with pytest.raises(RuntimeError, match="nothing has been recorded"):
        torch.profiler.profile().events()
    assert torch.profiler.supported_activities() == {ProfilerActivity.CPU}


@pytest.mark.peer
def test_schedules_of_the_peer():
    peer = pytest.importorskip("torch").profiler
    for plan in (
        {"wait": 1, "warmup": 2, "active": 3},
        {"wait": 2, "warmup": 1, "active": 1, "repeat": 2, "skip_first": 3},
        {"wait": 3, "warmup": 1, "active": 2, "repeat": 2, "skip_first": 1, "skip_first_wait": 1},
    ):
        ours, theirs = schedule(**plan), peer.schedule(**plan)
        assert [ours(i).name for i in range(30)] == [theirs(i).name for i in range(30)]


@pytest.mark.peer
def test_attributes_of_the_peer(trained):
    peer = pytest.importorskip("torch").autograd.profiler_util
    for name, args in (
        ("FunctionEvent", (0, "a", 0, 0, 1)),
        ("FunctionEventAvg", ()),
        ("EventList", ()),
    ):
        theirs, ours = (dir(getattr(module, name)(*args)) for module in (peer, U))
        assert {n for n in theirs if not n.startswith("_")} <= set(ours), name
