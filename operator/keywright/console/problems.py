"""What a caller is told instead of an answer (RFC 9457). Texts name the next step and never hold a key."""

from collections.abc import Mapping

from keywright.errors import KeywrightError

__all__ = ["ProblemError"]


class ProblemError(KeywrightError):
    """``status`` is of HTTP, ``code`` one word for programs, ``headers`` go with the answer."""

    def __init__(self, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})
