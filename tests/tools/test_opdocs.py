"""The stubs and the operator reference belong to the declarations as they are."""

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def opdocs(*arguments):
    command = [sys.executable, "-B", ROOT / "tools/opdocs.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_fresh():
    """The message says how to refresh them."""
    done = opdocs("--check")
    assert done.returncode == 0, done.stderr


def test_stale(tmp_path):
    stubs, reference = tmp_path / "_C.pyi", tmp_path / "operators.md"
    places = "--stubs", stubs, "--reference", reference
    assert opdocs(*places).returncode == 0
    ast.parse(stubs.read_text())
    assert "### add" in reference.read_text()
    assert opdocs(*places, "--check").returncode == 0
    stubs.write_text("old")
    done = opdocs(*places, "--check")
    assert done.returncode == 1
    assert f"{stubs} is stale: run python tools/opdocs.py" in done.stderr
    assert stubs.read_text() == "old"
