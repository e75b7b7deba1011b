"""What the trainings of a profile cost: measured rates x counted work. `python -m ra_book.costs [PROFILE ...]`.

A training is as fast as the measured one on the same machine, behind the same codec, whose work a picture is nearest,
times the ratio of the two (`ra_book.work`). All else (precision, batch, decoding) is taken to be as it was there.
Devices are cores of a CPU or GPUs; trainings run side by side, one a device. Evaluations are not counted.
"""

import argparse
import math
import re
import sys

import pandas as pd

from ra_book.figures import to_markdown
from ra_book.reference import profile_names, training_row, trainings
from ra_book.work import Planned, coder_of, macs_of, planned
from ra_core.errors import ParameterError, RAError, exit_status
from ra_core.files import read_json
from ra_core.params import Profile, load_profile
from ra_core.paths import project_root
from ra_core.runs import resolve

# Images a second of `fit` on an H100 with 16 cores: 224 pixels, published SRResNet, efficientnet_lite0, bf16, batch 64.
H100 = {
    "sr": {"plain": 1530, "ra": 1058, "ra_unsupervised": 1125},
    "dn": {"plain": 708, "ra": 617, "ra_unsupervised": 591},
    "jpeg": {"plain": 418, "ra": 386, "ra_unsupervised": 406},
}
DECODED = 210  # photographs of ImageNet that one core decodes a second, measured
LEAST_SECONDS = 10.0  # of a training whose rate counts; a shorter one tells of its start
FAR = 30.0  # the largest ratio of work by which a rate is scaled
KEYS = ["machine", "profile", "part", "run", "coder", "macs"]
COLUMNS = ["profile", "machine", "devices", "trainings", "pictures", "pmacs", "training_hours", "hours", "missing"]


def machine_of(device: str) -> str:
    """Return the short name of a device of `run.json`: `cpu`, `cpu-2` for two threads, `h100`, ..."""
    kind, _, inside = device.removesuffix(")").partition(" (")
    if threads := re.search(r"(\d+) threads", inside):
        return kind if threads[1] == "1" else f"{kind}-{threads[1]}"
    return "h100" if "H100" in inside else re.sub(r"\W+", "-", inside or kind).lower()


def measured() -> pd.DataFrame:
    """Return a row for each finished training of `results/` and `runs/`, and of the H100: its rate and its work."""
    photographs = load_profile("imagenet", {"source": "efficientnet_lite0"})
    rows = []
    for task, rates in H100.items():
        for mode, speed in rates.items():
            run = resolve(photographs, task, mode)
            rows.append(("h100", "benchmark", task, mode, coder_of(run), macs_of(run), speed))
    own = []
    for path in sorted(project_root().glob("runs/*/*/*/seed*/run.json")):
        try:
            own.append(pd.DataFrame([training_row(read_json(path))]))
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:  # it may be of any profile
            print(f"{path} cannot be read and does not count ({error}).")
    found = pd.concat([trainings(), *own])
    found = found[~found["shipped"].astype(bool) & (found["wall_seconds"] >= LEAST_SECONDS)]
    for profile, group in found.groupby("profile"):
        try:
            work = {(one.part, one.run): one for one in planned(load_profile(profile))}
        except RAError:  # made by overrides, or its pictures are gone
            continue
        for row in group.itertuples():
            if one := work.get((row.part, row.run)):
                rows.append((machine_of(row.device), profile, *one[:2], one.coder, one.macs, row.images_per_s))
    return pd.DataFrame(rows, columns=[*KEYS, "images_per_s"]).groupby(KEYS, sort=False).mean().reset_index()


def rate(one: Planned, profile: str, machine: str, rates: pd.DataFrame) -> dict | None:
    """Return the row of `rates` that foretells a training, `images_per_s` divided by `times` its work; None: no row.

    The same training of the same profile comes before any other.
    """

    def distance(row: dict) -> tuple[bool, float]:
        return (row["profile"], row["part"], row["run"]) != (profile, *one[:2]), abs(math.log(row["times"]))

    rows = rates[(rates["machine"] == machine) & (rates["coder"] == one.coder)]
    times = one.macs / rows["macs"]
    rows = rows.assign(times=times)[times.between(1 / FAR, FAR)].to_dict("records")
    near = min(rows, key=distance, default=None)
    return near and near | {"images_per_s": near["images_per_s"] / near["times"]}


