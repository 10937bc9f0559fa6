"""Trained models and their files.

model      networks with their genes and card
file       the folder of a model: written atomically, read strictly
schema     keys and kinds of `model.json`
encoder    encoders that a file names instead of holding
skeleton   meta tensors of a described network
domain     the stain domain of the training data
bundled    models in the package
lazyslide  a model for LazySlide
"""
