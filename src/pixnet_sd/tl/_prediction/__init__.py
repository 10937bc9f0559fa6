"""The spine of prediction, shared by `predict`, `predict_shapes` and `predict_shard`.

options      what is asked, made once from the arguments of a call
plan         the only reader: model, picture, raster, tiles; `blocks` yields what is computed
writer       the only writer: names, provenance, attaching in memory, publishing in a store
windows      how large tiles are where only some places are asked for
tiles, parts   which tiles are missing; computing them here; sharing them out
dask         computing them on a cluster
existing     whether a map that is there is the one that is asked for
diagnostics  warnings about unfamiliar tissue, cut edges and visible seams
"""
