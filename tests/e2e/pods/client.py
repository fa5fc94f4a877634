"""What a client of a service does: read its key from the mounted Secret, call, again and again.

Every second it prints what it has got since, as JSON: how often each status, and which key it was served for. The key is
read anew for each call, so a rotation reaches it by the mount. With ``--once`` it makes one call and prints the status;
``--without-key`` calls without one. Runs in a pod, with the standard library alone.
"""

import argparse
import collections
import json
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

PAUSE_SECONDS = 0.05
REPORT_SECONDS = 1.0


def call(url: str, key: str) -> tuple[str, str]:
    """The status of one call, or why there is none; and the id of the key it was served for."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"} if key else {})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return str(answer.status), json.load(answer).get("x-auth-key-id", "")
    except urllib.error.HTTPError as refusal:
        refusal.close()
        return str(refusal.code), ""
    except OSError as error:
        return f"{type(error).__name__}: {error}", ""


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def call_for_ever(url: str, key_file: Path) -> None:
    """Call and report, until somebody ends the pod."""
    while True:
        answers: collections.Counter[str] = collections.Counter()
        key_ids: collections.Counter[str] = collections.Counter()
        until = time.monotonic() + REPORT_SECONDS
        while time.monotonic() < until:
            status, key_id = call(url, key_file.read_text().strip())
            answers[status] += 1
            if key_id:
                key_ids[key_id] += 1
            time.sleep(PAUSE_SECONDS)
        say(json.dumps({"answers": answers, "keyIds": key_ids}))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--key-file", type=Path, default=Path("/var/run/keywright/api-key"))
    parser.add_argument("--once", action="store_true")
    parser.add_argument("--without-key", action="store_true")
    options = parser.parse_args()
    if options.once:
        say(call(options.url, "" if options.without_key else options.key_file.read_text().strip())[0])
    else:
        call_for_ever(options.url, options.key_file)


if __name__ == "__main__":
    main()
