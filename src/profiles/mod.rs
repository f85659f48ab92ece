//! Backends as data: paths, operations, header placement, strip list, sensitive operations.

/// A row of the profile's operation table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OperationId(pub u16);
