"""The resources as the API server stores them: pydantic models, and the CRDs rendered from them."""

GROUP = "keywright.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
