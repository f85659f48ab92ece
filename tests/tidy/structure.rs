//! Rules about the code as a whole: what a type's name means, which files lean on which, and where the framework and the
//! mutable context of a request are named.
//!
//! What it refuses to know: where files come from, and what is exempt (`tests/tidy.rs` has both). Invariant: a rule is pure,
//! and an exemption that is not needed any more is a complaint.

use std::collections::{BTreeMap, BTreeSet};

use super::rules::module_of;
use super::source;

/// A name that types of several rooms share after all.
pub struct Repeat {
    pub name: &'static str,
    /// How many rooms declare it.
    pub rooms: usize,
    pub reason: &'static str,
}

/// A circle of imports that is left. The files are sorted.
pub struct Cycle {
    pub files: &'static [&'static str],
    pub reason: &'static str,
}

fn is_test(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/") || path.ends_with("/forge.rs")
}

/// The product's half of each file under `src`, without comments and literals.
fn product(files: &[(String, String)]) -> Vec<(&str, String)> {
    let inside = files
        .iter()
        .filter(|(path, _)| path.starts_with("src/") && !is_test(path));
    inside
        .map(|(path, text)| (path.as_str(), source::split_tests(&source::code(text)).0))
        .collect()
}

// ---- names of types ------------------------------------------------------------------------------------------

/// The declarations of a name in each room: where, and whether other files can see it.
type Rooms<'r> = BTreeMap<&'r str, Vec<(String, bool)>>;

/// A type's name means one thing: what one room shows to other files is declared in no other room, not even privately. Types
/// that are private to their files in all rooms may share a name.
pub fn type_names(files: &[(String, String)], allowed: &[Repeat]) -> Vec<String> {
    let mut declared: BTreeMap<String, Rooms<'_>> = BTreeMap::new();
    for (path, code) in product(files) {
        let Some(room) = module_of(path) else {
            continue;
        };
        for (name, line, is_shown) in source::types(&code) {
            declared
                .entry(name)
                .or_default()
                .entry(room)
                .or_default()
                .push((format!("{path}:{line}"), is_shown));
        }
    }
    let shown = |rooms: &Rooms<'_>| rooms.values().flatten().any(|(_, is_shown)| *is_shown);
    let repeated: BTreeMap<_, _> = declared
        .into_iter()
        .filter(|(_, rooms)| rooms.len() > 1 && shown(rooms))
        .collect();
    let mut complaints = Vec::new();
    for (name, rooms) in &repeated {
        let allowance = allowed.iter().find(|repeat| repeat.name == name);
        if rooms.len() > allowance.map_or(1, |repeat| repeat.rooms) {
            let places: Vec<&str> = rooms
                .values()
                .flatten()
                .map(|(place, _)| place.as_str())
                .collect();
            complaints.push(format!(
                "{}: `{name}` means several things; rename all but one",
                places.join(", ")
            ));
        }
    }
    for repeat in allowed {
        let rooms = repeated.get(repeat.name).map_or(1, BTreeMap::len);
        if rooms < repeat.rooms || repeat.reason.len() < 20 {
            complaints.push(format!(
                "`{}`: {rooms} rooms declare it; lower the allowance, with a reason",
                repeat.name
            ));
        }
    }
    complaints
}

// ---- cycles of imports ---------------------------------------------------------------------------------------

/// The files of the library as a graph: a file leans on another if its code names something that is declared there. What that
/// is worth depends on what counts as naming:
/// - A path is followed through re-exports to the file that declares the item, so that a `mod.rs` that only gathers names
///   hides no circle and makes none.
/// - A module that names its own children makes no edge: it is made of them, and the compiler wants them declared there.
///   A child that names what its parent declares does.
/// - Code for tests does not count.
///
/// A circle of two files in one folder is one idea in two files. One of more, or across folders, cannot be read in any order.
pub fn cycles(files: &[(String, String)], allowed: &[Cycle]) -> Vec<String> {
    let modules = Modules::new(files);
    let edges = modules.edges();
    let mut complaints = Vec::new();
    let mut found: Vec<BTreeSet<&str>> = Vec::new();
    for circle in circles(&edges) {
        let folders: BTreeSet<&str> = circle
            .iter()
            .filter_map(|path| Some(path.rsplit_once('/')?.0))
            .collect();
        if circle.len() <= 2 && folders.len() == 1 {
            continue;
        }
        let is_allowed = allowed
            .iter()
            .any(|cycle| circle.iter().all(|path| cycle.files.contains(path)));
        if !is_allowed {
            let inside = |(from, to): &(&str, &str)| circle.contains(from) && circle.contains(to);
            let why: Vec<String> = edges
                .iter()
                .filter(|(edge, _)| inside(edge))
                .map(|((from, to), name)| format!("  {from} -> {to}: {name}"))
                .collect();
            complaints.push(format!(
                "a circle of {} files:\n{}",
                circle.len(),
                why.join("\n")
            ));
        }
        found.push(circle);
    }
    for cycle in allowed {
        for file in cycle
            .files
            .iter()
            .filter(|file| !found.iter().any(|circle| circle.contains(*file)))
        {
            complaints.push(format!(
                "{file}: is in no circle any more; take it out of the list"
            ));
        }
        if cycle.reason.len() < 20 {
            complaints.push(format!("{:?}: says no reason", cycle.files));
        }
    }
    complaints
}

