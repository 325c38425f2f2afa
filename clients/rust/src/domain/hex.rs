//! Hexadecimal text of bytes: two digits per byte.

/// Returns the bytes in lower-case hex digits.
pub fn encode(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

/// Returns the bytes of hex digits in either case, or `None` if the text has another character or an odd length.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    decode_bytes(text)?.collect()
}

/// Returns the first `N` bytes of hex digits in either case, zeros after the last one, or `None` if the text has another
/// character anywhere or an odd length.
pub fn decode_first<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut first = [0; N];
    for (at, byte) in decode_bytes(text)?.enumerate() {
        let byte = byte?;
        if let Some(place) = first.get_mut(at) {
            *place = byte;
        }
    }
    Some(first)
}

/// Returns the bytes of hex digits, `None` for each that is none, or `None` if the text has an odd length.
fn decode_bytes(text: &str) -> Option<impl Iterator<Item = Option<u8>>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let decode_pair = move |[high, low]: &[u8; 2]| Some(digit(*high)? << 4 | digit(*low)?);
    rest.is_empty().then(|| pairs.iter().map(decode_pair))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_round_trip() {
        assert_eq!(encode(&[0, 0x1f, 0xff]), "001fff");
        assert_eq!(decode("001FfF"), Some(vec![0, 0x1f, 0xff]));
        for text in ["0", "0g", "+1", "ü"] {
            assert_eq!(decode(text), None, "{text}");
        }
        assert_eq!(decode(""), Some(Vec::new()));
        assert_eq!(decode_first("001FfF"), Some([0, 0x1f]));
        assert_eq!(decode_first("1f"), Some([0x1f, 0]));
        for text in ["001", "1fffx0", "1fü"] {
            assert_eq!(decode_first::<2>(text), None, "{text}");
        }
    }
}
