"""Whose face a crop is: the main one in every stretch, and tracks that look alike."""

from itertools import groupby

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from media.faces.people import Seen, choose_main, join_people

# (stretch, track, side of the box, grey level), in the order of time
FACES = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 5), st.integers(40, 200), st.sampled_from([10, 120, 240])),
    unique_by=lambda face: face[:2],
    max_size=20,
).map(sorted)


def seen(*faces: tuple[int, int, int, int]) -> list[Seen]:
    return [
        Seen(track, stretch, (0.0, 0.0, float(side), float(side)), np.full((8, 8, 3), grey, np.uint8))
        for stretch, track, side, grey in faces
    ]


@given(FACES)
def test_every_stretch_with_a_face_has_one_main_face_and_all_of_it(faces: list[tuple[int, int, int, int]]) -> None:
    found = seen(*faces)
    chosen = choose_main(found)
    assert chosen == sorted(set(chosen))
    tracks = {(found[position].stretch, found[position].track) for position in chosen}
    assert sorted(stretch for stretch, _ in tracks) == sorted({face.stretch for face in found})
    assert len(chosen) == sum((face.stretch, face.track) in tracks for face in found)


@given(FACES)
def test_no_two_tracks_of_one_stretch_are_one_person(faces: list[tuple[int, int, int, int]]) -> None:
    found = seen(*faces)
    people = join_people(found)
    assert set(people) == {face.track for face in found}
    assert list(dict.fromkeys(people[face.track] for face in found)) == list(range(len(set(people.values()))))
    for _, group in groupby(found, key=lambda face: face.stretch):
        tracks = {face.track for face in group}
        assert len({people[track] for track in tracks}) == len(tracks)


def test_a_larger_face_that_is_seen_shortly_is_not_the_main_one() -> None:
    faces = [(0, 0, 50, 10), (1, 0, 50, 10), (1, 1, 150, 10), (2, 1, 90, 10), (3, 0, 50, 10)]
    assert choose_main(seen(*faces)) == [0, 1, 3, 4]
    assert choose_main(seen(*faces[1:3])) == [1]  # as long, and larger


def test_tracks_that_look_alike_are_one_person_and_others_are_not() -> None:
    assert join_people(seen((0, 3, 50, 10), (1, 7, 50, 12), (2, 9, 50, 240))) == {3: 0, 7: 0, 9: 1}
    assert join_people(seen((0, 3, 50, 10), (0, 7, 50, 10), (1, 9, 50, 10))) == {3: 0, 7: 1, 9: 0}
    assert join_people([]) == {}
