"""What the command tests call a command: arguments in, click's `Result` out."""

from collections.abc import Callable

from click.testing import Result

Run = Callable[..., Result]
