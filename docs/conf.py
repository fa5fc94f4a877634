"""How the site is built: ``make docs``. The pages are plain Markdown that reads well without it, too."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "Keywright"
version = release = version_of("keywright")
extensions = ["myst_parser", "site_extension"]
exclude_patterns = ["site_extension"]
# Headings get the anchors that a code host gives them, down to this level.
myst_heading_anchors = 4
nitpicky = True
# They would turn the two hyphens of a flag into a dash.
smartquotes = False
html_theme = "furo"
html_title = f"Keywright {release}"
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False
# No link of the site leaves it for its looks: fonts and scripts are those of the theme.
html_theme_options = {"navigation_with_keys": True}
