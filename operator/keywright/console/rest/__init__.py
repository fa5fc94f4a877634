"""The same as JSON over HTTP, under ``/v1``."""
