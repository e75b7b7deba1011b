"""Trains with several processes on this machine's CPU and prints, as JSON, what each of them said.

`python together.py FOLDER`. Every process is forked from this one, which has paid for its imports and has not
computed anything yet, and is told by its environment what `accelerate launch` would tell it.
"""

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import accelerate
import tiny
import torch
from torch import nn

from ra_core.chain import Chain
from ra_core.channels import Noise
from ra_core.codecs import load_codec
from ra_core.data import cifar10
from ra_core.errors import ParameterError, RAError
from ra_core.evaluation import evaluate
from ra_core.models.preprocessors import make_preprocessor
from ra_core.models.proxies import make_proxy
from ra_core.objectives import Preprocessing, RateDistortion, Rung
from ra_core.params import load_profile
from ra_core.runs import resolve
from ra_core.steps import trainings
from ra_core.training import fit
from ra_core.training.processes import find_team, shutdown

MODES = ("ra", "ra_transformer", "ra_unsupervised")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


def number() -> int:
    """Return which of the processes this is."""
    return int(os.environ.get("RANK", 0))


class Ending(Noise):
    """Noise that ends one process, as the kernel does, before its step of that number."""

    left = 3

    def __call__(self, images, generator=None, indices=None):
        object.__setattr__(self, "left", self.left - 1)  # a channel is frozen
        if number() == 1 and self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)
        return super().__call__(images, generator, indices)

    def __repr__(self):
        return repr(Noise(self.sigma))


def write_nothing() -> None:
    """Let this process die if it opens a file below the working folder for writing."""

    def hook(event, arguments):
        if event == "open" and isinstance(arguments[0], str | Path) and arguments[2] & WRITING:
            assert not str(arguments[0]).startswith(os.getcwd() + os.sep), f"{arguments[0]} is written"

    sys.addaudithook(hook)


def process(place: int, count: int, port: int, folder: Path, work: Callable) -> None:
    """Be one of `count` processes that do `work(folder)`; leave what came of it in a file."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    os.environ |= {"RANK": str(place), "LOCAL_RANK": str(place)}
    os.environ |= {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
    torch.set_num_threads(1)
    os.chdir(folder)
    said, value, error = folder.parent / f"{folder.name}.{count}.{place}.json", None, None
    if place:
        write_nothing()
    try:
        value = work(folder)
    except RAError as caught:
        error = [type(caught).__name__, str(caught)]
    said.write_text(json.dumps({"value": value, "error": error}))
    shutdown()


def launch(count: int, folder: Path, work: Callable) -> list[dict]:
    """Let `count` processes do `work(folder)`; return what each said, or the signal that ended it."""
    folder.mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = []
    for place in range(count):
        child = os.fork()
        if not child:
            code = 1
            try:
                process(place, count, port, folder, work)
                code = 0
            finally:
                sys.stderr.flush()
                os._exit(code)
        children.append(child)
    ends = [os.waitpid(child, 0)[1] for child in children]
    assert all(os.WIFSIGNALED(end) or os.WEXITSTATUS(end) == 0 for end in ends), f"{folder.name} failed"
    files = [folder.parent / f"{folder.name}.{count}.{place}.json" for place in range(count)]
    return [
        {"signal": os.WTERMSIG(end)} if os.WIFSIGNALED(end) else json.loads(file.read_text())
        for end, file in zip(ends, files, strict=True)
    ]


class Frozen(nn.BatchNorm2d):
    """Statistics that stay as they are, as those of a preprocessor may."""

    def train(self, mode: bool = True):
        return super().train(False)


class Norms(nn.Module):
    """Every kind of batch normalisation that a network here may have."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Sequential(nn.Conv2d(3, 4, 3, 1, 1), nn.BatchNorm2d(4, momentum=None), nn.Tanh())
        self.second = nn.Sequential(nn.BatchNorm2d(4, affine=False, eps=0.1), Frozen(4), nn.Conv2d(4, 3, 1))
        self.head = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
        nn.init.uniform_(self.first[1].weight), nn.init.uniform_(self.head[1].weight)

    def forward(self, x):
        out = self.second(self.first(x))
        return out + self.head(out.mean((2, 3)))[:, :, None, None]


