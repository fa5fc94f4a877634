"""What a request needs beyond a live key, and where the original request is read from."""
