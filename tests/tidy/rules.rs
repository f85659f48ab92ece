//! The rules of the code as functions from a file's path and text to complaints.
//!
//! What it refuses to know: where files come from (`tests/tidy.rs` walks them; its negative tests feed
//! bad ones). Invariant: a rule is pure, and every complaint names file, line and what to do instead.

use super::source;

/// The import law: a module imports only names to its left. The bars part cupboards; stages; what is remembered, shared, and one call; what a request can be; and what the process shows outside.
pub const ORDER: &str = "reason media_type lock percent causes pem document secret transparency egress clock aws limits telemetry apps otlp lightstep profiles view web workload_api stores | \
     accept identify authorize route vault transform forward federate respond audit | \
     memory state call | export query alerts explain health console | gateway admin config cli";

/// A power: a type with one mint, in the one room that may make it.
pub const POWERS: [(&str, &str); 3] = [
    ("Identity", "identify"),
    ("Permit", "authorize"),
    ("Lease", "vault"),
];

/// Largest file that is committed, in bytes.
pub const FILE_BYTES: u64 = 512 << 10;
/// Longest Rust file, in lines. A file ends where its idea ends; above 500 lines a review looks whether it holds two.
pub const FILE_LINES: usize = 800;
/// The same of tests, which are tables.
pub const TEST_FILE_LINES: usize = 1000;
/// Longest function of the product, in lines: two screens. Tests are tables and may be longer.
pub const FUNCTION_LINES: usize = 150;
/// A list's number may stand this far above what is needed before it must be lowered.
const SLACK_LINES: usize = 25;

/// A reasoned exemption from a limit in lines. The number may only be lowered.
pub struct Exemption {
    /// A file, or `file::function`.
    pub what: &'static str,
    pub lines: usize,
    pub reason: &'static str,
}

/// A reasoned use of a word that tests may not use.
pub struct Allowance {
    pub file: &'static str,
    pub word: &'static str,
    pub times: usize,
    pub reason: &'static str,
}

fn rank(name: &str) -> Option<usize> {
    ORDER
        .split([' ', '|'])
        .filter(|word| !word.is_empty())
        .position(|word| word == name)
}

/// The top-level module that a file under `src` belongs to; `None` for `lib.rs` and `main.rs`.
pub fn module_of(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("src/")?;
    let first = inside.split('/').next()?;
    let name = first.strip_suffix(".rs").unwrap_or(first);
    (!matches!(name, "lib" | "main")).then_some(name)
}

/// `crate::name` may only go to the left. Code under `#[cfg(test)]` may look anywhere.
pub fn imports(path: &str, text: &str) -> Vec<String> {
    let Some(own) = module_of(path) else {
        return Vec::new();
    };
    let Some(own_rank) = rank(own) else {
        return vec![format!(
            "{path}:1: module `{own}` has no place in the order of tests/tidy/rules.rs"
        )];
    };
    let (code, _) = source::split_tests(&source::code(text));
    let mut complaints = Vec::new();
    for (at, name) in source::crate_names(&code) {
        let line = source::line_of(&code, at);
        match rank(&name) {
            Some(other) if other <= own_rank => {}
            Some(_) => complaints.push(format!(
                "{path}:{line}: `{own}` imports `{name}`, which stands to its right; move what is shared to the left"
            )),
            None => complaints.push(format!("{path}:{line}: `crate::{name}` is no module of the order")),
        }
    }
    // How many `super::` lead from this file to the crate's root.
    let depth = path.split('/').count() - 1 - usize::from(path.ends_with("/mod.rs"));
    for (at, count) in source::super_chains(&code) {
        if count >= depth {
            let line = source::line_of(&code, at);
            complaints.push(format!(
                "{path}:{line}: `super::` reaches the crate's root; write `crate::`"
            ));
        }
    }
    complaints
}

