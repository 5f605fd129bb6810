"""The arguments of a command with their fields filled in."""

from __future__ import annotations

from collections.abc import Sequence

from dockmend.actions.action import ActionContext, ActionFailed
from dockmend.rules import command_fields


def filled(ctx: ActionContext, command: Sequence[str]) -> list[str]:
    """Raises ActionFailed for a field that would be read as an option: its text is a stranger's."""
    texts = [ctx.render(argument) for argument in command]
    wrong = command_fields.like_an_option(
        [command_fields.argument(each) for each in command], texts
    )
    if wrong is not None:
        raise ActionFailed(
            f"{{{wrong}}} begins with - and would be an option of {command[0]}: put -- before it",
            again=False,
        )
    return texts
