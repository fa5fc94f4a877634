"""People who ask the key service through a front proxy that names them, and what they ask most."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support.console import Answer, Console
from tests.support.kube import Kube, eventually
from tests.support.people import bind

__all__ = ["BEHIND_A_PROXY", "Asker", "editor_at", "holder_of"]

USER = "X-Remote-User"
BEHIND_A_PROXY = (
    "--proxy-from",
    "127.0.0.1/32",
    "--proxy-user-header",
    USER,
    "--proxy-groups-header",
    "X-Remote-Groups",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Whoever sends these headers, and the namespace that he asks about."""

    console: Console
    namespace: str
    headers: Mapping[str, str] = field(repr=False)

    def ask(self, method: str, path: str = "", body: Any = None, **headers: str) -> Answer:
        """One request; a path that begins otherwise than with /v1 is below the keys of the namespace."""
        place = path if path.startswith("/v1") else f"/v1/namespaces/{self.namespace}/keys{path}"
        sent = dict(self.headers) | {name.replace("_", "-"): value for name, value in headers.items()}
        return self.console.ask(method, place, body=body, headers=sent)

    def create(self, *, status: int = 201, idempotency_key: str | None = None, **wanted: Any) -> Any:
        """Ask for a key; the body of the answer, which has this status."""
        headers = {"Idempotency_Key": idempotency_key} if idempotency_key is not None else {}
        answer = self.ask("POST", "", wanted, **headers)
        assert answer.status == status, answer
        return answer.body

    def look(self, key: str) -> Any:
        """One key, which there is."""
        answer = self.ask("GET", f"/{key}")
        assert answer.status == 200, answer
        return answer.body


def editor_at(console: Console, admin: Kube, namespace: str, user: str, *groups: str) -> Asker:
    """Somebody who may edit the namespace, once that has come round."""
    bind(admin, namespace, user, "edit")
    asker = Asker(
        console=console,
        namespace=namespace,
        headers={USER: user} | ({"X-Remote-Groups": ",".join(groups)} if groups else {}),
    )
    eventually(lambda: asker.ask("GET").status == 200, within=30, what=f"the rights of {user}")
    return asker


def holder_of(plain: str, console: Console, namespace: str) -> Asker:
    """A program with a key."""
    return Asker(console=console, namespace=namespace, headers={"X-API-Key": plain})
