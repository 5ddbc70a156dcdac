//! Stands for election in ZooKeeper: joins, watches who leads, takes office, and notices when it is over.
use super::standing::{Candidacy, LATCH, Lost, Place, Sign, Tenure, first, place};
use super::{Candidate, Chance, EpochRecord, Fence, Standing};
use crate::Clock;
use crate::ensemble::{Ensemble, is_lost};
use crate::state::{StateError, record};
use std::future::Future;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use zookeeper_client::{Client, CreateMode, Error, MultiWriteError, OneshotWatcher, SessionState};

/// The pause before ZooKeeper is asked again.
const AGAIN: Duration = Duration::from_millis(300);
/// How long nothing may change before the election is looked at anyhow: the epoch has no watch.
const LOOK_AFTER: Duration = Duration::from_secs(5);
/// How long leaving may take; then the session runs out instead.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);

/// Why an attempt did not lead to office.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("ZooKeeper does not answer: {0}")]
    Zookeeper(Error),
    #[error(transparent)]
    Unreadable(#[from] StateError),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Zookeeper(error)
    }
}

/// One scheduler's part in the election.
#[derive(Debug)]
pub struct Elector {
    ensemble: Ensemble,
    session_timeout: Duration,
    me: Candidate,
    candidacy: Candidacy,
    clock: Clock,
    session: Option<Session>,
    standing: watch::Sender<Standing>,
}

#[derive(Debug)]
struct Session {
    client: Client,
    /// The name of our latch, once we have joined.
    latch: Option<String>,
}

impl Elector {
    /// An elector that has not joined yet.
    pub fn new(ensemble: Ensemble, session_timeout: Duration, me: Candidate) -> Self {
        let standing =
            watch::Sender::new(Standing { detail: "joining the election".into(), ..Standing::default() });
        let (candidacy, clock) = (Candidacy::default(), Clock::start());
        Self { ensemble, session_timeout, me, candidacy, clock, session: None, standing }
    }

    /// How the election stands, as this scheduler sees it.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// Stands for election until this scheduler leads.
    pub async fn win(&mut self) -> Leadership {
        loop {
            match self.stand().await {
                Ok(leadership) => return leadership,
                Err(error) => {
                    tracing::debug!(%error, "not elected");
                    self.say(None, error.to_string(), Chance::Away);
                }
            }
            sleep(AGAIN).await;
        }
    }

    /// Mesos gave the framework to somebody else while we led in that epoch.
    pub fn superseded(&mut self, epoch: u64) {
        self.candidacy.superseded(epoch);
    }

