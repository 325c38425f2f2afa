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
        ("sell 0.1 @30000", "state=reduce_only exposure=-0.1", &[], "approved"),
        ("sell 0.1 @30000", "state=reduce_only exposure=-0.09999999", &["trading_state lock"], "reduce_only"),
        ("sell 0.1 @30000", "state=halted exposure=-0.1", &["trading_state lock"], "trading_halted"),
        ("buy 0.1 @30000", "state=halted", &["trading_state lock"], "trading_halted"),
        ("buy 0.1 @30000 reduce_only", "", &["trading_state lock"], "reduce_only"),
        ("buy 0.1 @30000 reduce_only", "exposure=-0.1", &[], "approved"),
        ("buy 0.1 @30000 reduce_only", "exposure=-0.09999999", &["trading_state lock"], "reduce_only"),
        ("buy 0.1 @30000", "lock=account", &["trading_state lock"], "reduce_only"),
        ("buy 0.1 @30000", "lock=symbol", &["trading_state lock"], "reduce_only"),
        ("buy 0.1 @30000", "lock=broker", &["trading_state lock"], "reduce_only"),
        ("buy 0.1 @30000", "lock=all", &["trading_state lock"], "daily_loss_exceeded"),
        ("buy 0.1 @30000", "lock=all exposure=-0.1", &[], "approved"),
        ("buy 0.1 @30000", "lock=elsewhere", &[], "approved"),
        ("buy 0.1 @30000", "lock=live", &[], "approved"),
    ]);
}

#[test]
#[rustfmt::skip]
fn intent_expires_at_its_deadline_and_its_id_stays_free() {
    assert_cases(&[
        ("buy 0.1 @30000", "late", &["intent_age lock"], "(intent_expired)"),
        ("sell 0.1 @30000", "late exposure=-0.1", &["intent_age lock"], "(intent_expired)"),
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
        ("buy 0.75001 @30000", "exposure=-0.75001", &[], "approved"),
        // max_notional: 60 000 at 36 000 is 1.66666666, valued at the higher of limit and reference price
        ("buy 0.5 @36000", "exposure=1.16665", &["max_notional alert", "position_limit alert"], "approved"),
        ("buy 0.5 @36000", "exposure=1.16666666", &["max_notional alert", "position_limit alert"], "approved"),
        ("buy 0.5 @36000", "exposure=1.16666667", &["max_notional lock", "position_limit alert"], "risk_locked"),
        ("buy 0.5 @36000", "exposure=0.83333332", &[], "approved"),
        ("buy 0.5 @36000", "exposure=0.83333333", &["max_notional alert"], "approved"),
        ("sell 0.5 @30000", "exposure=-0.5", &[], "approved"),
    ]);
}

#[test]
#[rustfmt::skip]
fn live_order_has_a_maximum_of_its_own_and_sells_no_more_than_is_held() {
    assert_cases(&[
        // the limit is 20 000, fees and rounding against us included
        ("buy 0.5 @40000", "", &["price_collar lock"], "risk_locked"),
        ("buy 0.66666 @30000", "live", &[], "approved"),
        ("buy 0.66667 @30000", "live", &["live_order_size lock"], "order_size_exceeded"),
        ("buy 0.66667 @30000", "", &[], "approved"),
        ("sell 0.7 @30000", "live exposure=-0.7", &[], "approved"),
        ("sell 0.1 @30000", "live exposure=-0.1", &[], "approved"),
        ("sell 0.1 @30000", "live exposure=-0.09999999", &["position_limit lock"], "risk_locked"),
        ("sell 0.1 @30000", "exposure=-0.09999999", &[], "approved"),
    ]);
}

