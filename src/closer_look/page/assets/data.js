// The tables behind the explorer, unpacked from the page.

/** Return the bytes of a script element that holds gzip in base64. */
async function unpack(id) {
  const text = document.getElementById(id).textContent;
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(plain).arrayBuffer());
}

/** Return the text of such an element. */
async function unpackText(id) {
  return new TextDecoder().decode(await unpack(id));
}

/** Return the number that 16 bits stand for (IEEE 754 binary16). */
function fromHalf(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = (bits & 1023) / 1024;
  if (exponent === 31) return NaN; // infinities are not written
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction) : 2 ** -14 * fraction);
}

/** Return the rows of a table given by its columns. */
function toRows(columns) {
  const names = Object.keys(columns);
  return columns[names[0]].map((_, row) =>
    Object.fromEntries(names.map((name) => [name, columns[name][row]])),
  );
}

/** Return the sum of numbers. */
const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);

/** What the explorer shows; see explorer.py for how it is made. */
class Data {
  constructor(index, bytes) {
    Object.assign(this, index);
    this.bytes = bytes;
    for (const table of ["totals", "milestones", "losses", "completeness"]) {
      const rows = toRows(index[table]);
      this[table] = this.runs.map((_, number) => rows.filter((row) => row.run === number));
    }
    this.runs.forEach((run, number) => {
      run.number = number;
      run.name = [run.corpus, run.objective, run.languages, run.variant, run.seed].join("/");
      run.heads = Math.max(...this.totals[number].map((row) => row.head));
    });
  }

  /** Return the rows of "totals" or "milestones" that a selection takes in. */
  select(table, run, estimator, selection) {
    return this[table][run.number].filter(
      (row) => row.estimator === estimator && selects(selection, row),
    );
  }

  /**
   * Return the curve of a run's selected blocks together: { ends, values, low, high }.
   *
   * Shares ("helping", "hurting") are means over all elements, other statistics add up; low and
   * high are those of a single block. Null if nothing is recorded.
   */
  curve(run, estimator, selection, statistic) {
    const ofHeads = selection.head > 0;
    const entry = this.curves.find(
      (entry) =>
        entry.run === run.number &&
        entry.estimator === estimator &&
        entry.blocks.some(([, , head]) => head > 0) === ofHeads &&
        statistic in entry.statistics,
    );
    if (!entry) return null;
    const rows = [...entry.blocks.keys()].filter((row) => {
      const [layer, component, head] = entry.blocks[row];
      return selects(selection, { layer, component, head });
    });
    if (!rows.length) return null;
    const isShare = statistic === "helping" || statistic === "hurting";
    const elements = sum(rows.map((row) => entry.blocks[row][3]));
    const values = new Float64Array(entry.ends.length);
    for (const row of rows) {
      const weight = isShare ? entry.blocks[row][3] / elements : 1;
      this.#read(entry, statistic, row).forEach((value, at) => (values[at] += weight * value));
    }
    const curve = { ends: entry.ends, values };
    if (statistic === "sum" && rows.length === 1 && "low" in entry.statistics) {
      curve.low = this.#read(entry, "low", rows[0]);
      curve.high = this.#read(entry, "high", rows[0]);
    }
    return curve;
  }

  /** Return one row of a matrix in the buffer: all its low bytes come before its high bytes. */
  #read(entry, statistic, row) {
    const { offset, scales } = entry.statistics[statistic];
    const width = entry.ends.length;
    const first = offset + row * width;
    const toHigh = scales.length * width;
    return Float64Array.from({ length: width }, (_, at) => {
      const bits = this.bytes[first + at] | (this.bytes[first + toHigh + at] << 8);
      return scales[row] * fromHalf(bits);
    });
  }
}

/** Whether a row is one of a selection { components, layer (a number or "all"), head }. */
function selects(selection, row) {
  return (
    selection.components.includes(row.component) &&
    (row.head ?? 0) === selection.head &&
    (selection.layer === "all" || row.layer === selection.layer)
  );
}
