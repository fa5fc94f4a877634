"""``python -m keywright_local``: the control plane by hand."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from keywright_local.binaries import find_binaries, report_to_stderr
from keywright_local.by_hand import HOLD, bring_up, find_running, hold, take_down
from keywright_local.components import AuditLevel
from keywright_local.errors import LocalClusterError
from keywright_local.named_cluster import named_cluster
from keywright_local.versions import cache_directory

_NOT_UP = 3

_EXAMPLES = """\
examples:
  python -m keywright_local up            start a control plane that stays until `down`
  eval "$(python -m keywright_local up)"  the same, and let kubectl in this shell use it
  kubectl --kubeconfig "$(python -m keywright_local kubeconfig)" get namespaces
  python -m keywright_local down          end it and remove all its data
  CLUSTER=current python -m keywright_local up
                                          start nothing; show the cluster kubectl is set to

environment:
  CLUSTER             `current` for the cluster of kubectl's current context
  KUBEBUILDER_ASSETS  folder with etcd and kube-apiserver (and the others, if it has them)
  KEYWRIGHT_CACHE     where built programs are kept (default: keywright in the user's cache folder)
"""


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m keywright_local",
        description="A Kubernetes control plane of your own: etcd, API server and controllers on "
        "this machine, without containers and without nodes.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--directory",
        type=lambda text: Path(text).absolute(),
        default=cache_directory(os.environ) / "cluster",
        help="folder of the control plane (default: %(default)s)",
    )
    audited = argparse.ArgumentParser(add_help=False)
    audited.add_argument("--audit-level", type=AuditLevel, choices=list(AuditLevel), help="write an audit log")
    for name, run, parents, purpose in (
        ("up", _up, [shared, audited], "start it and print how to reach it"),
        ("down", _down, [shared], "end it and remove its folder"),
        ("status", _status, [shared], "say whether it runs; exit code 3 if not"),
        ("kubeconfig", _kubeconfig, [shared], "print the administrator's kubeconfig"),
        ("build", _build, [], "find or build the programs and print where they are"),
    ):
        commands.add_parser(name, parents=parents, help=purpose, description=purpose).set_defaults(run=run)
    # The process that `up` leaves behind; of no use by hand, hence without help.
    commands.add_parser(HOLD, parents=[shared, audited]).set_defaults(run=_hold)
    return parser.parse_args(arguments)


def _build(_options: argparse.Namespace) -> int:
    binaries = find_binaries()
    for path in (binaries.etcd, binaries.kube_apiserver, binaries.kube_controller_manager, binaries.kubectl):
        print(path)
    return 0


def _up(options: argparse.Namespace) -> int:
    if (named := named_cluster()) is not None:
        report_to_stderr(f"CLUSTER=current: nothing started; this is context {named.context} at {named.server}")
        return 0
    if (running := find_running(options.directory)) is None:
        find_binaries()
        running = bring_up(options.directory, options.audit_level)
        report_to_stderr(f"up at {running.server}, files in {options.directory}")
    else:
        report_to_stderr(f"already up at {running.server}, files in {options.directory}")
    print(f"export KUBECONFIG={shlex.quote(str(running.kubeconfig))}")
    return 0


def _down(options: argparse.Namespace) -> int:
    was_up = take_down(options.directory)
    report_to_stderr(f"{options.directory}: " + ("down, its data are removed" if was_up else "nothing was up"))
    return 0


def _status(options: argparse.Namespace) -> int:
    running = find_running(options.directory)
    if running is None:
        print("not up")
        return _NOT_UP
    print(f"up at {running.server} (process {running.holder})")
    print(f"export KUBECONFIG={shlex.quote(str(running.kubeconfig))}")
    return 0


def _kubeconfig(options: argparse.Namespace) -> int:
    running = find_running(options.directory)
    if running is None:
        raise LocalClusterError("No control plane is up.", remedy="start one with `python -m keywright_local up`.")
    print(running.kubeconfig)
    return 0


def _hold(options: argparse.Namespace) -> int:
    hold(options.directory, options.audit_level)
    return 0


def main(arguments: Sequence[str]) -> int:
    """Run one command; answers the exit code."""
    options = _parse(arguments)
    try:
        code: int = options.run(options)
    except LocalClusterError as error:
        print(f"keywright-local: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
