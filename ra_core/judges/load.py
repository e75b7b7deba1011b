"""Every judge by name."""

from collections.abc import Iterable
from pathlib import Path

from ra_core.judges.base import JUDGES, Judge
from ra_core.judges.detector import load_detector, torchvision_detectors
from ra_core.judges.ensemble import Ensemble, members_of
from ra_core.judges.recognizer import load_recognizer
from ra_core.judges.trunks import TRUNKS


def load_judge(name: str, classes: Iterable[str] = ()) -> Judge:
    """Return a judge by name, frozen; detectors name what they find by `classes`, where these are given.

    `name` is registered (`JUDGES`), that of a file in the folder `judges` (`ra_core.judges.sidecar`), a classifier or
    detector of torchvision, `package.module:function` (a classifier), `path/to/fcos` (a small detector of one's own),
    or several recognizers with a + between them (an ensemble to learn from). Raises `ParameterError` for any other,
    `WeightsError` where its weights cannot be had.
    """
    from ra_core.judges.files import load_file  # it imports pydantic

    judge = load_file(name) or _load(name)
    return judge.with_classes(classes) if classes else judge


def _load(name: str) -> Judge:
    if name in JUDGES:
        return JUDGES[name]()
    if len(members_of(name)) > 1:
        return Ensemble([load_judge(each) for each in members_of(name)])
    if Path(name).name in TRUNKS or (":" not in name and name in torchvision_detectors()):  # which is slow to import
        return load_detector(name)
    return load_recognizer(name)
