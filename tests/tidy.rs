//! The house rules that a test can hold. Each failure says where, and what to do about it.
//!
//! The limits and lists are in `tidy/rules.rs`, how code is read in `tidy/source.rs` and
//! `tidy/scripts.rs`, and the rules about sizes in `tidy/sizes.rs`.

use std::collections::{BTreeMap, BTreeSet};

mod tidy {
    mod layers;
    pub(crate) mod rules;
    mod scripts;
    mod sizes;
    pub(crate) mod source;
}
use tidy::rules::*;
use tidy::source::{Code, File, Function, files};

#[test]
fn crate_paths_start_at_the_crate() {
    let mut faults = Vec::new();
    for file in files().iter().filter(|f| f.module().is_some()) {
        let (code, _) = file.code().split_tests();
        faults.extend(places(file, code.find("super :: super")));
    }
    report(
        "write `crate::…`, so that the direction of modules can be checked",
        &faults,
    );
}

#[test]
fn only_connect_opens_providers() {
    let mut faults = Vec::new();
    let mut openers = BTreeSet::new();
    let files = files();
    for file in files.iter().filter(|f| f.module() == Some("manager")) {
        let (code, _) = file.code().split_tests();
        let mut used = code.find("providers ::");
        for open in ["open_store", "open_queue"] {
            let opened = code.find(&format!("providers :: {open}"));
            used.retain(|line| !opened.contains(line));
        }
        faults.extend(places(file, used));
        if !code.find("providers").is_empty() {
            openers.insert(&file.path);
        }
    }
    if openers.len() > 1 {
        faults.push(format!("several files name providers: {openers:?}"));
    }
    report(
        "only `connect` names providers, to open them by URL",
        &faults,
    );
}

/// A method that a forwarder leaves to its default is one that the store behind it never hears of.
#[test]
fn forwarders_forward_everything() {
    let files = files();
    let mut faults = Vec::new();
    for (contract, home, forwarders) in FORWARDERS {
        let methods = methods(find(&files, home), &format!("pub trait {contract}:"));
        assert!(methods.len() > 2, "{home}: {contract} is not found");
        for forwarder in *forwarders {
            let forwarded = self::methods(find(&files, forwarder), &format!("{contract} for "));
            let left = methods.difference(&forwarded);
            faults.extend(left.map(|method| format!("{forwarder}: {contract}::{method}")));
        }
    }
    report("hand the call on to the store or queue behind it", &faults);
}

/// The names of the functions in the block that begins in the line with `head`.
fn methods(file: &File, head: &str) -> BTreeSet<String> {
    let mut lines = file.text.lines().skip_while(|line| !line.contains(head));
    lines.next();
    lines
        .take_while(|line| *line != "}")
        .filter_map(|line| {
            line.trim_start()
                .trim_start_matches("async ")
                .strip_prefix("fn ")
        })
        .filter_map(|rest| rest.split(['(', '<']).next())
        .map(str::to_owned)
        .collect()
}

#[test]
fn banned_words() {
    let mut faults = Vec::new();
    for file in files().iter().filter(|f| f.is_rust()) {
        for ban in BANS.iter().filter(|ban| ban.holds_in(&file.path)) {
            let code = ban.part_of(file);
            let lines = ban
                .words
                .iter()
                .flat_map(|words| code.find(words))
                .collect();
            faults.extend(places(file, lines).map(|place| format!("{place}: {}", ban.remedy)));
        }
    }
    report("see each line", &faults);
}

#[test]
fn no_paths_of_a_machine() {
    // Written in pieces, so that this file passes.
    let paths = ["work/", "root/", "tmp/bash"].map(|path| format!("/{path}"));
    let mut faults = Vec::new();
    for file in files() {
        for (n, line) in (1..).zip(file.text.lines()) {
            if paths.iter().any(|path| line.contains(path)) {
                faults.push(format!("{}:{n}: {}", file.path, line.trim()));
            }
        }
    }
    report("name no place of one machine", &faults);
}

