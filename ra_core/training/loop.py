"""The loop that trains: set the rate, step, log, save, validate."""

import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from ra_core.data import fingerprint
from ra_core.errors import ParameterError
from ra_core.models.blocks import parameter_count
from ra_core.objectives import Objective
from ra_core.progress import Progress
from ra_core.training.batches import Batches, prefetch, to_device
from ra_core.training.data_parallel import check_processes, distribute
from ra_core.training.memory import evaluation_memory_hint, out_of_memory_hint
from ra_core.training.processes import find_team
from ra_core.training.schedules import learning_rate
from ra_core.training.state import TrainingState

PRECISIONS = ("fp32", "bf16")


def fit(
    networks: dict[str, nn.Module], objective: Objective, pictures, *, folder: Path, steps: int, batch: int = 20,
    lr: float = 1e-4, schedule: str = "drops", drops: tuple[float, ...] = (4 / 6, 5 / 6),
    optimiser: Callable[..., torch.optim.Optimizer] = torch.optim.Adam, seed: int = 0, device: str = "auto",
    precision: str = "fp32", channels_last: bool = False, compile: bool = False, clip: float = 0.0,
    drop_last: bool = False, checkpoint_seconds: float = 30.0, validate: Callable[[], dict] | None = None,
    validations: int = 6, validation_pictures=None, name: str = "training",
) -> dict:  # fmt: skip
    """Train `networks` for an objective and write their weights into `folder`, one file a name.

    One whose weights want no gradient is used as it is given.
    `pictures` gives `training_batch(indices, generator)`, floats in [0, 1] or bytes. Several processes share each batch
    of `batch` pictures; the last of an epoch may be short unless `drop_last`. A network's gradient longer than `clip`
    is shortened to it (0: never). A checkpoint is written every `checkpoint_seconds`, and a run found unfinished goes
    on from it, with the same `validation_pictures`. `log.jsonl` gets a line of averaged terms about a hundred times, in
    long runs every few seconds, and about `validations` times what `validate` returns: the last time in full precision,
    before in that of the training, which is faster.
    Returns wall seconds, images/s and the last validation; the checkpoint of the last step stays in `folder`.
    Raises `TrainingError` when the loss or a weight is not finite or memory is short (the last good checkpoint is
    kept), the checkpoint found is of another run, or processes differ or are lost.
    """
    if precision not in PRECISIONS:
        raise ParameterError(f"precision {precision!r} is unknown; choose one of {', '.join(PRECISIONS)}.")
    team = find_team(device)
    learning = {name: net for name, net in networks.items() if any(p.requires_grad for p in net.parameters())}
    place, memory = team.device, torch.channels_last if channels_last else torch.contiguous_format
    for net in [*networks.values(), *objective.frozen]:
        net.to(place, memory_format=memory)
        if compile and (team.size == 1 or net in objective.frozen):
            net.compile()  # in place: its state keeps its names; shared normalisation is not compiled
    settings = {  # pictures first, as of others epochs have other steps
        "pictures": len(pictures), "data": pictures.name, "fingerprint": fingerprint(pictures),
        "validation": validation_pictures and fingerprint(validation_pictures),
        **objective.settings, "steps": steps, "batch": batch, "lr": lr, "schedule": schedule,
        "drops": list(drops), "seed": seed, "precision": precision, "channels_last": channels_last, "clip": clip,
        "parameters": {key: parameter_count(net) for key, net in learning.items()},
    }  # fmt: skip
    check_processes(networks, objective, settings, team)
    with out_of_memory_hint(place, "the networks and the state of their training", "give smaller ones, or free some"):
        optimizer = optimiser([p for net in learning.values() for p in net.parameters()], lr=lr)
        state = TrainingState(Path(folder), networks, optimizer, settings)
        state.restore(team)
        models = networks | distribute(learning, team)

    def autocast(enabled: bool = True) -> torch.autocast:
        return torch.autocast(place.type, torch.bfloat16, enabled=enabled and precision == "bf16")

    def update(images, labels, generator, count, share) -> tuple[list[str], torch.Tensor]:
        """Take one step and return the names of its terms, and their means over the batch of all processes."""
        for net in learning.values():
            net.train()
        prepared = objective.prepare(to_device(images, place, memory), labels, generator)
        for key, value in prepared.items():
            if torch.is_tensor(value) and value.ndim == 4:
                prepared[key] = value.contiguous(memory_format=memory)
        team.divides = count >= team.size
        with autocast():
            terms = objective.terms(models, prepared)
        optimizer.zero_grad()
        (team.size * share * terms["loss"]).backward()  # processes average
        for net in learning.values() if clip else ():  # one by one: none depends on what others learn
            nn.utils.clip_grad_norm_(net.parameters(), clip)
        optimizer.step()
        values = torch.stack([share * value.detach().float() for value in terms.values()])
        return list(terms), team.all_reduce(values)

    def is_due() -> bool:
        return state.step == steps or state.step % max(1, steps // max(1, validations)) == 0

    def validated() -> None:  # in all processes, as they may share it
        with evaluation_memory_hint(place), autocast(state.step < steps):
            state.log.append({"step": state.step, "validation": validate()})
        if team.is_main:
            state.save()

    first, every = state.step, max(1, steps // 100)
    if validate and first and is_due() and first not in state.validations:
        validated()  # it was saved, and ended before it had validated
    batches = Batches(pictures, batch, seed, team, drop_last)
    progress = Progress(name, steps, first, shown=team.is_main)
    sums, seen = 0, 0  # of the terms, and the pictures, since the last line of the log
    saved = since = started = time.monotonic()
    reading = prefetch(batches.read, range(first, steps), getattr(pictures, "prefetch", 0))
    advice = "give a smaller batch, or the same one to more processes"
    with team.connection(), out_of_memory_hint(place, f"{batch} pictures a training step", advice):
        for step, (images, labels, generator, count, share) in enumerate(reading, first):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, steps, lr, schedule, drops)
            terms, values = update(images, labels, generator, count, share)
            sums, seen = sums + count * values, seen + count
            state.step, now = step + 1, time.monotonic()
            progress.step()

            saving = team.is_main and (is_due() or now - saved >= checkpoint_seconds)
            logged = team.is_main and (state.step % every == 0 or saving or progress.due())
            if logged:
                values = sums.tolist()  # this waits for the device
                means = {key: value / seen for key, value in zip(terms, values, strict=True)}
                state.check_finite(means)
                state.log.append({
                    "step": state.step, "steps": steps, **means, "lr": optimizer.param_groups[0]["lr"],
                    "images_per_s": seen / max(time.monotonic() - since, 1e-9),
                    "seconds_left": (steps - state.step) * (now - started) / (state.step - first),
                })  # fmt: skip
                progress.show(state.log[-1], last=state.step == steps)
            if saving:  # before it is validated, for which memory may be short
                state.save()
                saved = now
            if validate and is_due():
                validated()
            if logged:
                sums, seen, since = 0, 0, time.monotonic()  # what was saved and validated was not training

    progress.close()
    team.on_rank_zero(state.save_networks)
    wall = state.seconds
    rate, validation = batches.pictures_in(steps) / max(wall, 1e-9), state.validations.get(steps, {})
    return {"wall_seconds": wall, "images_per_s": rate, "validation": validation}
