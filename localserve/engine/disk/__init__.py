"""Kept prefixes on disk: written when nobody is disturbed, read back when a request begins so."""
