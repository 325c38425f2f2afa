//! The parser of the rule tables, and the tests of all rules together.

use std::collections::BTreeMap;

use crate::domain::control::{ControlState, Lock, LockScope};
use crate::domain::daily_pnl::DailyPnl;
use crate::domain::decimal::Decimal;
use crate::domain::id::{AccountId, BrokerId, ClientOrderId, VenueId};
use crate::domain::instrument::Instrument;
use crate::domain::intent::{Intent, RiskOverrides};
use crate::domain::metadata::Metadata;
use crate::domain::money::{Micros, Rounding};
use crate::domain::order_terms::{Mode, OrderType, Side, TimeInForce, TradingState};
use crate::domain::quantity::{MAX_QUANTITY_UNITS, Price, Quantity, QuantityUnits, to_quantity_units};
use crate::domain::reason::ReasonCode;
use crate::domain::reservation::Reservation;
use crate::domain::rule_signal::{RuleSignal, SignalLevel};
use crate::domain::symbol::Symbol;
use crate::domain::time::{Timestamp, TradingDate};
use crate::risk::alerts::NewAlert;
use crate::risk::cap::{CapBound, CapUnit};
use crate::risk::limits::{AccountLimits, AlertThresholds, DuplicateOrderRule, RateLimits};
use crate::risk::rules::max_daily_loss::DayLoss;
use crate::risk::rules::{max_daily_loss, unpriced_fee};
use crate::risk::*;

