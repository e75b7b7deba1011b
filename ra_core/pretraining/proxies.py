"""Training of learned proxies: `python -m ra_core.pretraining.proxies NAME --weight W --folder F`."""

import argparse
import json
import sys
from pathlib import Path

import torch
from torch import nn

from ra_core.data import elpv, fingerprint, scenes
from ra_core.data.crops import Crops
from ra_core.data.folders import list_unlabelled, whole
from ra_core.data.splits import list_skipped
from ra_core.errors import DataError, exit_status
from ra_core.files import write_text
from ra_core.locks import file_lock
from ra_core.metrics import psnr, to_8bit
from ra_core.models.proxies import SHIPPED, make_proxy, proxy_stem, read_proxy_sidecar
from ra_core.models.weights import load_weights
from ra_core.objectives import RateDistortion
from ra_core.params import LearnedProxy, Training
from ra_core.pretraining.shipping import halve, ship
from ra_core.strict import checked
from ra_core.training import fit

SCENES = 2000  # about as many as there are training cells
HELD_OUT = 24  # pictures of each set
LINES = 120  # of the log that is kept
SIZES = {"Hyperprior": (32, 48), "Minnen2018": (192, 192)}  # n and m: as what ships, and as published


def held_out_pictures() -> list:
    """Return the sets on which a proxy trained on scenes and solar cells is measured."""
    cells = elpv.load("validation")
    return [scenes.load("validation", HELD_OUT), cells.subset(torch.arange(HELD_OUT), cells.name)]


def training_pictures(folder: Path | None = None, memory: Path | None = None) -> tuple[Crops, list]:
    """Return crops to train on and the sets to measure on: scenes and solar cells, or the pictures of a folder.

    Of a folder every tenth picture is measured on. What is no whole picture is left out (`whole`), and listed in the
    folder of `memory`. Raises `DataError` where fewer than two are left.
    """
    if folder is None:
        return Crops((scenes.load("train", SCENES), elpv.load("train"))), held_out_pictures()
    pictures = whole(list_unlabelled(folder, 256, 256, classes=("picture",)), memory)
    if memory:
        list_skipped(memory.parent, str(folder), pictures.skipped)
    if len(pictures) < 2:
        raise DataError(f"{folder} holds {len(pictures)} whole pictures; put in at least 2, or name another folder.")
    places = torch.arange(len(pictures))
    train = pictures.subset(places[places % 10 != 0], f"{pictures.name}/train")
    return Crops((train,)), [pictures.subset(places[::10], f"{pictures.name}/held out")]


@torch.no_grad()
def measure(proxy: nn.Module, pictures, batch: int = 8) -> dict[str, float]:
    """Return the mean bits a pixel of whole pictures, also split into y and z, and their PSNR (dB), rounded latents."""
    proxy.eval()
    place, found = next(proxy.parameters()).device, []
    for indices in torch.arange(len(pictures)).split(batch):
        images = pictures.batch(indices)[0].to(place)
        out, pixels = proxy(images), images.shape[-2] * images.shape[-1]
        bits = [out[key] / pixels for key in ("bits", "bits_y", "bits_z")]
        found.append(torch.stack([*bits, psnr(to_8bit(out["pictures"]), images)]))
    means = torch.cat(found, 1).mean(1).tolist()
    return dict(zip(("bpp", "bpp_y", "bpp_z", "psnr"), (round(value, 4) for value in means), strict=True))


