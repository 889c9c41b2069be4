//! The rules about sizes.

use super::{
    rules::{COLUMNS, FILE_LINES, FUNCTION_LINES, LONGER_FILES, LONGER_FUNCTIONS, LONGER_LINES},
    scripts,
    source::{File, Function, files},
};
use crate::report;

#[test]
fn files_are_short() {
    let is_held = |file: &&File| {
        let is_code = file.is_rust() || file.is_sql() || file.is_shell();
        is_code || file.path.ends_with(".md") || file.path.starts_with(".ci/")
    };
    let faults: Vec<_> = files()
        .iter()
        .filter(is_held)
        .filter_map(|f| {
            let lines = f.text.lines().count();
            over(&f.path, lines, raised(LONGER_FILES, &f.path), FILE_LINES)
        })
        .collect();
    report("split the file by concept", &faults);
}

#[test]
fn functions_are_short() {
    let mut faults = Vec::new();
    for file in &files() {
        for function in functions(file) {
            let name = format!("{}::{}", file.path, function.name);
            let limit = raised(LONGER_FUNCTIONS, &name);
            let place = format!("{}:{} fn {}", file.path, function.line, function.name);
            faults.extend(over(&place, function.lines, limit, FUNCTION_LINES));
        }
    }
    report("give a part of the function a name of its own", &faults);
}

#[test]
fn lines_are_short() {
    let mut faults = Vec::new();
    for file in files().iter().filter(|f| f.is_rust() || f.is_sql()) {
        let limit = raised(LONGER_LINES, &file.path).unwrap_or(COLUMNS);
        for (n, line) in (1..).zip(file.text.lines()) {
            let columns = line.chars().count();
            faults.extend(over(&format!("{}:{n}", file.path), columns, None, limit));
        }
    }
    report("break the line, comments and strings included", &faults);
}

/// An exception for something that is not there hides nothing, and misleads.
#[test]
fn exceptions_are_about_something() {
    let files = files();
    let names = files.iter().flat_map(|file| {
        let functions = functions(file).into_iter();
        functions.map(|function| format!("{}::{}", file.path, function.name))
    });
    let mut there: Vec<String> = names.collect();
    there.extend(files.iter().map(|file| file.path.clone()));
    let all = [LONGER_FILES, LONGER_FUNCTIONS, LONGER_LINES].concat();
    let faults: Vec<_> = all
        .iter()
        .filter(|(name, ..)| !there.iter().any(|there| there == name))
        .map(|(name, ..)| (*name).to_owned())
        .collect();
    report("remove the exception, or mend its name", &faults);
}

/// The functions of a file in a language with functions.
fn functions(file: &File) -> Vec<Function> {
    if file.is_rust() {
        file.code().functions()
    } else if file.is_sql() {
        scripts::sql_functions(&file.text)
    } else if file.is_shell() {
        scripts::shell_functions(&file.text)
    } else {
        Vec::new()
    }
}

fn raised(exceptions: &[(&str, usize, &str)], what: &str) -> Option<usize> {
    let exception = exceptions.iter().find(|(name, ..)| *name == what);
    exception.map(|&(_, limit, _)| limit)
}

/// A fault if the size is over its limit, or if it no longer needs the limit raised for it.
fn over(what: &str, size: usize, raised: Option<usize>, normal: usize) -> Option<String> {
    if size > raised.unwrap_or(normal) {
        return Some(format!(
            "{what}: {size}, at most {}",
            raised.unwrap_or(normal)
        ));
    }
    (raised.is_some() && size <= normal)
        .then(|| format!("{what}: {size}, needs no exception any more"))
}