#[test]
#[rustfmt::skip]
fn position_has_a_limit_on_both_sides() {
    assert_cases(&[
        // the limit is 1.8, of which 80 % is 1.44; max_notional allows 2
        ("buy 0.5 @30000", "exposure=0.93999999", &[], "approved"),
        ("buy 0.5 @30000", "exposure=0.94", &["position_limit alert"], "approved"),
        ("buy 0.5 @30000", "exposure=1.29999999", &["max_notional alert", "position_limit alert"], "approved"),
        ("buy 0.5 @30000", "exposure=1.3", &["max_notional alert", "position_limit alert"], "approved"),
        ("sell 0.5 @30000", "exposure=1.30000001", &["max_notional alert", "position_limit lock"], "risk_locked"),
        // an account's own limit
        ("buy 0.1 @30000 account=tight", "", &["position_limit alert"], "approved"),
        ("buy 0.1 @30000 account=tight", "exposure=0.00000001", &["position_limit lock"], "risk_locked"),
        // where short positions are not allowed, a position may be sold to the last lot
        ("sell 0.1 @30000", "no_short exposure=-0.1", &[], "approved"),
        ("sell 0.1 @30000", "no_short exposure=-0.09999999", &["position_limit lock"], "risk_locked"),
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
        ("buy 0.1 @36000.01", "exposure=-0.1", &[], "approved"),
        // without a market price no position is opened
        ("buy 0.1 @30000", "no_price", &["price_collar lock"], "(reference_price_missing)"),
        ("buy 0.1 @30000", "no_price exposure=-0.1", &[], "approved"),
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
        ("buy 0.1 @30000", "routed=997000000001 exposure=-0.1", &["max_daily_notional alert"], "approved"),
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
        ("buy 0.1 @30000", "total=-50000 exposure=-0.1", &["max_daily_loss alert"], "approved"),
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
        // a position without a price locks the openings of its account, and of no other
        ("buy 0.1 @30000", "unpriced", &["max_daily_loss lock"], "(reference_price_missing)"),
        ("buy 0.1 @30000", "unpriced exposure=-0.1", &[], "approved"),
        ("buy 0.1 @30000", "unpriced pnl=-50000", &["max_daily_loss lock", "max_daily_loss lock", "stop_loss alert"], "(reference_price_missing)"),
        ("buy 0.1 @30000", "unpriced_total", &[], "approved"),
        ("buy 0.1 @30000", "unpriced_total total=-50000", &["max_daily_loss lock"], "daily_loss_exceeded"),
        ("buy 0.1 @30000 realized=-90", "unpriced_total exposure=-0.1", &[], "approved"),
    ]);
}

#[test]
#[rustfmt::skip]
fn computed_loss_and_the_callers_have_a_cap_each() {
    assert_cases(&[
        ("buy 0.1 @30000 realized=-40000", "pnl=-40000", &["max_daily_loss alert", "max_daily_loss alert"], "approved"),
        ("buy 0.1 @30000 realized=-39999.999999", "pnl=-40000", &["max_daily_loss alert"], "approved"),
        ("buy 0.1 @30000 realized=-40000", "pnl=-39999.999999", &["max_daily_loss alert"], "approved"),
        ("buy 0.1 @30000 realized=-50000", "pnl=-50000", &["max_daily_loss lock", "max_daily_loss lock", "stop_loss alert", "stop_loss alert"], "daily_loss_exceeded"),
        // the caller's own loss takes the open orders' expected losses, and not the computed fills
        ("buy 0.1 @30000 realized=-49998 loss=1", "own_expected=999999", &["max_daily_loss alert", "stop_loss alert"], "approved"),
        ("buy 0.1 @30000 realized=-49998 loss=1", "own_expected=1000000", &["max_daily_loss lock", "stop_loss alert"], "daily_loss_exceeded"),
        ("buy 0.1 @30000 realized=-49999.999999", "result=90000000000", &["max_daily_loss alert", "stop_loss alert"], "approved"),
        ("buy 0.1 @30000 realized=-49999.999999", "result=-39999999999", &["max_daily_loss alert", "stop_loss alert"], "approved"),
        // a value too large to be counted reaches every limit, or none
        ("buy 0.1 @30000 realized=-99999999999", "", &["max_daily_loss lock", "stop_loss lock"], "daily_loss_exceeded"),
        ("buy 0.1 @30000 realized=99999999999", "", &[], "approved"),
        ("buy 0.1 @30000 realized=-99999999999", "exposure=-0.1", &["max_daily_loss alert", "stop_loss alert"], "approved"),
    ]);
}

