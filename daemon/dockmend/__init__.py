"""dockmend: an asyncio daemon that heals containers and proves that it did."""

from __future__ import annotations

__version__ = "0.1.0"
