use super::*;
use crate::picture::{PIXELS_MAX, Small};
use jiffy::http::Method;

/// 320 x 240: a red ball on a chequered floor before an evening sky.
const BALL_PNG: &[u8] = include_bytes!("../tests/ball.png");
const BALL_JPEG: &[u8] = include_bytes!("../tests/ball.jpg");
const BALL_PROGRESSIVE: &[u8] = include_bytes!("../tests/ball-progressive.jpg");
/// 160 x 120, the same picture.
const GREY_PNG: &[u8] = include_bytes!("../tests/grey.png");
const GREY_JPEG: &[u8] = include_bytes!("../tests/grey.jpg");
const PALETTE: &[u8] = include_bytes!("../tests/palette.png");
/// The left half is fully transparent.
const HALF_TRANSPARENT: &[u8] = include_bytes!("../tests/half-transparent.png");

/// Means of three fields of the picture, of 8 by 6, as another program computed them.
const SKY: ((usize, usize), [u8; 3]) = ((0, 0), [134, 122, 151]);
const BALL: ((usize, usize), [u8; 3]) = ((4, 2), [139, 42, 35]);
const FLOOR: ((usize, usize), [u8; 3]) = ((3, 5), [231, 222, 216]);

fn post(target: &str, body: &[u8]) -> Response {
    let request = Request::builder()
        .method(Method::POST)
        .uri(target)
        .body(body)
        .expect("valid");
    jiffy::testing::call!().http(request).run().http()
}

fn thumbnail_of(target: &str, body: &[u8]) -> Picture {
    let response = post(target, body);
    assert_eq!(
        response.status(),
        StatusCode::OK,
        "{:?}",
        str::from_utf8(response.body())
    );
    assert_eq!(
        response.headers().get("content-type").expect("there"),
        &"image/jpeg"
    );
    assert!(response.body().starts_with(b"\xff\xd8\xff"));
    Picture::decode(response.body()).expect("a JPEG")
}

/// The means of the thumbnail's 8 by 6 fields. It is larger than that, because a JPEG smears colours
/// over pixels.
fn fields_of(body: &[u8]) -> Small {
    thumbnail_of("/?width=64", body).shrink_to(8)
}

fn check_color(small: &Small, (x, y): (usize, usize), expected: [u8; 3]) {
    let start = (y * usize::from(small.width) + x) * 3;
    let found = &small.rgb[start..start + 3];
    let near = found
        .iter()
        .zip(expected)
        .all(|(found, expected)| found.abs_diff(expected) <= 9);
    assert!(near, "at {x}, {y}: {found:?}, not {expected:?}");
}

#[test]
fn all_formats_give_the_same_thumbnail() {
    for file in [BALL_PNG, BALL_JPEG, BALL_PROGRESSIVE, PALETTE] {
        let small = fields_of(file);
        assert_eq!((small.width, small.height), (8, 6));
        for (at, color) in [SKY, BALL, FLOOR] {
            check_color(&small, at, color);
        }
    }
    for file in [GREY_PNG, GREY_JPEG] {
        let small = fields_of(file);
        for (at, [red, green, blue]) in [SKY, BALL, FLOOR] {
            let weighted = u32::from(red) * 299 + u32::from(green) * 587 + u32::from(blue) * 114;
            check_color(&small, at, [(weighted / 1000) as u8; 3]);
        }
    }
}

#[test]
fn transparency_becomes_white() {
    let small = fields_of(HALF_TRANSPARENT);
    check_color(&small, (0, 0), [255; 3]);
    check_color(&small, BALL.0, BALL.1);
}

#[test]
fn sizes_keep_proportions() {
    let check = |target: &str, size: (u16, u16)| {
        let small = thumbnail_of(target, BALL_PNG).shrink_to(u16::MAX);
        assert_eq!((small.width, small.height), size, "{target}");
    };
    check("/", (128, 96));
    check("/?width=64", (64, 48));
    check("/?width=1", (1, 1));
    check("/?width=333", (320, 240));
    check("/?height=9&width=32", (32, 24));
    assert!(post("/?width=64", BALL_PNG).body().len() < 4000);
}

#[test]
fn an_event_is_a_picture_too() {
    assert_eq!(
        jiffy::testing::call!()
            .event(BALL_PNG)
            .run()
            .http()
            .status(),
        StatusCode::OK
    );
}

#[test]
fn mistakes_are_told() {
    let check = |target: &str, body: &[u8], status: u16, why: &str| {
        let response = post(target, body);
        let text = str::from_utf8(response.body()).expect("a text");
        assert_eq!(
            (response.status().as_u16(), text.contains(why)),
            (status, true),
            "{text}"
        );
    };
    for width in ["0", "-1", "1025", "wide", ""] {
        check(
            &format!("/?width={width}"),
            BALL_PNG,
            400,
            "use a number between 1 and 1024",
        );
    }
    check("/", b"", 415, "neither a JPEG nor a PNG");
    check("/", b"GIF89a", 415, "neither a JPEG nor a PNG");
    check("/", &BALL_PNG[..20], 422, "does not decode");
    check("/", &BALL_JPEG[..100], 422, "does not decode");
    // The PNG's header says 16384 x 16384 pixels.
    let mut bomb = BALL_PNG.to_vec();
    bomb[16..24].copy_from_slice(&[0, 0, 0x40, 0, 0, 0, 0x40, 0]);
    let crc = crc32(&bomb[12..29]).to_be_bytes();
    bomb[29..33].copy_from_slice(&crc);
    check("/", &bomb, 413, &format!("send at most {PIXELS_MAX}"));
}

/// Cut off or with one byte changed, a picture gives some answer, and nothing panics.
#[test]
fn damaged_pictures_are_answered() {
    for file in [PALETTE, GREY_JPEG] {
        for at in (0..file.len()).step_by(61) {
            post("/?width=16", &file[..at]);
            let mut damaged = file.to_vec();
            damaged[at] ^= 0x55;
            post("/?width=16", &damaged);
        }
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 * (crc & 1))
        })
    })
}
