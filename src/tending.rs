//! One task for each thing that needs looking after, while configurations come and go.

use std::sync::Arc;

use tokio::task::JoinHandle;

/// The tasks that look after things of one kind. They end when this is dropped.
#[derive(Debug)]
pub struct Tending<T>(Vec<(Arc<T>, JoinHandle<()>)>);

impl<T> Tending<T> {
    /// From now on these are looked after: what is new begins at once, what is gone ends, and whatever stays goes on. Needs
    /// a runtime.
    pub fn follow<'a, F>(&mut self, all: impl Iterator<Item = &'a Arc<T>> + Clone, tend: impl Fn(Arc<T>) -> F)
    where
        T: 'a,
        F: Future<Output = ()> + Send + 'static,
    {
        let gone = self.0.extract_if(.., |(known, _)| !all.clone().any(|one| Arc::ptr_eq(one, known)));
        gone.for_each(|(_, task)| task.abort());
        for one in all {
            if !self.0.iter().any(|(known, _)| Arc::ptr_eq(known, one)) {
                self.0.push((Arc::clone(one), tokio::spawn(tend(Arc::clone(one)))));
            }
        }
    }

    #[cfg(test)]
    pub const fn tasks(&self) -> usize {
        self.0.len()
    }
}

impl<T> Default for Tending<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Drop for Tending<T> {
    fn drop(&mut self) {
        self.0.iter().for_each(|(_, task)| task.abort());
    }
}
