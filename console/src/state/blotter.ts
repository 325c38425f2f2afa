import { get, query, sentenceOf } from "../api/client";
import { OPEN_STATUSES, type ExecutionReport, type OrderPage, type OrderRecord, type OrderStatus } from "../api/types";
import { Store } from "../lib/store";
import { onReports, onReset, type ReportEvent } from "./live";
import { noteAccounts } from "./router";

/** The rows of one request. */
const PAGE_SIZE = 200;
/** The pages that are kept; those that were shown longest ago go first. */
const MAX_PAGES = 60;
/** The new rows above the list; with more of them, the list is read again. */
const MAX_FRESH = 20_000;
/** The pages that were used last and are read together with a list that is read again: those that are in view. */
const PAGES_IN_VIEW = 3;
/** The rows that a list shows. A browser's scroll bar ends somewhere. */
export const MAX_ROWS = 500_000;
/** The matches that a search keeps, and the rows of one of its requests. */
const MAX_MATCHES = 2_000;
const SEARCH_PAGE_SIZE = 500;
/** The pause before a list whose orders have changed their status is read again. */
const RELOAD_DELAY_MS = 1_000;

/** One row: an order of the order log, or of a report while the order log has not been read. */
export interface Row {
  orderId: string;
  clientOrderId: string;
  accountId: string;
  broker: string;
  venue: string;
  symbol: string;
  side: "buy" | "sell";
  orderType: string;
  timeInForce: string;
  quantity: string;
  filled: string;
  price: string | null;
  status: OrderStatus;
  submittedAt: string;
  updatedAt: string;
  tags: readonly string[];
  reason: string | null;
  notes: string | null;
}

export interface BlotterFilter {
  account: string;
  symbol: string;
  status: string;
  strategy: string;
  text: string;
}

export const NO_FILTER: BlotterFilter = { account: "", symbol: "", status: "", strategy: "", text: "" };

export interface BlotterView {
  filter: BlotterFilter;
  /** The number of rows, new ones included. */
  total: number;
  isLoading: boolean;
  error: string | null;
  /** How far a search by text has come: orders searched, of how many; null without a search. */
  search: { searched: number; of: number; isDone: boolean } | null;
  /** Raised with every change of a row. */
  version: number;
  /** How many rows have been put above the first one since the list was read. */
  added: number;
}

/** The list of orders: pages of the order log as they are scrolled to, and new orders above them. */
export class Blotter {
  readonly view = new Store<BlotterView>({
    filter: NO_FILTER, total: 0, isLoading: true, error: null, search: null, version: 0, added: 0,
  });
  private pages = new Map<number, Row[]>();
  private wanted = new Set<number>();
  private fresh: Row[] = [];
  private rows = new Map<string, Row>();
  /** The newest order when the list was read: pages are counted from it, so that new orders move none. */
  private anchor: number | null = null;
  /** What has happened since the list is being read. */
  private arrived: ReportEvent[] | null = null;
  private listed = 0;
  /** Raised with each new list, so that late answers to an earlier one are dropped. */
  private generation = 0;
  private reloadTimer: ReturnType<typeof setTimeout> | undefined;
  private readonly stops: (() => void)[];

  constructor() {
    this.stops = [onReports((reports) => this.apply(reports)), onReset(() => void this.load())];
    void this.load();
  }

  stop(): void {
    this.generation += 1;
    clearTimeout(this.reloadTimer);
    for (const stop of this.stops) stop();
  }

  setFilter(filter: BlotterFilter): void {
    this.view.update((view) => ({ ...view, filter, isLoading: true }));
    void this.load();
  }

  /** Returns a row; undefined while its page is being read. */
  row(at: number): Row | undefined {
    if (at < this.fresh.length) return this.fresh[this.fresh.length - 1 - at];
    const index = at - this.fresh.length;
    const number = Math.floor(index / PAGE_SIZE);
    const page = this.pages.get(number);
    if (!page) {
      if (!this.view.get().search) void this.loadPage(number);
      return undefined;
    }
    // The page that was used last goes last.
    this.pages.delete(number);
    this.pages.set(number, page);
    return page[index % PAGE_SIZE];
  }

