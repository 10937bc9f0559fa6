"""The only part of the package that knows SpatialData. It turns elements into plain arrays, and results into elements.

elements, build      find elements by key; make them from arrays
affine, units        3 x 3 matrices between elements; µm per pixel
images, levels       pixels and pyramids
shapes, labels       shapes, and labels as shapes, in pixels of a raster
tissue, masks        tissue that is found on an image; tissue in pixels of a raster
counts, comparison   measured tables, and predicted ones beside them
maps, drawing        rasters with the genes behind them; no more of their pixels than a plot can show
alignment            what shows whether shapes are where they were measured
provenance           what was done, in `sdata.attrs`; fingerprint: by what pixels are known again
storage              results in the store, never half written
"""
