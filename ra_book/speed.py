"""What the benchmarks found and what a book took, as its status page says it."""

import json
from collections.abc import Callable
from pathlib import Path

from ra_core.channels import TASKS
from ra_core.errors import OutputError
from ra_core.files import read_json


def speed_text(root: Path) -> str:
    """Return what the benchmarks found in the project at `root`: training, coding, jobs of a cluster, bounds of a GPU,
    what bf16 changes.

    What the reader measured (`runs/benchmarks/`) stands before what was measured once and kept (`results/benchmarks/`).
    Raises `OutputError` for a file that no benchmark wrote.
    """
    tellers = {"throughput": _throughput, "coding": _coding, "jobs": _jobs, "bounds": _bounds}
    tellers |= {f"precision-{task}": _precision for task in TASKS}
    texts = []
    for name, tell in tellers.items():
        paths = [root / kind / "benchmarks" / f"{name}.json" for kind in ("runs", "results")]
        path = next((path for path in paths if path.exists()), None)
        if path:
            texts.append(_read(path, tell))
    return "\n\n".join(texts) or "Speed was not measured: `make bench` does it, and the next build shows it here."


def spent(notebooks: Path) -> list[dict]:
    """Return how long each notebook took when it was last executed, from the executed copies in a folder.

    `times` executions of one took `minutes` in all, on a core each where the profile has one thread; `longest` is in
    minutes, too, and `share` in percent of all. What papermill noted counts, without the start of the process around.
    """
    taken: dict[str, list[float]] = {}
    for path in sorted(notebooks.glob("*.ipynb")):
        seconds = read_json(path)["metadata"].get("papermill", {}).get("duration")
        if seconds:  # None while it runs
            taken.setdefault(path.stem.split("-")[0], []).append(seconds / 60)
    whole = sum(map(sum, taken.values()))
    return [
        {
            "notebook": name, "times": len(each), "minutes": round(sum(each), 2), "longest": round(max(each), 2),
            "share": round(100 * sum(each) / whole, 2),
        }
        for name, each in taken.items()
    ]  # fmt: skip


def spent_text(notebooks: Path) -> str:
    """Return `spent` as a table."""
    rows = [
        f"`{row['notebook']}` | {row['times']} | {row['minutes']:.1f} | {row['longest']:.1f} | {row['share']:.0f}"
        for row in spent(notebooks)
    ]
    return _table("notebook | times | minutes in all | minutes, the longest | % of all", rows)


