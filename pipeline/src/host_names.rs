//! Looks up the names of hosts by their addresses: a few at a time, because each look-up holds up a thread for as long as name
//! servers do not answer, and what was found, or not, is remembered for a while.
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};

/// How long a name is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many are looked up at once.
const AT_ONCE: usize = 8;
/// How long a name is remembered, and that there is none.
const KNOWN_FOR: Duration = Duration::from_secs(300);
const UNKNOWN_FOR: Duration = Duration::from_secs(60);
/// How many addresses are remembered.
const KNOWN_MAX: usize = 10_000;

/// What asks the system for a name.
type Ask = fn(IpAddr) -> Option<String>;

struct HostNames {
    room: Arc<Semaphore>,
    known: Mutex<HashMap<IpAddr, (Option<String>, Instant)>>,
    ask: Ask,
    patience: Duration,
}

static OF_PROCESS: LazyLock<Arc<HostNames>> =
    LazyLock::new(|| Arc::new(HostNames::new(|ip| dns_lookup::lookup_addr(&ip).ok())));

/// The name of a host; `None` when it has none, or none was found in time.
pub(crate) async fn name_of(ip: IpAddr) -> Option<String> {
    OF_PROCESS.clone().name_of(ip).await
}

impl HostNames {
    fn new(ask: Ask) -> Self {
        Self { room: Arc::new(Semaphore::new(AT_ONCE)), known: Mutex::default(), ask, patience: PATIENCE }
    }

    async fn name_of(self: Arc<Self>, ip: IpAddr) -> Option<String> {
        if let Some(known) = self.recall(ip) {
            return known;
        }
        let names = self.clone();
        let look_up = async move {
            let place = names.room.clone().acquire_owned().await.ok()?;
            // Whoever waited before may have asked for the same.
            if let Some(known) = names.recall(ip) {
                return known;
            }
            // It goes on when nobody waits for it any more, and keeps its place until then.
            let asked = spawn_blocking(move || {
                let _place = place;
                let name = (names.ask)(ip);
                names.remember(ip, name.clone());
                name
            });
            asked.await.ok().flatten()
        };
        match timeout(self.patience, look_up).await {
            Ok(name) => name,
            Err(_) => {
                self.remember(ip, None);
                None
            }
        }
    }

    fn recall(&self, ip: IpAddr) -> Option<Option<String>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&ip).filter(|(_, until)| Instant::now() < *until).map(|(name, _)| name.clone())
    }

    fn remember(&self, ip: IpAddr, name: Option<String>) {
        let now = Instant::now();
        let until = now + if name.is_some() { KNOWN_FOR } else { UNKNOWN_FOR };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            known.retain(|_, (_, until)| now < *until);
        }
        if known.len() < KNOWN_MAX || known.contains_key(&ip) {
            known.insert(ip, (name, until));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Condvar;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn address(n: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, n])
    }

    #[tokio::test]
    async fn a_name_is_asked_for_once() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        let names = Arc::new(HostNames::new(|ip| {
            ASKED.fetch_add(1, Ordering::SeqCst);
            (ip == address(1)).then(|| "one".to_owned())
        }));
        for _ in 0..3 {
            assert_eq!(names.clone().name_of(address(1)).await.as_deref(), Some("one"));
            assert_eq!(names.clone().name_of(address(2)).await, None);
        }
        assert_eq!(ASKED.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn name_servers_that_do_not_answer_hold_up_only_a_few_threads() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        static ANSWERS: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());
        let ask: Ask = |_| {
            ASKED.fetch_add(1, Ordering::SeqCst);
            drop(ANSWERS.1.wait_while(ANSWERS.0.lock().unwrap(), |answers| !*answers));
            Some("late".to_owned())
        };
        let names = Arc::new(HostNames { patience: Duration::from_millis(20), ..HostNames::new(ask) });
        let all = (0..50).map(|n| names.clone().name_of(address(n)));
        let found = futures_util::future::join_all(all).await;
        assert!(found.iter().all(Option::is_none));
        assert_eq!(ASKED.load(Ordering::SeqCst), AT_ONCE);
        *ANSWERS.0.lock().unwrap() = true;
        ANSWERS.1.notify_all();
        let _all_places = names.room.acquire_many(AT_ONCE as u32).await.unwrap();
        assert_eq!(names.recall(address(0)), Some(Some("late".to_owned())));
    }
}
