import re

import numpy as np
import pandas as pd
import pytest

from closer_look.analysis.frames import load, read, with_run, write
from closer_look.config import Run
from closer_look.jobs.job import InputError

RUN = Run("europarl", "clm", "en", "base", 2)


def test_the_run_comes_first_and_the_given_frame_stays_as_it_was():
    frame = pd.DataFrame({"loss": [3.0, 2.0]})
    for _ in range(2):
        table = with_run(frame, RUN)
    assert list(table) == [*RUN._fields, "loss"]
    assert table["seed"].tolist() == [2, 2]
    assert list(frame) == ["loss"]


def test_a_frame_without_rows_has_the_columns_too():
    assert list(with_run(pd.DataFrame({"loss": []}), RUN)) == [*RUN._fields, "loss"]


@pytest.mark.parametrize("place", [0.3, 0.6, 0.7])
def test_a_flipped_bit_is_no_other_value(tmp_path, place):
    path = tmp_path / "losses.parquet"
    values = np.random.default_rng(1).random(1000)
    write(pd.DataFrame({"estimator": "own_batch", "loss": values}), path)
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1
    assert load(path)["loss"].tolist() == values.tolist()
    path.write_bytes(content)
    message = f"^{re.escape(str(path))}: damaged: .*; remove it, and Snakemake makes it anew$"
    for function in (lambda: load(path), lambda: read([path], "own_batch")):
        with pytest.raises(InputError, match=message):
            function()
