"""Forgery: finds the forged pixels of a photograph with a feature pyramid network and an attention gate."""

from core.lazy import Lazy
from models.family import Family
from models.forgery.published import adapt_published, publish_state
from models.forgery.settings import ForgeryLossSettings, ForgerySettings

FAMILY = Family(
    name="forgery",
    task="regions",
    settings=ForgerySettings,
    loss_settings=ForgeryLossSettings,
    network=Lazy("models.forgery.network:AttentionFPN"),
    loss=Lazy("models.forgery.loss:ForgeryLoss"),
    views=("tiles", "whole"),
    adapt_state_dict=adapt_published,
    publish_state=publish_state,
    memory_keys=("encoder", "pyramid_channels", "segmentation_channels"),
    replaceable=("gate.",),
)
