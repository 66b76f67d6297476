"""All baselines, by name."""

from benchmarks.baselines.baseline import Baseline
from benchmarks.baselines.ease import RECENCY_SPACE as EASE_RECENCY_SPACE
from benchmarks.baselines.ease import SPACE as EASE_SPACE
from benchmarks.baselines.ease import make_ease
from benchmarks.baselines.ials import SPACE as IALS_SPACE
from benchmarks.baselines.ials import make_ials
from benchmarks.baselines.item_knn import RECENCY_SPACE as ITEM_KNN_RECENCY_SPACE
from benchmarks.baselines.item_knn import SPACE as ITEM_KNN_SPACE
from benchmarks.baselines.item_knn import make_item_knn
from benchmarks.baselines.lightgcn import SPACE as LIGHTGCN_SPACE
from benchmarks.baselines.lightgcn import make_lightgcn
from benchmarks.baselines.popularity import PopularityBaseline
from benchmarks.baselines.sasrec import SPACE as SASREC_SPACE
from benchmarks.baselines.sasrec import make_sasrec
from benchmarks.baselines.searched import Searched
from benchmarks.baselines.trained import Trained
from training.baselines import EASE_MAX_ITEMS

__all__ = ["BASELINES", "TRAINED"]

# their settings are kept: `hdrm benchmark settings` looks for them
TRAINED = {
    "lightgcn": Trained("lightgcn", "LightGCN", False, LIGHTGCN_SPACE, make_lightgcn, earliest=20),
    "sasrec": Trained("sasrec", "SASRec", True, SASREC_SPACE, make_sasrec, earliest=6),
}

_ALL: tuple[Baseline, ...] = (
    PopularityBaseline(),
    Searched("item-knn", "item-KNN", False, ITEM_KNN_SPACE, make_item_knn),
    Searched("item-knn-recency", "item-KNN + recency", True, ITEM_KNN_RECENCY_SPACE, make_item_knn),
    Searched("ease", "EASE", False, EASE_SPACE, make_ease, max_items=EASE_MAX_ITEMS),
    Searched("ease-recency", "EASE + recency", True, EASE_RECENCY_SPACE, make_ease),
    Searched("ials", "iALS", False, IALS_SPACE, make_ials, random=True),
    *TRAINED.values(),
)

BASELINES = {baseline.name: baseline for baseline in _ALL}
