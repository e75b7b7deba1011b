"""What the parts around a codec cost: multiply-accumulates a pixel, and milliseconds a picture on this machine."""

import statistics
import timeit
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ra_core.channels import to_arrays
from ra_core.codecs import load_codec
from ra_core.files import write_text
from ra_core.models.preprocessors import make_preprocessor, preprocess
from ra_core.models.processors import make_processor
from ra_core.params import Profile
from ra_core.paths import profile_folder
from ra_core.runs import device_name
from ra_core.runs.proxies import proxy_of
from ra_core.steps.common import load_judges, pictures_of, set_threads
from ra_core.training import pick_device

COLUMNS = [
    "profile", "dataset", "codec", "network", "use", "parameters", "macs_per_pixel", "ms_per_picture",
    "width", "height", "threads", "device",
]  # fmt: skip
PUBLISHED_WIDTH = 32
REPEATS = 5  # of each timing, after one that warms up


def macs(work: Callable[[], object]) -> float:
    """Return the multiply-accumulates of all convolutions and matrix products that `work` does."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops() / 2


def milliseconds(work: Callable[[], object]) -> float:
    """Return how long `work` takes: the median of several times, in ms."""
    return 1000 * statistics.median(timeit.repeat(work, number=1, repeat=REPEATS + 1)[1:])


def measure_costs(profile: Profile, dataset: str, codec: str) -> pd.DataFrame:
    """Measure what stands around one codec, on the first test picture, and what its files take.

    Networks run on the profile's device and threads; files are coded on one thread. Times depend on what else the
    machine does. Written as `runs/<profile>/<dataset>/cost-<codec>.csv`.
    """
    set_threads(profile)
    settings, device = profile.coding(dataset), pick_device(profile.device)
    image = pictures_of(profile, dataset, "test", 1).batch(torch.tensor([0]))[0].to(device)
    rows = [
        *_preprocessors(settings.preprocessor.model_dump(), image),
        *_judge(settings.source, load_judges([settings.source], device)[settings.source], image),
    ]
    steps = settings.codecs.get(codec)
    if steps and steps.both_ends:
        rows.append(_postprocessor(settings.postprocessor.model_dump(), image))
    if steps and steps.rungs:
        proxy = proxy_of(profile, steps.proxy, codec, image.cpu()).to(device)
        rows += _proxy(steps.proxy, proxy, steps.curve, image)
    curve = steps.curve if steps else settings.transfer[codec]
    rows += _coding(codec, curve[len(curve) // 2], image)
    height, width = image.shape[-2:]
    keys = {"profile": profile.name, "dataset": dataset, "codec": codec, "width": width, "height": height}
    usual = {"threads": torch.get_num_threads(), "device": device_name(device)}
    found = pd.DataFrame([keys | usual | row for row in rows], columns=COLUMNS)
    found = found.round({"macs_per_pixel": 1, "ms_per_picture": 3})
    write_text(profile_folder(profile.name) / dataset / f"cost-{codec}.csv", found.to_csv(index=False))
    return found


def merge_costs(profile: Profile) -> pd.DataFrame:
    """Return the costs of all data sets and codecs, what is common to several codecs once.

    What was not measured yet is measured first.
    """
    parts = []
    for dataset, settings in profile.preprocessing.items():
        for codec in settings.all_codecs:
            path = profile_folder(profile.name) / dataset / f"cost-{codec}.csv"
            parts.append(pd.read_csv(path) if path.exists() else measure_costs(profile, dataset, codec))
    return pd.concat(parts, ignore_index=True).drop_duplicates(["dataset", "network", "use"])


def _row(network: str, use: str, net: nn.Module, work: Callable[[], object], image: torch.Tensor) -> dict:
    """Return the costs of a network for one picture; `work` does it once, to its end."""
    return {
        "network": network, "use": use, "parameters": sum(p.numel() for p in net.parameters()),
        "macs_per_pixel": macs(work) / image[0, 0].numel(), "ms_per_picture": milliseconds(work),
    }  # fmt: skip


def _preprocessors(sizes: dict, image: torch.Tensor) -> list[dict]:
    """Return the costs of the adaptive preprocessor at the profile's width and at the published one."""
    rows = []
    for width in dict.fromkeys([sizes["width"], PUBLISHED_WIDTH]):
        net = make_preprocessor("NPPQA", **sizes | {"width": width}).to(image.device).eval()
        with torch.no_grad():
            rows.append(_row(
                f"NPP-QA, width {width}" + " (published)" * (width == PUBLISHED_WIDTH), "before the codec", net,
                lambda net=net: preprocess(net, image, 1.0).cpu(), image,
            ))  # fmt: skip
    return rows


def _postprocessor(sizes: dict, image: torch.Tensor) -> dict:
    net = make_processor(scale=1, **sizes).to(image.device).eval()
    with torch.no_grad():
        return _row(f"postprocessor {sizes['name']}", "behind the codec", net, lambda: net(image).cpu(), image)


def _judge(name: str, judge: nn.Module, image: torch.Tensor) -> list[dict]:
    def work():
        judge(image)
        if image.is_cuda:
            torch.cuda.synchronize()

    with torch.no_grad():
        return [_row(name, "recognition, for comparison", judge, work, image)]


def _proxy(name: str, proxy: nn.Module, curve: list[float], image: torch.Tensor) -> list[dict]:
    """Return the costs of a proxy in training: once forward, and the gradient of its bits and pictures back."""
    asked = torch.full((1,), float(curve[len(curve) // 2]), device=image.device)

    def work():
        given = image.clone().requires_grad_(True)
        out = proxy(given, asked)
        (out["bits"].sum() + out["pictures"].sum()).backward()
        return given.grad.cpu()

    return [_row(f"proxy {name}, forward and back", "training only", proxy, work, image)]


def _coding(codec: str, quality: float, image: torch.Tensor) -> list[dict]:
    """Return what it takes to code one picture and to decode it."""
    coder, pictures = load_codec(codec), to_arrays(image)
    files = coder.encode(pictures, quality)
    works = {
        "encode": lambda: coder.encode(pictures, quality, threads=1),
        "decode": lambda: coder.decode(files, threads=1),
    }
    shared = {"parameters": np.nan, "macs_per_pixel": np.nan, "threads": 1, "device": "cpu"}
    return [
        shared | {"network": f"{codec} at {quality:g}", "use": use, "ms_per_picture": milliseconds(work)}
        for use, work in works.items()
    ]
