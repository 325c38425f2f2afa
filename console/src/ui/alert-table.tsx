import type { RiskSignal } from "../api/types";
import { formatDecimal, perMille } from "../lib/decimal";
import { fullTime, timeOfDay } from "../lib/time";
import { openOrder } from "../state/order";
import { Meter, percent } from "./parts";
import { levelWords, ruleWords } from "./words";

/** Alerts and locks that rules raised, with what they measured. */
export function AlertTable({ signals }: { signals: readonly RiskSignal[] }) {
  return (
    <div class="table-scroll">
      <table class="table alerts">
        <thead>
          <tr><th>Time (UTC)</th><th>Effect</th><th>Rule</th><th>Account</th><th>Symbol</th><th>What</th><th>Measured</th><th>Order</th></tr>
        </thead>
        <tbody>
          {signals.map((signal) => (
            <tr key={signal.alert_id} class={signal.level}>
              <td class="num nowrap" title={fullTime(signal.timestamp)}>{timeOfDay(signal.timestamp).slice(0, 8)}</td>
              <td><span class={`chip level-${signal.level}`}>{levelWords(signal)}</span></td>
              <td class="nowrap">{ruleWords(signal.rule_id)}</td>
              <td>{signal.account_id ?? "all"}</td>
              <td>{signal.symbol ?? ""}</td>
              <td class="message">{signal.message}</td>
              <td><Figures metadata={signal.metadata} /></td>
              <td class="order-link"><OrderLink signal={signal} /></td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** The measured value against its limit, or the other figures. */
export function Figures({ metadata }: { metadata: Record<string, unknown> }) {
  const text = (name: string) => (typeof metadata[name] === "string" ? (metadata[name] as string) : null);
  const [value, limit] = [text("value"), text("limit")];
  if (value !== null && limit !== null) {
    const share = perMille(value, limit);
    return (
      <div class="meter-cell">
        {share === null ? null : <Meter share={share} label={`${formatDecimal(value)} of ${formatDecimal(limit)}`} />}
        <span class="num nowrap">{formatDecimal(value)} of {formatDecimal(limit)}{share === null ? "" : ` (${percent(share)})`}</span>
      </div>
    );
  }
  const others = Object.entries(metadata).filter(([name]) => name !== "rule_id");
  return <span class="num">{others.map(([name, one]) => `${name} ${formatDecimal(String(one))}`).join(", ")}</span>;
}

function OrderLink({ signal }: { signal: RiskSignal }) {
  const { account_id, client_order_id, order_id } = signal;
  if (account_id === null || client_order_id === null || order_id === null) return null;
  return (
    <button
      type="button"
      class="link"
      onClick={() => openOrder({ orderId: order_id, clientOrderId: client_order_id, accountId: account_id })}
    >
      {client_order_id}
    </button>
  );
}
