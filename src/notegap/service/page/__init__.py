"""The page: a note beside its checklist, which follows the note as it is edited."""

from notegap.service.page.router import page_router

__all__ = ["page_router"]
