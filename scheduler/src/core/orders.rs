//! Carries out what people order: each order has one answer, given once what has to outlive the scheduler is stored.
use super::Core;
use super::effects::{Effect, OrderId};
use crate::ids::Moment;
use web::order::{Order, OrderDone, OrderRefused};

impl Core {
    /// A person gave an order. The answer is an [`Effect::Answer`], now or later.
    pub fn ordered(&mut self, now: Moment, id: OrderId, order: Order) {
        match order {
            Order::Resume => {
                let result = self.launch_what_waits(now);
                self.answer_order(id, result);
            }
        }
    }

    /// Gives an order its answer.
    pub(super) fn answer_order(&mut self, id: OrderId, result: Result<OrderDone, OrderRefused>) {
        self.out.push(Effect::Answer(id, result));
    }

    /// Ends the pauses that follow failed launches.
    fn launch_what_waits(&mut self, now: Moment) -> Result<OrderDone, OrderRefused> {
        let waited = self.nodes.end_backoffs(now);
        if waited == 0 {
            let text = "nothing waits for its next launch, so there is nothing to resume";
            return Err(OrderRefused::NotNow(text.to_owned()));
        }
        let text = format!("{waited} waiting launches may begin now, as was ordered");
        self.decide(now, None, text.clone());
        self.revive_soon(now);
        Ok(OrderDone::Done(text))
    }
}
