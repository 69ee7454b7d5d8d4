"""GenConViT: judges a face by what autoencoders make of it, through a convolutional network and a transformer."""

from core.lazy import Lazy
from models.family import Family
from models.genconvit.settings import GenConViTLossSettings, GenConViTSettings, check_input

FAMILY = Family(
    name="genconvit",
    task="faces",
    settings=GenConViTSettings,
    loss_settings=GenConViTLossSettings,
    network=Lazy("models.genconvit.network:GenConViT"),
    loss=Lazy("models.genconvit.loss:GenConViTLoss"),
    views=("face", "centre"),
    memory_keys=("backbones", "autoencoder_widths", "latent_width"),
    check_input=check_input,
)

# Imports torch when it is called; see there for arguments and errors.
load_genconvit_from_checkpoint = Lazy("models.genconvit.loading:load_genconvit_from_checkpoint")
