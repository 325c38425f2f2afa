//! Execution reports as people read them.

use crate::cli::output::table::{ColumnAlign, TextTable};
use crate::cli::output::text::strip_control_characters;
use crate::domain::decimal::Decimal;
use crate::wire::report::ExecutionReport;

/// How many fills are shown, the newest of a report.
const MAX_FILLS_SHOWN: usize = 10;

/// Returns a report with one field a line, and its newest fills.
pub(crate) fn render_report(report: &ExecutionReport) -> String {
    let mut table = TextTable::key_value();
    let mut row = |name: &str, value: String| {
        if !value.is_empty() {
            table.push_row([name.to_owned(), value]);
        }
    };
    row("status", status_text(report));
    row("order", order_text(report));
    row("filled", filled_text(report));
    row("replace", replace_text(report));
    row("order id", report.order_id.clone());
    row("client order id", report.client_order_id.clone());
    row("broker order id", report.broker_order_id.clone().unwrap_or_default());
    row("account", format!("{} at {}", report.account_id, report.venue));
    row("mode", report.mode.to_string());
    row("tags", report.tags.join(" "));
    row("submitted", report.submitted_at.to_string());
    row("updated", format!("{} (version {})", report.updated_at, report.version));
    let fills = fills_table(report);
    if fills.is_empty() {
        table.to_string()
    } else {
        format!("{table}\n\n{fills}")
    }
}

/// Returns a report on one line.
pub(crate) fn render_report_line(report: &ExecutionReport) -> String {
    let text = format!(
        "{} {} {}: {}, {}; {} v{} id {}",
        report.account_id,
        report.venue,
        order_text(report),
        status_text(report),
        filled_text(report),
        if report.order_id.is_empty() {
            "-"
        } else {
            &report.order_id
        },
        report.version,
        report.client_order_id,
    );
    strip_control_characters(&text)
}

/// Returns reports as a table.
pub(crate) fn report_table<'a>(reports: impl IntoIterator<Item = &'a ExecutionReport>) -> TextTable {
    let mut table = TextTable::new(&[
        ("order id", ColumnAlign::Left),
        ("client order id", ColumnAlign::Left),
        ("symbol", ColumnAlign::Left),
        ("side", ColumnAlign::Left),
        ("quantity", ColumnAlign::Right),
        ("price", ColumnAlign::Right),
        ("filled", ColumnAlign::Right),
        ("status", ColumnAlign::Left),
    ]);
    for report in reports {
        table.push_row([
            report.order_id.clone(),
            report.client_order_id.clone(),
            report.symbol.clone(),
            report.side.to_string(),
            report.quantity.to_string(),
            price_text(report),
            report.filled_quantity.to_string(),
            status_text(report),
        ]);
    }
    table
}

fn status_text(report: &ExecutionReport) -> String {
    match &report.reason {
        Some(reason) => format!("{} ({})", report.status, reason.message),
        None => report.status.to_string(),
    }
}

/// Returns the limit price; `market` where there is none.
fn price_text(report: &ExecutionReport) -> String {
    report
        .price
        .map_or_else(|| "market".to_owned(), |price| price.to_string())
}

/// Returns what became of the latest replace; empty where there was none.
fn replace_text(report: &ExecutionReport) -> String {
    let Some(replace) = &report.replace else {
        return String::new();
    };
    let why = replace.reason.as_ref();
    let why = why.map_or_else(String::new, |reason| format!(" ({})", reason.message));
    let (id, state, leg) = (&replace.replace_id, replace.state, replace.leg);
    format!(
        "{id}: {state}{why}, {} at {}, leg {leg}",
        replace.quantity, replace.price
    )
}

fn order_text(report: &ExecutionReport) -> String {
    let (side, quantity, symbol, price) = (report.side, report.quantity, &report.symbol, price_text(report));
    format!("{side} {quantity} {symbol} at {price} {}", report.time_in_force)
}

fn filled_text(report: &ExecutionReport) -> String {
    let average = report
        .avg_price
        .map_or_else(String::new, |price| format!(" at {price}"));
    let open = if report.leaves_quantity == Decimal::ZERO {
        String::new()
    } else {
        format!(", {} open", report.leaves_quantity)
    };
    format!("{} of {}{average}{open}", report.filled_quantity, report.quantity)
}

fn fills_table(report: &ExecutionReport) -> TextTable {
    let mut table = TextTable::new(&[
        ("fill", ColumnAlign::Left),
        ("quantity", ColumnAlign::Right),
        ("price", ColumnAlign::Right),
        ("fee", ColumnAlign::Right),
        ("time", ColumnAlign::Left),
    ]);
    for fill in report.fills.iter().rev().take(MAX_FILLS_SHOWN).rev() {
        table.push_row([
            fill.exec_id.clone(),
            fill.quantity.to_string(),
            fill.price.to_string(),
            format!("{} {}", fill.fee, fill.fee_currency),
            fill.timestamp.to_string(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = r#"{"order_id":"IB-1","broker_order_id":null,"client_order_id":"a","account_id":"default",
        "status":"partially_filled","broker":"ibkr","venue":"ibkr.paper","symbol":"AAPL","side":"buy",
        "order_type":"limit","time_in_force":"GTC","price":180.5,"quantity":2,"filled_quantity":1.9,
        "leaves_quantity":0.1,"avg_price":180.5,"submitted_at":"2026-01-01T00:00:00Z",
        "updated_at":"2026-01-01T00:00:01Z","fills":[{"exec_id":"x1","quantity":1.9,"price":180.5,
        "timestamp":"2026-01-01T00:00:01Z","fee":0,"fee_currency":"USD"}],"fills_total":1,"tags":[],"mode":"paper",
        "version":1,"reason":null}"#;

    #[test]
    fn report_fits_on_a_line_or_lists_its_fills() {
        let report = ExecutionReport::decode(REPORT.as_bytes()).unwrap();
        assert_eq!(
            render_report_line(&report),
            "default ibkr.paper buy 2 AAPL at 180.5 GTC: partially_filled, 1.9 of 2 at 180.5, 0.1 open; IB-1 v1 id a"
        );
        let text = render_report(&report);
        assert!(
            text.starts_with("status           partially_filled\norder            buy 2 AAPL"),
            "{text}"
        );
        assert!(
            text.contains("\n\nfill  quantity  price    fee  time\nx1         1.9  180.5  0 USD  2026"),
            "{text}"
        );
        assert!(!text.contains("tags"), "{text}");
        assert_eq!(report_table([&report]).to_string().lines().count(), 2);
    }
}
