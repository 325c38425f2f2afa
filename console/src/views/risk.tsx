import { useState } from "preact/hooks";
import { request } from "../api/client";
import type { Holding, Lock, RiskSignal, TradingState } from "../api/types";
import { magnitude, perMille, sign } from "../lib/decimal";
import { useStore } from "../lib/store";
import { fullTime } from "../lib/time";
import { alerts } from "../state/live";
import { limits, locks, maxPosition, positions, refresh, routerState } from "../state/router";
import { AlertTable, Figures } from "../ui/alert-table";
import { ActionDialog } from "../ui/dialog";
import { Empty, Panel, Profit, ReadError, Usage } from "../ui/parts";
import { LimitUsed } from "./positions";
import { MODE_WORDS, TRADING_STATE_WORDS, ruleWords } from "../ui/words";

export function Risk({ onChange }: { onChange: (target: TradingState) => void }) {
  return (
    <div class="risk">
      <div class="columns">
        <KillSwitch onChange={onChange} />
        <Limits />
      </div>
      <Locks />
      <Alerts />
    </div>
  );
}

function KillSwitch({ onChange }: { onChange: (target: TradingState) => void }) {
  const { data: state, error } = useStore(routerState);
  const current = state?.trading_state;
  const change = state?.last_change;
  return (
    <Panel title="Trading state" class={`kill-switch ${current ?? ""}`}>
      <ReadError error={error} />
      <p class="kill-state">
        <strong>{current ? TRADING_STATE_WORDS[current].title : "Unknown"}</strong>
        <span>{current ? TRADING_STATE_WORDS[current].meaning : ""}</span>
      </p>
      {state ? <p class="muted">Mode {MODE_WORDS[state.mode].title.toLowerCase()}. {MODE_WORDS[state.mode].meaning}</p> : null}
      {change ? (
        <p class="muted">Last change {fullTime(change.timestamp)} by {change.actor}: “{change.reason}”</p>
      ) : state ? <p class="muted">No operator has changed the state yet.</p> : null}
      <div class="kill-buttons">
        <button type="button" class="button danger big" disabled={current === "halted"} onClick={() => onChange("halted")}>Halt trading…</button>
        <button type="button" class="button" disabled={current === "reduce_only"} onClick={() => onChange("reduce_only")}>Reduce only…</button>
        <button type="button" class="button" disabled={current === "active"} onClick={() => onChange("active")}>Resume…</button>
      </div>
    </Panel>
  );
}

function Limits() {
  const { data: state } = useStore(routerState);
  const loss = state?.daily_pnl == null ? null : sign(state.daily_pnl) < 0 ? magnitude(state.daily_pnl) : "0";
  return (
    <Panel title={`Limits of the trading day${state ? ` ${state.trading_date}` : ""}`} aside={<a href="#overview">By account</a>}>
      {state ? (
        <div class="usages">
          <Usage label="Notional routed" used={state.notional_routed} limit={state.daily_notional_limit} />
          <Usage label="Loss of the day" used={loss} limit={state.daily_loss_limit} note={<span>Profit and loss <Profit value={state.daily_pnl} /></span>} />
        </div>
      ) : <Empty>Not read yet.</Empty>}
      <NearestPositions />
    </Panel>
  );
}

/** The positions that are listed beside the limits of the day. */
const NEAREST_POSITIONS = 4;

