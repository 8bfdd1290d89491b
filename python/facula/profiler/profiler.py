"""The profiler with a schedule: some steps of a training are recorded, the others run free."""

from __future__ import annotations

import enum
import json
import os
import socket
import time
import warnings
from collections.abc import Callable, Iterable
from typing import Any

from ..autograd import profiler as autograd_profiler
from ..autograd.profiler_util import ProfilerActivity

__all__ = [
    "ProfilerAction",
    "profile",
    "schedule",
    "supported_activities",
    "tensorboard_trace_handler",
]


class ProfilerAction(enum.Enum):
    """What happens in a step."""

    NONE = 0
    WARMUP = 1
    RECORD = 2
    RECORD_AND_SAVE = 3
    DEVICE_STOPPED = 4


_RECORDING = (ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE)


def supported_activities():
    """What can be profiled here."""
    return {ProfilerActivity.CPU}


def schedule(
    *,
    wait: int,
    warmup: int,
    active: int,
    repeat: int = 0,
    skip_first: int = 0,
    skip_first_wait: int = 0,
) -> Callable:
    """The function from the number of a step to what happens in it.

    After `skip_first` steps come cycles of `wait` steps without, `warmup` steps, and `active`
    steps with recording: `repeat` of them, or with 0 without end. With `skip_first_wait` the first
    cycle does not wait.
    """
    if min(wait, warmup, active, repeat, skip_first) < 0 or active == 0:
        raise ValueError("a schedule has active > 0, and no negative numbers of steps")
    if warmup == 0:
        warnings.warn("profiles without warmup are skewed by what happens once", stacklevel=2)

    def action(step: int) -> ProfilerAction:
        if step < 0:
            raise ValueError(f"steps count from 0, not {step}")
        step -= skip_first
        if step < 0:
            return ProfilerAction.NONE
        if skip_first_wait:
            step += wait
        cycle, at = divmod(step, wait + warmup + active)
        if (repeat and cycle >= repeat) or at < wait:
            return ProfilerAction.NONE
        if at < wait + warmup:
            return ProfilerAction.WARMUP
        last = at == wait + warmup + active - 1
        return ProfilerAction.RECORD_AND_SAVE if last else ProfilerAction.RECORD

    return action


def _always(step: int) -> ProfilerAction:
    return ProfilerAction.RECORD


def tensorboard_trace_handler(
    dir_name: str,
    worker_name: str | None = None,
    use_gzip: bool = False,
    use_python_export: bool = False,
):
    """For `on_trace_ready`: writes each record to a file of its own in `dir_name`."""

    def write(prof) -> None:
        worker = worker_name or f"{socket.gethostname()}_{os.getpid()}"
        os.makedirs(dir_name, exist_ok=True)
        name = f"{worker}.{time.time_ns()}.pt.trace.json" + (".gz" if use_gzip else "")
        prof.export_chrome_trace(os.path.join(dir_name, name))

    return write


