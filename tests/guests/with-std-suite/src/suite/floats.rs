//! `f32` and `f64`: arithmetic and functions. What std promises to the last bit is compared so; what it leaves to the platform
//! is compared with the nearest double to the exact value, and may be a few units in the last place from it.

use std::{f64::consts, hint::black_box, num::FpCategory};

tests! {
    functions_are_near_their_values powers_are_near atan2_is_near hypot_is_near square_roots_are_exact mul_add_rounds_once
    rounding_of_halves rounding_of_large_numbers rounding_keeps_signs trunc_and_fract rem_is_exact rem_euclid_and_div_euclid
    of_infinities of_nan of_zeros powers_at_their_edges roots_and_logs_out_of_range trigonometry_out_of_range
    atan2_of_signs min_max_and_clamp total_order copysign_and_signum abs_and_neg classes next_up_and_down casts_saturate
    casts_round bits_of_numbers subnormals_are_kept overflow_and_underflow exact_powers_of_two exact_exp2 powi exact_cubes
    sin_cos_is_both to_degrees recip single_precision_functions single_precision_rounding midpoint
    sums_in_order from_integers tests_of_f32_bits round_ties_even
}

/// Functions, an argument, and the double that is nearest to the exact value.
type Function = (fn(f64) -> f64, &'static str, f64, u64);
#[rustfmt::skip]
const FUNCTIONS: &[Function] = &[
    (f64::sin, "sin", 0.1, 0x3fb9_8eae_cb8b_cb2c),
    (f64::sin, "sin", 1.0, 0x3fea_ed54_8f09_0cee),
    (f64::sin, "sin", 3.141592653589793, 0x3ca1_a626_3314_5c07),
    (f64::sin, "sin", 100.0, 0xbfe0_3425_b78c_4db8),
    (f64::sin, "sin", 10000000000.0, 0xbfdf_334c_7896_a4e3),
    (f64::sin, "sin", -2.5, 0xbfe3_26af_0dcf_cab1),
    (f64::sin, "sin", 1e-08, 0x3e45_798e_e230_8c3a),
    (f64::sin, "sin", 0.7853981633974483, 0x3fe6_a09e_667f_3bcc),
    (f64::sin, "sin", 1e22, 0xbfeb_453a_b76b_f397),
    (f64::sin, "sin", 6.283185307179586, 0xbcb1_a626_3314_5c07),
    (f64::cos, "cos", 0.1, 0x3fef_d712_f9a8_17c1),
    (f64::cos, "cos", 1.0, 0x3fe1_4a28_0fb5_068c),
    (f64::cos, "cos", 3.141592653589793, 0xbff0_0000_0000_0000),
    (f64::cos, "cos", 100.0, 0x3feb_981d_bf66_5fdf),
    (f64::cos, "cos", 10000000000.0, 0x3feb_f098_901c_931a),
    (f64::cos, "cos", 1.5707963267948966, 0x3c91_a626_3314_5c07),
    (f64::cos, "cos", 1e-08, 0x3ff0_0000_0000_0000),
    (f64::cos, "cos", 1e22, 0x3fe0_be2c_ef01_c8f4),
    (f64::tan, "tan", 0.1, 0x3fb9_af88_7743_0b80),
    (f64::tan, "tan", 1.0, 0x3ff8_eb24_5cbe_e3a6),
    (f64::tan, "tan", -1.5, 0xc02c_33ed_50b8_8777),
    (f64::tan, "tan", 100.0, 0xbfe2_ca74_d62b_5d38),
    (f64::tan, "tan", 1.5707963267948966, 0x434d_0296_7c31_cdb5),
    (f64::tan, "tan", 10000000000.0, 0xbfe1_de00_0f44_3f50),
    (f64::asin, "asin", 0.1, 0x3fb9_a492_7603_7884),
    (f64::asin, "asin", 0.5, 0x3fe0_c152_382d_7366),
    (f64::asin, "asin", -0.9, 0xbff1_ea93_705f_a172),
    (f64::asin, "asin", 1.0, 0x3ff9_21fb_5444_2d18),
    (f64::asin, "asin", 0.9999999, 0x3ff9_2026_6447_a7fa),
    (f64::asin, "asin", 1e-09, 0x3e11_2e0b_e826_d695),
    (f64::acos, "acos", 0.1, 0x3ff7_87b2_2ce3_f590),
    (f64::acos, "acos", 0.5, 0x3ff0_c152_382d_7366),
    (f64::acos, "acos", -0.9, 0x4005_8647_6251_e745),
    (f64::acos, "acos", -1.0, 0x4009_21fb_5444_2d18),
    (f64::acos, "acos", 0.9999999, 0x3f3d_4eff_c851_e7f2),
    (f64::acos, "acos", 1e-09, 0x3ff9_21fb_53ff_74e9),
    (f64::atan, "atan", 0.1, 0x3fb9_83e2_82e2_cc4d),
    (f64::atan, "atan", 1.0, 0x3fe9_21fb_5444_2d18),
    (f64::atan, "atan", -10.0, 0xbff7_89bd_2c16_0054),
    (f64::atan, "atan", 1000000.0, 0x3ff9_21fa_47d4_b30d),
    (f64::atan, "atan", 1e300, 0x3ff9_21fb_5444_2d18),
    (f64::atan, "atan", 0.6875, 0x3fe3_45f0_1cce_37bb),
    (f64::sinh, "sinh", 0.1, 0x3fb9_a487_337b_59b3),
    (f64::sinh, "sinh", 1.0, 0x3ff2_cd9f_c44e_b982),
    (f64::sinh, "sinh", -5.0, 0xc052_8d01_66f0_7374),
    (f64::sinh, "sinh", 22.5, 0x41e6_04b6_8cf0_5f66),
    (f64::sinh, "sinh", 700.0, 0x7efd_945d_f4f8_ec8e),
    (f64::sinh, "sinh", 1e-09, 0x3e11_2e0b_e826_d695),
    (f64::cosh, "cosh", 0.1, 0x3ff0_147f_4022_4b38),
    (f64::cosh, "cosh", 1.0, 0x3ff8_b075_51d9_f550),
    (f64::cosh, "cosh", -5.0, 0x4052_8d6f_cbef_f3aa),
    (f64::cosh, "cosh", 22.5, 0x41e6_04b6_8cf0_5f66),
    (f64::cosh, "cosh", 700.0, 0x7efd_945d_f4f8_ec8e),
    (f64::tanh, "tanh", 0.1, 0x3fb9_83d7_795f_413a),
    (f64::tanh, "tanh", 1.0, 0x3fe8_5efa_b514_f394),
    (f64::tanh, "tanh", -5.0, 0xbfef_ff41_9668_df11),
    (f64::tanh, "tanh", 0.5493, 0x3fdf_ffec_abe9_d855),
    (f64::tanh, "tanh", 1e-09, 0x3e11_2e0b_e826_d695),
    (f64::asinh, "asinh", 0.1, 0x3fb9_8eb9_e7e5_fc3e),
    (f64::asinh, "asinh", 1.0, 0x3fec_3436_6179_d427),
    (f64::asinh, "asinh", -5.0, 0xc002_7fdf_ac4e_4380),
    (f64::asinh, "asinh", 10000000000.0, 0x4037_b810_429a_7c2a),
    (f64::asinh, "asinh", 1e-09, 0x3e11_2e0b_e826_d695),
    (f64::acosh, "acosh", 1.5, 0x3fee_cc2c_aec5_160a),
    (f64::acosh, "acosh", 5.0, 0x4002_56e6_6a48_a3b6),
    (f64::acosh, "acosh", 10000000000.0, 0x4037_b810_429a_7c2a),
    (f64::atanh, "atanh", 0.1, 0x3fb9_af93_cd23_4412),
    (f64::atanh, "atanh", 0.5, 0x3fe1_93ea_7aad_030b),
    (f64::atanh, "atanh", -0.9, 0xbff7_8e36_0604_b32d),
    (f64::atanh, "atanh", 0.9999999, 0x4020_cfad_9b61_ff69),
    (f64::atanh, "atanh", 1e-09, 0x3e11_2e0b_e826_d695),
    (f64::exp, "exp", 0.1, 0x3ff1_aec7_b35a_00d4),
    (f64::exp, "exp", 1.0, 0x4005_bf0a_8b14_5769),
    (f64::exp, "exp", -1.0, 0x3fd7_8b56_362c_ef38),
    (f64::exp, "exp", 10.0, 0x40d5_829d_cf95_0560),
    (f64::exp, "exp", 700.0, 0x7f0d_945d_f4f8_ec8e),
    (f64::exp, "exp", -700.0, 0x00d1_4f2b_0fb9_307f),
    (f64::exp, "exp", 1e-10, 0x3ff0_0000_0006_df38),
    (f64::exp, "exp", -745.0, 0x0000_0000_0000_0001),
    (f64::exp, "exp", 709.7, 0x7fed_75ae_7a50_ee14),
    (f64::exp2, "exp2", 0.1, 0x3ff1_25fb_ee25_0664),
    (f64::exp2, "exp2", 0.5, 0x3ff6_a09e_667f_3bcd),
    (f64::exp2, "exp2", -0.3, 0x3fe9_fdf8_bcce_533e),
    (f64::exp2, "exp2", 10.5, 0x4096_a09e_667f_3bcd),
    (f64::exp2, "exp2", -1000.5, 0x0166_a09e_667f_3bcd),
    (f64::exp_m1, "exp_m1", 1e-10, 0x3ddb_7cdf_d9dd_a4e3),
    (f64::exp_m1, "exp_m1", 0.1, 0x3fba_ec7b_35a0_0d3a),
    (f64::exp_m1, "exp_m1", 1.0, 0x3ffb_7e15_1628_aed3),
    (f64::exp_m1, "exp_m1", -1.0, 0xbfe4_3a54_e4e9_8864),
    (f64::exp_m1, "exp_m1", -40.0, 0xbff0_0000_0000_0000),
    (f64::exp_m1, "exp_m1", 50.0, 0x4471_9103_e408_0b45),
    (f64::ln, "ln", 0.1, 0xc002_6bb1_bbb5_5515),
    (f64::ln, "ln", 2.0, 0x3fe6_2e42_fefa_39ef),
    (f64::ln, "ln", 10.0, 0x4002_6bb1_bbb5_5516),
    (f64::ln, "ln", 1.0000001, 0x3e7a_d7f2_847b_6492),
    (f64::ln, "ln", 0.9999999, 0xbe7a_d7f2_b104_9b9f),
    (f64::ln, "ln", 1e300, 0x4085_9634_47f8_7fb5),
    (f64::ln, "ln", 5e-324, 0xc087_4385_446d_71c3),
    (f64::ln, "ln", 123456.789, 0x4027_7281_cad8_a844),
    (f64::log2, "log2", 0.1, 0xc00a_934f_0979_a371),
    (f64::log2, "log2", 3.0, 0x3ff9_5c01_a39f_bd68),
    (f64::log2, "log2", 10.0, 0x400a_934f_0979_a371),
    (f64::log2, "log2", 1.0000001, 0x3e83_5d0f_ea5f_ccb7),
    (f64::log2, "log2", 1e300, 0x408f_24a0_9f1a_8b89),
    (f64::log10, "log10", 0.1, 0xbff0_0000_0000_0000),
    (f64::log10, "log10", 2.0, 0x3fd3_4413_509f_79ff),
    (f64::log10, "log10", 3.0, 0x3fde_8927_964f_d5fd),
    (f64::log10, "log10", 1.0000001, 0x3e67_50e5_ca0b_1098),
    (f64::log10, "log10", 1e299, 0x4072_b000_0000_0000),
    (f64::ln_1p, "ln_1p", 1e-10, 0x3ddb_7cdf_d9d1_d693),
    (f64::ln_1p, "ln_1p", 0.1, 0x3fb8_663f_793c_46c7),
    (f64::ln_1p, "ln_1p", 1.0, 0x3fe6_2e42_fefa_39ef),
    (f64::ln_1p, "ln_1p", -0.5, 0xbfe6_2e42_fefa_39ef),
    (f64::ln_1p, "ln_1p", 10000000000.0, 0x4037_069e_2aa3_184e),
    (f64::cbrt, "cbrt", 2.0, 0x3ff4_28a2_f98d_728b),
    (f64::cbrt, "cbrt", 10.0, 0x4001_3c48_4138_704f),
    (f64::cbrt, "cbrt", 0.1, 0x3fdd_b4c7_760b_cff3),
    (f64::cbrt, "cbrt", 1e300, 0x54b2_49ad_2594_c37d),
    (f64::cbrt, "cbrt", 1e-300, 0x2b2b_ff2e_e48e_0530),
];

/// `x`, `y`, and x to the power of y.
#[rustfmt::skip]
const POWERS: &[(f64, f64, u64)] = &[
    (2.0, 0.5, 0x3ff6_a09e_667f_3bcd),
    (2.0, -1.5, 0x3fd6_a09e_667f_3bcd),
    (10.0, 10.5, 0x421d_7375_1c66_bc34),
    (0.1, 100.0, 0x2b2b_ff2e_e48e_055c),
    (1.0000001, 1000000.0, 0x3ff1_aec7_b1e2_b426),
    (1.5, 700.25, 0x5988_9700_85a6_d29d),
    (0.9, -0.001, 0x3ff0_006e_7bfc_f0a0),
    (3.0, 40.0, 0x43e5_1716_8a45_23fd),
    (7.0, -3.0, 0x3f67_e225_515a_4f1d),
    (123.456, 7.89, 0x435c_37e5_3d5e_93d2),
];

/// `y`, `x`, and the angle.
#[rustfmt::skip]
const ANGLES: &[(f64, f64, u64)] = &[
    (1.0, 2.0, 0x3fdd_ac67_0561_bb4f),
    (-1.0, 2.0, 0xbfdd_ac67_0561_bb4f),
    (1.0, -2.0, 0x4005_6c6e_7397_f5ae),
    (-1.0, -2.0, 0xc005_6c6e_7397_f5ae),
    (1e-300, 1e+300, 0x0000_0000_0000_0000),
    (10000000000.0, 1.0, 0x3ff9_21fb_543d_4de0),
    (0.5, -1e-09, 0x3ff9_21fb_54cd_9d78),
];

/// Two sides, and the third.
#[rustfmt::skip]
const SIDES: &[(f64, f64, u64)] = &[
    (3.0, 4.0, 0x4014_0000_0000_0000),
    (1.0, 1.0, 0x3ff6_a09e_667f_3bcd),
    (1e+300, 1e+300, 0x7e40_e4d5_0f99_b211),
    (1e-300, 1e-300, 0x01ae_4e8d_1276_2225),
    (10000000000.0, 1e-10, 0x4202_a05f_2000_0000),
    (123.456, 789.012, 0x4088_f4e5_9fc8_ba50),
];

/// Units in the last place between two numbers of one sign.
fn ulps(one: f64, other: f64) -> u64 {
    one.to_bits().abs_diff(other.to_bits())
}

/// Whatever platform: glibc and musl stay below one, but for what they make of others.
const ULPS_MAX: u64 = 2;

fn functions_are_near_their_values() {
    let far: Vec<String> = FUNCTIONS
        .iter()
        .map(|(function, name, x, bits)| (name, x, function(black_box(*x)), f64::from_bits(*bits)))
        .filter(|(_, _, found, expected)| ulps(*found, *expected) > ULPS_MAX)
        .map(|(name, x, found, expected)| format!("{name}({x:e}) is {found:e}, not {expected:e}"))
        .collect();
    assert!(far.is_empty(), "{far:?}");
}

fn powers_are_near() {
    for (x, y, bits) in POWERS {
        let (found, expected) = (black_box(*x).powf(*y), f64::from_bits(*bits));
        assert!(
            ulps(found, expected) <= ULPS_MAX,
            "{x}^{y} is {found:e}, not {expected:e}"
        );
    }
}

fn atan2_is_near() {
    for (y, x, bits) in ANGLES {
        let (found, expected) = (black_box(*y).atan2(*x), f64::from_bits(*bits));
        assert!(
            ulps(found, expected) <= ULPS_MAX,
            "atan2({y}, {x}) is {found:e}, not {expected:e}"
        );
    }
}

fn hypot_is_near() {
    for (x, y, bits) in SIDES {
        let (found, expected) = (black_box(*x).hypot(*y), f64::from_bits(*bits));
        assert!(
            ulps(found, expected) <= 1,
            "hypot({x}, {y}) is {found:e}, not {expected:e}"
        );
    }
    assert_eq!(black_box(f64::INFINITY).hypot(f64::NAN), f64::INFINITY);
}

fn square_roots_are_exact() {
    for (x, bits) in [
        (2.0f64, 0x3ff6_a09e_667f_3bcd_u64),
        (3.0, 0x3ffb_b67a_e858_4caa),
        (0.1, 0x3fd4_3d13_6248_490f),
        (1e300, 0x5f13_8d35_2e50_96af),
        (5e-324, 0x1e60_0000_0000_0000),
    ] {
        assert_eq!(black_box(x).sqrt().to_bits(), bits, "{x}");
    }
    for number in 0..1000u32 {
        assert_eq!(
            black_box(f64::from(number * number)).sqrt(),
            f64::from(number)
        );
    }
    assert!(black_box(-1.0f64).sqrt().is_nan() && black_box(-0.0f64).sqrt().is_sign_negative());
}

fn mul_add_rounds_once() {
    let x = black_box(1.0 + f64::EPSILON);
    assert_eq!(
        x.mul_add(x, -1.0 - 2.0 * f64::EPSILON),
        f64::EPSILON * f64::EPSILON
    );
    assert_eq!(black_box(0.1f64).mul_add(10.0, -1.0), 5.551115123125783e-17);
    assert_eq!(
        black_box(f64::MAX).mul_add(2.0, f64::NEG_INFINITY),
        f64::NEG_INFINITY
    );
    assert_eq!(black_box(0.1f32).mul_add(10.0, -1.0), 1.490_116_1e-8);
    assert!(black_box(f64::INFINITY).mul_add(0.0, 1.0).is_nan());
}

fn rounding_of_halves() {
    for (x, floor, ceil, round, trunc, even) in [
        (0.5f64, 0.0, 1.0, 1.0, 0.0, 0.0),
        (1.5, 1.0, 2.0, 2.0, 1.0, 2.0),
        (2.5, 2.0, 3.0, 3.0, 2.0, 2.0),
        (-0.5, -1.0, -0.0, -1.0, -0.0, -0.0),
        (-2.5, -3.0, -2.0, -3.0, -2.0, -2.0),
        (0.49999999999999994, 0.0, 1.0, 0.0, 0.0, 0.0),
        (-1.1, -2.0, -1.0, -1.0, -1.0, -1.0),
    ] {
        let x = black_box(x);
        assert_eq!(
            [
                x.floor(),
                x.ceil(),
                x.round(),
                x.trunc(),
                x.round_ties_even()
            ],
            [floor, ceil, round, trunc, even],
            "{x}"
        );
    }
}

fn round_ties_even() {
    for (x, even) in [
        (3.5f32, 4.0),
        (4.5, 4.0),
        (-3.5, -4.0),
        (0.5, 0.0),
        (8_388_607.5, 8_388_608.0),
    ] {
        assert_eq!(black_box(x).round_ties_even(), even, "{x}");
    }
}

fn rounding_of_large_numbers() {
    for x in [
        4_503_599_627_370_495.5f64,
        4_503_599_627_370_497.0,
        9_007_199_254_740_993.0,
        1e300,
        f64::MAX,
    ] {
        let x = black_box(x);
        assert!(x.floor() <= x && x.ceil() >= x && (x.round() - x).abs() <= 0.5);
    }
    assert_eq!(
        black_box(4_503_599_627_370_495.5f64).round(),
        4_503_599_627_370_496.0
    );
}

fn rounding_keeps_signs() {
    for zero in [-0.0f64, -0.3, -0.5] {
        let x = black_box(zero);
        assert!(
            x.ceil().is_sign_negative()
                && x.trunc().is_sign_negative()
                && x.round_ties_even().is_sign_negative()
        );
    }
    assert!(black_box(f64::NAN).floor().is_nan());
    assert_eq!(black_box(f64::NEG_INFINITY).ceil(), f64::NEG_INFINITY);
}

fn trunc_and_fract() {
    assert_eq!(
        (black_box(3.75f64).trunc(), black_box(3.75f64).fract()),
        (3.0, 0.75)
    );
    assert_eq!(
        (black_box(-3.75f64).trunc(), black_box(-3.75f64).fract()),
        (-3.0, -0.75)
    );
    assert_eq!(black_box(1e300f64).fract(), 0.0);
}

fn rem_is_exact() {
    for (x, y, rest) in [
        (7.5f64, 2.0, 1.5),
        (-7.5, 2.0, -1.5),
        (7.5, -2.0, 1.5),
        (1e300, 3.0, 0.0),
        (5.0, f64::INFINITY, 5.0),
        (0.3, 0.1, 0.09999999999999998),
        (f64::MAX, 5e-324, 0.0),
    ] {
        assert_eq!(black_box(x) % black_box(y), rest, "{x} % {y}");
    }
    assert!((black_box(1.0f64) % 0.0).is_nan() && (black_box(f64::INFINITY) % 1.0).is_nan());
    assert!((black_box(-6.0f64) % 3.0).is_sign_negative());
}

fn rem_euclid_and_div_euclid() {
    for (x, y, quotient, rest) in [
        (7.0f64, 4.0, 1.0, 3.0),
        (-7.0, 4.0, -2.0, 1.0),
        (7.0, -4.0, -1.0, 3.0),
        (-7.0, -4.0, 2.0, 1.0),
    ] {
        let x = black_box(x);
        assert_eq!(
            (x.div_euclid(y), x.rem_euclid(y)),
            (quotient, rest),
            "{x} {y}"
        );
    }
}

fn of_infinities() {
    let infinite = black_box(f64::INFINITY);
    assert!(
        (infinite - infinite).is_nan()
            && (infinite * 0.0).is_nan()
            && (infinite / infinite).is_nan()
    );
    assert_eq!(
        (
            infinite + 1.0,
            1.0 / infinite,
            infinite.exp(),
            (-infinite).exp()
        ),
        (infinite, 0.0, infinite, 0.0)
    );
    assert_eq!(
        (
            infinite.atan(),
            infinite.tanh(),
            infinite.ln(),
            infinite.sqrt()
        ),
        (consts::FRAC_PI_2, 1.0, infinite, infinite)
    );
}

fn of_nan() {
    let nan = black_box(f64::NAN);
    assert!(nan != nan && !(nan < 1.0) && !(nan >= 1.0) && nan.partial_cmp(&nan).is_none());
    for function in [
        f64::sin,
        f64::cos,
        f64::exp,
        f64::ln,
        f64::sqrt,
        f64::cbrt,
        f64::tanh,
        f64::atan,
        f64::floor,
        f64::exp_m1,
    ] {
        assert!(function(nan).is_nan());
    }
    assert_eq!(
        (
            nan.powf(0.0),
            black_box(1.0f64).powf(nan),
            nan.max(1.0),
            1.0f64.min(nan)
        ),
        (1.0, 1.0, 1.0, 1.0)
    );
}

fn of_zeros() {
    let (zero, minus) = (black_box(0.0f64), black_box(-0.0f64));
    assert!(zero == minus && zero.to_bits() != minus.to_bits());
    assert_eq!(
        (1.0 / zero, 1.0 / minus),
        (f64::INFINITY, f64::NEG_INFINITY)
    );
    for function in [
        f64::sin,
        f64::tan,
        f64::asin,
        f64::atan,
        f64::sinh,
        f64::tanh,
        f64::asinh,
        f64::atanh,
        f64::cbrt,
        f64::exp_m1,
        f64::ln_1p,
    ] {
        assert!(function(minus) == 0.0 && function(minus).is_sign_negative());
    }
    assert!((zero + minus).is_sign_positive() && (minus + minus).is_sign_negative());
}

fn powers_at_their_edges() {
    let power = |x: f64, y: f64| black_box(x).powf(black_box(y));
    assert_eq!(
        (power(0.0, -1.0), power(-0.0, -1.0), power(-0.0, -2.0)),
        (f64::INFINITY, f64::NEG_INFINITY, f64::INFINITY)
    );
    assert_eq!((power(-2.0, 3.0), power(-2.0, 2.0)), (-8.0, 4.0));
    assert!(power(-2.0, 0.5).is_nan());
    assert_eq!(
        (power(2.0, 1024.0), power(2.0, -1075.0), power(-2.0, 1025.0)),
        (f64::INFINITY, 0.0, f64::NEG_INFINITY)
    );
    assert_eq!(
        (
            power(-1.0, f64::INFINITY),
            power(0.5, f64::INFINITY),
            power(0.5, f64::NEG_INFINITY)
        ),
        (1.0, 0.0, f64::INFINITY)
    );
    assert_eq!(
        (
            power(f64::NEG_INFINITY, 3.0),
            power(f64::NEG_INFINITY, -3.0)
        ),
        (f64::NEG_INFINITY, -0.0)
    );
}

fn roots_and_logs_out_of_range() {
    assert_eq!(
        (
            black_box(0.0f64).ln(),
            black_box(0.0f64).log2(),
            black_box(-1.0f64).ln_1p()
        ),
        (f64::NEG_INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY)
    );
    assert!(
        black_box(-1.0f64).ln().is_nan()
            && black_box(-1.0f64).log10().is_nan()
            && black_box(-2.0f64).ln_1p().is_nan()
    );
    assert!(
        black_box(0.5f64).acosh().is_nan()
            && black_box(2.0f64).atanh().is_nan()
            && black_box(2.0f64).asin().is_nan()
    );
    assert_eq!(black_box(-8.0f64).cbrt(), -2.0);
    assert_eq!(black_box(1.0f64).atanh(), f64::INFINITY);
}

fn trigonometry_out_of_range() {
    for x in [f64::INFINITY, f64::NEG_INFINITY] {
        assert!(
            black_box(x).sin().is_nan()
                && black_box(x).cos().is_nan()
                && black_box(x).tan().is_nan()
        );
    }
    assert!(black_box(f64::MAX).sin().abs() <= 1.0 && black_box(f64::MAX).cos().abs() <= 1.0);
}

fn atan2_of_signs() {
    let angle = |y: f64, x: f64| black_box(y).atan2(black_box(x));
    assert_eq!(
        (angle(0.0, 1.0), angle(0.0, -1.0), angle(-0.0, -1.0)),
        (0.0, consts::PI, -consts::PI)
    );
    assert_eq!(
        (angle(1.0, 0.0), angle(-1.0, -0.0)),
        (consts::FRAC_PI_2, -consts::FRAC_PI_2)
    );
    assert_eq!(
        (
            angle(f64::INFINITY, f64::INFINITY),
            angle(f64::INFINITY, f64::NEG_INFINITY)
        ),
        (consts::FRAC_PI_4, 3.0 * consts::FRAC_PI_4)
    );
}

fn min_max_and_clamp() {
    let x = black_box(1.5f64);
    assert_eq!(
        (x.min(2.0), x.max(2.0), x.clamp(0.0, 1.0), x.clamp(2.0, 3.0)),
        (1.5, 2.0, 1.0, 2.0)
    );
    assert!(black_box(f64::NAN).clamp(0.0, 1.0).is_nan());
    assert_eq!((f64::INFINITY.min(x), f64::NEG_INFINITY.max(x)), (1.5, 1.5));
}

fn total_order() {
    let mut all = [
        1.0,
        f64::NAN,
        -0.0,
        f64::NEG_INFINITY,
        0.0,
        -f64::NAN,
        f64::INFINITY,
        -1.0,
        5e-324,
    ];
    all.sort_by(f64::total_cmp);
    let signs: Vec<String> = all
        .iter()
        .map(|x| format!("{x:?}{}", if x.is_sign_negative() { "-" } else { "+" }))
        .collect();
    assert_eq!(
        signs,
        [
            "NaN-", "-inf-", "-1.0-", "-0.0-", "0.0+", "5e-324+", "1.0+", "inf+", "NaN+"
        ]
    );
}

fn copysign_and_signum() {
    assert_eq!(
        (
            black_box(3.0f64).copysign(-0.0),
            black_box(-3.0f64).copysign(1.0)
        ),
        (-3.0, 3.0)
    );
    assert_eq!(
        (
            black_box(-2.0f64).signum(),
            black_box(0.0f64).signum(),
            black_box(-0.0f64).signum()
        ),
        (-1.0, 1.0, -1.0)
    );
    assert!(black_box(f64::NAN).copysign(-1.0).is_sign_negative() && f64::NAN.signum().is_nan());
}

fn abs_and_neg() {
    assert!(black_box(-0.0f64).abs().is_sign_positive() && (-black_box(f64::NAN)).is_nan());
    assert_eq!(
        (black_box(f64::NEG_INFINITY).abs(), -black_box(f32::MIN)),
        (f64::INFINITY, f32::MAX)
    );
}

fn classes() {
    for (x, class) in [
        (1.0, FpCategory::Normal),
        (-0.0, FpCategory::Zero),
        (5e-324, FpCategory::Subnormal),
        (f64::MIN_POSITIVE, FpCategory::Normal),
        (f64::NAN, FpCategory::Nan),
        (f64::NEG_INFINITY, FpCategory::Infinite),
    ] {
        assert_eq!(black_box(x).classify(), class, "{x}");
    }
    assert!(
        f64::MIN_POSITIVE.is_normal()
            && (f64::MIN_POSITIVE / 2.0).is_subnormal()
            && !f64::NAN.is_finite()
    );
}

fn next_up_and_down() {
    assert_eq!(
        (1.0f64.next_up() - 1.0, 1.0f64.next_down()),
        (f64::EPSILON, 1.0 - f64::EPSILON / 2.0)
    );
    assert_eq!(
        (0.0f64.next_up(), (-0.0f64).next_up(), f64::MAX.next_up()),
        (5e-324, 5e-324, f64::INFINITY)
    );
    assert_eq!(f64::INFINITY.next_down(), f64::MAX);
}

fn casts_saturate() {
    assert_eq!(
        (
            black_box(300.0f64) as u8,
            black_box(-5.0f64) as u8,
            black_box(f64::NAN) as i32
        ),
        (255, 0, 0)
    );
    assert_eq!(
        (
            black_box(1e300f64) as i64,
            black_box(f64::NEG_INFINITY) as i64,
            black_box(1e300) as u128
        ),
        (i64::MAX, i64::MIN, u128::MAX)
    );
    assert_eq!(
        (
            black_box(-1.9f64) as i32,
            black_box(1.9f32) as u32,
            black_box(1e300f64) as f32
        ),
        (-1, 1, f32::INFINITY)
    );
}

fn casts_round() {
    assert_eq!(
        (black_box(u64::MAX) as f64, black_box(i64::MAX) as f32),
        (18_446_744_073_709_551_616.0, 9_223_372_036_854_775_808.0)
    );
    assert_eq!(
        (
            black_box(9_007_199_254_740_993_u64) as f64,
            black_box(16_777_217_u32) as f32
        ),
        (9_007_199_254_740_992.0, 16_777_216.0)
    );
    assert_eq!(black_box(u128::MAX) as f32, f32::INFINITY);
    assert_eq!(black_box(0.1f64) as f32, 0.1);
}

fn bits_of_numbers() {
    assert_eq!(
        (1.0f64.to_bits(), (-2.0f64).to_bits(), 1.0f32.to_bits()),
        (0x3ff0_0000_0000_0000, 0xc000_0000_0000_0000, 0x3f80_0000)
    );
    assert_eq!(f64::from_bits(0x7ff0_0000_0000_0001).is_nan(), true);
    assert_eq!(
        f64::from_be_bytes([0x40, 0x09, 0x21, 0xfb, 0x54, 0x44, 0x2d, 0x18]),
        consts::PI
    );
    assert_eq!(f32::from_le_bytes(1.5f32.to_le_bytes()), 1.5);
}

fn tests_of_f32_bits() {
    for bits in (0..=u32::MAX).step_by(65_521) {
        let x = f32::from_bits(bits);
        assert!(x.is_nan() || (f64::from(x) as f32).to_bits() == bits);
    }
}

/// Where the CPU would take them for zero, they would be.
fn subnormals_are_kept() {
    let least = black_box(5e-324f64);
    assert!(least > 0.0 && least / 2.0 == 0.0 && least * 3.0 == 1.5e-323);
    assert_eq!(black_box(f64::MIN_POSITIVE) / 4.0 * 4.0, f64::MIN_POSITIVE);
    assert_eq!(black_box(1e-45f32) + black_box(1e-45f32), 3e-45);
}

fn overflow_and_underflow() {
    assert_eq!(
        (black_box(f64::MAX) * 2.0, black_box(f64::MIN) * 2.0),
        (f64::INFINITY, f64::NEG_INFINITY)
    );
    assert_eq!(
        (
            black_box(709.8f64).exp(),
            black_box(-746.0f64).exp(),
            black_box(89.0f32).exp()
        ),
        (f64::INFINITY, 0.0, f32::INFINITY)
    );
    assert_eq!(black_box(f64::MAX) + 1.0, f64::MAX);
}

fn exact_powers_of_two() {
    let mut expected = 5e-324f64;
    for exponent in -1074..1024 {
        assert_eq!(
            black_box(2.0f64).powf(f64::from(exponent)),
            expected,
            "{exponent}"
        );
        expected *= 2.0;
    }
}

fn exact_exp2() {
    for exponent in -1022..1024 {
        let x = f64::from(exponent);
        assert_eq!(black_box(x).exp2(), black_box(2.0f64).powf(x));
        assert_eq!(black_box(2.0f64).powf(x).log2(), x);
    }
}

fn powi() {
    assert_eq!(
        (
            black_box(3.0f64).powi(4),
            black_box(2.0f64).powi(-2),
            black_box(0.0f64).powi(0)
        ),
        (81.0, 0.25, 1.0)
    );
    assert_eq!(
        (black_box(-2.0f64).powi(3), black_box(10.0f32).powi(3)),
        (-8.0, 1000.0)
    );
}

fn exact_cubes() {
    for number in -50..50i32 {
        let x = f64::from(number);
        assert_eq!(black_box(x * x * x).cbrt(), x);
    }
}

fn sin_cos_is_both() {
    for number in -40..40i32 {
        let x = black_box(f64::from(number) * 0.37);
        let (sin, cos) = x.sin_cos();
        assert!(ulps(sin, x.sin()) <= 1 && ulps(cos, x.cos()) <= 1);
        assert!((sin * sin + cos * cos - 1.0).abs() < 1e-15);
    }
}

fn to_degrees() {
    assert_eq!(
        (consts::PI.to_degrees(), 180.0f64.to_radians()),
        (180.0, consts::PI)
    );
    assert_eq!(90.0f32.to_radians(), std::f32::consts::FRAC_PI_2);
}

fn recip() {
    assert_eq!(
        (black_box(4.0f64).recip(), black_box(0.0f64).recip()),
        (0.25, f64::INFINITY)
    );
}

/// Of `f32`, which has functions of its own: to the nearest, and a unit beside it.
fn single_precision_functions() {
    let near = |found: f32, exact: f64, name: &str, x: f32| {
        let apart = found.to_bits().abs_diff((exact as f32).to_bits());
        assert!(apart <= 2, "{name}({x}) is {found}, not {exact}");
    };
    for number in 1..60u16 {
        let x = black_box(f32::from(number) * 0.173);
        let wide = f64::from(x);
        near(x.sin(), wide.sin(), "sin", x);
        near(x.cos(), wide.cos(), "cos", x);
        near(x.tan(), wide.tan(), "tan", x);
        near(x.atan(), wide.atan(), "atan", x);
        near(x.exp(), wide.exp(), "exp", x);
        near(x.ln(), wide.ln(), "ln", x);
        near(x.log2(), wide.log2(), "log2", x);
        near(x.log10(), wide.log10(), "log10", x);
        near(x.cbrt(), wide.cbrt(), "cbrt", x);
        near(x.sqrt(), wide.sqrt(), "sqrt", x);
        near(x.tanh(), wide.tanh(), "tanh", x);
        near(x.sinh(), wide.sinh(), "sinh", x);
        near(x.powf(1.3), wide.powf(f64::from(1.3f32)), "powf", x);
        near(x.exp_m1(), wide.exp_m1(), "exp_m1", x);
        near(x.ln_1p(), wide.ln_1p(), "ln_1p", x);
        near((x / 11.0).asin(), f64::from(x / 11.0).asin(), "asin", x);
        near(x.asinh(), wide.asinh(), "asinh", x);
        near(x.hypot(2.5), wide.hypot(2.5), "hypot", x);
    }
}

fn single_precision_rounding() {
    assert_eq!(
        [
            black_box(2.5f32).round(),
            black_box(-2.5f32).round(),
            black_box(0.499_999_97f32).round()
        ],
        [3.0, -3.0, 0.0]
    );
    assert_eq!(
        (black_box(7.5f32) % 2.0, black_box(-1.5f32).rem_euclid(1.0)),
        (1.5, 0.5)
    );
}

fn midpoint() {
    assert_eq!(
        (1.0f64.midpoint(4.0), f64::MAX.midpoint(f64::MAX)),
        (2.5, f64::MAX)
    );
}

fn sums_in_order() {
    assert_eq!([0.1f64; 10].iter().sum::<f64>(), 0.9999999999999999);
    assert_eq!([1e16, 1.0, -1e16].iter().sum::<f64>(), 0.0);
    assert_eq!([1.5f32, 2.0].iter().product::<f32>(), 3.0);
}

fn from_integers() {
    assert_eq!(
        (f64::from(i32::MIN), f32::from(u16::MAX), f64::from(true)),
        (-2_147_483_648.0, 65_535.0, 1.0)
    );
    assert_eq!(f64::from(0.1f32), 0.10000000149011612);
}
