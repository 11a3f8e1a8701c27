import numpy as np

from closer_look.analysis import hurting
from closer_look.analysis.hurting import critical, errors, milestones
from closer_look.analysis.resampling import Blocks
from closer_look.vocabulary import COMPONENTS
from worlds import CLM, WINDOWS, World, change, swing


def test_noise_alone_is_hardly_ever_significant():
    """In 200 runs of noise, 5 % may have a window that is counted."""
    rng = np.random.default_rng(0)
    blocks = Blocks(np.arange(1, 401))
    sums = (blocks.sums(rng.standard_normal((400, 40))) for _ in range(200))
    counted = [(s > critical(*s.shape) * errors(blocks, s)).any() for s in sums]
    assert np.mean(counted) <= 0.08


def test_errors_are_those_of_the_sums():
    blocks = Blocks(np.arange(1, 2001))
    scale = np.linspace(3, 2, 2000)[:, None]
    sums = blocks.sums(scale * np.random.default_rng(1).standard_normal((2000, 50)))
    true = np.sqrt(blocks.sums(scale**2))
    found = errors(blocks, sums).mean(axis=1, keepdims=True)
    np.testing.assert_allclose(found[2:-2], true[2:-2], rtol=0.25)


def test_errors_are_besides_of_the_text():
    blocks = Blocks(np.arange(1, 2001))
    sums = blocks.sums(np.ones((2000, 3)))
    apart = [0.1 * np.ones((2000, 3)), -0.2 * np.ones((2000, 3))]
    np.testing.assert_allclose(errors(blocks, sums), 0, atol=1e-9)
    expected = sums * np.hypot(0.1, 0.2)
    np.testing.assert_allclose(errors(blocks, sums, apart), expected, rtol=1e-6)


def curves(world):
    table = world.tables("trapezoid")["curves"]
    return table[table["objective"] == "clm"]


def test_windows_with_significant_sums_are_counted_by_block():
    world = World()
    change(CLM, ["key"], "course", at=2, to=np.linspace(1, -1, WINDOWS))(world)
    found = milestones(curves(world)).set_index(["component", "layer"])
    key = found.loc[("key", 3)]
    assert key["positive_updates"] == 10  # half of 20 windows
    assert (key["last_positive"], key["window"]) == (1000, 50)
    np.testing.assert_allclose(key["largest"], -np.linspace(1, -1, WINDOWS)[-5:].sum(), rtol=1e-5)
    others = found.drop(index=("key", 3))
    assert (others["positive_updates"] == 0).all() and others["largest"].isna().all()
    assert set(found.index.unique("component")) == {*COMPONENTS, "embeddings"}
    assert set(hurting.COUNTED) == {*COMPONENTS, "embeddings"}


def test_what_noise_explains_is_not_counted():
    world = World()
    change(CLM, ["key"], "course", at=2, to=np.linspace(1, -1, WINDOWS))(world)
    swing(500)(world)
    found = milestones(curves(world))
    assert (found["positive_updates"] == 0).all()
