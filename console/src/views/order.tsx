import { useEffect, useRef, useState } from "preact/hooks";
import { request, sentenceOf } from "../api/client";
import { OPEN_STATUSES, type ExecutionReport, type LimitMeasurement, type OrderRecord, type Reason } from "../api/types";
import { add, formatDecimal, perMille } from "../lib/decimal";
import { duration, fullTime, microsecondsBetween, timeOfDay } from "../lib/time";
import { onReports } from "../state/live";
import { closeOrder, readLife, type OrderKey, type OrderLife } from "../state/order";
import { refresh } from "../state/router";
import { ActionDialog, type ActionResult } from "../ui/dialog";
import { Figures } from "../ui/alert-table";
import { Amount, Empty, ReadError, StatusChip, percent, shareTone } from "../ui/parts";
import { ruleWords } from "../ui/words";

/** The pause before an order that the order log does not have yet, or that has changed, is read again. */
const READ_DELAY_MS = 300;

/** The life of one order: every version, its fills, what the rules measured, its notes, and a cancel. */
export function OrderPanel({ orderKey }: { orderKey: OrderKey }) {
  const [life, setLife] = useState<OrderLife | null>(null);
  const [error, setError] = useState<string | null>(null);
  const [isCancelling, setCancelling] = useState(false);
  const heading = useRef<HTMLHeadingElement>(null);
  const read = async () => {
    try {
      const found = await readLife(orderKey);
      setLife(found);
      setError(found ? null : "The order log does not have this order yet.");
    } catch (failure) {
      setError(sentenceOf(failure));
    }
  };
  useEffect(() => {
    setLife(null);
    heading.current?.focus();
    void read();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const stop = onReports((events) => {
      if (!events.some(({ report }) => report.order_id === orderKey.orderId)) return;
      clearTimeout(timer);
      timer = setTimeout(() => void read(), READ_DELAY_MS);
    });
    return () => { stop(); clearTimeout(timer); };
  }, [orderKey.orderId]);
  const order = life?.order;
  const isOpen = order !== undefined && OPEN_STATUSES.includes(order.status);
  return (
    <aside class="order" aria-label="Order" onKeyDown={(event) => { if (event.key === "Escape" && !isCancelling) closeOrder(); }}>
      <header class="order-head">
        <h2 ref={heading} tabIndex={-1}>
          {order ? `${order.side === "buy" ? "Buy" : "Sell"} ${formatDecimal(order.quantity)} ${order.symbol}` : "Order"}
        </h2>
        {order ? <StatusChip status={order.status} /> : null}
        <span class="grow" />
        {isOpen ? <button type="button" class="button danger" onClick={() => setCancelling(true)}>Cancel…</button> : null}
        <button type="button" class="button" aria-label="Close the order" onClick={closeOrder}>✕</button>
      </header>
      <div class="order-body">
        <ReadError error={error} />
        {order ? <Why reason={order.reason} status={order.status} /> : null}
        {order ? <Facts order={order} versions={life.history.items} /> : null}
        {life ? <Versions versions={life.history.items} isComplete={life.history.is_complete} /> : null}
        {life ? <Fills life={life} /> : null}
        {life ? <Measurements measurements={life.history.measurements} /> : null}
        {order ? <Notes order={order} onAdded={() => void read()} /> : null}
      </div>
      {isCancelling && order ? (
        <CancelDialog order={order} onClose={() => { setCancelling(false); void read(); }} />
      ) : null}
    </aside>
  );
}

/** Why an order was denied, rejected, cancelled or is unknown: what a person opens it for. */
function Why({ reason, status }: { reason: Reason | null; status: OrderRecord["status"] }) {
  if (!reason) return null;
  const metadata = reason.metadata ?? {};
  const rule = metadata["rule_id"];
  const isDenial = status === "rejected" && typeof rule === "string";
  return (
    <div class={`why ${status}`} role="note">
      <strong>{isDenial ? `Denied by the rule ${ruleWords(rule)}` : status === "unknown" ? "The outcome is not known" : `Why it is ${status}`}</strong>
      <p>{reason.message}</p>
      <div class="why-figures"><Figures metadata={metadata} /></div>
      <code>{reason.code}</code>
    </div>
  );
}

