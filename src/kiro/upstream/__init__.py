"""How Kiro says it: everything that knows its wire."""
