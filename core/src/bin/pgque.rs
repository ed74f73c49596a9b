//! The command; everything it does is in [`pgque::cli`].

fn main() {
    std::process::exit(pgque::cli::main(std::env::args_os()));
}
