"""What a training consists of at some step: saved, put back, and checked before either."""

import io
import json
import math
import time
import zipfile
from pathlib import Path

import torch
from torch import nn

from ra_core.errors import TrainingError, is_out_of_memory
from ra_core.files import atomic, read_bytes, write_text
from ra_core.models.weights import save_weights
from ra_core.training.processes import Team

# How a refusal calls the settings that say which pictures a training works on.
TRAINED_ON = dict.fromkeys(("pictures", "data", "fingerprint"), "training pictures")
PICTURES = TRAINED_ON | {"validation": "validation pictures"}


def load_checkpoint(path: Path, settings: dict) -> dict | None:
    """Return the checkpoint at `path` or None. Raises `TrainingError` where it is broken or has other `settings`."""
    try:
        content = read_bytes(path)
        if damaged := zipfile.ZipFile(io.BytesIO(content)).testzip():  # torch writes checksums and compares none
            raise ValueError(f"{damaged} is damaged")
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        made_with = dict(state["settings"])
    except FileNotFoundError:
        return None
    except OSError as error:  # which says nothing about what is in the file
        raise TrainingError(f"{path} cannot be read ({error.strerror or error}); mend that, then run again.") from error
    except Exception as error:  # a torn or foreign file may raise anything
        if is_out_of_memory(error):
            raise
        raise TrainingError(f"{path} is not a whole checkpoint; delete it to start anew.") from error
    for key, value in settings.items():
        if made_with.get(key) != value:
            raise TrainingError(
                f"{path} was made with {PICTURES.get(key, key)} = {made_with.get(key)!r}, this run has {value!r}; "
                "give the old value to go on, or delete the file to start anew."
            )
    return state


class TrainingState:
    """Networks, optimiser, random generators and log after `step` steps; `settings` are what they depend on."""

    def __init__(self, folder: Path, networks: dict[str, nn.Module], optimizer, settings: dict):
        self.folder, self.networks, self.optimizer, self.settings = folder, networks, optimizer, settings
        self.path = folder / "checkpoint.pt"
        self.step, self.log, self.seconds_before, self.started = 0, [], 0.0, time.monotonic()

    @property
    def seconds(self) -> float:
        """How long the training has taken, those of its processes that were killed included."""
        return self.seconds_before + time.monotonic() - self.started

    @property
    def validations(self) -> dict[int, dict]:
        """What the log says of validation pictures, by step."""
        return {line["step"]: line["validation"] for line in self.log if "validation" in line}

    def save(self) -> None:
        """Write `log.jsonl` and the checkpoint. Raises `OutputError` when the disk is full."""
        write_text(self.folder / "log.jsonl", "".join(json.dumps(line) + "\n" for line in self.log))
        random = {f"cuda:{i}": state for i, state in enumerate(torch.cuda.get_rng_state_all())}
        state = {
            "step": self.step, "networks": {key: net.state_dict() for key, net in self.networks.items()},
            "optimiser": self.optimizer.state_dict(), "random": {"cpu": torch.get_rng_state()} | random,
            "settings": self.settings, "log": self.log, "seconds": self.seconds,
        }  # fmt: skip
        buffer = io.BytesIO()  # torch hides a full disk behind an error of its own
        torch.save(state, buffer)
        with atomic(self.path) as temporary:
            temporary.write_bytes(buffer.getbuffer())

    def restore(self, team: Team) -> None:
        """Go on from the checkpoint of rank zero, where there is one. Raises `TrainingError` where it does not fit."""
        state = team.on_rank_zero(lambda: load_checkpoint(self.path, self.settings))
        if state is None:
            return
        for key, net in self.networks.items():
            net.load_state_dict(state["networks"][key])
        self.optimizer.load_state_dict(state["optimiser"])
        torch.set_rng_state(state["random"]["cpu"])
        for device in (f"cuda:{i}" for i in range(torch.cuda.device_count())):
            if device in state["random"]:
                torch.cuda.set_rng_state(state["random"][device], device)
        self.step, self.log, self.seconds_before = state["step"], state["log"], state["seconds"]

    def check_finite(self, means: dict[str, float]) -> None:
        """Stop a run that has gone astray before it reaches a checkpoint; a finite loss can leave broken weights."""
        broken = [f"{key} became {value}" for key, value in means.items() if not math.isfinite(value)]
        for name, net in self.networks.items():
            if not all(tensor.isfinite().all() for tensor in net.state_dict().values()):
                broken.append(f"a weight of the {name} is no longer finite")
        if broken:
            kept = f"the last good checkpoint, {self.path}, is kept" if self.path.exists() else "nothing was saved yet"
            raise TrainingError(f"{broken[0]} by step {self.step}; {kept}: lower the learning rate and run again.")

    def save_networks(self) -> None:
        """Write the weights of each network as `<name>.safetensors`."""
        for key, net in self.networks.items():
            save_weights(net, self.folder / f"{key}.safetensors")