#[test]
fn examples_are_listed_and_have_their_output() {
    let files = files();
    let readme = &find(&files, "README.md").text;
    let examples: BTreeSet<&str> = files.iter().filter_map(|f| example(&f.path)).collect();
    let expected: BTreeSet<&str> = files
        .iter()
        .filter_map(|f| {
            f.path
                .strip_prefix("examples/expected/")?
                .strip_suffix(".txt")
        })
        .collect();

    let mut faults = Vec::new();
    for name in &examples {
        if !readme.contains(&format!("`{name}`")) && !readme.contains(&format!("examples/{name}")) {
            faults.push(format!("{name}: list it in README.md as `{name}`"));
        }
        if !expected.contains(name) && !NO_FIXED_OUTPUT.contains(name) {
            faults.push(format!(
                "{name}: add examples/expected/{name}.txt with what it prints"
            ));
        }
    }
    faults.extend(
        expected
            .difference(&examples)
            .map(|name| format!("{name}: no such example")),
    );
    if examples.is_empty() {
        faults.push("there are no examples".to_owned());
    }
    report("examples are documentation that runs", &faults);
}

/// A link to a file of this repository, relative or by its address there, names one that exists.
#[test]
fn links_lead_somewhere() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut faults = Vec::new();
    for file in files().iter().filter(|f| f.path.ends_with(".md")) {
        let folder = root.join(&file.path);
        let folder = folder.parent().expect("a file is in a folder");
        for link in file.text.split("](").skip(1) {
            let link = link.split([')', '#', ' ']).next().unwrap_or_default();
            let place = match OWN_ADDRESSES.iter().find_map(|own| link.strip_prefix(own)) {
                Some(path) => root.join(path),
                None if link.contains("::") || link.contains("://") || link.is_empty() => continue,
                None => folder.join(link),
            };
            if !place.exists() {
                faults.push(format!("{}: {link}", file.path));
            }
        }
    }
    report(
        "mend the link, or name the file as it is called now",
        &faults,
    );
}

/// What is read at compile time has to be in the package, which ends at the crate's folder.
#[test]
fn packages_hold_what_they_include() {
    let mut faults = Vec::new();
    for file in files().iter().filter(|f| f.is_rust()) {
        let Some(inside) = CRATES.iter().find_map(|(package, _)| {
            let rest = file.path.strip_prefix(package)?;
            rest.strip_prefix('/')
        }) else {
            continue;
        };
        let depth = inside.matches('/').count();
        for (n, line) in (1..).zip(file.text.lines()) {
            let up = line
                .split("include_str!(\"")
                .nth(1)
                .map(|path| path.matches("../").count());
            if up.is_some_and(|up| up > depth) {
                faults.push(format!("{}:{n}: {}", file.path, line.trim()));
            }
        }
    }
    report("link it into the package, as bgjob/src/docs does", &faults);
}

#[test]
fn features_are_documented() {
    let files = files();
    let manifest = &find(&files, "bgjob/Cargo.toml").text;
    let readme = &find(&files, "README.md").text;
    let features = manifest
        .split("[features]\n")
        .nth(1)
        .expect("bgjob has features");
    let faults: Vec<_> = features
        .lines()
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(" = ").next())
        .filter(|name| !name.is_empty())
        .filter(|name| {
            let cell = format!("`{name}`");
            !readme
                .lines()
                .any(|line| line.starts_with('|') && line.contains(&cell))
        })
        .map(|name| format!("feature `{name}`"))
        .collect();
    report("give it a row in the feature table of README.md", &faults);
}

#[test]
fn providers_are_documented() {
    let files = files();
    let providers: BTreeMap<&str, &File> = files
        .iter()
        .filter_map(|f| Some((provider(&f.path)?, f)))
        .collect();
    let mut faults: Vec<_> = providers
        .iter()
        .filter(|(_, file)| !file.text.contains("\n//! | durability |"))
        .map(|(name, file)| format!("{name}: {}", file.path))
        .collect();
    if providers.is_empty() {
        faults.push("there are no providers".to_owned());
    }
    report(
        "begin its module docs with the table of guarantees: `//! | durability | …`",
        &faults,
    );
}

#[test]
fn the_top_level_is_the_users() {
    let entries = std::fs::read_dir(env!("CARGO_MANIFEST_DIR")).expect("the checkout is there");
    let there: BTreeSet<String> = entries
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect();
    let faults: Vec<_> = there
        .iter()
        .filter(|name| !TOP_LEVEL.contains(&name.as_str()) && !name.contains(".db"))
        .map(|name| format!("{name} is new"))
        .chain(
            TOP_LEVEL
                .iter()
                .filter(|name| !matches!(**name, ".git" | "target") && !there.contains(**name))
                .map(|name| format!("{name} is missing")),
        )
        .collect();
    report(
        "the top level is what a user sees first: find another place for it",
        &faults,
    );
}

