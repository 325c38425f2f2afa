//! Every call can run in a task of its own.

use std::time::Duration;

use crate::bus::router_client::RouterClient;
use crate::client::order_key::OrderKey;
use crate::client::stored_intent::StoredIntent;
use crate::config::connection::ConnectionSettings;
use crate::domain::id::{AccountId, BrokerId};
use crate::domain::symbol::Symbol;
use crate::wire::adjustment::AdjustmentRequest;
use crate::wire::heartbeat::HeartbeatRequest;
use crate::wire::intent::ExecutionIntent;
use crate::wire::limits::LimitsChangeRequest;
use crate::wire::lock::LockScopeDocument;
use crate::wire::market_quote::MarketQuote;
use crate::wire::note::NoteRequest;
use crate::wire::state::StateChangeRequest;

fn sendable<T: Send>(_: T) {}

/// What the calls are about.
struct Arguments {
    client: RouterClient,
    intent: ExecutionIntent,
    stored: StoredIntent,
    order: OrderKey,
    broker: BrokerId,
    account: AccountId,
    symbol: Symbol,
    beat: HeartbeatRequest,
    note: NoteRequest,
    quote: MarketQuote,
    limits: LimitsChangeRequest,
}

/// Compiles only while every future is `Send`; nothing is called.
fn futures_are_sendable(mut all: Arguments, limit: Duration) {
    let (client, broker, account) = (&all.client, &all.broker, &all.account);
    sendable(RouterClient::connect(ConnectionSettings::default()));
    sendable(client.submit(&all.intent, limit));
    sendable(client.submit_durable(&all.intent, limit));
    sendable(client.wait_report(&mut all.stored, limit));
    sendable(client.get(&all.order, limit));
    sendable(client.cancel(&all.order, limit));
    sendable(client.cancel_all(broker, account, None, limit));
    sendable(client.heartbeat(account, &all.beat, limit));
    sendable(client.note(broker, account, all.note, limit));
    sendable(client.publish_quote("v", &all.symbol, &all.quote));
    sendable(client.state(limit));
    sendable(client.halt("a", "r", limit));
    sendable(client.resume("a", "r", limit));
    sendable(client.set_state(&StateChangeRequest::default(), limit));
    sendable(client.locks(limit));
    sendable(client.lock(LockScopeDocument::All, "a", "r", limit));
    sendable(client.lift("l", "a", "r", limit));
    sendable(client.adjust(AdjustmentRequest::default(), limit));
    sendable(client.brokers(limit));
    sendable(client.health(limit));
    sendable(client.limits(limit));
    sendable(client.set_limits(&all.limits, limit));
    sendable(client.reports(None, None).next());
    sendable(client.alerts(None, None).begin());
    sendable(client.journal(None).next());
}

#[test]
fn every_call_can_run_in_a_task_of_its_own() {
    let _: fn(Arguments, Duration) = futures_are_sendable;
}
