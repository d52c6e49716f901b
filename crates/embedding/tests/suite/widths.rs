//! Tables of different widths under one optimiser.

use slimbed_embedding::{
    Bags, BatchIndex, FieldSpec, IdBatch, Pooling, RowInit, RowSettings, SparseRule, TrainedRows,
};
use slimbed_rng::Seed;

use crate::cases::normals;

const WIDTHS: [usize; 3] = [3, 16, 5];
const N_ROWS: usize = 6000;

fn fields() -> Vec<FieldSpec> {
    let names = ["a", "b", "c"].into_iter();
    let field = |name: &str| FieldSpec {
        name: name.into(),
        n_rows: N_ROWS,
        pooling: Pooling::Sum,
    };
    names.map(field).collect()
}

fn settings(dim: usize) -> RowSettings {
    RowSettings {
        dim,
        init: RowInit::Normal { std: 1.0 },
        seed: Seed::new(1),
        rule: SparseRule::LAZY_ADAM,
        weight_decay: 0.01,
    }
}

fn index(ids: &[Vec<u32>]) -> BatchIndex {
    let fields = ids.iter().map(|ids| Bags { ids, offsets: None });
    let batch = IdBatch {
        n: ids[0].len(),
        fields: fields.collect(),
    };
    BatchIndex::new(&batch, &vec![Pooling::Sum; ids.len()]).unwrap()
}

#[test]
fn a_step_is_that_of_each_table_alone() {
    let fields = fields();
    let mut together = TrainedRows::with_widths(&fields, &settings(4), |f| WIDTHS[f]).unwrap();
    let alone = fields.iter().zip(WIDTHS);
    let alone = alone.map(|(field, width)| {
        TrainedRows::new(std::slice::from_ref(field), &settings(width)).unwrap()
    });
    let mut alone: Vec<_> = alone.collect();
    for step in 0..3 {
        let ids = (0..3).map(|f| {
            let mut stream = Seed::new(step).stream("test/ids", f);
            let ids = (0..4000).map(|_| stream.below(N_ROWS as u64) as u32);
            ids.collect()
        });
        let ids: Vec<Vec<u32>> = ids.collect();
        let mut gradients = Vec::new();
        for (f, (rows, ids)) in alone.iter_mut().zip(&ids).enumerate() {
            let index = index(std::slice::from_ref(ids));
            let own = normals(index.n_unique() * WIDTHS[f], step);
            rows.step(&index, &own, 0.1, 0.5).unwrap();
            gradients.extend(own);
        }
        together.step(&index(&ids), &gradients, 0.1, 0.5).unwrap();
        let short = &gradients[1..];
        assert!(together.step(&index(&ids), short, 0.1, 0.5).is_err());
    }
    together.settle();
    for (f, rows) in alone.iter_mut().enumerate() {
        rows.settle();
        assert!(
            together.tables()[f].values() == rows.tables()[0].values(),
            "{f}"
        );
    }
}

#[test]
fn rows_of_no_width_are_refused() {
    let error = TrainedRows::with_widths(&fields(), &settings(4), |f| f).unwrap_err();
    assert!(error.to_string().contains("1 or more"), "{error}");
}
