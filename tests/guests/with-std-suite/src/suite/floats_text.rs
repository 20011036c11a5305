//! Floats as text, both ways.

use super::Random;

tests! {
    shortest_that_reads_back fixed_precision_rounds_exact_values scientific debug_switches_to_exponents parse_good
    parse_bad parse_rounds_halves_to_even parse_subnormals parse_beyond_the_range parse_long_digits parse_infinities_and_nan
    every_kind_of_bits_reads_back f32_reads_back f32_is_not_read_by_way_of_f64 precision_of_large_numbers padding_and_signs
    zeros_and_signs precision_zero f32_shortest parse_many_zeros exponents_upper_case
}

fn shortest_that_reads_back() {
    for (x, text) in [
        (0.1, "0.1"),
        (0.1 + 0.2, "0.30000000000000004"),
        (1.0, "1"),
        (1e21, "1000000000000000000000"),
        (1e-7, "0.0000001"),
        (123456789.125, "123456789.125"),
        (2f64.powi(53), "9007199254740992"),
    ] {
        let x: f64 = std::hint::black_box(x);
        assert_eq!(x.to_string(), text);
        assert_eq!(text.parse(), Ok(x));
    }
    assert_eq!(
        f64::MAX.to_string(),
        format!("17976931348623157{}", "0".repeat(292))
    );
}

fn f32_shortest() {
    for (x, text) in [
        (0.1f32, "0.1"),
        (16_777_216.0, "16777216"),
        (0.3, "0.3"),
        (1.0 / 3.0, "0.33333334"),
        (
            f32::MIN_POSITIVE,
            "0.000000000000000000000000000000000000011754944",
        ),
    ] {
        assert_eq!(std::hint::black_box(x).to_string(), text);
    }
}

fn fixed_precision_rounds_exact_values() {
    // What is between is decided by the exact value of the double.
    for (x, precision, text) in [
        (0.125, 2, "0.12"),
        (0.375, 2, "0.38"),
        (2.675, 2, "2.67"),
        (1.005, 2, "1.00"),
        (0.5, 0, "0"),
        (1.5, 0, "2"),
        (2.5, 0, "2"),
        (999.9996, 3, "1000.000"),
        (0.1, 20, "0.10000000000000000555"),
        (1e-10, 5, "0.00000"),
        (123.456, 1, "123.5"),
        (5e-324, 3, "0.000"),
    ] {
        assert_eq!(
            format!("{:.*}", precision, std::hint::black_box(x)),
            text,
            "{x}"
        );
    }
}

fn precision_of_large_numbers() {
    assert_eq!(format!("{:.2}", 1e22), "10000000000000000000000.00");
    assert_eq!(format!("{:.0}", 2f64.powi(70)), "1180591620717411303424");
    assert_eq!(format!("{:.60}", 0.5).len(), 62);
    assert_eq!(
        format!("{:.1074}", 5e-324)
            .trim_start_matches(['0', '.'])
            .len(),
        751
    );
}

fn precision_zero() {
    assert_eq!(
        format!("{:.0} {:.0} {:.0} {:.0?}", 0.4, 0.6, -0.6, 3.5),
        "0 1 -1 4"
    );
}

fn scientific() {
    for (x, text) in [
        (0.0, "0e0"),
        (1.0, "1e0"),
        (1234.5, "1.2345e3"),
        (0.00012, "1.2e-4"),
        (1e300, "1e300"),
        (5e-324, "5e-324"),
        (f64::MAX, "1.7976931348623157e308"),
        (-2.5, "-2.5e0"),
    ] {
        assert_eq!(format!("{:e}", std::hint::black_box(x)), text);
    }
    assert_eq!(
        format!("{:.2e} {:.0e} {:.3e} {:.1e}", 1234.5, 1500.0, 0.0, 9.96),
        "1.23e3 2e3 0.000e0 1.0e1"
    );
    assert_eq!(format!("{:e} {:e}", f64::INFINITY, f64::NAN), "inf NaN");
}

