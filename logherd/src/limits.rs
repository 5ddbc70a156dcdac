//! What this process may have.
use rustix::process::{Resource, getrlimit, setrlimit};

/// Lets this process have as many open files as it may: each log file that is followed, each connection and each segment of a queue
/// is one, and most systems allow 1,024 until somebody asks for more. Where it cannot be, it stays as it is.
pub(crate) fn raise_open_files() {
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
