//! Embeds the engine's SQL files, in the order of their names, and the steps between its versions.

use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    let root = env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    let folder = Path::new(&root).join("sql");
    let engine: Vec<String> = sql_files(&folder)
        .iter()
        .map(|path| format!("({:?}, include_str!({:?})),", name(path), path.display().to_string()))
        .collect();
    let migrations: Vec<String> = sql_files(&folder.join("migrations"))
        .iter()
        .map(|path| {
            let name = name(path);
            let version: i64 = name[..4].parse().expect("a migration's name begins with its version, 0002_what.sql");
            format!("({version}, {name:?}, include_str!({:?})),", path.display().to_string())
        })
        .collect();
    let code = format!(
        "const ENGINE: &[(&str, &str)] = &[{}];\nconst MIGRATIONS: &[(i64, &str, &str)] = &[{}];",
        engine.join("\n"),
        migrations.join("\n")
    );
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    fs::write(Path::new(&out).join("engine.rs"), code).expect("OUT_DIR is writable");
}

fn sql_files(folder: &Path) -> Vec<PathBuf> {
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("the folder is part of the crate")
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "sql"))
        .collect();
    files.sort();
    files
}

fn name(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}