/// `lib.rs` declares the modules in the order of the law, so that the file can be read in the order of a request.
pub fn declarations(path: &str, text: &str) -> Vec<String> {
    let code = source::code(text);
    let mut complaints = Vec::new();
    let mut sections = vec![0];
    for word in ORDER.split_whitespace() {
        match word {
            "|" => sections.push(0),
            _ => *sections.last_mut().expect("starts with one") += 1,
        }
    }
    let section = |rank: usize| {
        let mut end = 0;
        sections.iter().position(|length| {
            end += length;
            rank < end
        })
    };
    let mut highest = 0;
    for at in source::words(&code, "mod") {
        let rest = &code[at + 3..];
        let name: String = rest
            .trim_start()
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect();
        let line = source::line_of(&code, at);
        match rank(&name) {
            None => complaints.push(format!(
                "{path}:{line}: module `{name}` has no place in the order"
            )),
            // Within a section rustfmt sorts by name, so only the sections are compared.
            Some(rank) if section(rank) < section(highest) => {
                complaints.push(format!(
                    "{path}:{line}: module `{name}` stands below a section to its right"
                ));
            }
            Some(rank) => highest = highest.max(rank),
        }
    }
    complaints
}

/// Each file opens with `//!`: the product's in at least two sentences, what it does and refuses to know;
/// a test's or bench's in one, its scenario.
pub fn header(path: &str, text: &str) -> Vec<String> {
    let opening: Vec<&str> = text
        .lines()
        .map_while(|line| line.strip_prefix("//!"))
        .collect();
    let prose = opening.join(" ") + " ";
    let sentences = prose
        .match_indices(['.', '?', '!'])
        .filter(|(at, _)| prose[at + 1..].starts_with(' '))
        .count();
    let product = path.starts_with("src/");
    if sentences > usize::from(product) {
        return Vec::new();
    }
    let wanted = if product {
        "two sentences: what it does, what it refuses to know"
    } else {
        "its scenario"
    };
    vec![format!("{path}:1: opens without `//!` and {wanted}")]
}

/// No Rust file above `FILE_LINES`, and no test's above `TEST_FILE_LINES`, but for the exempt.
pub fn file_length(path: &str, text: &str, exempt: &[Exemption]) -> Vec<String> {
    let lines = text.lines().count();
    let limit = if is_of_tests(path) {
        TEST_FILE_LINES
    } else {
        FILE_LINES
    };
    within(&format!("{path}:1"), path, lines, limit, exempt)
}

fn is_of_tests(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs")
}

/// No function of the product above `FUNCTION_LINES`, but for the exempt.
pub fn function_length(path: &str, text: &str, exempt: &[Exemption]) -> Vec<String> {
    if is_of_tests(path) {
        return Vec::new();
    }
    let (code, _) = source::split_tests(&source::code(text));
    let mut complaints = Vec::new();
    for (name, line, lines) in source::functions(&code) {
        let place = format!("{path}:{line}: `{name}`");
        complaints.extend(within(
            &place,
            &format!("{path}::{name}"),
            lines,
            FUNCTION_LINES,
            exempt,
        ));
    }
    complaints
}

fn within(
    place: &str,
    what: &str,
    lines: usize,
    limit: usize,
    exempt: &[Exemption],
) -> Vec<String> {
    let Some(exemption) = exempt.iter().find(|exemption| exemption.what == what) else {
        return match lines > limit {
            true => vec![format!(
                "{place}: {lines} lines, {limit} allowed; split it by idea"
            )],
            false => Vec::new(),
        };
    };
    if exemption.reason.len() < 20 {
        return vec![format!("{place}: the exemption says no reason")];
    }
    if lines > exemption.lines {
        return vec![format!(
            "{place}: {lines} lines, {} exempted; the list may only shrink",
            exemption.lines
        )];
    }
    if lines <= limit {
        return vec![format!(
            "{place}: {lines} lines need no exemption; take it out of the list"
        )];
    }
    if lines + SLACK_LINES < exemption.lines {
        return vec![format!(
            "{place}: shrank to {lines} lines; lower the exemption from {}",
            exemption.lines
        )];
    }
    Vec::new()
}

/// Exemptions of files and functions that are gone.
pub fn stale(exempt: &[Exemption], paths: &[String]) -> Vec<String> {
    let gone = |what: &str| {
        !paths
            .iter()
            .any(|path| path == what.split("::").next().unwrap_or(what))
    };
    exempt
        .iter()
        .filter(|e| gone(e.what))
        .map(|e| format!("exemption of `{}`: no such file", e.what))
        .collect()
}

