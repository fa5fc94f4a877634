"""What a caller may do with keys: Kubernetes decides, as it would for kubectl. Knows no HTTP of its own."""
