//! The background thread that makes batches.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use slimbed_files::IoContext;

use super::window::{Window, Windows};
use super::{Batch, BatchOptions};
use crate::DataError;
use crate::pack::PackReader;

/// An iterator over batches; dropping it stops its thread.
pub struct Batches {
    /// `None` once dropped, so that the thread sees a closed channel.
    receiver: Option<Receiver<Result<Batch, DataError>>>,
    thread: Option<JoinHandle<()>>,
}

impl Batches {
    pub(crate) fn start(pack: Arc<PackReader>, options: BatchOptions) -> Result<Self, DataError> {
        let (sender, receiver) = sync_channel(options.prefetch.max(1));
        let thread = thread::Builder::new()
            .name("slimbed-batches".into())
            .spawn(move || {
                if let Err(error) = feed(&pack, options, &sender) {
                    // A closed channel means that nobody waits for the error either.
                    let _ = sender.send(Err(error));
                }
            })
            .at("start a thread for", "batches".as_ref())?;
        Ok(Self {
            receiver: Some(receiver),
            thread: Some(thread),
        })
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Ok(batch) = self.receiver.as_ref()?.recv() {
            return Some(batch);
        }
        // The channel is closed: a panic of the thread must not pass for the end of the data.
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join) {
            std::panic::resume_unwind(panic);
        }
        None
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        self.receiver = None;
        if let Some(thread) = self.thread.take() {
            // The thread has no result; a panic in it has been printed already.
            let _ = thread.join();
        }
    }
}

/// Sends all batches of a pass; returns early when nobody listens any more.
fn feed(
    pack: &PackReader,
    options: BatchOptions,
    sender: &SyncSender<Result<Batch, DataError>>,
) -> Result<(), DataError> {
    let windows = Windows::new(pack, options.order);
    let size = options.batch_size.max(1);
    let mut to_skip = options.start_batch.saturating_mul(size as u64);
    let mut batch = Batch::empty(pack.schema());
    for w in 0..windows.n() {
        let n_rows = windows.n_rows(w) as u64;
        if to_skip >= n_rows {
            to_skip -= n_rows;
            continue;
        }
        let mut window = windows.read(w)?;
        window.skip(std::mem::take(&mut to_skip) as usize);
        while fill(&mut batch, &mut window, size) {
            let full = std::mem::replace(&mut batch, Batch::empty(pack.schema()));
            if sender.send(Ok(full)).is_err() {
                return Ok(());
            }
        }
    }
    if batch.n > 0 {
        // A closed channel only means that nobody wants the last batch.
        let _ = sender.send(Ok(batch));
    }
    Ok(())
}

/// Whether `batch` has become full from `window`.
fn fill(batch: &mut Batch, window: &mut Window, size: usize) -> bool {
    window.drain_into(batch, size - batch.n);
    debug_assert!(batch.n == size || window.is_empty());
    batch.n == size
}
