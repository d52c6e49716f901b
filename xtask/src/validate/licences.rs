//! The licences and the origin of what we link, against `deny.toml`.
//!
//! The file has the form of cargo-deny, so that tool reads it too; this check needs nothing installed.

use std::fs;
use std::path::Path;

use anyhow::Context;
use cargo_metadata::Package;
use serde::Deserialize;
use spdx::{Expression, Licensee, ParseMode};

use super::graph::Graph;

/// The part of `deny.toml` that this check reads.
#[derive(Debug, Deserialize)]
struct Deny {
    licenses: Licences,
}

#[derive(Debug, Deserialize)]
struct Licences {
    allow: Vec<String>,
    #[serde(default)]
    exceptions: Vec<Exception>,
}

/// A licence that one crate may have, and no other.
#[derive(Debug, Deserialize)]
struct Exception {
    #[serde(rename = "crate")]
    package: String,
    allow: Vec<String>,
}

/// Checks every third-party package that is built here; one sentence for each breach.
///
/// # Errors
/// When `deny.toml` or cargo's graph cannot be read.
pub fn check(root: &Path) -> anyhow::Result<Vec<String>> {
    let text = fs::read_to_string(root.join("deny.toml")).context("cannot read deny.toml")?;
    let deny: Deny = toml::from_str(&text).context("deny.toml")?;
    let graph = Graph::load(root)?;
    let mut findings = Vec::new();
    for package in graph.third_parties() {
        let (name, version) = (&package.name, &package.version);
        if let Some(reason) = deny.objection(&package.name, package.license.as_deref())? {
            findings.push(format!("{name} {version}: {reason}"));
        }
        if !comes_from_crates_io(package) {
            findings.push(format!("{name} {version}: it does not come from crates.io"));
        }
    }
    Ok(findings)
}

fn comes_from_crates_io(package: &Package) -> bool {
    let source = package.source.as_ref();
    source.is_some_and(cargo_metadata::Source::is_crates_io)
}

impl Deny {
    /// Why a package's licence is refused, if it is.
    fn objection(&self, package: &str, licence: Option<&str>) -> anyhow::Result<Option<String>> {
        let Some(licence) = licence else {
            return Ok(Some("it states no licence".to_owned()));
        };
        let expression = Expression::parse_mode(licence, ParseMode::LAX)
            .with_context(|| format!("{package}: `{licence}` is no SPDX expression"))?;
        let allowed = self.allowed_for(package)?;
        let accepted = expression.evaluate(|req| allowed.iter().any(|l| l.satisfies(req)));
        let refused = || format!("licence `{licence}` is not allowed by deny.toml");
        Ok((!accepted).then(refused))
    }

    fn allowed_for(&self, package: &str) -> anyhow::Result<Vec<Licensee>> {
        let own = self.licenses.exceptions.iter();
        let own = own.filter(|e| e.package == package).flat_map(|e| &e.allow);
        let names = self.licenses.allow.iter().chain(own);
        let parse =
            |name: &String| Licensee::parse(name).with_context(|| format!("deny.toml: `{name}`"));
        names.map(parse).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DENY: &str = r#"
        [licenses]
        allow = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"]
        exceptions = [{ crate = "special", allow = ["MPL-2.0"] }]
    "#;

    fn is_allowed(package: &str, licence: Option<&str>) -> bool {
        let deny: Deny = toml::from_str(DENY).unwrap();
        deny.objection(package, licence).unwrap().is_none()
    }

    #[test]
    fn expressions_are_evaluated_and_exceptions_bind_to_their_crate() {
        let cases = [
            ("a", Some("MIT OR GPL-3.0"), true),
            ("a", Some("MIT/Apache-2.0"), true),
            ("a", Some("Apache-2.0 WITH LLVM-exception OR GPL-2.0"), true),
            ("a", Some("MIT AND GPL-3.0-only"), false),
            ("a", Some("MPL-2.0"), false),
            ("special", Some("MPL-2.0"), true),
            ("a", None, false),
        ];
        for (package, licence, expected) in cases {
            assert_eq!(
                is_allowed(package, licence),
                expected,
                "{package} {licence:?}"
            );
        }
    }
}