fn number(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn micros(text: &str) -> Micros {
    Micros::from_decimal(number(text), Rounding::Down).unwrap()
}

fn instrument(can_short: bool) -> Instrument {
    Instrument {
        broker: BrokerId::new("binance").unwrap(),
        venue: VenueId::new("binance.spot").unwrap(),
        symbol: Symbol::parse("BTCUSDT").unwrap(),
        reference_price: Price::new(number("30000")).unwrap(),
        tick_size: Price::new(number("0.01")).unwrap(),
        lot_size: Quantity::new(number("0.00001")).unwrap(),
        max_order_size: Quantity::new(number("0.75")).unwrap(),
        max_position: Quantity::new(number("1.8")).unwrap(),
        max_notional: number("60000"),
        can_short,
        base_asset: Some("BTC".into()),
        quote: "USDT".into(),
        base_rate: number("1"),
    }
}

fn limits() -> RiskLimits {
    let tight = AccountLimits {
        daily_notional: Some(micros("5000")),
        daily_loss: Some(micros("100")),
        stop_loss: Some(micros("90")),
        max_open_orders: Some(2),
        max_positions: [(
            (VenueId::new("binance.spot").unwrap(), Symbol::parse("BTCUSDT").unwrap()),
            Quantity::new(number("0.1")).unwrap(),
        )]
        .into(),
    };
    RiskLimits {
        daily_notional: micros("1000000"),
        daily_loss: micros("50000"),
        live_order_notional: Some(micros("20000")),
        account_stop_loss: micros("60000"),
        price_collar_percent: 20,
        order_rates: RateLimits {
            per_account: 1_000,
            per_broker: 5_000,
        },
        cancel_rates: RateLimits {
            per_account: 5_000,
            per_broker: 25_000,
        },
        denials_per_hour: 10_000,
        max_open_orders: 100,
        duplicate_order: Some(DuplicateOrderRule {
            window_ms: 1_000,
            level: SignalLevel::Lock,
        }),
        alerts: AlertThresholds {
            alert_percent: 80,
            rearm_percent: 75,
            repeat_after_ms: 3_600_000,
        },
        accounts: [(AccountId::new("tight").unwrap(), tight)].into(),
    }
}

/// Parses `buy 0.5 @30000 realized=-5 unrealized=-5 stop=100 loss=7 account=tight reduce_only`; without `@` it is a
/// market order.
fn intent(text: &str) -> Intent {
    let mut words = text.split(' ');
    let side = Side::parse(words.next().unwrap()).unwrap();
    let quantity = Quantity::new(number(words.next().unwrap())).unwrap();
    let mut intent = Intent {
        broker: BrokerId::new("binance").unwrap(),
        venue: VenueId::new("binance.spot").unwrap(),
        symbol: Symbol::parse("BTCUSDT").unwrap(),
        side,
        quantity,
        order_type: OrderType::Market,
        price: None,
        time_in_force: TimeInForce::Gtc,
        client_order_id: ClientOrderId::new("c").unwrap(),
        account_id: AccountId::default_account(),
        tags: vec![],
        reduce_only: false,
        estimated_loss: None,
        mode: None,
        expires_at: None,
        risk: RiskOverrides::default(),
    };
    for word in words {
        match word.split_once('=') {
            Some(("realized", pnl)) => intent.risk.realized_pnl = Some(number(pnl)),
            Some(("unrealized", pnl)) => intent.risk.unrealized_pnl = Some(number(pnl)),
            Some(("stop", limit)) => intent.risk.stop_loss = Some(number(limit)),
            Some(("loss", loss)) => intent.estimated_loss = Some(number(loss)),
            Some(("account", account)) => intent.account_id = AccountId::new(account).unwrap(),
            None if word == "reduce_only" => intent.reduce_only = true,
            _ => {
                intent.order_type = OrderType::Limit;
                intent.price = Some(Price::new(number(word.trim_start_matches('@'))).unwrap());
            }
        }
    }
    intent
}

/// The names of the sums that a fixture sets, in millionths or orders: `own_` is the account's. `result` is what the
/// account's fills have made, `total_result` what all have.
const SUMS: &[&str] = &[
    "routed",
    "own_routed",
    "expected",
    "own_expected",
    "open",
    "result",
    "total_result",
    "breach",
    "total_breach",
    "unpriced_fees",
];

/// The state before the order: sums in millionths, the exposure, the day's profit and loss, and the operators' values.
struct RuleFixture {
    sums: BTreeMap<&'static str, i64>,
    exposure: QuantityUnits,
    day: DailyPnl,
    control: ControlState,
    is_late: bool,
    is_duplicate: bool,
    rates: Option<[i64; 2]>,
    can_short: bool,
    has_market_price: bool,
    /// Whether the store has returned readings of the caps.
    has_readings: bool,
}

impl RuleFixture {
    fn sum(&self, name: &str) -> i64 {
        assert!(SUMS.contains(&name), "{name}");
        self.sums.get(name).copied().unwrap_or(0)
    }

    /// Returns what the store reads of a measure.
    fn measure(&self, measure: CapMeasure) -> i128 {
        let sum = |name| i128::from(self.sum(name));
        match measure {
            CapMeasure::Exposure => self.exposure,
            CapMeasure::OpenOrders => sum("open"),
            CapMeasure::AccountNotional => sum("own_routed"),
            CapMeasure::TotalNotional => sum("routed"),
            CapMeasure::AccountLoss => sum("own_expected") - sum("result"),
            CapMeasure::TotalLoss => sum("expected") - sum("total_result"),
            CapMeasure::AccountFillLoss => -sum("result"),
            CapMeasure::AccountOpenLoss => sum("own_expected"),
            CapMeasure::OffsetOnly => 0,
        }
    }
}

/// Parses `exposure=1.5 routed=… own_routed=… pnl=-5 total=-5 expected=… own_expected=… open=3 rate=9 broker_rate=9
/// state=halted lock=all,account,symbol,broker,live,operator late duplicate unread unrated no_short unpriced live`. `pnl` and
/// `seen` are the account's profit and fill result of the view, `total` and `total_seen` those of all accounts.
fn parse_fixture(text: &str) -> RuleFixture {
    let date = TradingDate::parse("2026-03-02").unwrap();
    let mut before = RuleFixture {
        sums: BTreeMap::new(),
        exposure: 0,
        day: DailyPnl::zero(date),
        control: ControlState::without_overrides(),
        is_late: false,
        is_duplicate: false,
        rates: Some([0, 0]),
        can_short: true,
        has_market_price: true,
        has_readings: true,
    };
    let unpriced = (VenueId::new("binance.spot").unwrap(), Symbol::parse("ETHUSDT").unwrap());
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        match word.split_once('=') {
            Some(("exposure", quantity)) => before.exposure = to_quantity_units(number(quantity)).unwrap(),
            Some(("pnl", pnl)) => before.day.account.day.profit = micros(pnl),
            Some(("total", pnl)) => before.day.total.day.profit = micros(pnl),
            Some(("seen", sum)) => before.day.account.fill_result = sum.parse().unwrap(),
            Some(("total_seen", sum)) => before.day.total.fill_result = sum.parse().unwrap(),
            Some(("state", state)) => before.control.trading_state = TradingState::parse(state).unwrap(),
            Some(("rate", count)) => before.rates = Some([count.parse().unwrap(), 0]),
            Some(("broker_rate", count)) => before.rates = Some([0, count.parse().unwrap()]),
            Some(("lock", which)) => before.control.locks.push(trading_lock(which)),
            Some(("limit", limit)) => before.control.daily_notional_limit = Some(micros(limit)),
            Some(("loss_limit", limit)) => before.control.daily_loss_limit = Some(micros(limit)),
            Some((name, sum)) => {
                let name = SUMS.iter().find(|known| **known == name).unwrap();
                before.sums.insert(name, sum.parse().unwrap());
            }
            None => match word {
                "late" => before.is_late = true,
                "live" => before.control.mode = Mode::Live,
                "duplicate" => before.is_duplicate = true,
                "unread" => before.has_readings = false,
                "unrated" => before.rates = None,
                "no_price" => before.has_market_price = false,
                "no_short" => before.can_short = false,
                "unpriced" => before.day.account.day.unpriced.push(unpriced.clone()),
                "unpriced_total" => before.day.total.day.unpriced.push(unpriced.clone()),
                other => panic!("{other}"),
            },
        }
    }
    before
}