    /// Gives its place up, so that the next one need not wait for the session to run out.
    pub async fn resign(&mut self) {
        let Some(Session { client, latch: Some(latch) }) = self.session.take() else { return };
        let path = format!("{}/{latch}", self.dir());
        match timeout(LEAVE_WITHIN, client.delete(&path, None)).await {
            Ok(Ok(()) | Err(Error::NoNode)) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "could not leave the election; the session will run out")
            }
            Err(_) => tracing::warn!("could not leave the election in time; the session will run out"),
        }
    }

    fn say(&self, leader: Option<Candidate>, detail: String, chance: Chance) {
        let now = Standing { leader, detail, chance };
        self.standing.send_if_modified(|known| {
            let news = *known != now;
            *known = now;
            news
        });
    }

    fn dir(&self) -> String {
        format!("{}/election", self.ensemble.path)
    }

    fn epoch_path(&self) -> String {
        format!("{}/epoch", self.ensemble.path)
    }

    /// Waits for an answer, but not for ever.
    async fn answer<T, E: From<Error>>(&self, asked: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        timeout(self.session_timeout, asked).await.unwrap_or(Err(E::from(Error::Timeout)))
    }

    /// The client of the session: a new one if there is none or it is over.
    async fn connected(&mut self) -> Result<Client, Failed> {
        if let Some(session) = &self.session {
            let over = [SessionState::Expired, SessionState::Closed, SessionState::AuthFailed];
            if !over.contains(&session.client.state()) {
                return Ok(session.client.clone());
            }
        }
        self.session = None;
        let client = self.ensemble.connect(self.session_timeout).await?;
        let options = CreateMode::Persistent.with_acls(self.ensemble.acls());
        match self.answer(client.mkdir(&self.dir(), &options)).await {
            Ok(()) | Err(Error::NodeExists) => {}
            Err(error) => return Err(error.into()),
        }
        self.session = Some(Session { client: client.clone(), latch: None });
        Ok(client)
    }

    /// One attempt: joins, if it may and has not, and waits until it is the first.
    async fn stand(&mut self) -> Result<Leadership, Failed> {
        let client = self.connected().await?;
        let dir = self.dir();
        loop {
            let (newest, _) = self.read_epoch(&client).await?;
            let latch = match self.session.as_ref().and_then(|session| session.latch.clone()) {
                None if self.candidacy.may_stand(newest.epoch) => self.join(&client).await?,
                latch => latch.unwrap_or_default(),
            };
            let (members, watcher) = self.answer(client.list_and_watch_children(&dir)).await?;
            match place(&members, &latch) {
                Place::First => return self.take_office(&client, &latch).await,
                Place::Behind(leader) => self.say_who_leads(&client, &leader).await?,
                Place::Absent if latch.is_empty() => self.say_why_not_standing(&client, &members).await?,
                // The servers forgot us, or somebody removed the latch: join again.
                Place::Absent => {
                    self.forget_latch();
                    continue;
                }
            }
            self.changed(&client, watcher).await?;
        }
    }

    async fn join(&mut self, client: &Client) -> Result<String, Failed> {
        let data = record::encode("candidate", &self.me, "")?;
        let options = CreateMode::EphemeralSequential.with_acls(self.ensemble.acls());
        let prefix = format!("{}/{LATCH}", self.dir());
        // If the answer is lost it is not known whether there is a latch of ours: the session must end, and with it the latch.
        let session = self.session.take();
        let (_, number) = self.answer(client.create(&prefix, &data, &options)).await?;
        let latch = format!("{LATCH}{number}");
        self.session = session.map(|session| Session { latch: Some(latch.clone()), ..session });
        Ok(latch)
    }

    fn forget_latch(&mut self) {
        if let Some(session) = &mut self.session {
            session.latch = None;
        }
    }

    async fn say_who_leads(&self, client: &Client, leader: &str) -> Result<(), Failed> {
        let path = format!("{}/{leader}", self.dir());
        let leader = match self.answer(client.get_data(&path)).await {
            Ok((data, _)) => Some(record::decode::<Candidate>("candidate", &path, &data)?.0),
            // It went away in between: the watch fires at once.
            Err(Error::NoNode) => None,
            Err(error) => return Err(error.into()),
        };
        let detail = match &leader {
            Some(leader) => format!("{} leads; this scheduler takes over when it ends", leader.api),
            None => "the leader is changing".to_owned(),
        };
        self.say(leader, detail, Chance::Next);
        Ok(())
    }

    async fn say_why_not_standing(&self, client: &Client, members: &[String]) -> Result<(), Failed> {
        if let Some(leader) = first(members) {
            return self.say_who_leads(client, leader).await;
        }
        let detail = "a scheduler outside of this election has taken over the framework; two would fight for ever, \
             so this one stays away: stop the other one, then start this one again";
        self.say(None, detail.to_owned(), Chance::Superseded);
        Ok(())
    }

    /// Waits until the members may have changed, or the connection.
    async fn changed(&self, client: &Client, watcher: OneshotWatcher) -> Result<(), Failed> {
        let mut states = client.state_watcher();
        if states.state() != SessionState::SyncConnected {
            return Err(Error::ConnectionLoss.into());
        }
        tokio::select! {
            _ = watcher.changed() => Ok(()),
            () = sleep(LOOK_AFTER) => Ok(()),
            state = states.changed() => match state {
                SessionState::SyncConnected => Ok(()),
                SessionState::Expired | SessionState::Closed => Err(Error::SessionExpired.into()),
                _ => Err(Error::ConnectionLoss.into()),
            },
        }
    }

    async fn read_epoch(&self, client: &Client) -> Result<(EpochRecord, Option<i32>), Failed> {
        let path = self.epoch_path();
        match self.answer(client.get_data(&path)).await {
            Ok((data, stat)) => {
                Ok((record::decode::<EpochRecord>("epoch", &path, &data)?.0, Some(stat.version)))
            }
            Err(Error::NoNode) => Ok((EpochRecord::default(), None)),
            Err(error) => Err(error.into()),
        }
    }

    /// Raises the epoch, if our latch is still there.
    async fn take_office(&mut self, client: &Client, latch: &str) -> Result<Leadership, Failed> {
        let (dir, path) = (self.dir(), self.epoch_path());
        let latch = format!("{dir}/{latch}");
        loop {
            let (before, version) = self.read_epoch(client).await?;
            let epoch = before.epoch + 1;
            let next = EpochRecord { epoch, leader: self.me.clone(), since: self.clock.now() };
            let data = record::encode("epoch", &next, "")?;
            let mut writer = client.new_multi_writer();
            writer.add_check_version(&latch, 0)?;
            match version {
                Some(version) => writer.add_set_data(&path, &data, Some(version))?,
                None => {
                    let options = CreateMode::Persistent.with_acls(self.ensemble.acls());
                    writer.add_create(&path, &data, &options)?;
                }
            }
            match self.answer(writer.commit()).await {
                Ok(_) => {
                    tracing::info!(epoch, "elected: this scheduler leads");
                    self.say(Some(self.me.clone()), "this scheduler leads".to_owned(), Chance::Next);
                    // A transaction raises a version by one; a create begins at zero.
                    let version = version.map_or(0, |version| version + 1);
                    let fence = Fence { path, version, epoch, over: CancellationToken::new() };
                    return Ok(Leadership {
                        client: client.clone(),
                        latch,
                        fence,
                        tenure: Tenure::new(self.session_timeout),
                        clock: self.clock,
                    });
                }
                Err(MultiWriteError::OperationFailed {
                    index: 1,
                    source: Error::BadVersion | Error::NodeExists,
                }) => {}
                Err(error) => {
                    if matches!(error, MultiWriteError::OperationFailed { index: 0, .. }) {
                        self.forget_latch();
                    }
                    return Err(Failed::Zookeeper(error.into()));
                }
            }
        }
    }
}

