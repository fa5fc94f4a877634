"""What the verifier knows of keys and classes, and how it judges a credential by it."""
