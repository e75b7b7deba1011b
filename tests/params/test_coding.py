import pytest
from refusal import refusal

from ra_core.data import DATASETS
from ra_core.errors import ParameterError
from ra_core.params import Data, Network, own_folder
from ra_core.params.coding import Ladder, LearnedProxy, Preprocessing

EXAMPLE = """\
preprocessing:
  cells:
    source: cell_resnet20
    unseen: [cell_vgg8]
    preprocessor: {width: 8, identity: true}
    training: {steps: 40, batch: 4, lr: 1e-3}
    codecs:
      jpeg:
        curve: [5, 10, 25.5]
        rungs: [[10, 2], [25, 4.5]]
        single: [10]
        npp_mse: [25]
        baselines: [downscale, gaussian]
      heic: {curve: [34, 44], proxy: Hyperprior}
    transfer: {webp: [10, 50]}
"""


def test_a_profile_may_have_preprocessing_or_none(write):
    assert write("").preprocessing == {}
    profile = write(EXAMPLE)
    settings = profile.coding("cells")
    assert settings.judges == ["cell_resnet20", "cell_vgg8"]
    assert (settings.preprocessor.width, settings.preprocessor.identity) == (8, True)
    assert (settings.training.length(100), settings.training.lr) == (40, 1e-3)
    jpeg, heic = settings.codecs["jpeg"], settings.codecs["heic"]
    assert type(profile).model_validate(profile.model_dump()) == profile
    assert jpeg.curve == [5, 10, 25.5] and jpeg.rungs == [[10, 2], [25, 4.5]] and jpeg.proxy == "BlockDCT"
    assert (heic.rungs, heic.single, heic.npp_mse, heic.baselines) == ([], [], [], [])
    assert heic.proxy == "Hyperprior" and settings.transfer == {"webp": [10, 50]}


def test_defaults_are_the_published_form():
    settings = Preprocessing(source="a", codecs={"jpeg": Ladder(curve=[1, 2])})
    published = settings.preprocessor
    assert (published.width, published.identity, published.batch_norm) == (32, False, "frozen")
    assert (settings.mse_weight, settings.recognition, settings.unseen) == (0.5, "labels", [])
    assert settings.postprocessor == Network(residual=True) and settings.restoration_weight == 1000
    assert not settings.codecs["jpeg"].both_ends


def test_a_data_set_that_a_profile_lacks_is_refused(write):
    said = refusal(ParameterError, write(EXAMPLE).coding, "scenes")
    assert said == "profile mine has no preprocessing for 'scenes'; choose one of cells."
    assert refusal(ParameterError, write("").coding, "scenes").endswith("choose one of none.")


def test_overrides_reach_every_place(write):
    changes = {"cells": {"training": {"steps": 2}, "codecs": {"jpeg": {"curve": [10, 90]}}}}
    settings = write(EXAMPLE, preprocessing=changes).coding("cells")
    assert settings.training.steps == 2 and settings.training.batch == 4
    assert settings.codecs["jpeg"].curve == [10, 90] and settings.codecs["jpeg"].single == [10]
    assert list(settings.codecs) == ["jpeg", "heic"]


