"""The mirror of the host: what dockmend believes the engine to hold, and the changes it derives
from learning more.

Synchronous and without effects: events and inspect answers go in with the time, `Change`s come out.
Events are hints that can be lost, repeated or reordered; inspect is the truth. So an event mostly
says "look again", and adds what inspect cannot tell: who asked for an end, and what happened
between two looks.
"""

from __future__ import annotations

from dockmend.mirror.mirror import Mirror

__all__ = ["Mirror"]
