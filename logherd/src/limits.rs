//! What this process may have.
use rustix::process::{Resource, getrlimit, setrlimit};

/// Sets what can be set. To be called first of all.
pub(crate) fn set() {
    keep_pages_small();
    raise_open_files();
}

/// Lets this process have no huge pages: of the first two megabytes that each thread would get, it needs little. What is
/// huge stays so. Where the system does not know of it, more memory is resident than is used.
fn keep_pages_small() {
    rustix::thread::disable_transparent_huge_pages(true).ok();
}

/// Lets this process have as many open files as it may: each log file that is followed, each connection and each segment of a queue
/// is one, and most systems allow 1,024 until somebody asks for more. Where it cannot be, it stays as it is.
fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_files_may_be_open_as_the_system_allows() {
        raise_open_files();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}
