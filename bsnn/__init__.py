"""bsnn: trained convolutional networks as spiking networks in Brian2."""
