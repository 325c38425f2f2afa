//! Environment variables: their names, and those with the prefix that name no setting.

/// The prefix of every environment variable of the router.
pub const ENVIRONMENT_PREFIX: &str = "ORDER_ROUTER_";
/// Variables that the command line reads, not the loader of the settings.
const COMMAND_LINE_VARIABLES: &[&str] = &["ORDER_ROUTER_CONFIG", "ORDER_ROUTER_API_KEY"];

/// Returns the environment variable of a setting.
pub fn environment_name(path: &str) -> String {
    format!("{ENVIRONMENT_PREFIX}{}", path.replace('.', "_").to_uppercase())
}

/// Returns a warning for each variable with the prefix that names none of these settings.
pub(super) fn unknown_variable_warnings<'a>(
    setting_paths: &[String],
    names: impl IntoIterator<Item = &'a str>,
) -> Vec<String> {
    let settings = setting_paths.iter().map(|path| environment_name(path));
    let known: Vec<String> = settings
        .chain(COMMAND_LINE_VARIABLES.iter().map(|&name| name.to_owned()))
        .collect();
    let unknown = names
        .into_iter()
        .filter(|name| name.starts_with(ENVIRONMENT_PREFIX) && !known.iter().any(|one| one == name));
    let warning = |name: &str| {
        let nearest = known.iter().min_by_key(|one| strsim::damerau_levenshtein(one, name));
        let nearest = nearest.map_or_else(String::new, |nearest| format!("; the nearest name is {nearest}"));
        format!("the environment variable {name} names no setting and is ignored{nearest}")
    };
    unknown.map(warning).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_variables_are_named_with_the_nearest_one() {
        let paths = ["nats.url", "nats.password", "redis.url", "risk.daily_notional_limit"].map(str::to_owned);
        let names = [
            "HOME",
            "ORDER_ROUTER_NATS_URL",
            "ORDER_ROUTER_API_KEY",
            "ORDER_ROUTER_NATS_OPERATOR_PASSWORD",
            "ORDER_ROUTER_URL",
            "ORDER_ROUTER_RISK_DAILY_NOTIONAL_LIMTI",
        ];
        let warnings = unknown_variable_warnings(&paths, names);
        assert_eq!(warnings.len(), 3, "{warnings:?}");
        for (warning, parts) in warnings.iter().zip([
            [
                "NATS_OPERATOR_PASSWORD names no setting",
                "is ORDER_ROUTER_NATS_PASSWORD",
            ],
            ["ORDER_ROUTER_URL names no setting", "_URL"],
            ["LIMTI names no setting", "is ORDER_ROUTER_RISK_DAILY_NOTIONAL_LIMIT"],
        ]) {
            assert!(parts.iter().all(|part| warning.contains(part)), "{warning}");
        }
    }
}
