//! Lets everything go well, until all is as it should be.
use super::super::mesos::{MACHINES, Standing};
use super::super::{Fate, Size, Step, Write};
use super::World;
use std::time::Duration;

/// How long everything may take to be right once nothing more goes wrong: three of the longest pauses.
const SETTLED_WITHIN: Duration = Duration::from_secs(30 * 60);

impl World {
    /// Nothing more goes wrong: agents that can come back do, and everything works.
    pub(in crate::core::model) fn settle(&mut self) -> Result<(), String> {
        let (began, invalid) = (self.now, self.mesos.invalid);
        self.mesos.spoilt.clear();
        for machine in 0..MACHINES {
            if self.mesos.agents[machine].standing != Standing::Gone {
                self.perform(Step::Agent(machine, Fate::Back))?;
            }
        }
        loop {
            self.perform(Step::Connect)?;
            self.perform(Step::List)?;
            for machine in 0..MACHINES {
                self.note(|_| format!("the agent of machine {machine} is offered if nobody refused it"));
                self.mesos.offer(machine, Size::Enough, Some(self.now));
            }
            self.exchange()?;
            for n in 0..self.mesos.tasks.len() {
                self.perform(Step::Progress(n))?;
                self.perform(Step::Resend(n))?;
                self.perform(Step::Attach(n))?;
            }
            self.mesos.lingering.clear();
            self.exchange()?;
            // Each role is tried on each agent once, and by a single launch later.
            let launched = self.mesos.invalid - invalid;
            self.must(launched <= 2 * MACHINES + 4, || format!("{launched} launches were all invalid"))?;
            let wrong = match self.settled() {
                Ok(()) => return Ok(()),
                Err(wrong) => wrong,
            };
            let since = self.now.since(began);
            // Where the process has ended nothing can change any more.
            if self.over || since > SETTLED_WITHIN {
                self.note(|_| format!("nothing went wrong for {since:?}"));
                return self.must(false, || wrong).map_err(|law| match &self.transcript {
                    Some(told) => format!("{}\n  broken: {law}", told.join("\n")),
                    None => law,
                });
            }
            self.perform(Step::Pass(if since.as_secs() < 60 { 1 } else { 5 }))?;
        }
    }

    /// Everything on its way arrives.
    fn exchange(&mut self) -> Result<(), String> {
        for _ in 0..1000 {
            if self.over {
                return Ok(());
            }
            let on_their_way = self.to_master.len() + self.to_store.len() + self.to_operator.len();
            if self.mesos.to_scheduler.is_empty() && on_their_way == 0 {
                return Ok(());
            }
            self.perform(Step::Deliver)?;
            self.perform(Step::Receive)?;
            self.perform(Step::GiveUp)?;
            self.perform(Step::Store(Write::Works))?;
        }
        Err("calls and answers follow each other without end".into())
    }
}
