"""The front of the README: `python -m ra_book.front` draws `book/drawings/front.png` and renews the table beneath it.

Left, the photographs of the package scikit-image that are in the public domain or CC0 and show a thing of one of
ImageNet's classes, through two networks that ship, with the answers of three recognizers. Right, what each judge gains,
from `results/photos`, as in the table. Only this picture needs that package.
"""

import re
import sys
from collections.abc import Sequence

import pandas as pd
import torch
from matplotlib.axes import Axes

from ra_book.figures import Figure, look, style
from ra_book.figures.judges import HOLLOW, by_family, draw_by_family
from ra_book.figures.look import FAINT, RIGHT, WRONG, new_figure, shortened
from ra_book.figures.measured import ACCURACY, PAIRED, change, number, per_role, prepare, values_of
from ra_book.reference import kept
from ra_core.data.folders import FolderPictures, imagenet_classes
from ra_core.data.photographs import package_folder
from ra_core.errors import exit_status
from ra_core.files import atomic, write_text
from ra_core.judges import Judge, load_judge
from ra_core.metrics import to_8bit
from ra_core.paths import project_root
from ra_core.runs import find_run

SHOWN = {  # what may be said of each
    "chelsea.png": {"tabby", "tiger cat", "Egyptian cat"},
    "coffee.png": {"espresso", "cup"},
    "rocket.jpg": {"missile", "projectile", "space shuttle"},
}
CREDITS = "Photographs from scikit-image: S. van der Walt (CC0), R. Michetti (CC0), SpaceX (public domain)."
JUDGES = {"Lite0": "efficientnet_lite0", "Lite1": "efficientnet_lite1", "Lite2": "efficientnet_lite2"}
MODE = "ra"
TASKS = {"sr": "enlarging 4 ×", "dn": "denoising", "jpeg": "JPEG restoration"}
TABLE = re.compile(r"^\| task \|.*?(?=\n\n)", re.DOTALL | re.MULTILINE)
LETTERS = 12  # of a class under a picture


def gains(paired: pd.DataFrame, mode: str = MODE) -> pd.DataFrame:
    """Return by task and role the gain on plain in points, averaged over recognizers and seeds, with its interval."""
    rows = per_role(prepare(paired, PAIRED))
    return rows[rows["method"] == mode].set_index(["task", "role"])[["value", "low", "high"]]


def table() -> str:
    """Return the table of the README in Markdown: by task and role what `MODE` gains, from where to where; and PSNR."""
    found, accuracy = gains(kept("paired", "photos")), prepare(kept("accuracy", "photos"), ACCURACY)
    unseen = accuracy.loc[accuracy["role"] == "unseen", "recognizer"].nunique()
    cells = per_role(accuracy).set_index(["task", "role", "method"])
    lines = [
        f"| task | on the recognizer of the training | on {unseen} unseen ones, mean | PSNR |",
        "|---|---|---|---|",
    ]
    for task in values_of(accuracy, "task"):
        said = []
        for role in ("source", "unseen"):
            plain, ours = (cells["value"][task, role, method] for method in ("plain", MODE))
            said.append(f"{change(found.loc[task, role])}, from {number(plain)} to {number(ours)} %")
        plain, ours = (cells["psnr"][task, "source", method] for method in ("plain", MODE))
        lines.append(f"| {TASKS[task]} | {' | '.join(said)} | {number(round(ours - plain, 2) + 0.0, 2)} dB |")
    return "\n".join(lines)


@torch.inference_mode()
def restored() -> dict[str, torch.Tensor]:
    """Return the photographs, (3, 3, H, W) each: as the channel leaves them, restored in two modes, and clean."""
    folder, files = package_folder("skimage", "scikit-image") / "data", tuple(SHOWN)
    photographs = FolderPictures(folder, files, torch.zeros(len(files)), imagenet_classes(), "scikit-image")
    clean, _ = photographs.batch(torch.arange(len(files)))
    runs = {mode: find_run(f"photos/sr/{mode}") for mode in ("plain", MODE)}
    small = runs[MODE].channel(clean)
    shown = {mode: to_8bit(run.load()["processor"](small)) for mode, run in runs.items()}
    return {"input": small, **shown, "clean": clean}


