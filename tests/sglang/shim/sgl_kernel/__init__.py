"""Stand-in for SGLang's kernel package, which no registry offers for the CPU.

SGLang imports names from ``sgl_kernel`` while it loads, also on a machine where it will never call
them.  Every name resolves to a function that refuses to run, so the import succeeds, SGLang finds
none of its accelerated operators registered and takes its plain torch paths instead.  It promises
no kernel: a call is an error that names what was missing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn


def __getattr__(name: str) -> Callable[..., NoReturn]:
    """Return a function for any public kernel name; it raises NotImplementedError when called."""
    if name.startswith("__"):
        raise AttributeError(name)

    def refuse(*_args: object, **_kwargs: object) -> NoReturn:
        raise NotImplementedError(f"sgl_kernel.{name} has no CPU implementation here")

    return refuse
