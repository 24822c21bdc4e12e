"""Counts and a baseline to findings: all methods, then the verdict."""