function Facts({ order, versions }: { order: OrderRecord; versions: readonly ExecutionReport[] }) {
  const last = versions.at(-1);
  const facts: [string, string][] = [
    ["Account", order.account_id],
    ["Venue", `${order.venue} (${order.broker})`],
    ["Type", `${order.order_type} ${order.time_in_force}`],
    ["Limit price", order.limit_price === null ? "market" : formatDecimal(order.limit_price)],
    ["Filled", `${formatDecimal(order.filled_quantity)} of ${formatDecimal(order.quantity)}`],
    ["Average price", formatDecimal(last?.avg_price)],
    ["Submitted", fullTime(order.submitted_at)],
    ["Expires", order.expires_at === null ? "–" : fullTime(order.expires_at)],
    ["Mode", order.mode],
    ["Tags", order.tags.join(", ") || "–"],
    ["Client order id", order.correlation_id],
    ["Order id", order.external_order_id],
    ["Broker order id", last?.broker_order_id ?? "–"],
    ["Number", order.id],
  ];
  return (
    <dl class="facts">
      {facts.map(([name, value]) => <div key={name}><dt>{name}</dt><dd>{value}</dd></div>)}
    </dl>
  );
}

function Versions({ versions, isComplete }: { versions: readonly ExecutionReport[]; isComplete: boolean }) {
  const first = versions[0];
  return (
    <section class="order-part" aria-label="Versions">
      <h3>Life</h3>
      <ol class="versions">
        {versions.map((version, at) => {
          const before = versions[at - 1];
          const span = before ? microsecondsBetween(before.updated_at, version.updated_at) : first ? microsecondsBetween(first.submitted_at, version.updated_at) : 0;
          return (
            <li key={version.version}>
              <span class="num version-time" title={fullTime(version.updated_at)}>{timeOfDay(version.updated_at)}</span>
              <span class="version-span num">+{duration(Math.max(0, span))}</span>
              <span class="version-what">
                <StatusChip status={version.status} /> {formatDecimal(version.filled_quantity)} filled, {formatDecimal(version.leaves_quantity)} open
                {version.reason ? <span class="version-reason">{version.reason.message}</span> : null}
              </span>
              <span class="version-number num" title="Version of the order">v{version.version}</span>
            </li>
          );
        })}
      </ol>
      {isComplete ? null : <p class="muted">Some versions are not shown: they lie too far apart on the journal, or entries are lost.</p>}
    </section>
  );
}

