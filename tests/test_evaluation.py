import math

import boxed
import numpy as np
import pytest
import torch
from refusal import refusal
from torch import nn

from ra_core.chain import Chain
from ra_core.channels import Coded, make_channel
from ra_core.codecs import load_codec
from ra_core.data import Pictures, cifar10
from ra_core.errors import ParameterError
from ra_core.evaluation import (
    ACCURACY_COLUMNS,
    PAIRED_COLUMNS,
    Answers,
    accuracy_rows,
    confusion_counts,
    evaluate,
    evaluate_clean,
    is_detector,
    paired_rows,
    table,
)
from ra_core.metrics import paired_difference, proportion_interval, psnr, ssim
from ra_core.models.processors import SRResNet
from ra_core.judges.recognizer import load_recognizer

KEYS = {"profile": "quick", "task": "sr", "mode": "ra", "seed": 3}


class Level(nn.Module):
    """A recognizer whose answer is the grey level of the picture's first value, if that is a class."""

    def __init__(self, classes: int = 10, shift: int = 0):
        super().__init__()
        self.classes, self.shift = classes, shift

    def forward(self, images):
        level = (images[:, 0, 0, 0] * 255).round() + self.shift
        return -(level[:, None] - torch.arange(self.classes)).abs()


class OffGrid(nn.Module):
    """A recognizer that answers 1 where a value lies between two grey levels, else 0."""

    def forward(self, images):
        levels = images.flatten(1) * 255
        off = ((levels - levels.round()).abs().amax(1) > 0.05).float()
        return torch.stack([1 - off, off], 1)


class Add(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, images):
        return images + self.value


def of_level(levels: list[int], labels: list[int], classes: int = 10) -> Pictures:
    """Return plain grey pictures of the given levels."""
    images = torch.tensor(levels, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 16, 16).contiguous()
    return Pictures(images, torch.tensor(labels), tuple(map(str, range(classes))), "made")


def equal(a: Answers, b: Answers) -> bool:
    tensors = [(a.psnr, b.psnr), (a.ssim, b.ssim)]
    for name in a.by_recognizer:
        tensors += [(a.by_recognizer[name][key], b.by_recognizer[name][key]) for key in a.by_recognizer[name]]
    return a.by_recognizer.keys() == b.by_recognizer.keys() and all(torch.equal(*pair) for pair in tensors)


@pytest.fixture(scope="module")
def shipped() -> Pictures:
    whole = cifar10.load("shipped", "test")
    return whole.subset(torch.arange(40), "forty")


# --- answers


def test_answers_of_a_recognizer_that_reads_the_picture():
    pictures = of_level([0, 1, 2, 3, 9], [0, 1, 4, 9, 2])
    found = evaluate(Chain(), {"it": Level()}, pictures, batch=2).by_recognizer["it"]
    assert found["answer"].tolist() == [0, 1, 2, 3, 9]
    assert found["top1"].tolist() == [True, True, False, False, False]
    assert found["top5"].tolist() == [True, True, True, False, False]  # 9 is 6 away, 2 is 7 away
    probabilities = Level()(pictures.batch(torch.arange(5))[0]).softmax(1)
    assert torch.allclose(found["confidence"], probabilities.max(1).values)


def test_top5_of_few_classes_is_always_right():
    pictures = of_level([0, 1, 2], [2, 0, 1], classes=3)
    found = evaluate(Chain(), {"it": Level(3)}, pictures)
    assert found.share("it") == 0 and found.share("it", "top5") == 100


@pytest.mark.parametrize("batch", [1, 3, 4, 7, 250])
def test_batch_size_and_an_uneven_last_batch_change_nothing(batch):
    pictures = of_level([0, 1, 2, 3, 4, 5, 6], [0, 1, 1, 1, 4, 4, 4])
    recognizers = {"a": Level(), "b": Level(shift=1)}
    for channel in (None, make_channel("dn"), make_channel("jpeg")):
        chain = Chain(channel, Add(-0.01))
        whole, parts = (evaluate(chain, recognizers, pictures, 7), evaluate(chain, recognizers, pictures, batch))
        assert equal(parts, whole)
        assert all(len(record["top1"]) == 7 for record in parts.by_recognizer.values())


