"""A folder of photographs before a codec, labelled or not, all the way from the profile to the rate table."""

import json
from dataclasses import replace

import noise
import pytest
import tiny
import torch
from refusal import refusal

from ra_core.chain import Chain
from ra_core.channels import Coded
from ra_core.codecs import load_codec
from ra_core.errors import DataError, ParameterError
from ra_core.evaluation import evaluate
from ra_core.models.filters import Saliency
from ra_core.params import load_profile
from ra_core.runs import find_run, resolve
from ra_core.runs.shipped import _trained_as
from ra_core.steps import evaluate_codec, load_judges, pictures_of, train, trained

OWN = """\
preprocessing:
  photos:
    data: {kind: folder, source: data/photos, resize: 20, crop: 16}
    source: tiny:recognizer
    unseen: [tiny:another]
    recognition: soft_labels
    preprocessor: {width: 2, identity: true}
    training: {steps: 2, batch: 5, lr: 1e-3}
    evaluation_batch: 7
    codecs:
      jpeg: {curve: [5, 20, 60], rungs: [[5, 1], [60, 8]]}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A project with thirty pictures of several sizes."""
    tiny.project(tmp_path, tiny.PROFILE + OWN)
    monkeypatch.chdir(tmp_path)
    for seed in range(30):
        noise.save(tmp_path / "data" / "photos" / f"{seed:02}.png", seed)
    return tmp_path / "data" / "photos"


def label(folder):
    rows = [f"{path.name},{number % 3}\n" for number, path in enumerate(sorted(folder.glob("*.png")))]
    (folder / "labels.csv").write_text("file,index\n" + "".join(rows))


def profile(**data):
    changed = {"preprocessing": {"photos": {"data": data}}} if data else None
    return load_profile("tiny", changed).model_copy(update={"name": "tiny"})


def test_pictures_alone_go_the_whole_way_and_right_is_what_a_judge_says_of_the_clean_one(folder):
    rates, _ = evaluate_codec(profile(), "photos", "jpeg")
    assert set(rates.task) == {"classification"} and set(rates.metric) == {"top1"}
    assert set(rates.method) == {"codec", "npp_qa"} and set(rates.recognizer) == {"tiny:recognizer", "tiny:another"}
    run = resolve(profile(), "photos", "npp_qa", 0, "jpeg")
    facts = json.loads((run.folder / "run.json").read_text())["data"]
    assert sum(part["pictures"] for part in facts.values()) + rates.n.max() == 30
    assert run.own_pictures and facts["train"]["fingerprint"] == run.fingerprints()["train"]
    files = {part: set(pictures_of(profile(), "photos", part).files) for part in ("train", "validation", "test")}
    assert len(set.union(*files.values())) == 30 == sum(map(len, files.values()))
    (folder / run.splits()["train"].files[0]).unlink()
    assert "have changed" in refusal(DataError, train, run)


def test_labels_say_what_is_right_and_another_folder_may_be_the_one_reported_on(folder):
    label(folder)
    for seed in range(50, 57):
        noise.save(folder.parent / "others" / f"{seed}.png", seed)
    label(folder.parent / "others")
    here, apart = profile(), profile(test="data/others")
    known = {file: number % 3 for number, file in enumerate(sorted(path.name for path in folder.glob("*.png")))}
    test = pictures_of(here, "photos", "test")
    assert [known[file] for file in test.files] == test.labels.tolist() and len(test.classes) == 3
    assert pictures_of(apart, "photos", "test").files == tuple(f"{seed}.png" for seed in range(50, 57))
    assert pictures_of(apart, "photos", "test", 3).files == ("50.png", "52.png", "54.png")
    first, second = (resolve(one, "photos", "npp_qa", 0, "jpeg") for one in (here, apart))
    assert first.parameters == second.parameters  # what is only reported on changes no training
    kept = resolve(profile(cache="disk"), "photos", "npp_qa", 0, "jpeg")
    assert kept.parameters == first.parameters and kept.splits()["train"].cache and not first.splits()["train"].cache
    elsewhere = resolve(profile(source="data/copy"), "photos", "npp_qa", 0, "jpeg").parameters
    assert elsewhere != first.parameters and _trained_as(elsewhere) == _trained_as(first.parameters)
    rates, _ = evaluate_codec(apart, "photos", "jpeg")
    assert set(rates.n) == {7}


