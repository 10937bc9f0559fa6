"""The network layer: torch, timm and arrays. Knows no SpatialData. Imports go up this list, never down.

training    losses, crops, the loop, ridge regression
model       trained networks with genes and card, as files
inference   a network over a whole picture, tile by tile
network     features, decoders, heads, ensembles
encoders    CNNs, vision transformers, color
nuclei      a small network for nuclei, by itself
ops, slides, device   feature maps of several strides; images with measured shapes; where to compute
"""