  /** Reads the list from its beginning. What is in view stays until its successor is there. */
  private async load(isSameFilter = false): Promise<void> {
    const inView = isSameFilter ? [...this.pages.keys()].filter((number) => number > 0).slice(-PAGES_IN_VIEW) : [];
    const generation = ++this.generation;
    clearTimeout(this.reloadTimer);
    this.reloadTimer = undefined;
    this.arrived = [];
    const { filter } = this.view.get();
    try {
      const page = await get<OrderPage>(`orders/log${query({ limit: PAGE_SIZE, ...serverFilter(filter) })}`);
      const anchor = Number(page.items[0]?.id ?? 0);
      const others = await Promise.all(inView.map((number) => this.readPage(number, anchor)));
      if (generation !== this.generation) return;
      this.pages = new Map();
      this.rows = new Map();
      this.wanted = new Set();
      this.fresh = [];
      this.anchor = anchor;
      const arrived = this.arrived ?? [];
      this.arrived = null;
      if (arrived.length > MAX_FRESH) this.reloadSoon();
      noteAccounts([...new Set(page.items.map((item) => item.account_id))]);
      if (filter.text.trim() !== "") {
        this.change({ total: 0, isLoading: true, error: null, added: 0, search: { searched: 0, of: Number(page.metadata.total), isDone: false } });
        this.apply(arrived);
        await this.search(page, filter, generation);
        return;
      }
      this.listed = Math.min(Number(page.metadata.total), MAX_ROWS);
      this.keep(0, page.items.map(rowOf));
      inView.forEach((number, at) => this.keep(number, others[at] ?? []));
      this.change({ total: this.listed, isLoading: false, error: null, search: null, added: 0 });
      this.apply(arrived);
    } catch (error) {
      if (generation !== this.generation) return;
      this.arrived = null;
      this.change({ isLoading: false, error: sentenceOf(error) });
    }
  }

  private async loadPage(number: number): Promise<void> {
    if (this.wanted.has(number) || this.anchor === null) return;
    this.wanted.add(number);
    const generation = this.generation;
    try {
      const rows = await this.readPage(number, this.anchor);
      if (generation !== this.generation) return;
      this.keep(number, rows);
      this.change({ error: null });
    } catch (error) {
      if (generation === this.generation) this.change({ error: sentenceOf(error) });
    } finally {
      this.wanted.delete(number);
    }
  }

  private async readPage(number: number, anchor: number): Promise<Row[]> {
    // After the next id: the anchor itself is the first row of the first page.
    const position = { limit: PAGE_SIZE, after: anchor + 1, offset: number * PAGE_SIZE };
    const page = await get<OrderPage>(`orders/log${query({ ...position, ...serverFilter(this.view.get().filter) })}`);
    return page.items.map(rowOf);
  }

  /** Reads every order that matches the other filters, page after page, and keeps those with the text. */
  private async search(first: OrderPage, filter: BlotterFilter, generation: number): Promise<void> {
    const wanted = filter.text.trim().toLowerCase();
    const matches: Row[] = [];
    const of = Number(first.metadata.total);
    let page = first;
    for (let searched = 0; ; ) {
      searched += page.items.length;
      for (const row of page.items.map(rowOf)) if (hasText(row, wanted)) matches.push(row);
      const next = page.metadata.next;
      const isDone = next === null || matches.length >= MAX_MATCHES;
      this.pages = new Map();
      for (let at = 0; at * PAGE_SIZE < matches.length; at += 1) {
        this.keep(at, matches.slice(at * PAGE_SIZE, (at + 1) * PAGE_SIZE));
      }
      this.listed = matches.length;
      this.change({ total: this.listed + this.fresh.length, isLoading: !isDone, search: { searched, of, isDone } });
      if (isDone) return;
      page = await get<OrderPage>(`orders/log${query({ limit: SEARCH_PAGE_SIZE, after: next, ...serverFilter(filter) })}`);
      if (generation !== this.generation) return;
    }
  }

  private keep(number: number, rows: Row[]): void {
    this.pages.set(number, rows);
    for (const row of rows) this.rows.set(row.orderId, row);
    while (this.pages.size > MAX_PAGES && !this.view.get().search) {
      const [oldest] = this.pages.keys();
      if (oldest === undefined) return;
      for (const row of this.pages.get(oldest) ?? []) this.rows.delete(row.orderId);
      this.pages.delete(oldest);
    }
  }

