import asyncio
import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bundle import open_networks, read_bundle
from bundle.analyzers import Category, RequestError
from bundle.regions.analysis import BundleVerdict, analyze_picture
from bundle.regions.documents import Analysis, PictureOptions
from bundle.regions.verdict import OperatingPoint
from media.pictures import decode_mask_png, decode_picture
from serving.service import Service


def analyze(service: Service, data: bytes, *, with_mask: bool = True) -> Analysis:
    return Analysis.model_validate_json(
        asyncio.run(service.analyzer.analyze_picture(data, PictureOptions(mask=with_mask)))
    )


def expected(bundle: Path, data: bytes) -> BundleVerdict:
    verified = read_bundle(bundle)
    return analyze_picture(decode_picture(data), verified.document, open_networks(verified, "onnx", threads=1))


@pytest.mark.parametrize("size", [(300, 211), (40, 33), (1, 1), (33, 500)])
def test_the_answer_is_that_of_the_bundle_judged_directly(
    service: Service, tiny_bundle: Path, picture: Callable[..., bytes], size: tuple[int, int]
) -> None:
    data = picture(*size)
    answer = analyze(service, data)
    direct = expected(tiny_bundle, data)
    document = answer.model_dump(mode="json")
    for key, value in json.loads(json.dumps(direct.to_document())).items():
        assert document[key] == value, key
    assert answer.mask is not None
    np.testing.assert_array_equal(decode_mask_png(base64.b64decode(answer.mask)), direct.verdict.mask)
    assert (answer.picture.width, answer.picture.height) == size
    assert answer.picture.sha256 == hashlib.sha256(data).hexdigest()
    assert answer.bundle.sha256 == read_bundle(tiny_bundle).sha256


def test_both_runtimes_answer_alike(make_service: Callable[..., Service], picture: Callable[..., bytes]) -> None:
    data = picture(200, 150)
    onnx, torchscript = (analyze(make_service(runtime=kind), data) for kind in ("onnx", "torchscript"))
    assert onnx.score == pytest.approx(torchscript.score, abs=1e-5)
    assert [member.name for member in onnx.members] == [member.name for member in torchscript.members]


def test_many_pictures_at_a_time_are_judged_as_one_by_one(
    service: Service, tiny_bundle: Path, picture: Callable[..., bytes]
) -> None:
    files = [picture(30 + 17 * number, 40 + 11 * number, seed=number) for number in range(12)]

    async def together() -> list[bytes]:
        return await asyncio.gather(
            *(service.analyzer.analyze_picture(data, PictureOptions(mask=False)) for data in files)
        )

    for data, answer in zip(files, asyncio.run(together()), strict=True):
        assert json.loads(answer)["score"] == pytest.approx(expected(tiny_bundle, data).verdict.score, abs=2e-6)


def test_the_mask_is_left_out_when_it_is_not_wanted(service: Service, picture: Callable[..., bytes]) -> None:
    assert analyze(service, picture(), with_mask=False).mask is None


def test_an_authentic_picture_has_an_empty_mask_and_no_regions(
    make_service: Callable[..., Service], tiny_bundle: Path, tmp_path: Path, picture: Callable[..., bytes]
) -> None:
    document = read_bundle(tiny_bundle).document.model_copy(
        update={"decision": OperatingPoint(threshold=1.0, min_area_fraction=0.5)}
    )
    for path in tiny_bundle.rglob("*"):
        if path.is_file():
            target = tmp_path / path.relative_to(tiny_bundle)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    (tmp_path / "bundle.json").write_bytes(document.to_document())
    answer = analyze(make_service(bundle=str(tmp_path)), picture(64, 48))
    assert answer.verdict == "authentic"
    assert answer.regions == []
    assert answer.forged_fraction == 0
    assert answer.mask is not None
    mask = decode_mask_png(base64.b64decode(answer.mask))
    assert mask.shape == (48, 64)
    assert not mask.any()


def test_the_timings_add_up_and_reach_the_metrics(service: Service, picture: Callable[..., bytes]) -> None:
    answer = analyze(service, picture())
    parts = answer.timings.model_dump()
    total = parts.pop("total")
    assert sum(parts.values()) == pytest.approx(total, abs=1e-4)
    assert all(seconds >= 0 for seconds in parts.values())
    assert min(answer.timings.decode, answer.timings.inference, answer.timings.postprocess) > 0
    exposed = service.metrics.render().decode()
    for stage in parts:
        assert f'veriframe_stage_seconds_count{{stage="{stage}"}} 1.0' in exposed
    for member in ("ensemble", "colour", "ela"):
        assert f'veriframe_score_count{{member="{member}"}} 1.0' in exposed
    scores = [member.score for member in answer.members]
    disagreement = next(line for line in exposed.splitlines() if line.startswith("veriframe_member_disagreement_sum"))
    assert float(disagreement.split()[1]) == pytest.approx(max(scores) - min(scores), abs=1e-5)


def test_no_picture_is_the_clients_fault_and_says_why(service: Service) -> None:
    with pytest.raises(RequestError, match="not a JPEG") as refused:
        analyze(service, b"GIF89a")
    assert (refused.value.category, refused.value.reason) == (Category.UNUSABLE, "not-a-picture")


def test_a_request_that_is_given_up_leaves_nothing_in_the_queue(
    make_service: Callable[..., Service], picture: Callable[..., bytes]
) -> None:
    service = make_service(max_batch=1)

    async def give_up() -> None:
        task = asyncio.create_task(service.analyzer.analyze_picture(picture(3000, 2000), PictureOptions(mask=False)))
        while not service._batcher or not service._batcher.waiting:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert service._batcher.waiting == 0

    asyncio.run(give_up())
