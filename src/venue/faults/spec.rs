//! How faults are asked for: as text (a flag, a file) or as JSON (the control endpoint).

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use serde_json::{Number, Value, json};

use crate::venue::amount::Amount;
use crate::venue::faults::table::{FaultKind, FaultScope};
use crate::venue::operation::Operation;

/// The most faults in force at a time.
pub const MAX_PLANS: usize = 64;
/// The longest duration of a fault, in milliseconds: an hour.
const MAX_DURATION_MS: i64 = 3_600_000;

/// How often a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frequency {
    /// At each opportunity with this probability, from 0 to 1.
    Probability(Amount),
    /// At the next so many opportunities.
    Count(u64),
}

/// A fault in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultPlan {
    /// The kind.
    pub kind: FaultKind,
    /// How often it strikes.
    pub frequency: Frequency,
    /// The operations at which it strikes; `None` for those of its scope.
    pub operations: Option<Vec<Operation>>,
    /// Its duration, in milliseconds; for the clock, the signed difference.
    pub duration_ms: i64,
}

impl FaultPlan {
    /// Reports whether the fault may strike at an operation.
    pub fn applies_to(&self, operation: Operation) -> bool {
        match (&self.operations, self.kind.scope()) {
            (Some(operations), _) => operations.contains(&operation),
            (None, FaultScope::Trading) => operation.is_trading(),
            (None, FaultScope::Query) => operation == Operation::QueryOrder,
            (None, FaultScope::Request) => true,
            (None, FaultScope::Event) => false,
        }
    }

    /// Returns the plan as the control endpoint lists it.
    pub fn describe(&self) -> Value {
        let mut shown = json!({"name": self.kind.name(), "duration_ms": self.duration_ms});
        match self.frequency {
            Frequency::Probability(probability) => shown["probability"] = json!(probability),
            Frequency::Count(count) => shown["count"] = json!(count),
        }
        if let Some(operations) = &self.operations {
            shown["on"] = operations.iter().map(|operation| operation.name()).collect();
        }
        shown
    }
}

/// A plan as the control endpoint takes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultDocument {
    name: String,
    probability: Option<NumberOrText>,
    count: Option<u64>,
    duration_ms: Option<i64>,
    on: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Number(Number),
    Text(String),
}

impl fmt::Display for NumberOrText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(formatter),
            Self::Text(text) => text.fmt(formatter),
        }
    }
}

impl TryFrom<FaultDocument> for FaultPlan {
    type Error = String;

    fn try_from(document: FaultDocument) -> Result<Self, String> {
        let frequency = match (document.probability, document.count) {
            (Some(probability), None) => parse_probability(&probability.to_string())?,
            (None, Some(count)) => Frequency::Count(count),
            (None, None) => Frequency::Probability(Amount::ONE),
            (Some(_), Some(_)) => return Err("a fault has a probability or a count, not both".into()),
        };
        let operations = document
            .on
            .map(|names| names.iter().map(|name| parse_operation(name)).collect());
        plan(&document.name, frequency, operations.transpose()?, document.duration_ms)
    }
}

impl FromStr for FaultPlan {
    type Err = String;

    /// Parses `NAME[@OPERATION[+OPERATION…]]=FREQUENCY[:DURATION]`, where the frequency is a probability such as `0.01` or a
    /// count such as `3x`, and the duration is in milliseconds.
    fn from_str(text: &str) -> Result<Self, String> {
        let (target, how) = text.split_once('=').unwrap_or((text, "1"));
        let (name, operations) = match target.split_once('@') {
            Some((name, operations)) => (name, Some(operations.split('+').map(parse_operation).collect())),
            None => (target, None),
        };
        let (frequency, duration) = match how.split_once(':') {
            Some((frequency, duration)) => (frequency, Some(duration)),
            None => (how, None),
        };
        let frequency = match frequency.strip_suffix('x') {
            Some(count) => Frequency::Count(count.parse().map_err(|_| format!("{count:?} is no count"))?),
            None => parse_probability(frequency)?,
        };
        let duration = duration.map(|text| text.trim_end_matches("ms").parse());
        let duration = duration
            .transpose()
            .map_err(|_| format!("{how:?} has no duration in milliseconds"))?;
        plan(name, frequency, operations.transpose()?, duration)
    }
}