CELLS, JPEG = "preprocessing.cells", "preprocessing.cells.codecs.jpeg"


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (f"{CELLS}.sauce", 1, "'sauce' is an unknown key; known here are data, trained, source, unseen,"),
        (f"{JPEG}.q", 1, f"{JPEG}: 'q' is an unknown key; known here are curve, rungs, adaptive_steps,"),
        ("preprocessing.scenes", {"source": "fcos"}, "preprocessing.scenes.codecs: Field required"),
        (f"{JPEG}.curve", [5, "x"], "jpeg.curve.1 = 'x': "), (f"{JPEG}.rungs", [10], "jpeg.rungs.0 = 10: "),
        (JPEG, None, "jpeg = None: "), (f"{JPEG}.curve", [5], "jpeg.curve = [5]: List should have at least 2 items"),
        (f"{JPEG}.rungs", [[10]], "a rung is [quality, lambda], the lambda above 0"),
        (f"{JPEG}.rungs", [[10, 0]], "a rung is [quality, lambda], the lambda above 0"),
        (f"{JPEG}.single", [11], "single has 11.0, which is the quality of no rung"),
        (f"{JPEG}.npp_mse", [5], "npp_mse has 5.0, which is the quality of no rung"),
        (f"{CELLS}.codecs.heic.both_ends", True, "both_ends needs rungs to train on"),
        (f"{CELLS}.postprocessor", {"name": "SRDenseNet", "residual": True}, "only SRResNet can be residual"),
        (f"{CELLS}.restoration_weight", 0, "cells.restoration_weight = 0: Input should be greater than 0"),
        (f"{JPEG}.baselines", ["box"], "= 'box': Input should be 'downscale', 'gaussian', 'bilateral' or 'saliency'"),
        (f"{JPEG}.proxy", "BPG", "= 'BPG': proxy 'BPG' is unknown; choose one of "),
        (f"{CELLS}.transfer.webp", [3], "cells.transfer.webp = [3]: List should have at least 2 items"),
        (f"{CELLS}.unseen", ["a", "a"], "source = 'cell_resnet20' and unseen = ['a', 'a'] must be different"),
        (f"{CELLS}.recognition", "boxes", "= 'boxes': Input should be 'labels' or 'soft_labels'"),
        (f"{CELLS}.training.epochs", 1.0, "give epochs or steps, not both"),
        ("preprocessing.more", {"source": "a", "codecs": {}}, "more.codecs: Dictionary should have at least 1 item"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_sentence(write, place, value, said):
    for key in reversed(place.split(".")):
        value = {key: value}
    found = refusal(ParameterError, write, EXAMPLE, **value)
    assert said in found, found


PROXY = "name: Minnen2018, n: 192, m: 192, weights: [128], training: {steps: 9}"


def test_the_learned_proxy_is_what_ships_or_what_the_profile_says(write):
    usual = write(EXAMPLE).proxy
    assert usual == LearnedProxy() and usual.name == "Hyperprior" and usual.training.length(10**6) == 3000
    other = write(f"proxy: {{{PROXY}}}").proxy
    assert (other.name, other.n, other.weights, other.training.steps) == ("Minnen2018", 192, [128], 9)
    assert "codecs.heic.proxy = 'Hyperprior', but the learned proxy, proxy.name, is 'Minnen2018'" in refusal(
        ParameterError, write, EXAMPLE + f"proxy: {{{PROXY}}}"
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("name: BlockDCT", "proxy.name = 'BlockDCT' has nothing to learn"),
        ("weights: [1, 1]", "weights must be different"),
        ("weights: [0]", "proxy.weights.0 = 0: Input should be greater than 0"),
        ("weights: []", "proxy.weights = []: "),
        ("n: 1", "proxy.n = 1: "),
        ("training: {steps: null, epochs: 2}", "the length of a proxy's training is given in steps."),
    ],
)
def test_a_learned_proxy_that_cannot_be_is_refused(write, given, said):
    assert said in refusal(ParameterError, write, f"proxy: {{{given}}}")


OWN = """\
preprocessing:
  street:
    data: {folder: data/street, names: {tram: train, logo: null}, parts: {train: a, test: b}}
    source: fcos_resnet50_fpn
    codecs: {jpeg: {curve: [10, 50]}}
"""


def test_a_data_set_of_ones_own_has_any_name(write):
    settings = write(OWN).coding("street")
    assert settings.data.names == {"tram": "train", "logo": None} and settings.data.resize == 0


TWO = "folder, source: data/photos/train, test: data/photos/test"
PHOTOS = OWN.replace(
    "{folder: data/street, names: {tram: train, logo: null}, parts: {train: a, test: b}}", f"{{kind: {TWO}}}"
)


