//! What goes over the connections between schedulers and the master: bytes, in order within each, late, or never.
use crate::faults::Fault;
use crate::world::{Event, Run, World, note};
use local::Fault as Wrong;
use local::deterministic::{Answer, Master, MasterDid};
use prost::Message;
use proto::mesos::v1::scheduler::{Event as Said, event::Type};
use proto::recordio;
use scheduler::deterministic::{Over, Scheduler};
use std::collections::BTreeMap;
use std::time::Duration;

/// A subscription's stream and the connection for its calls.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) run: Run,
    /// Which master it leads to.
    generation: u64,
    stream: Option<u64>,
    stream_id: Option<String>,
    pub(crate) client_open: bool,
    server_open: bool,
    /// Nothing arrives any more, and nobody is told.
    pub(crate) silent: bool,
    /// When the last bytes of the stream arrive: later ones come after them.
    down_at: Duration,
}

/// To the master.
#[derive(Debug)]
pub(crate) enum Up {
    Subscribe(Vec<u8>),
    Call(Vec<u8>),
}

/// To a scheduler.
#[derive(Debug)]
pub(crate) enum Down {
    /// The answer to SUBSCRIBE.
    Opened,
    /// Some bytes of the stream; with the event that they complete.
    Bytes(Vec<u8>, Option<Box<Said>>),
    /// The stream ends after what was sent.
    Ended,
    /// The answer to a call: whether it was taken.
    Answered(Result<(), String>),
}

/// Who called the master.
pub(crate) enum Caller {
    Nobody,
    Scheduler(u64, bool),
    Lister(Run),
}

impl World {
    pub(crate) fn on_subscribe(&mut self, run: Run) {
        if !self.may_subscribe(run) {
            return;
        }
        let (id, now) = (self.id(), self.now);
        let Some(office) = self.office(run) else { return };
        office.connection = Some(id);
        office.heard_at = now;
        let bytes = office.scheduler.subscribe();
        self.check_subscribe(run, &bytes);
        let silent = self.master.away_until > now;
        let connection = Connection {
            run,
            generation: self.master.generation,
            stream: None,
            stream_id: None,
            client_open: true,
            server_open: true,
            silent,
            down_at: now,
        };
        self.connections.insert(id, connection);
        if self.master.core.is_none() {
            let at = now + self.delay();
            return self.queue.add(at, Event::ClientSees(id, "connection refused"));
        }
        let at = now + self.delay();
        self.queue.add(at, Event::AtMaster(id, Up::Subscribe(bytes)));
    }

    /// Sends the next call of a scheduler, if the one before was answered.
    pub(crate) fn pump_calls(&mut self, run: Run) {
        let Some(office) = self.office(run) else { return };
        let Some(connection) = office.connection.filter(|_| !office.call_under_way) else { return };
        let Some(call) = office.calls.pop_front() else { return };
        office.call_under_way = true;
        let at = self.now + self.delay();
        self.queue.add(at, Event::AtMaster(connection, Up::Call(call)));
    }

    pub(crate) fn at_master(&mut self, id: u64, up: Up) {
        let generation = self.master.generation;
        let Some(connection) = self.connections.get(&id) else { return };
        if connection.generation != generation || connection.silent || !connection.server_open {
            return;
        }
        let (subscribes, body) = match up {
            Up::Subscribe(body) => (true, body),
            Up::Call(body) => (false, body),
        };
        if !subscribes && self.strikes(Fault::LostCall, 0.03) {
            note!(self, "a call of connection {id} comes to nothing");
            return self.answer(id, Ok(()));
        }
        let stream_id = if subscribes { None } else { self.connections[&id].stream_id.clone() };
        self.master_step(Caller::Scheduler(id, subscribes), |master, now| {
            master.called(&body, stream_id.as_deref(), now)
        });
    }

    /// Lets the master do something and carries out what it decides.
    pub(crate) fn master_step(
        &mut self,
        caller: Caller,
        what: impl FnOnce(&mut Master, Duration) -> Vec<MasterDid>,
    ) {
        let now = self.now;
        let Some(master) = &mut self.master.core else { return };
        let done = what(master, now);
        let wake = master.next_wake();
        self.master.registry = master.registry();
        for did in done {
            match did {
                MasterDid::Answered(answer) => self.master_answers(&caller, answer),
                MasterDid::Sent(stream, event) => self.send_event(stream, event),
                MasterDid::Closed(stream) | MasterDid::Broke(stream) => {
                    if let Some(id) = self.master.streams.remove(&stream) {
                        self.send_down(id, Down::Ended);
                        if let Some(connection) = self.connections.get_mut(&id) {
                            connection.server_open = false;
                        }
                    }
                }
                MasterDid::Told(link, message) => self.tell_agent(link, message),
                MasterDid::Unlinked(link) => self.cut_link(link),
            }
        }
        if wake < self.master.wake || self.master.wake <= now {
            self.master.wake = wake.max(now + Duration::from_millis(1));
            self.queue.add(self.master.wake, Event::MasterWake(self.master.generation));
        }
    }

