// What each view shows: panels of series, whatever they are drawn with.
//
// A panel is { group, title, kind, xTitle, yTitle, series } of the kind "lines", "bars" or "cells"
// (a heatmap, whose series are its rows); its note stands where there is nothing to draw. A series
// is { name, colour, dash, x, y, low, high, names, window, rows }: rows() returns it as a tidy
// table; optional are low and high, the names of the points, and how many updates a point is of.
// LCA is shown as contribution, -LCA: up lowers the loss.

const NATS = "nats per predicted token";
const OUTSIDE = ["#6e7781", "#afb8c1"]; // colours outside the layers, for each stack
const NOTHING = "Nothing is recorded for this choice.";

const VIEWS = {
  bars: {
    label: "By layer (bars)",
    panels: barPanels,
    ofComponents: true,
    statistics: {
      contribution: ["Contribution, −ΣLCA", `−ΣLCA (${NATS})`],
      perParameter: ["Contribution per parameter", "−ΣLCA per parameter"],
      positive_updates: ["Updates with positive LCA", "updates"],
      last_positive: ["Last update with positive LCA", "update"],
      largest: ["Largest LCA of an update", `LCA (${NATS})`],
      t50: ["Half is reached by update", "update"],
      t90: ["90 % is reached by update", "update"],
    },
  },
  curves: {
    label: "Over training (curves)",
    panels: curvePanels,
    ofComponents: true,
    statistics: {
      contribution: ["Contribution of an update, −LCA", `−LCA (${NATS})`],
      cumulative: ["Contribution up to an update", `−ΣLCA (${NATS})`],
      positive: ["Positive part of LCA", `LCA > 0 (${NATS})`],
      helping: ["Share of parameters helping", "share"],
      hurting: ["Share of parameters hurting", "share"],
    },
  },
  heads: {
    label: "By head (heatmaps)",
    panels: headPanels,
    ofComponents: true,
    statistics: {
      contribution: ["Contribution, −ΣLCA", `−ΣLCA (${NATS})`],
      share: ["Share of the largest in its panel", "share"],
    },
  },
  loss: {
    label: "Loss",
    panels: lossPanels,
    statistics: {
      loss: ["Training loss", `loss (${NATS})`],
      gradient_norm: ["Gradient norm", "gradient norm"],
      learning_rate: ["Learning rate", "learning rate"],
    },
  },
  completeness: {
    label: "Adding up",
    panels: completenessPanels,
    statistics: {
      dropout: ["Loss on training text, dropout on", `change (${NATS})`],
      train: ["Loss on training text, dropout off", `change (${NATS})`],
      held_out: ["Loss on held-out text", `change (${NATS})`],
    },
  },
};

/**
 * Return the panels that a state of the controls asks for: { view, estimator, statistic, runs,
 * components, together, layer ("each", "all" or a number), head ("each" or a number, 0 for the
 * whole block), smoothing }.
 */
function panels(data, state) {
  const view = VIEWS[state.view];
  if (!state.runs.length) return [noted("Choose at least one run.")];
  if (view.ofComponents && !state.components.length) {
    return [noted("Choose at least one component.")];
  }
  if (state.layer === "each" && state.head === "each") {
    return [noted("Choose one layer to compare its heads, or all layers together.")];
  }
  return view
    .panels(data, state)
    .map((panel) => (panel.series.length ? panel : { ...panel, note: NOTHING }));
}

function noted(note) {
  return { group: "", title: "", series: [], note };
}

/** Bars over layers or heads: a panel for each component, a colour for each run. */
function barPanels(data, state) {
  const stacks = state.runs.some((run) => run.layers[1]?.startsWith("encoder"));
  const layers = stacks ? "layer (the encoder’s before the decoder’s)" : "layer";
  return componentSets(data, state).map(({ components, title }) => ({
    group: "",
    title,
    kind: "bars",
    xTitle: state.head === "each" ? "head" : layers,
    yTitle: axisTitle(state),
    series: state.runs
      .map((run) => barSeries(data, state, run, components))
      .filter((series) => series.y.length),
  }));
}

function barSeries(data, state, run, components) {
  const bars = selections(data, state, run, components)
    .map((selection) => ({ selection, value: total(data, state, run, selection) }))
    .filter(({ value }) => value !== null);
  return {
    ...styleOf(run),
    x: bars.map(({ selection: { layer, head } }) => {
      if (state.head === "each") return String(head);
      return layer > 0 ? String(layer) : layerName(run, layer);
    }),
    y: bars.map(({ value }) => value),
    names: bars.map(({ selection }) => selectionName(run, selection)),
    rows: () =>
      bars.map(({ selection, value }) => ({ ...keys(state, run, selection), value })),
  };
}

