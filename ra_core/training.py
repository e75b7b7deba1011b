"""One training loop for all objectives.

Everything random in a step follows from the seed and the number of the step, so a run that goes on from a checkpoint
sees what it would have seen.
"""

import json
import math
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import torch
from torch import nn

from ra_core.checkpoint import load_checkpoint, random_states, save_checkpoint, set_random_states
from ra_core.errors import ParameterError, TrainingError
from ra_core.files import write_text
from ra_core.models.weights import save_weights
from ra_core.objectives import Objective
from ra_core.prefetch import ahead, on_device, pinned
from ra_core.progress import Progress

SCHEDULES, PRECISIONS = ("drops", "cosine"), ("fp32", "bf16")
# More than a run has steps, and than a test set has pictures, whose numbers are the seeds of their noise.
SEED_STRIDE = 1_000_003


def pick_device(device: str = "auto") -> torch.device:
    """Return the device asked for; `auto` takes CUDA, then MPS, then the CPU.

    Raises `ParameterError` for a device that torch does not see here.
    """
    here = [torch.cuda.is_available() and "cuda", torch.backends.mps.is_available() and "mps", "cpu"]
    here = [kind for kind in here if kind]
    if device == "auto":
        return torch.device(here[0])
    if device.split(":")[0] not in here:
        raise ParameterError(f"device {device!r} is not here; choose one of auto, {', '.join(here)}.")
    return torch.device(device)


def learning_rate(
    step: int, steps: int, peak: float, schedule: str = "drops", drops: tuple[float, ...] = ()
) -> float:
    """Return the learning rate of a step, counted from 0.

    `drops` divides it by ten at each of the given fractions of the run (published: 4/6 and 5/6); `cosine` lets it
    rise over the first 5 % of the steps and then fall to zero. Raises `ParameterError` for any other schedule.
    """
    if schedule not in SCHEDULES:
        raise ParameterError(f"schedule {schedule!r} is unknown; choose one of {', '.join(SCHEDULES)}.")
    if schedule == "drops":
        return peak * 0.1 ** sum(step >= round(drop * steps) for drop in drops)
    rising = max(1, round(0.05 * steps))
    if step < rising:
        return peak * (step + 1) / rising
    return peak * 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


def _generator(seed: int, number: int) -> torch.Generator:
    """Return the random generator of a step, or of an epoch's order."""
    return torch.Generator().manual_seed(SEED_STRIDE * (seed + 1) + number)


@lru_cache(maxsize=1)  # that of a million pictures costs as much as a step
def _order(epoch: int, count: int, seed: int) -> torch.Tensor:
    """Return the order of an epoch: every picture once."""
    return torch.randperm(count, generator=_generator(seed, epoch))


