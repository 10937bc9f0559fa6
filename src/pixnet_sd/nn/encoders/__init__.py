"""What turns an image into feature maps. Imported by `network`.

base        what every encoder offers
cnn         any CNN of timm that gives features
vit         vision transformers, and encoders with fixed windows
foundation  published pathology models: names, sizes, licenses
stain       colour statistics, without parameters
weights     published weights: find, rename, load
build       an encoder by name
"""