/// The clock is read in `src/clock.rs` alone; everybody else is handed a `Clock`.
pub fn clock(path: &str, text: &str) -> Vec<String> {
    if path == "src/clock.rs" {
        return Vec::new();
    }
    let code = source::code(text);
    let readers = [
        "SystemTime::now",
        "now_utc",
        "now_local",
        "Utc::now",
        "UNIX_EPOCH.elapsed",
    ];
    let mut complaints = Vec::new();
    for reader in readers {
        for at in source::words(&code, reader) {
            let line = source::line_of(&code, at);
            complaints.push(format!(
                "{path}:{line}: `{reader}` reads the clock; take a `clock::Clock`"
            ));
        }
    }
    complaints
}

/// How often a file may hold a word. An allowance without a reason, or of more than the file holds, is a complaint.
fn allowed_times(
    path: &str,
    word: &str,
    found: usize,
    allowed: &[Allowance],
    complaints: &mut Vec<String>,
) -> usize {
    let allowance = allowed
        .iter()
        .find(|allowance| allowance.file == path && allowance.word == word);
    let Some(allowance) = allowance else { return 0 };
    if allowance.reason.len() < 20 || found < allowance.times {
        complaints.push(format!(
            "{path}:1: the allowance of `{word}` has no reason, or is more than needed"
        ));
    }
    allowance.times
}

/// Words that no test uses: what waits by guess, what is not run, what passes for the wrong reason, and what changes the
/// process of other tests.
pub fn test_words(path: &str, text: &str, allowed: &[Allowance]) -> Vec<String> {
    let code = source::code(text);
    let (_, tests) = source::split_tests(&code);
    let whole =
        path.starts_with("tests/") || path.ends_with("/tests.rs") || path.contains("/tests/");
    let scope = if whole { &code } else { &tests };
    let mut complaints = Vec::new();
    for (word, instead) in [
        ("sleep", "wait for the event itself, with a deadline"),
        ("sleep_until", "wait for the event itself, with a deadline"),
        (
            "should_panic",
            "assert on the value; hostile input never panics",
        ),
        (
            "#[ignore",
            "a test that is not run proves nothing; leave it out or make it quick",
        ),
        ("todo!", "say what is missing in the issue, not in the code"),
        (
            "temp_dir",
            "`tempfile` makes the folder, and removes it with the test",
        ),
        (
            "var_os",
            "`testkit::golden` compares with a file, and writes it anew",
        ),
        (
            "set_current_dir",
            "it is the whole process's, and other tests run beside this one",
        ),
        (
            "set_hook",
            "it is the whole process's, and other tests run beside this one",
        ),
        (
            "take_hook",
            "it is the whole process's, and other tests run beside this one",
        ),
    ] {
        let found = source::words(scope, word);
        let times = allowed_times(path, word, found.len(), allowed, &mut complaints);
        for at in found.iter().skip(times) {
            complaints.push(format!(
                "{path}:{}: `{word}` in a test: {instead}",
                source::line_of(scope, *at)
            ));
        }
    }
    if !whole {
        for at in source::words(&code, "todo!") {
            complaints.push(format!(
                "{path}:{}: `todo!` is committed",
                source::line_of(&code, at)
            ));
        }
    }
    complaints
}

/// No committed file names a folder of the machine that it was written on.
pub fn machine_paths(path: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for folder in ["work", "root", "home"] {
            let needle = format!("/{folder}");
            let found = line.match_indices(&needle).any(|(at, _)| {
                let opens = line[..at]
                    .chars()
                    .next_back()
                    .is_none_or(|c| !c.is_alphanumeric() && !"_-./})*>]~".contains(c));
                let closes = line[at + needle.len()..].chars().next();
                opens && closes.is_none_or(|c| c == '/' || c == '"' || c.is_whitespace())
            });
            if found {
                complaints.push(format!(
                    "{path}:{}: names `{needle}`, a folder of one machine",
                    number + 1
                ));
            }
        }
    }
    complaints
}

