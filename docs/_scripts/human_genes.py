"""Make the table of human gene names that pp.match_genes reads, from Debian's r-bioc-org.hs.eg.db.

apt-get download r-bioc-org.hs.eg.db && dpkg-deb -x r-bioc-org.hs.eg.db_*.deb unpacked
python docs/_scripts/human_genes.py unpacked/usr/lib/R/site-library/org.Hs.eg.db/extdata/org.Hs.eg.sqlite
"""

from __future__ import annotations

import gzip
import sqlite3
import sys
from pathlib import Path

import pandas as pd

TARGET = Path(__file__).parents[2] / "src" / "pixnet_sd" / "pp" / "human_genes.tsv.gz"
SOURCE = (
    "# Symbols, other names and Ensembl ids of human genes, from org.Hs.eg.db 3.16.0 (Bioconductor, Marc Carlson; "
    "Artistic License 2.0): NCBI Gene of 2022-09-12, Ensembl of 2022-06-28. Made by docs/_scripts/human_genes.py: "
    "columns chosen, genes without an Ensembl id left out, names joined."
)
QUERY = """
select gene_info.symbol, ensembl.ensembl_id, alias.alias_symbol
from ensembl join gene_info on gene_info._id = ensembl._id left join alias on alias._id = ensembl._id
"""


def read_genes(path: str) -> pd.DataFrame:
    """Read one row for each symbol, with its other names and Ensembl ids joined by bars."""
    with sqlite3.connect(path) as database:
        found = pd.read_sql_query(QUERY, database)
    names = found["alias_symbol"].where(found["alias_symbol"] != found["symbol"])
    rows = pd.DataFrame({"symbol": found["symbol"], "ensembl": found["ensembl_id"], "other": names})
    return rows.groupby("symbol")[["ensembl", "other"]].agg(join_names).reset_index()


def join_names(names: pd.Series) -> str:
    return "|".join(sorted(set(names.dropna())))


if __name__ == "__main__":
    text = SOURCE + "\n" + read_genes(sys.argv[1]).to_csv(sep="\t", index=False)
    # Without the time of writing, so that the same source gives the same bytes.
    TARGET.write_bytes(gzip.compress(text.encode(), mtime=0))
    print(f"{TARGET}: {TARGET.stat().st_size:,} bytes")
