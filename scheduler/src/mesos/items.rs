//! Reads long answers item by item: decoded as a whole, what the master says of one agent takes twelve kilobytes, and
//! there may be ten thousand of them.
use bytes::{Buf, Bytes};
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use prost::{DecodeError, Message};

/// Why an answer cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Garbled {
    /// It is no protobuf, or an item has the wrong type.
    #[error(transparent)]
    Wrong(#[from] DecodeError),
    /// A field claims to be longer than what it is in.
    #[error("field {0} ends after its message")]
    Short(u32),
}

/// Hands each submessage, text and bytes of a message over, with the number of its field, in order.
fn fields(
    mut message: Bytes,
    mut take: impl FnMut(u32, Bytes) -> Result<(), Garbled>,
) -> Result<(), Garbled> {
    while message.has_remaining() {
        let (field, kind) = decode_key(&mut message)?;
        if kind != WireType::LengthDelimited {
            skip_field(kind, field, &mut message, DecodeContext::default())?;
            continue;
        }
        let length = usize::try_from(decode_varint(&mut message)?).ok();
        let length = length.filter(|length| *length <= message.len()).ok_or(Garbled::Short(field))?;
        take(field, message.split_to(length))?;
    }
    Ok(())
}

/// The submessages at the end of a path of field numbers, each decoded only when it is handed over, by the number of their
/// field in the message that the path leads to.
pub(super) fn each(
    message: Bytes,
    path: &[u32],
    take: &mut dyn FnMut(u32, Bytes) -> Result<(), Garbled>,
) -> Result<(), Garbled> {
    match path.split_first() {
        None => fields(message, take),
        Some((first, rest)) => {
            fields(message, |field, inner| if field == *first { each(inner, rest, take) } else { Ok(()) })
        }
    }
}

/// Decodes one item.
pub(super) fn item<M: Message + Default>(encoded: Bytes) -> Result<M, Garbled> {
    Ok(M::decode(encoded)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proto::mesos::v1::master::{Response, response};

    fn answer(agents: usize, recovered: usize) -> Response {
        let agent = |n: usize| response::get_agents::Agent {
            version: format!("1.{n}.0"),
            ..response::get_agents::Agent::default()
        };
        let recovered = vec![proto::mesos::v1::AgentInfo::default(); recovered];
        let listed =
            response::GetAgents { agents: (0..agents).map(agent).collect(), recovered_agents: recovered };
        Response { r#type: Some(3), get_agents: Some(listed), ..Response::default() }
    }

    proptest! {
        #[test]
        fn items_come_one_by_one_as_they_would_all_together(agents in 0..20usize, recovered in 0..5usize) {
            let whole = answer(agents, recovered);
            let (mut seen, mut others) = (Vec::<response::get_agents::Agent>::new(), 0);
            each(whole.encode_to_vec().into(), &[10], &mut |field, encoded| {
                if field == 1 { seen.push(item(encoded)?) } else { others += 1 }
                Ok(())
            }).unwrap();
            prop_assert_eq!(seen, whole.get_agents.unwrap().agents);
            prop_assert_eq!(others, recovered);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0..400usize) {
            let mut broken = answer(3, 1).encode_to_vec();
            broken.truncate(cut);
            for bytes in [bytes, broken] {
                let mut read = |_, encoded| item::<response::get_agents::Agent>(encoded).map(drop);
                each(bytes.into(), &[10], &mut read).ok();
            }
        }
    }
}
