//! Operator command line for sbcd.

fn main() {}
