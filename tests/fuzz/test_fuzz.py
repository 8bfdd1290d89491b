"""No arguments from Python may kill the process or stop it: calls without sense, in a child."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SECONDS = float(os.environ.get("FACULA_FUZZ_SECONDS", 20))
# Odd values for each argument of each operator; 0 for all, which takes an hour.
IN_TURN = int(os.environ.get("FACULA_FUZZ_IN_TURN", 2))
CRASHES = 10  # after which no more are looked for


def run(program, *args):
    """(standard output, None), or (None, what happened) where the child did not end well."""
    program = Path(__file__).with_name(program)
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", program, *map(str, args)],
        capture_output=True,
        text=True,
    )
    if not done.returncode:
        return done.stdout, None
    code = done.returncode
    how = signal.Signals(-code).name if code < 0 else f"exit status {code}"
    return None, f"{how}\n{done.stderr[-4000:]}"


@pytest.mark.fuzz
@pytest.mark.timeout(SECONDS + 120)
def test_senseless_calls(tmp_path):
    seed = int(os.environ.get("FACULA_FUZZ_SEED", random.randrange(10**6)))
    print(f"FACULA_FUZZ_SEED={seed}")
    log = tmp_path / "last"
    output, crash = run("program.py", seed, SECONDS, log)
    if crash:
        pytest.fail(f"{crash} with seed {seed} in\n{log.read_text()}")
    calls = int(output.split()[0])
    assert calls > 100 * SECONDS


@pytest.mark.slow
@pytest.mark.timeout(300 if IN_TURN == 2 else 10**5)
def test_each_argument_in_turn(tmp_path):
    log, start, crashes = tmp_path / "last", 0, []
    while len(crashes) < CRASHES:
        output, crash = run("in_turn.py", IN_TURN, start, log)
        if not crash:
            break
        line = log.read_text()
        crashes.append(f"{crash} in\n{line}")
        number = line.rpartition("# ")[2]
        if not number.strip().isdigit():
            break
        start = int(number) + 1
    assert not crashes, "\n\n".join(crashes)
    assert int(output.split()[0]) > 10_000
