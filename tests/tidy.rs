//! Holds the rules of the tree: layering, names, sizes, docs.
