"""The bundle: what export writes, publish uploads and serving reads.

``document`` is what ``bundle.json`` may say, ``reading`` verifies a bundle, ``runtimes`` opens its networks,
``judging`` judges a picture with them (and ``bundle.faces.analysis`` a medium by its faces), and ``releases`` finds the
published one in a store.
"""

from bundle.document import (
    BUNDLE_FILE,
    CARD_FILE,
    CLIP_FILES,
    FORMAT_FILES,
    Bundle,
    BundleFile,
    BundleMember,
    Format,
    clip_path,
    member_path,
    seal,
)
from bundle.reading import VerifiedBundle, read_bundle
from bundle.regions.analysis import BundleVerdict, MemberOpinion, judge_picture
from bundle.releases import Figures, Pointer, fetch_release, read_pointer
from bundle.runtimes import FaceRun, Run, open_faces, open_runtime

__all__ = [
    "BUNDLE_FILE",
    "CARD_FILE",
    "CLIP_FILES",
    "FORMAT_FILES",
    "Bundle",
    "BundleFile",
    "BundleMember",
    "BundleVerdict",
    "FaceRun",
    "Figures",
    "Format",
    "MemberOpinion",
    "Pointer",
    "Run",
    "VerifiedBundle",
    "clip_path",
    "fetch_release",
    "judge_picture",
    "member_path",
    "open_faces",
    "open_runtime",
    "read_bundle",
    "read_pointer",
    "seal",
]
