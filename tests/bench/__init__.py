"""The benchmark suite, run by ``make bench``: what DESIGN section 11 promises, measured on this machine.

Every load goes to 127.0.0.1. How each figure is measured, and how to read it, is told in docs/bench.md.
"""

import sys
from pathlib import Path

# As in the demo: the control plane is a tool of this checkout and in no wheel.
sys.path.insert(0, str(Path(__file__).parents[2] / "deploy/local"))