fn plan(
    name: &str,
    frequency: Frequency,
    operations: Option<Vec<Operation>>,
    duration_ms: Option<i64>,
) -> Result<FaultPlan, String> {
    let kind = FaultKind::parse(name).ok_or_else(|| {
        let names: Vec<&str> = FaultKind::ALL.iter().map(|kind| kind.name()).collect();
        format!("there is no fault {name:?}; there are {}", names.join(", "))
    })?;
    let duration_ms = duration_ms.unwrap_or(kind.default_duration_ms());
    let lowest = if kind == FaultKind::ClockSkew {
        -MAX_DURATION_MS
    } else {
        0
    };
    if !(lowest..=MAX_DURATION_MS).contains(&duration_ms) {
        return Err(format!("the duration of {name} must be at most {MAX_DURATION_MS} ms"));
    }
    if operations.is_some() && kind.scope() == FaultScope::Event {
        return Err(format!("{name} strikes at events, not at operations"));
    }
    Ok(FaultPlan {
        kind,
        frequency,
        operations,
        duration_ms,
    })
}

fn parse_probability(text: &str) -> Result<Frequency, String> {
    let probability: Amount = text
        .parse()
        .map_err(|error| format!("the probability {text:?} {error}"))?;
    match (Amount::ZERO..=Amount::ONE).contains(&probability) {
        true => Ok(Frequency::Probability(probability)),
        false => Err(format!("the probability {text:?} is not between 0 and 1")),
    }
}

fn parse_operation(name: &str) -> Result<Operation, String> {
    Operation::parse(name).ok_or_else(|| {
        let names: Vec<&str> = Operation::ALL.iter().map(|operation| operation.name()).collect();
        format!("there is no operation {name:?}; there are {}", names.join(", "))
    })
}

/// Parses plans that are separated by commas or line breaks; `#` begins a comment. A text that begins with `[` is JSON.
///
/// # Errors
/// The first plan that is not understood, and why.
pub fn parse_plans(text: &str) -> Result<Vec<FaultPlan>, String> {
    if text.trim_start().starts_with('[') {
        let documents: Vec<FaultDocument> = serde_json::from_str(text).map_err(|error| error.to_string())?;
        return documents.into_iter().map(FaultPlan::try_from).collect();
    }
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let plans = lines.flat_map(|line| line.split(',')).map(str::trim);
    plans.filter(|plan| !plan.is_empty()).map(str::parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_parsed_or_refused() {
        let plans =
            parse_plans("answer_lost=0.01, answer_delayed@place+cancel=3x:500ms # both\nmaintenance\n").unwrap();
        assert_eq!(plans.len(), 3);
        assert_eq!(
            plans[0].frequency,
            Frequency::Probability(Amount::from_units(1_000_000))
        );
        assert_eq!((plans[1].frequency, plans[1].duration_ms), (Frequency::Count(3), 500));
        assert!(plans[1].applies_to(Operation::Cancel) && !plans[1].applies_to(Operation::Amend));
        assert!(plans[2].applies_to(Operation::Time) && plans[0].applies_to(Operation::Amend));
        let json = r#"[{"name":"clock_skew","duration_ms":-1500,"probability":0.5},{"name":"event_lost","count":2}]"#;
        let plans = parse_plans(json).unwrap();
        assert_eq!(
            (plans[0].duration_ms, plans[1].frequency),
            (-1_500, Frequency::Count(2))
        );
        for text in [
            "no_such_fault",
            "answer_lost=2",
            "answer_lost=x",
            "answer_lost@nothing=1",
            "event_lost@place=1",
            "answer_delayed=1:-5",
            r#"[{"name":"event_lost","count":2,"probability":1}]"#,
            r#"[{"name":"event_lost","colour":2}]"#,
        ] {
            assert!(parse_plans(text).is_err(), "{text}");
        }
    }
}
