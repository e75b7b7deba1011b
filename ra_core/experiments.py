"""The steps of the book: train one processor, evaluate one task, put the tables together.

Each step finds what it needs, makes what is missing, and leaves finished work alone, so a notebook runs by itself.
"""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ra_core import shipped_runs
from ra_core.chain import Chain
from ra_core.channels import TASKS, make_channel
from ra_core.cores import own_cores
from ra_core.data import cifar10, fingerprint, first_per_class, is_labelled, split_train
from ra_core.errors import DataError, ParameterError
from ra_core.evaluation import (
    ACCURACY_COLUMNS,
    PAIRED_COLUMNS,
    Answers,
    accuracy_rows,
    check_classes,
    evaluate,
    paired_rows,
    table,
)  # fmt: skip
from ra_core.files import atomic, remove, write_text
from ra_core.models.processors import make_processor
from ra_core.models.recognizers import Recognizer, load_recognizer
from ra_core.models.weights import load_weights
from ra_core.objectives import Restoration
from ra_core.params import Profile
from ra_core.paths import profile_folder, project_root, run_folder
from ra_core.runs import begun, check_pictures, is_complete, now, read_params, record, tidy
from ra_core.training import fit, pick_device
from ra_core.training.processes import Team, find_team, is_rank_zero


def set_threads(profile: Profile) -> None:
    """Give torch the CPU threads the profile asks for; without, this process's part of the cores."""
    torch.set_num_threads(profile.threads or own_cores())


def load_splits(profile: Profile, *parts: str) -> dict:
    """Return the splits asked for: `train`, `validation` (out of train) and `test`."""
    data, splits = profile.data, {}
    home = project_root()  # where a relative path starts, wherever the notebook runs
    if data.kind == "cifar10":

        def load(part):
            return cifar10.load(data.source, part, home)
    else:
        from ra_core.data import flat_folders, folders

        root = home / Path(data.source).expanduser()
        if flat_folders.is_flat(root):
            found = _flat_splits(profile, root)
            return {part: found[part] for part in parts}

        def load(part):
            return folders.load(root, part, resize=data.resize, crop=data.crop)

    if {"train", "validation"} & set(parts):
        splits |= split_train(load("train"), data.validation_per_class)
        if data.train_per_class:
            splits["train"] = first_per_class(splits["train"], data.train_per_class)
    if "test" in parts:
        splits["test"] = load("test")
        if data.test_per_class:
            splits["test"] = first_per_class(splits["test"], data.test_per_class)
    return {part: splits[part] for part in parts}


def _flat_splits(profile: Profile, root: Path) -> dict:
    """Return the three splits of a folder without class folders; the first process lists what was skipped."""
    from ra_core.data import flat_folders

    data = profile.data
    if data.train_per_class or data.test_per_class:
        raise DataError(
            f"{data.source} has no class folders, so train_per_class and test_per_class mean nothing there; "
            "leave them out and state test_share and validation_share."
        )
    splits = flat_folders.load(
        root, data.test_share, data.validation_share, data.resize, data.crop,
        memory=profile_folder(profile.name) / "checked.json", remember=is_rank_zero(),
    )  # fmt: skip
    if is_rank_zero():
        _list_skipped(profile, splits["train"])
    return splits


def _list_skipped(profile: Profile, pictures) -> None:
    """Write which files are no whole pictures, and why, as `runs/<profile>/skipped.csv`."""
    path = profile_folder(profile.name) / "skipped.csv"
    if not pictures.skipped:
        remove(path)
        return
    rows = pd.DataFrame(pictures.skipped, columns=["file", "reason"])
    write_text(path, rows.to_csv(index=False))
    print(f"{len(rows)} files of {profile.data.source} are not whole pictures and are skipped; {path} lists them.")


def load_recognizers(profile: Profile) -> dict[str, Recognizer]:
    """Return every recognizer of the profile by name, the source first."""
    return {name: load_recognizer(name) for name in profile.recognizers}


def make_networks(profile: Profile, task: str, mode: str, seed: int) -> dict[str, torch.nn.Module]:
    """Return fresh networks for a run; the processor of a seed begins the same in every mode."""
    settings, channel = profile.task(task), make_channel(task, **profile.channels.model_dump())
    networks = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        spec = settings.processor
        networks["processor"] = make_processor(spec.name, channel.scale, **spec.sizes)
        if profile.mode(mode, task).transformer:
            spec = settings.transformer
            networks["transformer"] = make_processor(spec.name, 1, **spec.sizes)
    return networks


