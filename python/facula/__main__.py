"""python -m facula: what this build is, and what it found."""

import sys

from facula import __config__

sys.stdout.write(f"{__config__.show()}  Python     {sys.version.split()[0]}\n")
