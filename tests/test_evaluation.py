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
from ra_core.evaluation import CLEAN_COLUMNS, Answers, confusion_counts, evaluate, evaluate_clean, tidy
from ra_core.judges import Recognizer, load_recognizer
from ra_core.metrics import psnr, ssim
from ra_core.models.processors import SRResNet

KEYS = {"profile": "quick", "task": "sr", "mode": "ra", "seed": 3}


class Level(Recognizer):
    """A recognizer whose answer is the grey level of the picture's first value, if that is a class."""

    def __init__(self, classes: int = 10, shift: int = 0):
        super().__init__(nn.Identity(), "it", (0,) * 3, (1,) * 3)
        self.classes, self.shift = classes, shift

    def forward(self, images):
        level = (images[:, 0, 0, 0] * 255).round() + self.shift
        return -(level[:, None] - torch.arange(self.classes)).abs()


class OffGrid(Recognizer):
    """A recognizer that answers 1 where a value lies between two grey levels, else 0."""

    def __init__(self):
        super().__init__(nn.Identity(), "off", (0,) * 3, (1,) * 3)

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
    for name, verdict in a.verdicts.items():
        tensors += [(value, vars(b.verdicts[name])[key]) for key, value in vars(verdict).items()]
    return a.verdicts.keys() == b.verdicts.keys() and all(torch.equal(*pair) for pair in tensors)


@pytest.fixture(scope="module")
def shipped() -> Pictures:
    whole = cifar10.load("shipped", "test")
    return whole.subset(torch.arange(40), "forty")


# --- answers


def test_answers_of_a_recognizer_that_reads_the_picture():
    pictures = of_level([0, 1, 2, 3, 9], [0, 1, 4, 9, 2])
    found = evaluate(Chain(), {"it": Level()}, pictures, batch=2).verdicts["it"]
    assert found.answer.tolist() == [0, 1, 2, 3, 9]
    assert found.top1.tolist() == [True, True, False, False, False]
    assert found.top5.tolist() == [True, True, True, False, False]  # 9 is 6 away, 2 is 7 away
    probabilities = Level()(pictures.batch(torch.arange(5))[0]).softmax(1)
    assert torch.allclose(found.confidence, probabilities.max(1).values)


def test_top5_of_few_classes_is_always_right():
    pictures = of_level([0, 1, 2], [2, 0, 1], classes=3)
    found = evaluate(Chain(), {"it": Level(3)}, pictures)
    assert found.verdicts["it"].value() == 0 and found.verdicts["it"].value("top5") == 100


@pytest.mark.parametrize("batch", [1, 3, 4, 7, 250])
def test_batch_size_and_an_uneven_last_batch_change_nothing(batch):
    pictures = of_level([0, 1, 2, 3, 4, 5, 6], [0, 1, 1, 1, 4, 4, 4])
    recognizers = {"a": Level(), "b": Level(shift=1)}
    for channel in (None, make_channel("dn"), make_channel("jpeg")):
        chain = Chain(channel, Add(-0.01))
        whole, parts = (evaluate(chain, recognizers, pictures, 7), evaluate(chain, recognizers, pictures, batch))
        assert equal(parts, whole)
        assert all(len(verdict.top1) == 7 for verdict in parts.verdicts.values())


def test_every_recognizer_sees_the_same_pictures_once():
    seen = {"a": [], "b": []}

    class Note(Level):
        def __init__(self, name):
            super().__init__()
            self.called = name

        def forward(self, images):
            seen[self.called].append(images)
            return super().forward(images)

    pictures = of_level([1, 2, 3], [1, 2, 3])
    evaluate(Chain(make_channel("dn")), {"a": Note("a"), "b": Note("b")}, pictures, batch=2)
    assert [len(images) for images in seen["a"]] == [2, 1]
    assert all(torch.equal(a, b) for a, b in zip(seen["a"], seen["b"], strict=True))


def test_noise_is_that_of_the_place_in_the_data_set(shipped):
    chain, names = Chain(make_channel("dn")), {"it": Level()}
    found = evaluate(chain, names, shipped, 7)
    whole, whole_ssim = found.psnr, found.ssim
    for i in (0, 6, 7, 39):
        image, _ = shipped.batch(torch.tensor([i]))
        stored = chain(image, torch.tensor([i]))["stored"]
        assert torch.equal(psnr(stored, image)[0], whole[i])
        assert torch.equal(ssim(stored, image)[0], whole_ssim[i])
    assert torch.equal(evaluate(chain, names, shipped, 40).psnr, whole)


# --- what is scored is what would be stored


