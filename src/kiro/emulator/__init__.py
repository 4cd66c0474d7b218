"""A Kiro that needs no account: a real server on loopback, as strict as the real one. For `kiro demo` and the tests."""
