"""What can be said about a finished clip without any network."""

from .report import ClipReport, clip_report

__all__ = ["ClipReport", "clip_report"]