/// Committed files stay small enough to be read.
pub fn bytes(path: &str, length: u64) -> Vec<String> {
    match length > FILE_BYTES {
        true => vec![format!(
            "{path}: {length} bytes, {FILE_BYTES} allowed; generate it instead"
        )],
        false => Vec::new(),
    }
}

/// A lock file holds as many packages as are known, so that each change of the number is meant.
pub fn packages(lock: &str, known: usize) -> Vec<String> {
    let found = lock.lines().filter(|line| *line == "[[package]]").count();
    match found == known {
        true => Vec::new(),
        false => vec![format!(
            "Cargo.lock: {found} packages, {known} known; say what a new one is for, or lower the number"
        )],
    }
}

/// A power that is declared has exactly one `fn mint`, in its room, private to it, and cannot be copied.
pub fn mints(files: &[(String, String)]) -> Vec<String> {
    let sources: Vec<(&str, String)> = files
        .iter()
        .filter(|(path, _)| path.starts_with("src/") && path.ends_with(".rs"))
        .map(|(path, text)| (path.as_str(), source::code(text)))
        .collect();
    let room_of = |path: &str| {
        POWERS
            .iter()
            .find(|(_, room)| module_of(path) == Some(room))
            .map(|(power, _)| *power)
    };
    let mut complaints = Vec::new();
    for (power, room) in POWERS {
        let mut mints = Vec::new();
        for (path, code) in sources
            .iter()
            .filter(|(path, _)| room_of(path) == Some(power))
        {
            mints.extend(
                source::words(code, "fn mint")
                    .into_iter()
                    .map(|at| (*path, code, at)),
            );
        }
        for (path, code, at) in &mints {
            if code[..*at].trim_end().ends_with("pub") {
                complaints.push(format!(
                    "{path}:{}: the mint of `{power}` is public",
                    source::line_of(code, *at)
                ));
            }
        }
        for (path, code) in &sources {
            for at in source::words(code, &format!("struct {power}")) {
                let line = source::line_of(code, at);
                if module_of(path) != Some(room) {
                    complaints.push(format!(
                        "{path}:{line}: `{power}` belongs in the room `{room}`"
                    ));
                }
                if mints.len() != 1 {
                    complaints.push(format!(
                        "{path}:{line}: `{power}` has {} mints; one is wanted",
                        mints.len()
                    ));
                }
                // The attributes stand between the item before and this one.
                let above = &code[..at];
                let start = above.rfind(['}', ';']).map_or(0, |i| i + 1);
                for lost in ["Clone", "Copy", "Default", "Deserialize", "Serialize"] {
                    if !source::words(&above[start..], lost).is_empty() {
                        complaints.push(format!(
                            "{path}:{line}: `{power}` derives `{lost}`; a power is used once"
                        ));
                    }
                }
            }
            for lost in ["Clone", "Default"] {
                for at in source::words(code, &format!("{lost} for {power}")) {
                    complaints.push(format!(
                        "{path}:{}: `{power}` implements `{lost}`",
                        source::line_of(code, at)
                    ));
                }
            }
        }
    }
    let elsewhere = |path: &str| room_of(path).is_none() && module_of(path).is_some();
    for (path, code) in sources.iter().filter(|(path, _)| elsewhere(path)) {
        for at in source::words(code, "fn mint") {
            complaints.push(format!(
                "{path}:{}: a mint outside the rooms of the powers",
                source::line_of(code, at)
            ));
        }
    }
    complaints
}

/// The parts that stand in for other software lean on cupboards; only a whole world knows the gateway.
pub fn stand_ins(path: &str, text: &str) -> Vec<String> {
    let Some(part) = path
        .strip_prefix("crates/testkit/src/")
        .filter(|part| *part != "world.rs")
    else {
        return Vec::new();
    };
    let cupboards = ORDER.split('|').next().unwrap_or_default();
    let code = source::code(text);
    let mut complaints = Vec::new();
    for at in source::words(&code, "lightkeeper") {
        let Some(rest) = code[at..].strip_prefix("lightkeeper::") else {
            continue;
        };
        let name: String = rest
            .chars()
            .take_while(|each| each.is_alphanumeric() || *each == '_')
            .collect();
        if !cupboards.split(' ').any(|cupboard| cupboard == name) {
            let line = source::line_of(&code, at);
            complaints.push(format!(
                "{path}:{line}: `{part}` names `{name}`, which is no cupboard: only `world.rs` may"
            ));
        }
    }
    complaints
}

