//! Keeps the pages of memory small.

/// Lets this process have no huge pages: of the first two megabytes that each thread would get, it needs little. To be called
/// first of all, because what is huge stays so. Where the system does not know of it, more memory is resident than is used.
pub(crate) fn keep_small() {
    rustix::thread::disable_transparent_huge_pages(true).ok();
}
