"""The same as pages for a browser."""
