"""The nearest items of users: exactly, or nearly so where a catalogue is large."""

from model.retrieval.approximate import ApproximateIndex
from model.retrieval.calibration import Calibrated, calibrate
from model.retrieval.flat import FlatIndex
from model.retrieval.hits import Allowed, Hits, Retriever
from model.retrieval.lorentz import LorentzScan

__all__ = [
    "SCANNED_ITEMS",
    "Allowed",
    "ApproximateIndex",
    "Calibrated",
    "FlatIndex",
    "Hits",
    "LorentzScan",
    "Retriever",
    "calibrate",
]

SCANNED_ITEMS = 50_000  # a larger catalogue has an approximate index: `hdrm benchmark retrieval` shows what each costs
