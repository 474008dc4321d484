//! Load test of sbcd.

fn main() {}
