//! Decides what is taken of one role's offers and in which form: on reservations of ours, with new ones, or without.
//!
//! A reservation of ours has a label with the framework's name. With `reserve` on, a launch either uses exactly what such
//! reservations hold, together with what an operator reserved for the role, or gives them up and reserves anew. With it
//! off, they are given up.
use super::cluster::Offer;
use super::denials::Converting;
use super::resources::{Form, Needs, Piece, Portion, Reservation, Reserved, Shortage, Taken, take};

/// On whose resources executors run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// The roles, the preferred one first.
    pub roles: Vec<String>,
    /// The framework's name: the label of its reservations.
    pub framework: String,
    /// The framework's principal.
    pub principal: Option<String>,
    /// Whether what executors use is reserved.
    pub reserve: bool,
}

impl Claim {
    /// Whether a piece is reserved for this framework.
    pub(super) fn is_ours(&self, piece: &Piece) -> bool {
        matches!(&piece.reserved, Reserved::Labelled(framework) if *framework == self.framework)
    }

    /// Whether a piece is reserved for another framework of this kind in the same role.
    pub(super) fn is_of_others(&self, piece: &Piece) -> bool {
        matches!(piece.reserved, Reserved::Labelled(_)) && !self.is_ours(piece)
    }

    /// Of several roles' offers of one agent, the one that covers the needs with most of it reserved; or everything that
    /// is missing.
    /// Where making and giving up reservations is denied for a role, what it offers is used as it is.
    pub(super) fn choose(
        &self,
        offered: &[(String, Vec<Offer>)],
        needs: &Needs,
        denied: impl Fn(&str) -> bool,
    ) -> Result<Choice, Shortage> {
        let mut best: Option<(_, Choice)> = None;
        let mut missing = Vec::new();
        for (role, offers) in offered {
            let pieces: Vec<Piece> = offers.iter().flat_map(|offer| offer.pieces.clone()).collect();
            match self.plan(role, pieces, needs) {
                Ok(planned) => {
                    let (taken, converting) = match planned.converts() {
                        false => (planned, Converting::Nothing),
                        true if denied(role) => (planned.as_offered(), Converting::Without(role.clone())),
                        true => (planned, Converting::For(role.clone())),
                    };
                    let preferred = self.roles.iter().position(|known| known == role);
                    let rank = (rank(&taken), preferred.unwrap_or(usize::MAX));
                    if best.as_ref().is_none_or(|(of_best, _)| rank < *of_best) {
                        best = Some((rank, Choice { role: role.clone(), taken, converting }));
                    }
                }
                Err(Shortage(why)) if self.roles.len() > 1 => missing.push(format!("role {role}: {why}")),
                Err(Shortage(why)) => missing.push(why),
            }
        }
        best.map(|(_, choice)| choice).ok_or_else(|| Shortage(missing.join("; ")))
    }

    /// What is taken of the pieces of one role.
    fn plan(&self, role: &str, pieces: Vec<Piece>, needs: &Needs) -> Result<Taken, Shortage> {
        let usable: Vec<Piece> = pieces.into_iter().filter(|piece| !self.is_of_others(piece)).collect();
        let reserve = self.reserve && role != "*";
        if reserve {
            let set_aside = |piece: &&Piece| self.is_ours(piece) || piece.reserved == Reserved::Role;
            let set_aside: Vec<Piece> = usable.iter().filter(set_aside).cloned().collect();
            if let Ok(taken) = take(&set_aside, needs)
                && self.uses_all_that_is_ours(&taken, &set_aside)
            {
                return Ok(taken);
            }
        }
        let mut taken = take(&usable, needs)?;
        for portion in taken.executor.iter_mut().chain(&mut taken.task) {
            portion.form = match (reserve, &portion.piece.reserved) {
                (_, Reserved::Role) | (false, Reserved::Above | Reserved::No) => Form::AsOffered,
                (true, _) => Form::Reserved,
                (false, Reserved::Labelled(_)) => Form::Unreserved,
            };
        }
        taken.unreserve = usable.into_iter().filter(|piece| self.is_ours(piece)).collect();
        let principal = self.principal.clone();
        let framework = self.framework.clone();
        taken.reservation = reserve.then(|| Reservation { role: role.to_owned(), principal, framework });
        Ok(taken)
    }

    fn uses_all_that_is_ours(&self, taken: &Taken, pieces: &[Piece]) -> bool {
        let used: u64 = taken.portions().filter(|p| self.is_ours(&p.piece)).map(|p| p.amount.0).sum();
        let all: u64 = pieces.iter().filter(|piece| self.is_ours(piece)).map(|piece| piece.amount.0).sum();
        used == all
    }
}

/// The offers that are used.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Choice {
    /// Those of this role.
    pub(super) role: String,
    /// What is taken of them.
    pub(super) taken: Taken,
    /// What that does about reservations.
    pub(super) converting: Converting,
}

/// How little of it was set aside for us, and how loosely: the smaller the better.
fn rank(taken: &Taken) -> (usize, usize, usize) {
    let count = |of: fn(&Portion) -> bool| taken.portions().filter(|portion| of(portion)).count();
    (
        count(|portion| portion.piece.reserved == Reserved::No),
        count(|portion| portion.piece.reserved == Reserved::Above),
        count(|portion| portion.piece.reserved == Reserved::Role),
    )
}

#[cfg(test)]
mod tests;
