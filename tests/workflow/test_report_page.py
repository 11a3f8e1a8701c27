"""The page in a real browser."""

import shutil

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import expect

import report_tables
from browser import chromium
from closer_look.config import Run
from closer_look.page.exhibits import Captions, read_figure, read_table
from closer_look.page.page import TABLES, RunFiles, page
from explorer_tab import DRAWN, choose, choose_view, complaints, download, go_to, traces

MLM, ESTONIAN, CLM, MT = report_tables.RUNS
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
LAPTOP = {"viewport": {"width": 1280, "height": 800}}
CAPTION = "**Figure 1.** Contributions of *all* layers, summed. Up lowers the loss.\n"


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    """The page of four made-up runs, three of them main runs."""
    folder = tmp_path_factory.mktemp("page")
    report_tables.write(folder)
    plt.figure(figsize=(11, 3)).savefig(folder / "figure1.png")
    shutil.copy(folder / "figure1.png", folder / "figure1.next_batch.png")
    (folder / "table1.csv").write_text("component,count\nkey,24\nw1 & <w2>,0\n")
    for name in ("figure1", "table1"):
        (folder / f"{name}.rst").write_text(CAPTION)
    captions = Captions(folder.glob("*.rst"), {})
    figures = [folder / "figure1.png", folder / "figure1.next_batch.png"]
    path = folder / "report.html"
    text = page(
        runs=[run_files(folder, run) for run in report_tables.RUNS],
        main_runs=[run.name for run in (MLM, CLM, MT)],
        claims=pd.read_csv(folder / "tables/claims.csv", dtype={"claim": str}),
        figures=[read_figure(file, captions) for file in figures],
        tables=[read_table(folder / "table1.csv", captions)],
    )
    path.write_text(text, encoding="utf-8")
    return path


def run_files(folder, run: Run) -> RunFiles:
    place = folder / "runs" / run.name
    return RunFiles(place / "run.json", {name: place / f"{name}.parquet" for name in TABLES})


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def open_page(browser, html):
    """A function that opens the page in a tab that remembers complaints and requests."""

    def open_page(address="", **options):
        tab = browser.new_context(**(LAPTOP | options)).new_page()
        tab.complaints = []
        tab.on("console", lambda message: tab.complaints.append(message.text))
        tab.on("pageerror", lambda error: tab.complaints.append(str(error)))
        tab.on("request", lambda request: tab.complaints.append(request.url))
        tab.goto(f"{html.as_uri()}{address}")
        if options.get("java_script_enabled", True):
            expect(tab.locator("#status")).not_to_have_text("Loading …", timeout=30_000)
        return tab

    return open_page


@pytest.fixture(scope="module")
def shared_tab(open_page):
    """A tab in which the page was loaded, and its address with all controls as they are then."""
    tab = open_page()
    assert tab.evaluate("location.hash") == ""
    tab.evaluate("document.getElementById('controls').dispatchEvent(new Event('input'))")
    return tab, tab.evaluate("location.hash")


@pytest.fixture
def tab(shared_tab, html):
    """The tab with the controls as at first; fails the test on any complaint or request."""
    tab, address = shared_tab
    go_to(tab, address)
    yield tab
    assert complaints(tab, html) == set()


def test_no_script_but_the_pages_own_runs_and_nothing_is_loaded(open_page):
    tab = open_page()
    assert tab.complaints[1:] == []
    add = (
        "([name, text]) => document.head.append(Object.assign(document.createElement(name), text))"
    )
    tab.evaluate(add, ["script", {"textContent": "globalThis.injected = 1"}])
    assert tab.evaluate("globalThis.injected") is None
    tab.evaluate(add, ["img", {"src": "http://127.0.0.1:9/x.png"}])
    tab.wait_for_timeout(100)
    refused = [text for text in tab.complaints if "Content Security Policy" in text]
    assert {"script-src" in text for text in refused} == {True, False}


def test_the_verdicts_come_first_and_their_texts_are_escaped(tab):
    heading = tab.locator("main h2").first.inner_text()
    assert heading == "Do the paper’s conclusions hold?"
    rows = tab.locator("table.claims tbody tr")
    assert rows.count() == 5
    assert "Nothing hurts <on the whole>" in rows.nth(1).inner_text()
    assert rows.nth(1).locator(".badge").all_inner_texts() == ["✓ holds", "✗ fails", "✗ fails"]
    assert tab.locator("tr.disputed th").all_inner_texts() == [
        rows.nth(1).locator("th").inner_text()
    ]


