"""What the parts around a codec cost: multiply-accumulates a pixel, milliseconds a picture, and bytes of headers."""

import statistics
import timeit
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch

from ra_core.channels import to_arrays
from ra_core.codecs import Codec, jpeg_parts, load_codec
from ra_core.data.boxes import in_batches
from ra_core.models.blocks import for_inference, parameter_count
from ra_core.models.preprocessors import make_preprocessor, preprocess
from ra_core.models.processors import make_processor
from ra_core.params import Profile
from ra_core.runs import device_name, needed
from ra_core.runs.proxies import proxy_of
from ra_core.steps.common import around_codecs, load_judges, merged, pictures_of, set_threads, write_table
from ra_core.training import pick_device

COLUMNS = [
    "profile", "dataset", "codec", "network", "use", "parameters", "macs_per_pixel", "ms_per_picture",
    "width", "height", "threads", "device",
]  # fmt: skip
HEADER_COLUMNS = ["codec", "quality", "n", "bytes_mean", "header_mean", "payload_mean"]
PUBLISHED_WIDTH = 32
REPEATS = 3  # of each timing, after one that warms up


def macs(work: Callable[[], object]) -> float:
    """Return the multiply-accumulates of all convolutions and matrix products that `work` does.

    Those with zeros count too, which are 3 to 4 % in an EfficientNet-Lite (`SameConv`).
    """
    from torch.utils.flop_counter import FlopCounterMode  # it imports triton

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
    set_threads(profile.threads)
    settings, device = profile.coding(dataset), pick_device(profile.device)
    image = pictures_of(profile, dataset, "test", 1).batch(torch.tensor([0]))[0].to(device)
    steps, (height, width), rows = settings.codecs.get(codec), image.shape[-2:], []
    curve = steps.curve if steps else settings.transfer[codec]
    quality = curve[len(curve) // 2]
    for network, use, count, work in _networks(profile, dataset, codec, quality, image):
        with torch.no_grad():
            rows.append({
                "network": network, "use": use, "parameters": count,
                "macs_per_pixel": macs(work) / (height * width), "ms_per_picture": milliseconds(work),
                "threads": torch.get_num_threads(), "device": device_name(device),
            })  # fmt: skip
    coder, pictures = load_codec(codec), to_arrays(image)
    files = coder.encode(pictures, quality)
    works = {"encode": partial(coder.encode, pictures, quality), "decode": partial(coder.decode, files)}
    coded = {"network": f"{codec} at {quality:g}", "threads": 1, "device": "cpu"}
    rows += [
        coded | {"use": use, "ms_per_picture": milliseconds(partial(work, threads=1))} for use, work in works.items()
    ]
    keys = {"profile": profile.name, "dataset": dataset, "codec": codec, "width": width, "height": height}
    found = pd.DataFrame([keys | row for row in rows], columns=COLUMNS)
    return write_table(profile, f"{dataset}/cost-{codec}", found.round({"macs_per_pixel": 1, "ms_per_picture": 3}))


def merge_costs(profile: Profile) -> pd.DataFrame:
    """Return the costs of all data sets and codecs, what is common to several codecs once.

    What was not measured yet is measured first.
    """
    found = merged(profile, around_codecs(profile), "cost", measure_costs)
    return found.drop_duplicates(["dataset", "network", "use"])


def header_rows(codec: Codec, qualities: Sequence[float], pictures, batch: int = 16) -> pd.DataFrame:
    """Return how many bytes of a JPEG codec's files are header, a row a quality, as means over a set of pictures.

    The header holds sizes and tables; the payload is what codes the pixels.
    """
    rows = []
    for quality in map(codec.qualities.checked, qualities):
        parts = []
        for indices in in_batches(pictures, batch):
            files = codec.encode(to_arrays(pictures.batch(indices)[0]), quality)
            parts += [jpeg_parts(file) for file in files]
        header, payload = np.mean(parts, axis=0)
        rows.append((codec.name, quality, len(parts), header + payload, header, payload))
    return pd.DataFrame(rows, columns=HEADER_COLUMNS)


def _networks(profile: Profile, dataset: str, codec: str, quality: float, image: torch.Tensor) -> Iterator:
    """Yield each network's name, its use, its number of parameters, and a call that has it do one picture, to its end.

    The adaptive preprocessor has the width of its run and the published one; a proxy goes once forward, and back to the
    gradient of its bits and pictures. Without a source there is no recognizer to compare with.
    """
    settings = profile.coding(dataset)
    steps, runs = settings.codecs.get(codec), needed(profile, dataset, codec)
    stated = [run.parameters["preprocessor"] for run in runs if "preprocessor" in run.parameters]
    sizes = stated[0] if stated else settings.preprocessor.model_dump()
    for width in dict.fromkeys([sizes["width"], PUBLISHED_WIDTH]):
        net = make_preprocessor("NPPQA", **sizes | {"width": width})
        count, net = parameter_count(net), for_inference(net, image.device)
        name = f"NPP-QA, width {width}" + " (published)" * (width == PUBLISHED_WIDTH)
        yield name, "before the codec", count, lambda net=net: preprocess(net, image, 1.0).cpu()

    for name, judge in load_judges([settings.source] if settings.source else [], image.device).items():

        def recognize(judge=judge):
            judge(image)
            if image.is_cuda:
                torch.cuda.synchronize()

        yield name, "recognition, for comparison", judge.parameter_count, recognize
    if steps and steps.both_ends:
        post = make_processor(scale=1, **settings.postprocessor.model_dump())
        count, post = parameter_count(post), for_inference(post, image.device)
        yield f"postprocessor {settings.postprocessor.name}", "behind the codec", count, lambda: post(image).cpu()
    if steps and steps.rungs:
        proxy = proxy_of(profile, steps.proxy, codec, image.cpu()).to(image.device)

        @torch.enable_grad()
        def forward_and_back():
            given = image.clone().requires_grad_(True)
            out = proxy(given, torch.full((1,), float(quality), device=image.device))
            (out["bits"].sum() + out["pictures"].sum()).backward()
            return given.grad.cpu()

        yield f"proxy {steps.proxy}, forward and back", "training only", parameter_count(proxy), forward_and_back