@torch.inference_mode()
def answers(judges: Sequence[Judge], pictures: torch.Tensor) -> list[list[tuple[str, float]]]:
    """Return by picture what each of the recognizers says and how sure it is."""
    names = imagenet_classes()
    said = [judge(pictures).softmax(1).max(1) for judge in judges]
    return [[(names[each.indices[k]], each.values[k].item()) for each in said] for k in range(len(pictures))]


def _pictures(axes: Axes) -> None:
    """Draw a row for each photograph, a column for each version, and three answers under each picture."""
    shown, enlarge = restored(), find_run(f"photos/sr/{MODE}").channel.enlarge
    judges = [load_judge(name) for name in JUDGES.values()]
    words = {"input": "56 × 56 pixels", "plain": "plain", MODE: look(MODE).label, "clean": "clean"}
    high, line = 1.41, 0.11
    axes.set(xlim=(-0.3, len(shown)), ylim=(high * len(SHOWN) - 0.05, -0.12))
    axes.axis("off")
    for column, (version, pictures) in enumerate(shown.items()):
        axes.text(column + 0.49, -0.02, words[version], ha="center", va="bottom", weight="bold", size=8.5)
        said = answers(judges, to_8bit(enlarge(pictures)) if version == "input" else pictures)
        for row, (picture, names) in enumerate(zip(pictures, SHOWN.values(), strict=True)):
            place = (column + 0.01, column + 0.97, high * row + 0.96, high * row)
            axes.imshow(picture.permute(1, 2, 0).numpy(), extent=place)
            for k, (judge, (answer, sure)) in enumerate(zip(JUDGES, said[row], strict=True)):
                y, ok = high * row + 1.03 + line * k, answer in names
                text = f"{'✓' if ok else '✗'} {shortened(answer, LETTERS)} {100 * sure:.0f}%"
                axes.text(column + 0.01, y, text, va="center", size=7.5, color=RIGHT if ok else WRONG)
                if column == 0:
                    axes.text(-0.03, y, judge, ha="right", va="center", size=7.5, color=FAINT)
    axes.set_aspect("equal")


def _gains(figure: Figure) -> None:
    """Draw what each judge gains in every task."""
    paired = kept("paired", "photos")
    cells, labels = by_family(paired[paired["mode"] == MODE], kept("recognizers", "photos"))
    tasks = values_of(cells, "task")
    grid = figure.add_gridspec(1, len(tasks), left=0.69, right=0.995, bottom=0.11, top=0.9, wspace=0.1)
    panels = grid.subplots(sharex=True, sharey=True)
    draw_by_family(dict(zip(tasks, panels, strict=True)), cells, labels)
    for axes, task in zip(panels, tasks, strict=True):
        axes.set_title(TASKS[task].split()[0], fontsize=8.5)
        axes.set_xlabel("")
        axes.tick_params(labelsize=7.5)
    panels[1].set_xlabel(f"points of top-1, 95 % intervals\n{HOLLOW}", fontsize=7.5)


@style()
def front() -> Figure:
    """Draw the picture of the README."""
    figure = new_figure(width=10.0, height=5.4, layout=None)
    _pictures(figure.add_axes((0.0, 0.03, 0.495, 0.95)))
    _gains(figure)
    figure.text(
        0.765, 0.96, f"What {look(MODE).label} gains on plain, by judge", ha="center", weight="bold", fontsize=9.5
    )
    figure.text(0.005, 0.01, CREDITS, fontsize=6.5, color=FAINT)
    return figure


def main() -> int:
    """Draw the picture, renew the table of the README and print where they are. Return 0, or 1 after one sentence."""

    def draw() -> None:
        path, readme = project_root() / "book" / "drawings" / "front.png", project_root() / "README.md"
        with atomic(path) as temporary:
            front().savefig(temporary, format="png", dpi=120, metadata={"Software": None})
        text = readme.read_text(encoding="utf-8")
        write_text(readme, TABLE.sub(lambda _: table(), text, count=1))
        print(path, readme, sep="\n")

    return exit_status(draw)


if __name__ == "__main__":
    sys.exit(main())