    fn master_answers(&mut self, caller: &Caller, answer: Answer) {
        match (caller, answer) {
            (Caller::Scheduler(id, _), Answer::Stream { stream, id: stream_id }) => {
                self.master.streams.insert(stream, *id);
                if let Some(connection) = self.connections.get_mut(id) {
                    (connection.stream, connection.stream_id) = (Some(stream), stream_id);
                }
                if self.strikes(Fault::LostResponse, 0.1) {
                    note!(self, "the answer to SUBSCRIBE of connection {id} is lost");
                    return self.break_connection(*id);
                }
                self.send_down(*id, Down::Opened);
            }
            (Caller::Scheduler(id, true), Answer::Refused(status, text)) => {
                note!(self, "SUBSCRIBE of connection {id} is refused: {status} {text}");
                let at = self.now + self.delay();
                self.queue.add(at, Event::ClientSees(*id, "SUBSCRIBE was refused"));
            }
            (Caller::Scheduler(id, false), answer) => {
                let result = match answer {
                    Answer::Refused(status, text) => Err(format!("{status} {text}")),
                    _ => Ok(()),
                };
                self.check_answer(*id, &result);
                if self.strikes(Fault::LostResponse, 0.02) {
                    note!(self, "the answer to a call of connection {id} is lost");
                    return self.break_connection(*id);
                }
                self.answer(*id, result);
            }
            (Caller::Lister(run), Answer::Response(bytes)) => {
                let at = self.now + self.delay();
                self.queue.add(at, Event::Listed(*run, bytes));
            }
            (Caller::Nobody | Caller::Lister(_) | Caller::Scheduler(..), _) => {}
        }
    }

    /// Answers a call, on a connection of its own: before or after what the stream carries.
    fn answer(&mut self, id: u64, result: Result<(), String>) {
        let at = self.now + self.delay();
        self.queue.add(at, Event::AtScheduler(id, Down::Answered(result)));
    }

    fn send_event(&mut self, stream: u64, event: Box<Said>) {
        self.note_what_mesos_says(&event);
        let Some(id) = self.master.streams.get(&stream).copied() else { return };
        let may_be_lost = matches!(event.r#type(), Type::Failure | Type::Message);
        if may_be_lost && self.strikes(Fault::LostEvents, 0.5) {
            return note!(self, "an event for connection {id} is lost: {:?}", event.r#type());
        }
        if self.strikes(Fault::UnknownEvents, 0.1) {
            let strange = Said { r#type: Some(99), ..Said::default() };
            self.send_record(id, &strange.encode_to_vec(), None);
        }
        let bytes = event.encode_to_vec();
        self.send_record(id, &bytes, Some(event));
    }

    /// Sends a record in pieces of any size.
    fn send_record(&mut self, id: u64, record: &[u8], event: Option<Box<Said>>) {
        let framed = recordio::encode(record);
        let mut rest: &[u8] = &framed;
        while self.chance.hits(0.2) && rest.len() > 1 {
            let (piece, after) = rest.split_at(self.chance.number(1..rest.len()));
            self.send_down(id, Down::Bytes(piece.to_vec(), None));
            rest = after;
        }
        self.send_down(id, Down::Bytes(rest.to_vec(), event));
    }

    fn send_down(&mut self, id: u64, down: Down) {
        let at = self.now + self.delay();
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.down_at = connection.down_at.max(at);
        self.queue.add(connection.down_at, Event::AtScheduler(id, down));
    }

    pub(crate) fn at_scheduler(&mut self, id: u64, down: Down) {
        let now = self.now;
        let Some(connection) = self.connections.get(&id) else { return };
        if connection.silent || !connection.client_open {
            return;
        }
        let run = connection.run;
        let Some(office) = self.office(run).filter(|office| office.connection == Some(id)) else { return };
        match down {
            Down::Opened => office.scheduler.opened(),
            Down::Bytes(bytes, event) => {
                office.heard_at = now;
                let moment = office.moment(now);
                if let Some(event) = event {
                    office.ledger.heard(&event);
                    self.note_event(run, &event);
                }
                return self.hand_over(run, |scheduler| scheduler.received(moment, &bytes));
            }
            Down::Ended => return self.client_sees(id, "the master ended the subscription"),
            Down::Answered(Ok(())) => office.call_under_way = false,
            // The stream may say why, and soon.
            Down::Answered(Err(why)) => {
                note!(self, "a call of s{} was refused: {why}", run.0);
                let at = now + self.chance.millis(1..1000);
                return self.queue.add(at, Event::ClientSees(id, "a call was refused"));
            }
        }
        self.after(run);
    }

    fn hand_over(&mut self, run: Run, what: impl FnOnce(&mut Scheduler) -> Option<Over>) {
        let Some(office) = self.office(run) else { return };
        let over = what(&mut office.scheduler);
        let (connection, subscribed) = (office.connection, office.scheduler.is_subscribed());
        if subscribed {
            self.is_subscribed(run);
        }
        let Some(over) = over else { return self.after(run) };
        note!(self, "the subscription of s{} is over: {over:?}", run.0);
        if let Some(connection) = connection {
            self.close_from_client(connection);
        }
        match over {
            Over::Removed => self.wait_to_register(run),
            Over::Superseded => self.on_superseded(run),
            Over::Refused(_) => self.no_subscription(run, true),
            Over::Garbled(why) => self.broken(format!("a master's stream is called garbled: {why}")),
        }
    }

    /// A scheduler finds its connection over.
    pub(crate) fn client_sees(&mut self, id: u64, why: &str) {
        let now = self.now;
        let Some(connection) = self.connections.get(&id).filter(|c| c.client_open) else { return };
        let run = connection.run;
        self.close_from_client(id);
        let Some(office) = self.office(run).filter(|office| office.connection == Some(id)) else { return };
        let moment = office.moment(now);
        office.scheduler.disconnected(moment);
        note!(self, "s{} loses connection {id}: {why}", run.0);
        self.no_subscription(run, false);
    }

    /// A scheduler closes its side. The master notices soon, or late when nothing gets through.
    pub(crate) fn close_from_client(&mut self, id: u64) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.client_open = false;
        let silent = connection.silent;
        let after = if silent { self.chance.seconds(1..900) } else { self.delay() };
        self.queue.add(self.now + after, Event::ServerSees(id));
    }

    pub(crate) fn server_sees(&mut self, id: u64) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let (open, of_this_master) =
            (connection.server_open, connection.generation == self.master.generation);
        connection.server_open = false;
        let stream = connection.stream;
        if !connection.client_open {
            self.connections.remove(&id);
        }
        if let Some(stream) = stream.filter(|_| open && of_this_master) {
            self.master.streams.remove(&stream);
            self.master_step(Caller::Nobody, |master, now| master.disconnected(stream, now));
        }
    }

    /// A connection breaks: both sides notice, each in its own time, and what was on its way is lost.
    pub(crate) fn break_connection(&mut self, id: u64) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.silent = true;
        let (client, server) = (self.now + self.delay(), self.now + self.delay());
        self.queue.add(client, Event::ClientSees(id, "connection reset"));
        self.queue.add(server, Event::ServerSees(id));
    }

