// The explorer's controls. The form is the state: it is read whenever it changes, and written to
// the page's address, so that a view can be shared.

const MOST_PANELS = 36;
const MOST_ROWS = 300; // of the table in the page; the downloaded one has all

const form = document.getElementById("controls");
const controls = form.elements;

/** Unpack the data, fill the controls, and draw whenever one of them changes. */
async function start() {
  if (typeof DecompressionStream === "undefined") {
    document.getElementById("status").textContent = "This browser is too old for the explorer.";
    return;
  }
  const plotly = document.createElement("script");
  plotly.textContent = await unpackText("plotly");
  document.head.append(plotly);
  const data = new Data(JSON.parse(await unpackText("index")), await unpack("curves"));

  addControls(data);
  restore();
  let shown = show(data);
  form.addEventListener("input", () => {
    shown = show(data);
    history.replaceState(null, "", `#${new URLSearchParams(new FormData(form))}`);
  });
  addEventListener("hashchange", () => {
    if (restore()) shown = show(data);
  });
  document.getElementById("download").addEventListener("click", () => download(shown));
  document.getElementById("data").addEventListener("toggle", () => tabulate(shown));
}

/** Fill the form with what the data have to choose from. */
function addControls(data) {
  const names = (object) => Object.entries(object);
  const views = names(VIEWS).map(([name, { label }]) => [name, label]);
  document.getElementById("views").append(...choices("radio", "view", views));
  controls.view[0].checked = true;

  const runs = data.runs.map((run) => [run.name, run.label, run.colour]);
  const ofObjective = names(data.objectives).map(([objective, label]) => [
    label,
    data.runs.filter((run) => run.objective === objective).map((run) => run.name),
  ]);
  addChoice("run-choice", "run", runs, ofObjective);
  check("run", data.runs.filter((run) => run.main).map((run) => run.name));

  addChoice("component-choice", "component", names(data.components), [
    ["Attention", ["key", "query", "value", "out"]],
    ["Feed-forward", ["w1", "w2"]],
  ]);
  check("component", data.paperComponents);

  fill(controls.estimator, names(data.estimators));
  fill(controls.layer, [["each", "each"], ["all", "all together"], ...layerOptions(data.runs)]);
  const heads = Math.max(...data.runs.map((run) => run.heads));
  const numbers = Array.from({ length: heads }, (_, at) => [at + 1, at + 1]);
  fill(controls.head, [[0, "the whole block"], ["each", "each"], ...numbers]);
}

/** Return an option for each number of a layer, with its names in the runs. */
function layerOptions(runs) {
  const names = new Map();
  for (const { layers } of runs) {
    for (const [number, name] of Object.entries(layers)) {
      names.set(Number(number), (names.get(Number(number)) ?? new Set()).add(name));
    }
  }
  return [...names].sort(([a], [b]) => a - b).map(([number, set]) => [number, [...set].join(", ")]);
}

/** Add check boxes to a fieldset, and buttons that check groups of them. */
function addChoice(id, name, options, groups) {
  const buttons = document.createElement("span");
  buttons.className = "buttons";
  const all = options.map(([value]) => value);
  for (const [label, values] of [["All", all], ["None", []], ...groups]) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = label;
    button.addEventListener("click", () => {
      check(name, values);
      form.dispatchEvent(new Event("input"));
    });
    if (values.length || label === "None") buttons.append(button);
  }
  document.getElementById(id).append(buttons, ...choices("checkbox", name, options));
}

/** Return labelled radio buttons or check boxes of [value, label, colour]. */
function choices(type, name, options) {
  return options.map(([value, text, colour]) => {
    const label = document.createElement("label");
    const input = Object.assign(document.createElement("input"), { type, name, value });
    label.append(input, colour ? swatch({ colour }) : "", ` ${text}`);
    return label;
  });
}

/** Check the boxes of these values, and no others. */
function check(name, values) {
  for (const box of form.querySelectorAll(`input[name="${name}"]`)) {
    box.checked = values.includes(box.value);
  }
}

