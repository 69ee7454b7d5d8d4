"""What a bundle whose networks classify faces needs to become a verdict."""
