//! What all handles of one process have in common.

use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest as _, Sha256};

/// How many names [`Runtime::ordinal`](crate::Runtime::ordinal) remembers one by one, and how many counters all others
/// share.
const ORDINAL_NAMES: u16 = 4096;

/// What the [`Runtime`](crate::Runtime)s of one process share; clones are the same.
///
/// A world keeps one for each process for which it makes runtimes more than once.
#[derive(Clone, Default)]
pub struct ProcessState(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    ordinals: Ordinals,
    /// In the order in which they were first asked for, which is that in which they go.
    shared: Vec<(TypeId, Arc<dyn Any + Send + Sync>)>,
}

/// The counters behind [`Runtime::ordinal`](crate::Runtime::ordinal).
#[derive(Default)]
struct Ordinals {
    by_name: BTreeMap<String, u64>,
    shared: BTreeMap<u16, u64>,
}

impl ProcessState {
    pub(crate) fn ordinal(&self, name: &str) -> u64 {
        let mut state = self.lock();
        let next = state.ordinals.counter(name);
        *next += 1;
        *next - 1
    }

    pub(crate) fn shared<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        let wanted = TypeId::of::<T>();
        let mut state = self.lock();
        let known = state.shared.iter().find(|(id, _)| *id == wanted).map(|(_, value)| Arc::clone(value));
        let value = known.unwrap_or_else(|| {
            let new: Arc<dyn Any + Send + Sync> = Arc::new(T::default());
            state.shared.push((wanted, Arc::clone(&new)));
            new
        });
        value.downcast().expect("what stands under a type's id is of that type")
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ordinals {
    fn counter(&mut self, name: &str) -> &mut u64 {
        if self.by_name.contains_key(name) || self.by_name.len() < usize::from(ORDINAL_NAMES) {
            return self.by_name.entry(name.to_owned()).or_default();
        }
        let [high, low, ..] = <[u8; 32]>::from(Sha256::digest(name));
        self.shared.entry(u16::from_be_bytes([high, low]) % ORDINAL_NAMES).or_default()
    }
}

impl fmt::Debug for ProcessState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessState").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Runtime;

    #[test]
    fn ordinals_tell_components_of_one_name_apart_and_are_remembered_within_bounds() {
        let state = ProcessState::default();
        assert_eq!([(); 3].map(|()| state.ordinal("xds-channel/a")), [0, 1, 2]);
        assert_eq!(state.clone().ordinal("xds-channel/b"), 0);
        let number = |number: u32| state.ordinal(&format!("xds-channel/{number}"));
        assert!((0..4000).all(|name| number(name) == 0), "names of their own count on their own");
        assert!((4000..20_000).map(number).sum::<u64>() > 0, "those that come late share counters");
        assert_eq!(state.ordinal("xds-channel/a"), 3, "and nobody else's");
        let state = state.lock();
        let bound = usize::from(ORDINAL_NAMES);
        assert!(state.ordinals.by_name.len() <= bound && state.ordinals.shared.len() <= bound);
    }

    #[test]
    fn a_process_has_one_of_each_type_and_another_process_has_its_own() {
        let rt = crate::os::runtime();
        rt.shared::<Mutex<Vec<u8>>>().lock().unwrap().push(1);
        assert_eq!(*rt.clone().shared::<Mutex<Vec<u8>>>().lock().unwrap(), [1]);
        assert_eq!(*rt.shared::<Mutex<String>>().lock().unwrap(), "");
        let other: Runtime = crate::os::runtime();
        assert_eq!(*other.shared::<Mutex<Vec<u8>>>().lock().unwrap(), [0; 0]);
    }
}
