"""What people and deployments type."""
