"""The half of the task ``shade`` that a server needs."""

import numpy as np
from pydantic import BaseModel, Field

from bundle.serving import PICTURE, Analyzer, Served
from bundle.task import BundleTask
from core.settings import Settings
from media.pictures import decode_picture
from media.tensors import TensorSpec
from media.view import StoredSample, stack


class ShadeDecision(Settings):
    """From when on a picture is of the second class."""

    threshold: float = Field(ge=0, le=1)
    """Probability, 0..1."""


class ShadeOptions(BaseModel):
    """What a request may ask."""

    digits: int = Field(default=6, ge=0, le=6, description="of a shade: decimals of the probability")


class ShadeAnswer(BaseModel):
    """The verdict on a picture."""

    verdict: str
    probability: float


def probability_of(bundle, networks, rgb):
    """Return the ensemble's probability of pixels uint8 [H, W, 3]."""
    total = 0.0
    for member in bundle.members:
        cut = {name: view.cut(StoredSample(rgb)) for name, view in member.input.views.items()}
        logits = networks[member.name]["model"](stack(member.input.views, [cut]))["logits"]
        total += member.weight / (1 + float(np.exp(-logits[0, 0] / member.temperature)))
    return total


def answer_of(bundle, networks, rgb):
    """Return the answer on pixels uint8 [H, W, 3]."""
    probability = probability_of(bundle, networks, rgb)
    verdict = bundle.classes[probability >= bundle.decision.threshold]
    return {"verdict": verdict, "probability": round(probability, 6)}


class ShadeAnalyzer(Analyzer):
    """Answers requests for a server."""

    outputs = {"probability": TensorSpec(datatype="FP32", shape=(1,))}

    async def analyze_picture(self, data, options):
        """Analyze a picture file."""
        answer = answer_of(self.document, self.workbench.networks, decode_picture(data))
        answer["probability"] = round(answer["probability"], options.digits)
        return ShadeAnswer(**answer).model_dump_json().encode()

    async def infer(self, arrays):
        """Analyze decoded pixels."""
        probability = probability_of(self.document, self.workbench.networks, arrays[PICTURE])
        return {"probability": np.array([probability], dtype=np.float32)}


class ShadeTask(BundleTask):
    """One probability a picture."""

    name = "shade"
    decision = ShadeDecision
    served = Served(
        answer=ShadeAnswer, stages=("decode", "queue", "inference"), outcomes=("judged",), options=ShadeOptions
    )

    def check(self, bundle):
        """Take every bundle."""

    def analyze_file(self, bundle, networks, data, options):
        """Analyze a picture."""
        return answer_of(bundle, networks, decode_picture(data))

    def analyzer(self, bundle, workbench):
        """Build what analyzes pictures for a server."""
        return ShadeAnalyzer(bundle, workbench)


TASK = ShadeTask()
