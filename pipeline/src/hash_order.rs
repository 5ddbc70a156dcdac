//! Puts entries into the order in which a hash map of Java gives them out. Hashes of a configuration are such maps in
//! Logstash: which of two fields is renamed first is decided by it, and not by what is written first.

/// How many places a map of Java has at first.
const PLACES: usize = 16;

/// Sorts entries by their names as a map that they were put into one by one gives them out.
pub(crate) fn sort<T>(entries: &mut [T], name: impl Fn(&T) -> &str) {
    sort_in(PLACES, entries, name);
}

/// Sorts them as a map does that has so many places at first, a power of two.
pub(crate) fn sort_in<T>(mut places: usize, entries: &mut [T], name: impl Fn(&T) -> &str) {
    while entries.len() > places * 3 / 4 {
        places *= 2;
    }
    // Those that share a place stay in their order.
    entries.sort_by_key(|entry| place(name(entry), places));
}

fn place(name: &str, places: usize) -> usize {
    let hash = name.encode_utf16().fold(0_u32, |hash, unit| hash.wrapping_mul(31).wrapping_add(unit.into()));
    (hash ^ (hash >> 16)) as usize & (places - 1)
}

#[cfg(test)]
mod tests {
    #[test]
    fn entries_stand_where_a_map_of_java_has_them() {
        let mut few = ["second", "c", "epsilon"];
        super::sort(&mut few, |name| name);
        assert_eq!(few, ["epsilon", "c", "second"]);
        let mut greek = ["delta", "field2", "new_field"];
        super::sort(&mut greek, |name| name);
        assert_eq!(greek, ["new_field", "delta", "field2"]);
    }
}
