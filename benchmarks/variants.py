"""Variants of a training step on tensors that lie ready, each one small function, and the kernels of the usual step.

Every variant begins with the same weights and pictures, so what it says of its first loss shows whether it still
computes the same.
"""

import gc
from collections.abc import Callable, Iterator
from functools import partial

import torch
from bounds import checkpointed
from loops import stepping
from timing import clock, timed
from torch import nn
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from ra_core.channels import Jpeg
from ra_core.channels.jpeg_tensors import through_jpeg
from ra_core.judges.recognizer import IMAGENET_MEAN, IMAGENET_STD, Recognizer
from ra_core.runs.provenance import peak_memory_mb

VARIANTS: dict[str, tuple[int, Callable]] = {}  # by name: how many times the batch, and what it does to a case
SHOWN = 25  # kernels of a profile


class Case:
    """One training step of mode `ra`, as `fit` takes it, with all that a variant may change."""

    def __init__(self, task: str, batch: int, device: torch.device, make: Callable, backend: str = "inductor"):
        processor, net = make(task)
        self.processor = processor.to(device, memory_format=torch.channels_last).train()
        self.judge = Recognizer(net, "timed", IMAGENET_MEAN, IMAGENET_STD).made_fast(device)
        self.task, self.batch, self.device, self.backend, self.bf16 = task, batch, device, backend, True
        self.optimizer = torch.optim.Adam(self.processor.parameters(), lr=1e-4)
        self.step = self.take  # what is timed

    def ready(self) -> None:
        """Make the tensors, once the variant has made its change."""
        given = self.task, "ra", self.processor, self.judge, self.batch, self.device, self.bf16
        self.terms = stepping(*given)

    def take(self) -> torch.Tensor:
        """Take a step and return its loss."""
        loss = self.terms()["loss"]
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()


def variant(name: str, times: int = 1) -> Callable:
    """Return a decorator that registers what changes a case, at so many times the batch."""

    def register(change: Callable[[Case], None]) -> Callable:
        VARIANTS[name] = times, change
        return change

    return register


@variant("four times the batch", 4)
@variant("twice the batch", 2)
@variant("as it is")
def unchanged(case: Case) -> None:
    """Change nothing."""


@variant("cuDNN tries its kernels")
def cudnn_benchmark(case: Case) -> None:
    torch.backends.cudnn.benchmark = True


@variant("fp32 with TF32")
def tf32(case: Case) -> None:
    case.bf16 = False
    torch.set_float32_matmul_precision("high")  # that of cuDNN's convolutions is so by default


@variant("fused Adam")
def fused_adam(case: Case) -> None:
    case.optimizer = torch.optim.Adam(case.processor.parameters(), lr=1e-4, fused=True)


@variant("blocks computed again")
def computed_again(case: Case) -> None:
    """Keep only the input of residual blocks; their running statistics then see each batch twice."""
    checkpointed(case.processor)


