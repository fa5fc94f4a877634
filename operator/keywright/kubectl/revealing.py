"""``reveal``."""

import click

from keywright.domain.times import parse_duration
from keywright.kubectl.cluster import Cluster
from keywright.kubectl.delivering import hand_over, wait_for_delivery
from keywright.kubectl.finding import find_key
from keywright.kubectl.options import at_cluster, key_argument, timeout_option

__all__ = ["reveal"]


@click.command(
    epilog="""\b
examples:
  kubectl apikey reveal ci-deploy
  kubectl apikey reveal ci-deploy | pbcopy

\b
It takes the right to get Secrets in the namespace; for a key that is delivered once, to patch them too.
"""
)
@key_argument()
@at_cluster()
@timeout_option
def reveal(cluster: Cluster, name: str, timeout: str) -> None:
    """Print the key of an ApiKey.

    One that is delivered once is acknowledged: its Secret goes, and nobody sees the key again.
    """
    found = wait_for_delivery(cluster, find_key(cluster, name), parse_duration(timeout))
    hand_over(cluster, found)
