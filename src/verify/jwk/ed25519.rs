//! Which Ed25519 keys are sound (RFC 8725 §3.4, RFC 8032 §5.1.3). The verifying library accepts points of small
//! order, under which one signature fits many messages, and encodings above the field's prime, which would give
//! one key two thumbprints.

/// Whether a compressed point is canonical and not of small order.
pub fn is_acceptable(point: &[u8; 32]) -> bool {
    let mut y = *point;
    // The highest bit is the sign of x.
    y[31] &= 0x7F;
    is_below_prime(&y) && !SMALL_ORDER_Y.contains(&y)
}

/// Little-endian comparison with p = 2^255 − 19.
fn is_below_prime(y: &[u8; 32]) -> bool {
    y[31] != 0x7F || y[1..31].iter().any(|byte| *byte != 0xFF) || y[0] < 0xED
}

/// The y coordinates of the eight points whose order divides 8, little-endian: 0, 1, −1 and the two of order 8.
const SMALL_ORDER_Y: [[u8; 32]; 5] = [
    [0; 32],
    {
        let mut one = [0; 32];
        one[0] = 1;
        one
    },
    {
        let mut minus_one = [0xFF; 32];
        minus_one[0] = 0xEC;
        minus_one[31] = 0x7F;
        minus_one
    },
    [
        0x26, 0xE8, 0x95, 0x8F, 0xC2, 0xB2, 0x27, 0xB0, 0x45, 0xC3, 0xF4, 0x89, 0xF2, 0xEF, 0x98, 0xF0, 0xD5, 0xDF,
        0xAC, 0x05, 0xD3, 0xC6, 0x33, 0x39, 0xB1, 0x38, 0x02, 0x88, 0x6D, 0x53, 0xFC, 0x05,
    ],
    [
        0xC7, 0x17, 0x6A, 0x70, 0x3D, 0x4D, 0xD8, 0x4F, 0xBA, 0x3C, 0x0B, 0x76, 0x0D, 0x10, 0x67, 0x0F, 0x2A, 0x20,
        0x53, 0xFA, 0x2C, 0x39, 0xCC, 0xC6, 0x4E, 0xC7, 0xFD, 0x77, 0x92, 0xAC, 0x03, 0x7A,
    ],
];
