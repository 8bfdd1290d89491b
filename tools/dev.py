"""One command a habit: python tools/dev.py build | test | bench | check | stress | interpreters.

build   compiles into build/ and puts the module into python/facula, so that PYTHONPATH=python
        works; one processor tier unless told otherwise
test    pytest on that build (arguments go to pytest), or with --c the C programs of tests/c
bench   the benchmarks on that build (arguments go to them)
check   style, layers, file lengths, and whether stubs and reference are fresh
stress  pytest with poisoned memory, no caches and the smallest grain
interpreters
        installs into a temporary environment of each CPython that is found, warnings being
        errors, and tests it there (arguments go to pytest)
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "python" / "facula"
VERSIONS = ["3.10", "3.11", "3.12", "3.13", "3.14"]  # of CPython, that `interpreters` looks for


def attempt(*command, **environment):
    """The exit status of a command that runs in the root of the tree."""
    print("+", *command[:20], *["..."] * (len(command) > 20), flush=True)
    command = [str(part) for part in command]
    return subprocess.run(command, cwd=ROOT, env=os.environ | environment).returncode


def run(*command, **environment):
    status = attempt(*command, **environment)
    if status:
        sys.exit(status)


def cmake_build(args, folder, *, python):
    build = ROOT / "build" / folder
    run(
        "cmake", "-G", "Ninja", "-S", ROOT / "csrc", "-B", build,
        f"-DFACULA_TIERS={args.tiers}",
        f"-DFACULA_SANITIZE={args.sanitize}",
        f"-DFACULA_DEBUG={'ON' if args.debug or args.sanitize else 'OFF'}",
        f"-DFACULA_PYTHON={'ON' if python else 'OFF'}",
        f"-DFACULA_C_TESTS={'OFF' if python else 'ON'}",
        f"-DPython_EXECUTABLE={sys.executable}",
        "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON",
        "-DCMAKE_COMPILE_WARNING_AS_ERROR=ON",
    )  # fmt: skip
    run("cmake", "--build", build, *(["-j", str(args.jobs)] if args.jobs else []))
    return build


def folder_name(args, kind):
    parts = [kind, args.sanitize.replace(",", "-"), "debug" if args.debug else ""]
    return "-".join(filter(None, parts))


def build(args, rest):
    """The module goes in by a rename, so that programs that run keep the one they have."""
    if rest:
        sys.exit(f"build takes no {rest[0]}")
    folder = cmake_build(args, folder_name(args, "dev"), python=True)
    for module in folder.glob("_C.*.so"):
        fresh = PACKAGE / (module.name + ".new")
        shutil.copy2(module, fresh)
        fresh.replace(PACKAGE / module.name)
    libraries = PACKAGE / "lib"
    if libraries.is_symlink() or not libraries.exists():
        libraries.unlink(missing_ok=True)
        libraries.symlink_to(folder / "lib")


def sanitizer_environment(sanitize):
    """What Python needs in order to load a module that was built with a sanitizer."""
    if not sanitize:
        return {}
    name = "libtsan.so" if "thread" in sanitize else "libasan.so"
    found = subprocess.run(
        ["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True
    )
    return {
        "LD_PRELOAD": found.stdout.strip(),
        "ASAN_OPTIONS": "detect_leaks=0,allocator_may_return_null=1,quarantine_size_mb=32",
    }


def pytest(rest, **environment):
    path = os.pathsep.join(filter(None, [str(ROOT / "python"), os.environ.get("PYTHONPATH")]))
    run(sys.executable, "-m", "pytest", *rest, PYTHONPATH=path, **environment)


def test(args, rest):
    if args.c:
        folder = cmake_build(args, folder_name(args, "c"), python=False)
        run("ctest", "--test-dir", folder, "--output-on-failure", *rest)
        return
    if args.sanitize:
        build(args, [])
    pytest(rest, **sanitizer_environment(args.sanitize))


def bench(args, rest):
    path = os.pathsep.join(filter(None, [str(ROOT / "python"), os.environ.get("PYTHONPATH")]))
    run(sys.executable, "-m", "benchmarks", *rest, PYTHONPATH=path)


def stress(args, rest):
    pytest(rest, FACULA_STRESS="1")


def check(args, rest):
    run(sys.executable, "-m", "ruff", "check", ".")
    run(sys.executable, ROOT / "tools" / "check_layers.py")
    run(sys.executable, "-B", ROOT / "tools" / "opdocs.py", "--check")
    beside = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    formatter = shutil.which("clang-format", path=beside)
    if not formatter:
        sys.exit("clang-format is not installed: pip install 'facula[dev]' brings it")
    sources = [*ROOT.glob("csrc/**/*.[ch]"), *ROOT.glob("tests/c/*.[ch]")]
    run(formatter, "--dry-run", "--Werror", *sorted(sources))


def find_interpreter(version):
    """A CPython of that version from the PATH or from pyenv, None where there is none."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    places = [shutil.which(f"python{version}")]
    places += sorted(pyenv.glob(f"versions/{version}.*/bin/python"))
    ask = "import sys, ensurepip; print(sys.implementation.name, '%d.%d' % sys.version_info[:2])"
    for place in filter(None, places):
        said = subprocess.run([place, "-c", ask], capture_output=True, text=True)
        if said.stdout.split() == ["cpython", version]:
            return place
    return None


