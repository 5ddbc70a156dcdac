//! Story: a person edits a configuration in the page, in a real browser.
