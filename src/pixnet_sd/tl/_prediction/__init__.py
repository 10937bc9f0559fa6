"""The spine of prediction, shared by `predict`, `predict_shapes`, shards and the command line.

options      what was asked
plan         what will be computed: model, image, raster, tiles
output       what will be written, under which names
local, dask, shards   where tiles are computed (parts: how they are shared out)
store        resume, verify and publish a map
many         several slides, one after another
diagnostics  warnings about unknown tissue and visible seams
"""
