"""One command a habit: python tools/dev.py build | test | bench | check | stress.

build   compiles into build/ and puts the module into python/facula, so that PYTHONPATH=python
        works; one processor tier unless told otherwise
test    pytest on that build (arguments go to pytest), or with --c the C programs of tests/c
bench   the benchmarks on that build (arguments go to them)
check   style, layers, file lengths, and whether stubs and reference are fresh
stress  pytest with poisoned memory, no caches and the smallest grain
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "python" / "facula"


def run(*command, **environment):
    print("+", *command[:20], *["..."] * (len(command) > 20), flush=True)
    done = subprocess.run([str(part) for part in command], cwd=ROOT, env=os.environ | environment)
    if done.returncode:
        sys.exit(done.returncode)


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
    return {"LD_PRELOAD": found.stdout.strip(), "ASAN_OPTIONS": "detect_leaks=0"}


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
    formatter = shutil.which("clang-format")
    if formatter:
        sources = [*ROOT.glob("csrc/**/*.[ch]"), *ROOT.glob("tests/c/*.[ch]")]
        run(formatter, "--dry-run", "--Werror", *sorted(sources))
    else:
        print("clang-format is not installed: the layout of C files was not checked")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for command in (build, test, bench, check, stress):
        sub = commands.add_parser(command.__name__, allow_abbrev=False)
        sub.set_defaults(run=command)
        if command in (build, test):
            sub.add_argument("--tiers", default="v3", help='processor tiers, as "v2;v3;v4"')
            sub.add_argument("--sanitize", default="", help="address,undefined or thread")
            sub.add_argument("--debug", action="store_true", help="assertions and checks")
            sub.add_argument("--jobs", "-j", type=int, help="compilations at once")
        if command is test:
            sub.add_argument("--c", action="store_true", help="the C programs, with CTest")
    args, rest = parser.parse_known_args()
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    args.run(args, rest)


if __name__ == "__main__":
    main()
