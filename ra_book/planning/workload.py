"""What a profile asks for, counted from the profile alone: every training and evaluation, and the work of a picture.

Networks are run on shapes without numbers (torch's `meta` device), or on a small picture, under a meter that adds up
what every operator does; no picture of a data set is loaded.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from ra_core.channels import make_channel
from ra_core.data import flat_folders, folders
from ra_core.errors import ParameterError
from ra_core.experiments import run_parameters
from ra_core.metrics import psnr, ssim
from ra_core.models.efficientnet_lite import efficientnet_lite
from ra_core.models.processors import make_processor
from ra_core.judges.recognizer import CELL_FAMILIES, FAMILIES, PUBLISHED, Recognizer, load_recognizer
from ra_core.params import Profile
from ra_core.params.base import Training
from ra_core.paths import project_root
from ra_core.shipped_runs import matching

VALIDATIONS = 6  # of a training, as `ra_core.training.fit` has it


@dataclass(frozen=True)
class Work:
    """What one picture costs, forward and, in training, back.

    `macs` are multiply-accumulates of convolutions and matrix products, `moved` the bytes all other operators read and
    write, in 32-bit floats, `kept` the bytes that wait for the way back; `operators` are counted once a step, and so
    are `norms`, the layers whose statistics several GPUs sum, forward and back.
    """

    macs: float = 0.0
    moved: float = 0.0
    kept: float = 0.0
    operators: float = 0.0
    norms: int = 0

    def __add__(self, other: "Work") -> "Work":
        return Work(*(getattr(self, key) + getattr(other, key) for key in self.__dataclass_fields__))

    def times(self, pictures: float) -> "Work":
        """Return the work of so many pictures, or of a picture so many times as large, in the same operators."""
        counted = {key: pictures * getattr(self, key) for key in ("macs", "moved", "kept")}
        return replace(self, **counted)


class _Meter(TorchDispatchMode):
    """Adds up what is done while it is entered."""

    def __init__(self):
        super().__init__()
        self.macs = self.moved = self.operators = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func.is_view:
            return out
        self.operators += 1
        count = flop_registry.get(func._overloadpacket)
        if count:
            self.macs += count(*args, **(kwargs or {}), out_val=out) / 2
        else:
            tensors = [leaf for leaf in tree_leaves((args, kwargs, out)) if isinstance(leaf, torch.Tensor)]
            self.moved += sum(t.numel() * t.element_size() for t in tensors)
        return out


def count(work: Callable[[], object], pictures: int = 1, *networks: nn.Module) -> Work:
    """Return what `work`, a call without arguments, does for each of its pictures.

    The weights of `networks` are not among what is kept for the way back: they lie in memory once.
    """
    weights = {p.untyped_storage()._cdata for net in networks for p in net.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor):
        kept[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
        return tensor

    with _Meter() as meter, torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        work()
    waiting = sum(size for key, size in kept.items() if key not in weights)
    return Work(meter.macs / pictures, meter.moved / pictures, waiting / pictures, meter.operators)


def _pictures(side: int, batch: int = 2, gradient: bool = False) -> torch.Tensor:
    return torch.zeros(batch, 3, side, side, device="meta", requires_grad=gradient)


def make_recognizer(name: str, classes: int) -> Recognizer:
    """Return a recognizer without its weights, as shapes only; a function of the user's is called."""
    from torchvision import models

    known = FAMILIES | CELL_FAMILIES
    with torch.device("meta"):
        if name in known:
            return Recognizer(known[name](classes), name, (0.5,) * 3, (0.5,) * 3)
        if name in PUBLISHED:
            return Recognizer(efficientnet_lite(PUBLISHED[name]), name, (0.5,) * 3, (0.5,) * 3)
        if name in models.list_models(module=models):
            return Recognizer(models.get_model(name, weights=None), name, (0.5,) * 3, (0.5,) * 3)
    return load_recognizer(name).to("meta")


@cache
def recognizer_work(name: str, side: int, classes: int, back: bool = False) -> tuple[Work, int]:
    """Return the work of a frozen recognizer, with `back` also of the gradient of its input, and its parameters."""
    net, images = make_recognizer(name, classes), _pictures(side, gradient=back)

    def run():
        with torch.set_grad_enabled(back):
            answer = net(images)
        if back:
            answer.sum().backward()

    return count(run, len(images), net), _size(net)


