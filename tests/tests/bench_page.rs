//! The page of `jiffy bench --html` in a real browser, Debian's chromium: it is shown, measured and printed.
//! What it looked like stays in `target/jiffy-tests/bench-page`, for people.
#![expect(
    clippy::print_stderr,
    reason = "a test's harness catches what is printed so, and nothing else"
)]

use std::{
    collections::HashMap,
    env, fs,
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
    process::Command,
};

/// Set to `1` where a missing browser is a failure and no reason to skip: in CI.
const REQUIRE_CHROMIUM: &str = "JIFFY_REQUIRE_CHROMIUM";
/// High enough for all of the page.
const TALL: u32 = 7000;

/// The first series, and what lies behind them: `--c0` to `--c4`, `--card` and `--page` of `style.css`.
const LIGHT: [u32; 7] = [
    0x1d5fc4, 0xb9480b, 0x0a7a70, 0x7b3db5, 0xb3205f, 0xffffff, 0xf6f7f9,
];
const DARK: [u32; 7] = [
    0x74a9ff, 0xff9d5c, 0x3fd0c0, 0xc99cf7, 0xff86b4, 0x181e28, 0x10141b,
];

/// Whether there is a browser. If not, it says why, and the test returns.
fn require_chromium() -> bool {
    let found = Command::new("chromium").arg("--version").output();
    if found.is_ok_and(|output| output.status.success()) {
        return true;
    }
    let is_required = env::var(REQUIRE_CHROMIUM).is_ok_and(|value| value == "1");
    assert!(
        !is_required,
        "chromium does not run, and {REQUIRE_CHROMIUM}=1 demands it"
    );
    eprintln!("skipped: chromium does not run; install Debian's package chromium");
    false
}

fn output_dir() -> PathBuf {
    let path = jiffy_tests::cache_dir().join("bench-page");
    fs::create_dir_all(&path).expect("a directory for what the page looks like");
    path
}