def test_without_javascript_all_but_the_explorer_is_there(open_page):
    tab = open_page(java_script_enabled=False)
    assert tab.locator("noscript .warning").is_visible()
    assert tab.locator("table.claims tbody tr").count() == 5
    width = tab.locator("#figures img").first.bounding_box()["width"]
    assert width > 500
    assert tab.get_by_text("w1 & <w2>").is_visible()


def test_figures_have_captions_and_alternative_texts(tab):
    figure = tab.locator("figure#figure1")
    assert (
        figure.locator("img").first.get_attribute("alt") == "Contributions of all layers, summed."
    )
    assert figure.locator("figcaption em").inner_text() == "all"
    assert tab.evaluate("document.querySelector('#figure1 img').naturalWidth") > 1000
    other = figure.locator("details")
    assert "next-batch" in other.locator("summary").inner_text()
    assert other.locator("img").is_hidden()


def test_bars_are_the_totals(tab):
    totals = report_tables.tables(MLM)["totals"]
    keys = totals.query("estimator == 'own_batch' and component == 'key' and head == 0")
    bars = {trace["name"]: trace for trace in traces(tab)["Key"]}
    assert set(bars) == {"Masked LM · en", "Causal LM · en", "Translation · en→de"}
    assert bars["Masked LM · en"]["x"] == ["1", "2", "3", "4"]
    assert bars["Masked LM · en"]["y"] == pytest.approx(-keys["lca"], rel=1e-5)


def test_curves_are_the_tables_and_smoothing_is_a_moving_average(tab):
    choose(tab, "run", [MLM.name])
    choose_view(tab, "curves")
    curves = report_tables.tables(MLM)["curves"]
    w1 = curves.query("estimator == 'own_batch' and component == 'w1' and layer == 2")
    line = traces(tab)["W1"][1]
    assert line["name"] == "layer 2"
    assert line["x"] == w1["update"].tolist()
    assert line["y"] == pytest.approx(-w1["sum"], rel=1e-3)
    tab.fill("input[name=smoothing]", "12")  # three windows of four updates
    smoothed = w1["sum"].rolling(3, center=True, min_periods=1).mean()
    assert traces(tab)["W1"][1]["y"] == pytest.approx(-smoothed, rel=1e-3)
    tab.select_option("select[name=statistic]", "cumulative")
    assert traces(tab)["W1"][1]["y"] == pytest.approx(-(w1["sum"] * 4).cumsum(), rel=1e-3)


def test_extremes_turn_over_with_the_sign(tab):
    choose(tab, "run", [MLM.name])
    choose_view(tab, "curves")
    tab.select_option("select[name=layer]", "2")
    tab.check("input[name=extremes]")
    curves = report_tables.tables(MLM)["curves"]
    w1 = curves.query("estimator == 'own_batch' and component == 'w1' and layer == 2")
    low, high, _ = traces(tab)["W1"]
    assert low["y"] == pytest.approx(-w1["high"], rel=1e-3, abs=1e-9)
    assert high["y"] == pytest.approx(-w1["low"], rel=1e-3, abs=1e-9)


def test_components_summed_add_up(tab):
    choose_view(tab, "curves")
    choose(tab, "run", [CLM.name])
    choose(tab, "component", ["w1", "w2"])
    tab.select_option("select[name=layer]", "all")
    single = traces(tab)
    tab.check("input[name=together]")
    (together,) = traces(tab)["W1 + W2"]
    parts = np.add(single["W1"][0]["y"], single["W2"][0]["y"])
    assert together["y"] == pytest.approx(parts, rel=1e-5)


def test_the_shares_of_several_blocks_stay_shares(tab):
    choose_view(tab, "curves")
    choose(tab, "run", [CLM.name])
    tab.select_option("select[name=statistic]", "helping")
    tab.select_option("select[name=layer]", "all")
    tab.check("input[name=together]")
    ((line,),) = traces(tab).values()
    assert min(line["y"]) > 0.4 and max(line["y"]) < 0.7