def test_a_folder_before_a_codec_may_be_one_as_restoration_has_it(write):
    profile = write(PHOTOS)
    data = profile.coding("street").data
    assert data == Data(kind="folder", source="data/photos/train", test="data/photos/test")
    assert type(profile).model_validate(profile.model_dump()) == profile
    for settings in (data, write(OWN).coding("street").data):
        assert own_folder(settings.model_dump()) == settings


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (TWO, "cells", "preprocessing.street.data.kind = 'cells' is not allowed; write folder, or"),
        ("kind: folder", "kind: folder, crop: 300", "street.data: a crop of 300 pixels does not fit into the 256"),
        ("kind: folder", "kind: folder, names: {}", "street.data: 'names' is an unknown key; known here are kind,"),
        ("kind: folder, ", "", "street.data: 'source' is an unknown key; known here are folder,"),
        (f"{{kind: {TWO}}}", "data/x", "street.data = 'data/x': "),
    ],
)
def test_what_is_wrong_with_such_a_folder_is_one_sentence(write, old, new, said):
    found = refusal(ParameterError, write, PHOTOS.replace(old, new))
    assert said in found, found


JUDGED = """\
processors: photos
data: &data {kind: boxes, source: data/street}
tasks: {jpeg: {}}
source: null
unseen: [a]
preprocessing:
  street:
    trained: photos_coding/photos
    data: *data
    source: null
    unseen: [a, b]
    codecs: {jpeg: {curve: [10, 50], baselines: [downscale], receiver: photos/jpeg/ra}}
"""


def test_a_data_set_may_only_judge_what_is_finished(write):
    profile = write(JUDGED)
    settings = profile.coding("street")
    assert settings.judges == ["a", "b"] and settings.data == profile.data and profile.learning == {}
    assert list(write(EXAMPLE).learning) == ["cells"]
    assert type(profile).model_validate(profile.model_dump()) == profile


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("trained: photos_coding/photos", "trained: null", "source is null: name finished runs under trained, and"),
        ("unseen: [a, b]", "unseen: []", "source is null: name finished runs under trained, and judges under unseen"),
        ("[10, 50]", "[10, 50], shrink: 2", "codecs.jpeg.shrink is known from photos_coding/photos; leave it out"),
        ("[10, 50]", "[10, 50], rungs: [[10, 1]]", "codecs.jpeg.rungs is known from photos_coding/photos; leave it"),
        ("[downscale]", "[downscale, saliency]", "codecs.jpeg.baselines has saliency, which asks the source, and"),
        ("[downscale]", "[gaussian]", "baselines has gaussian, which asks the source, and source is null; only down"),
        ("data: *data", "data: {kind: cells}", "data.kind = 'cells' is not allowed; write folder or boxes, or name a"),
        ("trained: photos_coding/photos\n    data: *data\n    source: null", "data: *data\n    source: c",
         "processors are only judged; move preprocessing that trains into another profile, or name trained there"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_judging_alone_is_one_sentence(write, old, new, said):
    found = refusal(ParameterError, write, JUDGED.replace(old, new))
    assert said in found, found


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("street:", "scenes:", "preprocessing.scenes has its own pictures; give those in data another name."),
        (
            "    data: ", "    unseen: []  # ",
            "street has no data; name DATA SETS, or state data: ",
        ),
        ("street:", "jpeg:", "preprocessing.jpeg cannot be the name of a data set; use small letters,"),
        ("street:", "'no':", "preprocessing.no cannot be the name of a data set; use small letters,"),
        ("street:", "a-b:", "preprocessing.a-b cannot be the name of a data set; use small letters,"),
        ("{train: a, test: b}", "{test: b}", "parts must name train and test, or nothing"),
        ("parts: {train: a, test: b}", "test_share: 0.9", "test_share and validation_share leave nothing to train on"),
        ("parts: {train: a, test: b}", "resize: -1", "data.resize = -1: Input should be greater than or equal to 0"),
        ("parts: {train: a, test: b}", "kind: voc", "data: 'kind' is an unknown key; known here are folder,"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_ones_own_is_one_sentence(write, old, new, said):
    found = refusal(ParameterError, write, OWN.replace(old, new))
    assert said.replace("DATA SETS", " or ".join(DATASETS)) in found, found