    /// The master dies with all that it knows but the registry.
    pub(crate) fn kill_master(&mut self) {
        if self.master.core.take().is_none() {
            return;
        }
        note!(self, "the master dies");
        self.master.streams = BTreeMap::new();
        let open: Vec<u64> =
            self.connections.iter().filter(|(_, c)| c.client_open).map(|(id, _)| *id).collect();
        for id in open {
            let at = self.now + self.delay();
            self.queue.add(at, Event::ClientSees(id, "the master is gone"));
        }
        self.cut_all_links();
        let at = self.now + self.chance.millis(500..30_000);
        self.queue.add(at, Event::MasterUp);
    }

    pub(crate) fn on_master_up(&mut self) {
        if self.master.core.is_some() {
            return;
        }
        self.master.generation += 1;
        let generation = self.master.generation;
        let (registry, seed) = (self.master.registry.clone(), self.chance.seed());
        let master = Master::elected(&format!("m{generation}"), &self.timings, registry, seed, self.now);
        self.master.core = Some(master);
        self.master.wake = self.now;
        note!(self, "master m{generation} leads");
        self.fail_master();
        self.master_step(Caller::Nobody, |master, now| master.tick(now));
    }

    pub(crate) fn on_master_wake(&mut self, generation: u64) {
        if generation == self.master.generation {
            self.master_step(Caller::Nobody, |master, now| master.tick(now));
        }
    }

    pub(crate) fn list_at_master(&mut self, run: Run, generation: u64) {
        if generation == self.master.generation {
            for body in Scheduler::questions() {
                self.master_step(Caller::Lister(run), |master, now| master.operated(&body, now));
            }
        }
    }

    pub(crate) fn hold_heartbeats(&mut self, hold: bool) {
        self.master.holds_heartbeats = hold;
        self.fail_master();
    }

    /// Has the master do wrong what it does wrong now.
    pub(crate) fn fail_master(&mut self) {
        let (held, denied) = (self.master.holds_heartbeats, self.master.denies);
        note!(self, "heartbeats held: {held}, reservations denied: {denied}");
        let wrong = [(held, Wrong::HeldHeartbeats), (denied, Wrong::DeniedReservations)];
        let wrong: Vec<Wrong> = wrong.into_iter().filter(|(is, _)| *is).map(|(_, fault)| fault).collect();
        self.master_step(Caller::Nobody, |master, now| master.set_faults(&wrong, now));
    }
}
