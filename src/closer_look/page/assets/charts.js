// Panels, as views.js describes them, drawn with Plotly.

const CONFIG = { displayModeBar: false, responsive: true };
const FONT = { family: "system-ui, sans-serif", size: 11, color: "#24292f" };
const LOGARITHMIC = { type: "log", dtick: 1, exponentformat: "none" };
const MOST_BANDS = 4; // more lines with bands could not be told apart

/** Draw a panel in an element. `scale` is the range that all panels share, or undefined. */
function draw(element, panel, data, { scale, logarithmic, extremes, alone }) {
  const layout = {
    font: FONT,
    height: alone ? 380 : 250,
    margin: { l: 74, r: 8, t: 6, b: 40 },
    hovermode: "closest",
    dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom", // a finger scrolls the page
    showlegend: false,
    barmode: "group",
    paper_bgcolor: "transparent",
    plot_bgcolor: "transparent",
    xaxis: axis(panel.xTitle),
    yaxis: axis(panel.yTitle),
  };
  const makers = { lines: lineTraces, bars: barTraces, cells: cellTraces };
  const withBands = extremes && panel.series.length <= MOST_BANDS;
  const traces = makers[panel.kind](panel, { palette: data.palette, scale, withBands });
  if (panel.kind === "lines" && logarithmic) Object.assign(layout.xaxis, LOGARITHMIC);
  if (panel.kind === "bars") Object.assign(layout.xaxis, { type: "category", showgrid: false });
  if (panel.kind === "cells") {
    Object.assign(layout.yaxis, { type: "category", automargin: true, autorange: "reversed" });
    Object.assign(layout.xaxis, { dtick: 1 });
  } else if (scale) {
    layout.yaxis.range = scale;
  }
  return Plotly.react(element, traces, layout, CONFIG);
}

function axis(title) {
  return {
    title: { text: title, font: { size: 11 }, standoff: 6 },
    exponentformat: "power",
    gridcolor: "#e4e4e4",
    zerolinecolor: "#8c959f",
    linecolor: "#8c959f",
  };
}

function lineTraces(panel, { withBands }) {
  const drawn = panel.series.map((series) => ({
    type: "scatter",
    mode: "lines",
    name: series.name,
    x: series.x,
    y: series.y,
    line: { color: series.colour, width: 1.6, dash: series.dash },
    hovertemplate: `${series.name}<br>update %{x:,}: %{y:.4~g}<extra></extra>`,
  }));
  return [...(withBands ? panel.series.flatMap(bandTraces) : []), ...drawn];
}

/** Return the area between smallest and largest, as an invisible line and one filled down to it. */
function bandTraces(series) {
  if (!series.low) return [];
  const edge = (y) => ({
    type: "scatter",
    mode: "lines",
    x: series.x,
    y,
    line: { width: 0 },
    hoverinfo: "skip",
  });
  const fill = { fill: "tonexty", fillcolor: `${series.colour}33` };
  return [edge(series.low), { ...edge(series.high), ...fill }];
}

function barTraces(panel) {
  return panel.series.map((series) => ({
    type: "bar",
    name: series.name,
    x: series.x,
    y: series.y,
    customdata: series.names,
    marker: { color: series.colour },
    hovertemplate: `${series.name}<br>%{customdata}: %{y:.4~g}<extra></extra>`,
  }));
}

function cellTraces(panel, { palette, scale }) {
  const values = panel.series.flatMap((row) => row.y);
  const [zmin, zmax] = scale ?? [Math.min(0, ...values), Math.max(...values)];
  return [
    {
      type: "heatmap",
      x: panel.series[0].x,
      y: panel.series.map((row) => row.name),
      z: panel.series.map((row) => row.y),
      zmin,
      zmax,
      colorscale: palette.map((colour, at) => [at / (palette.length - 1), colour]),
      reversescale: true, // the more, the darker, as in the paper
      colorbar: {
        thickness: 10,
        outlinewidth: 0,
        exponentformat: "power",
        title: { text: panel.zTitle, side: "right", font: { size: 11 } },
      },
      xgap: 1,
      ygap: 1,
      hovertemplate: "layer %{y}, head %{x}: %{z:.4~g}<extra></extra>",
    },
  ];
}

/** Return the range that holds all values of all panels, and zero. */
function commonScale(panels) {
  const values = panels.flatMap((panel) => panel.series.flatMap((series) => Array.from(series.y)));
  const low = values.reduce((least, value) => Math.min(least, value), 0);
  const high = values.reduce((most, value) => Math.max(most, value), 0);
  return [low * 1.05, high * 1.05];
}
