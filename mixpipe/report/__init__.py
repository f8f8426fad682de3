"""The whole run on one page: HTML that needs no network and no other files."""

from mixpipe.report.entries import DensityEntry, FailedEntry, ReleaseChange, ReportEntry
from mixpipe.report.page import write_report

__all__ = ["DensityEntry", "FailedEntry", "ReleaseChange", "ReportEntry", "write_report"]
