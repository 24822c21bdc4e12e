"""Request bytes into Arrow: wire decoder, attribute conventions, typed columns."""