/// Reasons are values of `Reason`: no text stands for one outside `src/reason`, and no decision looks at a code's text.
/// `codes`: those of several words, which mean nothing else but where `allowed` says so.
pub fn reasons(path: &str, text: &str, codes: &[&str], allowed: &[Allowance]) -> Vec<String> {
    let is_test =
        path.ends_with("/tests.rs") || path.contains("/tests/") || path.ends_with("/forge.rs");
    if !path.starts_with("src/") || path.starts_with("src/reason/") || is_test {
        return Vec::new();
    }
    let code = source::code(text);
    let (product, _) = source::split_tests(&code);
    let mut complaints = Vec::new();
    let strings = source::strings(text, &code, &product);
    for word in codes {
        let found: Vec<usize> = strings
            .iter()
            .filter(|(_, content)| content == word)
            .map(|(at, _)| *at)
            .collect();
        let allowance = allowed
            .iter()
            .find(|allowance| allowance.file == path && allowance.word == *word);
        let times = allowance.map_or(0, |allowance| allowance.times);
        if allowance
            .is_some_and(|allowance| allowance.reason.len() < 20 || found.len() < allowance.times)
        {
            complaints.push(format!(
                "{path}:1: the allowance of `{word}` has no reason, or is more than needed"
            ));
        }
        for at in found.iter().skip(times) {
            complaints.push(format!(
                "{path}:{}: `{word}` as text; write a `Reason`",
                source::line_of(text, *at)
            ));
        }
    }
    for pattern in [
        "reason: &",
        "reason: Option<&",
        "reason(self) -> &",
        "reason(&self) -> &",
        ".code() ==",
    ] {
        let textual = |at: usize| {
            pattern.ends_with("==")
                || product[at..]
                    .lines()
                    .next()
                    .is_some_and(|line| line.contains("str"))
        };
        for (at, _) in product
            .match_indices(pattern)
            .filter(|(at, _)| textual(*at))
        {
            complaints.push(format!(
                "{path}:{}: a reason as text; take a `Reason`",
                source::line_of(&product, at)
            ));
        }
    }
    for pattern in [
        ".code().starts_with",
        ".code().ends_with",
        ".code().contains",
        "reason.starts_with",
        "reason.contains",
    ] {
        for (at, _) in product.match_indices(pattern) {
            complaints.push(format!(
                "{path}:{}: logic on a code's text; ask for class or blame",
                source::line_of(&product, at)
            ));
        }
    }
    complaints
}

/// An error is a type that says what went wrong and keeps its source, never a text. `allowed`: where the text is a value that
/// people or other software take as it is; its word is the type.
pub fn text_errors(path: &str, text: &str, allowed: &[Allowance]) -> Vec<String> {
    if !path.starts_with("src/") || is_of_tests(path) {
        return Vec::new();
    }
    let (code, _) = source::split_tests(&source::code(text));
    let mut complaints = Vec::new();
    for word in ["String", "Vec<String>"] {
        let found: Vec<usize> = source::words(&code, "Result<")
            .into_iter()
            .filter(|at| error_of(&code[at + "Result<".len()..]) == Some(word))
            .collect();
        let times = allowed_times(path, word, found.len(), allowed, &mut complaints);
        for at in found.iter().skip(times) {
            complaints.push(format!(
                "{path}:{}: `{word}` as an error; make a type of it (`thiserror`), with its source",
                source::line_of(&code, *at)
            ));
        }
    }
    complaints
}

