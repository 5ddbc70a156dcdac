//! Stories over the real wire, and what keeps the tree tidy.
