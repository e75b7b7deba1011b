"""What a training consists of at some step: saved, put back, and checked before either."""

import json
import math
import time
from pathlib import Path

from torch import nn

from ra_core.errors import TrainingError
from ra_core.files import write_text
from ra_core.models.weights import save_weights
from ra_core.training.checkpoint import load_checkpoint, random_states, save_checkpoint, set_random_states
from ra_core.training.processes import Team


class TrainingState:
    """Networks, optimiser, random generators and log after `step` steps; `settings` are what they depend on."""

    def __init__(self, folder: Path, networks: dict[str, nn.Module], optimizer, settings: dict):
        self.folder, self.networks, self.optimizer, self.settings = folder, networks, optimizer, settings
        self.step, self.log, self.seconds_before, self.started = 0, [], 0.0, time.monotonic()

    @property
    def path(self) -> Path:
        """Where the checkpoint lies."""
        return self.folder / "checkpoint.pt"

    @property
    def seconds(self) -> float:
        """How long the training has taken, those of its processes that were killed included."""
        return self.seconds_before + time.monotonic() - self.started

    def save(self) -> None:
        """Write `log.jsonl` and the checkpoint. Raises `OutputError` when the disk is full."""
        write_text(self.folder / "log.jsonl", "".join(json.dumps(line) + "\n" for line in self.log))
        state = {
            "step": self.step, "networks": {key: net.state_dict() for key, net in self.networks.items()},
            "optimiser": self.optimizer.state_dict(), "random": random_states(), "settings": self.settings,
            "log": self.log, "seconds": self.seconds,
        }  # fmt: skip
        save_checkpoint(self.path, state)

    def restore(self, team: Team) -> None:
        """Go on from the checkpoint of rank zero, where there is one. Raises `TrainingError` where it does not fit."""
        state = team.on_rank_zero(lambda: load_checkpoint(self.path, self.settings))
        if state is None:
            return
        for key, net in self.networks.items():
            net.load_state_dict(state["networks"][key])
        self.optimizer.load_state_dict(state["optimiser"])
        set_random_states(state["random"])
        self.step, self.log, self.seconds_before = state["step"], state["log"], state["seconds"]

    def check_finite(self, means: dict[str, float]) -> None:
        """Stop a run that has gone astray before it reaches a checkpoint; a finite loss can leave broken weights."""
        broken = [f"{key} became {value}" for key, value in means.items() if not math.isfinite(value)]
        for name, net in self.networks.items():
            if not all(tensor.isfinite().all() for tensor in net.state_dict().values()):
                broken.append(f"a weight of the {name} is no longer finite")
        if broken:
            saved = self.path.exists()
            kept = f"the last good checkpoint, {self.path}, is kept" if saved else "no checkpoint was due yet"
            raise TrainingError(f"{broken[0]} by step {self.step}; {kept}: lower the learning rate and run again.")

    def is_validated(self) -> bool:
        """Say whether the log holds the validation of this step."""
        return any(line["step"] == self.step and "validation" in line for line in self.log)

    def last_validation(self) -> dict:
        """Return what was validated last."""
        return next((line["validation"] for line in reversed(self.log) if "validation" in line), {})

    def save_networks(self) -> None:
        """Write the weights of each network as `<name>.safetensors`."""
        for key, net in self.networks.items():
            save_weights(net, self.folder / f"{key}.safetensors")


class Meter:
    """The means of the terms over the pictures since it was read last, and how fast those were seen."""

    def __init__(self):
        self.restart()

    def restart(self) -> None:
        """Begin anew at this moment."""
        self.sums, self.seen, self.since = {}, 0, time.monotonic()

    def add(self, terms: dict, count: int) -> None:
        """Add the terms of a batch of `count` pictures, without waiting for the device."""
        for key, value in terms.items():
            self.sums[key] = self.sums.get(key, 0) + value * count
        self.seen += count

    def means(self) -> dict[str, float]:
        """Return the means; this waits for the device."""
        return {key: float(value) / self.seen for key, value in self.sums.items()}

    def rate(self) -> float:
        """Return pictures a second."""
        return self.seen / max(time.monotonic() - self.since, 1e-9)
