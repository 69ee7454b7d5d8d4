"""Self-blended pseudo-fakes: real faces, each blended with a transformed copy of itself."""

from media.selfblend.settings import PseudoFakeSettings

__all__ = ["PseudoFakeSettings"]
