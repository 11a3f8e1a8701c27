import pandas as pd

from closer_look.analysis.frames import with_run
from closer_look.config import Run

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
