"""A training, resolved once: all that its result depends on, where it lies, and what it is made of."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import nn

from ra_core.chain import Chain
from ra_core.data import fingerprint, is_labelled
from ra_core.errors import WeightsError
from ra_core.judges import Judge, load_judge
from ra_core.methods import Method, find_method
from ra_core.models.blocks import for_inference
from ra_core.models.weights import load_weights, read_sidecar
from ra_core.objectives import Objective
from ra_core.params import Training
from ra_core.training.processes import Team


@dataclass(frozen=True)
class Run:
    """One training of a method; `RestorationRun` and `CodingRun` say what it is made of.

    `parameters` is what `params.yaml` holds: all that the result depends on, and on which device and how many threads
    it is computed. What a validation is told beside (`evaluation_batch`, `validation_pictures`) changes no weight, nor
    does how the pictures of a folder are kept (`cache`).
    """

    parameters: dict
    folder: Path
    evaluation_batch: int = 16
    validation_pictures: int = 0
    cache: str = "none"
    before: ClassVar["Run | None"] = None  # another run whose networks it builds on
    recorded: ClassVar[tuple[str, ...]]  # the parameters that `run.json` repeats
    validations: ClassVar[int]  # in the course of the training

    @property
    def name(self) -> str:
        """The place of its folder in the profile's, such as `sr/ra/seed0`."""
        raise NotImplementedError

    @property
    def seed(self) -> int:
        """The seed of the first weights, of the order of pictures and of their noise."""
        return self.parameters["seed"]

    @property
    def training(self) -> Training:
        """The length and the optimiser."""
        return Training(**self.parameters["training"])

    @property
    def method(self) -> Method:
        """The row of the table of methods, with the lambda of a mode."""
        return find_method(self.parameters.get("mode") or self.parameters["method"], self.parameters.get("weight"))

    @property
    def shrink(self) -> float:
        """How many times smaller a side its pictures are sent."""
        return self.parameters.get("shrink", 1)

    @property
    def described(self) -> dict:
        """What `run.json` says beside its parameters."""
        return {}

    @property
    def own_pictures(self) -> bool:
        """Whether its pictures come from a folder that others may not have."""
        data = self.parameters.get("data")  # around a codec only a folder is stated
        return data is not None and data.get("kind", "folder") == "folder"

    @property
    def data(self) -> dict:
        """What is said of its pictures, how they are kept included."""
        return self.parameters["data"] | ({"cache": self.cache} if self.cache != "none" else {})

    def splits(self) -> dict:
        """Return the pictures that it is trained on and validated with, by part."""
        raise NotImplementedError

    def fingerprints(self) -> dict[str, str]:
        """Return the fingerprints of its pictures by part, where these may change: in a folder of one's own."""
        return {part: fingerprint(found) for part, found in self.splits().items()} if self.own_pictures else {}

    def judge(self, pictures, device: torch.device) -> Judge:
        """Return the source, the judge that training sees, and see that it fits the pictures."""
        judge = load_judge(self.parameters["source"], pictures.classes).made_fast(device)
        if is_labelled(pictures):
            images, labels = pictures.batch(torch.arange(1))
            with torch.inference_mode():
                judge.look(images.to(device), images.to(device), labels, pictures)  # refuses other classes
        return judge

    def networks(self) -> dict[str, nn.Module]:
        """Return its fresh networks by name; those of a seed begin the same in every method."""
        raise NotImplementedError

    def begin(self, networks: dict[str, nn.Module]) -> None:
        """Fill fresh networks with finished ones where the training begins with such."""

    def load(self, device: str | torch.device = "cpu") -> dict[str, nn.Module]:
        """Return its trained networks by name, ready to evaluate: normalisation lies in their convolutions."""
        return {name: for_inference(net, device) for name, net in self.stored().items()}

    def stored(self) -> dict[str, nn.Module]:
        """Return its trained networks by name, as they were saved."""
        path, advice = self.folder / "run.json", "train the run again"
        stated = read_sidecar(path, set(), advice).get("sha256", {})
        if not isinstance(stated, dict):
            raise WeightsError(f"{path} has sha256 = {stated!r} and no digest by name; {advice}.")
        return {
            name: load_weights(net, self.folder / f"{name}.safetensors", stated.get(name))
            for name, net in self.networks().items()
        }

    def objective(self, judge: Judge, splits: dict) -> Objective:
        """Return what it minimises."""
        raise NotImplementedError

    def chain(self, networks: dict[str, nn.Module], quality: float | None = None) -> Chain:
        """Return its networks around its channel; around a codec at a quality (None: where it is validated)."""
        raise NotImplementedError

    def validate(self, networks: dict[str, nn.Module], judge: Judge, splits: dict, team: Team) -> dict:
        """Return what the validation pictures say of its networks."""
        raise NotImplementedError
