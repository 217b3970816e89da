"""Many notes at once: one report for each, in order, and what came out of them all."""

from notegap.audit.run import Tally, audit

__all__ = ["Tally", "audit"]
