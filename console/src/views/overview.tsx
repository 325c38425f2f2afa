import { useEffect, useState } from "preact/hooks";
import type { AccountDay, RiskSignal } from "../api/types";
import { formatDecimal, isZero, magnitude, perMille, sign } from "../lib/decimal";
import { useStore } from "../lib/store";
import { duration } from "../lib/time";
import { MAX_ALERTS, alerts, throughput } from "../state/live";
import { accountDays, counts, health, latency, routerState } from "../state/router";
import { AlertTable } from "../ui/alert-table";
import { Bars, Empty, Meter, Panel, Profit, ReadError, Usage, percent } from "../ui/parts";

const HOUR_MS = 3_600_000;
/** The seconds that the current rate is the mean of. */
const RATE_SECONDS = 10;
/** The seconds of one bar, and the bars. */
const BAR_SECONDS = 5;
const BAR_COUNT = 60;

export function Overview() {
  const now = useNow(1_000);
  const signals = (useStore(alerts).data ?? []).filter((signal) => now - Date.parse(signal.timestamp) < HOUR_MS);
  return (
    <div class="overview">
      <Tiles now={now} signals={signals} />
      <div class="columns">
        <DayLimits />
        <Health />
      </div>
      <Panel title="Alerts of the last hour" aside={<a href="#risk">All alerts and locks</a>}>
        <ReadError error={useStore(alerts).error} />
        {signals.length === 0
          ? <Empty>No rule has alerted or denied an order in the last hour.</Empty>
          : <AlertTable signals={signals.slice(0, 50)} />}
      </Panel>
    </div>
  );
}

/** Returns this machine's time, again and again. */
function useNow(interval: number): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), interval);
    return () => clearInterval(timer);
  }, [interval]);
  return now;
}

function Tiles({ now, signals }: { now: number; signals: readonly RiskSignal[] }) {
  const seconds = useStore(throughput);
  const order = useStore(counts);
  const time = useStore(latency);
  const second = Math.floor(now / 1_000);
  const lately = seconds.filter((entry) => entry.second > second - RATE_SECONDS);
  const rate = lately.reduce((sum, entry) => sum + entry.orders, 0) / RATE_SECONDS;
  const minute = seconds.filter((entry) => entry.second > second - 60);
  const denied = minute.reduce((sum, entry) => sum + entry.denied, 0);
  const bars = Array.from({ length: BAR_COUNT }, (_, at) => {
    const from = second - (BAR_COUNT - at) * BAR_SECONDS;
    return seconds.filter((entry) => entry.second >= from && entry.second < from + BAR_SECONDS)
      .reduce((sum, entry) => sum + entry.orders, 0);
  });
  const unknown = order.data?.unknown ?? null;
  const lockCount = signals.filter((signal) => signal.level === "lock").length;
  const more = signals.length >= MAX_ALERTS ? "+" : "";
  const orders = `${minute.reduce((sum, entry) => sum + entry.orders, 0)} new in a minute, ${denied} denied`;
  return (
    <div class="tiles">
      <div class="tile wide">
        <span class="tile-label">Orders per second</span>
        <strong class="tile-value num">{rate.toFixed(1)}</strong>
        <Bars values={bars} label={`New orders of the last five minutes. ${orders}.`} />
        <span class="tile-note">{orders}</span>
      </div>
      <div class="tile">
        <span class="tile-label">Order to answer</span>
        {time.data && time.data.p50 !== null && time.data.p99 !== null ? (
          <>
            <strong class="tile-value num">{duration(time.data.p50)}</strong>
            <span class="tile-note">p50. p99 {duration(time.data.p99)}, {time.data.orders} orders{time.data.isSinceStart ? " since the start" : ""}</span>
          </>
        ) : (
          <>
            <strong class="tile-value">–</strong>
            <span class="tile-note">{time.data ? "No order in the last minute" : time.at === null ? "Not read yet" : "Measured by the workers: see their metrics"}</span>
          </>
        )}
      </div>
      <a class="tile" href="#blotter/open">
        <span class="tile-label">Open orders</span>
        <strong class="tile-value num">{formatDecimal(order.data?.open)}</strong>
        <span class="tile-note">{order.error ?? `${formatDecimal(order.data?.all)} in the order log`}</span>
      </a>
      <a class={`tile${unknown !== null && !isZero(unknown) ? " warn" : ""}`} href="#blotter/unknown">
        <span class="tile-label">Unknown orders</span>
        <strong class="tile-value num">{formatDecimal(unknown)}</strong>
        <span class="tile-note">{unknown !== null && !isZero(unknown) ? "Their outcome is not known" : "Every outcome is known"}</span>
      </a>
      <a class={`tile${lockCount > 0 ? " warn" : ""}`} href="#risk">
        <span class="tile-label">Alerts, last hour</span>
        <strong class="tile-value num">{signals.length - lockCount}{more}</strong>
        <span class="tile-note">and {lockCount}{more} {lockCount === 1 ? "denial or lock" : "denials and locks"}</span>
      </a>
    </div>
  );
}

