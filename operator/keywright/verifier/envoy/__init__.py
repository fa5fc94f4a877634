"""Envoy's ext_authz over gRPC."""
