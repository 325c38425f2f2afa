//! Tests of the subjects.

use super::*;

#[test]
fn built_subjects_parse_back() {
    let (broker, account) = (BrokerId::new("binance").unwrap(), AccountId::new("fund-7").unwrap());
    assert_eq!(submit(&broker, &account), "orders.submit.binance.fund-7");
    assert_eq!(
        parse_broker_and_account(&submit(&broker, &account)),
        Some(("binance", "fund-7"))
    );
    assert_eq!(get(&broker, Some(&account)), "orders.get.binance.fund-7");
    assert_eq!(cancel(&broker, None), "orders.cancel.binance._");
    assert_eq!(heartbeat(&account), "orders.heartbeat.fund-7");
    for subject in [heartbeat(&account), submit(&broker, &account)] {
        assert_eq!(parse_account(&subject), Some("fund-7"), "{subject}");
    }
    for subject in [
        "orders.heartbeat.",
        "orders.heartbeat.binance.fund-7",
        "orders.submit.binance",
    ] {
        assert_eq!(parse_account(subject), None, "{subject}");
    }
    assert_eq!(parse_broker_and_account("orders.submit.binance"), None);
    assert_eq!(parse_broker_and_account("orders.submit.binance.a.b"), None);
    assert_eq!(
        parse_broker_intents_wildcard(&broker_intents_wildcard(&broker)),
        Some(broker)
    );
    assert_eq!(parse_broker_intents_wildcard("orders.intents.>"), None);
    assert_eq!(parse_broker_intents_wildcard("orders.intents.*.*"), None);
    assert_eq!(event("day", None), "orders.events.day._");
    assert_eq!(adjustment(&account), "orders.events.adjustment.fund-7");
    assert!(is_adjustment(&adjustment(&account)));
    assert!(!is_adjustment(&event("state", None)) && !is_adjustment("orders.reports.adjustment.a"));
    assert_eq!(dead_letter("a.b *"), "orders.dead.a%2Eb%20%2A");
    assert_eq!(
        quote("binance.spot", "BTC/USDT"),
        "market.quotes.binance.spot.BTC%2FUSDT"
    );
}

#[test]
fn patterns_match_whole_tokens() {
    for (pattern, subject, is_match) in [
        ("a.b", "a.b", true),
        ("a.b", "a.b.c", false),
        ("a.b.c", "a.b", false),
        ("a.*", "a.b", true),
        ("a.*", "a", false),
        ("a.*", "a.b.c", false),
        ("a.>", "a.b.c", true),
        ("a.>", "a", false),
        ("*.b", "a.b", true),
        ("*.b", "a.c", false),
    ] {
        assert_eq!(matches_pattern(pattern, subject), is_match, "{pattern} {subject}");
    }
}

#[test]
fn replies_go_to_the_caller_alone() {
    for (reply, account, allowed) in [
        ("_INBOX.abc.1", None, true),
        ("orders.replies.a1.x", Some("a1"), true),
        ("orders.replies.a1.x.y", Some("a1"), true),
        ("orders.replies.a2.x", Some("a1"), false),
        ("orders.replies.a1", Some("a1"), false),
        ("orders.replies.a1x.y", Some("a1"), false),
        ("orders.replies.a1.x", None, false),
        ("orders.replies..x", Some(""), false),
        ("_INBOX.", None, false),
        ("_INBOX..a", None, false),
        ("_INBOX.a.", None, false),
        ("_INBOX.*", None, false),
        ("_INBOX.a.>", None, false),
        ("_INBOX.a b", None, false),
        ("_INBOX.a\r\nPUB", None, false),
        ("_INBOXES.a", None, false),
        ("orders.intents.binance.a1", Some("a1"), false),
        ("$JS.ACK.x", Some("a1"), false),
        ("", Some("a1"), false),
    ] {
        assert_eq!(is_allowed_reply(reply, account), allowed, "{reply} for {account:?}");
    }
}
