"""What ships: a row for each network, read from the folder of its run."""

import json

import pandas as pd
import torch
import yaml

from ra_core.networks.network import Network
from ra_core.runs import find_run, shipped_names
from ra_core.runs.shipped import SHIPPED

MEASURED = ("top1", "map50", "psnr", "ssim", "bpp")  # by the source, on the validation pictures


def models() -> pd.DataFrame:
    """Return a row for each network that ships, by the name that `load` takes; of tables, `ra_core.apply`.

    `input` is what its tensors and arrays hold, `scale` how much larger the result is; `learned_from`, `pictures` and
    `licence` say of what it learned, `source` which judge took part. The rest is what that judge found on validation
    pictures: `top1` and `map50` in percent, `psnr` in dB, `bpp` bits a pixel.
    """
    told = yaml.safe_load((SHIPPED / "pictures.yaml").read_text(encoding="utf-8"))
    rows = {name.removesuffix("/seed0"): _row(name, told) for name in shipped_names()}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("name")


def _row(name: str, told: dict[str, dict]) -> dict:
    run = find_run(name)
    said = json.loads((run.folder / "run.json").read_text(encoding="utf-8"))
    first, second, *_ = name.split("/")
    stated, train = told.get(first) or told.get(f"{first}/{second}") or {}, said["data"]["train"]
    with torch.device("meta"):  # no weights are drawn
        net = next(iter(run.networks().values()))
    scale = Network({"net": net}, torch.device("meta"), shrink=run.shrink).scale
    return {
        "task": said.get("task") or f"before {said['codec']}", "mode": said.get("mode") or said["method"],
        "input": "RGB, [0, 1]", "scale": scale, "parameters": sum(said["parameters"].values()),
        "learned_from": stated.get("learned_from", train["name"]), "pictures": train["pictures"],
        "licence": stated.get("licence", "not stated"), "source": said["source"],
        **{key: said["metrics"].get(key) for key in MEASURED},
    }  # fmt: skip
