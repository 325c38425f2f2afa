use axum::http::HeaderValue;

use crate::sidecar::context::Peer;
use crate::sidecar::middleware::auth::*;

fn keys(keys: &[(&ApiKey, &str)]) -> KeyRing {
    let settings = keys
        .iter()
        .map(|(key, id)| KeySettings::new(key, id, "Fund 7", &[Capability::Read], &["fund-7"]));
    KeyRing::new(&KeyList(settings.collect()))
}

fn presented<'a>(keys: &'a KeyRing, values: &[&str]) -> Result<&'a str, &'static str> {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
    }
    keys.presented_key(&headers).map(|key| key.holder.id.as_str())
}

#[test]
fn a_key_is_found_among_all_and_nothing_else_is_one() {
    let (one, other, strange) = (ApiKey::generate(), ApiKey::generate(), ApiKey::generate());
    let keys = keys(&[(&one, "one"), (&other, "other")]);
    let bearer = |key: &ApiKey| format!("Bearer {}", key.reveal());
    assert_eq!(presented(&keys, &[&bearer(&one)]), Ok("one"));
    assert_eq!(presented(&keys, &[&bearer(&other)]), Ok("other"));
    assert_eq!(presented(&keys, &[&format!("bearer  {}", other.reveal())]), Ok("other"));
    let hash: String = one.hash().iter().map(|byte| format!("{byte:02x}")).collect();
    for values in [
        &[][..],
        &[&*bearer(&strange)],
        &[&*bearer(&one), &*bearer(&one)],
        &[one.reveal()],
        &[&*format!("Basic {}", one.reveal())],
        &[&*format!("Bearer {hash}")],
        &[&*format!("Bearer ork_{hash}")],
        &[&bearer(&one)[..70]],
        &["Bearer "],
        &["Bearer"],
        &[""],
    ] {
        assert!(presented(&keys, values).is_err(), "{}", values.len());
    }
}

#[test]
fn a_caller_speaks_for_its_accounts_and_is_named_without_its_key() {
    let key = ApiKey::generate();
    let keys = keys(&[(&key, "desk")]);
    let caller = Principal::KeyHolder(Arc::clone(&keys.0[0].holder));
    let [own, other] = ["fund-7", "fund-8"].map(|name| AccountId::new(name).unwrap());
    assert_eq!(caller.authorize_account(&own), Ok(()));
    assert_eq!(
        caller.authorize_account(&other).unwrap_err().code,
        FaultCode::AccountMismatch
    );
    assert_eq!(Principal::Unrestricted.authorize_account(&other), Ok(()));
    assert!(Principal::Anonymous.authorize_account(&own).is_err());
    assert_eq!(caller.account_scope(), AccountScope::Only(vec![own]));
    let peer = Peer(([127, 0, 0, 1], 9).into());
    let arrival = RequestArrival {
        received_at: tokio::time::Instant::now(),
        peer,
    };
    assert_eq!(caller.actor(arrival), "rest key desk (Fund 7)");
    assert_eq!(Principal::Unrestricted.actor(arrival), "rest 127.0.0.1:9");
    let shown = format!("{caller:?} {keys:?}");
    assert!(!shown.contains(&format!("{:?}", key.hash())), "{shown}");
    assert!(!shown.contains(&key.reveal()[4..]));
}
