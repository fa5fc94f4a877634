"""Make the cluster match the ApiKeys: gather what is there, let the domain decide, apply one step, look again."""
