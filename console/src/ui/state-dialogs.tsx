import { request } from "../api/client";
import type { HaltReceipt, RouterState, TradingState } from "../api/types";
import { formatDecimal } from "../lib/decimal";
import { useStore } from "../lib/store";
import { counts, refresh, routerState } from "../state/router";
import { ActionDialog, type ActionResult } from "./dialog";

/** The remaining orders that a result names. */
const MAX_NAMED_ORDERS = 12;

/** Asks for the reason of a change of the trading state, makes it, and shows its result. */
export function TradingStateDialog({ target, onClose }: { target: TradingState; onClose: () => void }) {
  const open = useStore(counts).data?.open ?? null;
  const state = useStore(routerState).data;
  if (target === "halted") {
    return (
      <ActionDialog title="Halt trading" confirm="Halt trading now" act={(reason) => change("halted", reason)} onClose={onClose}>
        <p>
          The router takes no more orders, of any account and broker, and cancels every open order
          {open === null ? "" : ` (${formatDecimal(open)} now)`}. Positions stay open. Only cancels pass until trading is resumed.
        </p>
      </ActionDialog>
    );
  }
  const isTightening = target === "reduce_only" && state?.trading_state === "active";
  const title = target === "active" ? "Resume trading" : "Allow only reductions";
  return (
    <ActionDialog
      title={title}
      confirm={target === "active" ? "Resume trading" : "Set reduce only"}
      tone={isTightening ? "danger" : ""}
      act={(reason) => change(target, reason)}
      onClose={onClose}
    >
      <p>
        {target === "active"
          ? "Every order that passes the rules is sent again, of all accounts and brokers. Locks stay in force."
          : "Only orders that reduce a position, and cancels, pass. Open orders stay open."}
      </p>
    </ActionDialog>
  );
}

async function change(target: TradingState, reason: string): Promise<ActionResult> {
  const { status, body } = await request<RouterState | HaltReceipt>("state", { method: "PUT", body: { trading_state: target, reason } });
  refresh("state", "counts", "locks", "positions");
  if (status === 202) {
    const receipt = body as HaltReceipt;
    return {
      title: "The result is unknown",
      isComplete: false,
      content: <p>{receipt.reason.message}</p>,
    };
  }
  const state = body as RouterState;
  routerState.set({ data: state, at: Date.now(), error: null });
  if (target !== "halted") {
    return { title: target === "active" ? "Trading is resumed" : "Only reductions pass", isComplete: true, content: <p>All workers apply it from their next order on.</p> };
  }
  const remaining = state.remaining_total ?? "0";
  return { title: "Trading is halted", isComplete: remaining === "0", content: <HaltResult state={state} /> };
}

function HaltResult({ state }: { state: RouterState }) {
  const remaining = state.remaining_total ?? "0";
  const names = state.remaining ?? [];
  return (
    <>
      <dl class="result-figures">
        <div><dt>Cancelled</dt><dd class="num">{formatDecimal(state.cancelled ?? "0")}</dd></div>
        <div class={remaining === "0" ? "" : "warn"}><dt>Still open</dt><dd class="num">{formatDecimal(remaining)}</dd></div>
      </dl>
      {remaining === "0" ? null : (
        <>
          <p>The workers keep cancelling what is open while trading is halted. Still open:</p>
          <ul class="order-ids">
            {names.slice(0, MAX_NAMED_ORDERS).map((name) => <li key={name}><code>{name}</code></li>)}
          </ul>
          {names.length > MAX_NAMED_ORDERS ? <p>and {names.length - MAX_NAMED_ORDERS} more: filter the blotter by open orders.</p> : null}
        </>
      )}
    </>
  );
}
