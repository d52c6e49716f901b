//! Cargo's resolved graph of packages, third parties included.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::Path;

use anyhow::Context;
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, NodeDep, Package, PackageId};

/// The packages that are built on this platform, and who depends on whom.
pub struct Graph {
    metadata: Metadata,
    edges: HashMap<PackageId, Vec<NodeDep>>,
}

impl Graph {
    /// Asks `cargo metadata`.
    ///
    /// Other platforms are left out: their packages need not be on this machine.
    ///
    /// # Errors
    /// When cargo or rustc cannot be run, or the workspace does not resolve.
    pub fn load(root: &Path) -> anyhow::Result<Self> {
        let platform = host_platform()?;
        let metadata = MetadataCommand::new()
            .manifest_path(root.join("Cargo.toml"))
            .other_options(["--filter-platform".to_owned(), platform])
            .exec()
            .context("cargo metadata failed")?;
        let resolve = metadata.resolve.clone().context("cargo resolved nothing")?;
        let edges = resolve.nodes.into_iter().map(|n| (n.id, n.deps)).collect();
        Ok(Self { metadata, edges })
    }

    /// The packages that are not ours.
    pub fn third_parties(&self) -> impl Iterator<Item = &Package> {
        let packages = self.metadata.packages.iter();
        packages.filter(|p| p.source.is_some() && self.edges.contains_key(&p.id))
    }

    /// The shortest chain of packages from `from` to one whose name `is_target` accepts.
    ///
    /// Test dependencies count for `from` itself only: cargo does not build those of others.
    pub fn path_to(&self, from: &str, is_target: impl Fn(&str) -> bool) -> Option<Vec<String>> {
        let start = self.metadata.packages.iter().find(|p| p.name == from)?;
        let mut queue = VecDeque::from([vec![&start.id]]);
        let mut seen = HashSet::from([&start.id]);
        while let Some(path) = queue.pop_front() {
            let last = path[path.len() - 1];
            if is_target(&self.metadata[last].name) {
                return Some(
                    path.iter()
                        .map(|id| self.metadata[*id].name.to_string())
                        .collect(),
                );
            }
            let followed = |edge: &&NodeDep| path.len() == 1 || !is_for_tests(edge);
            for edge in self.edges.get(last)?.iter().filter(followed) {
                if seen.insert(&edge.pkg) {
                    queue.push_back([path.as_slice(), &[&edge.pkg]].concat());
                }
            }
        }
        None
    }
}

fn is_for_tests(edge: &NodeDep) -> bool {
    let mut kinds = edge.dep_kinds.iter();
    kinds.all(|info| info.kind == DependencyKind::Development)
}

fn host_platform() -> anyhow::Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = std::process::Command::new(rustc).arg("-vV").output();
    let output = output.context("cannot start rustc")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc names no host")
}
