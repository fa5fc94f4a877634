"""The sidecar that judges presented keys. It knows the domain and the watch, and no operator framework."""
