//! Any text as a connection string, a service file, a password file: it is understood or refused, and no password shows.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pgque::{Kind, Settings, fuzzing};

const PASSWORD: &str = "Xyzzy-password";

fuzz_target!(|text: &str| {
    check(text);
    if !text.contains(PASSWORD) {
        // Whatever follows: what stands here is a password, or part of one.
        for start in ["postgresql://u:", "host=h password=", "host=h password='", "postgresql://h/d?password="] {
            let shown = check(&format!("{start}{PASSWORD}{text}"));
            assert!(!shown.contains(PASSWORD), "{shown}");
        }
        for file in [format!("[s]\npassword={PASSWORD}{text}"), format!("[s]\nhost=h\n{text}\npassword={PASSWORD}")] {
            let shown = fuzzing::service_file(&file, "s").map_or_else(|e| format!("{e} {e:?}"), |s| format!("{s:?}"));
            assert!(!shown.contains(PASSWORD), "{shown}");
        }
    }
    if let Err(error) = fuzzing::service_file(text, "s") {
        assert_eq!(error.kind(), Kind::Configuration);
    }
    fuzzing::password_file(text, "h", 5432, "d", "u");
    // The first line fits whatever is behind it, so that the password's own part is read as well.
    fuzzing::password_file(&format!("*:*:*:*:{text}"), "h", 5432, "d", "u");
});

/// All that is shown of a connection string.
fn check(dsn: &str) -> String {
    match Settings::parse_alone(dsn) {
        Ok(settings) => format!("{settings:?}"),
        Err(error) => {
            assert_eq!(error.kind(), Kind::Configuration);
            format!("{error} {error:?}")
        }
    }
}
