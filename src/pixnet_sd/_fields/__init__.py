"""Smooth fields that fit a map to counts of its own section. Knows neither torch nor spatialdata.

lattice        smooth fields on nodes over a raster: kernels, interpolation and its transpose
factors        counts of shapes as ratio fields of programs and as loadings, by maximum a posteriori
choice         strength and length by shapes that are held out in blocks
proportional   sums over shapes made equal to given ones, by exact coverage and its transpose
"""
