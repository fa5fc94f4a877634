"""What the process of the key service loads."""

import subprocess
import sys

HEAVY = ("kubernetes", "kopf", "keywright.reconcile", "keywright.handlers", "keywright.kubectl")


def test_it_loads_neither_the_operator_nor_the_kubernetes_package() -> None:
    """Its account's token never passes through them, and the image has no kubernetes package."""
    code = f"import sys, keywright.console.run; print([each for each in {HEAVY!r} if each in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]"
