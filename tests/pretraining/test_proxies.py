import json

import noise
import pytest
import tiny
import torch
from PIL import Image
from pretrained import proxy as settings
from pretrained import train_proxy as train
from refusal import refusal
from safetensors.torch import load_file

from ra_core.data import fingerprint
from ra_core.data.crops import Crops
from ra_core.errors import DataError, OutputError, WeightsError
from ra_core.locks import file_lock
from ra_core.models.proxies import load_proxy_weights, proxy_stem, read_proxy_sidecar, shipped_proxies
from ra_core.params import LearnedProxy
from ra_core.pretraining import proxies
from ra_core.pretraining.proxies import SHIPPED, made_by, main, measure, trained_proxies, training_pictures


def test_what_it_measured_is_what_the_stored_weights_do(tmp_path):
    made = made_by(settings(), 256.0)
    sidecar = train(tmp_path, made)
    assert made.items() <= sidecar.items() and sidecar["crops"] == [16]
    lines = [json.loads(line) for line in (tmp_path / "hyperprior-256.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3]
    proxy, pictures = load_proxy_weights("hyperprior-256", tmp_path), tiny.pictures(3, 1, "others")
    found = sidecar["held_out"]["others"]
    assert found == {"pictures": 3, "fingerprint": fingerprint(pictures)} | measure(proxy, pictures)
    assert found["bpp"] == pytest.approx(found["bpp_y"] + found["bpp_z"], abs=2e-4)
    images, _ = pictures.batch(torch.arange(3))
    assert measure(proxy.train(), pictures, batch=2) == measure(proxy, pictures, batch=3) and not proxy.training
    with torch.no_grad():
        out = proxy(images)
    assert found["bpp"] == pytest.approx(out["bits"].mean().item() / 256, abs=1e-4)
    stored = (out["pictures"] * 255).round() / 255
    errors = (stored - images).square().mean((1, 2, 3))
    assert found["psnr"] == pytest.approx(-10 * errors.log10().mean().item(), abs=1e-3)


def test_it_learns_and_a_larger_weight_spends_more_bits(tmp_path):
    found = {}
    for weight in (16.0, 4096.0):
        made = made_by(settings(steps=30), weight=256.0) | {"weight": weight}
        made["recipe"] |= {"lr": 1e-2}
        found[weight] = train(tmp_path, made)["held_out"]["others"]
        loss = [json.loads(line)["loss"] for line in (tmp_path / f"hyperprior-{weight:g}.jsonl").open()]
        assert loss[-1] < 0.8 * loss[0]
    assert found[4096.0]["bpp"] > 1.2 * found[16.0]["bpp"]


def test_it_begins_with_other_weights_where_told_to(tmp_path):
    train(tmp_path)
    start = load_file(tmp_path / "hyperprior-256.safetensors")
    made = made_by(settings(weights=(256.0, 512.0)), 512.0)
    made["recipe"] |= {"steps": 1, "lr": 1e-6}
    sidecar = train(tmp_path, made, start=tmp_path / "hyperprior-256.safetensors")
    assert sidecar["begun_as"] == "hyperprior-256"
    after = load_file(tmp_path / "hyperprior-512.safetensors")
    assert all(torch.allclose(value, after[key], atol=1e-4) for key, value in start.items())
    said = refusal(WeightsError, train, tmp_path, made | {"m": 6}, start=tmp_path / "hyperprior-256.safetensors")
    assert "was made for another network than Hyperprior" in said


@pytest.mark.parametrize(
    "numbers", ["--n 1", "--m 0", "--steps 0", "--batch 0", "--lr 5", "--lr nan", "--weight -5", "--seed -1"]
)
def test_numbers_that_cannot_be_are_one_sentence(tmp_path, capsys, numbers):
    given = f"Hyperprior --weight 512 --folder {tmp_path} --pictures {tmp_path} {numbers}"
    assert main(given.split()) == 1
    [said] = capsys.readouterr().err.splitlines()
    assert numbers.split()[1] in said and not list(tmp_path.iterdir())


def test_a_broken_picture_is_left_out_before_the_first_step(tmp_path):
    for number in range(5):
        noise.save(tmp_path / "in" / f"{number}.jpg", noise.array(60, 60, number))
    cut = tmp_path / "in" / "0.jpg"
    cut.write_bytes(cut.read_bytes()[:500])
    sets = [training_pictures(tmp_path / "in", tmp_path / "out" / "checked.json")]
    assert "0.jpg" in (tmp_path / "out" / "skipped.csv").read_text()
    cut.unlink()
    sets.append(training_pictures(tmp_path / "in", tmp_path / "out" / "checked.json"))
    for train_, (held_out,) in sets:
        assert held_out.files == ("1.jpg",) and len(train_) == 3
    assert fingerprint(sets[0][0]) == fingerprint(sets[1][0])
    for number in range(2, 5):
        (tmp_path / "in" / f"{number}.jpg").unlink()
    assert str(tmp_path / "in") in refusal(DataError, training_pictures, tmp_path / "in")


def test_each_later_weight_begins_as_the_one_before_and_takes_half_the_steps_of_the_first():
    many = settings(steps=5, weights=(64.0, 256.0, 512.0), seed=3)
    first, second, third = (made_by(many, weight) for weight in many.weights)
    assert (first["begun_as"], first["recipe"]["steps"], first["seed"]) == (None, 5, 3)
    assert second["recipe"] == third["recipe"] == first["recipe"] | {"steps": 3}
    assert second == first | {"weight": 256.0, "begun_as": "hyperprior-64", "recipe": second["recipe"]}
    assert third == second | {"weight": 512.0, "begun_as": "hyperprior-256"}


def test_what_is_missing_is_trained_and_only_that(tmp_path, monkeypatch):
    wanted = settings(steps=2, weights=(256.0, 64.0, 16.0))
    data = Crops((tiny.pictures(8),), sides=(16,)), [tiny.pictures(3, 1, "others")]
    begun, train_ = [], proxies.train_proxy
    monkeypatch.setattr(proxies, "training_pictures", lambda: data)
    monkeypatch.setattr(
        proxies, "train_proxy", lambda made, *a, **k: begun.append(made["weight"]) or train_(made, *a, **k)
    )
    with file_lock(tmp_path / ".hyperprior-256.lock", "another's"):
        assert "hyperprior-256" in refusal(OutputError, trained_proxies, wanted, tmp_path, "cpu")
    assert not begun
    files = trained_proxies(wanted, tmp_path, "cpu")
    stems = ["hyperprior-256", "hyperprior-64", "hyperprior-16"]
    assert files == [tmp_path / f"{stem}.safetensors" for stem in stems] and begun == [256, 64, 16]
    assert read_proxy_sidecar("hyperprior-16", tmp_path)["begun_as"] == "hyperprior-64"
    assert trained_proxies(wanted, tmp_path, "cpu") == files and len(begun) == 3
    (tmp_path / "hyperprior-64.json").unlink()
    assert trained_proxies(wanted, tmp_path, "cpu") == files and begun[3:] == [64]
    training = wanted.training.model_copy(update={"lr": 1e-2})
    trained_proxies(wanted.model_copy(update={"training": training}), tmp_path, "cpu")
    assert len(begun) == 7


def test_what_ships_is_what_the_defaults_ask_for(tmp_path):
    stems = [proxy_stem("Hyperprior", weight) for weight in LearnedProxy().weights]
    assert sorted(stems) == sorted(shipped_proxies("Hyperprior")) == sorted(shipped_proxies())
    assert trained_proxies(LearnedProxy(), tmp_path) == [SHIPPED / f"{stem}.safetensors" for stem in stems]
    rates = []
    for stem in shipped_proxies():
        assert (SHIPPED / f"{stem}.safetensors").stat().st_size < 2e6
        sidecar = read_proxy_sidecar(stem)
        assert not load_proxy_weights(stem).training
        rates.append([sidecar["held_out"][part]["bpp"] for part in ("scenes/validation", "elpv/validation")])
    assert rates == sorted(rates) and rates[0][0] < 0.2 and rates[-1][0] > 0.3


def test_the_command_trains_on_a_folder_and_holds_every_tenth_picture_out(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    for number in range(11):
        Image.new("RGB", (200, 150), (20 * number, 90, 40)).save(tmp_path / "in" / f"{number:02}.png")
    train_, (held_out,) = training_pictures(tmp_path / "in")
    assert (len(train_), train_.name, held_out.files) == (9, "in/train", ("00.png", "10.png"))
    given = ["Minnen2018", "--weight", "0.5", "--folder", str(tmp_path), "--pictures", str(tmp_path / "in")]
    assert main([*given, "--steps", "1", "--batch", "2", "--n", "2", "--m", "2", "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    said = json.loads(printed[printed.index("{") :])  # after the lines of progress
    assert said == read_proxy_sidecar("minnen2018-0.5", tmp_path)
    assert (said["weight"], said["n"], list(said["held_out"])) == (0.5, 2, ["in/held out"])
    assert main([*given[:-1], str(tmp_path / "none"), "--steps", "1"]) == 1
    assert str(tmp_path / "none") in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["BlockDCT", "--weight", "1", "--folder", str(tmp_path)])
