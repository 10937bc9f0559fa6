"""Run a network over a whole picture.

tiling    tile by tile, as if over the whole at once
predict   finished blocks of programs
backends  torch or OpenVINO
openvino  a network converted to OpenVINO
converted  networks that were converted, in the cache folder
fusing    batch norms folded into convolutions
seams     how much the windows of an encoder show
memory    upper bounds of memory
"""
