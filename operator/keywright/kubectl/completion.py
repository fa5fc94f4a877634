"""``completion``: what a shell needs to complete ``kubectl-apikey``. For ``kubectl apikey`` kubectl asks
``kubectl_complete-apikey``, which is installed beside it.
"""

import click
from click.shell_completion import get_completion_class

__all__ = ["COMPLETE_VARIABLE", "completion"]

COMPLETE_VARIABLE = "_KUBECTL_APIKEY_COMPLETE"


@click.command(
    epilog="""\b
examples:
  kubectl apikey completion bash >> ~/.bashrc
  kubectl apikey completion zsh >> ~/.zshrc
  kubectl apikey completion fish > ~/.config/fish/completions/kubectl-apikey.fish

\b
kubectl apikey itself completes once kubectl does (kubectl completion --help), without this.
"""
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a shell's completion of kubectl-apikey."""
    completer = get_completion_class(shell)
    assert completer is not None
    click.echo(completer(ctx.find_root().command, {}, "kubectl-apikey", COMPLETE_VARIABLE).source())
