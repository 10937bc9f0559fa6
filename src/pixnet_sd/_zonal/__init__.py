"""Exact statistics of rasters within shapes. Knows neither torch nor spatialdata.

shapes, rings       shapes in raster pixels, flat and measured
runs                labels as shapes
polygon, ellipse    coverage of pixels in closed form
spans, coverage     coverage as runs of weighted pixels, or as a sparse matrix
statistics          compiled kernels: sum, extremes, spread, quantiles
accumulate          state per shape while blocks come in
aggregate           a whole raster: in this process (blocks, threads, index) or on a dask cluster (reduction)
"""
