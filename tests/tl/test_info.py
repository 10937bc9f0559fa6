"""What is listed is what is there."""

from pathlib import Path

import spatialdata as sd
from hardening.slides import aggregate, picture, predict, section, squares, tiny_model

import pixnet_sd as ps


def test_a_map_and_its_tables_have_the_same_digest_of_pixels_until_the_map_is_replaced() -> None:
    sdata = section(he=picture(), a=squares())
    assert ps.tl.info(sdata).loc["he", "made"] is None
    predict(sdata)
    sdata["t"] = aggregate(sdata)
    found = ps.tl.info(sdata)
    assert set(found.index) == {name for _, name, _ in sdata.gen_elements()}
    assert found.loc["he_programs", "made"]["sha256"] == tiny_model().sha256
    assert found.loc["he_programs", "pixels"] == sdata["t"].uns["pixnet_sd"]["pixels"]
    predict(sdata, "he", model=tiny_model(1), overwrite=True)
    assert ps.tl.info(sdata).loc["he_programs", "pixels"] != sdata["t"].uns["pixnet_sd"]["pixels"]


def test_maps_that_were_begun_are_named(tmp_path: Path) -> None:
    section(he=picture()).write(tmp_path / "s.zarr")
    sdata = sd.read_zarr(tmp_path / "s.zarr")
    ps.tl.predict_shard(sdata, number=1, shards=1, model=tiny_model(), device="cpu", progress=False)
    (tmp_path / ".s.zarr+other_programs.partial").mkdir()
    assert ps.tl.info(sdata).attrs == {"unfinished": ["he_programs", "other_programs"], "shards": ["he_programs"]}
    assert ps.tl.finish(sdata) == ["he_programs"]
    assert ps.tl.info(sdata).attrs == {"unfinished": ["other_programs"], "shards": []}
