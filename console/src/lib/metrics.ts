/** Reads one histogram of the Prometheus text format. Durations are measurements of the router, no amounts of money. */

export interface Histogram {
  /** The upper bounds in seconds, ascending; the last one is infinite. */
  bounds: number[];
  /** The observations up to each bound. */
  counts: number[];
}

/** Returns the histogram with a label's value; null if the text has none. */
export function readHistogram(text: string, name: string, label: string): Histogram | null {
  const buckets: [number, number][] = [];
  const start = `${name}_bucket{`;
  for (const line of text.split("\n")) {
    if (!line.startsWith(start) || !line.includes(label)) continue;
    const bound = /le="([^"]+)"/.exec(line)?.[1];
    const count = Number(line.slice(line.lastIndexOf(" ") + 1));
    if (bound !== undefined) buckets.push([bound === "+Inf" ? Infinity : Number(bound), count]);
  }
  if (buckets.length === 0) return null;
  buckets.sort((left, right) => left[0] - right[0]);
  return { bounds: buckets.map(([bound]) => bound), counts: buckets.map(([, count]) => count) };
}

/** Returns the observations that a later reading has and an earlier one has not. */
export function since(later: Histogram, earlier: Histogram | null): Histogram {
  if (!earlier || earlier.bounds.length !== later.bounds.length) return later;
  const counts = later.counts.map((count, at) => count - (earlier.counts[at] ?? 0));
  // A restarted process counts from zero.
  return counts.some((count) => count < 0) ? later : { bounds: later.bounds, counts };
}

/** Returns the total of a histogram. */
export function total(histogram: Histogram): number {
  return histogram.counts.at(-1) ?? 0;
}

/** Returns a quantile in microseconds, interpolated within its bucket; null without observations. */
export function quantile(histogram: Histogram, share: number): number | null {
  const wanted = total(histogram) * share;
  if (wanted === 0) return null;
  const at = histogram.counts.findIndex((count) => count >= wanted);
  const [upper, below] = [histogram.bounds[at] ?? Infinity, at > 0 ? (histogram.counts[at - 1] ?? 0) : 0];
  const lower = at > 0 ? (histogram.bounds[at - 1] ?? 0) : 0;
  if (upper === Infinity) return lower * 1_000_000;
  const within = (histogram.counts[at] ?? 0) - below;
  return (lower + ((upper - lower) * (wanted - below)) / within) * 1_000_000;
}
