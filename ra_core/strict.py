"""Models of what a user writes: strict, and their first problem as one sentence."""

from collections.abc import Mapping
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, model_validator

from ra_core.errors import ParameterError, RAError

Model = TypeVar("Model", bound=BaseModel)
LARGEST = 10**9  # whole number; more overflows somewhere, and is always a slip


class Strict(BaseModel):
    """Unknown keys, wrong types and impossible values are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, values):
        unknown = [key for key in values if key not in cls.model_fields] if isinstance(values, dict) else []
        if unknown:
            raise ValueError(f"{unknown[0]!r} is an unknown key; known here are {', '.join(cls.model_fields)}")
        for key, value in values.items() if isinstance(values, dict) else ():
            if isinstance(value, int) and abs(value) > LARGEST:
                raise ValueError(f"{key} = {value} is not allowed; a whole number is at most {LARGEST}")
        return values


def one_of(registry: Mapping):
    """Return the type of a text that must be the name of a registered thing."""
    return Annotated[str, AfterValidator(lambda name: mended(registry.find, name) and name)]


def mended(check, *arguments):
    """Return what `check` returns; its refusal becomes one that pydantic puts the key in front of."""
    try:
        return check(*arguments)
    except RAError as error:
        raise ValueError(str(error).rstrip(".")) from error


def checked(model: type[Model], where: object, values: dict) -> Model:
    """Return a model of what a file or a command states. Raises `ParameterError` that says its first problem."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ParameterError(first_problem(where, error)) from error


def first_problem(where: object, error: ValidationError) -> str:
    """Return the first problem as one sentence: file or command, key, value, and what pydantic says of it."""
    first, more = error.errors()[0], error.error_count() - 1
    key = ".".join(str(part) for part in first["loc"] if str(part)[0] != "[")
    given = f" = {first['input']!r}" if key and not isinstance(first["input"], dict) else ""
    said = first["msg"].removeprefix("Value error, ")
    return f"{where}: {key}{given}{': ' if key else ''}{said}{f' ({more} more to mend)' if more else ''}."