/// The page that `jiffy-bench` makes of a fixed report.
fn page() -> String {
    let report = jiffy_tests::workspace_root().join("tests/data/bench-report.json");
    let mut command = Command::new(jiffy_tests::bench_path());
    let output = command
        .arg("page")
        .arg(report)
        .output()
        .expect("jiffy-bench runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Opens `html` in a browser that is told `arguments`; what that prints.
fn browse(html: &str, arguments: &[String]) -> String {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = folder.path().join("page.html");
    fs::write(&file, html).expect("a page to open");
    let mut command = Command::new("chromium");
    // Tests run as root, where chromium has no sandbox; and the page is ours.
    command
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
        ])
        .args([
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
        ])
        .arg(format!(
            "--user-data-dir={}",
            folder.path().join("profile").display()
        ))
        .args(arguments)
        .arg(format!("file://{}", file.display()));
    let output = command.output().expect("chromium runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{said}",
        output.status
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// How often each colour is in a picture of so many pixels.
struct Picture {
    size: (u32, u32),
    colours: HashMap<[u8; 3], usize>,
}

impl Picture {
    fn of(html: &str, name: &str, (width, height): (u32, u32), is_dark: bool) -> Self {
        let path = output_dir().join(name);
        // A picture of an earlier run is none of this one.
        let _ = fs::remove_file(&path);
        let arguments = [
            format!(
                "--blink-settings=preferredColorScheme={}",
                u8::from(!is_dark)
            ),
            format!("--window-size={width},{height}"),
            format!("--screenshot={}", path.display()),
        ];
        browse(html, &arguments);
        Self::read(&path)
    }

    fn read(path: &Path) -> Self {
        let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut decoder = png::Decoder::new(BufReader::new(file));
        decoder.set_transformations(png::Transformations::normalize_to_color8());
        let mut reader = decoder.read_info().expect("a PNG");
        let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
        let info = reader.next_frame(&mut pixels).expect("a picture");
        let mut colours = HashMap::new();
        for pixel in pixels[..info.buffer_size()].chunks_exact(info.color_type.samples()) {
            let colour = [pixel[0], pixel[1], pixel[2]];
            *colours.entry(colour).or_default() += 1;
        }
        Self {
            size: (info.width, info.height),
            colours,
        }
    }

    /// Pixels of that colour, or one so near that only smoothed edges explain it.
    fn count(&self, colour: u32) -> usize {
        let [_, wanted @ ..] = colour.to_be_bytes();
        let is_near = |found: &[u8; 3]| {
            found
                .iter()
                .zip(wanted)
                .all(|(found, wanted)| found.abs_diff(wanted) <= 6)
        };
        self.colours
            .iter()
            .filter(|(found, _)| is_near(found))
            .map(|(_, count)| count)
            .sum()
    }
}

#[test]
fn a_phone_and_a_desk_show_it_by_day_and_by_night() {
    if !require_chromium() {
        return;
    }
    let page = page();
    for (name, size, is_dark) in [
        ("phone.png", (390, 844), false),
        ("desk.png", (1280, 900), false),
        ("phone-dark.png", (390, 844), true),
    ] {
        let picture = Picture::of(&page, name, size, is_dark);
        assert_eq!(picture.size, size, "{name}");
        assert!(
            picture.colours.len() > 40,
            "{name} has {} colours",
            picture.colours.len()
        );
    }
    for (name, width, is_dark) in [
        ("phone-all.png", 390, false),
        ("desk-all.png", 1280, false),
        ("desk-all-dark.png", 1280, true),
    ] {
        let picture = Picture::of(&page, name, (width, TALL), is_dark);
        let (here, elsewhere) = if is_dark {
            (DARK, LIGHT)
        } else {
            (LIGHT, DARK)
        };
        for colour in here {
            assert!(
                picture.count(colour) > 50,
                "{name}: {} pixels of {colour:06x}",
                picture.count(colour)
            );
        }
        // The night's colours are not the day's.
        let background = elsewhere[6];
        assert!(
            picture.count(background) < 500,
            "{name}: {} pixels of {background:06x}",
            picture.count(background)
        );
    }
}

/// How wide each of `pages` is if it has so much room. A frame can be narrower than any window.
fn widths(pages: &[(&str, u32)]) -> Vec<u32> {
    const MEASURE: &str =
        "<script>addEventListener('load', () => { document.body.dataset.widths = [...document.querySelectorAll('iframe')]
        .map(frame => frame.contentDocument.documentElement.scrollWidth).join(' '); })</script>";
    let frame = |(page, width): &(&str, u32)| {
        let page = page.replace('&', "&amp;").replace('"', "&quot;");
        format!("<iframe width={width} height=844 style='border: 0' srcdoc=\"{page}\"></iframe>")
    };
    let frames: String = pages.iter().map(frame).collect();
    let dom = browse(&format!("<body>{frames}{MEASURE}"), &["--dump-dom".into()]);
    let (_, found) = dom.split_once("data-widths=\"").expect("the script ran");
    let (found, _) = found.split_once('"').expect("an attribute");
    let numbers = found
        .split(' ')
        .map(|number| number.parse().expect("a width"));
    numbers.collect()
}

#[test]
fn nothing_sticks_out() {
    if !require_chromium() {
        return;
    }
    let page = page();
    let rooms = [360, 390, 768, 1280];
    assert_eq!(widths(&rooms.map(|width| (&*page, width))), rooms);
    // What does stick out is seen.
    let wide = page.replacen("<main>", "<main><div style=\"width: 3000px\">wide</div>", 1);
    assert!(widths(&[(&wide, 390)])[0] >= 3000);
}

#[test]
fn it_can_be_printed() {
    if !require_chromium() {
        return;
    }
    let path = output_dir().join("page.pdf");
    let _ = fs::remove_file(&path);
    let arguments = [
        "--no-pdf-header-footer".into(),
        format!("--print-to-pdf={}", path.display()),
    ];
    browse(&page(), &arguments);
    let pdf = fs::read(&path).expect("a PDF");
    assert!(
        pdf.starts_with(b"%PDF-") && pdf.len() > 20_000,
        "{} bytes",
        pdf.len()
    );
    let text = String::from_utf8_lossy(&pdf);
    let sheets = text.matches("/Type /Page\n").count();
    assert!((3..=9).contains(&sheets), "{sheets} sheets");
}

#[test]
fn what_is_no_report_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let report = folder.path().join("report.json");
    let page = folder.path().join("page.html");
    for text in ["", "{}", "[1, 2", "{\"schema\": 1}"] {
        fs::write(&report, text).expect("a file");
        let mut command = Command::new(jiffy_tests::bench_path());
        let output = command
            .arg("page")
            .arg(&report)
            .arg("-o")
            .arg(&page)
            .output();
        let output = output.expect("jiffy-bench runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{text}: {said}");
        assert!(
            said.starts_with("error: ") && said.contains("report.json"),
            "{said}"
        );
        assert!(!page.exists(), "{text}");
    }
}
