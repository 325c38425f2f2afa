import { ApiProblem, get, query, request, send } from "../api/client";
import type { AccountDay, Health, HealthChecks, Holding, LimitsInForce, LockList, OrderPage, PositionList, RouterState } from "../api/types";
import { quantile, readHistogram, since, total, type Histogram } from "../lib/metrics";
import { poll, type Poll } from "../lib/poll";
import { Store } from "../lib/store";
import { clear, readInto, remoteStore, type Remote } from "./remote";

const STATE_INTERVAL_MS = 3_000;
const SLOW_INTERVAL_MS = 5_000;
/** Limits change seldom, and no event says so. */
const LIMITS_INTERVAL_MS = 30_000;
/** The accounts that one request for their day may name. */
const MAX_ACCOUNTS = 64;
/** The span that the latencies are of, in readings of the metrics. */
const LATENCY_READINGS = 12;
const STAGE = "order_router_stage_duration_seconds";

export const routerState = remoteStore<RouterState>();
export const accountDays = remoteStore<AccountDay[]>();
export const health = remoteStore<HealthReading>();
export const locks = remoteStore<LockList>();
export const limits = remoteStore<LimitsInForce>();
export const positions = remoteStore<PositionList>();
export const counts = remoteStore<OrderCounts>();
export const latency = remoteStore<Latency | null>();

/** The accounts that this page has seen, the latest first. */
export const accounts = new Store<readonly string[]>([]);

export interface HealthReading {
  checks: HealthChecks;
  /** Why the router accepts no orders; null if it does. */
  problem: string | null;
}

export interface OrderCounts {
  open: string;
  unknown: string;
  all: string;
}

/** How long orders took from their receipt to the answer, in microseconds. */
export interface Latency {
  p50: number | null;
  p99: number | null;
  orders: number;
  /** Whether they are of all orders since the start, as the first reading is. */
  isSinceStart: boolean;
}

interface Polls {
  state: Poll;
  days: Poll;
  health: Poll;
  locks: Poll;
  limits: Poll;
  positions: Poll;
  counts: Poll;
  latency: Poll;
}

let polls: Polls | null = null;

/** Begins to read the router. Returns a function that ends it. */
export function startPolling(): () => void {
  let readings: Histogram[] = [];
  const started: Polls = {
    state: poll(() => readInto(routerState, () => get<RouterState>("state")), STATE_INTERVAL_MS),
    days: poll(readAccountDays, SLOW_INTERVAL_MS),
    health: poll(() => readInto(health, readHealth), SLOW_INTERVAL_MS),
    locks: poll(() => readInto(locks, () => get<LockList>("risk/locks")), SLOW_INTERVAL_MS),
    limits: poll(() => readInto(limits, () => get<LimitsInForce>("risk/limits")), LIMITS_INTERVAL_MS),
    positions: poll(readPositions, SLOW_INTERVAL_MS),
    counts: poll(() => readInto(counts, readCounts), SLOW_INTERVAL_MS),
    latency: poll(
      () =>
        readInto(latency, async () => {
          const histogram = await readStageHistogram();
          if (!histogram) return null;
          const earliest = readings[0] ?? null;
          readings = [...readings, histogram].slice(-LATENCY_READINGS);
          return latencyOf(since(histogram, earliest), histogram, earliest === null);
        }),
      SLOW_INTERVAL_MS,
    ),
  };
  polls = started;
  return () => {
    for (const one of Object.values(started) as Poll[]) one.stop();
    polls = null;
    // Another key may not see what this one has read.
    accounts.set([]);
    for (const store of [routerState, accountDays, health, locks, limits, positions, counts, latency]) clear(store as Store<Remote<unknown>>);
  };
}

/** Reads again, at once. */
export function refresh(...names: (keyof Polls)[]): void {
  for (const name of names) polls?.[name].now();
}

/** Remembers accounts that occurred in what was read. */
export function noteAccounts(seen: readonly string[]): void {
  const known = accounts.get();
  const added = seen.filter((account) => !known.includes(account));
  if (added.length === 0) return;
  accounts.set([...new Set([...added, ...known])].slice(0, MAX_ACCOUNTS));
  polls?.days.now();
}

/** Returns the most that an account may hold of an instrument; null while the limits are unknown. */
export function maxPosition(inForce: LimitsInForce | null, holding: Holding): string | null {
  const text = (value: unknown) => (typeof value === "string" ? value : null);
  const account = inForce?.limits.accounts.find((one) => one["account_id"] === holding.account_id);
  const own = (account?.["max_positions"] as Record<string, unknown> | undefined)?.[`${holding.venue}:${holding.symbol}`];
  const instrument = inForce?.limits.instruments.find((one) => one["venue"] === holding.venue && one["symbol"] === holding.symbol);
  return text(own) ?? text(instrument?.["max_position"]);
}

async function readAccountDays(): Promise<void> {
  const names = accounts.get();
  if (names.length === 0) return;
  await readInto(accountDays, async () => {
    const state = await get<RouterState>(`state${query({ account_id: names.join(",") })}`);
    return state.accounts ?? [];
  });
}

async function readPositions(): Promise<void> {
  await readInto(positions, () => get<PositionList>("positions"));
  noteAccounts(positions.get().data?.items.map((item) => item.id) ?? []);
}

async function readHealth(): Promise<HealthReading> {
  try {
    const { body } = await request<Health>("health");
    return { checks: body.checks, problem: null };
  } catch (error) {
    if (error instanceof ApiProblem && error.checks) return { checks: error.checks, problem: error.detail };
    throw error;
  }
}

async function readCounts(): Promise<OrderCounts> {
  const count = async (status?: string) =>
    (await get<OrderPage>(`orders/log${query({ limit: 1, status })}`)).metadata.total;
  const [all, open, unknown] = await Promise.all([count(), count("open"), count("unknown")]);
  return { all, open, unknown };
}

async function readStageHistogram(): Promise<Histogram | null> {
  const response = await send("metrics", { headers: { Accept: "text/plain" } });
  if (!response.ok) return null;
  return readHistogram(await response.text(), STAGE, 'stage="total"');
}

/** Returns the latencies of the orders between two readings. */
function latencyOf(lately: Histogram, all: Histogram, isSinceStart: boolean): Latency | null {
  // A sidecar without a worker in its process has no such measurement.
  if (total(all) === 0) return null;
  return { p50: quantile(lately, 0.5), p99: quantile(lately, 0.99), orders: total(lately), isSinceStart };
}