def _read(path: Path, tell: Callable[[dict], str]) -> str:
    try:
        return tell(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OutputError(f"{path} is not what a benchmark wrote ({error!r}); delete it or run it again.") from error


def _made(found: dict) -> str:
    """Return where, when and from what a benchmark was made."""
    commit = (found["git"]["commit"] or "unknown")[:7] + ("+" if found["git"]["dirty"] else "")
    machine = found["machine"]
    return f"on {machine['device']}, {machine['cores']} cores, at commit {commit}, {found['made'][:10]}"


def _spread(row: dict) -> str:
    return f"{row['median']:.2f} | {row['low']:.2f} to {row['high']:.2f}"


def _table(head: str, rows: list[str]) -> str:
    """Return a Markdown table; cells of a line are separated by ` | `."""
    lines = [head, " | ".join([":--", *["--:"] * head.count(" | ")]), *rows]
    return "".join(f"\n| {line} |" for line in lines)


def _throughput(found: dict) -> str:
    rows = []
    for name, row in (item for part in ("gpu", "training", "parts") for item in found[part].items()):
        rates = " | ".join(f"{row[key]:.2f}" if key in row else "–" for key in ("ours", "published"))
        rows.append(f"{name} | {_spread(row['ratio'])} | {row['target'] or '–'} | {rates}")
    text = (
        f"Measured with `make bench` {_made(found)}: how many times as fast as the published way on the same "
        f"networks and pictures, the median of {found['settings']['rounds']} or more rounds.\n"
    ) + _table("what | times as fast | over rounds | wanted | ours, pictures/s | published, pictures/s", rows)
    rows = []
    for name, row in found["gpu"].items():
        peak = f"{row['of_peak']:.0%}" if row["of_peak"] else "not known"
        speed = (
            f"{row['ready']['median']:.0%} | {row['ready_target']:.0%} | {row['tflops']:.0f} | {row['of_product']:.0%}"
        )
        rows.append(f"{name} | {row['batch']} | {row['published_batch']} | {speed} | {peak}")
    head = "what | batch | published batch | of the speed on ready tensors | wanted | TFLOP/s"
    return text if not rows else (
        f"{text}\n\nEach way at its best batch on this GPU. On ready tensors the same networks train without reading "
        "or degrading a picture, so what is missing there is what the data cost.\n"
    ) + _table(f"{head} | of a large bf16 product | of the card's bf16 peak", rows)  # fmt: skip


def _coding(found: dict) -> str:
    rows = []
    for name, row in found["codecs"].items():
        programs = f"{row['ratio_programs']['median']:.2f}" if "ratio_programs" in row else "–"
        gain = list(row["scaling"]["encode"].values())[-1]["gain"]
        rows.append(f"{name} at {row['codec']['at']:g} | {_spread(row['ratio_c'])} | {found['target']:g} | "
                    f"{programs} | {gain:.2f}")  # fmt: skip
    return (
        f"Encoding, decoding and counting a batch of {found['batch']['pictures']} pictures of {found['batch']['side']} "
        f"pixels in memory, beside files, a shell and programs one picture at a time, with the same coder and "
        f"settings, {_made(found)}. The first ratio takes the program's work from the same library, as if the "
        "program were written in C; the one *with C programs* is that of real ones where they were found, which bring "
        "libraries of their own. The last column says how many times as fast all cores encode as one.\n"
    ) + _table("codec | times as fast | over rounds | wanted | with C programs | encoding on all cores", rows)


def _jobs(found: dict) -> str:
    whole, parts = found["whole_s"], {"job": "a job of Slurm", "notebook": "its notebook", "training": "its training"}
    return (
        f"**What the workflow costs a job.** {found['jobs']} trainings of a second or so, each a job of Slurm on one "
        f"node, took {whole / 60:.1f} minutes: side by side, one was finished every {whole / found['jobs']:.1f} "
        f"seconds. Measured with `python tests/slurm/job_costs.py` {_made(found)}. The difference between the first "
        "two rows is what Slurm and the processes of the workflow cost a job; that between the last two is the start "
        "of the notebook and the drawing of its page.\n"
    ) + _table(
        "what | seconds, median | over jobs",
        [
            f"{what} | {row['median']:.1f} | {row['low']:.1f} to {row['high']:.1f}"
            for row, what in ((found[f"{name}_s"], what) for name, what in parts.items())
        ],
    )


def _bounds(found: dict) -> str:
    card, rows, held = found["card"], [], []
    for task, row in found["steps"].items():
        moved = row["moved_gb"]
        others = sum(moved.values()) - moved["convolutions"]
        least = " | ".join(f"{row[f'{key}_ms']:.1f}" for key in ("compute", "convolutions", "others"))
        rows.append(
            f"{task} ra | {row['gflop']:,.0f} | {moved['convolutions']:.1f} | {others:.1f} | "
            f"{least} | {row['wide_flops']:.0%}, {row['wide_bytes']:.0%} | "
            f"{row['recognizer_flops']:.0%}, {row['recognizer_bytes']:.0%}"
        )
        for name, each in found["memory"][task].items():
            most = " | ".join(str(batch) for batch in each["largest_batch"])
            held.append(f"{task} ra, {name} | {each['kept_gb']:.1f} | {each['peak_gb']:.1f} | {most}")
    sizes = " | ".join(f"largest batch, {size / 1e9:.0f} GB" for size in card["memory"])
    return (
        f"**Where a factor lies on a GPU.** A step of {found['batch']} pictures of 224 pixels, counted with "
        f"`python benchmarks/bounds.py` {_made(found)}; nothing here was timed. Milliseconds are those of a card of "
        f"{card['bytes_s'] / 1e12:.2f} TB/s and {card['flops'] / 1e12:.0f} TFLOP/s ({card['name']}) that reaches both. "
        "Every operator reads and writes each of its tensors once: fusing lowers the bytes, reading twice (statistics, "
        "then their use) raises them. Shares are of operations and of bytes.\n"
    ) + _table(
        "step | GFLOP | GB, convolutions | GB, all else | ms, computing | ms, bytes of convolutions | ms, all other "
        "bytes | the two 9 x 9 convolutions | recognizer", rows,
    ) + "\n\nWhat such a step keeps for its backward pass, and the most that tensors hold at a time, in GB.\n" + _table(
        f"step | kept | at most | {sizes}", held,
    )  # fmt: skip


def _signed(value: float) -> str:
    return f"{round(value, 2) + 0.0:+.2f}"  # what rounds to zero has no minus


def _precision(found: dict) -> str:
    settings, rows = found["settings"], []
    for mode, numbers in found["results"].items():
        for key, row in numbers.items():
            within = "yes" if row["within"] else "no, nor told from none" if row["low"] <= 0 <= row["high"] else "no"
            change = f"{_signed(row['difference'])} | {_signed(row['low'])} to {_signed(row['high'])} | {within}"
            sides = f"{row['fp32']:.2f} | {row['seeds_sd']:.2f} | {row['bf16']:.2f}"
            rows.append(f"{mode} | {found['units'][key]} | {sides} | {change}")
    return (
        f"What bf16 changes in the results of {settings['task']}, profile `{settings['profile']}`, over "
        f"{len(settings['seeds'])} seeds, measured with `python benchmarks/precision.py --task {settings['task']}` "
        f"{_made(found)}: *within* says whether the means differ by less than fp32's seeds scatter; where they "
        "do not but the interval holds zero, no difference is shown either.\n"
    ) + _table(
        "mode | number | fp32 | its seeds' standard deviation | bf16 | difference | 95 % interval | within", rows
    )