/// The rules are as good as the eyes they see with.
#[test]
fn the_scanner_sees_code_and_nothing_else() {
    let code = |text: &str| Code::parse(text).expect("the case is Rust");
    let found = |text: &str, pattern: &str| code(text).find(pattern);

    assert_eq!(
        found(
            "// sleep(1)\n/// sleep(2)\nfn f() { g(\"sleep(3)\"); }",
            "sleep ("
        ),
        []
    );
    assert_eq!(
        found(
            "fn f() {\n    sleep (4);\n tokio::time::sleep(5);\n}",
            "sleep ("
        ),
        [2, 3]
    );
    assert_eq!(found("#[ignore = \"slow\"]\nfn f() {}", "# [ ignore"), [1]);
    assert_eq!(
        found("use std::fs;\nlet x: ::std::fs::File;", "std :: fs"),
        [1, 2]
    );

    let name = |name: &str, line, lines| Function {
        name: name.to_owned(),
        line,
        lines,
    };
    let text = "trait T { fn a(&self); }\nfn b(f: fn(u8)) -> [u8; { 1 }] {\n  fn c() {}\n}";
    assert_eq!(code(text).functions(), [name("b", 2, 3), name("c", 3, 1)]);

    let text = "fn a() {}\n#[cfg(test)]\nmod tests { fn b() {} }\nfn c() {}";
    let (users, tests) = code(text).split_tests();
    assert_eq!(users.functions(), [name("a", 1, 1), name("c", 4, 1)]);
    assert_eq!(tests.functions(), [name("b", 3, 1)]);

    let text = "use crate::{a::{B, C}, d, E};\npub(crate) fn f() { crate::g::h(); $crate::i(); }";
    let names = [("a", 1), ("d", 1), ("E", 1), ("g", 2)].map(|(n, line)| (n.to_owned(), line));
    assert_eq!(code(text).names_of_crate(false), names);

    let names = code("pub use job::{Job, limits::Cap as Limit};").reexports();
    assert_eq!(names["Job"], "job");
    assert_eq!(names["Limit"], "job");
}

fn places(file: &File, lines: Vec<usize>) -> impl Iterator<Item = String> {
    lines
        .into_iter()
        .map(|line| format!("{}:{line}", file.path))
}

pub(crate) fn find<'a>(files: &'a [File], path: &str) -> &'a File {
    files
        .iter()
        .find(|f| f.path == path)
        .unwrap_or_else(|| panic!("{path} is missing"))
}

/// `hello` for `examples/hello.rs` and for `examples/hello/src/main.rs`.
fn example(path: &str) -> Option<&str> {
    let name = path.strip_prefix("examples/")?.strip_suffix(".rs")?;
    let name = name.strip_suffix("/src/main").unwrap_or(name);
    (!name.contains('/')).then_some(name)
}

/// `memory` for the file that has its module docs: `memory.rs` or `memory/mod.rs`, or the `lib.rs`
/// of a crate of its own.
fn provider(path: &str) -> Option<&str> {
    let name = match path.strip_prefix("bgjob/src/providers/") {
        Some(inside) => {
            let inside = inside.strip_suffix(".rs")?;
            inside.strip_suffix("/mod").unwrap_or(inside)
        }
        None => path
            .strip_prefix("providers/")?
            .strip_suffix("/src/lib.rs")?,
    };
    (!name.contains('/') && !NO_PROVIDERS.contains(&name)).then_some(name)
}

/// `super::` leads out of the module from these files.
pub(crate) fn is_top(path: &str) -> bool {
    let inside = LAYERED.iter().find_map(|src| path.strip_prefix(src));
    let inside = inside.unwrap_or(path);
    !inside.contains('/') || (inside.ends_with("/mod.rs") && inside.matches('/').count() == 1)
}

pub(crate) fn report(remedy: &str, faults: &[String]) {
    assert!(faults.is_empty(), "{remedy}\n  {}\n", faults.join("\n  "));
}
