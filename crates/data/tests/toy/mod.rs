//! A small data set in the form of Criteo's, for the tests of `prepare`.

use std::path::{Path, PathBuf};

use slimbed_data::{DataError, PrepareOptions, PrepareReport, Recipe, prepare};
use slimbed_rng::Seed;

/// The seed of every split.
pub const SEED: Seed = Seed::new(7);

/// Rows draw their splits.
pub const RANDOM: &str = "kind = \"random\"";

/// Consecutive parts, the test part before the validation part.
pub const FILE_ORDER: &str = "kind = \"file-order\"\norder = [\"train\", \"test\", \"validation\"]";

/// A recipe of six columns: site (hex), label, price (log1p), unused, shift (identity), age (bucket).
pub fn recipe(split: &str, min_count: u64) -> Recipe {
    let text = format!(
        r#"
name = "toy"
format = "tsv"
n_columns = 6
min_count = {min_count}
[label]
column = 2
name = "click"
[[dense]]
columns = "3"
names = "price"
transform = "log1p"
[[dense]]
columns = "5"
names = "shift"
transform = "identity"
[[fields]]
columns = "1"
names = "site"
kind = "hex"
[[fields]]
columns = "6"
names = "age"
kind = "bucket"
[split]
{split}
shares = {{ train = 2, validation = 1, test = 1 }}
"#
    );
    Recipe::parse(&text, "toy.toml".as_ref()).unwrap()
}

/// Writes files into `folder/in` and gives their paths.
pub fn write(folder: &Path, files: &[(&str, &[u8])]) -> Vec<PathBuf> {
    let folder = folder.join("in");
    std::fs::create_dir_all(&folder).unwrap();
    let paths = files.iter().map(|(name, bytes)| {
        let path = folder.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    });
    paths.collect()
}

/// Prepares `inputs` into `out`.
pub fn run(
    recipe: &Recipe,
    inputs: &[PathBuf],
    out: &Path,
    max_bad_rows: u64,
) -> Result<PrepareReport, DataError> {
    let options = PrepareOptions {
        seed: SEED,
        max_bad_rows,
    };
    prepare(recipe, inputs, out, &options, &|_| {})
}
