//! Bad samples that prove each rule can fail, and good ones that resemble them.

use crate::rules::{self, Violation};
use crate::source::Source;

fn check(rule: impl Fn(&Source) -> Vec<Violation>, path: &str, text: &str) -> Vec<String> {
    rule(&Source::new(path, text)).iter().map(ToString::to_string).collect()
}

/// Asserts that exactly the lines marked with `//!!` violate the rule.
#[track_caller]
fn assert_marked(rule: impl Fn(&Source) -> Vec<Violation>, path: &str, text: &str) {
    let found = check(rule, path, text);
    let marked = text.lines().enumerate().filter(|(_, line)| line.contains("//!!"));
    let expected: Vec<String> = marked.map(|(index, _)| format!("{path}:{}: ", index + 1)).collect();
    let fits = found.len() == expected.len() && expected.iter().all(|at| found.iter().any(|one| one.starts_with(at)));
    assert!(fits, "expected {expected:#?}, found {found:#?}");
}

#[test]
fn forbidden_import_is_found_anywhere() {
    let text = r##"
use crate::store::keys; //!!
use crate::{domain::{Price, risk}, fault};
use crate::{
    domain::Symbol,
    brokers::{self, paper}, //!!
    bench, //!!
};
pub(crate) fn f(report: &crate::worker::Report) -> crate::bus::Subject { //!!
    let _ = "crate::store"; // crate::store
    /* crate::store /* crate::store */ crate::store */
    let _ = r#"" crate::store "#;
    let (_quote, _life): (char, &'static str) = ('"', "crate::store");
    crate :: cli :: run() //!!
}
use crate::*; //!!
use crate::{self as root}; //!!
use crate as hidden; //!!
use super::super::store::Epoch; //!!
use super::risk;
macro_rules! m { () => { $crate::sidecar::serve() } } //!!
#[cfg(test)]
mod tests {
    use super::*;
    use super::super::risk;
    use super::super::super::sidecar; //!!
}
"##;
    assert_marked(rules::imports, "src/bus/service.rs", text);
}

#[test]
fn every_import_edge_is_checked() {
    // Room, and what it may import.
    let table = [
        (
            "cli",
            "bench sidecar order_log worker telemetry http bus store brokers wire risk fault config domain",
        ),
        ("bench", "bus wire fault config domain"),
        ("order_log", "bus wire fault config domain"),
        ("sidecar", "bus order_log telemetry http wire fault config domain"),
        ("worker", "bus store brokers risk telemetry wire fault config domain"),
        ("telemetry", "http config domain"),
        ("http", ""),
        ("bus", "wire fault config domain"),
        ("store", "risk fault config domain"),
        ("brokers", "risk fault config domain"),
        ("wire", "fault domain"),
        ("risk", "domain"),
        ("fault", "domain"),
        ("config", "domain"),
        ("domain", ""),
    ];
    for (room, allowed) in table {
        for (other, _) in table.iter().filter(|(other, _)| *other != room) {
            let may = allowed.split(' ').any(|name| name == *other);
            for path in [format!("src/{room}.rs"), format!("src/{room}/part/piece.rs")] {
                let found = check(rules::imports, &path, &format!("use crate::{other}::X;\n"));
                assert_eq!(found.is_empty(), may, "{path} imports {other}: {found:?}");
            }
        }
    }
    assert!(check(rules::imports, "src/main.rs", "use crate::anything;").is_empty());
    assert_eq!(check(rules::imports, "src/utils.rs", "").len(), 1, "no such room");
    assert_eq!(
        check(rules::imports, "src/domain.rs", "use super::bus::Subject;").len(),
        1
    );
}

#[test]
fn banned_words_are_found_with_their_replacement() {
    let text = r#"
fn f(seconds: f64) { //!!
    println!("{}", 1); //!!
    eprintln!("{}", 1); //!!
    std::thread::sleep(PAUSE); //!!
    let (tx, rx) = tokio::sync::mpsc::unbounded_channel::<u8>(); //!!
    let x: f32 = todo!(); //!! //!!
    unimplemented!("println!"); //!!
    dbg!(x); //!!
    pause.as_secs_f64(); // f64
    eprintln_all!(); tracing::info!("f64");
}
#[cfg(test)]
#[path = "x_tests.rs"]
mod tests;
#[cfg(test)]
mod more_tests { fn f() { println!("{}", 1.5_f64 as f64); } }
fn g() -> f64 {} //!!
"#;
    let text = text.replace("let x: f32 = todo!(); //!! //!!", "let x: f32 = //!!\n todo!(); //!!");
    assert_marked(rules::banned_words, "src/worker/pipeline.rs", &text);
    let found = check(rules::banned_words, "src/worker.rs", "fn f() { std::thread::sleep(x) }");
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("tokio::time::sleep"), "{found:?}");
}