  /** Applies what has happened: rows change in place, new orders come above them. */
  private apply(events: ReportEvent[]): void {
    const { filter } = this.view.get();
    let added = 0;
    let leavesFilter = false;
    if (this.arrived && this.arrived.length <= MAX_FRESH) this.arrived.push(...events);
    for (const { report, sequence } of events) {
      const known = this.rows.get(report.order_id);
      if (known) {
        if (report.updated_at < known.updatedAt) continue;
        known.status = report.status;
        known.filled = report.filled_quantity;
        known.updatedAt = report.updated_at;
        known.reason = report.reason?.message ?? null;
        leavesFilter ||= !matches(known, filter);
      } else if (report.version === "1") {
        // An older one is below, on a page that has not been read.
        if (this.anchor === null || sequence <= this.anchor) continue;
        const row = rowOfReport(report);
        if (!matches(row, filter)) continue;
        this.fresh.push(row);
        this.rows.set(row.orderId, row);
        added += 1;
      } else {
        // An order below the pages that were read: it may have come to match the filter by status.
        leavesFilter ||= filter.status !== "";
      }
    }
    if (this.fresh.length > MAX_FRESH) void this.load(true);
    else if (leavesFilter) this.reloadSoon();
    const view = this.view.get();
    this.change({ total: Math.min(this.listed + this.fresh.length, MAX_ROWS), added: view.added + added });
  }

  private reloadSoon(): void {
    this.reloadTimer ??= setTimeout(() => void this.load(true), RELOAD_DELAY_MS);
  }

  private change(change: Partial<BlotterView>): void {
    this.view.update((view) => ({ ...view, ...change, version: view.version + 1 }));
  }
}

/** Returns the parameters that the order log filters by. */
function serverFilter(filter: BlotterFilter): Record<string, string> {
  return { account_id: filter.account, symbol: filter.symbol.trim(), status: filter.status, strategy: filter.strategy.trim() };
}

/** Reports whether an order matches all filters, as the order log does. */
function matches(row: Row, filter: BlotterFilter): boolean {
  const strategy = filter.strategy.trim().toLowerCase();
  const symbol = filter.symbol.replace(/[/\-\s]/g, "").toUpperCase();
  const hasStrategy = () => row.tags.some((tag) => [strategy, `strategy:${strategy}`].includes(tag.toLowerCase()));
  const isOpen = OPEN_STATUSES.includes(row.status);
  return (filter.account === "" || row.accountId === filter.account)
    && (symbol === "" || row.symbol === symbol)
    && (filter.status === "" || row.status === filter.status || (filter.status === "open" && isOpen))
    && (strategy === "" || hasStrategy())
    && (filter.text.trim() === "" || hasText(row, filter.text.trim().toLowerCase()));
}

/** Reports whether a text in lower case is in what a person reads of an order. */
function hasText(row: Row, text: string): boolean {
  const texts = [row.orderId, row.clientOrderId, row.accountId, row.symbol, row.broker, row.venue, row.status, row.reason ?? "", row.notes ?? "", ...row.tags];
  return texts.some((one) => one.toLowerCase().includes(text));
}

function rowOf(order: OrderRecord): Row {
  return {
    orderId: order.external_order_id, clientOrderId: order.correlation_id, accountId: order.account_id, broker: order.broker,
    venue: order.venue, symbol: order.symbol, side: order.side, orderType: order.order_type, timeInForce: order.time_in_force,
    quantity: order.quantity, filled: order.filled_quantity, price: order.limit_price, status: order.status,
    submittedAt: order.submitted_at, updatedAt: order.updated_at, tags: order.tags, reason: order.reason?.message ?? null, notes: order.notes,
  };
}

function rowOfReport(report: ExecutionReport): Row {
  return {
    orderId: report.order_id, clientOrderId: report.client_order_id, accountId: report.account_id, broker: report.broker,
    venue: report.venue, symbol: report.symbol, side: report.side, orderType: report.order_type, timeInForce: report.time_in_force,
    quantity: report.quantity, filled: report.filled_quantity, price: report.price, status: report.status,
    submittedAt: report.submitted_at, updatedAt: report.updated_at, tags: report.tags, reason: report.reason?.message ?? null, notes: null,
  };
}
