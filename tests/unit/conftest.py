"""Unit tests share a machine with others: a slow example is no failure, and each run tries the same examples.

``HYPOTHESIS_PROFILE=long make unit`` tries twenty times as many, other ones each time.
"""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "unit", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.register_profile("long", settings.get_profile("unit"), derandomize=False, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "unit"))
