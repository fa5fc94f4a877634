"""The same as pages for a browser: rendered here, readable and doable without script."""
