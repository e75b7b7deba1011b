"""One training loop for all objectives, in one process or in several: `accelerate launch -m ra_core.training`.

Everything random in a step follows from the seed, the number of the step and the picture's place in the batch, so a
run that goes on from a checkpoint, or is divided among processes, sees what it would have seen.
"""

import json
import math
import time
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path

import torch
from torch import nn

from ra_core.data import fingerprint
from ra_core.data.draws import StepGenerator
from ra_core.errors import ParameterError, TrainingError
from ra_core.files import write_text
from ra_core.models.weights import save_weights
from ra_core.objectives import Objective
from ra_core.progress import Progress
from ra_core.training.checkpoint import load_checkpoint, random_states, save_checkpoint, set_random_states
from ra_core.training.memory import told_to_evaluate_less, told_what_fits
from ra_core.training.prefetch import ahead, on_device, pinned
from ra_core.training.processes import Team, digest, find_team
from ra_core.training.processes import pick_device as pick_device  # where it was before there were several
from ra_core.training.synced_norm import synced_norms

SCHEDULES, PRECISIONS = ("drops", "cosine"), ("fp32", "bf16")
# More than a run has steps, and than a test set has pictures, whose numbers are the seeds of their noise.
SEED_STRIDE = 1_000_003


def learning_rate(step: int, steps: int, peak: float, schedule: str = "drops", drops: tuple[float, ...] = ()) -> float:
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


def _seed(seed: int, number: int) -> int:
    """Return the seed of a step, or of an epoch's order."""
    return SEED_STRIDE * (seed + 1) + number


