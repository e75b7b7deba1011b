"""Every judge by name."""

from collections.abc import Iterable
from pathlib import Path

from ra_core.errors import ParameterError
from ra_core.judges.base import JUDGES, Judge
from ra_core.judges.detector import load_detector, torchvision_detectors
from ra_core.judges.ensemble import Ensemble, members_of
from ra_core.judges.recognizer import load_recognizer, torchvision_classifiers
from ra_core.judges.trunks import TRUNKS
from ra_core.registry import nearest


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
    if ":" in name or name in torchvision_classifiers():
        return load_recognizer(name)
    from ra_core.judges.sidecar import judges_folder  # it imports pydantic

    beside = [path.stem for path in sorted(judges_folder().glob("*.json"))]
    near = nearest(name, [*JUDGES, *beside, *torchvision_classifiers(), *torchvision_detectors()])
    raise ParameterError(
        f"judge {name!r} is unknown; {f'did you mean {near!r}? Else choose' if near else 'choose'} one of "
        f"{', '.join([*JUDGES, *beside])}, a classifier or detector of torchvision (for instance resnet18), give "
        f"package.module:function, or describe a file of weights in judges/{name}.json."
    )
