"""Scores of predictions, as arrays and tables. Knows neither torch nor spatialdata.

scores      Pearson, Spearman and errors per gene; log profiles; the ceiling that counting noise sets
conformal   prediction intervals whose coverage holds for new sections
alignment   whether shapes lie where they belong on an image
"""
