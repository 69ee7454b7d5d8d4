"""What a bundle whose networks mark regions of a picture needs to become a verdict."""