def preprocessing(folder: Path) -> dict:
    """Train a preprocessor whose pictures have different rungs."""
    torch.manual_seed(0)
    ladder, proxy = (Rung(10, 0.5, 1.0), Rung(80, 2.0, 4.0)), make_proxy("BlockDCT")
    objective = Preprocessing(load_codec("jpeg"), proxy, tiny.source(), ladder)
    net = make_preprocessor("NPPQA", width=2, identity=True, batch_norm="frozen")
    return fit({"preprocessor": net}, objective, tiny.pictures(), folder=folder, steps=3, batch=5, device="cpu",
               lr=1e-3, checkpoint_seconds=0)  # fmt: skip


def not_divisible(folder: Path) -> dict:
    return fit({"proxy": nn.Identity()}, RateDistortion(1.0), tiny.pictures(), folder=folder, steps=1,
               device="cpu")  # fmt: skip


def evaluation(folder: Path) -> dict:
    """Evaluate 23 pictures, five a batch."""
    chain = Chain(Noise(0.1), tiny.networks()["processor"].eval())
    answers = evaluate(chain, {"tiny": tiny.source()}, tiny.pictures(23), 5, team=find_team("cpu"))
    record = {key: value.tolist() for key, value in vars(answers.verdicts["tiny"]).items() if torch.is_tensor(value)}
    return record | {"psnr": answers.psnr.tolist(), "ssim": answers.ssim.tolist()}


def refused_by_main(folder: Path) -> None:
    """The first process refuses, and all hear it."""

    def refuse() -> None:
        raise ParameterError(f"process {number()} will not.")

    find_team("cpu").on_rank_zero(refuse)


def book_run(folder: Path) -> str:
    """Train a run as a notebook does."""
    cifar10.load = tiny.load
    trainings.fit = partial(fit, checkpoint_seconds=0)
    return str(trainings.train(resolve(load_profile("tiny"), "dn", "ra_transformer")))


def main(root: Path) -> dict:
    """Do all of it; return what each process said, by what was done and how many did it."""
    assert accelerate.__version__
    torch.optim.Adam([torch.zeros(1)])  # the first one of a process imports half of torch
    trained = {mode: partial(tiny.train, mode=mode) for mode in MODES}
    trained["bf16"] = partial(tiny.train, mode="ra", precision="bf16", channels_last=True, clip=0.1)
    trained |= {"preprocessing": preprocessing, "evaluation": evaluation}
    trained["normalisation"] = lambda folder: tiny.train(folder, networks={"processor": Norms()})
    said = {}
    for name, work in trained.items():
        for count in (1, 2, 3) if name in ("ra", "evaluation", "normalisation") else (1, 2):
            said[f"{name} {count}"] = launch(count, root / f"{name} {count}", work)
    refused = {
        "other_networks": lambda folder: tiny.train(folder, networks=tiny.networks(seed=number())),
        "other_pictures": lambda folder: tiny.train(folder, pictures=tiny.pictures(seed=number())),
        "other_batch": lambda folder: tiny.train(folder, batch=5 + number()),
        "not_divisible": not_divisible, "refused_by_main": refused_by_main,
    }  # fmt: skip
    said |= {name: launch(2, root / name, work) for name, work in refused.items()}
    for count in (1, 3):  # that go on
        folder = root / f"killed {count}"
        said[f"killed {count}"] = launch(2, folder, partial(tiny.train, mode="ra", channel=Ending(0.1)))
        said[f"resumed {count}"] = launch(count, folder, trained["ra"])
    for count in (1, 2):
        folder = root / f"book {count}"
        folder.mkdir()
        said[f"book {count}"] = launch(count, tiny.project(folder), book_run)
    return said


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
