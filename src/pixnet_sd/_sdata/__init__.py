"""The only part of the package that knows SpatialData. It turns elements into plain arrays, and results into elements.

elements    find an element by key
affine      3 x 3 matrices between elements
images      pixels, pyramid levels, RGB
geometry    shapes in their own coordinates
placement   shapes in raster pixels
pictures    pixels for a plot, no more than it can show
counts      measured tables
pairs       a predicted and a measured table of the same shapes
comparison  the scale on which the two are compared
maps        a raster that can be aggregated, with the genes behind it
units       µm per pixel
build       elements from arrays
alignment   what is needed to say whether shapes lie where they were measured
opening     a store by its path
masks       labels that mark tissue
levels      resolutions of a raster, taken apart and put together
pyramids    resolutions that a file has already
store       attach results, in memory or in a zarr store
stream      a map that grows beside a store, and may be taken up again
ledger      which of its tiles are there
publication how it moves into the store
locks       turns at a store, parts of the work, folders that nobody holds any more
provenance  what was done, in `sdata.attrs`
"""
