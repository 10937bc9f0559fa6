"""Rasters as arrays: where pixels lie, and what is seen in them. Knows neither torch nor spatialdata.

grid      windows, tiles and pixel grids in integers
picture   an image at a stated size of pixel, read by window
stain     optical density, hematoxylin and eosin
lattice   spots and bins on the lattice of their array
tissue    where on a slide there is tissue
quality   where tissue is blurred, folded or covered
nuclei    where nuclei are, by their stain: a mask and a height
basins    a mask split into objects, for each tile as for the whole image
contours  outlines of labels as polygons
cells     all of these for one tile
"""