/** The positions that use most of their limit. */
function NearestPositions() {
  const inForce = useStore(limits).data;
  const holdings = useStore(positions).data?.items.flatMap((portfolio) => portfolio.holdings) ?? [];
  const share = (holding: Holding) => perMille(magnitude(holding.quantity), maxPosition(inForce, holding) ?? "0") ?? 0;
  const nearest = holdings.map((holding) => ({ holding, used: share(holding) })).sort((a, b) => b.used - a.used).slice(0, NEAREST_POSITIONS);
  if (nearest.length === 0) return null;
  return (
    <table class="table nearest">
      <thead><tr><th>Positions nearest to their limit</th><th>Used</th></tr></thead>
      <tbody>
        {nearest.map(({ holding }) => (
          <tr key={holding.id}>
            <th scope="row">{holding.symbol} <small>{holding.account_id}</small></th>
            <td><LimitUsed holding={holding} /></td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function scopeWords(scope: Lock["scope"]): string {
  switch (scope.kind) {
    case "all": return "Everything";
    case "account": return `Account ${scope.account_id}`;
    case "symbol": return `${scope.symbol} at ${scope.venue}`;
    case "account_symbol": return `Account ${scope.account_id} in ${scope.symbol} at ${scope.venue}`;
    case "broker": return `Broker ${scope.broker}`;
  }
}

function Locks() {
  const { data, error } = useStore(locks);
  const [lifting, setLifting] = useState<Lock | null>(null);
  return (
    <Panel title="Locks in force" aside={<span class="muted">A lock lets only reductions and cancels pass.</span>}>
      <ReadError error={error} />
      {data && data.items.length === 0 ? <Empty>No lock is in force.</Empty> : null}
      {data && data.items.length > 0 ? (
        <div class="table-scroll">
          <table class="table">
            <thead><tr><th>Closes</th><th>Rule</th><th>Since</th><th>By</th><th>Reason</th><th>Measured</th><th><span class="visually-hidden">Action</span></th></tr></thead>
            <tbody>
              {data.items.map((lock) => (
                <tr key={lock.latch_id}>
                  <th scope="row">{scopeWords(lock.scope)} <small class="muted">{lock.mode}</small></th>
                  <td>{ruleWords(lock.rule_id)}</td>
                  <td class="num nowrap">{fullTime(lock.since).slice(0, 19)}</td>
                  <td>{lock.actor}</td>
                  <td class="message">{lock.message.includes(lock.reason) ? lock.message : `${lock.message}. ${lock.reason}`}</td>
                  <td><Figures metadata={lock.metadata} /></td>
                  <td class="right"><button type="button" class="button small" aria-label={`Lift the lock ${lock.latch_id}`} onClick={() => setLifting(lock)}>Lift…</button></td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      ) : null}
      {lifting ? <LiftDialog lock={lifting} onClose={() => setLifting(null)} /> : null}
    </Panel>
  );
}

function LiftDialog({ lock, onClose }: { lock: Lock; onClose: () => void }) {
  return (
    <ActionDialog
      title="Lift the lock"
      confirm="Lift the lock"
      act={async (reason) => {
        await request(`risk/locks/${encodeURIComponent(lock.latch_id)}/lift`, { method: "POST", body: { reason } });
        refresh("locks");
        return { title: "The lock is lifted", isComplete: true, content: <p>{scopeWords(lock.scope)} takes new positions again. A loss that is still at its limit, and a fee without a price, close again.</p> };
      }}
      onClose={onClose}
    >
      <p>{scopeWords(lock.scope)}: {lock.message}. New positions can be opened again.</p>
      <p><code>{lock.latch_id}</code></p>
    </ActionDialog>
  );
}

function Alerts() {
  const { data, error } = useStore(alerts);
  const [level, setLevel] = useState<"" | RiskSignal["level"]>("");
  const shown = (data ?? []).filter((signal) => level === "" || signal.level === level);
  return (
    <Panel
      title="Alerts and denials"
      aside={
        <label class="inline-field">Effect{" "}
          <select value={level} onChange={(event) => setLevel(event.currentTarget.value as "" | RiskSignal["level"])}>
            <option value="">both</option>
            <option value="alert">alert: the order passed</option>
            <option value="lock">denied, or locked</option>
          </select>
        </label>
      }
    >
      <ReadError error={error} />
      {shown.length === 0 ? <Empty>No alerts.</Empty> : <AlertTable signals={shown.slice(0, 200)} />}
      {shown.length > 200 ? <p class="muted">The newest 200 are listed.</p> : null}
    </Panel>
  );
}
