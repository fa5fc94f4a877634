"""Links that leave ``docs/`` for another file of the repository. On a code host they work as they stand. The site has
no such files: there they lead to the repository if DOCS_REPOSITORY says where it is shown, and are plain text if not.
"""

import os
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util import logging

__all__ = ["REPOSITORY", "settle_links"]

REPOSITORY = "DOCS_REPOSITORY"

log = logging.getLogger(__name__)


def settle_links(app: Sphinx, doctree: nodes.document) -> None:
    """Replace each link of a page that leads out of the site. One to nothing is a warning, which ends the build."""
    pages = Path(app.srcdir)
    for node in [*doctree.findall(addnodes.pending_xref), *doctree.findall(addnodes.download_reference)]:
        target = _target(node, pages, app.env.docname)
        if target is None:
            continue
        if not target.exists() or not target.is_relative_to(pages.parent):
            log.warning("no such file in the repository: %s", target, location=node)
        node.replace_self(_shown(node, os.path.relpath(target, pages.parent), os.environ.get(REPOSITORY)))


def _target(node: nodes.Element, pages: Path, page: str) -> Path | None:
    """Where the link leads, if that is outside of the site."""
    if node.get("reftype") != "myst":
        return None
    if node.get("refdomain") == "doc":
        # Already taken for a page: named from the root of the site, or by its whole path if it lies outside.
        target = (pages / f"{node['reftarget']}.md").resolve()
    else:
        target = (pages / page).parent.joinpath(node["reftarget"].partition("#")[0]).resolve()
    return None if target.is_relative_to(pages) else target


def _shown(node: nodes.Element, path: str, repository: str | None) -> nodes.Node:
    text = node.astext()
    if repository is not None:
        return nodes.reference("", "", *(each.deepcopy() for each in node.children), refuri=f"{repository}/{path}")
    # Without a link the path has to be told, unless the text is the path.
    return nodes.inline("", "", nodes.inline("", text), *([] if text in path else [nodes.literal("", f" {path}")]))