type Path = Vec<String>;

struct Module<'f> {
    file: &'f str,
    /// What `use` brings in: name in this file, path as it is written.
    imports: Vec<(String, Path)>,
    /// Paths in code.
    paths: Vec<Path>,
}

struct Modules<'f> {
    by_path: BTreeMap<Path, Module<'f>>,
}

impl<'f> Modules<'f> {
    fn new(files: &'f [(String, String)]) -> Modules<'f> {
        let mut by_path = BTreeMap::new();
        for (file, code) in product(files) {
            let inside = file
                .trim_start_matches("src/")
                .trim_end_matches(".rs")
                .trim_end_matches("/mod");
            let path: Path = if inside == "lib" {
                Vec::new()
            } else {
                inside.split('/').map(str::to_owned).collect()
            };
            let (imports, rest) = source::uses(&code);
            by_path.insert(
                path,
                Module {
                    file,
                    imports,
                    paths: source::paths(&rest),
                },
            );
        }
        Modules { by_path }
    }

    /// The module that declares the item that `written` names in the module `at`. `None`: it is another crate's, a local name,
    /// or a module, the name of which alone uses nothing of it.
    fn declares(&self, at: &Path, written: &[String], depth: usize) -> Option<Path> {
        let module = self.by_path.get(at)?;
        let (first, rest) = written.split_first()?;
        let mut current = match first.as_str() {
            _ if depth > 8 => return None,
            "crate" => Vec::new(),
            "self" => at.clone(),
            "super" => at[..at.len().checked_sub(1)?].to_vec(),
            name => match self.child(at, name) {
                Some(child) => child,
                None => {
                    let (_, path) = module
                        .imports
                        .iter()
                        .find(|(known, path)| known == name && path[0] != *name)?;
                    let whole: Path = path.iter().chain(rest).cloned().collect();
                    return self.declares(at, &whole, depth + 1);
                }
            },
        };
        for (index, name) in rest.iter().enumerate() {
            if name == "super" {
                current.pop();
            } else if let Some(child) = self.child(&current, name) {
                current = child;
            } else {
                // An item: of this module, or one that it passes on.
                let passed = self
                    .by_path
                    .get(&current)
                    .and_then(|module| module.imports.iter().find(|(known, _)| known == name));
                let Some((_, path)) = passed else {
                    return Some(current);
                };
                let whole: Path = path.iter().chain(&rest[index + 1..]).cloned().collect();
                return self.declares(&current, &whole, depth + 1);
            }
        }
        None
    }

    fn child(&self, of: &Path, name: &str) -> Option<Path> {
        let mut child = of.clone();
        child.push(name.to_owned());
        self.by_path.contains_key(&child).then_some(child)
    }

    /// Which file names what of which other.
    fn edges(&self) -> BTreeMap<(&'f str, &'f str), String> {
        let mut edges = BTreeMap::new();
        for (at, module) in &self.by_path {
            for written in module
                .imports
                .iter()
                .map(|(_, path)| path)
                .chain(&module.paths)
            {
                let Some(declared) = self.declares(at, written, 0) else {
                    continue;
                };
                // A parent does not lean on its children.
                if declared.starts_with(at) || declared.is_empty() {
                    continue;
                }
                edges
                    .entry((module.file, self.by_path[&declared].file))
                    .or_insert_with(|| written.join("::"));
            }
        }
        edges
    }
}

/// The sets of files of which each leads to each other, of two files or more.
fn circles<'f>(edges: &BTreeMap<(&'f str, &'f str), String>) -> Vec<BTreeSet<&'f str>> {
    let mut next: BTreeMap<&str, Vec<&'f str>> = BTreeMap::new();
    for (from, to) in edges.keys() {
        next.entry(from).or_default().push(to);
    }
    let reached = |from: &'f str| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(file) = open.pop() {
            open.extend(
                next.get(file)
                    .into_iter()
                    .flatten()
                    .copied()
                    .filter(|to| seen.insert(*to)),
            );
        }
        seen
    };
    let all: BTreeSet<&str> = edges.keys().map(|(from, _)| *from).collect();
    let reach: BTreeMap<&str, BTreeSet<&str>> =
        all.iter().map(|file| (*file, reached(file))).collect();
    let mut circles: Vec<BTreeSet<&str>> = Vec::new();
    for file in all {
        if circles.iter().any(|circle| circle.contains(file)) || !reach[file].contains(file) {
            continue;
        }
        let back = |other: &&&str| reach.get(**other).is_some_and(|reach| reach.contains(file));
        circles.push(reach[file].iter().filter(back).copied().collect());
    }
    circles
        .into_iter()
        .filter(|circle| circle.len() > 1)
        .collect()
}