/// The time in which this scheduler leads.
#[derive(Debug)]
pub struct Leadership {
    client: Client,
    latch: String,
    fence: Fence,
    tenure: Tenure,
    clock: Clock,
}

impl Leadership {
    /// What every write has to check.
    pub fn fence(&self) -> Fence {
        self.fence.clone()
    }

    /// Waits until the leadership is over.
    pub async fn lost(&mut self) -> Lost {
        let mut states = self.client.state_watcher();
        self.tenure.learn(self.clock.now(), sign(states.state()));
        let gone = latch_gone(&self.client, &self.latch);
        tokio::pin!(gone);
        loop {
            let now = self.clock.now();
            if let Some(lost) = self.tenure.look(now) {
                return lost;
            }
            let ends_in = self.tenure.ends_in(now);
            let news = tokio::select! {
                state = states.changed() => Some(sign(state)),
                () = &mut gone => Some(Sign::LatchGone),
                () = self.fence.over.cancelled() => Some(Sign::Deposed),
                () = sleep(ends_in.unwrap_or(Duration::MAX)), if ends_in.is_some() => None,
            };
            if let Some(news) = news {
                self.tenure.learn(self.clock.now(), news);
            }
        }
    }
}

fn sign(state: SessionState) -> Sign {
    match state {
        SessionState::SyncConnected => Sign::Connected,
        SessionState::Expired | SessionState::Closed | SessionState::AuthFailed => Sign::SessionOver,
        // Also a server that can only read: what is not written is not led.
        _ => Sign::Disconnected,
    }
}

/// Waits until a latch is not there any more.
async fn latch_gone(client: &Client, latch: &str) {
    loop {
        match client.check_and_watch_stat(latch).await {
            Ok((None, _)) => return,
            Ok((Some(_), watcher)) => drop(watcher.changed().await),
            Err(error) if is_lost(&error) => sleep(AGAIN).await,
            Err(error) => {
                tracing::warn!(%error, "cannot see the own place in the election");
                sleep(AGAIN).await;
            }
        }
    }
}
