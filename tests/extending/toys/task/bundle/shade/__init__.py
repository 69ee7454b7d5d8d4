"""The half of the task ``shade`` that a server needs."""

import numpy as np
from pydantic import BaseModel, Field

from bundle.analyzers import PICTURE, Analyzer, Served
from bundle.task import BundleTask
from bundle.work import Stages
from core.settings import Settings
from media.pictures import decode_picture
from media.tensors import TensorSpec
from media.view import StoredSample, stack

STAGES = ("decode", "queue", "inference")


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


def items_of(bundle, rgb):
    """Return what each member's network reads of pixels uint8 [H, W, 3], as batches of one."""
    sample = StoredSample(rgb)
    return {
        member.name: stack(member.input.views, [{name: view.cut(sample) for name, view in member.input.views.items()}])
        for member in bundle.members
    }


def probability_of(bundle, outputs):
    """Return the ensemble's probability, given the networks' outputs by member."""
    total = 0.0
    for member in bundle.members:
        logits = outputs[member.name]["logits"]
        total += member.weight / (1 + float(np.exp(-logits[0, 0] / member.temperature)))
    return total


def answer_of(bundle, outputs):
    """Return the answer, given the networks' outputs by member."""
    probability = probability_of(bundle, outputs)
    verdict = bundle.classes[probability >= bundle.decision.threshold]
    return {"verdict": verdict, "probability": round(probability, 6)}


class ShadeAnalyzer(Analyzer):
    """Answers requests for a server."""

    outputs = {"probability": TensorSpec(datatype="FP32", shape=(1,))}

    async def analyze_picture(self, data, options):
        """Analyze a picture file."""
        answer = answer_of(self.document, await self._outputs(decode_picture(data)))
        answer["probability"] = round(answer["probability"], options.digits)
        return ShadeAnswer(**answer).model_dump_json().encode()

    async def infer(self, arrays):
        """Analyze decoded pixels."""
        probability = probability_of(self.document, await self._outputs(arrays[PICTURE]))
        return {"probability": np.array([probability], dtype=np.float32)}

    async def _outputs(self, rgb):
        items = {
            member: [{name: array[0] for name, array in batch.items()}]
            for member, batch in items_of(self.document, rgb).items()
        }
        return await self.workbench.infer(items, Stages(STAGES))


class ShadeTask(BundleTask):
    """One probability a picture."""

    name = "shade"
    decision = ShadeDecision
    served = Served(answer=ShadeAnswer, stages=STAGES, outcomes=("judged",), options=ShadeOptions)

    def check(self, bundle):
        """Take every bundle."""

    def analyze_file(self, bundle, networks, data, options):
        """Analyze a picture."""
        batches = items_of(bundle, decode_picture(data))
        return answer_of(bundle, {member: networks[member]["model"](batch) for member, batch in batches.items()})

    def analyzer(self, bundle, workbench):
        """Build what analyzes pictures for a server."""
        return ShadeAnalyzer(bundle, workbench)


TASK = ShadeTask()
