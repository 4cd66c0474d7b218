"""A local proxy that offers your own Kiro accounts to every coding agent and SDK."""

__version__ = "0.1.0"
