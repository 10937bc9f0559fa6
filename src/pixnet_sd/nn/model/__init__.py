"""Trained models and their files.

model      networks with their genes and card
file       the folder of a model: written whole, read strictly
schema     what `model.json` may hold
skeleton   the tensors that a description asks for, without their memory
domain     the stain domain of the training data
bundled    models in the package
lazyslide  a model for LazySlide
"""