@cache
def processor_work(name: str, scale: int, sizes: tuple, side: int, back: bool = False) -> tuple[Work, int]:
    """Return the work of a processor that ends at `side` pixels, with `back` of training it, and its parameters."""
    with torch.device("meta"):
        net, images = make_processor(name, scale, **dict(sizes)), _pictures(side // scale)

    def run():
        with torch.set_grad_enabled(back):
            loss = (net(images) - _pictures(side)).square().mean()
        if back:
            loss.backward()

    return replace(count(run, len(images), net), norms=norm_layers(net) if back else 0), _size(net)


@cache
def scoring_work(side: int) -> Work:
    """Return the work of PSNR and SSIM, counted on numbers: they turn autocast off, which shapes alone know not of."""
    images = torch.zeros(2, 3, side, side)
    return count(lambda: (psnr(images, images), ssim(images, images)), len(images))


def norm_layers(net: nn.Module) -> int:
    """Return how many layers of a network take statistics of the batch in training."""
    return sum(isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training for m in net.modules())


def _size(*networks: nn.Module) -> int:
    return sum(p.numel() for net in networks for p in net.parameters())


@dataclass(frozen=True)
class Job:
    """A training or an evaluation, `runs` times (once a seed).

    `pictures` go through `work` in one run, `steps` of at most `batch`; a training also looks at `checked` pictures
    through `check`. `coders` says how often each real codec codes and decodes a picture of `side` pixels. `trained`
    and `frozen` count parameters, `held` pictures that lie in memory. `folder` says that they are decoded from files.
    """

    part: str
    name: str
    kind: str
    runs: int
    steps: int
    batch: int
    pictures: float
    side: int
    work: Work
    precision: str = "fp32"
    check: Work = Work()
    checked: float = 0.0
    coders: tuple[tuple[str, float], ...] = ()
    trained: int = 0
    frozen: int = 0
    held: int = 0
    folder: bool = False

    @property
    def macs(self) -> float:
        """Multiply-accumulates of all its runs."""
        return self.runs * (self.pictures * self.work.macs + self.checked * self.check.macs)


@dataclass(frozen=True)
class Stock:
    """How many pictures a data set has, and of how many classes; `flat` says that these are no folders."""

    train: int
    test: int
    classes: int
    flat: bool = False


CIFAR10, SHIPPED = Stock(50_000, 10_000, 10), Stock(5_000, 2_000, 10)
FOLDERS = {  # by the name of their folder
    "imagenet": Stock(1_281_167, 50_000, 1000),
    "imagenet-sample": Stock(309, 291, 1000, flat=True),
}


def stock_of(profile: Profile, stated: Stock | None = None) -> Stock:
    """Return how many pictures a profile has: as stated, known by name, or by listing its folder.

    Of a folder without class folders, files that are not whole count too, and the test part is its share of them.
    Raises `ParameterError` for a folder that is neither stated nor known nor here.
    """
    data = profile.data
    if stated:
        return stated
    if data.kind == "cifar10":
        return SHIPPED if data.source == "shipped" else CIFAR10
    root = project_root() / Path(data.source).expanduser()
    known = FOLDERS.get(root.name)
    if known and (known.flat or not root.is_dir()):
        return known
    if not root.is_dir():
        raise ParameterError(
            f"profile {profile.name} has its pictures in {data.source}, which is not here; "
            "state how many there are: --pictures TRAIN TEST CLASSES."
        )
    if flat_folders.is_flat(root):
        listed = flat_folders.listed(root)
        test = round(data.test_share * len(listed))
        return Stock(len(listed) - test, test, len(listed.classes))
    return _tree(root)


@cache  # to list a million files takes a while, and every machine's plan asks
def _tree(root: Path) -> Stock:
    train, test = (folders.load(root, part) for part in ("train", "test"))
    return Stock(len(train), len(test), len(test.classes))


def jobs_of(profile: Profile, stated: Stock | None = None) -> list[Job]:
    """Return every training and evaluation that a profile asks for."""
    found = []
    if profile.tasks:
        found += _restoration(profile, stock_of(profile, stated))
    if profile.preprocessing:
        from ra_book.planning.coding_workload import coding_jobs

        found += coding_jobs(profile)
    return found


def trained_pictures(training: Training, pictures: int) -> tuple[int, int]:
    """Return the steps of a training and the pictures it sees: the last batch of an epoch is short."""
    steps = training.length(pictures)
    epochs, rest = divmod(steps, -(-pictures // training.batch))
    return steps, epochs * pictures + rest * training.batch


def validations(steps: int, wanted: int = VALIDATIONS) -> int:
    """Return how often a training of so many steps validates."""
    every = max(1, steps // wanted)
    return steps // every + (steps % every > 0)


def _held(profile: Profile, stock: Stock) -> int:
    """Return how many pictures validate, as `ra_core.experiments.load_splits` sets them aside from training.

    Raises `ParameterError` where that leaves none to train on.
    """
    data = profile.data
    known = FOLDERS.get(Path(data.source).name, stock)
    root = project_root() / Path(data.source).expanduser()
    if data.kind == "folder" and (known.flat or stock.classes < 2 or flat_folders.is_flat(root)):
        return round(data.validation_share * (stock.train + stock.test))
    held = data.validation_per_class * stock.classes
    if held >= stock.train:
        raise ParameterError(
            f"profile {profile.name} has validation_per_class = {data.validation_per_class}, which is all of its "
            f"{stock.train} training pictures of {stock.classes} classes; choose fewer, or state more pictures."
        )
    return held


def _restoration(profile: Profile, stock: Stock) -> list[Job]:
    """Return the trainings of every task and mode, and the evaluation of every task."""
    data, side = profile.data, 32 if profile.data.kind == "cifar10" else profile.data.crop
    held = _held(profile, stock)
    train = data.train_per_class * stock.classes or stock.train - held
    test = data.test_per_class * stock.classes or stock.test
    seeds, folder = len(profile.seeds), data.kind == "folder"
    judges = [recognizer_work(name, side, stock.classes) for name in profile.recognizers]
    source, source_size = judges[0]
    through, _ = recognizer_work(profile.source, side, stock.classes, back=True)
    found = []
    for task, settings in profile.tasks.items():
        scale = make_channel(task, **profile.channels.model_dump()).scale
        coders = (("jpeg", 1.0),) if task == "jpeg" else ()
        training, shown, chains = settings.training, Work(), 2  # of the evaluation: clean, and unprocessed
        steps, pictures = trained_pictures(training, train)
        for name in profile.modes:
            mode = profile.mode(name, task)
            parts = [(settings.processor, scale), *([(settings.transformer, 1)] if mode.transformer else [])]
            sizes = [(p.name, s, tuple(p.sizes.items()), side) for p, s in parts]
            backs = [processor_work(*one, back=True) for one in sizes]
            forward = sum((processor_work(*one)[0] for one in sizes), Work())
            work = sum((one for one, _ in backs), Work())
            work += through if mode.recognition else Work()
            work += source if mode.recognition == "soft_labels" else Work()
            wanted = [run_parameters(profile, task, name, seed) for seed in profile.seeds]
            runs = sum(matching(one) is None for one in wanted)  # what ships is not trained
            found.append(Job(
                task, mode.name, "training", runs, steps, training.batch, pictures, side, work, training.precision,
                forward + source + scoring_work(side), validations(steps) * held, coders,
                sum(size for _, size in backs), source_size, 0 if folder else train + held, folder,
            ))  # fmt: skip
            shown, chains = shown + forward.times(seeds), chains + seeds
        every, batch = sum((one for one, _ in judges), Work()) + scoring_work(side), profile.evaluation_batch
        found.append(Job(
            task, "evaluation", "evaluation", 1, chains * -(-test // batch), batch, chains * test,
            side, replace((shown + every.times(chains)).times(1 / chains), kept=0.0),
            coders=coders, frozen=sum(size for _, size in judges), held=0 if folder else test, folder=folder,
        ))  # fmt: skip
    return found