def run_parameters(profile: Profile, task: str, mode: str, seed: int) -> dict:
    """Return all that the result of a run depends on, and nothing else."""
    chosen, settings = profile.mode(mode, task), profile.task(task)
    data = profile.data.model_dump(exclude={"test_per_class"})
    channel = make_channel(task, **profile.channels.model_dump())
    parameters = {
        "profile": profile.name, "task": task, "mode": chosen.name, "seed": profile.checked_seed(seed),
        "weight": chosen.weight, "data": data, "channel": asdict(channel), "processor": settings.processor.model_dump(),
        "source": profile.source,  # validates in every mode
        "training": settings.training.model_dump(), "device": profile.device, "threads": profile.threads,
    }  # fmt: skip
    if chosen.transformer:
        parameters["transformer"] = settings.transformer.model_dump()
    return parameters


def fingerprints(profile: Profile) -> dict[str, str]:
    """Return the fingerprints of what is trained and validated on, by part, where that may change: in a folder."""
    if profile.data.kind != "folder":
        return {}
    return {part: fingerprint(found) for part, found in load_splits(profile, "train", "validation").items()}


def train_run(profile: Profile, task: str, mode: str, seed: int, pictures: dict[str, str] | None = None) -> Path:
    """Train one processor (and transformer) unless that is done or ships, and return its run folder.

    Several processes that call it (see `ra_core.training.processes`) train it together. `pictures` are `fingerprints`,
    where they are known. Raises `DataError` where it was done with others.
    """
    parameters = run_parameters(profile, task, mode, seed)
    mode = parameters["mode"]
    folder, team = run_folder(profile.name, task, mode, seed), find_team(profile.device)

    def done() -> bool:
        if not is_complete(folder, parameters):
            return shipped_runs.take(folder, parameters)
        check_pictures(folder, fingerprints(profile) if pictures is None else pictures)
        return True

    if not team.on_rank_zero(done):
        _train(profile, task, mode, seed, folder, parameters, team)
    team.on_rank_zero(lambda: tidy(folder))  # also where a run was killed right after it ended
    return folder


def _train(profile: Profile, task: str, mode: str, seed: int, folder: Path, parameters: dict, team: Team) -> None:
    """Train one processor, or go on with it, and write all of its folder; `run.json` comes last."""
    set_threads(profile)
    chosen, training, device = profile.mode(mode, task), profile.task(task).training, team.device
    splits = load_splits(profile, "train", "validation")
    if chosen.recognition == "labels" and not is_labelled(splits["train"]):
        raise DataError(
            f"mode {mode} learns from labels, and {profile.data.source} holds pictures alone; "
            f"train plain and ra_unsupervised, or add a table labels.csv or class folders."
        )
    channel = make_channel(task, **profile.channels.model_dump())
    networks = make_networks(profile, task, mode, seed)
    recognizer = load_recognizer(profile.source).to(device)
    if is_labelled(splits["train"]):
        image = splits["train"].batch(torch.arange(1))[0].to(device)
        with torch.inference_mode():
            check_classes(profile.source, recognizer(image).shape[1], splits["train"])

    def validate() -> dict:
        chain = Chain(channel, networks["processor"], networks.get("transformer"))
        shown = (splits["validation"], profile.evaluation_batch, device)
        answers = evaluate(chain, {"source": recognizer}, *shown, team=team)
        return {"psnr": answers.psnr.mean().item(), "ssim": answers.ssim.mean().item(), "top1": answers.share("source")}

    # From here on what an earlier run left is given up; all that can be wrong with the parameters has shown by now.
    with begun(folder, parameters, team):
        torch.manual_seed(seed)
        started = now()
        summary = fit(
            networks, Restoration(chosen, channel, recognizer), splits["train"], folder=folder, seed=seed,
            device=str(device), validate=validate, validation_pictures=splits["validation"],
            name=f"{task} {mode} seed{seed}",
            **training.options(len(splits["train"])),
        )  # fmt: skip
        keys = {key: parameters[key] for key in ("profile", "task", "mode", "seed", "source")} | team.facts
        team.on_rank_zero(lambda: record(folder, keys, splits, networks, device, started, summary))


def load_run(profile: Profile, task: str, mode: str, seed: int) -> Chain:
    """Return the chain of a finished run, ready to evaluate."""
    return load_chain(run_folder(profile.name, task, profile.mode(mode, task).name, seed))


def load_chain(run: str | Path) -> Chain:
    """Return the chain of a processor's run, ready to evaluate: a run folder, or the name of one that ships.

    Raises `ParameterError` where there is none, and for the run of a preprocessor.
    """
    folder = shipped_runs.find_run(run)
    parameters = read_params(folder)
    if "processor" not in parameters:
        raise ParameterError(f"{run} is the run of a preprocessor; use it by python -m ra_core.apply --run.")
    channel = TASKS[parameters["task"]](**parameters["channel"])
    networks = {
        name: make_processor(scale=scale, **parameters[name])
        for name, scale in (("processor", channel.scale), ("transformer", 1))
        if name in parameters
    }
    for name, net in networks.items():
        load_weights(net, folder / f"{name}.safetensors")
    return Chain(channel, networks["processor"], networks.get("transformer"))


