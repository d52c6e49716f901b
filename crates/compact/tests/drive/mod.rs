//! Opens a file that may be hostile, and looks up whatever opens.

use std::fs;
use std::path::Path;

use memmap2::MmapMut;
use slimbed_compact::{
    Artefact, ArtefactError, Bags, Isa, LookupError, Output, Scratch, Table, naive,
};

/// Bytes without memory that stand behind a file that fills its last page.
const GAP: usize = 1 << 16;

/// Values of all vectors of a lookup, about.
const MOST_VALUES: usize = 1 << 15;

/// Memory that a lookup must leave alone.
const SENTINEL: f32 = 1234.5;

const PAGE: usize = 4096;

/// What the widest words of a tensor are aligned to.
const WORD: usize = 8;

/// Writes `file` to `path`, opens it and reads everything there is, in every way there is.
///
/// Linux puts a map right below the one before. So a map that is made first and given back as soon as the
/// file is open leaves a gap behind the file, and a read beyond the end of a file that fills its last page
/// ends the process.
///
/// # Errors
/// When the file does not open: all other errors are findings.
pub fn survive(path: &Path, file: &[u8]) -> Result<(), ArtefactError> {
    put(path, &with_full_pages(file));
    let gap = MmapMut::map_anon(GAP).expect("some memory");
    let artefact = Artefact::open(path)?;
    drop(gap);
    let tables = artefact.tables().expect("tables have been checked");
    for table in &tables {
        look_up(table).expect("ids are below the number of rows");
    }
    describe(&artefact);
    Ok(())
}

/// Writes a new file: some file systems wait for the disk when an old one is emptied and filled again.
pub fn put(path: &Path, file: &[u8]) {
    let _ = fs::remove_file(path);
    fs::write(path, file).expect("room for a file");
}

/// The file with more spaces behind its header, so that it ends with a page if its words stay aligned.
fn with_full_pages(file: &[u8]) -> Vec<u8> {
    let spaces = file.len().next_multiple_of(PAGE) - file.len();
    let length = file
        .first_chunk()
        .map_or(u64::MAX, |n| u64::from_le_bytes(*n));
    let start = usize::try_from(length).ok().and_then(|n| n.checked_add(8));
    let start = start.filter(|&start| start <= file.len() && spaces.is_multiple_of(WORD));
    let Some(start) = start else {
        return file.to_vec();
    };
    let mut full = (length + spaces as u64).to_le_bytes().to_vec();
    full.extend(&file[8..start]);
    full.resize(start + spaces, b' ');
    full.extend(&file[start..]);
    full
}

/// What is said of an artefact.
fn describe(artefact: &Artefact) {
    let fields = &artefact.manifest().fields;
    let bytes = (0..fields.len()).map(|f| artefact.field_bytes(f));
    assert!(bytes.max().unwrap_or(0) <= artefact.n_bytes());
    let tensors = artefact.tensors().iter().map(|t| t.n_bytes).sum::<u64>();
    assert!(tensors <= artefact.n_bytes());
    for part in fields.iter().flat_map(|field| &field.parts) {
        assert!(part.bound().bytes() >= 0.0 && !part.encoding().name().is_empty());
    }
    assert!(
        fields
            .iter()
            .all(|field| field.dense_bytes() / 4 >= field.n_rows)
    );
    for name in artefact.dense_names() {
        let (shape, values) = artefact.dense(&name).expect("weights have been checked");
        assert_eq!(shape.iter().product::<usize>(), values.len());
    }
    // Damaged values are damage all the same.
    let _ = artefact.verify();
}

fn look_up(table: &Table<'_>) -> Result<(), LookupError> {
    let ids = some_ids(table);
    // Whatever the index says, and whether there is such an id.
    ids.iter()
        .chain(&[u32::MAX])
        .for_each(|&id| table.prefetch(id));
    let offsets = some_offsets(ids.len() as u32);
    let weights: Vec<f32> = (0..ids.len()).map(|i| i as f32 - 2.0).collect();
    let several = Bags {
        weights: Some(&weights),
        ..Bags::new(&ids, &offsets)
    };
    for bags in [Bags::single(&ids), several] {
        pool(table, &bags)?;
    }
    Ok(())
}

fn pool(table: &Table<'_>, bags: &Bags<'_>) -> Result<(), LookupError> {
    let stride = table.dim() + 1;
    let mut memory = vec![SENTINEL; bags.n() * stride + 1];
    let mut scratch = Scratch::default();
    for isa in Isa::available() {
        let table = table.clone().with_isa(isa);
        table.lookup(bags, output(&mut memory, stride), &mut scratch)?;
    }
    naive::lookup(table, bags, output(&mut memory, stride), &mut scratch)?;
    let between = memory.iter().step_by(stride);
    assert!(
        between.into_iter().all(|&x| x == SENTINEL),
        "a write outside"
    );
    Ok(())
}

/// Vectors with a value of somebody else's before and behind each.
fn output(values: &mut [f32], stride: usize) -> Output<'_> {
    Output {
        values,
        start: 1,
        stride,
    }
}

/// All ids of a small table; of others the first, the last and some between.
fn some_ids(table: &Table<'_>) -> Vec<u32> {
    let most = (MOST_VALUES / table.dim()).clamp(6, 400) as u64;
    if table.n_rows() <= most {
        return (0..table.n_rows() as u32).collect();
    }
    let third = most / 3;
    let step = table.n_rows() / third;
    let first = (0..third).map(|i| [i, i * step, table.n_rows() - 1 - i]);
    first.flatten().map(|id| id as u32).collect()
}

/// Bags of 0, 1, 2, 3, 0, … ids.
fn some_offsets(n_ids: u32) -> Vec<u32> {
    let mut offsets = vec![0];
    let mut end = 0;
    for length in (0..4).cycle() {
        if end == n_ids {
            break;
        }
        end = (end + length).min(n_ids);
        offsets.push(end);
    }
    offsets
}