// ---- ways out ------------------------------------------------------------------------------------------------

/// Connections are made in the listed folders alone: what else asks another server does it with `egress`'s client, which
/// knows proxies, roots, bounds and addresses.
pub fn ways_out(files: &[(String, String)], listed: &[&str]) -> Vec<String> {
    let names = [
        "hyper::client",
        "hyper_rustls",
        "hyper_util::client",
        "reqwest",
        "HttpConnector",
        "TcpStream::connect",
        "TcpStream::connect_timeout",
        "TlsConnector",
        "UnixStream::connect",
    ];
    let mut complaints = Vec::new();
    for (path, code) in product(files) {
        if listed.iter().any(|folder| path.starts_with(folder)) {
            continue;
        }
        for (name, at) in names.iter().flat_map(|name| {
            source::words(&code, name)
                .into_iter()
                .map(move |at| (name, at))
        }) {
            complaints.push(format!(
                "{path}:{}: `{name}`: ask with `egress::OutboundClient`",
                source::line_of(&code, at)
            ));
        }
    }
    complaints
}

// ---- the framework and the context of a request --------------------------------------------------------------

/// The framework's crates are named in the listed files alone, and `ProxyHttp` in `gateway`.
pub fn framework(files: &[(String, String)], listed: &[&str]) -> Vec<String> {
    let names = [
        "pingora_core",
        "pingora_proxy",
        "pingora_http",
        "pingora_error",
        "pingora_cache",
        "pingora_pool",
        "pingora",
    ];
    let mut naming = BTreeSet::new();
    let mut complaints = Vec::new();
    for (path, code) in product(files) {
        for at in names
            .iter()
            .flat_map(|name| source::words(&code, name))
            .take(1)
        {
            naming.insert(path);
            if !listed.contains(&path) {
                complaints.push(format!(
                    "{path}:{}: names pingora; ask `call` for it",
                    source::line_of(&code, at)
                ));
            }
        }
        for at in source::words(&code, "ProxyHttp")
            .into_iter()
            .filter(|_| module_of(path) != Some("gateway"))
        {
            complaints.push(format!(
                "{path}:{}: names `ProxyHttp`",
                source::line_of(&code, at)
            ));
        }
    }
    let stale = listed.iter().filter(|path| !naming.contains(**path));
    complaints
        .extend(stale.map(|path| {
            format!("{path}: does not name pingora any more; take it out of the list")
        }));
    complaints
}

/// A folder of the product has at most so many lines, tests apart.
pub fn folder_lines(files: &[(String, String)], folder: &str, most: usize) -> Vec<String> {
    let inside = files
        .iter()
        .filter(|(path, _)| path.starts_with(folder) && !is_test(path));
    let lines: usize = inside.map(|(_, text)| text.lines().count()).sum();
    match lines > most {
        true => vec![format!(
            "{folder}: {lines} lines, {most} allowed; move what is not the listener's phases"
        )],
        false => Vec::new(),
    }
}

/// Functions that may change a request's context, by any of the names that it has: exactly so many, and the number may only be
/// lowered.
pub fn mutable_contexts(files: &[(String, String)], names: &[&str], most: usize) -> Vec<String> {
    let mut found = Vec::new();
    for (path, code) in product(files) {
        for at in source::words(&code, "fn") {
            let signature = code[at..].split(['{', ';']).next().unwrap_or_default();
            let is_mutable =
                |name: &str| !source::words(signature, &format!("&mut {name}")).is_empty();
            if names.iter().any(|name| is_mutable(name)) {
                found.push(format!("{path}:{}", source::line_of(&code, at)));
            }
        }
    }
    match found.len().cmp(&most) {
        std::cmp::Ordering::Equal => Vec::new(),
        std::cmp::Ordering::Less => {
            vec![format!(
                "{} signatures change the context; lower the number {most}",
                found.len()
            )]
        }
        std::cmp::Ordering::Greater => {
            vec![format!(
                "{} signatures change the context, {most} allowed: {}",
                found.len(),
                found.join(", ")
            )]
        }
    }
}
