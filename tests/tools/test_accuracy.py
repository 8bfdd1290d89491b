"""Elementary functions stay within their limits: tools/accuracy.py on few points."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mpmath")
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_limits():
    command = [sys.executable, ROOT / "tools" / "accuracy.py", "--points", "150", "--print"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert "| exp |" in done.stdout
