"""Rows to counts per window: panes, watermark, late rows."""