def task_chains(profile: Profile, task: str) -> dict[tuple[str, int], Chain]:
    """Return every chain that a task is judged by, by mode and seed: oracle, unprocessed, then the trained modes."""
    chains = {("oracle", 0): Chain(), ("unprocessed", 0): Chain(make_channel(task, **profile.channels.model_dump()))}
    pictures = fingerprints(profile)
    for mode in profile.modes:
        for seed in profile.seeds:
            train_run(profile, task, mode, seed, pictures)
            chains[mode, seed] = load_run(profile, task, mode, seed)
    return chains


def evaluate_task(profile: Profile, task: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Evaluate every chain of a task on the test split, train what is missing, and return the two tables.

    They are written as `runs/<profile>/<task>/accuracy.csv` and `paired.csv`, beside `panel.npz` for the pictures.
    """
    set_threads(profile)
    device, test = pick_device(profile.device), load_splits(profile, "test")["test"]
    layout = {"device": device, "memory_format": torch.channels_last}  # in which convolutions are faster
    recognizers = {name: r.to(**layout) for name, r in load_recognizers(profile).items()}
    chains = task_chains(profile, task)
    answers: dict[tuple[str, int], Answers] = {}
    for (mode, seed), chain in chains.items():
        for net in (chain.post, chain.transformer):
            if net is not None:
                net.to(**layout)
        answers[mode, seed] = evaluate(chain, recognizers, test, profile.evaluation_batch, device)
        print(
            f"{task} {mode} seed{seed}: {answers[mode, seed].share(profile.source):.1f} % on {profile.source}",
            flush=True,
        )

    accuracy, paired = [], []
    for (mode, seed), found in answers.items():
        keys = {"profile": profile.name, "task": task, "mode": mode, "seed": seed}
        accuracy += accuracy_rows(found, profile.source, **keys)
        if mode in profile.modes and mode != "plain" and ("plain", seed) in answers:
            paired += paired_rows(found, answers["plain", seed], profile.source, **keys)
    tables = table(accuracy, ACCURACY_COLUMNS), table(paired, PAIRED_COLUMNS)
    folder = profile_folder(profile.name) / task
    _write_panel(folder / "panel.npz", profile, chains, answers, test, device)
    for name, rows in zip(("accuracy", "paired"), tables, strict=True):
        write_text(folder / f"{name}.csv", rows.to_csv(index=False))
    return tables


def _write_panel(path, profile: Profile, chains: dict, answers: dict, test, device, count: int = 6) -> None:
    """Write the pictures of the book's panels: the first test picture of `count` classes through every chain."""
    firsts = np.unique(test.labels, return_index=True)[1] if is_labelled(test) else np.arange(len(test))
    chosen = torch.tensor(firsts[:count])
    seed, images, versions_, found = profile.seeds[0], [], [], []
    for (mode, chain_seed), chain in chains.items():
        if chain_seed in (0, seed) and (mode in ("oracle", "unprocessed") or chain_seed == seed):
            stored = chain(test.batch(chosen)[0].to(device), chosen)["stored"]
            images.append((stored * 255).round().byte().cpu().numpy())
            versions_.append(mode)
            found.append(answers[mode, chain_seed].by_recognizer)
    names = profile.recognizers

    def collected(what: str) -> np.ndarray:
        return np.stack([[v[name][what][chosen].numpy() for name in names] for v in found])

    labels, classes, given = test.labels[chosen].numpy(), test.classes, collected("answer")
    if not is_labelled(test):  # right is what the source says to the clean picture
        labels, classes = given[0, 0], [f"class {number}" for number in range(given.max() + 1)]
    with atomic(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(
            file, images=np.stack(images), versions=np.array(versions_), recognizers=np.array(names),
            answers=given, confidences=collected("confidence"), labels=labels, classes=np.array(classes),
        )  # fmt: skip


def merge_tables(profile: Profile) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Put the tables of all tasks together as `runs/<profile>/accuracy.csv` and `paired.csv`.

    Tasks that have none are evaluated first.
    """
    folder, merged = profile_folder(profile.name), []
    for task in profile.tasks:
        if not (folder / task / "accuracy.csv").exists():
            evaluate_task(profile, task)
    for name in ("accuracy", "paired"):
        rows = pd.concat([pd.read_csv(folder / task / f"{name}.csv") for task in profile.tasks], ignore_index=True)
        write_text(folder / f"{name}.csv", rows.to_csv(index=False))
        merged.append(rows)
    return merged[0], merged[1]
