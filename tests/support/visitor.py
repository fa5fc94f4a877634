"""The pages of a running ``keywright console`` as a browser asks for them, without a screen and without scripts."""

import http.client
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from urllib.parse import urlencode

__all__ = ["Reply", "Visitor"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What was answered. Names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    text: str


class Visitor:
    """A browser without a screen: it keeps cookies, and sends forms as they stand in the page. ``headers`` are what a
    proxy in front says of him.
    """

    def __init__(self, address: str, headers: Mapping[str, str] | None = None) -> None:
        self._address = address
        self._headers = dict(headers or {})
        self.cookies: dict[str, str] = {}

    def get(self, path: str) -> Reply:
        return self._ask("GET", path, None, {})

    def post(self, path: str, fields: Mapping[str, str]) -> Reply:
        """Send these fields from a page of the same site."""
        headers = {
            "Origin": f"http://{self._address}",
            "Sec-Fetch-Site": "same-origin",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        return self._ask("POST", path, urlencode(fields), headers)

    def sign_in(self, credential: str) -> Reply:
        return self.post("/sign-in", {"credential": credential, "next": "/"})

    def submit(self, page: str, action: str, **fields: str) -> Reply:
        """Open a page and send the form on it that goes to ``action``, with what it holds and these fields besides."""
        shown = self.get(page)
        assert shown.status == 200, shown.text
        forms = _Forms()
        forms.feed(shown.text)
        (held,) = [inputs for goes_to, inputs in forms.found if goes_to == action]
        return self.post(action, held | fields)

    def _ask(self, method: str, path: str, body: str | None, headers: dict[str, str]) -> Reply:
        sent = self._headers | headers
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        reply = _exchange(self._address, method, path, body, sent)
        for name, value in re.findall(r"(?:^|, )([\w-]+)=([^;,]*)", reply.headers.get("set-cookie", "")):
            if name.endswith("keywright"):
                self.cookies[name] = value
        return reply


class _Forms(HTMLParser):
    """The forms of a page: where each goes, and what a browser would send if nobody touched it."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "form":
            self.found.append((given.get("action") or "", {}))
        chosen = given.get("type") not in ("radio", "checkbox") or "checked" in given
        if tag == "input" and self.found and chosen and (name := given.get("name")):
            self.found[-1][1][name] = given.get("value") or ""


def _exchange(address: str, method: str, path: str, body: str | None, headers: Mapping[str, str]) -> Reply:
    connection = http.client.HTTPConnection(address, timeout=60)
    try:
        connection.request(method, path, body, dict(headers))
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Reply(status=response.status, headers=found, text=response.read().decode())
    finally:
        connection.close()
