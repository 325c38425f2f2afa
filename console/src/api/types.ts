import type { Exact } from "./json";
import type { components } from "./schema";

type Schemas = components["schemas"];

/** The documents of the API, with numbers as text. */
export type RouterState = Exact<Schemas["RouterState"]>;
export type AccountDay = Exact<Schemas["AccountDay"]>;
export type OrderRecord = Exact<Schemas["OrderRecord"]>;
export type OrderPage = Exact<Schemas["OrderPage"]>;
export type OrderHistory = Exact<Schemas["OrderHistory"]>;
export type LimitMeasurement = Exact<Schemas["LimitMeasurement"]>;
export type ExecutionReport = Exact<Schemas["ExecutionReport"]>;
export type PositionList = Exact<Schemas["PositionsAnswer"]>;
export type Portfolio = Exact<Schemas["Portfolio"]>;
export type Holding = Exact<Schemas["Holding"]>;
export type CloseResult = Exact<Schemas["ClosePositionAnswer"]>;
export type RiskSignal = Exact<Schemas["RiskSignal"]>;
export type Lock = Exact<Schemas["Lock"]>;
export type LockList = Exact<Schemas["LocksAnswer"]>;
export type LimitsInForce = Exact<Schemas["LimitsInForce"]>;
export type Health = Exact<Schemas["Health"]>;
export type HealthChecks = Exact<Schemas["HealthChecks"]>;
export type Problem = Exact<Schemas["Problem"]>;
export type HaltReceipt = Exact<Schemas["HaltReceipt"]>;
export type Reason = Exact<Schemas["Reason"]>;
export type OrderStatus = Schemas["OrderStatus"];
export type TradingState = Schemas["TradingState"];
export type Mode = Schemas["Mode"];

/** The statuses of an order that can still trade. */
export const OPEN_STATUSES: readonly OrderStatus[] = ["accepted", "partially_filled", "unknown"];
