"""What profiles cost: planned and measured times, and what bounds a training on many GPUs."""

import re
from collections.abc import Iterable

import numpy as np
import pandas as pd

from ra_book.figures.look import FAINT, INK, WRONG, Figure, look, new_figure, style, task_title
from ra_book.figures.networks import log_axis
from ra_book.figures.rows import listing, trained
from ra_book.figures.tables import NOTHING, number, records_table
from ra_core.errors import ParameterError

# What goes on at the same time, the slowest of which sets the pace: label, colour, marker.
RESOURCES = {
    "step": ("step", "#0072B2", "o"),
    "decoding": ("decoding", "#D55E00", "s"),
    "disk": ("disk", "#882255", "^"),
}
WAITS = {"coding": "coding", "network": "sums"}  # of a step, which computes for the rest of its time
PLACES = {"cpu": "#999999", "h100": "#0072B2"}  # colours of machines


def _hours(hours: float) -> str:
    """Return a time with two digits that count, in the unit it is read in."""
    for unit, size in (("days", 24.0), ("h", 1.0), ("min", 1 / 60)):
        if hours >= (2 if unit == "days" else 1) * size:
            return f"{number(hours / size, 0 if hours / size >= 20 else 1)} {unit}"
    return f"{number(hours * 3600, 0)} s" if hours * 3600 >= 1 else "under 1 s"


def _range(low: float, high: float) -> str:
    ends = dict.fromkeys(number(value, 0 if value >= 10 else 1) for value in (low, high))
    return "–".join(ends)


def _device(said: str) -> str:
    """Return a device of `run.json` in few words: a GPU's name, or the kind of another and its threads."""
    kind, _, inside = said.removesuffix(")").partition(" (")
    threads = re.search(r"(\d+) threads", inside)
    return f"{kind} × {threads[1]}" if threads else inside or kind


def _run_title(run: str) -> str:
    return look(run).label


def machine_table(machines: Iterable) -> pd.DataFrame:
    """Return what each `ra_book.planning.Machine` does, and what of it is assumed."""
    records = [
        {
            "": machine.title,
            "10¹² operations/s": ", ".join(f"{kind} {number(peak / 1e12, 2)}" for kind, peak in machine.peak.items()),
            "share reached": f"{machine.share:.0%}", "GB/s": number(machine.bandwidth / 1e9, 0),
            "share of it": f"{machine.bandwidth_share:.0%}", "µs an operator": number(1e6 * machine.launch, 0),
            "decoded/s a core": number(machine.decode, 0),
            "µs a small sum over GPUs": number(1e6 * machine.collective, 0) if machine.gpu else NOTHING,
            "assumed": machine.assumed or "nothing: fitted to timed steps",
        }
        for machine in machines
    ]  # fmt: skip
    return records_table(records, [""]).T


