"""The page's explorer in a tab of a browser: how it is operated and read."""

import csv

DRAWN = """() => [...document.querySelectorAll(".plot")].map(plot => ({
    title: plot.parentElement.querySelector("h4")?.textContent,
    x: plot._fullLayout.xaxis.type,
    range: plot._fullLayout.yaxis.range,
    traces: plot.data.map(({type, name, x, y, z}) =>
        ({type, name, x: [...x], y: y && [...y], z: z && z.map(row => [...row])})),
}))"""
"""What the explorer shows, as its plots hold it."""


def go_to(tab, address):
    """Change the part of the address that says what is shown, as a link does."""
    tab.evaluate(
        """address => location.hash === address || new Promise(done => {
            addEventListener("hashchange", done, { once: true });
            location.hash = address;
        }).then(() => true)""",
        address,
    )


def complaints(tab, html):
    own = (html.as_uri(), "data:", "blob:")
    return {text for text in tab.complaints if not text.startswith(own)}


def choose_view(tab, view):
    tab.check(f"input[name=view][value={view}]")


def choose(tab, name, values):
    tab.evaluate(
        """([name, values]) => {
            for (const box of document.querySelectorAll(`input[name=${name}]`))
                box.checked = values.includes(box.value);
            document.getElementById("controls").dispatchEvent(new Event("input"));
        }""",
        [name, values],
    )


def traces(tab):
    """Return the traces of every plot by the plot's title."""
    return {plot["title"]: plot["traces"] for plot in tab.evaluate(DRAWN)}


def download(tab):
    with tab.expect_download() as waiting:
        tab.click("#download")
    with open(waiting.value.path(), encoding="utf-8", newline="") as file:
        return waiting.value.suggested_filename, list(csv.DictReader(file))
