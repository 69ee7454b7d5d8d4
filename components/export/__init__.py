"""Export: trained members in, a calibrated and verified bundle out."""
