"""From features to programs: the trainable network. Imported by `model`, `inference` and `training`.

config      the shape of a network, as values
network     PixNet: features, decoder, head
features    multi-scale input: encoder, stain, context
decoder     decoders, and the table of their names; safb: blocks of the paper's
heads       rates or log expression, and the table of their names
ridge       ridge regression in closed form
ensemble    several networks as one
views       rotations and reflections
margin      the receptive field, measured
"""
