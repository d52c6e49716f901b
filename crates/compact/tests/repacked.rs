//! Tables that share rows or are projected, stored anew.
#![expect(clippy::unwrap_used, reason = "a test may stop at an error")]

mod forms;

use std::path::Path;

use forms::every_form;
use serde_json::json;
use slimbed_compact::{
    Artefact, DenseTensor, Encoder, FieldTable, Packed, Prefer, Pruned, Pruning, Sharing,
    StoredTables, TableSource, Values, pack, packed_bytes, write,
};

const DENSE: DenseTensor<'_> = DenseTensor {
    name: "top.0.weight",
    shape: &[1, 3],
    values: &[0.5, -2.0, 8.0],
};

/// Those of the forms that share rows or are projected.
fn shared_forms() -> Vec<FieldTable<'static>> {
    let is_shared =
        |form: &FieldTable<'_>| form.sharing != Sharing::None || form.projection.is_some();
    every_form().into_iter().filter(is_shared).collect()
}

fn repack(source: &dyn TableSource, values: Values, path: &Path) -> Packed {
    let encoder = Encoder {
        values,
        prefer: Prefer::Speed,
    };
    let encoders = vec![encoder; source.fields().len()];
    let (model, training) = (json!({"kind": "dlrm"}), json!({"seed": 1}));
    let foreseen = packed_bytes(
        path,
        source,
        &encoders,
        &[DENSE],
        model.clone(),
        training.clone(),
    );
    let packed = pack(path, source, &encoders, &[DENSE], model, training).unwrap();
    assert_eq!(foreseen.unwrap(), std::fs::metadata(path).unwrap().len());
    packed
}

fn all_rows(tables: &StoredTables) -> Vec<Vec<f32>> {
    let fields = 0..tables.fields().len();
    fields.map(|f| tables.rows(f).unwrap()).collect()
}

#[test]
fn shared_and_projected_tables_are_stored_anew() {
    let dir = tempfile::tempdir().unwrap();
    let [first, second] = ["first", "second"].map(|name| dir.path().join(name));
    write(&first, &shared_forms(), &[], json!({}), json!({})).unwrap();
    let tables = StoredTables::open(&first).unwrap();
    assert_eq!(tables.fields().len(), 7);
    let before = all_rows(&tables);
    for values in [Values::F32, Values::F16, Values::Int8, Values::Int4] {
        let packed = repack(&tables, values, &second);
        let artefact = Artefact::open(&second).unwrap();
        artefact.verify().unwrap();
        for ((entry, form), choices) in artefact
            .manifest()
            .fields
            .iter()
            .zip(shared_forms())
            .zip(&packed.choices)
        {
            assert_eq!((entry.sharing, entry.n_rows), (form.sharing, form.n_rows));
            assert_eq!(entry.projected, form.projection.is_some());
            assert_eq!(
                (entry.parts.len(), choices.len()),
                (form.parts.len(), form.parts.len())
            );
        }
        let after = all_rows(&StoredTables::open(&second).unwrap());
        if values == Values::F32 {
            assert_eq!(after, before);
        }
        for (after, before) in after.iter().zip(&before) {
            let largest = before.iter().fold(0.0f32, |m, x| m.max(x.abs()));
            let errors = after.iter().zip(before).map(|(a, b)| (a - b).abs());
            assert!(errors.fold(0.0, f32::max) <= 0.4 * largest, "{values:?}");
        }
    }
}

#[test]
fn parts_are_pruned_together() {
    let dir = tempfile::tempdir().unwrap();
    let [first, second] = ["first", "second"].map(|name| dir.path().join(name));
    write(&first, &shared_forms(), &[], json!({}), json!({})).unwrap();
    let tables = StoredTables::open(&first).unwrap();
    let shapes = tables.fields().iter().flat_map(|field| &field.parts);
    let n: usize = shapes.map(|part| part.n_rows * part.dim).sum();
    let pruned = Pruned::new(&tables, Pruning::ShareOfAll(0.75)).unwrap();
    let packed = repack(&pruned, Values::F32, &second);
    let parts = packed.manifest.fields.iter().flat_map(|field| &field.parts);
    let kept: u64 = parts.map(|part| part.n_kept).sum();
    assert_eq!(kept, (n as f64 * 0.25).floor() as u64);
}

#[test]
fn files_say_the_first_version_that_knows_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    for form in shared_forms() {
        let expected = if form.sharing == Sharing::Cutoff {
            2
        } else {
            1
        };
        let manifest = write(&path, &[form], &[], json!({}), json!({})).unwrap();
        assert_eq!(manifest.format_version, expected);
        Artefact::open(&path).unwrap();
    }
    let forms = shared_forms().into_iter();
    let mut cut = forms.filter(|form| form.sharing == Sharing::Cutoff);
    let mut too_many = cut.next().unwrap();
    too_many.n_rows = 8;
    let error = write(&path, &[too_many], &[], json!({}), json!({})).unwrap_err();
    assert!(
        error.to_string().contains("expected 1 to 8 rows"),
        "{error}"
    );
}