/** Return a statistic of the whole training; null if there is none of this selection. */
function total(data, state, run, selection) {
  if (state.statistic in VIEWS.heads.statistics || state.statistic === "perParameter") {
    const rows = data.select("totals", run, state.estimator, selection);
    const lca = sum(rows.map((row) => row.lca));
    const parameters = sum(rows.map((row) => row.elements));
    if (!rows.length) return null;
    return -lca / (state.statistic === "perParameter" ? parameters : 1);
  }
  const rows = data.select("milestones", run, state.estimator, selection);
  return rows.length === 1 ? rows[0][state.statistic] : null; // they do not add up over blocks
}

/**
 * Curves: a panel for each run and component, in which layers or heads are compared; where one
 * layer and head are chosen, a panel for each component, in which runs are.
 */
function curvePanels(data, state) {
  const within = state.layer === "each" || state.head === "each";
  const sets = componentSets(data, state);
  const panel = (group, title, series) => ({
    ...lines(state),
    group,
    title,
    series: series.filter((line) => line !== null),
  });
  if (!within) {
    return sets.map(({ components, title }) =>
      panel("", title, state.runs.flatMap((run) => curveSeries(data, state, run, components))),
    );
  }
  return state.runs.flatMap((run) =>
    sets.map(({ components, title }) =>
      panel(run.label, title, curveSeries(data, state, run, components)),
    ),
  );
}

/** Return a line for each selection of a run, null where nothing is recorded. */
function curveSeries(data, state, run, components) {
  const chosen = selections(data, state, run, components);
  return chosen.map((selection) => {
    const recorded = { contribution: "sum", cumulative: "sum" }[state.statistic] ?? state.statistic;
    const curve = data.curve(run, state.estimator, selection, recorded);
    if (!curve || (state.statistic === "cumulative" && isProbe(state.estimator))) return null;
    const style = chosen.length > 1 ? styleWithin(data, state, run, selection) : styleOf(run);
    const drawn = TRANSFORMS[state.statistic]?.(curve) ?? curve;
    const smoothing = state.statistic === "cumulative" ? 0 : state.smoothing;
    const window = isProbe(state.estimator) ? undefined : curve.ends[0];
    return { ...line(style, keys(state, run, selection), drawn, smoothing), window };
  });
}

/** What a contribution is of LCA: the other sign, which swaps lowest and highest. */
const TRANSFORMS = {
  contribution: ({ ends, values, low, high }) => ({
    ends,
    values: negative(values),
    ...(low && { low: negative(high), high: negative(low) }),
  }),
  cumulative: ({ ends, values }) => {
    let soFar = 0;
    return {
      ends,
      values: values.map((value, at) => (soFar -= value * (ends[at] - (ends[at - 1] ?? 0)))),
    };
  },
};

/** Heatmaps of layers by heads: a panel for each run and component. */
function headPanels(data, state) {
  const everything = { ...state, layer: "each", head: 0 };
  return state.runs.flatMap((run) =>
    componentSets(data, state).map(({ components, title }) => {
      const rows = selections(data, everything, run, components)
        .map((selection) => headRow(data, state, run, selection))
        .filter((row) => row.x.length);
      if (state.statistic === "share") normalise(rows);
      return {
        group: run.label,
        title,
        kind: "cells",
        xTitle: "head",
        yTitle: "layer",
        zTitle: axisTitle(state),
        series: rows,
      };
    }),
  );
}

function headRow(data, state, run, selection) {
  const cells = Array.from({ length: run.heads }, (_, at) => ({ ...selection, head: at + 1 }))
    .map((cell) => ({ cell, value: total(data, state, run, cell) }))
    .filter(({ value }) => value !== null);
  const row = {
    name: layerName(run, selection.layer),
    x: cells.map(({ cell }) => cell.head),
    y: cells.map(({ value }) => value),
    rows: () =>
      cells.map(({ cell }, at) => ({ ...keys(state, run, cell), value: row.y[at] })),
  };
  return row;
}

/** Divide all values by the largest magnitude among them. */
function normalise(rows) {
  const largest = Math.max(...rows.flatMap((row) => row.y.map(Math.abs)));
  for (const row of rows) row.y = row.y.map((value) => value / largest);
}

/** The loss and what goes with it, all runs in one panel. */
function lossPanels(data, state) {
  const series = state.runs.map((run) => {
    const rows = data.losses[run.number];
    const ofLoss = state.statistic === "loss";
    const curve = {
      ends: rows.map((row) => row.update),
      values: rows.map((row) => row[state.statistic]),
      ...(ofLoss && { low: rows.map((row) => row.low), high: rows.map((row) => row.high) }),
    };
    const named = { run: run.name, statistic: state.statistic };
    return { ...line(styleOf(run), named, curve, state.smoothing), window: curve.ends[0] };
  });
  const [title] = VIEWS.loss.statistics[state.statistic];
  return [{ ...lines(state), group: "", title, series }];
}