fn exponents_upper_case() {
    assert_eq!(
        format!("{:E} {:E} {:.1E}", 1e-7, 12u32, 123.0),
        "1E-7 1.2E1 1.2E2"
    );
}

fn debug_switches_to_exponents() {
    for (x, text) in [
        (1e15, "1000000000000000.0"),
        (1e16, "1e16"),
        (1e-4, "0.0001"),
        (1e-5, "1e-5"),
        (0.1, "0.1"),
        (1.0, "1.0"),
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (123e20, "1.23e22"),
    ] {
        assert_eq!(format!("{:?}", std::hint::black_box(x)), text);
    }
    assert_eq!(
        format!("{:?} {:?}", f64::NAN, f64::NEG_INFINITY),
        "NaN -inf"
    );
}

fn parse_good() {
    for (text, x) in [
        ("0", 0.0),
        ("-0", -0.0),
        ("+1.5", 1.5),
        (".5", 0.5),
        ("5.", 5.0),
        ("1e3", 1000.0),
        ("1E+3", 1000.0),
        ("12.5e-1", 1.25),
        ("00012", 12.0),
        ("1e0000000000003", 1000.0),
        ("123456789012345678901234567890", 1.2345678901234568e29),
        ("0.000000000000000000000000000001", 1e-30),
    ] {
        assert_eq!(
            text.parse::<f64>().map(f64::to_bits),
            Ok(f64::to_bits(x)),
            "{text}"
        );
    }
}

fn parse_bad() {
    for text in [
        "", ".", "+", "-.", "e5", "1e", "1e+", "1.2.3", " 1", "1 ", "0x10", "1_0", "--1", "1e5.5",
        "nane", "infin", "1f", "١",
    ] {
        assert!(text.parse::<f64>().is_err(), "{text:?}");
    }
    assert_eq!(
        "".parse::<f64>().expect_err("none").to_string(),
        "cannot parse float from empty string"
    );
    assert_eq!(
        "x".parse::<f32>().expect_err("none").to_string(),
        "invalid float literal"
    );
}

fn parse_rounds_halves_to_even() {
    for (text, bits) in [
        ("9007199254740993", 0x4340_0000_0000_0000_u64),
        (
            "9007199254740993.00000000000000000000000000000001",
            0x4340_0000_0000_0001,
        ),
        ("9007199254740995", 0x4340_0000_0000_0002),
        (
            "1.00000000000000011102230246251565404236316680908203125",
            0x3ff0_0000_0000_0000,
        ),
        (
            "1.00000000000000011102230246251565404236316680908203126",
            0x3ff0_0000_0000_0001,
        ),
        (
            "1.00000000000000033306690738754696212708950042724609375",
            0x3ff0_0000_0000_0002,
        ),
    ] {
        assert_eq!(text.parse::<f64>().map(f64::to_bits), Ok(bits), "{text}");
    }
}

fn parse_subnormals() {
    for (text, bits) in [
        ("5e-324", 1u64),
        ("2.4703282292062327e-324", 0),
        ("2.4703282292062328e-324", 1),
        ("2.2250738585072011e-308", 0x000f_ffff_ffff_ffff),
        ("2.2250738585072012e-308", 0x0010_0000_0000_0000),
        ("2.2250738585072014e-308", 0x0010_0000_0000_0000),
        ("1e-400", 0),
    ] {
        assert_eq!(text.parse::<f64>().map(f64::to_bits), Ok(bits), "{text}");
    }
}

fn parse_beyond_the_range() {
    assert_eq!("1.7976931348623157e308".parse(), Ok(f64::MAX));
    assert_eq!("1.7976931348623158e308".parse(), Ok(f64::MAX));
    assert_eq!("1.7976931348623159e308".parse(), Ok(f64::INFINITY));
    assert_eq!("-1e999999999999999999999".parse(), Ok(f64::NEG_INFINITY));
    assert_eq!("3.4028236e38".parse(), Ok(f32::INFINITY));
    assert_eq!("0e999999999999999999999".parse(), Ok(0.0f64));
}