def test_every_recognizer_sees_the_same_pictures_once():
    seen = {"a": [], "b": []}

    class Note(Level):
        def __init__(self, name):
            super().__init__()
            self.name = name

        def forward(self, images):
            seen[self.name].append(images)
            return super().forward(images)

    pictures = of_level([1, 2, 3], [1, 2, 3])
    evaluate(Chain(make_channel("dn")), {"a": Note("a"), "b": Note("b")}, pictures, batch=2)
    assert [len(images) for images in seen["a"]] == [2, 1]
    assert all(torch.equal(a, b) for a, b in zip(seen["a"], seen["b"], strict=True))


def test_noise_is_that_of_the_place_in_the_data_set(shipped):
    chain, names = Chain(make_channel("dn")), {"it": Level()}
    whole = evaluate(chain, names, shipped, 7).psnr
    for i in (0, 6, 7, 39):
        image, _ = shipped.batch(torch.tensor([i]))
        stored = chain(image, torch.tensor([i]))["stored"]
        assert torch.equal(psnr(stored, image)[0], whole[i])
    assert torch.equal(evaluate(chain, names, shipped, 40).psnr, whole)


# --- what is scored is what would be stored


def test_recognizers_see_the_8_bit_picture_not_the_float_one():
    pictures, between = of_level([10, 20, 30], [0, 0, 0], classes=2), Add(0.3 / 255)
    images, _ = pictures.batch(torch.arange(3))
    assert OffGrid()(between(images)).argmax(1).tolist() == [1, 1, 1]  # as float it would be wrong
    assert evaluate(Chain(None, between), {"it": OffGrid()}, pictures).share("it") == 100


def test_psnr_and_ssim_are_of_the_8_bit_picture():
    pictures = of_level([10, 20, 30], [0, 0, 0])
    rounded_away = evaluate(Chain(None, Add(0.3 / 255)), {}, pictures)
    assert (rounded_away.psnr == 100).all() and (rounded_away.ssim == 1).all()
    one_level = evaluate(Chain(None, Add(0.7 / 255)), {}, pictures)
    assert torch.allclose(one_level.psnr, torch.tensor(20 * math.log10(255)), atol=1e-3)


def test_ssim_is_left_out_where_it_is_not_asked_for():
    pictures = of_level([10, 20, 30], [0, 0, 0])
    quick, full = (evaluate(Chain(None, Add(0.1)), {"it": Level()}, pictures, with_ssim=w) for w in (False, True))
    assert quick.ssim is None and full.ssim.shape == (3,)
    assert torch.equal(quick.psnr, full.psnr) and quick.share("it") == full.share("it")


def test_psnr_is_of_the_processor_s_picture_and_answers_are_of_the_transformer_s():
    pictures = of_level([1, 2, 3], [3, 4, 5])
    found = evaluate(Chain(None, Add(0.0), Add(2 / 255)), {"it": Level()}, pictures)
    assert (found.psnr == 100).all() and found.by_recognizer["it"]["answer"].tolist() == [3, 4, 5]


def test_psnr_is_the_mean_of_the_pictures_values():
    class Worse(nn.Module):
        """Spoil a picture the more, the darker it is."""

        def forward(self, images):
            return torch.where(images < 0.5, images + 0.5, images + 1 / 255)

    pictures = of_level([0, 200, 200], [0, 0, 0])
    found = evaluate(Chain(None, Worse()), {"it": Level()}, pictures, batch=2)
    expected = (20 * math.log10(255 / 128) + 2 * 20 * math.log10(255)) / 3
    row = accuracy_rows(found, "it", **KEYS)[0]
    assert row["psnr"] == pytest.approx(expected, abs=1e-3)
    of_mean_error = -10 * math.log10(((128 / 255) ** 2 + 2 / 255**2) / 3)
    assert row["psnr"] > of_mean_error + 20  # what a batch's mean would have said
    assert row["ssim"] == pytest.approx(found.ssim.mean().item())


def test_psnr_of_real_pictures_is_that_of_metrics(shipped):
    found = evaluate(Chain(make_channel("jpeg")), {}, shipped, 16)
    images, _ = shipped.batch(torch.arange(40))
    degraded = make_channel("jpeg")(images)
    assert torch.equal(found.psnr, psnr(degraded, images))
    assert torch.allclose(found.ssim, ssim(degraded, images), atol=1e-6)