def fit(
    networks: dict[str, nn.Module],
    objective: Objective,
    pictures,
    *,
    folder: Path,
    steps: int,
    batch: int = 20,
    lr: float = 1e-4,
    schedule: str = "drops",
    drops: tuple[float, ...] = (4 / 6, 5 / 6),
    seed: int = 0,
    device: str = "auto",
    precision: str = "fp32",
    channels_last: bool = False,
    compile: bool = False,
    clip: float = 0.0,
    checkpoint_seconds: float = 30.0,
    validate: Callable[[], dict] | None = None,
    validations: int = 6,
    name: str = "training",
) -> dict:
    """Train `networks` with Adam for an objective and write their weights into `folder`, one file a name.

    `pictures` gives `training_batch(indices, generator)`, floats in [0, 1] or bytes. A network's gradient longer than
    `clip` is shortened to it (0: never). A checkpoint is written every `checkpoint_seconds`; a run found unfinished
    goes on from it.
    `log.jsonl` gets a line of averaged terms about a hundred times, in long runs every few seconds, and about
    `validations` times what `validate` returns.
    Returns wall seconds, images/s and the last validation; the checkpoint of the last step stays in `folder`.
    Raises `TrainingError` when the loss or a weight is not finite (the last good checkpoint is kept) or the
    checkpoint found is of another run, and `OutputError` when the disk is full.
    """
    if precision not in PRECISIONS:
        raise ParameterError(f"precision {precision!r} is unknown; choose one of {', '.join(PRECISIONS)}.")
    folder, place = Path(folder), pick_device(device)
    memory = torch.channels_last if channels_last else torch.contiguous_format
    for net in [*networks.values(), *objective.frozen]:
        net.to(place, memory_format=memory)
        if compile:
            net.compile()  # in place: its state keeps its names
    parameters = [p for net in networks.values() for p in net.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=lr)  # elementwise, so one Adam equals one a network

    settings = {
        **objective.settings, "steps": steps, "batch": batch, "lr": lr, "schedule": schedule,
        "drops": list(drops), "seed": seed, "precision": precision, "channels_last": channels_last, "clip": clip,
        "pictures": len(pictures), "data": pictures.name,
        "parameters": {key: sum(p.numel() for p in net.parameters()) for key, net in networks.items()},
    }  # fmt: skip
    first, seconds_before, log = _resume(folder, settings, networks, optimiser)
    every, validate_every = max(1, steps // 100), max(1, steps // max(1, validations))
    per_epoch = math.ceil(len(pictures) / batch)
    progress, started, sums, seen = Progress(name, steps, first), time.monotonic(), {}, 0
    saved = shown = started

    def save(step: int) -> None:
        epoch, position = divmod(step, per_epoch)
        state = {
            "step": step, "networks": {k: net.state_dict() for k, net in networks.items()},
            "optimiser": optimiser.state_dict(), "random": random_states(), "settings": settings, "log": log,
            "data": {"epoch": epoch, "batch": position}, "seconds": seconds_before + time.monotonic() - started,
        }  # fmt: skip
        write_text(folder / "log.jsonl", "".join(json.dumps(line) + "\n" for line in log))
        save_checkpoint(folder / "checkpoint.pt", state)

    def read(step: int) -> tuple:
        generator = _generator(seed, step)
        epoch, position = divmod(step, per_epoch)  # the last, short batch of an epoch is kept
        indices = _order(epoch, len(pictures), seed)[position * batch : (position + 1) * batch]
        images, labels = pictures.training_batch(indices, generator)
        return step, pinned(images, place), labels, generator

    batches = ahead(read, range(first, steps), getattr(pictures, "prefetch", 0))
    for step, images, labels, generator in batches:
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, steps, lr, schedule, drops)
        images = on_device(images, place, memory)
        prepared = _laid_out(objective.prepare(images, labels, generator), memory)
        for net in networks.values():
            net.train()
        with torch.autocast(place.type, torch.bfloat16, enabled=precision == "bf16"):
            terms = objective.terms(networks, prepared)
        optimiser.zero_grad()
        terms["loss"].backward()
        for net in (
            networks.values() if clip else ()
        ):  # one by one: what a network learns does not depend on others
            nn.utils.clip_grad_norm_(net.parameters(), clip)
        optimiser.step()

        for key, value in terms.items():
            sums[key] = sums.get(key, 0) + value.detach() * len(images)
        seen, done, now = seen + len(images), step + 1, time.monotonic()
        progress.step()
        due = done == steps or done % validate_every == 0 or now - saved >= checkpoint_seconds
        if done % every == 0 or due or progress.due():  # reading the terms waits for the device
            means = {key: float(value) / seen for key, value in sums.items()}
            _check_finite(means, networks, done, folder)
            rate = seen / max(now - shown, 1e-9)
            left = (steps - done) * (now - started) / (done - first)
            log.append({"step": done, "steps": steps, **means, "lr": optimiser.param_groups[0]["lr"],
                        "images_per_s": rate, "seconds_left": left})  # fmt: skip
            progress.show(log[-1], last=done == steps)
            sums, seen = {}, 0
        if validate is not None and (done == steps or done % validate_every == 0):
            log.append({"step": done, "validation": validate()})
        if due:
            save(done)
            saved = time.monotonic()
        if seen == 0:
            shown = time.monotonic()

    progress.close()
    for key, net in networks.items():
        save_weights(net, folder / f"{key}.safetensors")
    wall = seconds_before + time.monotonic() - started
    epochs, rest = divmod(steps, per_epoch)
    images_per_s = (epochs * len(pictures) + rest * batch) / max(wall, 1e-9)
    last = next((line["validation"] for line in reversed(log) if "validation" in line), {})
    return {"wall_seconds": wall, "images_per_s": images_per_s, "validation": last}


def _laid_out(batch: dict, memory: torch.memory_format) -> dict:
    """Return a batch whose pictures lie in memory as the networks want them."""
    return {
        key: value.contiguous(memory_format=memory) if torch.is_tensor(value) and value.ndim == 4 else value
        for key, value in batch.items()
    }


def _resume(folder: Path, settings: dict, networks: dict, optimiser) -> tuple[int, float, list[dict]]:
    """Put back the state of an unfinished run; return its step, the seconds it took and its log."""
    state = load_checkpoint(folder / "checkpoint.pt", settings)
    if state is None:
        return 0, 0.0, []
    for key, net in networks.items():
        net.load_state_dict(state["networks"][key])
    optimiser.load_state_dict(state["optimiser"])
    set_random_states(state["random"])
    return state["step"], state["seconds"], state["log"]


def _check_finite(means: dict[str, float], networks: dict, step: int, folder: Path) -> None:
    """Stop a run that has gone astray before it reaches a checkpoint; a finite loss can leave broken weights."""
    broken = [f"{key} became {value}" for key, value in means.items() if not math.isfinite(value)]
    for name, net in networks.items():
        if not all(tensor.isfinite().all() for tensor in net.state_dict().values()):
            broken.append(f"a weight of the {name} is no longer finite")
    if broken:
        kept = folder / "checkpoint.pt"
        where = f"the last good checkpoint, {kept}, is kept" if kept.exists() else "no checkpoint was due yet"
        raise TrainingError(f"{broken[0]} by step {step}; {where}: lower the learning rate and run again.")
