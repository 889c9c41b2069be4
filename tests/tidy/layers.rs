//! Which way the arrows between crates and between modules point.

use std::collections::BTreeSet;

use super::rules::{ABOVE_ALL, CRATES, LAYERED, LAYERS};
use super::source::{File, files};
use crate::{find, is_top, report};

#[test]
fn modules_point_down_only() {
    let files = files();
    let modules: BTreeSet<&str> = files.iter().filter_map(File::module).collect();
    let reexports = LAYERED.map(|src| find(&files, &format!("{src}lib.rs")).code().reexports());
    let reexported = |name: &String| reexports.iter().find_map(|names| names.get(name));
    let mut faults = Vec::new();
    // A file of unit tests may use what its module may not.
    let is_tests = |path: &str| path.ends_with("/tests.rs") || path.contains("/tests/");
    for file in files.iter().filter(|f| f.is_rust() && !is_tests(&f.path)) {
        let Some(module) = file.module().filter(|m| !ABOVE_ALL.contains(m)) else {
            continue;
        };
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == module) else {
            faults.push(format!("{}: `{module}` is missing in LAYERS", file.path));
            continue;
        };
        let (code, _) = file.code().split_tests();
        for (name, line) in code.names_of_crate(is_top(&file.path)) {
            let used = if modules.contains(&*name) {
                Some(&name)
            } else {
                reexported(&name)
            };
            let Some(used) = used.filter(|m| modules.contains(m.as_str())) else {
                continue;
            };
            if used != module && !allowed.contains(&used.as_str()) {
                faults.push(format!(
                    "{}:{line}: {module} uses {used} ({name})",
                    file.path
                ));
            }
        }
    }
    report(
        "move the code to where both sides may see it (LAYERS)",
        &faults,
    );
}

/// What stands further down in the list may use what stands above it, so there is no circle.
#[test]
fn layers_are_in_order() {
    let place = |of: &str| LAYERS.iter().position(|(name, _)| *name == of);
    let mut faults = Vec::new();
    for (nth, (name, used)) in LAYERS.iter().enumerate() {
        let up = used
            .iter()
            .filter(|used| place(used).is_none_or(|at| at >= nth));
        faults.extend(up.map(|used| format!("{name} uses {used}")));
    }
    report(
        "a module uses only those that stand above it in LAYERS",
        &faults,
    );
}

/// No crate depends on one that stands further down in the list: a provider of ours uses nothing
/// that another author's could not.
#[test]
fn crates_point_down_only() {
    let files = files();
    let mut faults = Vec::new();
    for (folder, allowed) in CRATES {
        let manifest = &find(&files, &format!("{folder}/Cargo.toml")).text;
        // The dependencies of tests may point anywhere.
        for section in manifest.split("\n[").filter(|section| {
            let head = section.lines().next().unwrap_or_default();
            head.contains("dependencies") && !head.contains("dev-dependencies")
        }) {
            let names = section
                .lines()
                .filter_map(|line| line.split(['.', ' ', ']']).next());
            let ours = names.filter(|name| *name == "bgjob" || name.starts_with("bgjob-"));
            let wrong = ours.filter(|name| !allowed.contains(name));
            faults.extend(wrong.map(|name| format!("{folder} depends on {name}")));
        }
    }
    report("turn the arrow round, or list it in CRATES", &faults);
}