def made_by(settings: LearnedProxy, weight: float) -> dict:
    """Return all that tells how a proxy is made, as its sidecar has it."""
    recipe, begun_as, place = settings.training.model_dump(), None, settings.weights.index(weight)
    if place:
        recipe["steps"] = -(-recipe["steps"] // 2)
        begun_as = proxy_stem(settings.name, settings.weights[place - 1])
    return {
        "name": settings.name, "n": settings.n, "m": settings.m, "weight": weight, "begun_as": begun_as,
        "recipe": recipe, "seed": settings.seed,
    }  # fmt: skip


def train_proxy(made: dict, train: Crops, held_out: list, folder: Path, start: Path | None = None,
                device: str = "auto") -> dict:  # fmt: skip
    """Train the learned proxy that `made` (see `made_by`) describes, and return its sidecar.

    Writes `<name>-<weight>.safetensors` (16-bit floats, which are also what is measured), its sidecar and its log
    into `folder`; `start` are weights to begin with. A killed run goes on from the checkpoint in
    `<name>-<weight>.run`, which is removed at the end. Raises `ParameterError` for an unknown name and `WeightsError`
    where `start` was trained for other sizes.
    """
    stem = proxy_stem(made["name"], made["weight"])
    torch.manual_seed(made["seed"])
    net, run = make_proxy(made["name"], n=made["n"], m=made["m"]), Path(folder) / f"{stem}.run"
    if start:
        load_weights(net, start)
    report = fit(
        {"proxy": net}, RateDistortion(made["weight"]), train, folder=run, seed=made["seed"], device=device, name=stem,
        **Training(**made["recipe"]).options(len(train)),
    )  # fmt: skip
    halve(net)
    facts = made | {
        "objective": "weight * squared error + bits a pixel", "stored": "16-bit floats", "crops": list(train.sides),
        "held_out": {
            one.name: {"pictures": len(one), "fingerprint": fingerprint(one)} | measure(net, one) for one in held_out
        },
        "seconds": round(report["wall_seconds"]),
    }  # fmt: skip
    lines = (run / "log.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    write_text(Path(folder) / f"{stem}.jsonl", "".join(lines[:: -(-len(lines) // LINES)]))
    return ship(net, facts, train, run)


def trained_proxies(settings: LearnedProxy, own: Path, device: str = "auto") -> list[Path]:
    """Return the weights of a learned proxy, one file a rate, and train into the folder `own` those that are missing.

    Weights that ship are taken where they were made in the very same way. Raises `OutputError` where another process
    trains the same.
    """
    data, found = None, []
    for weight in settings.weights:
        made, stem = made_by(settings, weight), proxy_stem(settings.name, weight)
        folder = next((f for f in (SHIPPED, own) if is_made(made, f / f"{stem}.json")), None)
        if folder is None:
            data, folder = data or training_pictures(), own
            with file_lock(own / f".{stem}.lock", f"the training of {stem} in {own}"):
                train_proxy(made, *data, own, start=found[-1] if found else None, device=device)
        found.append(folder / f"{stem}.safetensors")
    return found


def is_made(made: dict, path: Path) -> bool:
    """Say whether the sidecar at `path` tells of weights made in this very way."""
    return path.exists() and made.items() <= read_proxy_sidecar(path.stem, path.parent).items()


def main(arguments: list[str] | None = None) -> int:
    """Train a learned proxy and print its sidecar. Return 0, or 1 after one sentence."""
    usual = LearnedProxy().training
    parser = argparse.ArgumentParser(prog="python -m ra_core.pretraining.proxies", description=main.__doc__)
    parser.add_argument("name", choices=tuple(SIZES))
    parser.add_argument("--weight", type=float, required=True, help="of the squared error; published 128 to 8192")
    parser.add_argument("--folder", type=Path, required=True, help="where the weights are written")
    parser.add_argument("--pictures", type=Path, help="folder to train on; without, scenes and solar cells")
    parser.add_argument("--start", type=Path, help="weights to begin with, of another rate")
    for size in ("n", "m"):
        parser.add_argument(f"--{size}", type=int, help="channels; without, as published or as those that ship")
    for key, kind in (("steps", int), ("batch", int), ("lr", float)):
        parser.add_argument(f"--{key}", type=kind, default=getattr(usual, key))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    given = parser.parse_args(arguments)

    def train() -> None:
        sizes = dict(zip("nm", SIZES[given.name], strict=True))
        asked = {key: value for key, value in vars(given).items() if value is not None}
        settings = checked(LearnedProxy, parser.prog, sizes | {
            **{key: asked[key] for key in ("name", "n", "m", "seed") if key in asked}, "weights": [given.weight],
            "training": usual.model_dump() | {key: asked[key] for key in ("steps", "batch", "lr")},
        })  # fmt: skip
        begun_as = given.start and given.start.name.removesuffix(".safetensors")
        made = made_by(settings, given.weight) | {"begun_as": begun_as}
        pictures = training_pictures(given.pictures, given.folder / "checked.json")
        print(json.dumps(train_proxy(made, *pictures, given.folder, given.start, given.device), indent=2))

    return exit_status(train)


if __name__ == "__main__":
    sys.exit(main())