def test_labels_that_are_not_there_or_that_no_judge_knows_stop_before_any_training(folder):
    changed = {"preprocessing": {"photos": {"recognition": "labels"}}}
    run = resolve(load_profile("tiny", changed), "photos", "npp_qa", 0, "jpeg")
    said = refusal(DataError, train, run)
    assert said.startswith("photos/npp_qa-jpeg/seed0 learns from labels, and data/photos holds pictures alone; ")
    label(folder)
    assert torch.isfinite(torch.tensor([line["loss"] for line in tiny.log(train(run)) if "loss" in line])).all()
    (folder / "labels.csv").write_text((folder / "labels.csv").read_text().replace(",2", ",4"))
    run = resolve(profile(), "photos", "npp_qa", 0, "jpeg")
    assert "knows 3 classes" in refusal(ParameterError, train, run) and not (run.folder / "log.jsonl").exists()


def test_class_folders_go_through_a_codec_too(folder):
    for number, path in enumerate(sorted(folder.glob("*.png"))):
        place = folder / ("val" if number % 4 == 0 else "train") / "abc"[number % 3] / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        path.rename(place)
    given = profile(validation_per_class=2)
    sizes = {part: len(pictures_of(given, "photos", part)) for part in ("train", "validation", "test")}
    assert sizes == {"train": 16, "validation": 6, "test": 8}
    rates, _ = evaluate_codec(given, "photos", "jpeg")
    assert set(rates.n) == {8}


def test_a_finished_restoration_stands_behind_the_codec_alone_and_behind_the_preprocessor(folder):
    codecs = {"jpeg": {"receiver": "photos/jpeg/plain"}}
    own = load_profile("tiny", {"preprocessing": {"photos": {"codecs": codecs}}}).model_copy(update={"name": "tiny"})
    rates, _ = evaluate_codec(own, "photos", "jpeg")
    sizes = {method: rows.bytes_mean.tolist() for method, rows in rates.groupby("method")}
    assert sizes["post"] == sizes["codec"] != sizes["npp_qa"] == sizes["both"]  # a receiver changes no file
    run = resolve(own, "photos", "npp_qa", 0, "jpeg")
    net = find_run("photos/jpeg/plain").load("cpu")["processor"]
    chain = replace(run.chain(trained(run), 20), post=net)
    found = evaluate(chain, load_judges(["tiny:another"]), pictures_of(own, "photos", "test"))
    row = rates[(rates.method == "both") & (rates.quality == 20) & (rates.recognizer == "tiny:another")].iloc[0]
    assert row.value == pytest.approx(found.verdicts["tiny:another"].value(), abs=1e-4)
    assert row.psnr == pytest.approx(found.psnr.mean().item(), abs=1e-4)
    for name in ("photos/sr/plain", "coding/scenes/npp_qa-jpeg-optimized"):
        codecs = {"jpeg": {"receiver": name}}
        wrong = load_profile("tiny", {"preprocessing": {"photos": {"codecs": codecs}}})
        assert "own size" in refusal(ParameterError, evaluate_codec, wrong, "photos", "jpeg")
    both = {"jpeg": codecs["jpeg"] | {"both_ends": True}}
    assert "receiver" in refusal(ParameterError, load_profile, "tiny", {"preprocessing": {"photos": {"codecs": both}}})


def test_saliency_asks_the_source_and_sends_as_small_as_the_preprocessors(folder):
    codecs = {"jpeg": {"baselines": ["downscale", "saliency"], "shrink": 4 / 3, "rungs": []}}
    own = load_profile("tiny", {"preprocessing": {"photos": {"codecs": codecs}}}).model_copy(update={"name": "tiny"})
    rates, _ = evaluate_codec(own, "photos", "jpeg")
    source = load_judges(["tiny:recognizer"])
    chain = Chain(Coded(load_codec("jpeg"), 20, 4 / 3), pre=Saliency(source["tiny:recognizer"]))
    found = evaluate(chain, source, pictures_of(own, "photos", "test"))
    row = rates[(rates.method == "saliency") & (rates.quality == 20) & (rates.recognizer == "tiny:recognizer")].iloc[0]
    assert row.bytes_mean == pytest.approx(found.bytes.double().mean().item(), abs=1e-4)
    assert row.psnr == pytest.approx(found.psnr.mean().item(), abs=1e-4)
    plain = rates[(rates.method == "downscale") & (rates.quality == 20)].iloc[0]
    assert row.bytes_mean != plain.bytes_mean
