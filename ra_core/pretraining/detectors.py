"""Training of the small detectors: `python -m ra_core.pretraining.detectors NAME --folder F [--pictures P]`."""

import argparse
import json
import sys
from pathlib import Path

import torch
from pydantic import Field

from ra_core.data import fingerprint, scenes
from ra_core.data.box_folders import load_parts
from ra_core.data.boxes import BoxedPictures, by_size
from ra_core.detection import detect, mean_ap
from ra_core.errors import DataError, exit_status
from ra_core.judges.detector import SHIPPED
from ra_core.judges.detector_nets import make_detector
from ra_core.judges.trunks import TRUNKS
from ra_core.params import MAX_SEED, BoxFolder
from ra_core.pretraining.shipping import halve, ship
from ra_core.strict import Strict, checked
from ra_core.training import fit

STEPS = {"fcos": 2800, "faster_rcnn": 2000, "retinanet": 2800}  # about ten minutes each on two cores
RECIPE = {"optimiser": "Adam", "batch": 8, "lr": 1e-3, "schedule": "cosine", "precision": "bf16"}
AUGMENTATION = "mirror"


class Asked(Strict):
    """The numbers of the command."""

    steps: int = Field(ge=0)
    seed: int = Field(ge=0, le=MAX_SEED)


class Detection:
    """The detector's own losses, as an objective of `ra_core.training.fit`."""

    frozen = ()

    def __init__(self, name: str):
        self.settings = {"detector": name}

    def prepare(self, images, labels, generator):
        """Return pictures and targets as the detector takes them; of several sizes, each without what fills it up."""
        keys, shown = ("boxes", "labels"), list(images)
        for (height, width), chosen in by_size(labels).items():
            for index in chosen:
                shown[index] = images[index, :, :height, :width]
        return {"images": shown, "targets": [{key: t[key].to(images.device) for key in keys} for t in labels]}

    def terms(self, networks, batch):
        """Return the losses by name, and their sum as `loss`."""
        losses = networks["detector"](batch["images"], batch["targets"])
        return {"loss": sum(losses.values()), **losses}


def train_detector(
    name: str, train: BoxedPictures, validation: BoxedPictures, folder: Path, steps: int = 0, seed: int = 0,
    device: str = "auto",
) -> dict:  # fmt: skip
    """Train the small detector `name`, write `folder/name.safetensors` with its sidecar, and return the sidecar.

    `steps` of 0 takes those of the detectors that ship. The weights are written, and judged on `validation`, as
    16-bit floats. A killed run goes on from the checkpoint in `folder/name.run`, which is removed at the end.
    Raises `ParameterError` for an unknown name, and `DataError` when the two sets differ in their classes.
    """
    if train.classes != validation.classes:
        raise DataError(f"{train.name} and {validation.name} have different classes; load both with the same ones.")
    torch.manual_seed(seed)
    net = make_detector(name, len(train.classes), trained_features=True)
    run, steps, targets = Path(folder) / f"{name}.run", steps or STEPS[name], validation.all_targets()
    report = fit(
        {"detector": net}, Detection(name), train, folder=run, steps=steps, seed=seed, device=device,
        channels_last=True, validate=lambda: mean_ap(detect(net, validation), targets), validations=4, name=name,
        **RECIPE | {"optimiser": torch.optim.Adam},
    )  # fmt: skip
    scores = mean_ap(detect(halve(net), validation), targets)
    facts = {
        "name": name, "classes": list(train.classes), "features": TRUNKS[name].recognizer, "stored": "16-bit floats",
        "recipe": RECIPE | {"steps": steps, "augmentation": AUGMENTATION}, "seed": seed,
        "validated_on": validation.name, "validation_fingerprint": fingerprint(validation),
        "validation_pictures": len(validation),
        "validation": {metric: round(value, 2) for metric, value in scores.items()},
        "seconds": round(report["wall_seconds"]),
    }  # fmt: skip
    return ship(net, facts, train, run)


def main(arguments: list[str] | None = None) -> int:
    """Train one of the small detectors and print its sidecar. Return 0, or 1 after one sentence."""
    parser = argparse.ArgumentParser(
        prog="python -m ra_core.pretraining.detectors",
        description="Train one of the small detectors on the scenes, or on a folder of your own.",
    )
    parser.add_argument("name", choices=TRUNKS)
    parser.add_argument("--folder", type=Path, default=SHIPPED, help="where the weights are written")
    parser.add_argument("--pictures", type=Path, help="folder like Pascal VOC's or COCO's, divided as in a profile")
    parser.add_argument("--resize", type=int, default=0, help="of these: pixels of the shorter side, 0 as stored")
    parser.add_argument("--steps", type=int, default=0, help="0: as the detectors that ship")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)

    def train() -> None:
        checked(Asked, parser.prog, {"steps": given.steps, "seed": given.seed})
        if given.pictures:
            usual = checked(BoxFolder, parser.prog, {"folder": str(given.pictures), "resize": given.resize})
            found = load_parts(given.pictures, usual.resize, (), (), usual.test_share, usual.validation_share)
        else:
            found = {part: scenes.load(part) for part in ("train", "validation")}
        parts = found["train"], found["validation"]
        print(json.dumps(train_detector(given.name, *parts, given.folder, given.steps, given.seed), indent=2))

    return exit_status(train)


if __name__ == "__main__":
    sys.exit(main())
