"""What the owner of a key may do in the cluster, asked of the API server."""
