//! What a sweep trains.

use slimbed_train::MethodKind;

/// One line of the table: a name and the settings behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    /// Its name in tables and folders.
    pub name: String,
    /// `key=value` settings.
    pub pairs: Vec<String>,
    /// The variant whose search of the same seed it takes.
    pub search_of: Option<String>,
}

/// Shares of the values that pruning removes, in per cent.
const REMOVED: [u32; 3] = [80, 95, 99];

/// Fractions of the dim that small tables have.
const FRACTIONS: [usize; 3] = [2, 4, 8];

/// The comparison that reduction papers lack: plain tables, smaller uniform ones and magnitude pruning beside PEP,
/// AMTL and MLET. `dim` is that of the plain tables.
pub fn all(dim: usize) -> Vec<Variant> {
    let mut variants = vec![variant("plain", &[])];
    for fraction in FRACTIONS {
        let settings = [format!("model.dim={}", part(dim, fraction))];
        variants.push(variant(&format!("dim-{fraction}th"), &settings));
    }
    variants.extend(REMOVED.map(|percent| pruned("magnitude", percent)));
    variants.extend(pep());
    variants.push(variant("amtl", &["method.name=amtl".into()]));
    let small = ["method.name=amtl".into(), "method.keep=0.4".into()];
    variants.push(variant("amtl-40", &small));
    for fraction in FRACTIONS {
        let settings = [
            "method.name=mlet".into(),
            format!("model.dim={}", part(dim, fraction)),
            format!("mlet.inner_dim={}", 4 * dim),
        ];
        variants.push(variant(&format!("mlet-{fraction}th"), &settings));
    }
    variants
}

/// Every method and baseline at the same bytes: for each of `percents` the tables may take so many per cent of their
/// dense bytes. In front of them the plain tables, exact and with the values that are stored otherwise.
pub fn at(percents: &[f64]) -> Vec<Variant> {
    let stored = |values: &str| {
        variant(
            &format!("plain-{values}"),
            &[format!("export.values={values}")],
        )
    };
    let mut variants = vec![stored("f32"), stored("int8"), stored("int4")];
    for percent in percents {
        let reduced = MethodKind::ALL
            .iter()
            .filter(|kind| **kind != MethodKind::None);
        variants.extend(reduced.map(|kind| {
            let settings = [
                format!("method.name={}", kind.name()),
                format!("method.ratio={}", 100.0 / percent),
            ];
            variant(&format!("{}-at-{percent}", kind.name()), &settings)
        }));
    }
    variants
}

/// PEP: one search, whose masks of all shares are retrained.
fn pep() -> impl Iterator<Item = Variant> {
    let shares = REMOVED.map(|percent| keep(percent).to_string()).join(", ");
    REMOVED.into_iter().enumerate().map(move |(i, percent)| {
        let mut variant = pruned("pep", percent);
        match i {
            0 => variant.pairs.push(format!("method.also_keep=[{shares}]")),
            _ => variant.search_of = Some(format!("pep-{}", REMOVED[0])),
        }
        variant
    })
}

fn pruned(method: &str, percent: u32) -> Variant {
    let settings = [
        format!("method.name={method}"),
        format!("method.keep={}", keep(percent)),
    ];
    variant(&format!("{method}-{percent}"), &settings)
}

fn keep(percent: u32) -> f64 {
    f64::from(100 - percent) / 100.0
}

fn part(dim: usize, fraction: usize) -> usize {
    dim.div_ceil(fraction)
}

fn variant(name: &str, settings: &[String]) -> Variant {
    Variant {
        name: name.into(),
        pairs: settings.to_vec(),
        search_of: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variant_has_settings_that_exist() {
        for variant in all(10).into_iter().chain(at(&[25.0, 0.5])) {
            let pairs = variant.pairs.iter();
            let layers: Vec<_> = pairs
                .map(|pair| slimbed_train::parse_pair(pair).unwrap())
                .collect();
            slimbed_train::resolve(&layers).unwrap_or_else(|e| panic!("{}: {e}", variant.name));
        }
    }

    #[test]
    fn searches_are_those_of_variants_in_front() {
        let all = all(16);
        for (i, variant) in all.iter().enumerate() {
            if let Some(other) = &variant.search_of {
                assert!(all[..i].iter().any(|v| v.name == *other), "{other}");
            }
        }
    }
}
