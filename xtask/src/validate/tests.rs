//! The rules hold for this workspace, and fail for a copy with an edge against the design.

use std::fs;
use std::path::Path;

use super::manifests::Manifests;
use super::{file_access, layers, licences, tidy, workspace_root};

/// A copy of the manifests, with an empty library for each, so that cargo can resolve it.
fn copy_of_the_manifests() -> tempfile::TempDir {
    let (copy, root) = (tempfile::tempdir().unwrap(), workspace_root());
    for name in ["Cargo.toml", "Cargo.lock"] {
        fs::copy(root.join(name), copy.path().join(name)).unwrap();
    }
    for member in Manifests::read(&root).unwrap().members {
        let manifest = copy.path().join(&member.path);
        let folder = manifest.parent().unwrap();
        fs::create_dir_all(folder.join("src")).unwrap();
        fs::write(folder.join("src/lib.rs"), "").unwrap();
        for bench in member
            .manifest
            .get("bench")
            .and_then(|b| b.as_array())
            .into_iter()
            .flatten()
        {
            let name = bench["name"].as_str().unwrap();
            fs::create_dir_all(folder.join("benches")).unwrap();
            fs::write(folder.join(format!("benches/{name}.rs")), "").unwrap();
        }
        fs::copy(root.join(&member.path), manifest).unwrap();
    }
    copy
}

fn edit(root: &Path, path: &str, from: &str, to: &str) {
    let text = fs::read_to_string(root.join(path)).unwrap();
    assert!(text.contains(from), "{path} has no {from:?}");
    fs::write(root.join(path), text.replacen(from, to, 1)).unwrap();
}

/// Adds `line` to a table of a manifest and expects one finding that contains all of `expected`.
fn breach(path: &str, table: &str, line: &str, expected: &[&str]) {
    let copy = copy_of_the_manifests();
    let manifest = copy.path().join(path);
    let text = fs::read_to_string(&manifest).unwrap();
    if text.contains(table) {
        edit(copy.path(), path, table, &format!("{table}\n{line}"));
    } else {
        fs::write(&manifest, format!("{text}\n{table}\n{line}\n")).unwrap();
    }
    let findings = layers::check(copy.path()).unwrap();
    let [finding] = findings.as_slice() else {
        panic!("one finding expected: {findings:#?}");
    };
    for part in expected {
        assert!(finding.contains(part), "{finding:?} lacks {part:?}");
    }
}

fn assert_clean(findings: &[String]) {
    assert!(findings.is_empty(), "{findings:#?}");
}

#[test]
fn this_workspace_keeps_the_layers() {
    let root = workspace_root();
    assert_clean(&layers::check(&root).unwrap());
    assert_clean(&file_access::check(&root).unwrap());
}

#[test]
fn this_workspace_is_tidy() {
    assert_clean(&tidy::check(&workspace_root()).unwrap());
}

#[test]
fn this_workspace_links_allowed_licences_only() {
    assert_clean(&licences::check(&workspace_root()).unwrap());
}

#[test]
fn an_untouched_copy_passes() {
    assert_clean(&layers::check(copy_of_the_manifests().path()).unwrap());
}

#[test]
fn an_edge_upwards_is_named_with_its_rule() {
    breach(
        "crates/data/Cargo.toml",
        "[dependencies]",
        "slimbed-train.workspace = true",
        &[
            "crates/data/Cargo.toml",
            "edge data -> train",
            "`data` may use files, rng",
        ],
    );
}

#[test]
fn a_model_that_reads_data_is_refused() {
    breach(
        "crates/dlrm/Cargo.toml",
        "[dependencies]",
        "slimbed-data.workspace = true",
        &["edge dlrm -> data", "`dlrm` may use fused"],
    );
}

#[test]
fn tests_and_build_scripts_are_held_to_the_rules() {
    breach(
        "crates/dlrm/Cargo.toml",
        "[dev-dependencies]",
        "slimbed-train.workspace = true",
        &["edge dlrm -> train", "the tests of `dlrm` may use"],
    );
    breach(
        "crates/rng/Cargo.toml",
        "[target.'cfg(unix)'.build-dependencies]",
        "slimbed-files.workspace = true",
        &["edge rng -> files", "no crate of the workspace"],
    );
}

#[test]
fn candle_is_refused_where_nobody_needs_it() {
    breach(
        "crates/data/Cargo.toml",
        "[dependencies]",
        "candle-core.workspace = true",
        &[
            "`data` must stay free of candle",
            "slimbed-data -> candle-core",
        ],
    );
}

#[test]
fn candle_is_found_behind_another_crate() {
    let copy = copy_of_the_manifests();
    edit(
        copy.path(),
        "crates/files/Cargo.toml",
        "[dependencies]",
        "[dependencies]\ncandle-core.workspace = true",
    );
    let findings = layers::check(copy.path()).unwrap().join("\n");
    assert!(
        findings.contains("slimbed-compact -> slimbed-files -> candle-core"),
        "{findings}"
    );
}

#[test]
fn versions_stand_in_the_root_only() {
    breach(
        "crates/eval/Cargo.toml",
        "[dependencies]",
        "half = \"2.7.1\"",
        &["crates/eval/Cargo.toml", "half.workspace = true"],
    );
}

#[test]
fn candle_stays_pinned_and_lints_inherited() {
    let copy = copy_of_the_manifests();
    edit(
        copy.path(),
        "Cargo.toml",
        "candle-core = \"=0.11.1\"",
        "candle-core = \"0.11.1\"",
    );
    edit(
        copy.path(),
        "crates/rng/Cargo.toml",
        "[lints]\nworkspace = true",
        "",
    );
    let findings = layers::check(copy.path()).unwrap();
    assert_eq!(findings.len(), 2, "{findings:#?}");
    assert!(findings[0].contains("`candle-core` must be pinned"));
    assert!(findings[1].contains("crates/rng/Cargo.toml: [lints]"));
}

#[test]
fn a_crate_without_a_layer_is_sent_to_the_table() {
    let copy = copy_of_the_manifests();
    let folder = copy.path().join("crates/novelty");
    fs::create_dir_all(folder.join("src")).unwrap();
    let manifest = "[package]\nname = \"slimbed-novelty\"\nedition.workspace = true\n\
        rust-version.workspace = true\n[lints]\nworkspace = true\n";
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    let findings = layers::check(copy.path()).unwrap();
    assert_eq!(findings.len(), 1, "{findings:#?}");
    assert!(findings[0].contains("`novelty` has no layer: add a line to LAYERS in xtask/src"));
}

#[test]
fn a_math_crate_that_opens_files_is_found() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["dlrm", "data"] {
        let folder = dir.path().join("crates").join(name).join("src");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("lib.rs"), "//! x\nuse std::fs;\n").unwrap();
    }
    let findings = file_access::check(dir.path()).unwrap();
    assert_eq!(findings.len(), 1, "{findings:#?}");
    assert!(findings[0].starts_with("crates/dlrm/src/lib.rs:2: `std::fs`"));
}
