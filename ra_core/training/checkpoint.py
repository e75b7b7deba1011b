"""Checkpoints: all that a killed run needs to end as if it had never been killed."""

import io
import pickle
from pathlib import Path

import torch

from ra_core.errors import TrainingError
from ra_core.files import atomic
from ra_core.training.memory import is_out_of_memory

# The settings that say which pictures a training works on.
PICTURES = {"training": ("pictures", "data", "fingerprint"), "validation": ("validation",)}


def random_states() -> dict[str, torch.Tensor]:
    """Return the state of torch's global random generator of the CPU and of each CUDA device."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states |= {f"cuda:{i}": state for i, state in enumerate(torch.cuda.get_rng_state_all())}
    return states


def set_random_states(states: dict[str, torch.Tensor]) -> None:
    """Put back what `random_states` returned, for the devices that are here."""
    for device, state in states.items():
        if device == "cpu":
            torch.set_rng_state(state)
        elif torch.cuda.is_available() and int(device.split(":")[1]) < torch.cuda.device_count():
            torch.cuda.set_rng_state(state, device)


def save_checkpoint(path: Path, state: dict) -> None:
    """Write `state` (tensors, numbers, strings, lists and dicts of them) atomically."""
    buffer = io.BytesIO()  # torch hides a full disk behind an error of its own
    torch.save(state, buffer)
    with atomic(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def load_checkpoint(path: Path, settings: dict) -> dict | None:
    """Return the checkpoint at `path`, or None where there is none.

    Raises `TrainingError` when the file cannot be read, is broken or was made with other `settings`.
    """
    state = _read(path)
    if state is None:
        return None
    made_with = state["settings"]
    for part, keys in PICTURES.items():  # of others epochs have other steps, so they are asked for first
        if any(key in settings and made_with.get(key) != settings[key] for key in keys):
            raise TrainingError(
                f"the {part} pictures have changed since {path} was written; "
                "put the old ones back to go on, or delete the file to start anew."
            )
    for key, value in settings.items():
        if made_with.get(key) != value:
            raise TrainingError(
                f"{path} was made with {key} = {made_with.get(key)!r}, this run has {value!r}; "
                "give the old value to go on, or delete the file to start anew."
            )
    return state


def _read(path: Path) -> dict | None:
    """Return the state in a file; one that cannot be opened, or not for want of memory, is not thereby broken."""
    try:
        with open(path, "rb") as file:
            state = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        return None
    except OSError as error:
        reason = error.strerror or error
        raise TrainingError(f"{path} cannot be read ({reason}); mend that, then run again.") from error
    except (RuntimeError, EOFError, LookupError, ValueError, pickle.UnpicklingError) as error:
        if is_out_of_memory(error):
            raise
        state = None
    if not (isinstance(state, dict) and isinstance(state.get("settings"), dict)):
        raise TrainingError(f"{path} is not a whole checkpoint; delete it to start anew.")
    return state