def test_heatmaps_are_the_heads_totals(tab):
    choose_view(tab, "heads")
    choose(tab, "run", [MT.name])
    totals = report_tables.tables(MT)["totals"]
    values = totals.query("estimator == 'own_batch' and component == 'value' and head > 0")
    (cells,) = traces(tab)["Value"]
    assert cells["y"] == ["encoder 1", "encoder 2", "decoder 1", "decoder 2"]
    assert np.ravel(cells["z"]) == pytest.approx(-values["lca"], rel=1e-5)
    assert "Nothing is recorded" in tab.locator(".panel", has_text="W1").inner_text()


def test_losses_and_sums_are_the_tables(tab):
    choose_view(tab, "loss")
    ((first, *others),) = traces(tab).values()
    assert len(others) == 2
    assert first["y"] == pytest.approx(report_tables.tables(MLM)["losses"]["loss"], rel=1e-5)
    choose_view(tab, "completeness")
    of_mlm = {trace["name"]: trace["y"][-1] for trace in traces(tab)["Masked LM · en"]}
    change = report_tables.LAST - report_tables.FIRST
    expected = {"the loss, measured": change, "own-batch": 4 * change}
    assert of_mlm.items() >= {name: pytest.approx(y) for name, y in expected.items()}.items()


CHANGES = {
    "view": ("bars", lambda tab: choose_view(tab, "heads")),
    "estimator": ("bars", lambda tab: tab.select_option("[name=estimator]", "next_batch")),
    "statistic": ("bars", lambda tab: tab.select_option("[name=statistic]", "largest")),
    "a layer": ("bars", lambda tab: tab.select_option("[name=layer]", "3")),
    "a head": ("bars", lambda tab: tab.select_option("[name=head]", "2")),
    "run": ("bars", lambda tab: tab.check(f"[name=run][value='{ESTONIAN.name}']")),
    "runs of an objective": ("bars", lambda tab: tab.click("button:text('Causal LM')")),
    "component": ("bars", lambda tab: tab.uncheck("[name=component][value=w2]")),
    "components": ("bars", lambda tab: tab.click("button:text('Feed-forward')")),
    "sum": ("bars", lambda tab: tab.check("[name=together]")),
    "scale": ("bars", lambda tab: tab.check("[name=equal]")),
    "smoothing": ("curves", lambda tab: tab.fill("[name=smoothing]", "50")),
    "layers of curves": ("curves", lambda tab: tab.select_option("[name=layer]", "2")),
    "heads of curves": ("curves", lambda tab: tab.select_option("[name=head]", "1")),
    "logarithm": ("curves", lambda tab: tab.check("[name=logarithmic]")),
    "extremes": ("loss", lambda tab: tab.check("[name=extremes]")),
    "statistic of heads": ("heads", lambda tab: tab.select_option("[name=statistic]", "share")),
    "estimator of heads": ("heads", lambda tab: tab.select_option("[name=estimator]", "trapezoid")),
    "reference": ("completeness", lambda tab: tab.uncheck(f"[name=run][value='{MLM.name}']")),
}


@pytest.mark.parametrize(("view", "change"), CHANGES.values(), ids=CHANGES)
def test_each_control_changes_what_is_shown_and_the_address_remembers_it(tab, view, change):
    choose_view(tab, view)
    before, address = tab.evaluate(DRAWN), tab.evaluate("location.hash")
    change(tab)
    after, changed = tab.evaluate(DRAWN), tab.evaluate("location.hash")
    assert after and after != before
    go_to(tab, address)
    assert tab.evaluate(DRAWN) == before
    go_to(tab, changed)
    assert tab.evaluate(DRAWN) == after


def test_a_shared_address_opens_the_view(tab, open_page, html):
    tab.select_option("[name=layer]", "3")
    choose_view(tab, "curves")
    opened = open_page(tab.evaluate("location.hash"))
    assert opened.evaluate(DRAWN) == tab.evaluate(DRAWN)
    assert complaints(opened, html) == set()


def test_an_address_of_what_is_not_there_shows_something(tab):
    go_to(tab, f"#view=bars&run=gone&run={MLM.name}&component=key&layer=99&estimator=gone")
    assert [*traces(tab)] == ["Key"]


