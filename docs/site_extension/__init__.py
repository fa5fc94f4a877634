"""The tables of the reference, made from the sources while the site is built, so that they are never old."""

from typing import Any, ClassVar

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from site_extension import resources, settings, verdicts
from site_extension.links import settle_links

__all__ = ["setup"]

MAKERS = {
    "keywright-resource": resources.render,
    "keywright-settings": settings.render,
    "keywright-verdicts": verdicts.render,
}
"""Names of directives, and what makes the Markdown that stands in their place from their argument."""


class GeneratedDirective(SphinxDirective):
    """Markdown made from the sources."""

    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {}

    def run(self) -> list[nodes.Node]:
        """Parse what the maker of this name makes, headings included."""
        # A page of the reference is as old as the sources that it is made from, which Sphinx does not watch.
        self.env.note_reread()
        return self.parse_text_to_nodes(MAKERS[self.name](self.arguments[0]), allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    for name in MAKERS:
        app.add_directive(name, GeneratedDirective)
    # Before Sphinx looks for files to offer for download.
    app.connect("doctree-read", settle_links, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