fn trading_lock(which: &str) -> Lock {
    let (venue, symbol) = (VenueId::new("binance.spot").unwrap(), Symbol::parse("BTCUSDT").unwrap());
    let scope = match which {
        "account" => LockScope::Account(AccountId::default_account()),
        "elsewhere" => LockScope::Account(AccountId::new("other").unwrap()),
        "symbol" => LockScope::Symbol(venue, symbol),
        "broker" => LockScope::Broker(BrokerId::new("binance").unwrap()),
        _ => LockScope::All,
    };
    let rule_id = match which {
        "all" => max_daily_loss::ID,
        "fee" => unpriced_fee::ID,
        _ => "operator",
    };
    let mode = if which == "live" { Mode::Live } else { Mode::Paper };
    Lock {
        lock_id: Lock::compose_id(mode, &scope, rule_id),
        scope,
        mode,
        rule_id: rule_id.into(),
        message: "closed".to_owned(),
        metadata: Metadata::new(),
        locked_at: Timestamp::from_milliseconds(0),
        trading_date: None,
    }
}

fn decide(text: &str, fixture: &str) -> RiskDecision<()> {
    let (intent, before) = (intent(text), parse_fixture(fixture));
    let (instrument, limits) = (instrument(before.can_short), limits());
    let quantity_units = to_quantity_units(intent.quantity.decimal()).unwrap();
    let mark = instrument.reference_price;
    let price = intent.price.unwrap_or(mark);
    let reservation = Reservation::for_order(&instrument, &intent, price, mark, before.day.trading_date).unwrap();
    let now = Timestamp::from_milliseconds(1_000);
    let evaluation = evaluate(&RuleInput {
        intent: &intent,
        instrument: &instrument,
        quantity_units,
        reference_price: instrument.reference_price,
        has_market_price: before.has_market_price,
        reservation: &reservation,
        is_replacement: false,
        limits: &limits,
        control: &before.control,
        daily_pnl: &before.day,
        deadline: Timestamp::from_milliseconds(if before.is_late { 1_000 } else { 1_001 }),
        now,
    });
    evaluation.caps().iter().for_each(alerts::tests::assert_is_named);
    let read_cap = |cap: &Cap| CapReading {
        before: before.measure(cap.measure),
        crosses_alert_threshold: true,
    };
    let caps = evaluation
        .caps()
        .iter()
        .filter(|_| before.has_readings)
        .map(read_cap)
        .collect();
    let is_reduction = before.exposure + quantity_units <= 0;
    let is_admissible = match evaluation.admissibility() {
        Admissibility::All => true,
        Admissibility::ReductionsOnly => is_reduction,
        Admissibility::Nothing => false,
    };
    let readings = CapReadings {
        text: String::new(),
        is_reduction,
        is_duplicate: before.is_duplicate,
        order_counts: before.rates,
        unpriced_fees: before.sums.get("unpriced_fees").copied().unwrap_or(0),
        caps,
        account_breach: before.sums.get("breach").copied(),
        total_breach: before.sums.get("total_breach").copied(),
    };
    let decision = evaluation.decide((), &readings);
    assert!(
        is_admissible || !matches!(decision, RiskDecision::Approved(..)),
        "{text}: approved, and not admissible"
    );
    decision
}

