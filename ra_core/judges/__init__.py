"""Judges: frozen networks that look at pictures; recognizers and detectors answer the same calls."""

from ra_core.judges.base import JUDGES, Judge, Verdict
from ra_core.judges.detector import Detected, Detector, load_detector
from ra_core.judges.ensemble import Ensemble, mean_over, members_of
from ra_core.judges.load import load_judge
from ra_core.judges.recognizer import Classified, Recognizer, describe, load_recognizer

__all__ = [
    "JUDGES", "Classified", "Detected", "Detector", "Ensemble", "Judge", "Recognizer", "Verdict",
    "describe", "load_detector", "load_judge", "load_recognizer", "mean_over", "members_of",
]  # fmt: skip
