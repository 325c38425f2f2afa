//! The rules as tables: an intent, the state before it, the signals, and the outcome.

use crate::risk::tests::*;

/// Intent, state before it, signals, outcome.
type RuleCase = (&'static str, &'static str, &'static [&'static str], &'static str);

#[track_caller]
fn assert_cases(cases: &[RuleCase]) {
    for (text, fixture, signals, outcome) in cases {
        let (found, decided) = decide_and_format(text, fixture);
        assert_eq!(
            (found.as_slice(), decided.as_str()),
            (
                signals
                    .iter()
                    .map(|&signal| signal.to_owned())
                    .collect::<Vec<_>>()
                    .as_slice(),
                *outcome
            ),
            "{text} | {fixture}"
        );
    }
}

#[test]
#[rustfmt::skip]
fn trading_state_and_locks_let_reductions_pass_and_halted_nothing() {
    assert_cases(&[
        ("buy 0.1 @30000", "", &[], "approved"),
        ("buy 0.1 @30000", "state=reduce_only", &["trading_state lock"], "reduce_only"),
        ("sell 0.1 @30000", "state=reduce_only exposure=-10000", &[], "approved"),
        ("sell 0.1 @30000", "state=reduce_only exposure=-9999", &["trading_state lock"], "reduce_only"),
        ("sell 0.1 @30000", "state=halted exposure=-10000", &["trading_state lock"], "trading_halted"),
        ("buy 0.1 @30000", "state=halted", &["trading_state lock"], "trading_halted"),
        ("buy 0.1 @30000 reduce_only", "", &["trading_state lock"], "reduce_only"),
        ("buy 0.1 @30000 reduce_only", "exposure=-10000", &[], "approved"),
        ("buy 0.1 @30000 reduce_only", "exposure=-9999", &["trading_state lock"], "reduce_only"),
        ("buy 0.1 @30000", "lock=account", &["trading_state lock"], "reduce_only"),
        ("buy 0.1 @30000", "lock=symbol", &["trading_state lock"], "reduce_only"),
        ("buy 0.1 @30000", "lock=broker", &["trading_state lock"], "reduce_only"),
        ("buy 0.1 @30000", "lock=all", &["trading_state lock"], "daily_loss_exceeded"),
        ("buy 0.1 @30000", "lock=all exposure=-10000", &[], "approved"),
        ("buy 0.1 @30000", "lock=elsewhere", &[], "approved"),
        ("buy 0.1 @30000", "lock=live", &[], "approved"),
    ]);
}

#[test]
#[rustfmt::skip]
fn intent_expires_at_its_deadline_and_its_id_stays_free() {
    assert_cases(&[
        ("buy 0.1 @30000", "late", &["intent_age lock"], "(intent_expired)"),
        ("sell 0.1 @30000", "late exposure=-10000", &["intent_age lock"], "(intent_expired)"),
        // An earlier rule decides.
        ("buy 0.1 @30000", "late state=halted", &["trading_state lock", "intent_age lock"], "trading_halted"),
        ("buy 0.8 @30000", "late", &["intent_age lock", "order_size lock"], "(intent_expired)"),
    ]);
}

#[test]
#[rustfmt::skip]
fn order_size_and_notional_have_a_maximum() {
    assert_cases(&[
        ("buy 0.74999 @30000", "", &[], "approved"),
        ("buy 0.75 @30000", "", &[], "approved"),
        ("buy 0.75001 @30000", "", &["order_size lock"], "order_size_exceeded"),
        ("buy 0.75001 @30000", "exposure=-75001", &[], "approved"),
        // max_notional: 60 000 at 40 000 is 1.5, valued at the higher of limit and reference price
        ("buy 0.5 @36000", "exposure=116665", &["max_notional alert", "position_limit alert"], "approved"),
        ("buy 0.5 @36000", "exposure=116666", &["max_notional alert", "position_limit alert"], "approved"),
        ("buy 0.5 @36000", "exposure=116667", &["max_notional lock", "position_limit alert"], "risk_locked"),
        ("buy 0.5 @36000", "exposure=83332", &[], "approved"),
        ("buy 0.5 @36000", "exposure=83333", &["max_notional alert"], "approved"),
        ("sell 0.5 @30000", "exposure=-50000", &[], "approved"),
    ]);
}

