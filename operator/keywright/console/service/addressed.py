"""What may stand in an address of a page or of REST: it becomes part of addresses of the API server."""

__all__ = ["KEY_REFERENCE", "LONGEST_LABEL", "LONGEST_OWNER", "NAMESPACE", "OWNER_NAME"]

NAMESPACE = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
KEY_REFERENCE = r"^[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?(\.[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*$"
OWNER_NAME = r"^[!-~]([ -~]*[!-~])?$"
LONGEST_LABEL = 63
LONGEST_OWNER = 253
