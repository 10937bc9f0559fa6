"""What plots are made of.

canvas, furniture, theme   figures, titles, bars and legends, styles
backdrop, view             the H&E image, and which part of it
patches, colours           shapes and their colours
values, profiles           what is drawn, read from tables
"""
