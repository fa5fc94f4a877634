"""What can be wrong with the Secret of an ApiKey, in words that name the Secret and the remedy."""

from keywright.domain.reasons import Reason
from keywright.domain.report import Problem

__all__ = ["adoptable", "conflict", "emptied", "held", "missing", "refused"]


def conflict(name: str, because: str = "") -> Problem:
    """A Secret of the wanted name exists and is not ours."""
    return Problem(
        Reason.SECRET_CONFLICT,
        f"the Secret {name} exists and is not this ApiKey's, so it is left untouched: delete or rename it, "
        f"or make a new ApiKey with another spec.secret.name{because}",
    )


def adoptable(name: str, uid: str, apikey: str, *, is_misnamed: bool) -> Problem:
    """The Secret may be this ApiKey's own from before a restore. Only a person can know."""
    misnamed = "the annotation keywright.dev/adopt-secret names another UID than this Secret's; " if is_misnamed else ""
    return Problem(
        Reason.SECRET_CONFLICT,
        f"{misnamed}the Secret {name} (UID {uid}) exists and this ApiKey has never had a key: if it was restored, "
        f"let it adopt the Secret and the key in it by kubectl annotate apikey {apikey} --overwrite "
        f"keywright.dev/adopt-secret={uid} (takes the verb adopt on apikeys); to get a new key instead, "
        "or if its key was revoked, delete the Secret",
    )


def held(name: str) -> Problem:
    """A predecessor's Secret does not go."""
    return Problem(
        Reason.SECRET_CONFLICT,
        f"the Secret {name} of a deleted ApiKey of this name does not go away: see which finalizers it has and who is "
        "to remove them, or whether garbage collection runs; a key is issued once it is gone",
    )


def refused(name: str) -> Problem:
    """The API server does not take the Secret. What it said may quote the Secret, so it is not repeated."""
    return Problem(
        Reason.SECRET_REFUSED,
        f"the API server refuses to write the Secret {name}: look for a resource quota, an admission policy, a Secret "
        "that was made immutable, or rights that the operator lacks; it is tried again",
    )


def missing(name: str) -> Problem:
    """The Secret we delivered into is gone. The key in it cannot be had again."""
    return Problem(
        Reason.SECRET_MISSING,
        f"the Secret {name} was deleted; the key in it still works for whoever holds it and cannot be "
        "delivered again: set spec.rotation.trigger to a new value to have another key delivered, or revoke this one",
    )


def emptied(name: str, entry: str) -> Problem:
    """Our Secret is there, and the key that was delivered into it is not."""
    return Problem(
        Reason.SECRET_MISSING,
        f"somebody emptied or changed the entry {entry} of the Secret {name}, so that it does not hold the current key "
        "any more; that key still works for whoever holds it: write it back, set spec.rotation.trigger to a new value "
        "to have another key delivered, or revoke this one",
    )
