//! The first help page: commands grouped by who types them.
//!
//! What it does: lays out the commands' own descriptions in two groups. What it refuses to know: what commands do.
//! Invariant: every command stands in exactly one group (held by a test beside it).

use clap::Subcommand as _;

use super::Command;

/// A heading and the commands below it.
const GROUPS: [(&str, &[&str]); 3] = [
    (
        "For developers",
        &["login", "logout", "token", "connect", "whoami", "apps", "query", "alerts", "services", "list"],
    ),
    ("For operators", &["serve", "check", "explain", "schema", "certs"]),
    ("To try it out", &["demo", "emulator", "issuer"]),
];

/// clap's template for the page.
pub fn template() -> String {
    let all = Command::augment_subcommands(clap::Command::new("lightkeeper"));
    let mut page = "{about-with-newline}\n{usage-heading} {usage}\n".to_owned();
    for (heading, names) in GROUPS {
        page.push_str(&format!("\n{heading}:\n"));
        for name in names {
            let about = all.find_subcommand(name).and_then(|command| command.get_about()).map(ToString::to_string);
            page.push_str(&format!("  {name:<10} {}\n", about.unwrap_or_default().replace(['{', '}'], "")));
        }
    }
    page.push_str("\nOptions:\n{options}{after-help}");
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_in_one_group() {
        let all = Command::augment_subcommands(clap::Command::new("lightkeeper"));
        let mut declared: Vec<&str> = all.get_subcommands().map(clap::Command::get_name).collect();
        let mut grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        declared.sort_unstable();
        grouped.sort_unstable();
        assert_eq!(declared, grouped);
        let page = template();
        assert!(all.get_subcommands().all(|command| page.contains(&format!("\n  {}", command.get_name()))), "{page}");
    }
}
