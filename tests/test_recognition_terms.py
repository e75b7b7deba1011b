"""Recognition terms of a source: their values, where their gradients point, and their random numbers."""

import pytest
import tiny
import torch
from posterised import generator, images, labels
from torch.nn import functional as F
from trouble import Interrupt, Interrupted

import ra_core.recognition_terms as terms
from ra_core.channels import Noise
from ra_core.data.draws import StepGenerator
from ra_core.judges import Ensemble, load_recognizer
from ra_core.methods import METHODS, find_method
from ra_core.objectives import Restoration, recognition_term

APART = {"ra_kl": terms.softened, "ra_logits": terms.logits_apart, "ra_features": terms.features_apart}


@pytest.fixture(scope="module")
def judge():
    return load_recognizer("resnet20")


@pytest.fixture(scope="module")
def pair():
    """Pictures as restored, and the clean ones."""
    clean = torch.rand(3, 3, 32, 32, generator=generator(1))
    return (clean + 0.1 * torch.randn(clean.shape, generator=generator(2))).clamp(0, 1), clean


@pytest.mark.parametrize("name", APART)
def test_a_distance_is_zero_at_the_clean_picture_and_its_gradient_leads_there(judge, pair, name):
    seen, clean = pair
    term = METHODS[name].recognition
    assert term is APART[name] and not METHODS[name].needs_labels and not METHODS[name].random_numbers
    assert term(judge, clean, clean, None).abs().max() < 1e-4
    given = seen.clone().requires_grad_(True)
    found = term(judge, given, clean, None)
    assert found.shape == (3,) and (found > 0).all()
    found.sum().backward()
    assert given.grad.flatten(1).norm(dim=1).min() > 0
    nearer = (seen - 1e-3 * given.grad / given.grad.flatten(1).norm(dim=1)[:, None, None, None]).detach()
    assert (term(judge, nearer, clean, None) < found).all()


def test_values_are_those_of_the_equations(judge, pair):
    seen, clean = pair
    p, q = ((judge(each) / 4).softmax(1) for each in (clean, seen))
    divergence = 16 * (p * (p / q).log()).sum(1)
    assert torch.allclose(terms.softened(judge, seen, clean, None), divergence, rtol=1e-3, atol=1e-4)
    apart = (judge(seen) - judge(clean)).square().sum(1) / 10
    assert torch.allclose(terms.logits_apart(judge, seen, clean, None), apart, rtol=1e-4)
    maps = terms.features(judge, clean)
    assert maps.shape == (3, 64, 8, 8)
    assert torch.allclose(judge.net[-1](maps.mean((2, 3))), judge(clean), atol=1e-4)  # what the classifier pools
    scaled = (terms.features(judge, seen) - maps).square().sum((1, 2, 3)) / maps.square().sum((1, 2, 3))
    assert torch.allclose(terms.features_apart(judge, seen, clean, None), scaled)
    assert not judge.net[-3]._forward_pre_hooks  # the hook is gone


def test_pictures_are_resized_and_shifted_by_their_numbers():
    shown = torch.zeros(1, 3, 16, 16)
    shown[..., 8, 8] = 1.0
    assert torch.allclose(terms.resized_and_shifted(shown, torch.full((1, 3), 0.5)), shown, atol=1e-5)
    right = torch.tensor([[0.5, 0.0, 0.5]])  # the picture is looked at an eighth of its side further to the left
    assert torch.allclose(terms.resized_and_shifted(shown, right), shown.roll(2, -1), atol=1e-5)
    disc = torch.zeros(1, 3, 16, 16)
    disc[..., 4:12, 4:12] = 1.0
    areas = [terms.resized_and_shifted(disc, torch.tensor([[n, 0.5, 0.5]])).sum() for n in (0.0, 0.5, 0.999)]
    assert areas[0] < 0.7 * areas[1] < areas[1] < areas[2] / 1.3


def test_diverse_is_the_cross_entropy_of_what_was_changed(judge, pair):
    seen, numbers, known = pair[0].clone().requires_grad_(True), torch.rand(3, 3, generator=generator(5)), labels()[:3]
    found = terms.diverse(judge, seen, None, known, numbers)
    changed = terms.resized_and_shifted(seen, numbers)
    assert torch.equal(found, F.cross_entropy(judge(changed), known, reduction="none"))
    assert not torch.allclose(found, terms.diverse(judge, seen, None, known, 1 - numbers))
    found.sum().backward()
    assert seen.grad.flatten(1).norm(dim=1).min() > 0


def test_random_numbers_follow_from_the_step_and_from_no_process():
    objective = Restoration(find_method("ra_diverse"), Noise(0.1), tiny.source())
    shown, known = images(), labels()
    count = len(shown)

    def prepared(part):
        return objective.prepare(shown[part], known[part], StepGenerator(7, count, part))

    whole = prepared(slice(None))
    assert whole["numbers"].shape == (count, 3) and 0 <= whole["numbers"].min() < whole["numbers"].max() < 1
    halves = [prepared(part) for part in (slice(0, 2), slice(2, None))]
    for key in ("numbers", "degraded"):
        assert torch.equal(torch.cat([half[key] for half in halves]), whole[key])
    plain = Restoration(find_method("plain"), Noise(0.1)).prepare(shown, known, StepGenerator(7, count, slice(None)))
    assert torch.equal(plain["degraded"], whole["degraded"])  # the noise of every mode is the same
    assert "numbers" not in plain


@pytest.mark.parametrize("name", ["ra", "ra_unsupervised", "ra_kl", "ra_features", "ra_diverse"])
def test_a_term_of_an_ensemble_is_the_mean_of_its_members(pair, name):
    members = [load_recognizer(each) for each in ("resnet20", "vgg8")]
    seen, clean = pair
    given = [labels()[:3], *([torch.rand(3, 3)] if name == "ra_diverse" else [])]
    kind = METHODS[name].recognition
    each = [recognition_term(kind, one, seen, clean, *given) for one in members]
    found = recognition_term(kind, Ensemble(members), seen, clean, *given)
    assert torch.allclose(found, (each[0] + each[1]) / 2) and not torch.allclose(each[0], each[1])


def test_an_interrupted_training_goes_on_with_the_same_random_numbers(tmp_path):
    def trained(folder, **how):
        tiny.train(folder, "ra_diverse", recognizer=load_recognizer("resnet20"), **how)
        return tiny.weights(folder)

    once = trained(tmp_path / "once")
    with pytest.raises(Interrupt):
        trained(tmp_path / "again", channel=Interrupted(3))
    assert trained(tmp_path / "again") == once
