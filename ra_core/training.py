"""One training loop for all modes.

Everything random in a step follows from the seed and the number of the step, so a run that goes on from a checkpoint
sees what it would have seen.
"""

import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from ra_core.checkpoint import load_checkpoint, random_states, save_checkpoint, set_random_states
from ra_core.errors import ParameterError, TrainingError
from ra_core.files import write_text
from ra_core.losses import Mode, loss_terms
from ra_core.models.weights import save_weights
from ra_core.progress import Progress


def pick_device(device: str = "auto") -> torch.device:
    """Return the device asked for; `auto` takes CUDA, then MPS, then the CPU."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    chosen = torch.device(device)
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ParameterError("device 'cuda' was asked for, but torch sees no CUDA device here; use 'auto' or 'cpu'.")
    return chosen


def learning_rate(step: int, steps: int, peak: float, schedule: str = "drops", drops: tuple[float, ...] = ()) -> float:
    """Return the learning rate of a step, counted from 0.

    `drops` divides it by ten at each of the given fractions of the run (published: 4/6 and 5/6); `cosine` lets it
    rise over the first 5 % of the steps and then fall to zero.
    """
    if schedule == "drops":
        return peak * 0.1 ** sum(step >= round(drop * steps) for drop in drops)
    rising = max(1, round(0.05 * steps))
    if step < rising:
        return peak * (step + 1) / rising
    return peak * 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


def _indices(step: int, count: int, batch: int, seed: int) -> torch.Tensor:
    """Return the pictures of a step: every epoch runs once through a permutation of its own, last short batch kept."""
    per_epoch = math.ceil(count / batch)
    epoch, position = divmod(step, per_epoch)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(1_000_003 * seed + epoch))
    return order[position * batch : (position + 1) * batch]


def fit(
    networks: dict[str, nn.Module],
    recognizer: nn.Module | None,
    pictures,
    channel,
    *,
    mode: Mode,
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
    checkpoint_seconds: float = 30.0,
    validate: Callable[[], dict] | None = None,
    validations: int = 6,
    name: str = "training",
) -> dict:
    """Train `networks` (`processor`, perhaps `transformer`) with Adam and write their weights into `folder`.

    `pictures` gives `training_batch(indices, generator)`, `channel` degrades them. A checkpoint is written every
    `checkpoint_seconds`; a run found unfinished goes on from it. `log.jsonl` gets a hundred lines of averaged terms
    and, `validations` times, what `validate` returns. Returns wall seconds, images/s and the last validation.
    Raises `TrainingError` when the loss is not finite (the last good checkpoint is kept).
    """
    folder, place = Path(folder), pick_device(device)
    memory = torch.channels_last if channels_last else torch.contiguous_format
    for net in [*networks.values(), *([recognizer] if recognizer is not None else [])]:
        net.to(place, memory_format=memory)
    parameters = [p for net in networks.values() for p in net.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=lr)  # elementwise, so one Adam equals one a network

    settings = {
        "mode": mode.name, "weight": mode.weight, "steps": steps, "batch": batch, "lr": lr, "schedule": schedule,
        "drops": list(drops), "seed": seed, "precision": precision, "pictures": len(pictures), "data": pictures.name,
    }  # fmt: skip
    first, seconds_before, log = _resume(folder, settings, networks, optimiser)
    every, validate_every = max(1, steps // 100), max(1, steps // max(1, validations))
    progress, started, sums, seen = Progress(name, steps, first), time.monotonic(), {}, 0
    saved = shown = started

    def save(step: int) -> None:
        epoch, position = divmod(step, math.ceil(len(pictures) / batch))
        state = {
            "step": step, "networks": {k: net.state_dict() for k, net in networks.items()},
            "optimiser": optimiser.state_dict(), "random": random_states(), "settings": settings,
            "data": {"epoch": epoch, "batch": position}, "seconds": seconds_before + time.monotonic() - started,
        }  # fmt: skip
        write_text(folder / "log.jsonl", "".join(json.dumps(line) + "\n" for line in log))
        save_checkpoint(folder / "checkpoint.pt", state)

    for step in range(first, steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, steps, lr, schedule, drops)
        generator = torch.Generator().manual_seed(1_000_003 * seed + step)
        images, labels = pictures.training_batch(_indices(step, len(pictures), batch, seed), generator)
        images = images.to(place, memory_format=memory, non_blocking=True)
        degraded = channel(images, generator=generator).contiguous(memory_format=memory)
        for net in networks.values():
            net.train()
        with torch.autocast(place.type, torch.bfloat16, enabled=precision == "bf16"):
            known = labels.to(place) if mode.recognition == "labels" else None
            terms = loss_terms(mode, networks, recognizer, degraded, images, known)
        optimiser.zero_grad()
        terms["loss"].backward()
        optimiser.step()

        for key, value in terms.items():
            sums[key] = sums.get(key, 0) + value.detach() * len(images)
        seen, done, now = seen + len(images), step + 1, time.monotonic()
        progress.step()
        due = done == steps or done % validate_every == 0 or now - saved >= checkpoint_seconds
        if done % every == 0 or due:  # reading the terms waits for the device, so not every step
            means = {key: float(value) / seen for key, value in sums.items()}
            _check_finite(means, done, folder)
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
    last = next((line["validation"] for line in reversed(log) if "validation" in line), {})
    return {"wall_seconds": wall, "images_per_s": steps * batch / max(wall, 1e-9), "validation": last}


def _resume(folder: Path, settings: dict, networks: dict, optimiser) -> tuple[int, float, list[dict]]:
    """Put back the state of an unfinished run; return its step, the seconds it took and its log."""
    state = load_checkpoint(folder / "checkpoint.pt", settings)
    if state is None:
        return 0, 0.0, []
    for key, net in networks.items():
        net.load_state_dict(state["networks"][key])
    optimiser.load_state_dict(state["optimiser"])
    set_random_states(state["random"])
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return state["step"], state["seconds"], [line for line in lines if line["step"] <= state["step"]]


def _check_finite(means: dict[str, float], step: int, folder: Path) -> None:
    for key, value in means.items():
        if not math.isfinite(value):
            kept = folder / "checkpoint.pt"
            where = f"the last good checkpoint, {kept}, is kept" if kept.exists() else "no checkpoint was due yet"
            raise TrainingError(f"{key} became {value} by step {step}; {where}: lower the learning rate and run again.")
