"""What the tests of the tools share: the C that the generator makes of csrc/ops."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def generated(tmp_path_factory):
    out = tmp_path_factory.mktemp("generated")
    command = [sys.executable, "-B", ROOT / "tools/opgen", "--ops", ROOT / "csrc/ops", "--out", out]
    subprocess.run(command, check=True)
    return out
