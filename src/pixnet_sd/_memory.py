"""How large a table for shapes becomes while it is made. Numbers only."""

TABLE_BYTES = 8
"""For each shape and gene: float32, and a copy while it becomes a table."""


def table_bytes(n_shapes: int, n_genes: int) -> int:
    """An upper bound of what a table takes at its largest, on top of what pooling holds. It keeps 4 bytes a value."""
    return n_shapes * n_genes * TABLE_BYTES
