"""The command line."""

from bsnn.cli.app import app, main

__all__ = ["app", "main"]
