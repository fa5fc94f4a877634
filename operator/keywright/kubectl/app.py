"""The commands in one place."""

from importlib.metadata import version

import click

from keywright.kubectl import changing, completion, creating, reading, revealing, rotating, verifying

__all__ = ["app"]

EPILOG = """\
\b
examples:
  kubectl apikey create ci-deploy --ttl 90d
  KEY=$(kubectl apikey create partner --once)
  kubectl apikey list
  kubectl apikey rotate ci-deploy
  kubectl apikey revoke --owner bob@example.com --reason "left the company" -A
  kubectl apikey verify < key.txt

\b
exit status: 0 done, 1 refused or failed (one line says what to do), 2 wrong usage, 3 verify: not a valid key,
4 verify --url: a valid key, but this request is not allowed, 130 interrupted
"""


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("keywright"), prog_name="kubectl-apikey")
def app() -> None:
    """API keys as Kubernetes resources: make, find, rotate and revoke them."""


for _command in (
    creating.create,
    reading.list_keys,
    reading.show,
    revealing.reveal,
    rotating.rotate,
    changing.suspend,
    changing.resume,
    changing.revoke,
    changing.delete,
    verifying.verify,
    completion.completion,
):
    app.add_command(_command)
