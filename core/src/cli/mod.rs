//! The command `pgque`.

/// Runs the command with its arguments, the program's name first, and gives the exit code.
pub fn main(_args: impl IntoIterator<Item = std::ffi::OsString>) -> i32 {
    0
}