def costs(
    names: list[str], rates: pd.DataFrame, machines: list[str], devices=(1, 8, 64), pictures: int = 0
) -> pd.DataFrame:
    """Return what the trainings of profiles cost that do not ship, a row for each machine and number of devices.

    `hours`, by rates that were `measured`, are those side by side, at least the longest training's. A training without
    a rate makes them unknown, and `missing` names it. `pictures` are those to train on, of a folder that is not here.
    """
    rows = []
    for name in names:
        try:
            jobs = [one for one in planned(load_profile(name), pictures) if not one.shipped]
        except RAError as error:
            rows.append({"profile": name, "missing": str(error)})
            continue
        done = {"profile": name, "trainings": len(jobs), "pictures": sum(one.pictures for one in jobs)}
        done["pmacs"] = sum(one.pictures * one.macs for one in jobs) / 1e15
        for machine in machines:
            found = [(one, rate(one, name, machine, rates)) for one in jobs]
            hours = [one.pictures / row["images_per_s"] / 3600 if row else math.nan for one, row in found]
            unknown = ", ".join(sorted({f"{one.part} {one.run}" for one, row in found if row is None}))
            missing = f"nothing near was measured on {machine}: {unknown}" if unknown else ""
            row = done | {"machine": machine, "training_hours": sum(hours), "missing": missing}
            rows += [row | {"devices": n, "hours": max(sum(hours) / n, *hours, 0.0)} for n in devices]
    return pd.DataFrame(rows, columns=COLUMNS)


def scaling(profile: Profile, rates: pd.DataFrame, machine: str, devices=(1, 8, 64)) -> pd.DataFrame:
    """Return a row for each training, of the first seed: the rate it is foretold by, and its time on many devices.

    That n devices are n times as fast is the best case: gradients are summed and pictures read for nothing. `cores`
    are those that decoding needs to keep up with one device.
    """
    records = []
    for one in planned(profile):
        row = rate(one, profile.name, machine, rates)
        if one.seed in (0, profile.seeds[0]) and row:
            speed = row["images_per_s"]
            records.append({
                "part": one.part, "run": one.run, "from": f"{row['profile']} {row['part']} {row['run']}",
                "times its work": f"{row['times']:.2f}", "images/s": f"{speed:,.{0 if speed >= 10 else 1}f}",
                "cores": math.ceil(speed / DECODED) if one.files else "–",
            } | {f"on {n}": as_time(one.pictures / speed / 3600 / n) for n in devices})  # fmt: skip
    return pd.DataFrame(records, columns=None if records else ["part", "run"]).set_index(["part", "run"])


def as_time(hours: float) -> str:
    """Return a time in the unit that it is read in."""
    for unit, size, least in (("days", 24.0, 2), ("h", 1.0, 1), ("min", 1 / 60, 1)):
        if hours >= least * size:
            return f"{hours / size:,.{0 if hours / size >= 20 else 1}f} {unit}"
    return "not known" if math.isnan(hours) else f"{hours * 3600:.0f} s"


def cost_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Return costs to read, a row for each profile that trains and machine, a column for each number of devices."""
    records = [
        {"profile": profile, "machine": machine, "trainings": f"{group['trainings'].iloc[0]:.0f}"}
        | {f"on {row.devices:.0f}": as_time(row.hours) for row in group.itertuples()}
        for (profile, machine), group in rows.query("trainings > 0").groupby(["profile", "machine"], sort=False)
    ]
    return pd.DataFrame(records, columns=None if records else ["profile", "machine"]).set_index(["profile", "machine"])


def main(arguments: list[str] | None = None) -> int:
    """Print what the trainings of profiles cost on machines. Return 0, or 1 after one sentence."""
    parser = argparse.ArgumentParser(prog="python -m ra_book.costs", description=main.__doc__)
    parser.add_argument("profiles", nargs="*", help="names of files in params/ (default: all)")
    parser.add_argument("--machine", help="one with measured rates: cpu is a core, h100 a GPU (default: all)")
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 8, 64], help="devices that train side by side")
    parser.add_argument("--pictures", type=int, default=0, help="to train on, of a folder that is not here")
    given = parser.parse_args(arguments)

    def show() -> None:
        if min(given.gpus) < 1 or given.pictures < 0:
            raise ParameterError(f"--gpus {given.gpus} --pictures {given.pictures} is not allowed; give at least 1.")
        rates = measured()
        known = list(rates["machine"].unique())
        if given.machine not in (None, *known):
            raise ParameterError(f"nothing was measured on {given.machine!r}; choose one of {', '.join(known)}.")
        for name in given.profiles:  # one that was asked for and cannot be counted is an error
            planned(load_profile(name), given.pictures)
        machines = [given.machine] if given.machine else known
        found = costs(given.profiles or profile_names(), rates, machines, given.gpus, given.pictures)
        print(to_markdown(cost_table(found)), *filter(None, found["missing"].unique()), sep="\n")

    return exit_status(show)


if __name__ == "__main__":
    sys.exit(main())
