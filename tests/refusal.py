"""How a test asks for an error that a user can mend."""

from collections.abc import Callable

import pytest

from ra_core.errors import RAError


def refusal(kind: type[RAError], call: Callable, *args, **kwargs) -> str:
    """Return the message with which `call` refuses its arguments, checked to be one sentence."""
    with pytest.raises(kind) as caught:
        call(*args, **kwargs)
    message = str(caught.value)
    assert "\n" not in message and message.endswith(".") and ". " not in message, message
    return message
