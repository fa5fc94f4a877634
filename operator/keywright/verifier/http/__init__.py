"""The server, its endpoints and their answers."""