fn parse_long_digits() {
    let pi = "3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803482534211706798214808651";
    assert_eq!(pi.parse(), Ok(std::f64::consts::PI));
    let long = format!("1{}", "0".repeat(400));
    assert_eq!(long.parse(), Ok(f64::INFINITY));
    let tiny = format!("0.{}1", "0".repeat(400));
    assert_eq!(tiny.parse(), Ok(0.0f64));
    assert_eq!(format!("{long}e-400").parse(), Ok(1.0f64));
}

fn parse_many_zeros() {
    let zeros = "0".repeat(1000);
    assert_eq!(format!("{zeros}1.5{zeros}").parse(), Ok(1.5f64));
    assert_eq!(format!("0.{zeros}1e1001").parse(), Ok(1.0f64));
}

fn parse_infinities_and_nan() {
    for text in ["inf", "INF", "infinity", "+Infinity"] {
        assert_eq!(text.parse(), Ok(f64::INFINITY), "{text}");
    }
    assert_eq!("-inf".parse(), Ok(f64::NEG_INFINITY));
    assert!(
        "NaN".parse::<f64>().expect("one").is_nan()
            && "-nan".parse::<f64>().expect("one").is_sign_negative()
    );
}

fn every_kind_of_bits_reads_back() {
    let mut random = Random::new();
    for _ in 0..3000 {
        let x = f64::from_bits(random.next());
        if x.is_nan() {
            continue;
        }
        for text in [
            x.to_string(),
            format!("{x:?}"),
            format!("{x:e}"),
            format!("{x:.17e}"),
        ] {
            assert_eq!(
                text.parse::<f64>().map(f64::to_bits),
                Ok(x.to_bits()),
                "{text}"
            );
        }
    }
}

fn f32_reads_back() {
    let mut random = Random::new();
    for _ in 0..3000 {
        let x = f32::from_bits(random.next() as u32);
        if !x.is_nan() {
            assert_eq!(
                x.to_string().parse::<f32>().map(f32::to_bits),
                Ok(x.to_bits()),
                "{x}"
            );
            assert_eq!(
                format!("{x:.8e}").parse::<f32>().map(f32::to_bits),
                Ok(x.to_bits()),
                "{x}"
            );
        }
    }
}

/// Read as a double and then rounded, it would be another.
fn f32_is_not_read_by_way_of_f64() {
    let text = "1.00000017881393421514957253748434595763683319091796875001";
    assert_eq!(text.parse::<f32>().map(f32::to_bits), Ok(0x3f80_0001));
    assert_eq!(
        "1.000000059604644775390625"
            .parse::<f32>()
            .map(f32::to_bits),
        Ok(0x3f80_0000)
    );
    assert_eq!(
        "1.000000059604644775390626"
            .parse::<f32>()
            .map(f32::to_bits),
        Ok(0x3f80_0001)
    );
}

fn padding_and_signs() {
    assert_eq!(
        format!(
            "{:8.2}|{:<8.2}|{:^8.2}|{:08.2}|{:+.1}|{:+}",
            3.14159, 2.5, 2.5, -2.5, 1.0, -0.0
        ),
        "    3.14|2.50    |  2.50  |-0002.50|+1.0|-0"
    );
    assert_eq!(
        format!(
            "{:*>10}|{:<6}|{:+}|{:8}",
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::INFINITY,
            f64::NAN
        ),
        "*******inf|-inf  |+inf|     NaN"
    );
}

fn zeros_and_signs() {
    assert_eq!(
        format!("{} {:?} {:.1} {:e} {:+}", -0.0, -0.0, -0.0, -0.0, 0.0),
        "-0 -0.0 -0.0 -0e0 +0"
    );
    assert_eq!(format!("{:.1} {:.0}", -0.04, -0.4), "-0.0 -0");
}
