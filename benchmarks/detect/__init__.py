"""Offline and per window: evaluating, calibrating, and `analyze` beside the libraries that people use today.

Each side of a comparison is a process of its own that reads the same files, warms up once, and then is asked in turns.
"""