@pytest.mark.parametrize(
    ("view", "name", "columns"),
    [
        ("bars", "lca-bars-contribution.csv", {"run", "estimator", "component", "layer", "value"}),
        ("curves", "lca-curves-contribution.csv", {"run", "layer", "update", "value"}),
        ("heads", "lca-heads-contribution.csv", {"run", "layer", "head", "value"}),
        ("loss", "lca-loss-loss.csv", {"run", "update", "value", "low", "high"}),
        ("completeness", "lca-completeness-dropout.csv", {"run", "reference", "of", "value"}),
    ],
)
def test_the_downloaded_data_are_those_of_the_view(tab, view, name, columns):
    choose_view(tab, view)
    shown = [value for plot in traces(tab).values() for trace in plot for value in numbers(trace)]
    filename, rows = download(tab)
    assert filename == name
    assert columns <= rows[0].keys()
    assert {row["run"] for row in rows} == {MLM.name, CLM.name, MT.name}
    by_last_panels = [float(row["value"]) for row in rows][-len(shown) :]
    assert sorted(by_last_panels) == pytest.approx(sorted(shown), rel=1e-4, abs=1e-12)


def numbers(trace):
    return np.ravel(trace["z"] if trace["z"] else trace["y"]).tolist()


def test_the_table_below_the_view_has_its_rows(open_page):
    tab = open_page()
    tab.click("#data summary")
    rows = tab.locator("#data tbody tr")
    rows.first.wait_for()
    assert rows.count() == 3 * 4 * 6
    assert rows.first.locator("td").first.inner_text() == MLM.name


def test_values_are_shown_where_the_pointer_is(tab):
    plot = tab.locator(".plot").first
    plot.scroll_into_view_if_needed()
    box = plot.locator(".bars path").nth(3).bounding_box()
    tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    hover = plot.locator(".hoverlayer text").first
    hover.wait_for()
    assert "Masked LM · en" in hover.text_content()
    assert "layer 4" in hover.text_content()


def test_it_can_be_used_with_the_keyboard_alone(tab):
    tab.focus("input[name=view][value=bars]")
    tab.keyboard.press("ArrowRight")
    assert "A point is the mean of 4 updates" in tab.locator("#status").inner_text()
    tab.focus("input[name=together]")
    tab.keyboard.press("Space")
    assert all(" + " in title for title in traces(tab))
    unlabelled = tab.evaluate(
        "[...document.querySelectorAll('input, select')].filter(e => !e.labels.length).length"
    )
    assert unlabelled == 0
    tab.keyboard.press("Tab")
    outline = tab.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def test_nothing_is_wider_than_a_phone(open_page, html):
    tab = open_page(**PHONE)
    tab.evaluate("document.querySelectorAll('details').forEach(each => (each.open = true))")
    for view in ("bars", "curves", "heads", "loss", "completeness"):
        choose_view(tab, view)
        assert tab.evaluate("document.documentElement.scrollWidth") <= 390, view
    assert complaints(tab, html) == set()


HIDDEN_IN_PRINT = ("nav", "#controls", "#download", "#data")
PRINTED = (".plot", "table.claims", "#legend", "#figure1 details img")


def test_the_print_shows_all_but_controls(open_page):
    tab = open_page()
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    tab.emulate_media(media="print")
    visible = {name: tab.locator(name).first.is_visible() for name in (*HIDDEN_IN_PRINT, *PRINTED)}
    assert {name for name, is_visible in visible.items() if is_visible} == set(PRINTED)
    assert tab.pdf(format="A4").startswith(b"%PDF")


def test_many_panels_are_cut_and_that_is_said(tab):
    choose_view(tab, "curves")
    tab.click("#component-choice button:text('All')")
    tab.click("#run-choice button:text('All')")
    assert tab.locator(".panel").count() == 36
    assert "of which the first 36 are shown" in tab.locator("#status").inner_text()


def test_nothing_chosen_is_said(tab):
    tab.click("#run-choice button:text('None')")
    assert "Choose at least one run." in tab.locator("#panels").inner_text()


def test_the_page_is_one_file(html):
    text = html.read_text()
    assert len(text) < 15_000_000
    outside = [part[:60] for part in text.split('src="')[1:] if not part.startswith("data:")]
    assert outside == []
