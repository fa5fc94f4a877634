"""Which classes are accepted follows the cluster at once."""

from keywright.verifier.settings import VerifierSettings
from tests.unit.verifier.builders import api_key, api_key_class, at, mint, record, with_other_secret
from tests.unit.verifier.wire import Served, serving


async def test_the_built_in_class_is_the_default(served: Served) -> None:
    """On a fresh cluster keys of `standard` are accepted without a class object."""
    key = mint()
    served.verifier.index.put(api_key(record(key)))
    assert (await served.present(key.text)).status == 200


async def test_an_object_replaces_the_built_in_class(served: Served) -> None:
    """`standard` is what the object of that name says, and the built-in again when it is gone."""
    key, served_key = mint(), ("X-Service-Key", mint().text)
    served.verifier.index.put(api_key(record(key)))
    served.verifier.classes.put(
        api_key_class("standard", credentials={"schemes": ["Token"], "headers": ["X-Service-Key"]})
    )
    assert (await served.present(key.text)).code == "missing_key"
    assert (await served.ask(served_key)).status == 200
    assert (await served.ask(("Authorization", f"token {key.text}"))).status == 200
    assert (await served.ask()).all("WWW-Authenticate") == ['Token realm="keywright"']
    served.verifier.classes.remove("class-standard")
    assert (await served.present(key.text)).status == 200
    assert (await served.ask(served_key)).code == "missing_key"


async def test_the_built_in_class_does_not_stand_in_for_one_that_cannot_be_read(served: Served) -> None:
    """What `standard` restricts is not known then, so its keys are refused, as the operator refuses them."""
    key = mint()
    served.verifier.index.put(api_key(record(key)))
    served.verifier.classes.put(api_key_class("standard", prefix="Not A Prefix"))
    assert (await served.present(key.text)).code == "missing_key"
    assert set(served.verifier.classes.uids()) == {"class-standard"}
    served.verifier.classes.put(api_key_class("standard"))
    assert (await served.present(key.text)).status == 200
    served.verifier.classes.put(api_key_class("standard", prefix="Not A Prefix"))
    assert (await served.present(key.text)).code == "missing_key"
    served.verifier.classes.remove("class-standard")
    assert (await served.present(key.text)).status == 200


