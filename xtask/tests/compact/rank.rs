//! Tables cut to a lower rank.

use std::fs;

use super::{number, result, rows, world};

/// Squares of what is lost, and of all values.
fn squares(exact: &[f32], cut: &[f32]) -> (f64, f64) {
    let pairs = exact.iter().zip(cut);
    let lost = pairs.map(|(x, y)| f64::from(x - y).powi(2)).sum();
    (lost, exact.iter().map(|x| f64::from(*x).powi(2)).sum())
}

#[test]
fn a_lower_rank_is_a_smaller_file_that_scores() {
    let world = world();
    let folder = world.folder.path();
    let compact = |name: &str, more: &[&str]| {
        let arguments = ["compact", "runs/run", "--values", "f32", "--out", name];
        result(folder, &[&arguments[..], more].concat())
    };
    compact("exact.safetensors", &[]);
    let report = compact("rank.safetensors", &["--rank", "4"]);
    let bytes = |name: &str| fs::metadata(folder.join(name)).unwrap().len();
    assert!(bytes("rank.safetensors") < bytes("exact.safetensors"));
    assert_eq!(report["rank"], 4);
    let data = world.report["data_dir"].as_str().unwrap();
    let evaluated = result(folder, &["eval", "rank.safetensors", "--data", data]);
    assert_eq!(
        evaluated["metrics"]["auc"],
        report["card"]["quality"]["test"]["auc"]
    );
    let (mut n_cut, mut all_lost) = (0, 0.0);
    for (f, field) in report["fields"].as_array().unwrap().iter().enumerate() {
        let n_rows = number(&field["n_rows"]);
        let [exact, cut] =
            ["exact.safetensors", "rank.safetensors"].map(|name| rows(&folder.join(name), f));
        let is_cut = field["dim"] == 4;
        assert_eq!(is_cut, 4.0 * (n_rows + 16.0) < 16.0 * n_rows, "{field}");
        let (lost, of) = squares(&exact, &cut);
        if is_cut {
            n_cut += 1;
            // Of 16 directions the 4 largest hold a quarter of the squares at least.
            assert!(lost < 0.75 * of, "{lost} of {of}: {field}");
        } else {
            assert_eq!(lost, 0.0, "{field}");
        }
        all_lost += lost;
    }
    assert!(n_cut > 0 && all_lost > 0.0, "{n_cut} cut, {all_lost} lost");
}
