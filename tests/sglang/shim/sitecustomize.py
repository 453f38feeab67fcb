"""Let the stock SGLang wheels start on a machine without an accelerator.

Python runs this file at start-up in every process whose PYTHONPATH names this folder, which is the
only way to reach the scheduler and detokenizer processes that SGLang spawns.  It acts only when
``SGLANG_USE_CPU_ENGINE=1`` and repairs two things, each at the moment its module is imported:

* the registry's torchvision wheel is built for an accelerator and fails beside a CPU torch with
  "operator torchvision::nms does not exist": the operators it describes are declared first;
* SGLang's DeepSeek attention picks plain multi-head attention for the ``torch_native`` backend,
  which does not fit the latent cache (192 against 576 dimensions): the absorbed form is registered.

It changes no scheduling, caching or HTTP code: those are the parts the tests look at.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Sequence
from types import ModuleType

HANDLER_MODULE = "sglang.srt.models.deepseek_common.attention_backend_handler"


def declare_torchvision_operators() -> object:
    """Declare each torchvision operator just before a fake of it is registered."""
    torch = importlib.import_module("torch")
    fragment = torch.library.Library("torchvision", "FRAGMENT")
    register_fake = torch.library.register_fake

    def declare_then_register(op: object, *args: object, **kwargs: object) -> object:
        if isinstance(op, str) and op.startswith("torchvision::"):
            short = op.removeprefix("torchvision::")
            if not hasattr(torch.ops.torchvision, short):
                fragment.define(f"{short}() -> Tensor")
        return register_fake(op, *args, **kwargs)

    torch.library.register_fake = declare_then_register
    return fragment  # the declarations live as long as this object


class AbsorbedAttentionLoader(importlib.abc.Loader):
    """Load SGLang's attention handler module, then add the ``torch_native`` entry."""

    def __init__(self, inner: importlib.abc.Loader) -> None:
        self._inner = inner

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._inner.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._inner.exec_module(module)
        absorbed = module.AttnForwardMethod.MLA
        module.AttentionBackendRegistry.register("torch_native", lambda _attn, _batch: absorbed)


class CpuRepairs(importlib.abc.MetaPathFinder):
    """Apply each repair when its module is first looked for."""

    def __init__(self) -> None:
        self._fragment: object | None = None
        self._is_looking = False

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name == "torchvision" and self._fragment is None:
            self._fragment = declare_torchvision_operators()
        if name != HANDLER_MODULE or self._is_looking:
            return None
        self._is_looking = True  # the look-up below comes back here for the same name
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._is_looking = False
        if spec is not None and spec.loader is not None:
            spec.loader = AbsorbedAttentionLoader(spec.loader)
        return spec


if os.environ.get("SGLANG_USE_CPU_ENGINE") == "1":
    sys.meta_path.insert(0, CpuRepairs())
