"""An SGLang-protocol worker without a model, honest about being one: for first starts, demos and tests.

What it shares with a real worker (fields, stream shape, errors, load signals) is held to captures of the
real one by tests. What it says is made up by rule from the prompt; timing is set, not measured.
"""

from backends.sglang.simulator.app import build_simulator
from backends.sglang.simulator.engine import SimulatorSettings

__all__ = ["SimulatorSettings", "build_simulator"]
