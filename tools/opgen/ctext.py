"""Writing C text and files."""

from __future__ import annotations

import zlib
from pathlib import Path

NOTICE = "/* Made by tools/opgen from csrc/ops: edit the declarations, not this file. */"


def c_string(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def c_file(includes: list[str], lines: list[str]) -> str:
    head = [NOTICE, *(f'#include "{name}"' for name in includes), ""]
    return "\n".join(head + lines) + "\n"


def part_of(name: str, parts: int) -> int:
    """Which of several files something goes to: by its name, so that the others stay as they are."""
    return zlib.crc32(name.encode()) % parts


def write_if_changed(path: Path, text: str) -> None:
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