@lru_cache(maxsize=1)  # that of a million pictures costs as much as a step
def _order(epoch: int, count: int, seed: int) -> torch.Tensor:
    """Return the order of an epoch: every picture once."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(_seed(seed, epoch)))


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
    validation_pictures=None,
    name: str = "training",
) -> dict:
    """Train `networks` with Adam for an objective and write their weights into `folder`, one file a name.

    `pictures` gives `training_batch(indices, generator)`, floats in [0, 1] or bytes. Several processes share each
    batch of `batch` pictures, and the first one writes. A network's gradient longer than `clip` is shortened to it
    (0: never). A checkpoint is written every `checkpoint_seconds`; a run found unfinished goes on from it.
    `log.jsonl` gets a line of averaged terms about a hundred times, in long runs every few seconds, and about
    `validations` times what `validate` returns, for which `validation_pictures` may not change before a run goes on.
    Returns wall seconds, images/s and the last validation; the checkpoint of the last step stays in `folder`.
    Raises `TrainingError` when the loss or a weight is not finite or memory is short (the last good checkpoint is
    kept), the checkpoint found is of another run, or processes differ or are lost, and `OutputError` when the disk is
    full.
    """
    if precision not in PRECISIONS:
        raise ParameterError(f"precision {precision!r} is unknown; choose one of {', '.join(PRECISIONS)}.")
    team = find_team(device)
    folder, place = Path(folder), team.device
    if team.size > 1 and not getattr(objective, "divisible", False):
        raise ParameterError(
            "the loss of this training is not a mean over its pictures, so its batches cannot be divided among "
            f"{team.size} processes; start one."
        )
    memory = torch.channels_last if channels_last else torch.contiguous_format
    for net in [*networks.values(), *objective.frozen]:
        net.to(place, memory_format=memory)
        if compile and (team.size == 1 or net in objective.frozen):
            net.compile()  # in place: its state keeps its names; shared normalisation is not compiled
    parameters = [p for net in networks.values() for p in net.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=lr)  # elementwise, so one Adam equals one a network

    settings = {
        **objective.settings, "steps": steps, "batch": batch, "lr": lr, "schedule": schedule,
        "drops": list(drops), "seed": seed, "precision": precision, "channels_last": channels_last, "clip": clip,
        "parameters": {key: sum(p.numel() for p in net.parameters()) for key, net in networks.items()},
        "pictures": len(pictures), "data": pictures.name, "fingerprint": fingerprint(pictures),
        "validation": validation_pictures and fingerprint(validation_pictures),
    }  # fmt: skip
    if team.size > 1:
        frozen = {f"frozen network {number}": net for number, net in enumerate(objective.frozen)}
        team.agree(settings | digest(networks | frozen))
    state = team.ask_main(lambda: load_checkpoint(folder / "checkpoint.pt", settings))
    first, seconds_before, log = _resume(state, networks, optimiser)
    every, validate_every = max(1, steps // 100), max(1, steps // max(1, validations))
    per_epoch = math.ceil(len(pictures) / batch)
    progress, started, sums, seen = Progress(name, steps, first, shown=team.is_main), time.monotonic(), {}, 0
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

    def validates(done: int) -> bool:
        """Say whether the state after so many steps is still to be validated."""
        wanted = validate is not None and done > 0 and (done == steps or done % validate_every == 0)
        return wanted and not any(line["step"] == done and "validation" in line for line in log)

    def look(done: int) -> None:
        with told_to_evaluate_less(place):
            log.append({"step": done, "validation": validate()})  # all processes: they may share it
        if team.is_main:
            save(done)

    def read(step: int) -> tuple:
        """Return the pictures of a step that are this process's, and how many there are in all."""
        epoch, position = divmod(step, per_epoch)  # the last, short batch of an epoch is kept
        indices = _order(epoch, len(pictures), seed)[position * batch : (position + 1) * batch]
        part, share = team.share(len(indices))
        generator = StepGenerator(_seed(seed, step), len(indices), part)
        images, labels = pictures.training_batch(indices[part], generator)
        return step, pinned(images, place), labels, generator, len(indices), share

    def gradients(images, labels, generator, team: Team, share: float) -> dict[str, torch.Tensor]:
        """Leave the gradients of these pictures, a share of the batch, in the networks; return the terms."""
        images = on_device(images, place, memory)
        prepared = _laid_out(objective.prepare(images, labels, generator), memory)
        for net in networks.values():
            net.train()
        bf16 = torch.autocast(place.type, torch.bfloat16, enabled=precision == "bf16")
        with bf16, synced_norms(networks.values(), team, counts=share > 0):
            terms = objective.terms(networks, prepared)
        optimiser.zero_grad()
        (share * terms["loss"]).backward()
        return {key: share * value.detach() for key, value in terms.items()}

    def smaller(images, labels, count: int) -> None:
        """Try a step of this process alone on the first `count` of these pictures."""
        labels = None if labels is None else labels[:count]
        gradients(images[:count], labels, torch.Generator(), Team(device), share=1.0)

    if validates(first):  # a run that was saved, and ended before it had validated
        look(first)
    batches = ahead(read, range(first, steps), getattr(pictures, "prefetch", 0))
    for step, images, labels, generator, count, share in batches:
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, steps, lr, schedule, drops)
        trial = partial(smaller, images, labels)
        with told_what_fits(trial, len(images), count, place, partial(_kept, folder)):
            terms = gradients(images, labels, generator, team, share)
            team.add_up([p.grad for p in parameters if p.grad is not None] + list(terms.values()))
            for net in networks.values() if clip else ():  # one by one: none depends on what others learn
                nn.utils.clip_grad_norm_(net.parameters(), clip)
            optimiser.step()

        for key, value in terms.items():
            sums[key] = sums.get(key, 0) + value * count
        seen, done, now = seen + count, step + 1, time.monotonic()
        progress.step()
        due = done == steps or done % validate_every == 0 or now - saved >= checkpoint_seconds
        due = team.is_main and due
        if team.is_main and (done % every == 0 or due or progress.due()):  # this waits for the device
            means = {key: float(value) / seen for key, value in sums.items()}
            _check_finite(means, networks, done, folder)
            rate = seen / max(now - shown, 1e-9)
            left = (steps - done) * (now - started) / (done - first)
            log.append({"step": done, "steps": steps, **means, "lr": optimiser.param_groups[0]["lr"],
                        "images_per_s": rate, "seconds_left": left})  # fmt: skip
            progress.show(log[-1], last=done == steps)
            sums, seen = {}, 0
        if due:  # before it is validated, for which memory may be short
            save(done)
            saved = time.monotonic()
        if validates(done):
            look(done)
        if seen == 0:
            shown = time.monotonic()

    progress.close()
    team.ask_main(lambda: [save_weights(net, folder / f"{key}.safetensors") for key, net in networks.items()])
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


def _resume(state: dict | None, networks: dict, optimiser) -> tuple[int, float, list[dict]]:
    """Put back the state of an unfinished run; return its step, the seconds it took and its log."""
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
        raise TrainingError(f"{broken[0]} by step {step}; {_kept(folder)}: lower the learning rate and run again.")


def _kept(folder: Path) -> str:
    """Say what a run that stops leaves to go on from."""
    kept = folder / "checkpoint.pt"
    return f"the last good checkpoint, {kept}, is kept" if kept.exists() else "no checkpoint was due yet"
