//! Header blocks by hand: what is found in them, and that the table stays the framework's. What it refuses to know: frames.

use super::*;

const PATH: BlockContents = BlockContents {
    pseudo: true,
    hash: false,
    authority: None,
};
const CUT: BlockContents = BlockContents {
    pseudo: true,
    hash: true,
    authority: None,
};

#[test]
fn the_code_is_whole() {
    let sum: u64 = CODES
        .iter()
        .map(|(bits, _, count)| u64::from(*count) << (30 - bits))
        .sum();
    assert_eq!(
        (sum, CODES.iter().map(|(.., count)| count).sum::<u32>()),
        (1 << 30, 257)
    );
    for pair in CODES.windows(2) {
        let [(bits, first, count), (next_bits, next_first, _)] = pair else {
            unreachable!()
        };
        assert_eq!(*next_first, (first + count) << (next_bits - bits));
    }
}

/// Guarantees: what is told by eight bits is what the table of codes says.
#[test]
fn short_codes_are_told_by_their_first_bits() {
    for first in 0..=u8::MAX {
        let found = CODES.iter().find(|(bits, code, count)| {
            *bits <= 8 && (u32::from(first) >> (8 - bits)).wrapping_sub(*code) < *count
        });
        let bits = found.map(|(bits, ..)| *bits);
        // The symbol, and padding up to the end of its byte.
        let byte = bits.map(|bits| first | ((1_u16 << (8 - bits)) - 1) as u8);
        let told = byte.map(|byte| unpacked(&[byte]).map(|text| text.bytes));
        assert_eq!(told, bits.map(|_| Ok(1)), "{first:08b}");
    }
}

