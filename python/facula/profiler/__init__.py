"""Profiles of whole trainings: which steps to record, and what to do with each record."""

from ..autograd.profiler import KinetoStepTracker, kineto_available, record_function
from ..autograd.profiler_util import DeviceType, ProfilerActivity, RecordScope
from . import itt
from .profiler import (
    ProfilerAction,
    profile,
    schedule,
    supported_activities,
    tensorboard_trace_handler,
)

__all__ = [
    "DeviceType",
    "KinetoStepTracker",
    "ProfilerAction",
    "ProfilerActivity",
    "RecordScope",
    "itt",
    "kineto_available",
    "profile",
    "record_function",
    "schedule",
    "supported_activities",
    "tensorboard_trace_handler",
]