#[test]
fn banned_words_have_their_exceptions() {
    assert!(check(rules::banned_words, "src/cli/submit.rs", "fn f(x: f64) { println!() }").is_empty());
    assert!(check(rules::banned_words, "src/cli.rs", "fn f() { eprintln!() }").is_empty());
    assert!(check(rules::banned_words, "src/bench/histogram.rs", "fn f(x: f64) {}").is_empty());
    assert!(check(rules::banned_words, "src/wire/number_tests.rs", "fn f(x: f64) {}").is_empty());
    assert_eq!(
        check(rules::banned_words, "src/cli/submit.rs", "fn f() { todo!() }").len(),
        1
    );
    assert_eq!(
        check(rules::banned_words, "src/client.rs", "fn f() { println!() }").len(),
        1,
        "not below src/cli"
    );
}

#[test]
fn subjects_and_keys_are_spelled_in_one_file() {
    let text = r##"
const A: &str = "orders.submit.*.*"; //!!
const B: &str = r#"risk.alerts.>"#; //!!
const C: &[u8] = b"router.state.get"; //!!
fn f() { format!("market.quotes.{venue}"); } //!!
const D: [&str; 2] = ["no orders. router", "risk.account_id"]; // "orders.x"
const E: &str = concat!("{or}", ":epoch"); //!!
fn g() { format!("{{or}}:order:{id}"); } //!!
#[cfg(test)]
mod tests { const F: &str = "orders.submit.binance.a"; const G: &str = "{or}:x"; }
"##;
    assert_marked(rules::literals, "src/worker/events.rs", text);
    assert!(
        check(
            rules::literals,
            "clients/rust/src/bus/subjects.rs",
            "const A: &str = \"orders.x\";"
        )
        .is_empty()
    );
    assert!(check(rules::literals, "src/store/keys.rs", "const A: &str = \"{or}:x\";").is_empty());
    assert!(
        check(
            rules::literals,
            "src/config/limits.rs",
            "const A: &str = \"orders.rate\";"
        )
        .is_empty()
    );
    assert_eq!(
        check(rules::literals, "src/config/limits.rs", "const A: &str = \"{or}\";").len(),
        1
    );
}

#[test]
fn lua_script_with_a_spelled_key_is_found() {
    let script = "-- KEYS[1] {or}:epoch\nlocal a = redis.call('GET', '{or}:epoch') -- why\n";
    let found = rules::script_keys("src/store/lua/reserve.lua", script);
    assert_eq!(found.len(), 1);
    assert!(found[0].to_string().starts_with("src/store/lua/reserve.lua:2: "));
}

