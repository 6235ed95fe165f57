//! Which lane holds a stream.

use sha2::{Digest, Sha256};

/// Returns the index of the lane, of `lanes`, that holds a stream.
///
/// It is the first 8 bytes of the SHA-256, as a big-endian number, modulo the number of lanes; of the text inside the
/// first `{…}` of the id, if it is there and not empty, else of the whole id.
pub(crate) fn index(stream: &str, lanes: usize) -> usize {
    if lanes <= 1 {
        return 0;
    }
    let key = stream
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'))
        .map(|(key, _)| key)
        .filter(|key| !key.is_empty())
        .unwrap_or(stream);
    let digest = Sha256::digest(key.as_bytes());
    let number = digest.iter().take(8).fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    usize::try_from(number % lanes as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::index;

    #[test]
    fn the_text_in_braces_decides() {
        for lanes in [2, 16, 100] {
            assert_eq!(index("order-{7}", lanes), index("invoice-{7}", lanes));
            assert_eq!(index("order-{7}", lanes), index("7", lanes));
        }
    }

    #[test]
    fn lanes_are_as_published() {
        let mut rows = 0;
        let published = include_str!("../docs/hash.md").split("## The lane of a stream").nth(1).unwrap();
        for row in published.lines().filter(|line| line.starts_with("| `")) {
            let cells: Vec<&str> = row.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`')).collect();
            for (lanes, cell) in [2, 4, 16, 1000].into_iter().zip(&cells[1..]) {
                assert_eq!(index(cells[0], lanes).to_string(), **cell, "{} of {lanes}", cells[0]);
            }
            rows += 1;
        }
        assert_eq!(rows, 10);
    }

    #[test]
    fn without_text_in_braces_the_whole_id_decides() {
        assert_eq!(index("", 16), 4);
        assert_eq!(index("order-1", 1), 0);
        let lanes: std::collections::HashSet<_> = (0..64).map(|n| index(&format!("a{{}}{n}"), 16)).collect();
        assert!(lanes.len() > 8);
    }
}