# --- bytes, and detectors


@pytest.mark.parametrize("batch", [1, 7, 16, 40])
def test_bytes_are_those_of_each_picture_s_file_in_order(shipped, batch):
    codec, (images, _) = load_codec("jpeg"), shipped.batch(torch.arange(40))
    arrays = (images * 255).round().byte().permute(0, 2, 3, 1).numpy()
    found = evaluate(Chain(Coded(codec, 20)), {}, shipped, batch)
    assert found.bytes.tolist() == [len(file) for file in codec.encode(list(arrays), 20)]
    assert found.psnr.shape == (40,) and len(found.bytes.unique()) > 5


def test_without_a_codec_there_are_no_bytes():
    assert evaluate(Chain(make_channel("jpeg")), {}, of_level([1, 2], [0, 0])).bytes is None


@pytest.mark.parametrize("batch", [1, 4, 5, 250])
def test_what_a_detector_finds_is_kept_picture_by_picture(batch):
    pictures = boxed.pictures(9)
    found = evaluate(Chain(), {"bright": boxed.Bright()}, pictures, batch)
    assert list(found.detections) == ["bright"] and found.by_recognizer == {}
    assert len(found.detections["bright"]) == 9 and (found.psnr == 100).all()
    for one, target in zip(found.detections["bright"], pictures.all_targets(), strict=True):
        assert torch.equal(one["boxes"], target["boxes"]) and torch.equal(one["labels"], target["labels"])
        assert one["scores"].item() == pytest.approx(230 / 255)


def test_a_detector_sees_what_was_decoded():
    pictures, detector, channel = boxed.pictures(5), boxed.Bright(), Coded(load_codec("jpeg"), 30)
    found = evaluate(Chain(channel), {"a": detector, "b": boxed.Bright()}, pictures, batch=2)
    decoded, sizes = channel.transmit(pictures.batch(torch.arange(5))[0])
    assert torch.equal(torch.cat(detector.seen), decoded) and torch.equal(found.bytes, sizes)
    assert set(found.detections) == {"a", "b"} and found.psnr.max() < 60


def test_a_detector_is_told_from_a_recognizer():
    assert is_detector(boxed.Bright()) and not is_detector(Level()) and not is_detector(load_recognizer("resnet20"))


# --- rows


def made_answers(**right: list[int]) -> Answers:
    """Return answers with the given pictures right at first and all at fifth."""
    records = {}
    for name, flags in right.items():
        top1 = torch.tensor(flags).bool()
        records[name] = {"top1": top1, "top5": torch.ones_like(top1)}
    return Answers(torch.tensor([20.0, 30.0, 25.0, 21.0]), torch.tensor([0.5, 0.7, 0.6, 0.2]), records)


def test_accuracy_rows_hold_exactly_the_contract():
    assert ",".join(ACCURACY_COLUMNS) == (
        "profile,task,mode,seed,recognizer,role,n,top1,top1_low,top1_high,top5,psnr,ssim"
    )
    answers = made_answers(mine=[1, 1, 0, 1], other=[0, 0, 0, 1])
    rows = accuracy_rows(answers, "mine", **KEYS)
    assert all(set(row) == set(ACCURACY_COLUMNS) for row in rows)
    frame = table(rows, ACCURACY_COLUMNS)
    assert list(frame.columns) == ACCURACY_COLUMNS
    assert frame.to_csv(index=False).splitlines() == [
        ",".join(ACCURACY_COLUMNS),
        "quick,sr,ra,3,mine,source,4,75.0,30.0642,95.4413,100.0,24.0,0.5",
        "quick,sr,ra,3,other,unseen,4,25.0,4.5587,69.9358,100.0,24.0,0.5",
    ]
    interval = proportion_interval(answers.by_recognizer["mine"]["top1"])
    assert (rows[0]["top1"], rows[0]["top1_low"], rows[0]["top1_high"]) == interval


def test_oracle_has_no_psnr_and_leaves_its_cell_empty():
    rows = accuracy_rows(made_answers(mine=[1, 1, 0, 1]), "mine", **KEYS | {"mode": "oracle", "seed": 0})
    assert np.isnan(rows[0]["psnr"]) and np.isnan(rows[0]["ssim"])
    line = table(rows, ACCURACY_COLUMNS).to_csv(index=False).splitlines()[1]
    assert line == "quick,sr,oracle,0,mine,source,4,75.0,30.0642,95.4413,100.0,,"