/** Fill a select with [value, label], keeping what is chosen if it is still there. */
function fill(select, options) {
  const chosen = select.value;
  select.replaceChildren(...options.map(([value, label]) => new Option(label, value)));
  choose(select, chosen);
}

/** Choose an option of a select; its first if there is no such one. */
function choose(select, value) {
  select.value = value;
  if (select.selectedIndex < 0) select.selectedIndex = 0;
}

/** Set the controls as the address says; return whether it says anything. */
function restore() {
  const said = new URLSearchParams(location.hash.slice(1));
  if (!Object.hasOwn(VIEWS, said.get("view"))) return false;
  for (const name of ["view", "run", "component"]) {
    if (said.has(name)) check(name, said.getAll(name));
  }
  adapt();
  for (const name of ["estimator", "statistic", "layer", "head"]) {
    choose(controls[name], said.get(name));
  }
  controls.smoothing.value = said.get("smoothing") ?? 0;
  for (const name of ["together", "equal", "extremes", "logarithmic"]) {
    controls[name].checked = said.has(name);
  }
  document.getElementById("explorer").scrollIntoView();
  return true;
}

/** Offer only what has a say in the chosen view. */
function adapt() {
  const view = controls.view.value;
  for (const element of form.querySelectorAll("[data-views]")) {
    element.hidden = !element.dataset.views.split(" ").includes(view);
    for (const input of element.querySelectorAll("input, select")) input.disabled = element.hidden;
  }
  const statistics = Object.entries(VIEWS[view].statistics);
  fill(controls.statistic, statistics.map(([name, [label]]) => [name, label]));
}

/** Return the state of the controls, as views.js wants it. */
function read(data) {
  const values = new FormData(form);
  const number = (text) => (/^-?\d+$/.test(text) ? Number(text) : text);
  return {
    view: values.get("view"),
    estimator: values.get("estimator"),
    statistic: values.get("statistic"),
    layer: number(values.get("layer")),
    head: number(values.get("head")),
    runs: data.runs.filter((run) => values.getAll("run").includes(run.name)),
    components: values.getAll("component"),
    smoothing: Number(values.get("smoothing")),
    together: values.has("together"),
    equal: values.has("equal"),
    extremes: values.has("extremes"),
    logarithmic: values.has("logarithmic"),
  };
}

/** Draw what the controls ask for; return it as { state, panels }. */
function show(data) {
  adapt();
  const state = read(data);
  const all = panels(data, state);
  const drawn = all.slice(0, MOST_PANELS);
  const container = document.getElementById("panels");
  for (const old of container.querySelectorAll(".plot")) Plotly.purge(old);
  container.replaceChildren(...grids(drawn));
  const scale = state.equal ? commonScale(drawn) : undefined;
  const options = { ...state, scale, alone: drawn.length === 1 };
  container.querySelectorAll(".plot").forEach((element) => {
    draw(element, drawn[element.dataset.panel], data, options);
  });
  document.getElementById("status").textContent = summary(all, drawn);
  showLegend(drawn);
  tabulate({ state, panels: all });
  return { state, panels: all };
}

/** Return the panels' elements, in a grid for each group, which has a heading. */
function grids(drawn) {
  const elements = [];
  drawn.forEach((panel, number) => {
    if (number === 0 || panel.group !== drawn[number - 1].group) {
      if (panel.group) elements.push(textElement("h3", panel.group));
      elements.push(Object.assign(document.createElement("div"), { className: "grid" }));
    }
    elements.at(-1).append(panelElement(panel, number));
  });
  return elements;
}

function panelElement(panel, number) {
  const element = Object.assign(document.createElement("div"), { className: "panel" });
  if (panel.title) element.append(textElement("h4", panel.title));
  if (panel.note) {
    element.append(textElement("p", panel.note));
    return element;
  }
  const plot = Object.assign(document.createElement("div"), { className: "plot" });
  plot.dataset.panel = number;
  plot.setAttribute("role", "img");
  const names = [panel.group, panel.title, `${panel.yTitle} by ${panel.xTitle}`].filter(Boolean);
  plot.setAttribute("aria-label", `${names.join(", ")}; the data are in the table below`);
  element.append(plot);
  return element;
}