#[test]
fn long_files_and_functions_are_found() {
    let lines = |count: usize| "// x\n".repeat(count);
    assert!(check(rules::lengths, "src/bus/a.rs", &lines(500)).is_empty());
    assert_eq!(check(rules::lengths, "src/bus/a.rs", &lines(501)).len(), 1);
    assert!(check(rules::lengths, "src/main.rs", &lines(40)).is_empty());
    assert_eq!(check(rules::lengths, "src/main.rs", &lines(41)).len(), 1);
    assert!(check(rules::lengths, "src/lib.rs", &lines(90)).is_empty());
    assert_eq!(check(rules::lengths, "src/lib.rs", &lines(91)).len(), 1);

    let function = |inside: usize| {
        format!(
            "type T = fn(u8);\nfn short(x: [u8; 3]);\nfn long() -> X\n{{\n{}}}\nfn next() {{}}\n",
            lines(inside)
        )
    };
    assert!(check(rules::lengths, "src/bus/a.rs", &function(77)).is_empty());
    let found = check(rules::lengths, "src/bus/a.rs", &function(78));
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("src/bus/a.rs:3: `long` has 81 lines"), "{found:?}");
    assert!(check(rules::lengths, "src/bus/a_tests.rs", &function(78)).is_empty());
}

#[test]
fn braces_in_literals_and_comments_do_not_count() {
    let text =
        "fn f() { let _ = ('{', '\\'', b'{', \"{\\\"{\", r#\"{\"{\"#, 'é', '\\u{7b}'); /* { */ } // {\nfn g() {}\n";
    let source = Source::new("src/bus/a.rs", text);
    assert_eq!(source.item_end(0), text.find(" // {").unwrap());
    let texts: Vec<&str> = source.literals.iter().map(|literal| literal.text.as_str()).collect();
    assert_eq!(texts, ["{\\\"{", "{\"{"]);
}

#[test]
fn files_are_named_after_their_module() {
    assert!(rules::file_name("src/bus.rs").is_empty());
    assert!(rules::file_name("src/bus/amod.rs").is_empty());
    let found = rules::file_name("src/bus/mod.rs");
    assert_eq!(found[0].to_string(), "src/bus/mod.rs:1: call this file src/bus.rs");
}

#[test]
fn test_file_compiled_into_the_product_is_found() {
    let count_violations = |declaration: &str| {
        let outer = Source::new("src/wire/intent.rs", declaration);
        rules::test_files(&[outer, Source::new("src/wire/intent_tests.rs", "fn f() {}")]).len()
    };
    assert_eq!(
        count_violations("#[cfg(test)]\n#[path = \"intent_tests.rs\"]\nmod tests;"),
        0
    );
    assert_eq!(count_violations("#[cfg(test)]\nmod intent_tests;"), 0);
    assert_eq!(count_violations("#[path = \"intent_tests.rs\"]\nmod tests;"), 1);
    assert_eq!(count_violations("mod intent_tests;"), 1);
    assert_eq!(count_violations(""), 1);
}

#[test]
fn unlisted_top_level_entry_is_found() {
    let entries = ["src", ".ci", "target", "LICENSE", "NOTES.md", "utils"].map(str::to_owned);
    let found = rules::top_level(&entries, "/target\n/.data\n");
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[0].starts_with("NOTES.md:1: ") && found[1].starts_with("utils:1: "),
        "{found:?}"
    );
}

#[test]
fn a_room_reexports_its_own_part_of_the_client() {
    let own = "pub use order_router_client::wire::*;";
    assert!(check(rules::client_paths, "src/wire.rs", own).is_empty());
    assert!(check(rules::client_paths, "src/lib.rs", "pub use order_router_client::fault;").is_empty());
    assert_eq!(check(rules::client_paths, "src/store/a.rs", own).len(), 1);
    let group = "use order_router_client::{wire::a, bus::b};";
    assert_eq!(check(rules::client_paths, "src/wire/a.rs", group).len(), 1);
    assert_eq!(
        check(
            rules::client_paths,
            "src/wire/a.rs",
            "use order_router_client as client;"
        )
        .len(),
        1
    );
}

#[test]
fn rules_hold_in_the_client_too() {
    let path = "clients/rust/src/wire/a.rs";
    assert_eq!(check(rules::imports, path, "use crate::bus::subjects;").len(), 1);
    assert_eq!(check(rules::imports, path, "use super::super::bus::subjects;").len(), 1);
    assert!(check(rules::imports, path, "use crate::domain::id;").is_empty());
    assert_eq!(check(rules::banned_words, path, "fn f(x: f64) {}").len(), 1);
}