def test_paired_rows_hold_exactly_the_contract():
    assert ",".join(PAIRED_COLUMNS) == "profile,task,mode,seed,recognizer,role,n,difference,low,high"
    ra = made_answers(mine=[1, 1, 0, 1], other=[0, 1, 0, 0])
    plain = made_answers(mine=[0, 1, 0, 0], other=[1, 1, 0, 0])
    rows = paired_rows(ra, plain, "other", **KEYS)
    assert all(set(row) == set(PAIRED_COLUMNS) for row in rows)
    assert list(table(rows, PAIRED_COLUMNS).columns) == PAIRED_COLUMNS
    found = {row["recognizer"]: row for row in rows}
    assert found["mine"]["difference"] == 50 and found["other"]["difference"] == -25
    assert found["mine"]["role"] == "unseen" and found["other"]["role"] == "source"
    assert {row["n"] for row in rows} == {4} and {row["mode"] for row in rows} == {"ra"}
    for name, row in found.items():
        pair = (answers.by_recognizer[name]["top1"] for answers in (ra, plain))
        assert (row["difference"], row["low"], row["high"]) == paired_difference(*pair)
        assert row["low"] < row["difference"] < row["high"]


def test_the_paired_interval_is_of_the_same_pictures():
    """The same two accuracies say more when the answers differ on few pictures."""
    right, shifted = [1, 1, 0, 0] * 25, [0, 0, 1, 1] * 25
    better = [1, 1, 1, 0, *right[4:]]

    def width(a, b):
        row = paired_rows(made_answers(it=a), made_answers(it=b), "it", **KEYS)[0]
        return row["high"] - row["low"], row["difference"]

    assert width(better, right)[1] == width(better, shifted)[1] == 1
    assert width(better, right)[0] < width(better, shifted)[0] / 3


def test_a_table_without_rows_keeps_its_columns():
    assert list(table([], PAIRED_COLUMNS).columns) == PAIRED_COLUMNS and len(table([], PAIRED_COLUMNS)) == 0


# --- clean pictures


def test_accuracy_on_clean_pictures_and_what_was_confused():
    pictures = of_level([0, 1, 2, 2, 1], [0, 1, 2, 1, 2], classes=3)
    frame = evaluate_clean({"a": Level(3), "b": Level(3, shift=1)}, pictures, "a", batch=2)
    assert list(frame.columns) == ["recognizer", "role", "n", "top1", "top1_low", "top1_high", "top5"]
    assert frame.recognizer.tolist() == ["a", "b"] and frame.role.tolist() == ["source", "unseen"]
    assert frame.top1.tolist() == [60.0, 40.0] and frame.n.tolist() == [5, 5]
    counts = confusion_counts(Level(3), pictures, batch=2)
    assert counts.tolist() == [[1, 0, 0], [0, 1, 1], [0, 1, 1]]


def test_a_recognizer_of_other_classes_is_refused():
    pictures = of_level([0, 1, 7], [0, 1, 1], classes=2)
    said = refusal(ParameterError, confusion_counts, Level(10), pictures)
    assert said.startswith("recognizer 'it' knows 10 classes and") and "has 2;" in said


# --- the whole, on real pictures


@pytest.mark.parametrize("task", ["sr", "dn", "jpeg"])
def test_a_real_recognizer_on_real_pictures(shipped, task):
    torch.manual_seed(0)
    recognizer, channel = load_recognizer("resnet20"), make_channel(task)
    oracle = evaluate(Chain(), {"resnet20": recognizer}, shipped, 16)
    unprocessed = evaluate(Chain(channel), {"resnet20": recognizer}, shipped, 16)
    processed = evaluate(Chain(channel, SRResNet(channel.scale, 4, 1)), {"resnet20": recognizer}, shipped, 16)
    assert oracle.share("resnet20") > 75 and oracle.share("resnet20") > unprocessed.share("resnet20")
    assert (oracle.psnr == 100).all() and 15 < unprocessed.psnr.mean() < 35
    assert processed.psnr.mean() < unprocessed.psnr.mean()  # an untrained processor spoils
    assert not any(tensor.requires_grad for tensor in processed.by_recognizer["resnet20"].values())