def test_recognizers_see_the_8_bit_picture_not_the_float_one():
    pictures, between = of_level([10, 20, 30], [0, 0, 0], classes=2), Add(0.3 / 255)
    images, _ = pictures.batch(torch.arange(3))
    assert OffGrid()(between(images)).argmax(1).tolist() == [1, 1, 1]  # as float it would be wrong
    assert evaluate(Chain(None, between), {"it": OffGrid()}, pictures).verdicts["it"].value() == 100


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
    assert torch.equal(quick.psnr, full.psnr) and quick.verdicts["it"].value() == full.verdicts["it"].value()


def test_psnr_is_of_the_processor_s_picture_and_answers_are_of_the_transformer_s():
    pictures = of_level([1, 2, 3], [3, 4, 5])
    found = evaluate(Chain(None, Add(0.0), Add(2 / 255)), {"it": Level()}, pictures)
    assert (found.psnr == 100).all() and found.verdicts["it"].answer.tolist() == [3, 4, 5]


def test_psnr_is_the_mean_of_the_pictures_values():
    class Worse(nn.Module):
        """Spoil a picture the more, the darker it is."""

        def forward(self, images):
            return torch.where(images < 0.5, images + 0.5, images + 1 / 255)

    pictures = of_level([0, 200, 200], [0, 0, 0])
    found = evaluate(Chain(None, Worse()), {"it": Level()}, pictures, batch=2)
    expected = (20 * math.log10(255 / 128) + 2 * 20 * math.log10(255)) / 3
    row = tidy(found, "it", **KEYS)[0]
    assert row["psnr"] == pytest.approx(expected, abs=1e-3)
    of_mean_error = -10 * math.log10(((128 / 255) ** 2 + 2 / 255**2) / 3)
    assert row["psnr"] > of_mean_error + 20  # what a batch's mean would have said
    assert row["ssim"] == pytest.approx(found.ssim.mean().item())


# --- bytes, and detectors


@pytest.mark.parametrize("batch", [1, 7, 16, 40])
def test_bytes_are_those_of_each_picture_s_file_in_order(shipped, batch):
    codec, (images, _) = load_codec("jpeg"), shipped.batch(torch.arange(40))
    arrays = (images * 255).round().byte().permute(0, 2, 3, 1).numpy()
    found = evaluate(Chain(Coded(codec, 20)), {}, shipped, batch)
    assert found.bytes.tolist() == [len(file) for file in codec.encode(list(arrays), 20)]
    assert found.psnr.shape == (40,) and len(found.bytes.unique()) > 5


def test_without_a_codec_there_are_no_bytes():
    assert evaluate(Chain(make_channel("dn")), {}, of_level([1, 2], [0, 0])).bytes is None
    answers = evaluate(Chain(make_channel("dn")), {"it": Level()}, of_level([1, 2], [0, 0]))
    assert set(answers.summary("it")) == {"psnr", "ssim", "top1"} and np.isnan(tidy(answers, "it")[0]["bpp"])


@pytest.mark.parametrize("batch", [1, 4, 5, 250])
def test_what_a_detector_finds_is_kept_picture_by_picture(batch):
    pictures = boxed.pictures(9)
    found = evaluate(Chain(), {"bright": boxed.Bright()}, pictures, batch)
    assert list(found.verdicts) == ["bright"]
    assert len(found.verdicts["bright"].found) == 9 and (found.psnr == 100).all()
    for one, target in zip(found.verdicts["bright"].found, pictures.all_targets(), strict=True):
        assert torch.equal(one["boxes"], target["boxes"]) and torch.equal(one["labels"], target["labels"])
        assert one["scores"].item() == pytest.approx(230 / 255)


def test_a_detector_sees_what_was_decoded():
    pictures, detector, channel = boxed.pictures(5), boxed.Bright(), Coded(load_codec("jpeg"), 30)
    found = evaluate(Chain(channel), {"a": detector, "b": boxed.Bright()}, pictures, batch=2)
    decoded, sizes = channel.transmit(pictures.batch(torch.arange(5))[0])
    assert torch.equal(torch.cat(detector.seen), decoded) and torch.equal(found.bytes, sizes)
    assert set(found.verdicts) == {"a", "b"} and found.psnr.max() < 60


# --- clean pictures


def test_accuracy_on_clean_pictures_and_what_was_confused():
    pictures = of_level([0, 1, 2, 2, 1], [0, 1, 2, 1, 2], classes=3)
    frame = evaluate_clean({"a": Level(3), "b": Level(3, shift=1)}, pictures, "a", batch=2)
    assert list(frame.columns) == CLEAN_COLUMNS
    assert frame.family.tolist() == ["it", "it"] and not frame.black_box.any()
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
    assert oracle.verdicts["resnet20"].value() > max(75, unprocessed.verdicts["resnet20"].value())
    assert (oracle.psnr == 100).all() and 15 < unprocessed.psnr.mean() < 35
    assert processed.psnr.mean() < unprocessed.psnr.mean()  # an untrained processor spoils
    assert not any(tensor.requires_grad for tensor in vars(processed.verdicts["resnet20"]).values())