#[test]
#[rustfmt::skip]
fn fills_since_the_view_count_and_those_before_it_only_once() {
    assert_cases(&[
        // the view has a profit of −39 999.999999, of which its fills made nothing: one more millionth alerts
        ("buy 0.1 @30000", "pnl=-39999.999999 result=0", &[], "approved"),
        ("buy 0.1 @30000", "pnl=-39999.999999 result=-1", &["max_daily_loss alert"], "approved"),
        ("buy 0.1 @30000", "pnl=-39999.999999 result=-10000000001", &["max_daily_loss lock", "stop_loss alert"], "daily_loss_exceeded"),
        ("buy 0.1 @30000", "pnl=-50000 result=1", &["max_daily_loss alert", "stop_loss alert"], "approved"),
        // the view has seen the fills: they are in its profit
        ("buy 0.1 @30000", "pnl=-39999.999999 seen=-20000000000 result=-20000000000", &[], "approved"),
        ("buy 0.1 @30000", "pnl=-39999.999999 seen=-20000000000 result=-20000000001", &["max_daily_loss alert"], "approved"),
        ("buy 0.1 @30000", "pnl=-39999.999999 seen=20000000000 result=19999999999", &["max_daily_loss alert"], "approved"),
        // the same over all accounts
        ("buy 0.1 @30000", "total=-39999.999999 total_seen=-7 total_result=-7", &[], "approved"),
        ("buy 0.1 @30000", "total=-39999.999999 total_seen=-7 total_result=-8", &["max_daily_loss alert"], "approved"),
        ("buy 0.1 @30000", "total=-49999.999999 total_result=-1", &["max_daily_loss lock"], "daily_loss_exceeded"),
        // the stop follows the account's fills, and not what its open orders expect
        ("buy 0.1 @30000 stop=100", "pnl=-99.999999 result=-1", &["stop_loss lock"], "risk_locked"),
        ("buy 0.1 @30000 stop=100", "pnl=-100 result=1", &["stop_loss alert"], "approved"),
        ("buy 0.1 @30000 stop=100", "own_expected=100000000", &[], "approved"),
        // a threshold finer than a millionth is compared exactly
        ("buy 0.1 @30000 stop=0.0000001", "", &[], "approved"),
        ("buy 0.1 @30000 stop=0.0000001", "pnl=-0.000001", &["stop_loss lock"], "risk_locked"),
        ("buy 0.1 @30000 stop=0.0000015", "pnl=-0.000001", &[], "approved"),
        ("buy 0.1 @30000 stop=0.0000015", "pnl=-0.000002", &["stop_loss lock"], "risk_locked"),
        ("buy 0.1 @30000 stop=0.0000015 realized=-0.0000014", "", &[], "approved"),
        ("buy 0.1 @30000 stop=0.0000015 realized=-0.0000015", "", &["stop_loss lock"], "risk_locked"),
        ("buy 0.1 @30000 stop=0.0000015 realized=-0.00000151", "", &["stop_loss lock"], "risk_locked"),
    ]);
}

#[test]
#[rustfmt::skip]
fn price_worse_than_the_mark_counts_as_a_loss_before_it_fills() {
    assert_cases(&[
        // 0.1 at 36 000 against a mark of 30 000 loses 600
        ("buy 0.1 @36000", "pnl=-49399.999999", &["max_daily_loss alert", "stop_loss alert"], "approved"),
        ("buy 0.1 @36000", "pnl=-49400", &["max_daily_loss lock", "stop_loss alert"], "daily_loss_exceeded"),
        ("sell 0.1 @24000", "pnl=-49399.999999", &["max_daily_loss alert", "stop_loss alert"], "approved"),
        ("sell 0.1 @24000", "pnl=-49400", &["max_daily_loss lock", "stop_loss alert"], "daily_loss_exceeded"),
        ("buy 0.1 @36000", "total=-49400", &["max_daily_loss lock"], "daily_loss_exceeded"),
        ("buy 0.1 @36000 loss=1", "pnl=-49399", &["max_daily_loss lock", "stop_loss alert"], "daily_loss_exceeded"),
        ("buy 0.1 @36000 realized=-49400", "", &["max_daily_loss lock", "stop_loss alert"], "daily_loss_exceeded"),
        // a better price is no profit until it fills
        ("buy 0.1 @24000", "pnl=-50000", &["max_daily_loss lock", "stop_loss alert"], "daily_loss_exceeded"),
        ("sell 0.1 @36000", "pnl=-49999.999999", &["max_daily_loss alert", "stop_loss alert"], "approved"),
    ]);
}

