"""From an image to feature maps. Imported by `network`.

base        the base of all encoders
cnn         any CNN of timm that gives features
vit         vision transformers, and encoders with fixed windows
foundation  published pathology models: names, sizes, licenses
stain       stain statistics, without parameters
weights     published weights: find, rename, load
build       an encoder by name
"""
