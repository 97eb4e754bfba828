"""The server under test: requests out, records in."""
