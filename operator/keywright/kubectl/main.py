"""The two programs: ``kubectl-apikey``, and ``kubectl_complete-apikey`` that kubectl asks for completions.

Whatever goes wrong ends here as one line and an exit status; a traceback never reaches a person.
"""

import io
import logging
import os
import sys
from collections.abc import Sequence

from keywright.errors import KeywrightError

__all__ = ["complete", "main"]

DONE, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status (``docs/guides/kubectl.md`` has the table)."""
    try:
        import click  # noqa: PLC0415 - the wheel installs this program also where its extra is not

        from keywright.kubectl.app import app  # noqa: PLC0415 - see above
        from keywright.kubectl.completion import COMPLETE_VARIABLE  # noqa: PLC0415 - see above
        from keywright.kubectl.output import say  # noqa: PLC0415 - see above
    except ModuleNotFoundError as error:
        sys.stderr.write(f"kubectl apikey: {error.name} is not installed: pip install '.[cli]' in the checkout\n")
        return FAILED
    # Of the Kubernetes client: why a credential plugin failed. All else it logs is ours to say.
    logging.basicConfig(format="kubectl apikey: %(message)s", level=logging.ERROR)
    try:
        status = app.main(
            args=arguments, prog_name="kubectl apikey", complete_var=COMPLETE_VARIABLE, standalone_mode=False
        )
        return status if isinstance(status, int) else DONE
    except KeywrightError as error:
        say(f"kubectl apikey: {error}")
        return FAILED
    except click.ClickException as error:
        # Printed by click itself, what was typed would be repeated as it is.
        shown = io.StringIO()
        error.show(shown)
        for line in shown.getvalue().splitlines():
            say(line)
        return WRONG_USAGE
    except (click.Abort, KeyboardInterrupt):
        say("kubectl apikey: interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read has gone. The interpreter would say so once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:  # noqa: BLE001 - the border to people: a traceback helps none of them
        say(f"kubectl apikey: unexpected {type(error).__name__} at {_place(error)}: this is a bug, please report it")
        return FAILED


def complete() -> int:
    """Answer kubectl: candidates, one a line, and the directive of cobra that ends them."""
    from click.shell_completion import ShellComplete  # noqa: PLC0415 - see main

    from keywright.kubectl.app import app  # noqa: PLC0415 - see main
    from keywright.kubectl.completion import COMPLETE_VARIABLE  # noqa: PLC0415 - see main

    *given, incomplete = sys.argv[1:] or [""]
    found = ShellComplete(app, {}, "kubectl apikey", COMPLETE_VARIABLE).get_completions(given, incomplete)
    wants_file = any(each.type != "plain" for each in found)
    lines = [] if wants_file else [f"{each.value}\t{each.help}" if each.help else str(each.value) for each in found]
    # cobra: 0 lets the shell offer files, 4 does not.
    sys.stdout.write("\n".join([*lines, ":0" if wants_file else ":4"]) + "\n")
    return DONE


def _place(error: Exception) -> str:
    step = error.__traceback__
    while step is not None and step.tb_next is not None:
        step = step.tb_next
    return f"{step.tb_frame.f_globals.get('__name__')}:{step.tb_lineno}" if step is not None else "?"