/// The second argument of a `Result`, from behind its `<`.
fn error_of(arguments: &str) -> Option<&str> {
    let mut depth = 0_usize;
    let mut second = None;
    let mut before = ' ';
    for (at, each) in arguments.char_indices() {
        match each {
            '<' | '(' | '[' => depth += 1,
            '>' if before == '-' => {}
            '>' | ')' | ']' if depth > 0 => depth -= 1,
            ',' if depth == 0 && second.is_none() => second = Some(at + 1),
            ',' | '>' if depth == 0 => return arguments.get(second?..at).map(str::trim),
            _ => {}
        }
        before = each;
    }
    None
}

/// Words that leave open who does something.
const VAGUE: [&str; 4] = ["whoever", "nobody", "somebody", "whom"];

/// Where a text has one of them: the line's number and the word.
fn vague(text: &str) -> Vec<(usize, &'static str)> {
    let lower = text.to_lowercase();
    let found = VAGUE.iter().flat_map(|word| {
        source::words(&lower, word)
            .into_iter()
            .map(|at| (source::line_of(&lower, at), *word))
    });
    found.collect()
}

/// A comment says who does what, and why: a caller, a person, the operator, an app.
pub fn comment_words(path: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for (at, comment) in source::comments(text) {
        let before = source::line_of(text, at) - 1;
        complaints.extend(vague(comment).into_iter().map(|(line, word)| {
            format!(
                "{path}:{}: `{word}` in a comment: say which caller, person, app or part",
                before + line
            )
        }));
    }
    complaints
}

/// So does what the product tells people: its literals.
pub fn literal_words(path: &str, text: &str) -> Vec<String> {
    let is_test =
        path.ends_with("/tests.rs") || path.contains("/tests/") || path.ends_with("/forge.rs");
    if is_test {
        return Vec::new();
    }
    let mut complaints = Vec::new();
    for (at, literal) in source::product_strings(text) {
        let before = source::line_of(text, at) - 1;
        complaints.extend(vague(&literal).into_iter().map(|(line, word)| {
            format!(
                "{path}:{}: `{word}` in a literal: say which caller, person, app or part",
                before + line
            )
        }));
    }
    complaints
}

/// So does a page of the documentation, its examples included.
pub fn page_words(path: &str, text: &str) -> Vec<String> {
    let found = vague(text).into_iter();
    found
        .map(|(line, word)| {
            format!("{path}:{line}: `{word}`: say which caller, person, app or part")
        })
        .collect()
}

/// What only a backend's profile may say.
pub struct BackendWords {
    /// In no literal, in whatever case: names and headers.
    pub anywhere: Vec<String>,
    /// No literal is one of these, or begins with one and a slash: paths, and their segments.
    pub paths: Vec<String>,
}

/// A backend's paths, headers and name stand in its profile and among its formats alone.
pub fn backends_words(
    path: &str,
    text: &str,
    words: &BackendWords,
    allowed: &[Allowance],
) -> Vec<String> {
    let is_test = path.ends_with("/tests.rs") || path.contains("/tests/");
    if is_test
        || matches!(
            module_of(path),
            None | Some("profiles" | "lightstep" | "otlp")
        )
    {
        return Vec::new();
    }
    let mut used = Vec::new();
    let mut complaints = Vec::new();
    for (at, literal) in source::product_strings(text) {
        let lower = literal.to_lowercase();
        let named = words
            .anywhere
            .iter()
            .find(|word| lower.contains(word.as_str()));
        let is_path = |word: &&String| {
            literal
                .strip_prefix(word.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let Some(word) = named.or_else(|| words.paths.iter().find(is_path)) else {
            continue;
        };
        if let Some(allowance) = allowed
            .iter()
            .find(|one| one.file == path && one.word == word.as_str())
        {
            used.push(allowance.word);
            if used.iter().filter(|word| **word == allowance.word).count() <= allowance.times {
                continue;
            }
        }
        let line = source::line_of(text, at);
        complaints.push(format!(
            "{path}:{line}: `{word}` is a backend's word: put it into its profile"
        ));
    }
    for allowance in allowed.iter().filter(|allowance| allowance.file == path) {
        let times = used.iter().filter(|word| **word == allowance.word).count();
        if allowance.reason.len() < 20 || times < allowance.times {
            complaints.push(format!(
                "{path}:1: the allowance of `{}` has no reason, or is more than needed",
                allowance.word
            ));
        }
    }
    complaints
}