function Fills({ life }: { life: OrderLife }) {
  const { order } = life;
  if (order.executions.length === 0) return null;
  return (
    <section class="order-part" aria-label="Fills">
      <h3>Fills</h3>
      <table class="table">
        <thead><tr><th>Time (UTC)</th><th class="right">Quantity</th><th class="right">Price</th><th class="right">Fee</th></tr></thead>
        <tbody>
          {order.executions.map((fill) => (
            <tr key={fill.id}>
              <td class="num" title={fill.external_execution_id}>{timeOfDay(fill.executed_at)}</td>
              <td class="right"><Amount value={fill.quantity} /></td>
              <td class="right"><Amount value={fill.price} /></td>
              <td class="right num">{formatDecimal(fill.fees)} {fill.fee_currency}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {order.executions_total === String(order.executions.length) ? null : <p class="muted">{formatDecimal(order.executions_total)} fills in all; the first {order.executions.length} are listed.</p>}
    </section>
  );
}

/** What the order was compared with when it was submitted. */
function Measurements({ measurements }: { measurements: readonly LimitMeasurement[] }) {
  if (measurements.length === 0) return null;
  return (
    <section class="order-part" aria-label="Risk figures">
      <h3>Risk figures at submission</h3>
      <table class="table">
        <thead><tr><th>Limit</th><th class="right">Before</th><th class="right">Order</th><th class="right">After</th><th class="right">Limit</th><th class="right">Used</th></tr></thead>
        <tbody>
          {measurements.map((one) => {
            const after = one.before === null ? null : add(one.before, one.order);
            const share = after === null ? null : perMille(after, one.limit);
            return (
              <tr key={one.name}>
                <th scope="row">{ruleWords(one.name)}</th>
                <td class="right"><Amount value={one.before} /></td>
                <td class="right"><Amount value={one.order} /></td>
                <td class="right"><Amount value={after} /></td>
                <td class="right"><Amount value={one.limit} /></td>
                <td class={`right num share ${shareTone(share)}`}>{share === null ? "–" : percent(Math.max(0, share))}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </section>
  );
}

function Notes({ order, onAdded }: { order: OrderRecord; onAdded: () => void }) {
  const [text, setText] = useState("");
  const [error, setError] = useState<string | null>(null);
  const [isBusy, setBusy] = useState(false);
  const submit = async (event: Event) => {
    event.preventDefault();
    if (text.trim() === "" || isBusy) return;
    setBusy(true);
    try {
      await request(`orders/${order.id}/notes`, { method: "POST", body: { notes: text.trim() } });
      setText("");
      setError(null);
      onAdded();
    } catch (failure) {
      setError(sentenceOf(failure));
    } finally {
      setBusy(false);
    }
  };
  return (
    <section class="order-part" aria-label="Notes">
      <h3>Notes</h3>
      {order.notes === null ? <Empty>No notes.</Empty> : <p class="notes">{order.notes}</p>}
      <form class="note-form" onSubmit={(event) => void submit(event)}>
        <input aria-label="New note" value={text} maxLength={1_000} placeholder="Add a note" autocomplete="off" onInput={(event) => setText(event.currentTarget.value)} />
        <button type="submit" class="button" disabled={isBusy || text.trim() === ""}>Add</button>
      </form>
      <ReadError error={error} />
    </section>
  );
}

function CancelDialog({ order, onClose }: { order: OrderRecord; onClose: () => void }) {
  const act = async (reason: string): Promise<ActionResult> => {
    const { status, body } = await request<ExecutionReport>(`orders/${encodeURIComponent(order.broker)}/cancel`, {
      method: "POST",
      body: { order_id: order.external_order_id, account_id: order.account_id },
    });
    const noted = await addReason(order.id, `Cancel requested: ${reason}`);
    refresh("counts");
    const report = body as ExecutionReport;
    const isCancelled = status === 200 && report.status === "cancelled";
    return {
      title: isCancelled ? "The order is cancelled" : status === 202 ? "The result is not known yet" : "The order is not cancelled",
      isComplete: isCancelled,
      content: (
        <>
          {"filled_quantity" in report ? (
            <dl class="result-figures">
              <div><dt>Filled before</dt><dd class="num">{formatDecimal(report.filled_quantity)}</dd></div>
              <div><dt>Still open</dt><dd class="num">{formatDecimal(report.leaves_quantity)}</dd></div>
            </dl>
          ) : null}
          {report.reason ? <p>{report.reason.message}</p> : null}
          <p>{noted}</p>
        </>
      ),
    };
  };
  return (
    <ActionDialog title="Cancel the order" confirm="Cancel the order" act={act} onClose={onClose}>
      <p>
        {order.side === "buy" ? "Buy" : "Sell"} {formatDecimal(order.quantity)} {order.symbol} of account {order.account_id}: what is not filled yet is withdrawn.
        The reason becomes a note on the order.
      </p>
    </ActionDialog>
  );
}

/** Adds the reason of an action to its order. Returns what became of it. */
export async function addReason(orderNumber: string, text: string): Promise<string> {
  try {
    await request(`orders/${orderNumber}/notes`, { method: "POST", body: { notes: text } });
    return "The reason is a note on the order.";
  } catch (failure) {
    return `The reason could not be added as a note: ${sentenceOf(failure)}`;
  }
}
