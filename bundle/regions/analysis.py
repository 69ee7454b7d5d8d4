"""Analyzing one picture with a bundle, whatever runs its networks: the arithmetic that serving and the demo share."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundle.document import MODEL, Bundle, BundleMember
from bundle.regions.verdict import OperatingPoint, Region, Verdict, decide, regions
from bundle.runtimes import Networks
from media import tiles
from media.picture_view import PictureView
from media.spec import InputSpec
from media.tiles import Plan
from media.view import stack


@dataclass(frozen=True)
class MemberOpinion:
    """One member's verdict by itself: ``score`` 0..1, and ``forged`` at the member's own operating point."""

    name: str
    score: float
    forged: bool
    forged_fraction: float


@dataclass(frozen=True)
class BundleVerdict:
    """The ensemble's verdict: ``probability`` float32 [H, W] 0..1, and the members' opinions beside it."""

    verdict: Verdict
    point: OperatingPoint
    probability: NDArray[np.float32]
    members: tuple[MemberOpinion, ...]

    def to_document(self) -> dict[str, Any]:
        """Return what can be written as JSON: everything but the mask and the probabilities."""
        found = regions(self.probability, self.verdict.mask)
        return {
            "verdict": "forged" if self.verdict.forged else "authentic",
            "score": round(float(self.verdict.score), 6),
            "threshold": self.point.threshold,
            "min_area_fraction": self.point.min_area_fraction,
            "forged_fraction": round(float(self.verdict.forged_fraction), 6),
            "regions": [_region_document(region) for region in found],
            "members": [
                {
                    "name": opinion.name,
                    "verdict": "forged" if opinion.forged else "authentic",
                    "score": round(opinion.score, 6),
                    "forged_fraction": round(opinion.forged_fraction, 6),
                }
                for opinion in self.members
            ],
        }


def tiles_view(spec: InputSpec) -> PictureView:
    """Return the view that a network which marks regions reads.

    Raises:
        ValueError: when it reads another one, or several.
    """
    views = list(spec.views.values())
    if len(views) != 1 or not isinstance(views[0], PictureView):
        raise ValueError(f"input.views = {', '.join(spec.views)}: networks that mark regions read one view of pictures")
    return views[0]


def blend_logits(logits: NDArray[np.float32], plan: Plan, temperature: float) -> NDArray[np.float32]:
    """Return a member's probability [H, W], 0..1, from its logits [N, 1, S, S]."""
    # 1 / (1 + exp(-logit / temperature)), in one array: of a large picture each further one is hundreds of megabytes.
    probability = np.divide(logits[:, 0], np.float32(-temperature))
    with np.errstate(over="ignore"):  # exp overflows to infinity for a very negative logit, and 1 / (1 + inf) is right
        np.exp(probability, out=probability)
    probability += 1
    np.divide(1, probability, out=probability)
    blended = tiles.blend(probability, plan)
    return np.clip(blended, 0, 1, out=blended)  # the blending weights add up to 1 but for rounding


class MeanMap:
    """The weighted mean of maps as they come, so that two are in memory however many there are.

    Args:
        shape: height and width.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._mean = np.zeros(shape, dtype=np.float32)

    def add(self, probability: NDArray[np.float32], share: float) -> None:
        """Add a map [H, W], 0..1; the shares of all are to sum to 1."""
        self._mean += np.float32(share) * probability

    def result(self) -> NDArray[np.float32]:
        """Return the mean [H, W], 0..1."""
        return np.clip(self._mean, 0, 1)  # the float32 shares may add up to a hair above 1


class Ensemble:
    """Averages the members' probabilities as they come.

    Args:
        document: the bundle.
        shape: height and width of the picture.
    """

    def __init__(self, document: Bundle, shape: tuple[int, int]) -> None:
        self._document = document
        self._mean = MeanMap(shape)
        self._opinions: dict[str, MemberOpinion] = {}

    def add(self, member: BundleMember, probability: NDArray[np.float32]) -> None:
        """Add a member's probability [H, W]; every member once."""
        self._mean.add(probability, member.weight)
        own = decide(probability, _point(member))
        opinion = MemberOpinion(member.name, float(own.score), bool(own.forged), float(own.forged_fraction))
        self._opinions[member.name] = opinion

    def verdict(self) -> BundleVerdict:
        """Decide by the mean; to be called when all members were added."""
        mean, point = self._mean.result(), _point(self._document)
        opinions = tuple(self._opinions[member.name] for member in self._document.members)
        return BundleVerdict(decide(mean, point), point, mean, opinions)


def analyze_picture(
    rgb: NDArray[np.uint8], bundle: Bundle, networks: Mapping[str, Networks], batch_size: int = 4
) -> BundleVerdict:
    """Analyze a picture in what its members read of it: overlapping tiles, or the whole.

    Args:
        rgb: uint8 [H, W, 3].
        bundle: whose temperatures, weights and operating points hold.
        networks: its networks by member, as ``open_networks`` returns them.
        batch_size: most tiles in one call of a network.
    """
    ensemble = Ensemble(bundle, rgb.shape[:2])
    for member, probability in member_maps(rgb, bundle, networks, batch_size):
        ensemble.add(member, probability)
    return ensemble.verdict()


def member_maps(
    rgb: NDArray[np.uint8], bundle: Bundle, networks: Mapping[str, Networks], batch_size: int = 4
) -> Iterator[tuple[BundleMember, NDArray[np.float32]]]:
    """Yield each member with its probability [H, W], 0..1; arguments are those of ``analyze_picture``."""
    for spec in dict.fromkeys(member.input for member in bundle.members):
        view = tiles_view(spec)
        cut, plan = view.tiles(rgb)
        samples = [{view.name: tile} for tile in cut]
        for member in bundle.members:
            if member.input == spec:
                run = networks[member.name][MODEL]
                starts = range(0, len(samples), batch_size)
                parts = [run(stack(spec.views, samples[start : start + batch_size]))["logits"] for start in starts]
                yield member, blend_logits(np.concatenate(parts), plan, member.temperature)


def _point(owner: Bundle | BundleMember) -> OperatingPoint:
    assert isinstance(owner.decision, OperatingPoint)  # noqa: S101 - the document checks it
    return owner.decision


def _region_document(region: Region) -> dict[str, Any]:
    return {
        "polygon": [[int(x), int(y)] for x, y in region.polygon],
        "box": [int(v) for v in region.box],
        "score": round(float(region.score), 6),
        "area_fraction": round(float(region.area_fraction), 6),
    }
