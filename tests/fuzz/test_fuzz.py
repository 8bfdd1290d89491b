"""No arguments from Python may kill the process or stop it: calls without sense, in a child."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SECONDS = float(os.environ.get("FACULA_FUZZ_SECONDS", 20))


@pytest.mark.fuzz
@pytest.mark.timeout(SECONDS + 120)
def test_senseless_calls(tmp_path):
    seed = int(os.environ.get("FACULA_FUZZ_SEED", random.randrange(10**6)))
    print(f"FACULA_FUZZ_SEED={seed}")
    log = tmp_path / "last"
    program = Path(__file__).with_name("program.py")
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", program, str(seed), str(SECONDS), log],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        code = done.returncode
        how = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        pytest.fail(f"{how} with seed {seed} in\n{log.read_text()}\n{done.stderr[-4000:]}")
    calls = int(done.stdout.split()[0])
    assert calls > 100 * SECONDS
