//! Logs in by a challenge, so that the password itself does not travel: SCRAM (RFC 5802, RFC 7677) without channel binding.
//!
//! It decides and computes; who speaks with the server hands the messages on.
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256, Sha512};

/// The most rounds that a server may ask for: each costs a microsecond or so, while everything else waits.
const ROUNDS_MAX: u32 = 200_000;
/// What is said of channel binding, in Base64: there is none.
const NO_BINDING: &str = "biws";

/// The hash functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hash {
    Sha256,
    Sha512,
}

impl Hash {
    fn of(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }

    fn keyed(self, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
        match self {
            Self::Sha256 => keyed::<Hmac<Sha256>>(key, parts),
            Self::Sha512 => keyed::<Hmac<Sha512>>(key, parts),
        }
    }

    /// PBKDF2 with one block: the password after so many rounds.
    fn salted(self, password: &[u8], salt: &[u8], rounds: u32) -> Vec<u8> {
        let mut round = self.keyed(password, &[salt, &1_u32.to_be_bytes()]);
        let mut salted = round.clone();
        for _ in 1..rounds {
            round = self.keyed(password, &[&round]);
            xor(&mut salted, &round);
        }
        salted
    }
}

fn keyed<M: Mac + sha2::digest::KeyInit>(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    // A key of any length will do.
    let Ok(mut mac) = <M as Mac>::new_from_slice(key) else { return Vec::new() };
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

fn xor(bytes: &mut [u8], with: &[u8]) {
    bytes.iter_mut().zip(with).for_each(|(byte, with)| *byte ^= with);
}

/// A login that has begun.
pub(crate) struct Scram {
    hash: Hash,
    nonce: String,
    /// The first message, without what it says of channel binding.
    first: String,
    password: String,
}

/// The answer to a challenge, and what the server must know to be the one that knows the password.
pub(crate) struct Proof {
    pub(crate) message: String,
    signature: Vec<u8>,
}

impl Scram {
    /// Begins; `nonce` is of chance and holds no comma.
    pub(crate) fn begin(hash: Hash, user: &str, password: &str, nonce: &str) -> Self {
        let user = user.replace('=', "=3D").replace(',', "=2C");
        let first = format!("n={user},r={nonce}");
        Self { hash, nonce: nonce.to_owned(), first, password: password.to_owned() }
    }

    /// The first message.
    pub(crate) fn first(&self) -> String {
        format!("n,,{}", self.first)
    }

    /// Answers the server's challenge. The reason why there is no answer is for people.
    pub(crate) fn answer(&self, challenge: &str) -> Result<Proof, String> {
        let wrong = || "the broker's challenge is not that of SCRAM".to_owned();
        let part = |name: &str| challenge.split(',').find_map(|part| part.strip_prefix(name));
        let (Some(nonce), Some(salt), Some(rounds)) = (part("r="), part("s="), part("i=")) else {
            return Err(wrong());
        };
        let salt = BASE64.decode(salt).map_err(|_| wrong())?;
        let rounds: u32 = rounds.parse().map_err(|_| wrong())?;
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err("the broker answers the login of somebody else".to_owned());
        }
        if !(1..=ROUNDS_MAX).contains(&rounds) {
            return Err(format!("the broker asks for {rounds} rounds, and 1 to {ROUNDS_MAX} are made"));
        }
        let salted = self.hash.salted(self.password.as_bytes(), &salt, rounds);
        let last = format!("c={NO_BINDING},r={nonce}");
        let all = format!("{},{challenge},{last}", self.first);
        let mut proof = self.hash.keyed(&salted, &[b"Client Key"]);
        let stored = self.hash.of(&proof);
        xor(&mut proof, &self.hash.keyed(&stored, &[all.as_bytes()]));
        let server = self.hash.keyed(&salted, &[b"Server Key"]);
        let signature = self.hash.keyed(&server, &[all.as_bytes()]);
        Ok(Proof { message: format!("{last},p={}", BASE64.encode(proof)), signature })
    }
}

impl Proof {
    /// What the server says at the end.
    #[cfg(test)]
    pub(super) fn told(&self) -> String {
        format!("v={}", BASE64.encode(&self.signature))
    }

    /// Checks that the server knows the password, too.
    pub(crate) fn check(&self, last: &str) -> Result<(), String> {
        if let Some(why) = last.strip_prefix("e=") {
            return Err(format!("the login was refused: {why}"));
        }
        let given = last.split(',').find_map(|part| part.strip_prefix("v="));
        match given.and_then(|given| BASE64.decode(given).ok()) {
            Some(given) if given == self.signature => Ok(()),
            _ => Err("the broker does not know the password".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The example of RFC 7677.
    #[test]
    fn a_login_is_that_of_the_standard() {
        let scram = Scram::begin(Hash::Sha256, "user", "pencil", "rOprNGfwEbeRWgbNEkqO");
        assert_eq!(scram.first(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let challenge =
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let proof = scram.answer(challenge).unwrap();
        assert_eq!(
            proof.message,
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        assert_eq!(proof.check("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="), Ok(()));
        assert!(proof.check("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5=").is_err());
        assert!(proof.check("e=invalid-proof").unwrap_err().contains("invalid-proof"));
    }

    #[test]
    fn a_server_that_answers_somebody_else_or_asks_for_too_much_gets_no_proof() {
        let scram = Scram::begin(Hash::Sha512, "a=b,c", "p", "mine");
        assert_eq!(scram.first(), "n,,n=a=3Db=2Cc,r=mine");
        assert!(scram.answer("r=mine+,s=AA==,i=2").is_ok());
        for wrong in [
            "r=other,s=AA==,i=2",
            "r=mine,s=AA==,i=2",
            "r=mine+,s=?,i=2",
            "r=mine+,s=AA==,i=0",
            "r=mine+,s=AA==,i=999999999",
            "r=mine+,s=AA==",
            "",
        ] {
            assert!(scram.answer(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_challenge_is_answered_or_refused(
            text in "(r=mine)?[a-z+,=0-9]{0,30}", password in "\\PC{0,80}", last in "\\PC{0,20}",
        ) {
            let scram = Scram::begin(Hash::Sha512, "u", &password, "mine");
            if let Ok(proof) = scram.answer(&text) {
                prop_assert!(proof.check(&last).is_err());
            }
        }
    }
}