/** The sum of LCA by each estimator against the change of the loss: a panel for each run. */
function completenessPanels(data, state) {
  return state.runs.map((run) => {
    const measured = data.completeness[run.number].filter(
      (row) => row.reference === state.statistic,
    );
    const recorded = new Set(measured.map((row) => row.estimator));
    const estimators = [...recorded].filter((name) => !isProbe(name)); // it is of some updates only
    const curveOf = (column, rows) => ({
      ends: rows.map((row) => row.update),
      values: rows.map((row) => row[column]),
    });
    const named = (name) => ({ run: run.name, reference: state.statistic, of: name });
    const series = estimators.map((name) => {
      const rows = measured.filter((row) => row.estimator === name);
      const style = { name: data.estimators[name] ?? name, colour: data.estimatorColours[name] };
      return line(style, named(name), curveOf("lca", rows), 0);
    });
    if (estimators.length) {
      const rows = measured.filter((row) => row.estimator === estimators[0]);
      const style = { name: "the loss, measured", colour: "#000000", dash: "dot" };
      series.unshift(line(style, named("loss"), curveOf("change", rows), 0));
    }
    return { ...lines(state), group: "", title: run.label, series };
  });
}

/** Return the sets of components that have a panel each: single ones, or all chosen together. */
function componentSets(data, state) {
  const title = (components) => components.map((name) => data.components[name]).join(" + ");
  const sets = state.together ? [state.components] : state.components.map((name) => [name]);
  return sets.map((components) => ({ components, title: title(components) }));
}

/** Return what is chosen of a run's components: one or each of its layers, one or each head. */
function selections(data, state, run, components) {
  const totals = data.totals[run.number].filter((row) => components.includes(row.component));
  const layers = [...new Set(totals.map((row) => row.layer))].sort((a, b) => a - b);
  const heads = Array.from({ length: run.heads }, (_, at) => at + 1);
  return (state.layer === "each" ? layers : [state.layer]).flatMap((layer) =>
    (state.head === "each" ? heads : [state.head]).map((head) => ({ components, layer, head })),
  );
}

function lines(state) {
  return { kind: "lines", xTitle: "update", yTitle: axisTitle(state) };
}

/** Return the series of a curve, smoothed; its extremes stay as they are. */
function line(style, keys, curve, smoothing) {
  const { ends, low, high } = curve;
  const y = smooth(ends, curve.values, smoothing);
  const rows = () =>
    ends.map((update, at) => ({
      ...keys,
      update,
      value: y[at],
      ...(low && { low: low[at], high: high[at] }),
    }));
  return { ...style, x: ends, y, low, high, rows };
}

/** Return the moving average over a centred window of so many updates, shorter at the ends. */
function smooth(ends, values, updates) {
  const half = Math.floor(updates / ends[0] / 2);
  if (!(half > 0)) return Array.from(values);
  return Array.from(values, (_, at) => {
    const window = values.slice(Math.max(0, at - half), at + half + 1);
    return sum(Array.from(window)) / window.length;
  });
}

function negative(values) {
  return values.map((value) => -value);
}

function isProbe(estimator) {
  return estimator.startsWith("probe");
}

function axisTitle(state) {
  return VIEWS[state.view].statistics[state.statistic][1];
}

function layerName(run, layer) {
  return layer === "all" ? "all layers" : (run.layers[layer] ?? "none");
}

function selectionName(run, { layer, head }) {
  const name = /^\d/.test(layerName(run, layer)) ? `layer ${layer}` : layerName(run, layer);
  return head ? `${name}, head ${head}` : name;
}

function keys(state, run, { components, layer, head }) {
  return {
    run: run.name,
    estimator: state.estimator,
    component: components.join("+"),
    layer: layerName(run, layer),
    head: head || "all",
    statistic: state.statistic,
  };
}

function styleOf(run) {
  return { name: run.label, colour: run.colour };
}

/** Return the style of a layer or head among those of its run: the later, the lighter. */
function styleWithin(data, state, run, selection) {
  const { layer, head } = selection;
  if (state.head === "each") {
    return { name: `head ${head}`, colour: shade(data, (head - 1) / (run.heads - 1)) };
  }
  const name = selectionName(run, selection);
  if (layer <= 0) return { name, colour: OUTSIDE[-layer % OUTSIDE.length] };
  const last = Math.max(...Object.keys(run.layers).map(Number));
  return { name, colour: shade(data, (layer - 1) / (last - 1)) };
}

/** Return the colour at a share of the palette; its end would be hard to see on white. */
function shade(data, share) {
  return data.palette[Math.round(0.93 * (data.palette.length - 1) * (share || 0))];
}
