import type { RouterState, TradingState } from "../api/types";
import { clockTime, fullTime } from "../lib/time";
import { useStore } from "../lib/store";
import { lastByteAt, phase } from "../state/live";
import { routerState } from "../state/router";
import { MODE_WORDS, TRADING_STATE_WORDS } from "./words";

/** Mode and trading state, across the page: live is red, a halt is unmistakable. */
export function Banner({ onChange }: { onChange: (target: TradingState) => void }) {
  const { data, at, error } = useStore(routerState);
  if (!data) {
    return (
      <div class="banner unknown-state" role="status">
        <strong class="banner-state">Trading state unknown</strong>
        <span class="banner-why">{error ?? "Reading the state…"}</span>
        <button type="button" class="button danger" onClick={() => onChange("halted")}>Halt trading…</button>
      </div>
    );
  }
  const mode = MODE_WORDS[data.mode];
  const state = TRADING_STATE_WORDS[data.trading_state];
  return (
    <div class={`banner mode-${data.mode} trading-${data.trading_state}`} role="status">
      <span class="banner-mode" title={mode.meaning}>
        <strong>{mode.title}</strong>
        <span class="banner-meaning">{mode.meaning}</span>
      </span>
      <span class="banner-trading">
        <strong class="banner-state">{state.title}</strong>
        <span class="banner-why"><Why state={data} fallback={state.meaning} /></span>
      </span>
      {error === null ? null : <span class="banner-old">As of {clockTime(at ?? 0)} UTC. {error}</span>}
      <span class="banner-actions">
        {data.trading_state === "active" ? null : (
          <button type="button" class="button on-banner" onClick={() => onChange("active")}>Resume…</button>
        )}
        {data.trading_state === "halted" ? null : (
          <button type="button" class="button danger halt" onClick={() => onChange("halted")}>Halt trading…</button>
        )}
      </span>
    </div>
  );
}

/** Who changed the state last, when and why. */
function Why({ state, fallback }: { state: RouterState; fallback: string }) {
  const change = state.last_change;
  if (!change || state.trading_state === "active") return <>{fallback}</>;
  return <>{fallback} Last change {fullTime(change.timestamp).slice(0, 19)} UTC by {change.actor}: “{change.reason}”</>;
}

/** Says that the page may be old, while nothing arrives. */
export function StaleBar() {
  const current = useStore(phase);
  const last = useStore(lastByteAt);
  if (current.kind === "lost") {
    return (
      <div class="stale" role="alert">
        <strong>Stale since {last === null ? "the start" : `${clockTime(last)} UTC`}.</strong>
        <span>{current.detail} Connecting again: what the page missed follows then.</span>
      </div>
    );
  }
  if (current.kind === "refused") {
    return <div class="stale" role="alert"><strong>No live events.</strong><span>{current.detail}</span></div>;
  }
  return null;
}

/** The state of the connection, in the header. */
export function Connection() {
  const current = useStore(phase);
  const words = { connecting: "Connecting", live: "Live", lost: "Stale", refused: "No events" }[current.kind];
  return <span class={`connection ${current.kind}`} data-phase={current.kind}>{words}</span>;
}
