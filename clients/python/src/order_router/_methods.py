"""What models can say about themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .models import OrderStatus

FINAL_STATUSES = frozenset({"filled", "cancelled", "rejected", "expired"})


class ReportMethods:
    """Questions to an execution report."""

    __slots__ = ()

    if TYPE_CHECKING:

        @property
        def status(self) -> OrderStatus: ...

        @property
        def version(self) -> int: ...

    @property
    def is_receipt(self) -> bool:
        """Whether no report is journaled yet: ask again with the same intent, or with ``get``."""
        return self.version == 0

    @property
    def is_final(self) -> bool:
        """Whether the order has ended. A late fill can still change its quantities."""
        return self.status in FINAL_STATUSES

    @property
    def is_open(self) -> bool:
        """Whether the order may still fill; true for ``unknown``, too."""
        return not self.is_final
