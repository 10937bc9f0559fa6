"""From an image to feature maps. Imported by `network`.

base        the base of all encoders
cnn         any CNN of timm that gives features
vit         vision transformers, and encoders with fixed windows
memo        windows that were encoded already
foundation  published pathology models: names, sizes, licenses
stain       stain statistics, without parameters
fetch       published weights: from the hub or a file, pinned
rename      their names and positions, as timm has them
weights     load them, every one
build       an encoder by name
"""
