"""The network layer: torch, timm and arrays. Knows no SpatialData."""
