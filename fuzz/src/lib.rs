//! What is fuzzed; see [`targets`].

// The modules of the attribute, which a macro crate can't export, at the place where they expect
// to be: the root. `tests/fuzz_corpus.rs` has the same list.
#[path = "../../bgjob-macros/src/args.rs"]
mod args;
#[path = "../../bgjob-macros/src/attribute.rs"]
mod attribute;
#[path = "../../bgjob-macros/src/elsewhere.rs"]
mod elsewhere;
#[path = "../../bgjob-macros/src/errors.rs"]
mod errors;
#[path = "../../bgjob-macros/src/expand.rs"]
mod expand;
#[path = "../../bgjob-macros/src/input.rs"]
mod input;
#[path = "../../bgjob-macros/src/literal/mod.rs"]
mod literal;
#[path = "../../bgjob-macros/src/model.rs"]
mod model;
#[path = "../../bgjob-macros/src/nearest.rs"]
mod nearest;
#[path = "../../bgjob-macros/src/options.rs"]
mod options;
pub mod targets;
