//! Parses the command line and calls the command it names.
fn main() {}
