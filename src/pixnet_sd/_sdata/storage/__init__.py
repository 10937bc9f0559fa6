"""Write results into the zarr store behind a SpatialData object; a store is never left half written.

attach    put elements into the object and its store, all or nothing
growing   a raster that grows block by block in a folder beside the store
ledger    which of its blocks are done
locks     which process may write where
publish   move a finished raster into the store
"""
