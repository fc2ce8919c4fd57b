"""What can be said on a node before anything runs. The oldest hosts let any word through where a list is shown.

An input that comes from another node is None here, since its value is not known yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..svd_core.errors import InputError, SvdError, choose_from


def verdict(*checks: Callable[[], object]) -> bool | str:
    """What the host expects of `validate_inputs`: True, or the sentence of the first check that raises one."""
    try:
        for check in checks:
            check()
    except SvdError as error:
        return str(error)
    return True


def listed(name: str, value: str | None, options: Iterable[str]) -> None:
    """Refuse a word that is not among the options of a list.

    Raises:
        InputError: it is not; the message names the input and the options.
    """
    valid = tuple(options)
    if value is not None and value not in valid:
        raise InputError(choose_from(name, value, valid))
