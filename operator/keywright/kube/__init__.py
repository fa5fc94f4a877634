"""The only package that talks to the API server. It knows requests and watches, not keys."""
