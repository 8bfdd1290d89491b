"""What `import facula` loads."""

import json
import subprocess
import sys

PROGRAM = """
import json, sys
before = set(sys.modules)
import facula
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def loaded():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def test_import_is_light():
    modules = loaded()
    for heavy in ("numpy", "scipy", "inspect", "typing", "dataclasses", "multiprocessing"):
        assert heavy not in modules
    assert len(modules) < 120


def test_packages_are_imported_when_asked_for():
    program = """
import facula
for path in (
    "autograd.functional.jacobian",
    "autograd.gradcheck",
    "autograd.gradgradcheck",
    "func.functional_call",
    "nn.utils.parametrizations.weight_norm",
    "nn.utils.parametrize.cached",
    "utils._pytree.tree_map",
    "utils.checkpoint.checkpoint",
):
    found = facula
    for name in path.split("."):
        found = getattr(found, name)
    assert callable(found), path
"""
    subprocess.run([sys.executable, "-c", program], check=True)
