"""The picture of the README: `python -m ra_book.front` draws `book/drawings/front.png` from what is in the repository.

Left, pictures of CIFAR-10 that ship, chosen by place alone, through two networks that ship, with the answers of a
recognizer that training has not seen. Right, what `ra` gains on `plain`, from `results/cifar10_narrow/paired.csv`.
"""

import sys

import pandas as pd
import torch
from matplotlib.axes import Axes

from ra_book.figures import Figure, style, task_title
from ra_book.figures.look import RIGHT, WRONG
from ra_book.figures.measured import PAIRED, per_role, prepare
from ra_core.data.cifar10 import CLASSES, load
from ra_core.errors import exit_status
from ra_core.files import atomic
from ra_core.judges import load_judge
from ra_core.metrics import to_8bit
from ra_core.paths import project_root
from ra_core.runs import find_run

SHOWN = (0, 2, 4, 6, 8)  # classes, whose first test picture is shown
JUDGE = "vgg8"
COLOURS = {"source": "#D55E00", "unseen": "#0072B2"}


def read(table: str) -> pd.DataFrame:
    """Return a table of the reference results."""
    return pd.read_csv(project_root() / "results" / "cifar10_narrow" / f"{table}.csv")


def gains(paired: pd.DataFrame, mode: str = "ra") -> pd.DataFrame:
    """Return by task and role the gain on plain in points, averaged over recognizers and seeds, with its interval."""
    rows = per_role(prepare(paired, PAIRED))
    return rows[rows["method"] == mode].set_index(["task", "role"])[["value", "low", "high"]]


@torch.inference_mode()
def restored() -> dict[str, torch.Tensor]:
    """Return the shown pictures, (5, 3, H, W) each: as the channel leaves them, restored in two modes, and clean."""
    pictures = load("shipped", "test")
    first = [int((pictures.labels == label).nonzero()[0]) for label in SHOWN]
    clean, _ = pictures.batch(torch.tensor(first))
    runs = {mode: find_run(f"cifar10_narrow/sr/{mode}/seed0") for mode in ("plain", "ra")}
    small = runs["ra"].channel(clean)
    shown = {mode: to_8bit(run.load()["processor"](small)) for mode, run in runs.items()}
    return {"input": small, **shown, "clean": clean}


def _pictures(axes: Axes) -> None:
    judge, rows = load_judge(JUDGE), read("accuracy").query("task == 'sr'")
    right = rows[rows["recognizer"] == JUDGE].groupby("mode")["top1"].mean().round().astype(int)
    words = {"input": "8 × 8 pixels", "plain": f"plain\n{right['plain']} % right", "ra": f"RA\n{right['ra']} % right",
             "clean": f"clean\n{right['oracle']} % right"}  # fmt: skip
    axes.set(xlim=(-1.1, len(SHOWN)), ylim=(4 * 1.22, -0.1))
    axes.axis("off")
    for row, (version, pictures) in enumerate(restored().items()):
        top = 1.22 * row
        axes.text(-0.08, top + 0.48, words[version], ha="right", va="center", weight="bold")
        with torch.inference_mode():
            answers = judge(pictures).argmax(1).tolist() if version != "input" else [None] * len(SHOWN)
        for column, (picture, answer, label) in enumerate(zip(pictures, answers, SHOWN, strict=True)):
            extent = (column + 0.02, column + 0.98, top + 0.96, top)
            axes.imshow(picture.permute(1, 2, 0).numpy(), extent=extent, interpolation="none")
            if answer is not None:
                mark, colour = ("✓", RIGHT) if answer == label else ("✗", WRONG)
                text = f"{mark} {CLASSES[answer]}"
                axes.text(column + 0.5, top + 1.08, text, ha="center", va="center", fontsize=7.5, color=colour)
    axes.set_aspect("equal")


def _gains(axes: Axes) -> None:
    found = gains(read("paired"))
    tasks = list(dict.fromkeys(found.index.get_level_values("task")))
    for (task, role), (gain, low, high) in found.iterrows():
        y = tasks.index(task) + (0.16 if role == "unseen" else -0.16)
        label = {"source": "recognizer of the training", "unseen": "four never seen, mean"}[role]
        bars, label = [[gain - low], [high - gain]], label if task == tasks[0] else None
        axes.errorbar(gain, y, xerr=bars, fmt="o", color=COLOURS[role], capsize=3, label=label)
        axes.text(high + 0.7, y, f"+{gain:.1f}", va="center", color=COLOURS[role])
    axes.axvline(0, color="#888888", linewidth=1)
    axes.set(xlim=(-1, 38), ylim=(len(tasks) - 0.4, -0.6), xlabel="points of top-1 gained on plain, 95 % interval")
    axes.set_yticks(range(len(tasks)), [task_title(task) for task in tasks])
    axes.set_title("RA, complete CIFAR-10, three seeds")
    axes.grid(axis="x")
    axes.legend(loc="lower right")


@style()
def front() -> Figure:
    """Draw the picture of the README."""
    figure = Figure(figsize=(9.6, 4.1))
    _pictures(figure.add_axes((0.0, 0.02, 0.5, 0.9)))
    figure.text(0.29, 0.955, f"What {JUDGE}, never seen in training, says", ha="center", weight="bold", fontsize=10.5)
    _gains(figure.add_axes((0.64, 0.15, 0.345, 0.74)))
    return figure


def main() -> int:
    """Draw the picture and print where it is. Return 0, or 1 after one sentence."""

    def draw() -> None:
        path = project_root() / "book" / "drawings" / "front.png"
        with atomic(path) as temporary:
            front().savefig(temporary, format="png", dpi=130, metadata={"Software": None})
        print(path)

    return exit_status(draw)


if __name__ == "__main__":
    sys.exit(main())
