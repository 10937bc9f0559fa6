"""From features to programs: the trainable network. Imported by `model`, `inference` and `training`.

config      the shape of a network, as values
network     PixNet: features, decoder, head
features    multi-scale input: encoder, stain, context
decoder     the paper's decoder (SAFB)
pixelwise   decoders that see single pixels, and the ridge regression
heads       rates or log expression
ensemble    several networks as one
margin      the receptive field, measured
"""
