"""What a verifier answers, from the refusals that it has."""

from keywright.verifier.verdicts import REFUSALS, Code
from site_extension.markdown import code, plain, table

__all__ = ["render"]


def render() -> str:
    """A table of all refusals in the order of their codes, and of what each of them says."""
    order = list(Code)
    rows = (
        [
            code(each.code),
            code(each.reason),
            str(each.status),
            plain(each.detail),
            code(f'error="{each.error}"') if each.error else "without `error`" if each.is_challenged else "none",
            f"{each.retry_after} s" if each.retry_after else "",
        ]
        for each in sorted(REFUSALS, key=lambda refusal: order.index(refusal.code))
    )
    return table(["code", "reason", "status", "`detail`", "challenge", "`Retry-After`"], rows)