#[test]
#[rustfmt::skip]
fn loss_that_fills_have_brought_to_its_limit_stops_openings_before_its_lock_is_set() {
    assert_cases(&[
        ("buy 0.1 @30000", "breach=50000000000", &["max_daily_loss lock"], "daily_loss_exceeded"),
        ("buy 0.1 @30000", "total_breach=50000000000", &["max_daily_loss lock"], "daily_loss_exceeded"),
        ("buy 0.1 @30000", "breach=1 total_breach=1", &["max_daily_loss lock", "max_daily_loss lock"], "daily_loss_exceeded"),
        ("buy 0.1 @30000", "breach=1 total_breach=1 exposure=-0.1", &[], "approved"),
        ("buy 0.1 @30000", "breach=1 exposure=-0.09999999", &["max_daily_loss lock"], "daily_loss_exceeded"),
        ("buy 0.1 @30000", "breach=1 rate=1000", &["max_daily_loss lock", "order_rate lock"], "daily_loss_exceeded"),
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
        ("buy 0.1 @30000 realized=-100 stop=100", "exposure=-0.1", &["stop_loss alert"], "approved"),
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
        ("sell 0.1 @30000", "rate=1000 exposure=-0.1", &["order_rate lock"], "(rate_limited)"),
        ("buy 0.1 @30000", "unpriced_fees=1", &["unpriced_fee lock"], "risk_locked"),
        ("buy 0.1 @30000", "unpriced_fees=1 exposure=-0.1", &[], "approved"),
        ("buy 0.1 @30000", "unpriced_fees=2 exposure=-0.09999999", &["unpriced_fee lock"], "risk_locked"),
        ("buy 0.1 @30000", "lock=fee", &["trading_state lock"], "risk_locked"),
        ("buy 0.1 @30000", "lock=fee exposure=-0.1", &[], "approved"),
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
        ("sell 0.1 @30000", "open=100 exposure=-0.1", &["max_open_orders lock"], "risk_locked"),
        ("buy 0.01 @30000 account=tight", "open=2", &["max_open_orders lock"], "risk_locked"),
        ("buy 0.1 @30000", "duplicate", &["duplicate_order lock"], "risk_locked"),
        ("sell 0.1 @30000", "duplicate exposure=-0.1", &["duplicate_order lock"], "risk_locked"),
    ]);
}

#[test]
fn rule_alerts_at_its_share_rounded_up_and_is_rearmed_below_another() {
    let thresholds = limits().alerts;
    let cap = |limit, bound| Cap {
        rule_id: "r",
        label: "",
        code: ReasonCode::RiskLocked,
        measure: CapMeasure::OffsetOnly,
        delta: 0,
        offset: 0,
        limit,
        bound,
        unit: CapUnit::Orders,
        description: "the value",
        allows_reductions: false,
    };
    let most = MAX_QUANTITY_UNITS;
    for (limit, bound, max_value, levels) in [
        (100, CapBound::Inclusive, 100, Some((80, 75))),
        (101, CapBound::Inclusive, 101, Some((81, 76))),
        (100, CapBound::Exclusive, 99, Some((80, 75))),
        (0, CapBound::Inclusive, 0, None),
        (0, CapBound::Exclusive, -1, None),
        // No sum is beyond the range of a quantity: the comparison with a clamped number has the same result.
        (2 * most, CapBound::Inclusive, most, Some((most, most))),
    ] {
        let cap = cap(limit, bound);
        assert_eq!(
            (cap.max_value(), cap.alert_and_rearm_levels(thresholds)),
            (max_value, levels),
            "{limit} {bound:?}"
        );
    }
}
