"""The key service: keys by REST and in the browser, each request done as the one who asks (``keywright console``)."""
