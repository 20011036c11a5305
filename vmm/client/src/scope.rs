//! What calls of a request leave for later calls of it: kept until the request ends, however it ends.

use std::{
    any::{Any, TypeId},
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

type Kept = Arc<dyn Any + Send + Sync>;

/// What one request keeps: one value of each type at most. Until there is one it costs nothing.
#[derive(Default)]
pub struct Scope(Mutex<Vec<(TypeId, Kept)>>);

impl Scope {
    /// The request's value of a type, made when it is asked for first. Futures of calls may hold it: they end with the request, too.
    pub fn keep<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = TypeId::of::<T>();
        let kept = all.iter().find(|(id, _)| *id == wanted);
        let kept = kept.and_then(|(_, kept)| Arc::clone(kept).downcast().ok());
        kept.unwrap_or_else(|| {
            let made = Arc::new(T::default());
            all.push((wanted, Arc::clone(&made) as Kept));
            made
        })
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

    use super::*;

    #[test]
    fn a_value_is_made_once_and_ends_with_its_request() {
        let scope = Scope::default();
        scope.keep::<AtomicU32>().store(7, SeqCst);
        assert_eq!(scope.keep::<AtomicU32>().load(SeqCst), 7);
        assert_eq!(*scope.keep::<String>(), "");
        let kept = Arc::downgrade(&scope.keep::<AtomicU32>());
        assert!(kept.upgrade().is_some());
        drop(scope);
        assert!(kept.upgrade().is_none());
    }
}