/// Returns each signal as `rule level`, and the outcome: `approved`, or the first lock's code, in brackets where the id
/// stays free.
fn decide_and_format(text: &str, fixture: &str) -> (Vec<String>, String) {
    let shown = |signals: Vec<RuleSignal>| {
        let name = |signal: &RuleSignal| format!("{} {}", signal.rule_id, signal.level.as_str());
        signals.iter().map(name).collect::<Vec<_>>()
    };
    let code = |reason: &crate::domain::reason::Reason| {
        let code = serde_json::to_string(&reason.code).unwrap();
        code.trim_matches('"').to_owned()
    };
    match decide(text, fixture) {
        RiskDecision::Approved(_, alerts) => (shown(NewAlert::signals(alerts)), "approved".to_owned()),
        RiskDecision::Denied(reason, signals) => (shown(signals), code(&reason)),
        RiskDecision::Refused(reason, signals) => (shown(signals), format!("({})", code(&reason))),
    }
}

#[test]
fn every_signal_is_kept_and_the_first_lock_in_order_is_the_outcome() {
    let all = [
        "trading_state lock",
        "intent_age lock",
        "order_size lock",
        "live_order_size lock",
        "max_notional lock",
        "position_limit lock",
        "price_collar lock",
        "max_daily_notional lock",
        "max_daily_loss lock",
        "stop_loss lock",
        "unpriced_fee lock",
        "order_rate lock",
        "max_open_orders lock",
        "duplicate_order lock",
    ];
    let fixture = "live state=reduce_only late exposure=2 routed=1000000000000 pnl=-60000 rate=1000 unpriced_fees=1 open=100 duplicate";
    let (found, outcome) = decide_and_format("buy 1 @40000", fixture);
    assert_eq!(
        (found, outcome.as_str()),
        (all.map(str::to_owned).to_vec(), "reduce_only")
    );
    let names: Vec<&str> = all.iter().map(|signal| signal.trim_end_matches(" lock")).collect();
    assert_eq!(rule_ids().collect::<Vec<_>>(), names);
}

#[test]
fn missing_reading_denies_the_order() {
    let RiskDecision::Denied(reason, signals) = decide("buy 0.1", "unread") else {
        panic!("approved without readings")
    };
    assert!(
        signals.iter().all(|signal| signal.level == SignalLevel::Lock) && signals.len() == 7,
        "{signals:?}"
    );
    assert_eq!(reason.metadata.text("rule_id"), Some("max_notional"));
}