async def test_the_built_in_class_stands_in_for_one_that_is_being_deleted(served: Served) -> None:
    """A finalizer may hold the object; it is gone for the operator too."""
    key, being_deleted = mint(), api_key_class("standard", credentials={"schemes": ["Token"]})
    served.verifier.index.put(api_key(record(key)))
    served.verifier.classes.put(being_deleted)
    assert (await served.present(key.text)).code == "missing_key"
    being_deleted["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    served.verifier.classes.put(being_deleted)
    assert (await served.present(key.text)).status == 200


async def test_the_default_class_is_followed(served: Served) -> None:
    """The newest class marked as default is accepted from then on, and the one before no more."""
    old, new = mint(1), mint(2, "kw_new")
    index, classes = served.verifier.index, served.verifier.classes
    index.put(api_key(record(old), uid="uid-1"))
    index.put(api_key(record(new), uid="uid-2", class_name="gold"))
    assert (await served.present(new.text)).code == "malformed_key"
    classes.put(api_key_class("gold", is_default=True, prefix="kw_new", created_at=at(-50)))
    assert (await served.present(new.text)).status == 200
    assert (await served.present(old.text)).code == "malformed_key"
    classes.put(api_key_class("silver", is_default=True, created_at=at(-90)))
    assert (await served.present(new.text)).status == 200
    classes.remove("class-gold")
    classes.remove("class-silver")
    assert (await served.present(old.text)).status == 200


async def test_a_deleted_class_takes_its_keys_along() -> None:
    """A key whose class does not exist is not accepted, however proven it is."""
    key = mint()
    async with serving(VerifierSettings(classes=("gold", "standard"))) as served:
        served.verifier.index.put(api_key(record(key), class_name="gold"))
        served.verifier.classes.put(api_key_class("gold"))
        assert (await served.present(key.text)).status == 200
        served.verifier.classes.remove("class-gold")
        assert (await served.present(key.text)).code == "invalid_key"
        served.verifier.classes.put(api_key_class("gold"))
        assert (await served.present(key.text)).status == 200


async def test_a_class_that_was_not_asked_for_is_not_accepted(served: Served) -> None:
    """Existing is not enough; with the same prefix the answer is that of any unknown key."""
    key, shared = mint(1, "gold"), mint(2)
    served.verifier.classes.put(api_key_class("gold", prefix="gold"))
    served.verifier.classes.put(api_key_class("shared"))
    served.verifier.index.put(api_key(record(key), uid="uid-1", class_name="gold"))
    served.verifier.index.put(api_key(record(shared), uid="uid-2", class_name="shared"))
    assert (await served.present(key.text)).code == "malformed_key"
    assert (await served.present(shared.text)).code == "invalid_key"


async def test_a_missing_class_accepts_nothing_and_is_still_challenged() -> None:
    """A verifier for a class that does not exist refuses everything, with a challenge as every 401 has."""
    async with serving(VerifierSettings(classes=("gone",))) as served:
        assert served.verifier.classes.missing() == ("gone",)
        reply = await served.present(mint().text)
        assert (reply.status, reply.code) == (401, "missing_key")
        assert reply.all("WWW-Authenticate") == ['Bearer realm="keywright"']


async def test_an_open_connection_sees_a_new_header(served: Served) -> None:
    """Headers of a class that changes count on connections that were open before."""
    key = mint()
    served.verifier.index.put(api_key(record(key)))
    reader, writer = await served.connect()
    raw = b"GET /verify HTTP/1.1\r\nHost: v\r\nX-New: %b\r\n\r\n" % key.text.encode()
    writer.write(raw)
    assert b" 401 " in await reader.readuntil(b"}")
    served.verifier.classes.put(api_key_class("standard", credentials={"headers": ["X-New"]}))
    writer.write(raw)
    assert b" 200 " in await reader.readuntil(b"\r\n\r\n")


async def test_warn_before_follows_the_class(served: Served) -> None:
    """The window in which an end is announced is the class's."""
    key = mint()
    served.verifier.index.put(api_key(record(key, expiresAt=at(3600 * 30))))
    assert (await served.present(key.text)).all("X-Auth-Key-Expires")
    served.verifier.classes.put(api_key_class("standard", warnBefore="1d"))
    assert not (await served.present(key.text)).all("X-Auth-Key-Expires")


async def test_a_class_that_becomes_odd_exists_no_more(served: Served) -> None:
    """What cannot be read is not replaced by what stood there before; and whatever has no UID is passed over."""
    key, classes = mint(), served.verifier.classes
    served.verifier.index.put(api_key(record(key)))
    classes.put(api_key_class("gold", is_default=True, credentials={"headers": ["X-New"]}))
    assert set(classes.uids()) == {"class-gold"}
    classes.put(api_key_class("gold", is_default=True, prefix="No Prefix"))
    assert set(classes.uids()) == set()
    assert (await served.ask(("X-API-Key", key.text))).status == 200
    classes.put({"metadata": {}})
    classes.remove("class-unheard-of")
    assert (await served.ask(("X-API-Key", key.text))).status == 200


async def test_a_class_made_anew_with_another_prefix_kills_nothing(served: Served) -> None:
    """Keys that the built-in class issued go on; who has no such key learns nothing from it."""
    key = mint()
    served.verifier.index.put(api_key(record(key)))
    served.verifier.classes.put(api_key_class("standard", prefix="acme_live"))
    assert (await served.present(key.text)).status == 200
    wrong = await served.present(with_other_secret(key))
    unknown = await served.present(mint(9).text)
    assert (wrong.code, unknown.code) == ("malformed_key", "malformed_key")


async def test_an_end_in_small_letters_is_an_end(served: Served) -> None:
    """RFC 3339 allows t and z, and so does the API server."""
    key = mint()
    served.verifier.index.put(api_key(record(key), spec={"expiresAt": "2099-01-01t00:00:00z"}))
    assert (await served.present(key.text)).status == 200
