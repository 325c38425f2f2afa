import { useEffect, useState } from "preact/hooks";
import { formatDecimal, perMille } from "../lib/decimal";
import { useStore } from "../lib/store";
import { fullTime, timeOfDay } from "../lib/time";
import { Blotter, MAX_ROWS, NO_FILTER, type BlotterFilter, type Row } from "../state/blotter";
import { openOrder, selectedOrder } from "../state/order";
import { accounts } from "../state/router";
import { ReadError, StatusChip } from "../ui/parts";
import { VirtualList } from "../ui/virtual-list";
import { STATUS_WORDS } from "../ui/words";

const ROW_HEIGHT = 30;
/** The pause after a key before a filter is sent. */
const TYPING_PAUSE_MS = 300;
const COLUMNS = ["Time (UTC)", "Account", "Symbol", "Side", "Type", "Quantity", "Filled", "Limit price", "Status", "Strategy, tags", "Client order id", "Reason"];
const NUMERIC = new Set(["Quantity", "Filled", "Limit price"]);

export function BlotterView({ status }: { status: string }) {
  const [blotter, setBlotter] = useState<Blotter | null>(null);
  useEffect(() => {
    const created = new Blotter();
    if (status !== "") created.setFilter({ ...NO_FILTER, status });
    setBlotter(created);
    return () => created.stop();
  }, [status]);
  return blotter ? <List blotter={blotter} key={status} status={status} /> : null;
}

function List({ blotter, status }: { blotter: Blotter; status: string }) {
  const view = useStore(blotter.view);
  const selected = useStore(selectedOrder);
  const open = (at: number) => {
    const row = blotter.row(at);
    if (row) openOrder({ orderId: row.orderId, clientOrderId: row.clientOrderId, accountId: row.accountId });
  };
  return (
    <section class="blotter" aria-label="Orders">
      <Filters start={{ ...NO_FILTER, status }} onChange={(filter) => blotter.setFilter(filter)} />
      <p class="list-count" role="status">
        {describe(view.total, view.isLoading, view.search)}
      </p>
      <ReadError error={view.error} />
      <VirtualList
        count={view.total}
        rowHeight={ROW_HEIGHT}
        version={view.version}
        added={view.added}
        label="Orders, newest first"
        columns={COLUMNS.length}
        header={COLUMNS.map((name) => <span key={name} role="columnheader" class={NUMERIC.has(name) ? "right" : ""}>{name}</span>)}
        rowId={(at) => blotter.row(at)?.orderId}
        renderRow={(at) => <Cells row={blotter.row(at)} isOpen={blotter.row(at)?.orderId === selected?.orderId} />}
        onOpen={open}
      />
    </section>
  );
}

function describe(total: number, isLoading: boolean, search: { searched: number; of: number; isDone: boolean } | null): string {
  if (search) {
    const found = `${formatDecimal(String(total))} found`;
    return search.isDone && search.searched >= search.of
      ? `${found} in ${formatDecimal(String(search.of))} orders`
      : `${found}, searched ${formatDecimal(String(search.searched))} of ${formatDecimal(String(search.of))} orders${search.isDone ? ". Narrow the search to see the rest" : "…"}`;
  }
  if (isLoading && total === 0) return "Reading the orders…";
  const capped = total >= MAX_ROWS ? ", the newest are listed" : "";
  return `${formatDecimal(String(total))} ${total === 1 ? "order" : "orders"}${capped}`;
}

function Cells({ row, isOpen }: { row: Row | undefined; isOpen: boolean }) {
  if (!row) return <span class="cell loading" role="gridcell" aria-colspan={COLUMNS.length}>…</span>;
  const share = perMille(row.filled, row.quantity) ?? 0;
  return (
    <>
      <span class="cell num" role="gridcell" title={fullTime(row.submittedAt)}>{isOpen ? "▸ " : ""}{timeOfDay(row.submittedAt)}</span>
      <span class="cell" role="gridcell">{row.accountId}</span>
      <span class="cell strong" role="gridcell" title={row.venue}>{row.symbol}</span>
      <span class={`cell side-${row.side}`} role="gridcell">{row.side === "buy" ? "Buy" : "Sell"}</span>
      <span class="cell" role="gridcell">{row.orderType} {row.timeInForce}</span>
      <span class="cell num right" role="gridcell">{formatDecimal(row.quantity)}</span>
      <span class="cell num right filled" role="gridcell">
        {formatDecimal(row.filled)}
        <span class="fill-bar" aria-hidden="true"><span style={{ width: `${Math.min(share, 1000) / 10}%` }} /></span>
      </span>
      <span class="cell num right" role="gridcell">{row.price === null ? "market" : formatDecimal(row.price)}</span>
      <span class="cell" role="gridcell"><StatusChip status={row.status} /></span>
      <span class="cell" role="gridcell" title={row.tags.join(", ")}>{row.tags.map((tag) => tag.replace(/^strategy:/i, "")).join(", ")}</span>
      <span class="cell mono" role="gridcell" title={row.clientOrderId}>{row.clientOrderId}</span>
      <span class="cell muted" role="gridcell" title={row.reason ?? ""}>{row.reason ?? ""}</span>
    </>
  );
}

function Filters({ start, onChange }: { start: BlotterFilter; onChange: (filter: BlotterFilter) => void }) {
  const [filter, setFilter] = useState(start);
  const [isTyping, setTyping] = useState(false);
  const known = useStore(accounts);
  useEffect(() => {
    if (!isTyping) return;
    const timer = setTimeout(() => { setTyping(false); onChange(filter); }, TYPING_PAUSE_MS);
    return () => clearTimeout(timer);
  }, [filter, isTyping]);
  const change = (part: Partial<BlotterFilter>) => {
    setFilter((before) => ({ ...before, ...part }));
    setTyping(true);
  };
  const isFiltered = Object.values(filter).some((value) => value !== "");
  return (
    <form class="filters" role="search" aria-label="Filter the orders" onSubmit={(event) => event.preventDefault()}>
      <label><span>Account</span>
        <input list="known-accounts" value={filter.account} placeholder="all" autocomplete="off" onInput={(event) => change({ account: event.currentTarget.value.trim() })} />
        <datalist id="known-accounts">{known.map((account) => <option key={account} value={account} />)}</datalist>
      </label>
      <label><span>Symbol</span>
        <input value={filter.symbol} placeholder="all" autocomplete="off" onInput={(event) => change({ symbol: event.currentTarget.value })} />
      </label>
      <label><span>Status</span>
        <select value={filter.status} onChange={(event) => change({ status: event.currentTarget.value })}>
          <option value="">all</option>
          <option value="open">open</option>
          {Object.entries(STATUS_WORDS).map(([value, words]) => <option key={value} value={value}>{words.toLowerCase()}</option>)}
        </select>
      </label>
      <label><span>Strategy</span>
        <input value={filter.strategy} placeholder="all" autocomplete="off" onInput={(event) => change({ strategy: event.currentTarget.value })} />
      </label>
      <label class="grow"><span>Text</span>
        <input type="search" value={filter.text} placeholder="id, tag, note, reason…" autocomplete="off" onInput={(event) => change({ text: event.currentTarget.value })} />
      </label>
      <button type="button" class="button" disabled={!isFiltered} onClick={() => change(NO_FILTER)}>Clear</button>
    </form>
  );
}
