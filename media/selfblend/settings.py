"""What a recipe says about self-blended pseudo-fakes."""

from pydantic import Field

from core.settings import Settings


class PseudoFakeSettings(Settings):
    """Self-blended pseudo-fakes as training samples."""

    probability: float = Field(default=0.5, gt=0, le=1)
    """How often an authentic sample that was drawn becomes a pseudo-fake, manipulated from then on."""
    real_fakes: bool = True
    """False never draws the manipulated samples of the data set: training on real faces alone."""
