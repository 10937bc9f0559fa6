"""Elements of plots.

canvas, furniture, theme   figures, titles, bars and legends, styles
backdrop, view             the H&E image, and which part of it
patches, colors            shapes and their colors
page, sheet, summary       HTML, figures and facts of a report
values, profiles           what is drawn, read from tables
"""