function textElement(name, text) {
  return Object.assign(document.createElement(name), { textContent: text });
}

/** Say in a sentence what is shown. */
function summary(all, drawn) {
  const count = all.filter((panel) => panel.kind).length;
  if (!count) return "";
  const cut = all.length > drawn.length ? `, of which the first ${drawn.length} are shown` : "";
  const windows = drawn.flatMap((panel) => panel.series.map((series) => series.window));
  const sizes = [...new Set(windows.filter(Boolean))].map((size) => size.toLocaleString("en"));
  const means = sizes.length ? ` A point is the mean of ${sizes.join(" or ")} updates.` : "";
  return `${count} panel${count > 1 ? "s" : ""}${cut}.${means}`;
}

/** Say which colour is what, once for all panels. */
function showLegend(drawn) {
  const names = new Map();
  for (const panel of drawn.filter((panel) => panel.kind !== "cells")) {
    for (const { name, colour, dash } of panel.series) {
      const key = `${colour} ${dash ?? ""}`;
      names.set(key, { colour, dash, names: (names.get(key)?.names ?? new Set()).add(name) });
    }
  }
  const entries = [...names.values()].map(({ colour, dash, names }) => {
    const entry = document.createElement("span");
    entry.append(swatch({ colour, dash }), ` ${[...names].join(", ")}`);
    return entry;
  });
  document.getElementById("legend").replaceChildren(...entries);
}

function swatch({ colour, dash }) {
  const element = document.createElement("i");
  element.className = dash && dash !== "solid" ? "swatch dashed" : "swatch";
  element.style.color = colour;
  return element;
}

/** Return the tidy rows of a view, and the names of their columns. */
function tidy({ panels }) {
  const rows = panels.flatMap((panel) => panel.series.flatMap((series) => series.rows()));
  return { rows, columns: [...new Set(rows.flatMap(Object.keys))] };
}

/** Return a value as text: six digits, nothing if it is missing. */
function asText(value) {
  if (typeof value !== "number") return value ?? "";
  return Number.isFinite(value) ? String(Number(value.toPrecision(6))) : "";
}

/** Save the rows of a view as a CSV file. */
function download(shown) {
  const { rows, columns } = tidy(shown);
  const quoted = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const lines = rows.map((row) => columns.map((name) => quoted(asText(row[name]))).join(","));
  const file = new Blob([[columns.join(","), ...lines, ""].join("\n")], { type: "text/csv" });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = `lca-${shown.state.view}-${shown.state.statistic}.csv`;
  link.click();
  URL.revokeObjectURL(link.href);
}

/** Show the first rows of a view as a table, if it is open. */
function tabulate(shown) {
  const details = document.getElementById("data");
  const target = details.querySelector(".scroll");
  if (!details.open) return target.replaceChildren();
  const { rows, columns } = tidy(shown);
  const table = document.createElement("table");
  const header = table.createTHead().insertRow();
  for (const name of columns) header.append(textElement("th", name));
  const body = table.createTBody();
  for (const row of rows.slice(0, MOST_ROWS)) {
    const line = body.insertRow();
    for (const name of columns) line.insertCell().textContent = asText(row[name]);
  }
  const rest = rows.length - MOST_ROWS;
  const more = rest > 0 ? `${rest} more rows are in the downloaded file.` : "";
  target.replaceChildren(table, textElement("p", more));
}

/** Print the figures and settings that are folded away, too, and plots as wide as they are. */
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details.print")) details.open = true;
  for (const panel of document.querySelectorAll(".panel")) {
    panel.style.width = `${panel.clientWidth}px`;
  }
});
addEventListener("afterprint", () => {
  for (const panel of document.querySelectorAll(".panel")) panel.style.width = "";
});

start();
