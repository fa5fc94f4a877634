"""Who asks: by a Keywright key, by a Kubernetes token, or by what a trusted front proxy says."""
