//! Roles and labels: small sets of names fixed when a configuration is loaded.

/// The role that alone sees and signs the partner agreement.
pub const GLOBAL_ADMIN: &str = "global_admin";

/// The most names one table may hold.
pub const NAMES_MAX: usize = 64;

/// The names of one kind (roles, labels, product classes) in a fixed order; a set of them is a [`NameSet`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameTable {
    names: Vec<String>,
}

impl NameTable {
    /// The names so far.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The set that holds just this name.
    pub fn find(&self, name: &str) -> Option<NameSet> {
        self.names.iter().position(|known| known == name).map(|at| NameSet(1 << at))
    }

    /// As [`find`](NameTable::find), adding the name where it is new; `None` when the table is full.
    pub fn intern(&mut self, name: &str) -> Option<NameSet> {
        if let Some(found) = self.find(name) {
            return Some(found);
        }
        if self.names.len() == NAMES_MAX {
            return None;
        }
        self.names.push(name.to_owned());
        self.find(name)
    }

    /// The names in a set, in table order.
    pub fn of(&self, set: NameSet) -> impl Iterator<Item = &str> {
        self.names
            .iter()
            .enumerate()
            .filter(move |(at, _)| set.0 >> at & 1 == 1)
            .map(|(_, name)| name.as_str())
    }
}

/// A set of names of one [`NameTable`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NameSet(u64);

impl NameSet {
    /// No name.
    pub const EMPTY: NameSet = NameSet(0);

    /// Both sets together.
    #[must_use]
    pub const fn union(self, other: NameSet) -> NameSet {
        NameSet(self.0 | other.0)
    }

    /// Whether a name is in both.
    pub const fn meets(self, other: NameSet) -> bool {
        self.0 & other.0 != 0
    }

    /// The names in here that are not in the other.
    #[must_use]
    pub const fn without(self, other: NameSet) -> NameSet {
        NameSet(self.0 & !other.0)
    }

    /// Whether it holds none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}
