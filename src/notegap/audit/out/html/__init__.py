"""The audit as one page that needs nothing else."""

from notegap.audit.out.html.render import audit_page

__all__ = ["audit_page"]
