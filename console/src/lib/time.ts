/** Times as the router writes them: RFC 3339 in UTC. The console shows UTC everywhere, as logs and the command line do. */

/** Returns the time of day with milliseconds. */
export function timeOfDay(timestamp: string): string {
  return timestamp.slice(11, 23);
}

/** Returns date and time without the letters. */
export function fullTime(timestamp: string): string {
  return `${timestamp.slice(0, 10)} ${timestamp.slice(11).replace(/Z$/, "")} UTC`;
}

/** Returns the time of day of a moment of this machine, in UTC. */
export function clockTime(milliseconds: number): string {
  return new Date(milliseconds).toISOString().slice(11, 19);
}

/** Returns a span in words: "5 s", "3 min", "2 h", "4 d". */
export function span(milliseconds: number): string {
  const seconds = Math.max(0, Math.round(milliseconds / 1_000));
  if (seconds < 90) return `${seconds} s`;
  if (seconds < 5_400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 129_600) return `${Math.round(seconds / 3_600)} h`;
  return `${Math.round(seconds / 86_400)} d`;
}

/** Returns the microseconds between two timestamps. */
export function microsecondsBetween(from: string, to: string): number {
  return (Date.parse(to) - Date.parse(from)) * 1_000 + microseconds(to) - microseconds(from);
}

function microseconds(timestamp: string): number {
  return Number(timestamp.slice(23, 26).padEnd(3, "0").replace(/\D/g, "0"));
}

/** Returns a duration in the unit that fits. */
export function duration(microseconds: number): string {
  if (microseconds < 1_000) return `${Math.round(microseconds)} µs`;
  if (microseconds < 1_000_000) return `${(microseconds / 1_000).toFixed(microseconds < 10_000 ? 2 : 1)} ms`;
  if (microseconds < 120_000_000) return `${(microseconds / 1_000_000).toFixed(2)} s`;
  return span(microseconds / 1_000);
}