#[test]
#[rustfmt::skip]
fn position_has_a_limit_on_both_sides() {
    assert_cases(&[
        // the limit is 1.8, of which 80 % is 1.44; max_notional allows 2.00000
        ("buy 0.5 @30000", "exposure=93999", &[], "approved"),
        ("buy 0.5 @30000", "exposure=94000", &["position_limit alert"], "approved"),
        ("buy 0.5 @30000", "exposure=129999", &["max_notional alert", "position_limit alert"], "approved"),
        ("buy 0.5 @30000", "exposure=130000", &["max_notional alert", "position_limit alert"], "approved"),
        ("sell 0.5 @30000", "exposure=130001", &["max_notional alert", "position_limit lock"], "risk_locked"),
        // an account's own limit
        ("buy 0.1 @30000 account=tight", "", &["position_limit alert"], "approved"),
        ("buy 0.1 @30000 account=tight", "exposure=1", &["position_limit lock"], "risk_locked"),
        // where short positions are not allowed, a position may be sold to the last lot
        ("sell 0.1 @30000", "no_short exposure=-10000", &[], "approved"),
        ("sell 0.1 @30000", "no_short exposure=-9999", &["position_limit lock"], "risk_locked"),
        ("buy 0.1 @30000", "no_short", &[], "approved"),
    ]);
}

#[test]
#[rustfmt::skip]
fn limit_price_has_a_collar_on_the_losing_side() {
    assert_cases(&[
        ("buy 0.1 @35999.99", "", &[], "approved"),
        ("buy 0.1 @36000", "", &[], "approved"),
        ("buy 0.1 @36000.01", "", &["price_collar lock"], "risk_locked"),
        ("buy 0.1 @36000.01", "exposure=-10000", &[], "approved"),
        // without a market price no position is opened
        ("buy 0.1 @30000", "no_price", &["price_collar lock"], "(reference_price_missing)"),
        ("buy 0.1 @30000", "no_price exposure=-10000", &[], "approved"),
        ("sell 0.1 @24000.01", "", &[], "approved"),
        ("sell 0.1 @24000", "", &[], "approved"),
        ("sell 0.1 @23999.99", "", &["price_collar lock"], "risk_locked"),
        ("sell 0.1 @90000", "", &[], "approved"),
        ("buy 0.1 @1", "", &[], "approved"),
        ("buy 0.1", "", &[], "approved"),
    ]);
}

#[test]
#[rustfmt::skip]
fn daily_notional_has_a_limit_over_all_accounts_and_per_account() {
    assert_cases(&[
        ("buy 0.1 @30000", "routed=796999999999", &[], "approved"),
        ("buy 0.1 @30000", "routed=797000000000", &["max_daily_notional alert"], "approved"),
        ("buy 0.1 @30000", "routed=996999999999", &["max_daily_notional alert"], "approved"),
        ("buy 0.1 @30000", "routed=997000000000", &["max_daily_notional alert"], "approved"),
        ("buy 0.1 @30000", "routed=997000000001", &["max_daily_notional lock"], "daily_notional_exceeded"),
        ("buy 0.1 @30000", "routed=997000000001 exposure=-10000", &["max_daily_notional alert"], "approved"),
        // an operator's limit takes precedence
        ("buy 0.1 @30000", "limit=3000", &["max_daily_notional alert"], "approved"),
        ("buy 0.1 @30000", "limit=2999.999999", &["max_daily_notional lock"], "daily_notional_exceeded"),
        // the account's own limit
        ("buy 0.05 @30000 account=tight", "own_routed=3500000000", &["max_daily_notional alert"], "approved"),
        ("buy 0.05 @30000 account=tight", "own_routed=3500000001", &["max_daily_notional lock"], "daily_notional_exceeded"),
    ]);
}

