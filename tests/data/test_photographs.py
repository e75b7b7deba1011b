"""Photographs that come with packages."""

import pytest
import torch
from refusal import refusal

from ra_core.data import photographs
from ra_core.errors import DataError


def test_the_pictures_in_foolbox_have_the_labels_of_their_names():
    pictures = photographs.in_foolbox()
    images, labels = pictures.batch(torch.tensor([0, 3]))
    assert len(pictures) == 20 and images.shape == (2, 3, 224, 224)
    assert [pictures.classes[label] for label in labels] == ["bull mastiff", "buckeye"]
    assert pictures.files[3] == "imagenet_03_990.jpg"


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(photographs, "find_spec", lambda module: None)
    assert "install the package foolbox" in refusal(DataError, photographs.in_foolbox)


@pytest.mark.parametrize("module", ["seaborn", "ra_core"])
def test_the_folder_of_a_package_is_where_it_is_imported_from(module):
    assert (photographs.package_folder(module, module) / "__init__.py").is_file()
