"""Rate limits: in memory for one verifier, on Redis for many."""