def planned_costs(costs: pd.DataFrame, measured: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return what each profile costs on each machine; below it, where `measured` has trainings, what these took."""
    records = []
    for row in costs.to_dict("records"):
        keys = {"profile": row["profile"], "machine": row["machine"]}
        if row["missing"]:
            records.append(keys | {"from": "not counted"})
            continue
        records.append(keys | {
            "from": "model", "runs": number(row["trainings"], 0),
            "trainings together": _hours(row["training_hours"]), "evaluation": _hours(row["evaluation_hours"]),
            "side by side": _hours(row["hours"]),
            "images/s": _range(row["images_per_s_low"], row["images_per_s_high"]),
            "memory, GB": number(row["peak_memory_mb"] / 1000),
        })  # fmt: skip
    finished = [] if measured is None else trained(measured).groupby(["profile", "device"])
    for (profile, device), rows in finished:
        records.append({
            "profile": profile, "machine": _device(device), "from": "measured", "runs": number(len(rows), 0),
            "trainings together": _hours(rows["wall_seconds"].sum() / 3600),
            "images/s": _range(rows["images_per_s"].min(), rows["images_per_s"].max()),
            "memory, GB": number(rows["peak_memory_mb"].max() / 1000),
        })  # fmt: skip
    order = {name: i for i, name in enumerate(dict.fromkeys(record["profile"] for record in records))}
    records.sort(key=lambda record: order[record["profile"]])
    return records_table(records, ["profile", "machine"]).fillna(NOTHING)


def compared_trainings(compared: pd.DataFrame) -> pd.DataFrame:
    """Return predicted beside measured images a second and peak memory of finished trainings."""
    records = [
        {
            "training": f"{row['part']} {row['run']} seed{row['seed']}",
            "device": _device(row["device"]),
            "images/s, measured": number(row["images_per_s"]),
            "predicted": number(row["predicted_images_per_s"]),
            "predicted / measured": number(row["predicted_images_per_s"] / row["images_per_s"], 2),
            "memory, MB, measured": number(row["peak_memory_mb"], 0),
            "memory predicted": number(row["predicted_peak_memory_mb"], 0),
        }
        for row in compared.to_dict("records")
    ]
    return records_table(records, ["training", "device"])


@style()
def compared_rates(compared: pd.DataFrame) -> Figure:
    """Draw predicted against measured images a second of finished trainings; on the line they agree."""
    figure = new_figure(height=3.4, width=5.0)
    axes = figure.subplots()
    if compared.empty:
        nothing = "no training of this profile is finished"
        axes.text(0.5, 0.5, nothing, transform=axes.transAxes, ha="center", color=FAINT)
        figure.alt = f"There is nothing to compare: {nothing}."
        return figure
    x, y = compared["images_per_s"], compared["predicted_images_per_s"]
    axes.plot(x, y, "o", color=INK, markersize=6, markeredgecolor="white", markeredgewidth=0.6)
    ends = np.array([min(x.min(), y.min()) / 1.3, max(x.max(), y.max()) * 1.3])
    axes.plot(ends, ends, color=FAINT, linewidth=1)
    axes.fill_between(ends, ends / 2, ends * 2, color=FAINT, alpha=0.12, linewidth=0)
    for axis, scale in ((axes.xaxis, axes.set_xscale), (axes.yaxis, axes.set_yscale)):
        scale("log")
        log_axis(axis, "{x:g}")
    axes.set_xlabel("images/s, measured")
    axes.set_ylabel("images/s, predicted")
    axes.set_title("Predicted against measured (grey: factor of 2)")
    axes.grid()
    ratios = y / x
    figure.alt = (
        f"Predicted against measured images a second of {len(x)} trainings: predicted over measured lies between "
        f"{ratios.min():.2f} and {ratios.max():.2f}."
    )
    return figure


def compared_profiles(compared: pd.DataFrame) -> pd.DataFrame:
    """Return predicted over measured by profile: the middle one of its trainings, the lowest and the highest."""

    def ratios(rows: pd.DataFrame, column: str) -> str:
        found = rows[f"predicted_{column}"] / rows[column]
        return f"{found.median():.2f} ({found.min():.2f} to {found.max():.2f})"

    records = [
        {
            "profile": profile, "trainings": number(len(rows), 0),
            "images/s, predicted / measured": ratios(rows, "images_per_s"),
            "peak memory, predicted / measured": ratios(rows, "peak_memory_mb"),
        }
        for profile, rows in trained(compared).groupby("profile")
    ]  # fmt: skip
    return records_table(records, ["profile"])


@style()
def cost_bars(costs: pd.DataFrame) -> Figure:
    """Draw the planned time of each profile on each machine, runs side by side, on a logarithmic axis."""
    rows = costs[costs["missing"] == ""]
    if rows.empty:
        raise ParameterError("no profile could be counted, so there is no time to draw; see the column missing.")
    names, machines = list(dict.fromkeys(rows["profile"])), list(dict.fromkeys(rows["machine"]))
    figure = new_figure(height=1.2 + 0.28 * len(rows))
    axes = figure.subplots()
    height = 0.8 / len(machines)
    for place, machine in enumerate(machines):
        for row in rows[rows["machine"] == machine].to_dict("records"):
            at = names.index(row["profile"]) + (place - (len(machines) - 1) / 2) * height
            label = machine if row["profile"] == names[0] else None
            axes.barh(at, row["hours"], height * 0.9, color=PLACES.get(machine, INK), label=label)
            axes.annotate(_hours(row["hours"]), (row["hours"], at), (3, 0), va="center", textcoords="offset points")
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.margins(x=0.15)
    axes.set_xlabel("hours, trainings and evaluations side by side")
    axes.set_title("What each profile is expected to take")
    axes.grid(axis="x")
    figure.legend(loc="outside lower center", ncols=len(machines))
    said = [f"{row['profile']} {_hours(row['hours'])} on {row['machine']}" for row in rows.to_dict("records")]
    figure.alt = f"Expected time of each profile: {listing(said)}."
    return figure


@style()
def bounds_by_gpus(scaling: pd.DataFrame, run: str) -> Figure:
    """Draw how many pictures a second step, decoding and disk allow against the GPUs of a training, a panel a task.

    `scaling` are the rows of `ra_book.planning.scaling`; a ring marks what bounds.
    """
    rows = scaling[scaling["run"] == run]
    if rows.empty:
        known = ", ".join(dict.fromkeys(scaling["run"]))
        raise ParameterError(f"there is no training {run!r} to draw; choose one of {known}.")
    parts = list(dict.fromkeys(rows["part"]))
    figure = new_figure(height=3.6)
    said = []
    for axes, part in zip(figure.subplots(1, len(parts), sharey=True, squeeze=False).flat, parts, strict=True):
        own = rows[rows["part"] == part]
        for name, (label, colour, marker) in RESOURCES.items():
            line = own[own["resource"] == name]
            axes.plot(line["gpus"], line["allows"], color=colour, marker=marker, linewidth=1.6, label=label)
        least = own[own["resource"] == own["bottleneck"]]
        axes.plot(least["gpus"], least["allows"], "o", markersize=13, markerfacecolor="none", markeredgecolor=WRONG)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(sorted(own["gpus"].unique()), [f"{n:g}" for n in sorted(own["gpus"].unique())])
        axes.minorticks_off()
        axes.set_title(task_title(part), fontsize=9.5)
        axes.set_xlabel("GPUs")
        axes.grid()
        said += [f"{part} on {row.gpus} by {row.bottleneck} ({row.images_per_s:,.0f}/s)" for row in least.itertuples()]
    figure.axes[0].set_ylabel("pictures/s")
    figure.suptitle(f"{_run_title(run)}: what each allows (ring: what bounds)")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(RESOURCES))
    figure.alt = f"Pictures a second that step, decoding and disk allow by number of GPUs; bounded are {listing(said)}."
    return figure


def scaling_table(scaling: pd.DataFrame) -> pd.DataFrame:
    """Return for each training and number of GPUs: pictures a second, data rate, time, what bounds it, and its step."""
    rows = scaling.drop_duplicates(["part", "run", "gpus"])
    records = [
        {
            "task": task_title(row["part"]),
            "training": _run_title(row["run"]),
            "GPUs": number(row["gpus"], 0),
            "pictures/s": number(row["images_per_s"], 0),
            "read, GB/s": number(row["gb_per_s"], 2),
            "one training": _hours(row["hours"]),
            "bounded by": RESOURCES[row["bottleneck"]][0],
            "waits, of a step": ", ".join(f"{label} {row[part]:.0%}" for part, label in WAITS.items() if row[part])
            or NOTHING,
            "cores a GPU needs": number(row["cores"], 0),
            "pictures/s at the same whole batch": number(row["same_batch_images_per_s"], 0),
        }
        for row in rows.to_dict("records")
    ]
    return records_table(records, ["task", "training"])


def storage_table(gigabytes: dict[str, dict[str, float]]) -> pd.DataFrame:
    """Return what lies on disk, in GB, a row for each profile or number of GPUs."""
    records = [
        {"": name} | {part: number(size, 2 if size < 10 else 0) for part, size in parts.items()}
        for name, parts in gigabytes.items()
    ]
    return records_table(records, [""])
