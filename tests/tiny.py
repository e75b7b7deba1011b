"""Small things to train with: pictures of 16 x 16, networks of four channels, a recognizer of a hundred weights."""

import json
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from ra_core.channels import Noise
from ra_core.data import Pictures, cifar10
from ra_core.losses import Mode, find_mode
from ra_core.models.processors import make_processor
from ra_core.judges.recognizer import Recognizer
from ra_core.objectives import Restoration
from ra_core.training import fit

CLASSES, SIDE = ("disc", "ring", "star"), 16
PROFILE = """\
# make book PROFILE=tiny
data: {train_per_class: 4, validation_per_class: 2, test_per_class: 3}
tasks:
  dn:
    processor: &net {name: SRResNet, width: 4, blocks: 1}
    transformer: *net
    training: {steps: 5, batch: 5, lr: 1e-3}
source: tiny:recognizer
unseen: [tiny:another]
threads: 1
device: cpu
"""


def pictures(count: int = 12, seed: int = 0, name: str = "tiny") -> Pictures:
    """Smooth random pictures, classes in turn."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 4, 4, generator=generator)
    images = nn.functional.interpolate(coarse, size=SIDE, mode="bilinear")
    return Pictures((images * 255).round().byte(), torch.arange(count) % len(CLASSES), CLASSES, name)


def load(source: str, part: str, home="") -> Pictures:
    """Stand in for `cifar10.load`: eight pictures of each class."""
    return pictures(24, seed=1 if part == "test" else 0, name=f"tiny/{part}")


def _classifier(seed: int, width: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        conv, linear = nn.Conv2d(3, width, 3, stride=2), nn.Linear(width, len(CLASSES))
    return nn.Sequential(conv, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear)


def recognizer() -> nn.Module:
    """The source, as `tiny:recognizer`."""
    return _classifier(seed=0, width=4)


def another() -> nn.Module:
    """An unseen one, as `tiny:another`."""
    return _classifier(seed=1, width=6)


def source() -> Recognizer:
    """The source, wrapped."""
    return Recognizer(recognizer(), "tiny", (0.5,) * 3, (0.25,) * 3)


def networks(mode: str = "plain", seed: int = 0, width: int = 4) -> dict[str, nn.Module]:
    """A fresh processor, and a transformer where the mode has one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        nets = {"processor": make_processor("SRResNet", 1, width=width, blocks=1)}
        if find_mode(mode).transformer:
            nets["transformer"] = make_processor("SRResNet", 1, width=4, blocks=1)
    return nets


def train(folder: Path, mode: str | Mode = "plain", **changes) -> dict:
    """Train for a few steps on noise, saving at every step; `changes` replace any argument of `fit`, or
    the channel or recognizer of its objective."""
    mode = find_mode(mode) if isinstance(mode, str) else mode
    torch.manual_seed(0)
    objective = Restoration(mode, changes.pop("channel", Noise(0.1)), changes.pop("recognizer", source()))
    arguments = {
        "networks": changes.pop("networks", None) or networks(mode.name),
        "objective": objective,
        "pictures": pictures(),
        "folder": folder,
        "steps": 6,
        "batch": 5,
        "lr": 1e-3,
        "device": "cpu",
        "checkpoint_seconds": 0,
    }
    return fit(**arguments | changes)


def weights(folder: Path) -> dict[str, bytes]:
    """The weights files of a run, byte for byte."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("[!.]*.safetensors"))}


def log(folder: Path) -> list[dict]:
    """The lines of a run's log."""
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def names(folder: Path) -> list[str]:
    """The files of a folder, hidden ones too."""
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def at_project(folder: Path, monkeypatch):
    """Work in a project of its own in `folder`, with tiny pictures in place of CIFAR-10."""
    monkeypatch.chdir(project(folder))
    monkeypatch.setattr(cifar10, "load", load)
    threads = torch.get_num_threads()
    yield folder
    torch.set_num_threads(threads)


def project(folder: Path, profile: str = PROFILE) -> Path:
    """Make an empty project with one profile, `tiny`."""
    for name in ("params", "notebooks"):
        (folder / name).mkdir()
    (folder / "params" / "tiny.yaml").write_text(profile)
    return folder


def count_trainings(monkeypatch, module) -> list[str]:
    """Return a list that grows by a name with every training `module` begins."""
    begun = []

    def counted(*arguments, **keywords):
        begun.append(keywords["name"])
        return fit(*arguments, **keywords)

    monkeypatch.setattr(module, "fit", counted)
    return begun
