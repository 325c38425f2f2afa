import { useState } from "preact/hooks";
import { request } from "../api/client";
import type { CloseResult, Holding, OrderPage, Portfolio } from "../api/types";
import { get, query } from "../api/client";
import { formatDecimal, magnitude, perMille, sign } from "../lib/decimal";
import { useStore } from "../lib/store";
import { fullTime } from "../lib/time";
import { limits, maxPosition, positions, refresh } from "../state/router";
import { ActionDialog, type ActionResult } from "../ui/dialog";
import { Amount, Empty, Meter, Panel, Profit, ReadError, StatusChip, percent } from "../ui/parts";
import { addReason } from "./order";

export function Positions() {
  const { data, error } = useStore(positions);
  const [closing, setClosing] = useState<Holding | null>(null);
  return (
    <div class="positions">
      <ReadError error={error} />
      {data && data.items.length === 0 ? <Panel title="Positions"><Empty>No account holds a position in this mode.</Empty></Panel> : null}
      {data?.items.map((portfolio) => <Account key={portfolio.id} portfolio={portfolio} onClose={setClosing} />)}
      {data ? <p class="muted">Valued {fullTime(data.as_of)}. Prices are in the quote currency, values and profits in the base currency.</p> : null}
      {closing ? <CloseDialog holding={closing} onClose={() => setClosing(null)} /> : null}
    </div>
  );
}

function Account({ portfolio, onClose }: { portfolio: Portfolio; onClose: (holding: Holding) => void }) {
  return (
    <Panel title={portfolio.name} aside={<span>Value <strong><Amount value={portfolio.total_value} /></strong></span>}>
      <div class="table-scroll">
        <table class="table positions-table">
          <thead>
            <tr>
              <th>Symbol</th><th>Venue</th><th class="right">Quantity</th><th class="right">Average cost</th><th class="right">Mark</th>
              <th class="right">Value</th><th class="right">Unrealised</th><th class="right">Realised</th><th>Position limit</th><th><span class="visually-hidden">Action</span></th>
            </tr>
          </thead>
          <tbody>
            {portfolio.holdings.map((holding) => (
              <tr key={holding.id}>
                <th scope="row">{holding.symbol}</th>
                <td>{holding.venue}</td>
                <td class="right"><Amount value={holding.quantity} /> <span class="direction">{sign(holding.quantity) < 0 ? "short" : "long"}</span></td>
                <td class="right"><Amount value={holding.average_price} /></td>
                <td class="right">{holding.current_price === null ? "no price" : <><Amount value={holding.current_price} /> {holding.quote_currency}</>}</td>
                <td class="right"><Amount value={holding.market_value} /></td>
                <td class="right"><Profit value={holding.unrealized_pnl} /></td>
                <td class="right"><Profit value={holding.realized_pnl} /></td>
                <td><LimitUsed holding={holding} /></td>
                <td class="right"><button type="button" class="button small" aria-label={`Close ${holding.symbol} of ${holding.account_id}`} onClick={() => onClose(holding)}>Close…</button></td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Panel>
  );
}

/** How much of its limit a position is. The rule counts open orders, too. */
export function LimitUsed({ holding }: { holding: Holding }) {
  const most = maxPosition(useStore(limits).data, holding);
  const share = most === null ? null : perMille(magnitude(holding.quantity), most);
  if (most === null || share === null) return <>–</>;
  return (
    <div class="meter-cell">
      <Meter share={share} label={`Position limit of ${holding.account_id}, ${holding.symbol}`} />
      <span class="num nowrap">{percent(share)} of {formatDecimal(most)}</span>
    </div>
  );
}

function CloseDialog({ holding, onClose }: { holding: Holding; onClose: () => void }) {
  const [target, setTarget] = useState("0");
  // One key for one intention: pressing the button again after no answer cannot close twice.
  const [keys] = useState(() => new Map<string, string>());
  const act = async (reason: string): Promise<ActionResult> => {
    const wanted = target.trim() === "" ? "0" : target.trim();
    const key = keys.get(wanted) ?? crypto.randomUUID();
    keys.set(wanted, key);
    const { status, body } = await request<CloseResult>(`positions/${encodeURIComponent(holding.id)}/close`, {
      method: "POST",
      body: { target_quantity: wanted },
      headers: { "Idempotency-Key": key },
    });
    const result = body as CloseResult;
    refresh("positions", "counts");
    return closeResult(status, result, await noteReason(result, reason));
  };
  const action = sign(holding.quantity) < 0 ? "Buy back" : "Sell";
  return (
    <ActionDialog title={`Close ${holding.symbol} of ${holding.account_id}`} confirm="Send the closing order" act={act} onClose={onClose}>
      <p>
        {action} {formatDecimal(magnitude(holding.quantity))} {holding.symbol} with one market order that can only reduce the position.
      </p>
      <div class="field">
        <label for="close-target">Quantity to keep</label>
        <input id="close-target" aria-describedby="close-meaning" inputMode="decimal" value={target} autocomplete="off" onInput={(event) => setTarget(event.currentTarget.value)} />
        <small id="close-meaning">0 closes the whole position of {formatDecimal(holding.quantity)}.</small>
      </div>
    </ActionDialog>
  );
}

function closeResult(status: number, { order, remaining_quantity, remainder_below_lot }: CloseResult, noted: string): ActionResult {
  const isFilled = status === 200 && order.status === "filled";
  return {
    title: isFilled ? "The closing order is filled" : order.status === "unknown" ? "The result is not known yet" : "The closing order is not filled",
    isComplete: isFilled,
    content: (
      <>
        <dl class="result-figures">
          <div><dt>Status</dt><dd><StatusChip status={order.status} /></dd></div>
          <div><dt>Filled</dt><dd class="num">{formatDecimal(order.filled_quantity)}</dd></div>
          <div><dt>Remaining</dt><dd class="num">{formatDecimal(remaining_quantity)}</dd></div>
          <div><dt>Average price</dt><dd class="num">{formatDecimal(order.avg_price)}</dd></div>
        </dl>
        {order.reason ? <p>{order.reason.message}</p> : null}
        {remainder_below_lot ? <p>{remainder_below_lot.detail}</p> : null}
        <p>{noted}</p>
      </>
    ),
  };
}

/** Adds the reason to the closing order, which the order log knows by its number. */
async function noteReason({ order }: CloseResult, reason: string): Promise<string> {
  try {
    const page = await get<OrderPage>(`orders/log${query({ client_order_id: order.client_order_id, account_id: order.account_id, limit: 5 })}`);
    const found = page.items.find((item) => item.external_order_id === order.order_id);
    if (found) return await addReason(found.id, `Close requested: ${reason}`);
  } catch {
    // The order log is behind: said below.
  }
  return "The reason could not be added as a note: the order log does not have the order yet.";
}
