"""Serving the bundle that was published, and sending it pictures over HTTP."""

import base64
import http.client
import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from core.errors import StorageError
from media.pictures import decode_mask_png
from pipelines.demo.verdicts import UnseenPicture, intersection_over_union
from serving.process import ServerProcess

TIMEOUT = 60.0  # s, of one request


@dataclass(frozen=True)
class ServedVerdict:
    """What the server answered for one picture.

    Attributes:
        score: 0..1.
        verdict: ``forged`` or ``authentic``.
        iou: of the mask in the answer with the truth; 1 where both are empty.
        response_seconds: from the first byte sent to the last byte received.
    """

    score: float
    verdict: str
    iou: float
    response_seconds: float

    def to_document(self) -> dict[str, Any]:
        """Return what ``summary.json`` holds."""
        return {
            "score": self.score,
            "verdict": self.verdict,
            "iou": round(self.iou, 6),
            "response_seconds": round(self.response_seconds, 4),
        }


def analyze_served(pictures: Mapping[str, UnseenPicture], bundle: Path) -> dict[str, ServedVerdict]:
    """Start the server on a bundle, send it the stored bytes of each picture, and stop it.

    Raises:
        StorageError: when the server answers with anything but 200.
        ServerFailedError: when it does not start.
    """
    with ServerProcess(bundle) as server:
        return {name: _ask(server.url, picture) for name, picture in pictures.items()}


def _ask(url: str, picture: UnseenPicture) -> ServedVerdict:
    boundary = uuid.uuid4().hex
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="picture"\r\n\r\n'
    body = head.encode() + picture.data + f"\r\n--{boundary}--\r\n".encode()
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=TIMEOUT)
    started = time.perf_counter()
    try:
        connection.request("POST", "/v1/analyze", body, {"Content-Type": f"multipart/form-data; boundary={boundary}"})
        answer = connection.getresponse()
        content = answer.read()
    except OSError as error:
        raise StorageError(f"the server at {url} did not answer: {error}") from None
    finally:
        connection.close()
    seconds = time.perf_counter() - started
    if answer.status != http.client.OK:
        raise StorageError(f"the server answered {picture.media_id} with {answer.status}: {content.decode()}")
    document = json.loads(content)
    mask = decode_mask_png(base64.b64decode(document["mask"]))
    iou = intersection_over_union(picture.truth, mask)
    return ServedVerdict(document["score"], document["verdict"], iou, seconds)
