//! The REST API and the page.
pub mod edit;
pub mod view;
