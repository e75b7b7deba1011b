"""Preprocessing through the training loop: interrupted, and gone on as something else."""

from dataclasses import replace

import tiny
import torch
from posterised import LADDER, Finder, Posterise, objective
from refusal import refusal
from trouble import killed

from ra_core.codecs import load_codec
from ra_core.errors import TrainingError
from ra_core.models.preprocessors import make_preprocessor
from ra_core.models.proxies import make_proxy
from ra_core.objectives import Preprocessing
from ra_core.training import fit


def train(folder, what: Preprocessing) -> dict:
    torch.manual_seed(0)
    net = make_preprocessor("NPPQA", width=2, identity=True, batch_norm="frozen")
    return fit(
        {"preprocessor": net}, what, tiny.pictures(), folder=folder, steps=4, batch=5, lr=1e-3, device="cpu",
        checkpoint_seconds=0,
    )  # fmt: skip


def test_an_interrupted_run_ends_as_if_it_had_not_been(tmp_path, monkeypatch):
    once, again = tmp_path / "once", tmp_path / "again"
    train(once, objective(LADDER))
    assert tiny.names(once) == ["checkpoint.pt", "log.jsonl", "preprocessor.safetensors"]
    with killed(monkeypatch, Preprocessing, 3):
        train(again, objective(LADDER))
    train(again, objective(LADDER))
    assert tiny.weights(again) == tiny.weights(once) != {}
    rows = [[{k: line[k] for k in ("step", "loss", "bpp")} for line in tiny.log(folder)] for folder in (once, again)]
    assert rows[0] == rows[1] and [row["step"] for row in rows[0]] == [1, 2, 3, 4]
    first = tiny.log(once)[0]
    assert first["bpp"] > 0 and first["distortion"] == 0 and "recognition" in first  # it began as the identity


def test_going_on_as_another_objective_is_refused(tmp_path, monkeypatch):
    with killed(monkeypatch, Preprocessing, 3):
        train(tmp_path, objective(LADDER))
    others = {
        "ladder": LADDER[:2], "recognition": "soft_labels", "mse_weight": 1.0, "judge": Finder(),
        "proxy": make_proxy("BlockDCT", codec="jpeg"), "codec": load_codec("jpeg"),
    }  # fmt: skip
    for key, other in [*others.items(), ("codec", Posterise(offset=1))]:
        said = refusal(TrainingError, train, tmp_path, replace(objective(LADDER), **{key: other}))
        assert f"made with {key} = " in said
