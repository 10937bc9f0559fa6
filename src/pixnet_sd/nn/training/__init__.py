"""Train a model.

config, loss            what to minimise, and how
crops, dataset, pixels  what a slide gives to a batch
cache, prepare          features, computed once
augment                 other views of a crop
loop, evaluate, fit     one member; its scores; a whole model
ridge, pooled           the closed-form baseline
checkpoint, distributed stop and go on; several processes
"""