/// Scenario: the three requests of RFC 7541 appendix C.4, on one connection. Guarantees: the table has the sizes that
/// the appendix gives.
#[test]
fn the_rfcs_own_requests_are_followed() {
    let mut table = Table::default();
    for (block, bytes) in [
        (&b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"[..], 57),
        (b"\x82\x86\x84\xbe\x58\x86\xa8\xeb\x10\x64\x9c\xbf", 110),
        (b"\x82\x87\x85\xbf\x40\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\x89\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf", 164),
    ] {
        assert_eq!(table.read(block), Ok(PATH));
        assert_eq!(table.bytes, bytes);
    }
}

/// Scenario: a `#` in every form that a value may have. Guarantees: it is seen in pseudo-header fields, also where an
/// entry of the table is meant, and nowhere else.
#[test]
fn a_hash_is_seen_in_every_form() {
    for (block, expected) in [
        (&b"\x04\x03/#x"[..], CUT),
        (b"\x14\x03/#x", CUT),
        (b"\x44\x03/#x", CUT),
        (b"\x00\x05:path\x03/#x", CUT),
        (b"\x04\x83\x63\xfe\xbf", CUT),
        (b"\x00\x84\xb9\x58\xd3\x3f\x83\x63\xfe\xbf", CUT),
        (b"\x04\x02/x", PATH),
        (b"\x04\x82\x63\xf9", PATH),
        (b"\x00\x01x\x03/#x", BlockContents::default()),
        (b"\x0f\x0d\x03/#x", BlockContents::default()),
        (b"\x82\x00\x01x\x01#", PATH),
        (b"", BlockContents::default()),
    ] {
        assert_eq!(
            Table::default().read(block),
            Ok(expected),
            "{}",
            block.escape_ascii()
        );
    }
    let mut table = Table::default();
    assert_eq!(table.read(b"\x44\x03/#x"), Ok(CUT));
    assert_eq!(table.read(b"\xbe"), Ok(CUT), "the entry itself");
    assert_eq!(table.read(b"\x7e\x02/y"), Ok(PATH), "its name alone");
    assert_eq!(table.read(b"\xbe"), Ok(PATH));
    assert_eq!(table.read(b"\xbf"), Ok(CUT));
    assert_eq!(table.read(b"\x20\x3f\xe1\x1f\x82"), Ok(PATH), "emptied");
    assert_eq!(table.read(b"\xbe"), Err(Broken));
}

#[test]
fn what_cannot_be_read_is_broken() {
    for block in [
        &b"\x80"[..],
        b"\xbe",
        b"\xff",
        b"\xff\xff\xff\xff\xff\xff\x7f",
        b"\x3f\xe2\x1f",
        b"\x04",
        b"\x04\x05/",
        b"\x44\x85/",
        b"\x00",
        b"\x7e\x01x",
        // Padding of a byte, padding with a zero, the end as a symbol.
        b"\x04\x82\x63\xff\xff",
        b"\x04\x81\x60",
        b"\x04\x84\xff\xff\xff\xff",
        b"\x40\x01x\x81\x60",
        b"\x00\x01x\x85/",
    ] {
        assert_eq!(
            Table::default().read(block),
            Err(Broken),
            "{}",
            block.escape_ascii()
        );
    }
}

/// Scenario: entries until the table is full, and one that is larger than it. Guarantees: the oldest go first, and the
/// table is never larger than it may be.
#[test]
fn the_table_is_bounded() {
    let mut table = Table::default();
    let value = [b'v'; 100];
    for _ in 0..100 {
        table
            .read(&[&b"\x40\x01x\x64"[..], &value].concat())
            .unwrap();
        assert!(table.bytes <= TABLE_BYTES);
    }
    assert_eq!((table.entries.len(), table.bytes), (30, 30 * 133));
    table
        .read(&[&b"\x40\x01x\x7f\xff\x1f"[..], &[b'v'; 4222]].concat())
        .unwrap();
    assert_eq!((table.entries.len(), table.bytes), (0, 0));
}
#[test]
fn the_symbols_are_those_of_their_codes() {
    for (packed, plain) in [
        (&b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"[..], "www.example.com"),
        (b"\xa8\xeb\x10\x64\x9c\xbf", "no-cache"),
        (b"\x9d\x29\xad\x17\x18\x63\xc7\x8f\x0b\x97\xc8\xe9\xae\x82\xae\x43\xd3", "https://www.example.com"),
        (
            b"\xd0\x7a\xbe\x94\x10\x54\xd4\x44\xa8\x20\x05\x95\x04\x0b\x81\x66\xe0\x82\xa6\x2d\x1b\xff",
            "Mon, 21 Oct 2013 20:13:21 GMT",
        ),
    ] {
        let mut told = Vec::new();
        unpack(packed, |byte| told.push(byte)).unwrap();
        assert_eq!(String::from_utf8(told).unwrap(), plain);
    }
    for byte in b' '..=b'~' {
        assert_eq!(SYMBOLS.contains(&byte), byte != b'\\', "{}", byte as char);
    }
}

/// Scenario: authorities as meshes write them, hosts, and what no client may send. Guarantees: what is printable and no
/// host is replaced by as many bytes that are no host either; everything else is left to those who judge it.
#[test]
fn authorities_that_are_no_host_are_replaced() {
    for (value, expected) in [
        (
            "outbound|4317||otel.obs.svc",
            Some("outbound!4317!!otel.obs.svc"),
        ),
        (
            "kube-svc:obs-otel-4317_obs",
            Some("kube-svc!obs-otel-4317_obs"),
        ),
        (
            "httproute/default/a/rule/0",
            Some("httproute!default!a!rule!0"),
        ),
        ("a:b:c", Some("a!b!c")),
        ("user@gw", Some("user!gw")),
        ("[::1", Some("!!!1")),
        ("%2f", Some("!2f")),
        ("otel_collector", None),
        ("gw:4317", None),
        ("[::1]:4317", None),
        ("a..b", None),
        ("gw|#x", None),
        ("gw |x", None),
        ("gw|\0", None),
        ("gw|\r\nx: y", None),
        ("caf\u{e9}|", None),
        ("", None),
    ] {
        for first in [0x01, 0x11, 0x41] {
            let length = u8::try_from(value.len()).unwrap();
            let block = [&[0x82, first, length], value.as_bytes(), &[0x84]].concat();
            let found = Table::default().read(&block).unwrap().authority;
            let found = found.map(|odd| {
                assert_eq!(odd.place, 2..3 + value.len());
                let (length, string) = odd.string.split_first().unwrap();
                assert_eq!(
                    (usize::from(*length), string.len()),
                    (value.len(), value.len())
                );
                assert!(!head::is_host(string));
                String::from_utf8(string.to_vec()).unwrap()
            });
            assert_eq!(found.as_deref(), expected, "{value}");
        }
    }
    for bytes in [1, 126, 127, 254, 255, 256, 300] {
        let value = "|".repeat(bytes);
        let plain = usize::from(u8::try_from(bytes.min(255)).unwrap());
        let mut block = vec![0x01];
        match bytes {
            ..=126 => block.push(u8::try_from(bytes).unwrap()),
            127..=254 => block.extend([0x7f, u8::try_from(bytes - 127).unwrap()]),
            _ => block.extend([0x7f, u8::try_from((bytes - 127) % 128).unwrap() | 0x80, 1]),
        }
        block.extend(value.as_bytes());
        let found = Table::default().read(&block).unwrap().authority;
        assert_eq!(found.is_some(), bytes <= 255, "{bytes}");
        let Some(odd) = found else { continue };
        let replaced = [&[0x01][..], &odd.string].concat();
        assert_eq!(
            Table::default().read(&replaced).map(|found| found.pseudo),
            Ok(true)
        );
        assert_eq!(
            (odd.string.len(), odd.place.end),
            (block.len() - 1, block.len()),
            "{plain}"
        );
    }
    // The name spelled out, as it is and in Huffman code.
    for name in [
        &b"\x0a:authority"[..],
        b"\x88\xb8\x3b\x53\x39\xec\x32\x7d\x7f",
    ] {
        let block = [&[0x00], name, b"\x03a|b"].concat();
        let found = Table::default()
            .read(&block)
            .unwrap()
            .authority
            .map(|odd| odd.string);
        assert_eq!(found, Some(b"\x03a!b".to_vec()), "{}", name.escape_ascii());
    }
    assert_eq!(
        Table::default()
            .read(b"\x00\x0a:authoritx\x03a|b")
            .unwrap()
            .authority,
        None
    );
    // In Huffman code (`a|b`), and then by its entry of the table, which is the framework's own by then.
    let mut table = Table::default();
    let odd = table.read(b"\x41\x83\x1f\xfc\x8f").unwrap().authority;
    assert_eq!(
        odd,
        Some(OddAuthority {
            place: 1..5,
            string: b"\x03a!b".to_vec()
        })
    );
    assert_eq!(table.read(b"\xbe").unwrap().authority, None);
    assert_eq!(
        table
            .read(b"\x7e\x03a|b")
            .unwrap()
            .authority
            .map(|odd| odd.string),
        Some(b"\x03a!b".to_vec())
    );
}
