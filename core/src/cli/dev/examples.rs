//! The first program in each language, printed with the DSN of the running server.

/// What stands for the DSN in the files.
const PLACEHOLDER: &str = "postgresql://postgres@127.0.0.1:5432/pgque";

const EXAMPLES: [(&str, &str); 6] = [
    ("Shell", include_str!("examples/shell.txt")),
    ("Python", include_str!("examples/python.txt")),
    ("Node.js", include_str!("examples/node.txt")),
    ("Go", include_str!("examples/go.txt")),
    ("C", include_str!("examples/c.txt")),
    ("Rust", include_str!("examples/rust.txt")),
];

/// All of them, under titles.
pub fn all(dsn: &str) -> String {
    let titled = EXAMPLES.iter().map(|(title, text)| format!("--- {title}\n\n{}\n", text.replace(PLACEHOLDER, dsn)));
    titled.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_connects_to_the_running_server() {
        for (title, text) in EXAMPLES {
            assert_eq!(text.matches(PLACEHOLDER).count(), 1, "{title}");
        }
        assert!(!all("postgresql://here/pgque").contains(PLACEHOLDER));
    }
}
