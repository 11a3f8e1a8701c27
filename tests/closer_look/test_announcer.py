from closer_look.training import announcer
from closer_look.training.announcer import Announcer

LINE = (
    "2026-01-01 | INFO | train_inner | epoch 003: 1 / 2 loss=6.267, ppl=77.01, num_updates={}, lr=0"
)


def test_it_says_where_the_training_is_and_less_and_less_often(monkeypatch):
    said, now = [], [0.0]
    monkeypatch.setattr(announcer, "tell", said.append)
    listen = Announcer("toy/mlm/en/base/1", 100_000, clock=lambda: now[0])
    for update in range(0, 10_001, 10):
        now[0] = 10 + 2 * update
        listen(LINE.format(update))
        listen("loss is mentioned here, and num_updates=7 there is none")
    assert said[0] == (
        "toy/mlm/en/base/1: update 30 of 100,000, loss 4.34 nats, about 2 days, 7:32:20 left"
    )
    updates = [int(line.split()[2].replace(",", "")) for line in said]
    assert updates[:6] == [30, 90, 210, 450, 930, 1890]
    assert updates[6] - updates[5] == updates[7] - updates[6] == 1800  # an hour


def test_a_training_that_goes_on_is_judged_by_its_present_speed(monkeypatch):
    said, now = [], [0.0]
    monkeypatch.setattr(announcer, "tell", said.append)
    listen = Announcer("toy/mlm/en/base/1", 1000, clock=lambda: now[0])
    for now[0], update in ((50, 900), (150, 950)):
        listen(LINE.format(update))
    assert said[0].endswith("about 0:01:40 left")


def test_it_says_once_that_a_training_is_done(monkeypatch):
    said = []
    monkeypatch.setattr(announcer, "tell", said.append)
    listen = Announcer("toy/mlm/en/base/1", 1000, clock=lambda: 0.0)
    for update in (990, 1000, 1001):
        listen(LINE.format(update))
    assert said == ["toy/mlm/en/base/1: all 1,000 updates done, loss 4.34 nats"]
