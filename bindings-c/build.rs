//! Names the shared library after its ABI, so that programs find the one they were linked with.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/lib.rs");
    let source = std::fs::read_to_string("src/lib.rs").expect("src/lib.rs is part of the crate");
    let after = source.split("PGQUE_ABI_VERSION: u32 = ").nth(1).and_then(|rest| rest.split(';').next());
    let abi = after.expect("src/lib.rs says the ABI");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libpgque.so.{abi}");
    }
}
