import { followEvents, type StreamEvent, type StreamPhase } from "../api/events";
import { get } from "../api/client";
import { parseExact } from "../api/json";
import type { ExecutionReport, RiskSignal } from "../api/types";
import { Store } from "../lib/store";
import { noteAccounts, refresh } from "./router";
import { clear, readInto, remoteStore } from "./remote";

/** The alerts that the page keeps. */
export const MAX_ALERTS = 500;
const ALERTS_AT_START = 500;
/** The seconds that the throughput is kept for. */
const THROUGHPUT_SECONDS = 300;
/** The least time between two readings that events ask for. */
const REFRESH_INTERVAL_MS = 1_000;

export const phase = new Store<StreamPhase>({ kind: "connecting" });
/** When something arrived last, by this machine's clock. */
export const lastByteAt = new Store<number | null>(null);
/** Alerts and locks that rules raised, the newest first. */
export const alerts = remoteStore<readonly RiskSignal[]>();

/** New orders and denials of one second. */
export interface Throughput {
  /** Seconds since 1970. */
  second: number;
  orders: number;
  denied: number;
}

export const throughput = new Store<readonly Throughput[]>([]);

/** A report, and the sequence of its journal entry. */
export interface ReportEvent {
  report: ExecutionReport;
  sequence: number;
}

type ReportListener = (events: ReportEvent[]) => void;
const reportListeners = new Set<ReportListener>();
const resetListeners = new Set<() => void>();

/** Calls a function with the reports that arrive, several at a time. Returns a function that ends it. */
export function onReports(listener: ReportListener): () => void {
  reportListeners.add(listener);
  return () => reportListeners.delete(listener);
}

/** Calls a function when the stream does not continue what was read before. */
export function onReset(listener: () => void): () => void {
  resetListeners.add(listener);
  return () => resetListeners.delete(listener);
}

let lastRefreshAt = 0;
let refreshTimer: ReturnType<typeof setTimeout> | undefined;

/** Begins to follow the router. Returns a function that ends it. */
export function startLive(): () => void {
  readAlerts();
  const stop = followEvents({
    onEvents: handleEvents,
    onPhase: (next) => {
      if (next.kind === "live" && phase.get().kind === "lost") refresh("state", "health", "locks", "positions", "counts");
      phase.set(next);
    },
    onBytes: () => lastByteAt.set(Date.now()),
  });
  return () => {
    stop();
    clearTimeout(refreshTimer);
    phase.set({ kind: "connecting" });
    lastByteAt.set(null);
    throughput.set([]);
    clear(alerts);
  };
}

function readAlerts(): void {
  void readInto(alerts, () => get<RiskSignal[]>(`risk/alerts?limit=${ALERTS_AT_START}`));
}

function handleEvents(events: StreamEvent[]): void {
  const reports: ReportEvent[] = [];
  const signals: RiskSignal[] = [];
  for (const { name, data, sequence } of events) {
    if (name === "report") reports.push({ report: parseExact<ExecutionReport>(data) as ExecutionReport, sequence });
    else if (name === "alert") signals.push(parseExact<RiskSignal>(data) as RiskSignal);
    else if (name === "reset") handleReset();
    else if (name === "state" || name === "lock" || name === "day") refresh("state", "locks", "days");
    else if (name === "adjustment") refresh("positions");
  }
  if (reports.length > 0) handleReports(reports);
  if (signals.length > 0) {
    alerts.update((known) => {
      const seen = new Set(known.data?.map((signal) => signal.alert_id));
      const added = signals.filter((signal) => !seen.has(signal.alert_id)).reverse();
      return { data: [...added, ...(known.data ?? [])].slice(0, MAX_ALERTS), at: Date.now(), error: null };
    });
  }
}

function handleReset(): void {
  readAlerts();
  refresh("state", "health", "locks", "positions", "counts", "days");
  for (const listener of resetListeners) listener();
}

function handleReports(reports: ReportEvent[]): void {
  noteAccounts([...new Set(reports.map(({ report }) => report.account_id))]);
  countThroughput(reports);
  for (const listener of reportListeners) listener(reports);
  refreshSoon();
}

/** Reads what reports change, at most once a second. */
function refreshSoon(): void {
  const wait = lastRefreshAt + REFRESH_INTERVAL_MS - Date.now();
  clearTimeout(refreshTimer);
  refreshTimer = setTimeout(() => {
    lastRefreshAt = Date.now();
    refresh("positions", "counts", "state", "days");
  }, Math.max(wait, 100));
}

function countThroughput(reports: ReportEvent[]): void {
  const added = new Map<number, Throughput>();
  for (const { report } of reports) {
    if (report.version !== "1") continue;
    const second = Math.floor(Date.parse(report.submitted_at) / 1_000);
    const entry = added.get(second) ?? { second, orders: 0, denied: 0 };
    entry.orders += 1;
    if (report.status === "rejected") entry.denied += 1;
    added.set(second, entry);
  }
  if (added.size === 0) return;
  throughput.update((known) => {
    const merged = new Map(known.map((entry) => [entry.second, entry]));
    for (const entry of added.values()) {
      const before = merged.get(entry.second);
      merged.set(entry.second, before
        ? { second: entry.second, orders: before.orders + entry.orders, denied: before.denied + entry.denied }
        : entry);
    }
    const oldest = Math.floor(Date.now() / 1_000) - THROUGHPUT_SECONDS;
    return [...merged.values()].filter((entry) => entry.second >= oldest).sort((a, b) => a.second - b.second);
  });
}
