"""The programs of expression in a synthetic section, and how each splits into genes. numpy only.

Symbols are real and sit where a reader expects them; their shares are made up.
"""

import numpy as np

# Genes by program, most abundant first.
PANEL = {
    "stroma": ("COL1A1", "COL3A1", "SPARC", "DCN", "FN1", "LUM", "POSTN", "THY1", "FAP", "PDGFRA"),
    "epithelium": ("KRT8", "KRT18", "EPCAM", "KRT19", "CDH1", "CLDN4", "ELF3", "GATA3", "KRT7"),
    "secretory": ("MUC1", "TFF3", "AGR2", "PIGR", "SLPI", "LTF", "AZGP1", "SCGB2A2", "CEACAM6"),
    "lymphoid": ("CD74", "HLA-DRA", "IGHG1", "TRAC", "CD79A", "CCL5", "CD3E", "MS4A1", "PTPRC", "CXCL13"),
    "proliferation": ("TUBA1B", "STMN1", "HMGB2", "PCNA", "TOP2A", "CCNB1", "MKI67", "BIRC5", "CDK1"),
    "nuclear": ("MALAT1", "NEAT1", "ACTB", "EEF1A1", "GAPDH", "XIST"),
    "hypoxia": ("LDHA", "PGK1", "VEGFA", "NDRG1", "SLC2A1", "ADM", "CA9"),
}
PROGRAMS = tuple(PANEL)
GENES = tuple(gene for genes in PANEL.values() for gene in genes)

# Every second gene of a program is also made, less of it, in another.
ALSO_IN = {
    "stroma": "hypoxia",
    "epithelium": "proliferation",
    "secretory": "epithelium",
    "lymphoid": "nuclear",
    "proliferation": "nuclear",
    "nuclear": "epithelium",
    "hypoxia": "proliferation",
}
ALSO_SHARE = 0.25
RAREST_SHARE = 0.003


def panel_loadings() -> np.ndarray:
    """Return (programs, genes), float32: the share of each gene in each program. Rows sum to 1."""
    loadings = np.zeros((len(PROGRAMS), len(GENES)))
    for row, (program, genes) in enumerate(PANEL.items()):
        columns = [GENES.index(gene) for gene in genes]
        shares = np.geomspace(1.0, RAREST_SHARE, len(genes))
        loadings[row, columns] = shares
        loadings[PROGRAMS.index(ALSO_IN[program]), columns[1::2]] = ALSO_SHARE * shares[1::2]
    return (loadings / loadings.sum(axis=1, keepdims=True)).astype(np.float32)
