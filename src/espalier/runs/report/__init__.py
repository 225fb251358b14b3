"""A run's page: one HTML file that needs no network, made from events.jsonl."""

from espalier.runs.report.page import render_blocks, write_report

__all__ = ["render_blocks", "write_report"]
