//! What the command line says.

use std::path::PathBuf;

use clap::Parser;

/// Hashes every file of a directory tree, one background job a file.
///
/// Each job reads its file and records size, lines, SHA-256 and type. The jobs are kept in a
/// database, so the program can be stopped at any moment: Ctrl-C lets end what runs (a second one
/// hurries), even `kill -9` loses nothing. Run the same command again and it goes on where it was;
/// a file that is recorded is not hashed again. To hash everything afresh, delete the database.
#[derive(Debug, Parser)]
#[command(name = "quickstart", after_help = NOTES)]
pub struct Args {
    /// The tree [default: the repository of bgjob, without its top-level `.git` and `target`]
    pub dir: Option<PathBuf>,

    /// Write every result to this file, a JSON object a line
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Where the jobs are kept: `sqlite:PATH`, or `memory:` to forget them at the end
    #[arg(long, value_name = "URL", default_value = "sqlite:quickstart.db")]
    pub store: String,

    /// Files read at a time [default: twice the cores, at least 10]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub workers: Option<u16>,
}

const NOTES: &str = "\
What is hashed:
  Every regular file under DIR, hidden ones too. Links are not followed; what is no regular file
  is passed over, and so are the database and the output file themselves.

The output:
  {\"path\":…,\"size\":…,\"lines\":…,\"sha256\":…,\"kind\":…,\"micros\":…}
  `path` begins with DIR as it was given. `lines` counts line feeds, as `wc -l` does. A name that
  is not UTF-8 is shown with U+FFFD in `path`; then `path_hex` has its exact bytes.

Exit code:
  0  every file is hashed
  1  some could not be read: they were tried three times and are listed
  2  wrong arguments, or the store failed
  3  interrupted: there is more to do";