@variant("9 x 9 convolutions over 8 channels in place of 3")
def eight_channels(case: Case) -> None:
    """Fill 3 channels up with zeros, which bf16 kernels want in eights."""

    def filled(conv: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
        more_in, more_out = (-channels % 8 for channels in (conv.in_channels, conv.out_channels))
        weight, bias = F.pad(conv.weight, (0, 0, 0, 0, 0, more_in, 0, more_out)), F.pad(conv.bias, (0, more_out))
        x = F.pad(x, (0, 0, 0, 0, 0, more_in)).contiguous(memory_format=torch.channels_last)
        return F.conv2d(x, weight, bias, padding=conv.padding)[:, : conv.out_channels]

    for conv in (case.processor.head[0], case.processor.tail[-1]):
        conv.forward = partial(filled, conv)


@variant("the whole step as one CUDA graph")
def graphed(case: Case) -> None:
    """Replay the whole step, optimiser included, as one graph: what is left is what the kernels take."""
    case.optimizer = torch.optim.Adam(case.processor.parameters(), lr=1e-4, capturable=True)
    graph, side, made = torch.cuda.CUDAGraph(), torch.cuda.Stream(), []

    def first() -> torch.Tensor:
        torch.cuda.synchronize()
        with torch.cuda.stream(side):
            losses = [case.take() for _ in range(3)]
        torch.cuda.synchronize()
        case.optimizer.zero_grad()
        with torch.cuda.graph(graph):
            made.append(case.take())
        case.step = replay
        return losses[0]

    def replay() -> torch.Tensor:
        graph.replay()
        return made[0]

    case.step = first


@variant("compiled")
def compiled(case: Case, mode: str | None = None) -> None:
    options = {"mode": mode} if case.backend == "inductor" else {}
    for net in (case.processor, case.judge):
        net.compile(backend=case.backend, **options)


@variant("compiled, four times the batch", 4)
def compiled_larger(case: Case) -> None:
    compiled(case)


@variant("compiled, with CUDA graphs")
def compiled_graphs(case: Case) -> None:
    compiled(case, "reduce-overhead")


def peak_memory(device: torch.device) -> float:
    """Return the most MB that tensors held on a GPU since the count began, on a CPU those of the process."""
    return torch.cuda.max_memory_allocated(device) / 1e6 if device.type == "cuda" else peak_memory_mb()


def forget(device: torch.device) -> None:
    """Free what earlier work left, and begin to count memory anew; settings are what they were."""
    torch.backends.cudnn.benchmark = False
    torch.set_float32_matmul_precision("highest")
    torch.compiler.reset()
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def time_variant(name: str, case: Case, change: Callable, skipped: int, steps: int) -> dict:
    """Return what a variant of a case does: pictures a second, memory, its first loss and how long that took."""
    change(case)
    case.ready()
    tick = partial(clock, case.device)
    first, loss = timed(lambda: case.step(), tick=tick)
    for _ in range(skipped):
        case.step()
    seconds, _ = timed(lambda: [case.step() for _ in range(steps)], tick=tick)
    return {
        "task": case.task, "variant": name, "batch": case.batch, "images_s": case.batch * steps / seconds,
        "step_ms": 1000 * seconds / steps, "first_step_s": first, "first_loss": loss.item(),
        "peak_mb": peak_memory(case.device),
    }  # fmt: skip


def rows(
    tasks: tuple[str, ...], batch: int, device: torch.device, make: Callable, backend: str, skipped: int, steps: int
) -> Iterator[tuple[str, dict]]:
    """Yield a row for each variant and task; one that fails says why, and the next goes on."""
    for name, (times, change) in VARIANTS.items():
        for task in tasks:
            forget(device)
            try:
                row = time_variant(name, Case(task, times * batch, device, make, backend), change, skipped, steps)
            except Exception as error:
                row = {"task": task, "variant": name, "error": f"{type(error).__name__}: {error}"[:500]}
            yield f"{task}, {name}", row
    forget(device)


def kernels(task: str, batch: int, device: torch.device, make: Callable, skipped: int, steps: int) -> dict:
    """Return the kernels of a step that take most of its time, on a CPU its operators."""
    forget(device)
    case = Case(task, batch, device, make)
    case.ready()
    for _ in range(1 + skipped):
        case.step()
    on_gpu = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    seconds, found = timed(lambda: profiled(case, activities, steps), tick=partial(clock, device))
    key = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    events = [each for each in found if not on_gpu or each.device_type == torch.autograd.DeviceType.CUDA]
    total = sum(getattr(each, key) for each in events)
    most = sorted(events, key=lambda each: -getattr(each, key))[:SHOWN]
    table = [
        {"kernel": each.key[:160], "calls": each.count / steps, "ms": getattr(each, key) / 1000 / steps,
         "share": getattr(each, key) / total}
        for each in most
    ]  # fmt: skip
    return {"batch": batch, "step_ms_profiled": 1000 * seconds / steps, "device_ms": total / 1000 / steps,
            "kernels": table}  # fmt: skip


def profiled(case: Case, activities: list, steps: int) -> list:
    """Return what the profiler says of some steps, added up by name."""
    with profile(activities=activities) as profiler:
        for _ in range(steps):
            case.step()
        clock(case.device)
    return list(profiler.key_averages())


def jpeg_row(batch: int, device: torch.device, repeats: int) -> dict:
    """Return pictures a second through JPEG in tensors on the device and through Pillow on the cores."""
    images = torch.rand(batch, 3, 224, 224, device=device)
    ways = {"tensors": lambda: through_jpeg(images, 10, "4:2:0"), "pillow": lambda: Jpeg(10).transmit(images)[0]}
    made = {name: way() for name, way in ways.items()}
    seconds = {
        name: timed(lambda way=way: [way() for _ in range(repeats)], tick=partial(clock, device))[0]
        for name, way in ways.items()
    }
    rates = {f"{name}_images_s": batch * repeats / took for name, took in seconds.items()}
    return {"batch": batch, **rates, "equal": torch.equal(made["tensors"].to(images), made["pillow"])}
