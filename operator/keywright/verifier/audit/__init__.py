"""One line for each request that was let in or refused."""
