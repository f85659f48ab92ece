//! The first help page: commands grouped by who types them.
//!
//! What it does: lays out the commands' own descriptions in groups. What it refuses to know: what commands do.
//! Invariant: every command of the product stands in exactly one group (held by a test beside it).

use clap::Subcommand;

use super::Commands;

/// A heading and the commands below it; those of the demonstration are not in every binary.
const GROUPS: [(&str, &[&str]); 3] = [
    (
        "For developers",
        &[
            "login", "logout", "token", "connect", "whoami", "apps", "query", "alerts", "services",
            "list",
        ],
    ),
    (
        "For operators",
        &[
            "init",
            "serve",
            "check",
            "explain",
            "credentials",
            "migrate",
            "audit",
            "schema",
            "certs",
        ],
    ),
    ("To try it out", &["demo", "emulator", "issuer"]),
];

fn all<More: Subcommand>() -> clap::Command {
    Commands::<More>::augment_subcommands(clap::Command::new("lightkeeper"))
}

/// clap's template for the page.
pub(crate) fn template<More: Subcommand>() -> String {
    let all = all::<More>();
    let mut page = "{about-with-newline}\n{usage-heading} {usage}\n".to_owned();
    for (heading, names) in GROUPS {
        let known: Vec<&clap::Command> = names
            .iter()
            .filter_map(|name| all.find_subcommand(name))
            .collect();
        if !known.is_empty() {
            page.push_str(&format!("\n{heading}:\n"));
        }
        for command in known {
            let about = command
                .get_about()
                .map(ToString::to_string)
                .unwrap_or_default();
            page.push_str(&format!(
                "  {:<11} {}\n",
                command.get_name(),
                about.replace(['{', '}'], "")
            ));
        }
    }
    page.push_str("\nOptions:\n{options}{after-help}");
    page
}

/// What to type first.
pub(crate) fn first_steps<More: Subcommand>() -> String {
    let check = "`lightkeeper check --skip-files --config deploy/examples/lightkeeper.yaml`.";
    match all::<More>().find_subcommand("demo") {
        Some(_) => format!("Start with `lightkeeper demo`, then {check}"),
        None => format!("Start with {check}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::NoMore;

    #[test]
    fn every_command_is_in_one_group() {
        let all = all::<NoMore>();
        let grouped: Vec<&str> = GROUPS
            .iter()
            .flat_map(|(_, names)| names.iter().copied())
            .collect();
        let page = template::<NoMore>();
        for name in all.get_subcommands().map(clap::Command::get_name) {
            assert_eq!(
                grouped.iter().filter(|known| **known == name).count(),
                1,
                "{name}"
            );
            assert!(page.contains(&format!("\n  {name}")), "{page}");
        }
        assert!(
            !page.contains("To try it out") && !first_steps::<NoMore>().contains("demo"),
            "{page}"
        );
    }
}