#[test]
fn only_computed_losses_set_a_lock_and_each_scope_once() {
    let now = Timestamp::from_milliseconds(5);
    let breach_locks = |fixture: &str| {
        let before = parse_fixture(fixture);
        let account = |name: &str| DayLoss::of_account(AccountId::new(name).unwrap(), &before.day.account);
        let losses = [DayLoss::of_all(&before.day.total), account("default"), account("tight")];
        max_daily_loss::find_breaches(&losses, before.day.trading_date, &before.control, &limits(), now)
    };
    let breach_ids = |fixture: &str| {
        let locks = breach_locks(fixture);
        locks
            .into_iter()
            .map(|lock| lock.lock_id.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(breach_ids("total=-49999.999999 pnl=-99.999999"), [""; 0]);
    assert_eq!(breach_ids("total=-50000"), ["paper.all.max_daily_loss"]);
    assert_eq!(breach_ids("pnl=-100"), ["paper.account.tight.max_daily_loss"]);
    assert_eq!(
        breach_ids("pnl=-50000"),
        [
            "paper.account.default.max_daily_loss",
            "paper.account.tight.max_daily_loss"
        ]
    );
    assert_eq!(breach_ids("total=-50000 lock=all"), [""; 0]);
    assert_eq!(breach_ids("total=-10 loss_limit=10"), ["paper.all.max_daily_loss"]);
    // The view's profit includes its fills: they count once.
    assert_eq!(breach_ids("total=-49999.999999 total_seen=-5"), [""; 0]);
    let lock = &breach_locks("total=-50000.5")[0];
    assert_eq!(
        (lock.trading_date, lock.locked_at),
        (Some(TradingDate::parse("2026-03-02").unwrap()), now)
    );
    assert_eq!(
        (lock.metadata.get("value"), lock.metadata.get("limit")),
        (Some(&micros("50000.5").into()), Some(&micros("50000").into()))
    );
}

#[test]
fn account_has_its_own_loss_limit_where_it_is_tighter() {
    let limits_of = |account: &str, fixture: &str| {
        let (control, account) = (parse_fixture(fixture).control, AccountId::new(account).unwrap());
        let limit = |scope| max_daily_loss::loss_limit(&control, &limits(), &scope);
        (limit(LockScope::Account(account)), limit(LockScope::All))
    };
    assert_eq!(limits_of("default", ""), (micros("50000"), micros("50000")));
    assert_eq!(limits_of("tight", ""), (micros("100"), micros("50000")));
    assert_eq!(limits_of("tight", "loss_limit=10"), (micros("10"), micros("10")));
}

#[test]
fn signals_of_a_loss_name_it_and_what_has_no_price() {
    let lock_of = |fixture: &str| {
        let (RiskDecision::Denied(_, signals) | RiskDecision::Refused(_, signals)) = decide("buy 0.1 @30000", fixture)
        else {
            panic!("approved: {fixture}")
        };
        signals
            .into_iter()
            .find(|signal| signal.rule_id == max_daily_loss::ID)
            .unwrap()
    };
    let unpriced = lock_of("unpriced");
    assert_eq!(unpriced.metadata.text("unpriced"), Some("ETHUSDT at binance.spot"));
    for (fixture, owner) in [
        ("breach=50000000001", "the account's"),
        ("total_breach=50000000001", "the total"),
    ] {
        let breach = lock_of(fixture);
        assert!(breach.message.starts_with(owner), "{}", breach.message);
        assert_eq!(breach.metadata.get("value"), Some(&micros("50000.000001").into()));
    }
    let cap = lock_of("pnl=-50000 seen=-3 result=-5");
    let value = |name: &str| cap.metadata.get(name).cloned();
    assert_eq!(value("value"), Some(micros("50000.000002").into()));
    assert_eq!(value("before"), Some(micros("50000.000002").into()));
}

#[path = "rules_tables_tests.rs"]
mod tables;
