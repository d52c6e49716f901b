//! The manifests of the workspace, reduced to what the layer rules need.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use toml::{Table, Value};

/// The root manifest and those of its members.
pub struct Manifests {
    /// The root manifest.
    pub root: Table,
    /// The members, in the order of their folders.
    pub members: Vec<Member>,
}

/// One crate of the workspace.
pub struct Member {
    /// The package's name without `slimbed-`: what the layer rules call it.
    pub layer: String,
    /// The manifest's path, relative to the root.
    pub path: PathBuf,
    /// The whole manifest.
    pub manifest: Table,
    /// All its dependencies, of every kind and target.
    pub dependencies: Vec<Dependency>,
}

/// One line of a dependency table.
pub struct Dependency {
    /// The package's name, also where the line renames it.
    pub package: String,
    /// Which code sees it.
    pub kind: Kind,
    /// What the line says.
    pub value: Value,
}

/// Which code sees a dependency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The library and its build script.
    Library,
    /// Tests, benches and examples.
    Tests,
}

/// The name that the layer rules use for a package.
pub fn layer_name(package: &str) -> &str {
    package.strip_prefix("slimbed-").unwrap_or(package)
}

impl Manifests {
    /// Reads the manifests below `root`.
    ///
    /// # Errors
    /// When a manifest is missing, is not TOML or has no name.
    pub fn read(root: &Path) -> anyhow::Result<Self> {
        let table = read_table(&root.join("Cargo.toml"))?;
        let folders = member_folders(root, &table)?;
        let members = folders
            .iter()
            .map(|folder| read_member(root, folder, &table));
        Ok(Self {
            members: members.collect::<Result<_, _>>()?,
            root: table,
        })
    }
}

fn read_member(root: &Path, folder: &Path, root_table: &Table) -> anyhow::Result<Member> {
    let path = folder.join("Cargo.toml");
    let manifest = read_table(&root.join(&path))?;
    let name = manifest.get("package").and_then(|p| p.get("name"));
    let Some(package) = name.and_then(Value::as_str) else {
        bail!("{}: the package has no name", path.display());
    };
    Ok(Member {
        layer: layer_name(package).to_owned(),
        dependencies: dependencies(&manifest, root_table),
        path,
        manifest,
    })
}

fn read_table(path: &Path) -> anyhow::Result<Table> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    text.parse()
        .with_context(|| format!("{} is not TOML", path.display()))
}

/// The members' folders relative to the root; `crates/*` stands for every folder with a manifest.
fn member_folders(root: &Path, table: &Table) -> anyhow::Result<Vec<PathBuf>> {
    let members = table.get("workspace").and_then(|w| w.get("members"));
    let members = members.and_then(Value::as_array).context("no members")?;
    let mut folders = Vec::new();
    for member in members.iter().filter_map(Value::as_str) {
        let Some(parent) = member.strip_suffix("/*") else {
            folders.push(PathBuf::from(member));
            continue;
        };
        for entry in fs::read_dir(root.join(parent))? {
            let folder = Path::new(parent).join(entry?.file_name());
            if root.join(&folder).join("Cargo.toml").is_file() {
                folders.push(folder);
            }
        }
    }
    folders.sort();
    Ok(folders)
}

fn dependencies(manifest: &Table, root: &Table) -> Vec<Dependency> {
    let per_target = manifest.get("target").and_then(Value::as_table);
    let per_target = per_target.into_iter().flat_map(|t| t.values());
    let tables = per_target.filter_map(Value::as_table).chain([manifest]);
    let sections = [
        ("dependencies", Kind::Library),
        ("build-dependencies", Kind::Library),
        ("dev-dependencies", Kind::Tests),
    ];
    let mut found = Vec::new();
    for table in tables {
        for (section, kind) in sections {
            let lines = table.get(section).and_then(Value::as_table);
            for (key, value) in lines.into_iter().flatten() {
                found.push(Dependency {
                    package: package_name(key, value, root),
                    kind,
                    value: value.clone(),
                });
            }
        }
    }
    found
}

/// The package behind a key: a `package = "…"` beside it or in the root manifest renames it.
fn package_name(key: &str, value: &Value, root: &Table) -> String {
    let in_root = root
        .get("workspace")
        .and_then(|w| w.get("dependencies"))
        .and_then(|d| d.get(key));
    let renamed = [Some(value), in_root]
        .into_iter()
        .flatten()
        .find_map(|v| v.get("package").and_then(Value::as_str));
    renamed.unwrap_or(key).to_owned()
}