def try_interpreter(python, args, tests):
    """Installs and tests beneath a temporary folder; says in words how it went."""
    with tempfile.TemporaryDirectory() as folder:
        venv = Path(folder, "venv")
        settings = [f"cmake.define.FACULA_TIERS={args.tiers}", f"build-dir={folder}/build"]
        settings = [f"--config-settings={setting}" for setting in settings]
        environment = {"CFLAGS": "-Werror", "PYTHONPATH": ""}
        if args.jobs:
            environment["CMAKE_BUILD_PARALLEL_LEVEL"] = str(args.jobs)
        install = [venv / "bin/python", "-m", "pip", "install", "-q", f"{ROOT}[test]", *settings]
        began = time.monotonic()
        if attempt(python, "-m", "venv", venv) or attempt(*install, **environment):
            return "the installation failed"
        installed = time.monotonic()
        failed = attempt(venv / "bin/python", "-m", "pytest", *tests, PYTHONPATH="")
        ended = time.monotonic()
        times = f"{installed - began:.0f} s to install, {ended - installed:.0f} s to test"
        return f"the tests failed ({times})" if failed else f"passed ({times})"


def interpreters(args, rest):
    short = ["-q", "-m", "not slow and not peer and not fuzz"]
    tests = rest or [*short, "tests/python", "tests/nn", "tests/optim"]
    outcomes = {}
    for version in VERSIONS:
        python = find_interpreter(version)
        outcomes[version] = try_interpreter(python, args, tests) if python else "unrun: not found"
    for version, outcome in outcomes.items():
        print(f"{version:6} {outcome}")
    ran = [outcome for outcome in outcomes.values() if not outcome.startswith("unrun")]
    if not ran or not all(outcome.startswith("passed") for outcome in ran):
        sys.exit(1)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for command in (build, test, bench, check, stress, interpreters):
        sub = commands.add_parser(command.__name__, allow_abbrev=False)
        sub.set_defaults(run=command)
        if command in (build, test, interpreters):
            sub.add_argument("--tiers", default="v3", help='processor tiers, as "v2;v3;v4"')
            sub.add_argument("--jobs", "-j", type=int, help="compilations at once")
        if command in (build, test):
            sub.add_argument("--sanitize", default="", help="address,undefined or thread")
            sub.add_argument("--debug", action="store_true", help="assertions and checks")
        if command is test:
            sub.add_argument("--c", action="store_true", help="the C programs, with CTest")
    args, rest = parser.parse_known_args()
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    args.run(args, rest)


if __name__ == "__main__":
    main()
