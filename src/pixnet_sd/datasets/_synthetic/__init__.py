"""A synthetic H&E section whose true expression is known everywhere, computed window by window.

noise                       randomness by place
anatomy, fields, nuclei     what lies where
cells, section, shading     outlines, a window put together, its stain
programs, panel             true rates of expression, and genes
histology                   the whole section
"""