#[test]
#[rustfmt::skip]
fn daily_loss_must_stay_below_its_limit() {
    assert_cases(&[
        ("buy 0.1 @30000", "pnl=-39999.999999", &[], "approved"),
        ("buy 0.1 @30000", "pnl=-40000", &["max_daily_loss alert"], "approved"),
        ("buy 0.1 @30000", "pnl=-49999.999999", &["max_daily_loss alert", "stop_loss alert"], "approved"),
        ("buy 0.1 @30000", "pnl=-50000", &["max_daily_loss lock", "stop_loss alert"], "daily_loss_exceeded"),
        ("buy 0.1 @30000", "total=-49999.999999", &["max_daily_loss alert"], "approved"),
        ("buy 0.1 @30000", "total=-50000", &["max_daily_loss lock"], "daily_loss_exceeded"),
        ("buy 0.1 @30000", "total=-50000 exposure=-10000", &["max_daily_loss alert"], "approved"),
        // expected losses of open orders, and of this one
        ("buy 0.1 @30000 loss=9999.999999", "pnl=-40000", &["max_daily_loss alert"], "approved"),
        ("buy 0.1 @30000 loss=10000", "pnl=-40000", &["max_daily_loss lock"], "daily_loss_exceeded"),
        ("buy 0.1 @30000 loss=1", "own_expected=49998999999", &["max_daily_loss alert"], "approved"),
        ("buy 0.1 @30000 loss=1", "own_expected=49999000000", &["max_daily_loss lock"], "daily_loss_exceeded"),
        ("buy 0.1 @30000 loss=1", "expected=49999000000", &["max_daily_loss lock"], "daily_loss_exceeded"),
        // an operator's limit, and the account's own where it is tighter
        ("buy 0.01 @30000", "pnl=-10 loss_limit=10", &["max_daily_loss lock"], "daily_loss_exceeded"),
        ("buy 0.01 @30000 account=tight", "pnl=-100", &["max_daily_loss lock", "stop_loss lock"], "daily_loss_exceeded"),
        ("buy 0.01 @30000 account=tight", "pnl=-79.999999", &["stop_loss alert"], "approved"),
        // the caller's values where they are worse
        ("buy 0.1 @30000 realized=-20000 unrealized=-30000", "", &["max_daily_loss lock", "stop_loss alert"], "daily_loss_exceeded"),
        ("buy 0.1 @30000 realized=90000", "pnl=-50000", &["max_daily_loss lock", "stop_loss alert"], "daily_loss_exceeded"),
        // an unknown profit does not count as one
        ("buy 0.1 @30000", "unknown_pnl", &["max_daily_loss lock"], "(reference_price_missing)"),
        ("buy 0.1 @30000", "unknown_pnl exposure=-10000", &[], "approved"),
        ("buy 0.1 @30000", "unknown_total", &["max_daily_loss lock"], "(reference_price_missing)"),
        ("buy 0.1 @30000 realized=-90", "unknown_total exposure=-10000", &[], "approved"),
    ]);
}

#[test]
#[rustfmt::skip]
fn account_stops_at_its_loss_limit() {
    assert_cases(&[
        ("buy 0.1 @30000 realized=-47999.999999", "", &["max_daily_loss alert"], "approved"),
        ("buy 0.1 @30000 realized=-48000", "", &["max_daily_loss alert", "stop_loss alert"], "approved"),
        ("buy 0.1 @30000 realized=-99.999999 stop=100", "", &["stop_loss alert"], "approved"),
        ("buy 0.1 @30000 realized=-100 stop=100", "", &["stop_loss lock"], "risk_locked"),
        ("buy 0.1 @30000 realized=-100 stop=100", "exposure=-10000", &["stop_loss alert"], "approved"),
        ("buy 0.1 @30000 stop=100", "pnl=-100", &["stop_loss lock"], "risk_locked"),
        // a caller's threshold never loosens the limit
        ("buy 0.1 @30000 realized=-60000 stop=900000", "", &["max_daily_loss lock", "stop_loss lock"], "daily_loss_exceeded"),
        ("buy 0.01 @30000 account=tight", "pnl=-90", &["max_daily_loss alert", "stop_loss lock"], "risk_locked"),
    ]);
}

#[test]
#[rustfmt::skip]
fn orders_beyond_the_rate_are_refused_and_may_be_retried() {
    assert_cases(&[
        ("buy 0.1 @30000", "rate=999", &[], "approved"),
        ("buy 0.1 @30000", "rate=1000", &["order_rate lock"], "(rate_limited)"),
        ("buy 0.1 @30000", "broker_rate=4999", &[], "approved"),
        ("buy 0.1 @30000", "broker_rate=5000", &["order_rate lock"], "(rate_limited)"),
        ("sell 0.1 @30000", "rate=1000 exposure=-10000", &["order_rate lock"], "(rate_limited)"),
        ("buy 0.1 @30000", "unrated", &["order_rate lock"], "(rate_limited)"),
    ]);
}

#[test]
#[rustfmt::skip]
fn open_orders_and_duplicates_are_limited() {
    assert_cases(&[
        ("buy 0.1 @30000", "open=78", &[], "approved"),
        ("buy 0.1 @30000", "open=79", &["max_open_orders alert"], "approved"),
        ("buy 0.1 @30000", "open=99", &["max_open_orders alert"], "approved"),
        ("buy 0.1 @30000", "open=100", &["max_open_orders lock"], "risk_locked"),
        ("sell 0.1 @30000", "open=100 exposure=-10000", &["max_open_orders lock"], "risk_locked"),
        ("buy 0.01 @30000 account=tight", "open=2", &["max_open_orders lock"], "risk_locked"),
        ("buy 0.1 @30000", "duplicate", &["duplicate_order lock"], "risk_locked"),
        ("sell 0.1 @30000", "duplicate exposure=-10000", &["duplicate_order lock"], "risk_locked"),
    ]);
}
