"""What an ApiKey may be called by."""

import pytest

from keywright.api.finding import has_id, is_name, is_uid, owned_by
from keywright.domain.apikey import Status
from tests.unit.api.manifests import manifest
from tests.unit.domain.examples import key, record

UID = "0e9f5b0a-6f0e-4c39-9a5e-0b8f0f6a6a2b"


@pytest.mark.parametrize(
    ("reference", "uid", "name"),
    [
        ("ci", False, True),
        ("ci.deploy-2", False, True),
        (UID, True, True),
        (UID.upper(), False, False),
        (UID + "\n", False, False),
        ("4hJk29sLmQ0z", False, False),
        ("a/../b", False, False),
        ("-ci", False, False),
        ("", False, False),
    ],
)
def test_what_may_be_asked_for_by_its_path(reference: str, uid: bool, name: bool) -> None:
    """A name, which a UID is too; never what would change the path."""
    assert is_uid(reference) is uid
    assert is_name(reference) is name


def test_an_api_key_goes_by_its_uid_and_by_the_id_of_each_key() -> None:
    """And by nothing else in it."""
    current = record(key(1))
    found = manifest(Status(keys=(current,), current_key_id=current.id))
    assert has_id(found, current.id)
    assert has_id(found, "uid-of-ci")
    assert not has_id(found, "ci")
    assert not has_id(manifest(), current.id)


def test_an_owner_is_no_part_of_the_selector_language() -> None:
    """A name with a comma does not select more."""
    assert owned_by("a,metadata.name=b\\") == "spec.owner.user=a\\,metadata.name\\=b\\\\"
