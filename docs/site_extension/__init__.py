"""The tables of the reference, made from the sources while the site is built, so that they are never old."""

from collections.abc import Callable
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from site_extension import resources, settings, verdicts
from site_extension.links import settle_links

__all__ = ["setup"]

MAKERS: dict[str, Callable[..., str]] = {
    "keywright-resource": resources.render,
    "keywright-settings": settings.render,
    "keywright-verdicts": verdicts.render,
}
"""Names of directives, and what makes the Markdown that stands in their place from their argument, if any."""


class GeneratedDirective(SphinxDirective):
    """Markdown made from the sources."""

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Parse what the maker of this name makes, headings included."""
        return self.parse_text_to_nodes(MAKERS[self.name](*self.arguments), allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    for name in MAKERS:
        app.add_directive(name, GeneratedDirective)
    # Before Sphinx looks for files to offer for download.
    app.connect("doctree-read", settle_links, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
