import { get, query } from "../api/client";
import type { OrderHistory, OrderPage, OrderRecord } from "../api/types";
import { Store } from "../lib/store";

/** The order whose life is open beside the view. */
export interface OrderKey {
  orderId: string;
  clientOrderId: string;
  accountId: string;
}

export const selectedOrder = new Store<OrderKey | null>(null);

/** What had the focus before the order was opened. */
let focusedBefore: Element | null = null;

export function openOrder(key: OrderKey): void {
  if (selectedOrder.get() === null) focusedBefore = document.activeElement;
  selectedOrder.set(key);
}

export function closeOrder(): void {
  selectedOrder.set(null);
  if (focusedBefore instanceof HTMLElement) focusedBefore.focus();
  focusedBefore = null;
}

/** The orders that may share a client order id: one of each mode, and those that were released. */
const MAX_NAMESAKES = 20;

export interface OrderLife {
  order: OrderRecord;
  history: OrderHistory;
}

/** Reads an order and its versions; null while the order log does not have it. */
export async function readLife(key: OrderKey): Promise<OrderLife | null> {
  const filter = { client_order_id: key.clientOrderId, account_id: key.accountId, limit: MAX_NAMESAKES };
  const page = await get<OrderPage>(`orders/log${query(filter)}`);
  const order = page.items.find((item) => item.external_order_id === key.orderId);
  if (!order) return null;
  return { order, history: await get<OrderHistory>(`orders/${order.id}/history`) };
}
