"""What this build is, and what it found on this machine."""

from . import _C


def _size(count: int) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count} {unit}"
        count //= 1024
    return f"{count} GiB"


def show() -> str:
    """The build and the machine, a line each."""
    config = _C._config()
    tiers = ", ".join(config["built_tiers"])
    features = ", ".join(f"{name} {state}" for name, state in config["features"].items())
    caches = ", ".join(f"L{i} {_size(n)}" for i, n in enumerate(config["caches"], 1))
    lines = [
        f"facula {_C.__version__}",
        f"  compiler   {config['compiler']}",
        f"  BLAS       {config['blas']}",
        f"  processor  {config['processor']}; {caches}",
        f"  tier       {config['tier']} (this machine has {config['best_tier']}, built: {tiers})",
        f"  features   {features}",
        f"  threads    {config['threads']} of {config['processors']} processors",
    ]
    for kind, found in config["devices"].items():
        text = f"{found} found" if isinstance(found, int) else f"none: {found}"
        lines.append(f"  {kind:<10} {text}")
    return "\n".join(lines) + "\n"


def parallel_info() -> str:
    """How kernels use threads."""
    config = _C._config()
    return (
        f"threads: {config['threads']} of {config['processors']} processors, in a pool of "
        "facula's own; BLAS runs single-threaded inside it\n"
    )
