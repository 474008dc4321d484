//! Runs one operation a number of times and does nothing else, for `valgrind --tool=callgrind`.
//! `benches/instructions.sh` turns two such runs into instructions per operation.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        ["--list"] => {
            for operation in benches::operations() {
                println!("{}\t{}", operation.name, operation.stands_for);
            }
            ExitCode::SUCCESS
        }
        [name, count] => {
            let operation = benches::operations().find(|operation| operation.name == *name);
            let (Some(operation), Ok(count)) = (operation, count.parse()) else {
                return usage();
            };
            (operation.run)(count);
            ExitCode::SUCCESS
        }
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: instructions --list | <operation> <count>");
    ExitCode::from(2)
}
