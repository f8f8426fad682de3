"""What is said of what the user can mend."""

import click

from mixpipe.base.errors import MixpipeError, on_one_line


def complain(error: MixpipeError) -> None:
    """Print an error, on one line."""
    click.echo(on_one_line(error), err=True)
