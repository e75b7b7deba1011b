"""The interactive pieces of the notebooks: sliders, pickers and live curves. In batch each is one fixed picture."""

import io
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from IPython.display import display
from PIL import Image, ImageOps

from ra_book.figures.look import Figure, new_figure, shortened, style
from ra_book.figures.pictures import GAP, Sheet
from ra_core.progress import BATCH_VARIABLE

LETTERS = 11  # of a class under a picture


def interactive() -> bool:
    """Say whether somebody sits before the notebook: it has a kernel, and no workflow runs it."""
    return "ipykernel" in sys.modules and not os.environ.get(BATCH_VARIABLE)


@dataclass(frozen=True)
class Slider:
    """A number from `low` to `high` in steps of `step`, which begins at `value`; whole where all of them are."""

    low: float
    high: float
    value: float
    step: float = 1

    def widget(self, name: str):
        """Return the slider; it answers when it is let go."""
        import ipywidgets

        whole = all(isinstance(number, int) for number in (self.low, self.high, self.value, self.step))
        kind = ipywidgets.IntSlider if whole else ipywidgets.FloatSlider
        return kind(self.value, min=self.low, max=self.high, step=self.step, description=name, continuous_update=False)


@dataclass(frozen=True)
class Choice:
    """One of several values, or of the values of a mapping from what is shown; without `value` the first."""

    options: Sequence | Mapping
    first: object = None

    @property
    def value(self):
        """What it begins with."""
        values = list(self.options.values() if isinstance(self.options, Mapping) else self.options)
        return values[0] if self.first is None else self.first

    def widget(self, name: str):
        """Return a drop-down list."""
        import ipywidgets

        options = list(self.options.items()) if isinstance(self.options, Mapping) else list(self.options)
        return ipywidgets.Dropdown(options=options, value=self.value, description=name)


@dataclass(frozen=True)
class Upload:
    """A picture from the reader's disk, as bytes; None until there is one."""

    value = None

    def widget(self, name: str):
        """Return a button that asks for a picture."""
        import ipywidgets

        return ipywidgets.FileUpload(accept="image/*", multiple=False, description=name)


def turn(draw: Callable, **controls: Slider | Choice | Upload):
    """Show `draw(name=value, ...)` under one control for each of its arguments; it is drawn anew when one is moved.

    In batch it is what `draw` makes of the values that the controls begin with.
    """
    if not interactive():
        return draw(**{name: control.value for name, control in controls.items()})
    import ipywidgets

    def show(**values):
        display(draw(**{name: _plain(value) for name, value in values.items()}))

    widgets = {name: control.widget(name) for name, control in controls.items()}
    return ipywidgets.VBox([*widgets.values(), ipywidgets.interactive_output(show, widgets)])


def _plain(value):
    """Return the bytes of an uploaded file, and any other value as it is."""
    if isinstance(value, tuple):
        return bytes(value[0]["content"]) if value else None
    return value


def watched(steps: int, draw: Callable[[], Figure], every: int = 10) -> Iterator[int]:
    """Yield the numbers of `steps` steps, and show `draw()`: every few of them to who watches, in batch at the end."""
    handle = None
    for step in range(steps):
        yield step
        if step + 1 == steps or (interactive() and (step + 1) % every == 0):
            if handle is None:
                handle = display(draw(), display_id=True)
            else:
                handle.update(draw())


@style()
def term_curves(lines: Sequence[Mapping[str, float]]) -> Figure:
    """Draw every term of a loss against the step, one panel each, and its mean over the last ten steps.

    `lines` hold `step` and the terms.
    """
    table = pd.DataFrame(lines).set_index("step")
    means, figure = table.rolling(10, min_periods=1).mean(), new_figure(height=2.3)
    for axes, term in zip(figure.subplots(1, len(table.columns), squeeze=False)[0], table, strict=True):
        axes.plot(table.index, table[term], linewidth=0.8, alpha=0.3)
        axes.plot(means.index, means[term], linewidth=1.6, color=axes.lines[0].get_color())
        axes.set(title=term, xlabel="step", ylim=(0, None))
        axes.grid()
    ends = ", ".join(f"{term} {means[term].iloc[0]:.3g} to {means[term].iloc[-1]:.3g}" for term in table)
    figure.alt = f"The terms of the loss over {len(lines)} steps: {ends}."
    return figure


@style()
def picture_row(images: Sequence, heads: Sequence[str], below: Sequence[str] = ()) -> Figure:
    """Draw pictures (3, H, W) large and side by side, with a line above each and any number of lines beneath."""
    beneath = [text.splitlines() for text in below or [""] * len(images)]
    lines = max(map(len, beneath))
    sheet = Sheet((len(images), 3, 1, 1), [lines], left=GAP, most=2.0)
    sheet.names(heads)
    sheet.row("", images, lines)
    for k, texts in enumerate(beneath):
        for line, text in enumerate(texts):
            sheet.small(k, line, text)
    sheet.figure.alt = "; ".join(f"{head}: {', '.join(texts)}" for head, texts in zip(heads, beneath, strict=True))
    return sheet.figure


@torch.inference_mode()
def answers(judge, images: torch.Tensor, classes: Sequence[str], labels: Sequence[int] = ()) -> list[str]:
    """Return what a recognizer says to each picture (B, 3, H, W) and how sure it is: `frog 87%`.

    With `labels` a right answer has a tick and a wrong one a cross. Of a detector it is how many things it found.
    """
    said = judge(images)
    if isinstance(said, list):
        return [f"{int((found['scores'] > 0.5).sum())} found" for found in said]
    confidences, chosen = said.float().softmax(1).max(1)
    marks = [("✓ " if int(a) == int(b) else "✗ ") for a, b in zip(chosen, labels, strict=False)] or [""] * len(images)
    names = [_name(classes, int(answer), said.shape[1]) for answer in chosen]
    return [f"{m}{n} {100 * c:.0f}%" for m, n, c in zip(marks, names, confidences.tolist(), strict=True)]


def what_is_on(label, classes: Sequence[str]) -> str:
    """Return the class of a picture, or the classes of its boxed objects."""
    if not isinstance(label, dict):
        return classes[label]
    return ", ".join(dict.fromkeys(classes[number - 1] for number in label["labels"].tolist())) or "nothing"


def _name(classes: Sequence[str], number: int, known: int) -> str:
    """Return a class by name, cut to fit under a picture; by number where the pictures have other classes."""
    name = classes[number] if len(classes) == known else f"class {number}"
    return shortened(name, LETTERS)


def opened(file: bytes, side: int) -> torch.Tensor:
    """Return a picture file as (1, 3, side, side) in [0, 1]: its middle square, made `side` pixels wide."""
    picture = ImageOps.exif_transpose(Image.open(io.BytesIO(file))).convert("RGB")
    square = ImageOps.fit(picture, (side, side), Image.Resampling.BICUBIC)
    pixels = torch.frombuffer(bytearray(square.tobytes()), dtype=torch.uint8)
    return pixels.view(1, side, side, 3).permute(0, 3, 1, 2).float() / 255
