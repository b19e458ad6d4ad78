"""The built-in strategies, a page each; a user's own stand in the configured strategies directory.

They import :mod:`botd.strategy` and :mod:`botd.domain` only.
"""
