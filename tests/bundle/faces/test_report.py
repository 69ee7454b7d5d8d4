import numpy as np

from bundle.faces.report import most_suspicious, verdict_document
from bundle.faces.verdict import FaceOpinion, FaceVerdict, TrackVerdict
from media.faces import FaceCrop, FacesFound
from media.faces.cropping import CutFace


def crop(track: int, frame: int) -> FaceCrop:
    box = (10.04 + frame, 20.0, 50.0 + frame, 70.0)
    landmarks = np.zeros((5, 2), np.float32)
    cut = CutFace(np.zeros((8, 8, 3), np.uint8), (1.0, 1.0, 7.0, 7.0), landmarks, (0.0, 0.0, 8.0, 8.0), (0, 0))
    return FaceCrop(frame, frame * 40.0, 0, track, box, 0.9, cut)


# Face 0 is there in frames 0, 3 and 6, face 1 in 3 alone, face 2 in 3 and 6; face 1 was seen too shortly to be judged.
FOUND = FacesFound((crop(0, 0), crop(0, 3), crop(0, 6), crop(1, 3), crop(2, 3), crop(2, 6)), 9, 3, None)
TRACKS = (
    TrackVerdict(0, 0.25, np.array([0.1, 0.4, 0.3]), {"a": 0.2, "b": 0.3}),
    TrackVerdict(2, 0.7, np.array([0.9, 0.4]), {"a": 0.8, "b": 0.6}),
)
OPINIONS = (FaceOpinion("a", 0.8, True), FaceOpinion("b", 0.6, False))
JUDGED = FaceVerdict("judged", "manipulated", 0.7, 0.5, TRACKS, OPINIONS, ("c",))


def test_the_document_says_what_was_judged_where_and_when() -> None:
    document = verdict_document(JUDGED, FOUND)
    first, second = document.pop("faces")
    assert document == {
        "outcome": "judged",
        "verdict": "manipulated",
        "probability": 0.7,
        "threshold": 0.5,
        "frames": 9,
        "frames_used": 3,
        "members": [
            {"name": "a", "verdict": "manipulated", "probability": 0.8},
            {"name": "b", "verdict": "authentic", "probability": 0.6},
        ],
        "abstained": ["c"],
    }
    assert (first["face"], first["first_time"], first["last_time"], first["frames_used"]) == (0, 0.0, 0.24, 3)
    assert (second["face"], second["probability"]) == (2, 0.7)
    assert second["frames"] == [
        {"frame": 3, "time": 0.12, "box": [13.0, 20.0, 53.0, 70.0], "probability": 0.9},
        {"frame": 6, "time": 0.24, "box": [16.0, 20.0, 56.0, 70.0], "probability": 0.4},
    ]


def test_without_a_verdict_the_document_has_no_probability() -> None:
    document = verdict_document(FaceVerdict("too_short", None, None, 0.5), FOUND)
    assert (document["outcome"], document["verdict"], document["probability"]) == ("too_short", None, None)
    assert (document["faces"], document["members"], document["frames"], document["frames_used"]) == ([], [], 9, 0)


def test_where_all_abstain_the_document_names_them() -> None:
    document = verdict_document(FaceVerdict("abstained", None, None, 0.5, abstained=("a", "b")), FOUND)
    assert (document["outcome"], document["verdict"], document["probability"]) == ("abstained", None, None)
    assert (document["abstained"], document["members"], document["faces"]) == (["a", "b"], [], [])


def test_the_most_suspicious_come_first_and_only_of_faces_that_were_judged() -> None:
    suspects = most_suspicious(JUDGED, FOUND, 10)
    assert [(one.crop.track, one.crop.frame, one.probability) for one in suspects] == [
        (2, 3, 0.9),
        (0, 3, 0.4),
        (2, 6, 0.4),
        (0, 6, 0.3),
        (0, 0, 0.1),
    ]
    assert all(FOUND.crops[one.position] is one.crop for one in suspects)
    assert most_suspicious(JUDGED, FOUND, 2) == suspects[:2]
    assert most_suspicious(JUDGED, FOUND, 0) == []