class profile:
    """Records what the thread that enters it runs, in the steps that `schedule` chooses.

    The program calls `step()` at the end of each step. `on_trace_ready(profile)` is called when a
    record is complete: after the last active step of a cycle, and at the end. Without a schedule
    all is recorded. The other options are those of `autograd.profiler.profile`.
    """

    def __init__(
        self,
        *,
        activities: Iterable[ProfilerActivity] | None = None,
        schedule: Callable[[int], ProfilerAction] | None = None,
        on_trace_ready: Callable[..., Any] | None = None,
        record_shapes: bool = False,
        profile_memory: bool = False,
        with_stack: bool = False,
        with_flops: bool = False,
        with_modules: bool = False,
        experimental_config=None,
        execution_trace_observer=None,
        acc_events: bool = False,
        use_cuda: bool | None = None,
        custom_trace_id_callback: Callable[[], str] | None = None,
        post_processing_timeout_s: float | None = None,
    ):
        self.activities = set(activities) if activities else supported_activities()
        if ProfilerActivity.CPU not in self.activities:
            raise ValueError(
                "activities without ProfilerActivity.CPU leave nothing to profile here"
            )
        if use_cuda:
            self.activities.add(ProfilerActivity.CUDA)
        for missing in self.activities - supported_activities():
            warnings.warn(
                f"there is no {missing.name} here: only the CPU is profiled", stacklevel=2
            )
        if execution_trace_observer is not None:
            raise NotImplementedError(
                "execution traces are not recorded; see export_chrome_trace()"
            )
        self.record_shapes = record_shapes
        self.profile_memory = profile_memory
        self.with_stack = with_stack
        self.with_flops = with_flops
        self.with_modules = with_modules
        self.acc_events = acc_events
        self.schedule = schedule or _always
        self.record_steps = schedule is not None
        self.on_trace_ready = on_trace_ready
        self.custom_trace_id_callback = custom_trace_id_callback
        self.step_num = 0
        self.current_action = self.schedule(0)
        self.step_rec_fn = None
        self.profiler: autograd_profiler.profile | None = None
        self.preset_metadata: dict[str, Any] = {}
        self._recording = False

    # --- steps

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc):
        self.stop()

    def start(self) -> None:
        self._go(ProfilerAction.NONE, self.current_action)
        self._begin_step()

    def stop(self) -> None:
        self._end_step()
        self._go(self.current_action, ProfilerAction.NONE, last=True)

    def step(self) -> None:
        """The program is done with one step and begins the next."""
        self._end_step()
        before = self.current_action
        self.step_num += 1
        self.current_action = self.schedule(self.step_num)
        self._go(before, self.current_action)
        autograd_profiler.KinetoStepTracker.increment_step("ProfilerStep")
        self._begin_step()

    def _begin_step(self):
        if self.record_steps:
            name = f"ProfilerStep#{self.step_num}"
            self.step_rec_fn = autograd_profiler.record_function(name).__enter__()

    def _end_step(self):
        if self.step_rec_fn is not None:
            self.step_rec_fn.__exit__(None, None, None)
            self.step_rec_fn = None

    def _go(self, before, now, last=False):
        """From what one step did to what the next one does."""
        done = before is ProfilerAction.RECORD_AND_SAVE
        if self._recording and (done or last or now not in _RECORDING):
            if not done and not last:
                warnings.warn("the schedule ends a record before RECORD_AND_SAVE", stacklevel=3)
            self.stop_trace()
            if (done or last) and self.on_trace_ready is not None:
                self.on_trace_ready(self)
        if now is ProfilerAction.WARMUP and before is not now:
            self.prepare_trace()
        if now in _RECORDING and not self._recording and not last:
            self.start_trace()

    def prepare_trace(self) -> None:
        """Makes the profiler of the next record."""
        if self.profiler is None or not self.acc_events:
            self.profiler = autograd_profiler.profile(
                record_shapes=self.record_shapes,
                profile_memory=self.profile_memory,
                with_stack=self.with_stack,
                with_flops=self.with_flops,
                with_modules=self.with_modules,
                acc_events=self.acc_events,
                custom_trace_id_callback=self.custom_trace_id_callback,
            )

    def start_trace(self) -> None:
        if self.profiler is None or (self.profiler._events is not None and not self.acc_events):
            self.profiler = None
            self.prepare_trace()
        self.profiler._metadata = self.preset_metadata
        self.profiler._start()
        self._recording = True

    def stop_trace(self) -> None:
        self._recording = False
        self._profiler().__exit__(None, None, None)

    def toggle_collection_dynamic(self, enable: bool, activities: Iterable[ProfilerActivity]):
        """Stops recording for a while, or goes on."""
        self._profiler().toggle_collection_dynamic(enable, activities)

    # --- what was recorded

    def _profiler(self):
        if self.profiler is None:
            raise RuntimeError("nothing has been recorded: no step was active yet")
        return self.profiler

    def events(self):
        """All events of the last record."""
        return self._profiler().function_events

    def key_averages(
        self,
        group_by_input_shape: bool = False,
        group_by_stack_n: int = 0,
        group_by_overload_name: bool = False,
    ):
        return self._profiler().key_averages(
            group_by_input_shape, group_by_stack_n, group_by_overload_name
        )

    key_averages.__doc__ = autograd_profiler.EventList.key_averages.__doc__

    def export_chrome_trace(self, path: str, use_python_export: bool = False):
        self._profiler().export_chrome_trace(path, self.preset_metadata)

    export_chrome_trace.__doc__ = autograd_profiler.EventList.export_chrome_trace.__doc__

    def export_stacks(self, path: str, metric: str = "self_cpu_time_total"):
        return self._profiler().export_stacks(path, metric)

    export_stacks.__doc__ = autograd_profiler.EventList.export_stacks.__doc__

    def export_memory_timeline(self, path: str, device: str | None = None) -> None:
        raise NotImplementedError(
            "memory is not recorded by what it is for; profile_memory=True and "
            "export_chrome_trace() show it over time"
        )

    def add_metadata(self, key: str, value: str) -> None:
        """A text that traces carry along."""
        self.preset_metadata[key] = str(value)

    def add_metadata_json(self, key: str, value: str) -> None:
        """The same, of a value as JSON."""
        self.preset_metadata[key] = json.loads(value)

    preset_metadata_json = add_metadata_json

    def get_trace_id(self):
        return None if self.profiler is None else self.profiler.trace_id

    def set_custom_trace_id_callback(self, callback) -> None:
        self.custom_trace_id_callback = callback
