"""Unit tests share a machine with others: a slow example is no failure, and each run tries the same examples."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "unit", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("unit")
