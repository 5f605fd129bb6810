"""`dockmend run`: the daemon."""

from __future__ import annotations

from typing import Any

import click

from dockmend.cli.options import options, settings


@click.command(short_help="The daemon.")
@options("config", "rules", "state", "socket", "engine")
@click.option("--listen", metavar="ADDR:PORT", help="HTTP: API, metrics, health [127.0.0.1:9468].")
@click.option("--metrics-listen", metavar="ADDR:PORT", help="HTTP: metrics and health only [off].")
@click.option(
    "--dry-run", is_flag=True, default=None, help="Decide, record and count, but touch nothing."
)
@click.option(
    "--only",
    hidden=True,
    default="",
    help="Act on this container alone, by its id (dockmend demo).",
)
@click.option(
    "--log-format",
    type=click.Choice(["auto", "console", "json"]),
    help="[auto: console on a terminal].",
)
def run(only: str, **flags: Any) -> int:
    """Watches an engine and mends what breaks, until SIGTERM or Ctrl-C. SIGHUP reads the rules and
    the policy again.

    Flags override DOCKMEND_* variables, and these override the settings file.
    """
    found = settings(flags, secrets=True)
    from dockmend.app import run as run_app
    from dockmend.settings import policy_again

    return run_app(
        found.model_copy(update={"only": only}),
        lambda: policy_again(flags, config=found.paths.config),
    )