/** The day's notional and loss against their limits, over all accounts and for each. */
function DayLimits() {
  const { data: state, error } = useStore(routerState);
  const days = useStore(accountDays);
  const loss = state?.daily_pnl == null ? null : sign(state.daily_pnl) < 0 ? magnitude(state.daily_pnl) : "0";
  return (
    <Panel title={`Limits of the trading day${state ? ` ${state.trading_date}` : ""}`} class="limits">
      <ReadError error={error} />
      {state ? (
        <div class="usages">
          <Usage label="Notional routed" used={state.notional_routed} limit={state.daily_notional_limit} />
          <Usage
            label="Loss of the day"
            used={loss}
            limit={state.daily_loss_limit}
            note={<span>Profit and loss <Profit value={state.daily_pnl} /></span>}
          />
        </div>
      ) : null}
      <AccountTable days={days.data ?? []} error={days.error} />
    </Panel>
  );
}

function AccountTable({ days, error }: { days: readonly AccountDay[]; error: string | null }) {
  if (error !== null && days.length === 0) return <ReadError error={error} />;
  if (days.length === 0) return <Empty>No account has traded yet.</Empty>;
  const used = (day: AccountDay) => (sign(day.daily_pnl) < 0 ? magnitude(day.daily_pnl ?? "0") : "0");
  const share = (day: AccountDay) => perMille(used(day), day.daily_loss_limit) ?? 0;
  const sorted = [...days].sort((a, b) => share(b) - share(a) || a.account_id.localeCompare(b.account_id));
  return (
    <div class="table-scroll">
      <table class="table">
        <thead>
          <tr><th>Account</th><th class="right">Notional routed</th><th class="right">Limit</th><th class="right">Profit and loss</th><th>Loss limit used</th></tr>
        </thead>
        <tbody>
          {sorted.map((day) => (
            <tr key={day.account_id}>
              <th scope="row">{day.account_id}</th>
              <td class="right num">{formatDecimal(day.notional_routed)}</td>
              <td class="right num">{day.daily_notional_limit === null ? "shared" : formatDecimal(day.daily_notional_limit)}</td>
              <td class="right"><Profit value={day.daily_pnl} /></td>
              <td>
                <div class="meter-cell">
                  <Meter share={share(day)} label={`Loss limit of ${day.account_id}`} />
                  <span class="num">{percent(share(day))} of {formatDecimal(day.daily_loss_limit)}</span>
                </div>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

const COMPONENTS = [
  ["bus", "Bus", "NATS"], ["worker", "Workers", "reply and take orders"], ["redis", "Store", "Redis"],
  ["journal", "Journal", "ORDER_REPORTS"], ["order_log", "Order log", "of this sidecar"],
] as const;

function Health() {
  const { data, error } = useStore(health);
  return (
    <Panel
      title="Health"
      class="health"
      aside={data ? <span class={`chip ${data.problem === null ? "good" : "bad"}`}>{data.problem === null ? "Healthy" : "Not healthy"}</span> : null}
    >
      <ReadError error={error} />
      {data?.problem ? <p class="read-error" role="alert">{data.problem}</p> : null}
      <ul class="components">
        {COMPONENTS.map(([name, title, meaning]) => {
          const check = data?.checks[name];
          const status = error !== null ? "unknown" : (check?.status ?? "unknown");
          return (
            <li key={name}>
              <span class="component">{title} <small>{meaning}</small></span>
              <span class={`chip ${status === "ok" ? "good" : status === "unknown" ? "" : "bad"}`}>{status.replace("_", " ")}</span>
              {check?.detail && error === null ? <p class="component-detail">{check.detail}</p> : null}
            </li>
          );
        })}
      </ul>
    </Panel>
  );
}
