"""Keywright: API keys as Kubernetes resources."""
