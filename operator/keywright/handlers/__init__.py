"""The only package that imports kopf: events come in, calls into ``reconcile`` go out."""
