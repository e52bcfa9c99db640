//! What most steps leave as it is.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Deref;
use std::rc::Rc;

/// A part of a world: the worlds that have the same share it, and it is hashed
/// once, since that and copying it is most of what an exploration costs.
#[derive(Clone, Debug)]
pub(super) struct Kept<T> {
    value: Rc<T>,
    hash: u64,
}

impl<T: Clone + Hash> Kept<T> {
    pub(super) fn new(value: T) -> Self {
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        Self {
            value: Rc::new(value),
            hash: hasher.finish(),
        }
    }

    /// A copy that may be changed.
    pub(super) fn own(&self) -> T {
        T::clone(&self.value)
    }

    pub(super) fn change<R>(&mut self, change: impl FnOnce(&mut T) -> R) -> R {
        let mut value = self.own();
        let answer = change(&mut value);
        *self = Self::new(value);
        answer
    }
}

impl<T> Deref for Kept<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: PartialEq> PartialEq for Kept<T> {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.value, &other.value)
            || (self.hash == other.hash && self.value == other.value)
    }
}

impl<T: Eq> Eq for Kept<T> {}

impl<T> Hash for Kept<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}
