"""How learned proxies were trained, and what they cost and keep on held-out pictures."""

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.ticker import MaxNLocator

from ra_book.figures.look import METHODS, Figure, new_figure, style
from ra_book.figures.networks import log_axis
from ra_book.figures.rows import listing
from ra_book.figures.tables import number, records_table
from ra_core.errors import ParameterError

PANELS = {"loss": "loss", "bpp_y": "bits a pixel of y", "bpp_z": "bits a pixel of z"}


@style()
def proxy_curves(logs: Mapping[str, Sequence[dict]]) -> Figure:
    """Draw loss and bits a pixel, split into y and z, against the step; `logs` maps a proxy to the lines of its log."""
    lines = {name: [line for line in log if "loss" in line] for name, log in logs.items()}
    if not lines or not all(lines.values()):
        raise ParameterError("there is no log line of a proxy to draw: give the lines of a log.jsonl for each.")
    figure, looks = new_figure(height=3.2), list(METHODS.values())
    for axes, (key, title) in zip(figure.subplots(1, len(PANELS)), PANELS.items(), strict=True):
        for shown, (name, log) in zip(looks * len(lines), lines.items(), strict=False):
            axes.plot(
                [line["step"] for line in log], [line[key] for line in log], color=shown.colour, linewidth=1.6,
                marker="o" if len(log) == 1 else None, label=name,
            )  # fmt: skip
        axes.set_yscale("log")
        log_axis(axes.yaxis, "{x:g}")
        axes.set_title(title, fontsize=9.5)
        axes.set_xlabel("step")
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.grid()
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=len(lines))
    figure.suptitle("Learned proxies: training")
    ends = [
        f"{name} at {log[-1]['bpp_y']:.3g} bits a pixel for y and {log[-1]['bpp_z']:.3g} for z"
        for name, log in lines.items()
    ]
    figure.alt = f"Loss and bits a pixel of learned proxies by step; {listing(ends)} in the last lines."
    return figure


def proxy_table(sidecars: Mapping[str, dict]) -> pd.DataFrame:
    """Return what each learned proxy costs and keeps on each set of held-out pictures, with rounded latents."""
    records = [
        {
            "proxy": name,
            "pictures": f"{pictures} ({number(found['pictures'], 0)})",
            "bits a pixel": number(found["bpp"], 3),
            "of which y": number(found["bpp_y"], 3),
            "of which z": number(found["bpp_z"], 3),
            "PSNR, dB": number(found["psnr"]),
        }
        for name, sidecar in sidecars.items()
        for pictures, found in sidecar["held_out"].items()
    ]
    return records_table(records, ["proxy", "pictures"])
