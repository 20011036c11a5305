//! `io`.

use std::io::{
    self, BufRead, BufReader, BufWriter, Cursor, Error, ErrorKind, IoSlice, IoSliceMut, LineWriter,
    Read, Seek, SeekFrom, Write,
};

tests! {
    cursor_reads_and_seeks cursor_writes_into_a_vec cursor_writes_into_a_slice cursor_past_the_end
    buf_reader_fills_and_consumes buf_reader_seeks buf_reader_passes_large_reads_by read_until_and_skip read_line_and_lines split
    buf_writer_waits buf_writer_flushes_when_dropped buf_writer_into_inner line_writer_writes_lines line_writer_of_halves
    copy_all copy_n take_limits chain_reads_both bytes_one_by_one read_to_end_grows read_to_string_checks
    read_exact_of_too_few write_all_of_nothing interrupted_is_tried_again empty_repeat_sink vectored_reads vectored_writes
    error_kinds error_with_a_source error_of_the_system errors_are_told by_ref seek_of_each_kind
    slices_read_and_write write_fmt_tells_errors stdout_takes_all stderr_takes_all buf_reader_peeks_lines pipes
    read_buf_of_a_deque has_data_left_by_hand
}

/// What reads a byte at a time, and is interrupted before each.
struct Slow<'a>(&'a [u8], bool);

impl Read for Slow<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.1 = !self.1;
        if self.1 {
            return Err(ErrorKind::Interrupted.into());
        }
        let count = self.0.len().min(1).min(to.len());
        to[..count].copy_from_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        Ok(count)
    }
}

/// What keeps each write that it is given, of five bytes at most.
#[derive(Default)]
struct Few(Vec<Vec<u8>>);

impl Write for Few {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(5);
        self.0.push(bytes[..count].to_vec());
        Ok(count)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn cursor_reads_and_seeks() {
    let mut cursor = Cursor::new(b"0123456789");
    let mut bytes = [0; 4];
    assert_eq!(
        (cursor.read(&mut bytes).ok(), &bytes, cursor.position()),
        (Some(4), b"0123", 4)
    );
    assert_eq!(cursor.seek(SeekFrom::End(-2)).ok(), Some(8));
    assert_eq!(
        (cursor.read(&mut bytes).ok(), &bytes[..2]),
        (Some(2), &b"89"[..])
    );
    assert_eq!(
        cursor
            .seek(SeekFrom::Current(-11))
            .map_err(|error| error.kind()),
        Err(ErrorKind::InvalidInput)
    );
    assert_eq!(cursor.position(), 10);
}

fn seek_of_each_kind() {
    let mut cursor = Cursor::new(vec![0; 10]);
    assert_eq!(cursor.seek(SeekFrom::Start(u64::MAX)).ok(), Some(u64::MAX));
    assert!(cursor.seek(SeekFrom::Current(1)).is_err());
    cursor.rewind().expect("a place");
    cursor.seek_relative(3).expect("a place");
    assert_eq!(cursor.stream_position().ok(), Some(3));
}

fn cursor_writes_into_a_vec() {
    let mut cursor = Cursor::new(vec![1, 2, 3]);
    cursor.set_position(1);
    cursor.write_all(&[8, 9, 10]).expect("room");
    assert_eq!(cursor.into_inner(), [1, 8, 9, 10]);
}

fn cursor_writes_into_a_slice() {
    let mut room = [0; 4];
    let mut cursor = Cursor::new(&mut room[..]);
    assert_eq!(cursor.write(&[1, 2, 3]).ok(), Some(3));
    assert_eq!(cursor.write(&[4, 5]).ok(), Some(1));
    assert_eq!(cursor.write(&[6]).ok(), Some(0));
    assert_eq!(
        cursor.write_all(&[6]).map_err(|error| error.kind()),
        Err(ErrorKind::WriteZero)
    );
    assert_eq!(room, [1, 2, 3, 4]);
}

fn cursor_past_the_end() {
    let mut cursor = Cursor::new(vec![1]);
    cursor.set_position(3);
    assert_eq!(cursor.read(&mut [0; 2]).ok(), Some(0));
    cursor.write_all(&[7]).expect("room");
    assert_eq!(cursor.into_inner(), [1, 0, 0, 7]);
}

fn buf_reader_fills_and_consumes() {
    let mut reader = BufReader::with_capacity(4, &b"0123456789"[..]);
    assert_eq!(reader.fill_buf().ok(), Some(&b"0123"[..]));
    reader.consume(3);
    assert_eq!((reader.buffer(), reader.capacity()), (&b"3"[..], 4));
    let mut bytes = [0; 3];
    assert_eq!((reader.read(&mut bytes).ok(), bytes[0]), (Some(1), b'3'));
    reader.read_exact(&mut bytes).expect("three");
    assert_eq!((&bytes, reader.into_inner()), (b"456", &b"89"[..]));
}

fn buf_reader_seeks() {
    let mut reader = BufReader::with_capacity(4, Cursor::new(b"0123456789"));
    reader.read_exact(&mut [0; 2]).expect("two");
    assert_eq!(reader.stream_position().ok(), Some(2));
    reader.seek_relative(1).expect("a place");
    assert_eq!(reader.buffer(), b"3");
    assert_eq!(reader.seek(SeekFrom::Current(3)).ok(), Some(6));
    let mut rest = String::new();
    reader.read_to_string(&mut rest).expect("text");
    assert_eq!(rest, "6789");
}

fn buf_reader_passes_large_reads_by() {
    let mut reader = BufReader::with_capacity(4, &b"0123456789"[..]);
    let mut bytes = [0; 8];
    assert_eq!(reader.read(&mut bytes).ok(), Some(8));
    assert_eq!(reader.buffer(), b"");
}

fn buf_reader_peeks_lines() {
    let mut reader = BufReader::with_capacity(2, &b"ab\ncd\n"[..]);
    let mut line = String::new();
    assert_eq!(reader.read_line(&mut line).ok(), Some(3));
    assert_eq!(reader.read_line(&mut line).ok(), Some(3));
    assert_eq!(
        (reader.read_line(&mut line).ok(), line.as_str()),
        (Some(0), "ab\ncd\n")
    );
}

fn has_data_left_by_hand() {
    let mut reader = &b"x"[..];
    assert_eq!(reader.fill_buf().map(<[u8]>::is_empty).ok(), Some(false));
    reader.consume(1);
    assert_eq!(reader.fill_buf().map(<[u8]>::is_empty).ok(), Some(true));
}

fn read_until_and_skip() {
    let mut reader = &b"a;bb;ccc"[..];
    let mut part = Vec::new();
    assert_eq!(
        (reader.read_until(b';', &mut part).ok(), part.as_slice()),
        (Some(2), &b"a;"[..])
    );
    assert_eq!(reader.skip_until(b';').ok(), Some(3));
    part.clear();
    assert_eq!(
        (reader.read_until(b';', &mut part).ok(), part.as_slice()),
        (Some(3), &b"ccc"[..])
    );
    assert_eq!(reader.read_until(b';', &mut part).ok(), Some(0));
}

fn read_line_and_lines() {
    let lines: Vec<_> = b"one\r\ntwo\n\nfour"
        .lines()
        .map(|line| line.expect("text"))
        .collect();
    assert_eq!(lines, ["one", "two", "", "four"]);
    let mut line = String::new();
    assert_eq!(
        (&b"\xff\n"[..])
            .read_line(&mut line)
            .map_err(|error| error.kind()),
        Err(ErrorKind::InvalidData)
    );
    assert_eq!(line, "");
}

fn split() {
    let parts: Vec<_> = b"a-b--c"
        .split(|byte| *byte == b'-')
        .map(<[u8]>::to_vec)
        .collect();
    let read: Vec<_> = BufRead::split(&b"a-b--c"[..], b'-')
        .map(|part| part.expect("bytes"))
        .collect();
    assert_eq!(read, parts);
}

fn buf_writer_waits() {
    let mut writer = BufWriter::with_capacity(8, Vec::new());
    writer.write_all(b"1234").expect("room");
    assert_eq!((writer.get_ref().len(), writer.buffer()), (0, &b"1234"[..]));
    writer.write_all(b"567890").expect("room");
    assert_eq!(
        (writer.get_ref().as_slice(), writer.buffer()),
        (&b"1234"[..], &b"567890"[..])
    );
    writer.write_all(&[b'x'; 20]).expect("room");
    assert_eq!((writer.get_ref().len(), writer.buffer().len()), (30, 0));
}

fn buf_writer_flushes_when_dropped() {
    let mut all = Vec::new();
    BufWriter::new(&mut all).write_all(b"abc").expect("room");
    assert_eq!(all, b"abc");
}

fn buf_writer_into_inner() {
    let mut writer = BufWriter::with_capacity(100, Few::default());
    writer.write_all(b"0123456789").expect("room");
    let few = writer
        .into_inner()
        .map_err(|error| error.into_error())
        .expect("written");
    assert_eq!(few.0, [b"01234", b"56789"]);
    let mut writer = BufWriter::new(&mut [0u8; 0][..]);
    writer.write_all(b"x").expect("it waits");
    let (error, writer) = writer
        .into_inner()
        .map(|_| ())
        .expect_err("no room")
        .into_parts();
    assert_eq!(
        (error.kind(), writer.buffer()),
        (ErrorKind::WriteZero, &b"x"[..])
    );
    let (_, rest) = writer.into_parts();
    assert_eq!(rest.ok().as_deref(), Some(&b"x"[..]));
}

fn line_writer_writes_lines() {
    let mut writer = LineWriter::new(Vec::new());
    writer.write_all(b"a\nb").expect("room");
    assert_eq!(writer.get_ref(), b"a\n");
    writer.write_all(b"c\nd\ne").expect("room");
    assert_eq!(writer.get_ref(), b"a\nbc\nd\n");
    writer.flush().expect("room");
    assert_eq!(writer.get_ref(), b"a\nbc\nd\ne");
}

fn line_writer_of_halves() {
    let mut writer = LineWriter::with_capacity(4, Vec::new());
    writer.write_all(b"long without an end").expect("room");
    writer.write_all(b"\n").expect("room");
    assert_eq!(writer.get_ref(), b"long without an end\n");
}

fn copy_all() {
    let mut all = Vec::new();
    assert_eq!(
        io::copy(&mut Slow(b"slowly but all", false), &mut all).ok(),
        Some(14)
    );
    assert_eq!(all, b"slowly but all");
    let mut few = Few::default();
    assert_eq!(
        io::copy(&mut &vec![7; 20_000][..], &mut few).ok(),
        Some(20_000)
    );
    assert_eq!(few.0.concat(), vec![7; 20_000]);
}

fn copy_n() {
    let mut all = Vec::new();
    assert_eq!(
        io::copy(&mut io::repeat(b'x').take(100), &mut all).ok(),
        Some(100)
    );
    assert_eq!(all, [b'x'; 100]);
}

fn take_limits() {
    let mut taken = (&b"0123456789"[..]).take(4);
    let mut text = String::new();
    assert_eq!(
        (
            taken.read_to_string(&mut text).ok(),
            text.as_str(),
            taken.limit()
        ),
        (Some(4), "0123", 0)
    );
    taken.set_limit(2);
    assert_eq!(taken.fill_buf().ok(), Some(&b"45"[..]));
    taken.consume(1);
    assert_eq!((taken.limit(), taken.into_inner()), (1, &b"56789"[..]));
}

fn chain_reads_both() {
    let mut chain = (&b"ab"[..]).chain(&b"cd"[..]);
    let mut bytes = [0; 3];
    assert_eq!(chain.read(&mut bytes).ok(), Some(2));
    assert_eq!(chain.read(&mut bytes).ok(), Some(2));
    assert_eq!(chain.read(&mut bytes).ok(), Some(0));
    assert_eq!(
        (&b"a"[..])
            .chain(&b"b\nc"[..])
            .lines()
            .map_while(Result::ok)
            .collect::<Vec<_>>(),
        ["ab", "c"]
    );
}

fn bytes_one_by_one() {
    assert_eq!(
        Slow(b"abc", false)
            .bytes()
            .collect::<io::Result<Vec<u8>>>()
            .ok()
            .as_deref(),
        Some(&b"abc"[..])
    );
}

fn read_to_end_grows() {
    let mut all = vec![1];
    assert_eq!(
        Slow(&[7; 5000], false).read_to_end(&mut all).ok(),
        Some(5000)
    );
    assert_eq!((all.len(), all[0], all[5000]), (5001, 1, 7));
    // What just fits does not grow.
    let mut exact = Vec::with_capacity(64);
    let room = exact.capacity();
    (&[1; 64][..]).read_to_end(&mut exact).expect("bytes");
    assert_eq!(exact.capacity(), room);
}

fn read_to_string_checks() {
    let mut text = String::from("kept ");
    assert_eq!(
        (&b"\xe2\x82"[..])
            .read_to_string(&mut text)
            .map_err(|error| error.kind()),
        Err(ErrorKind::InvalidData)
    );
    assert_eq!(text, "kept ");
    (&b"\xe2\x82\xac"[..])
        .read_to_string(&mut text)
        .expect("text");
    assert_eq!(text, "kept €");
    assert_eq!(io::read_to_string(&b"all"[..]).ok().as_deref(), Some("all"));
}

fn read_exact_of_too_few() {
    let mut bytes = [0; 4];
    let error = Slow(b"abc", false)
        .read_exact(&mut bytes)
        .expect_err("three");
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (ErrorKind::UnexpectedEof, "failed to fill whole buffer")
    );
    Slow(b"abcd", false).read_exact(&mut bytes).expect("four");
    assert_eq!(&bytes, b"abcd");
}

fn write_all_of_nothing() {
    let mut few = Few::default();
    few.write_all(b"").expect("nothing");
    assert!(few.0.is_empty());
    few.write_all(b"0123456").expect("room");
    assert_eq!(few.0.len(), 2);
}

fn interrupted_is_tried_again() {
    let mut reader = Slow(b"x", false);
    assert_eq!(
        reader.read(&mut [0]).map_err(|error| error.kind()),
        Err(ErrorKind::Interrupted)
    );
    let mut line = String::new();
    BufReader::new(Slow(b"line\n", false))
        .read_line(&mut line)
        .expect("a line");
    assert_eq!(line, "line\n");
}

fn empty_repeat_sink() {
    assert_eq!(io::empty().read(&mut [0; 4]).ok(), Some(0));
    let mut bytes = [0; 4];
    io::repeat(7).read_exact(&mut bytes).expect("without end");
    assert_eq!(bytes, [7; 4]);
    assert_eq!(io::sink().write(&[0; 1000]).ok(), Some(1000));
    assert_eq!(io::empty().write(&[0; 10]).ok(), Some(10));
}

fn vectored_reads() {
    let (mut one, mut two) = ([0; 2], [0; 3]);
    let mut reader = &b"abcd"[..];
    let count = reader.read_vectored(&mut [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)]);
    assert_eq!((count.ok(), &one, &two), (Some(4), b"ab", b"cd\0"));
}

fn vectored_writes() {
    let mut all = Vec::new();
    let mut parts = [IoSlice::new(b"ab"), IoSlice::new(b"cde")];
    assert_eq!(all.write_vectored(&parts).ok(), Some(5));
    let mut rest = &mut parts[..];
    IoSlice::advance_slices(&mut rest, 3);
    assert_eq!((rest.len(), &*rest[0]), (1, &b"de"[..]));
    let mut few = Few::default();
    assert_eq!(
        few.write_vectored(&[IoSlice::new(b""), IoSlice::new(b"xyz")])
            .ok(),
        Some(3)
    );
}

fn error_kinds() {
    for (number, kind) in [
        (1, ErrorKind::PermissionDenied),
        (2, ErrorKind::NotFound),
        (4, ErrorKind::Interrupted),
        (11, ErrorKind::WouldBlock),
        (12, ErrorKind::OutOfMemory),
        (13, ErrorKind::PermissionDenied),
        (16, ErrorKind::ResourceBusy),
        (17, ErrorKind::AlreadyExists),
        (20, ErrorKind::NotADirectory),
        (21, ErrorKind::IsADirectory),
        (22, ErrorKind::InvalidInput),
        (27, ErrorKind::FileTooLarge),
        (28, ErrorKind::StorageFull),
        (29, ErrorKind::NotSeekable),
        (30, ErrorKind::ReadOnlyFilesystem),
        (32, ErrorKind::BrokenPipe),
        (36, ErrorKind::InvalidFilename),
        (38, ErrorKind::Unsupported),
        (39, ErrorKind::DirectoryNotEmpty),
        (110, ErrorKind::TimedOut),
        (111, ErrorKind::ConnectionRefused),
    ] {
        let error = Error::from_raw_os_error(number);
        assert_eq!((error.kind(), error.raw_os_error()), (kind, Some(number)));
    }
}

fn error_with_a_source() {
    let inner = "x".parse::<u8>().expect_err("no number");
    let error = Error::new(ErrorKind::InvalidData, inner.clone());
    assert_eq!(error.to_string(), inner.to_string());
    assert_eq!(
        error.get_ref().and_then(|inner| inner.downcast_ref()),
        Some(&inner)
    );
    assert_eq!(
        error.downcast::<std::num::ParseIntError>().ok(),
        Some(inner)
    );
    assert_eq!(Error::other("text").kind(), ErrorKind::Other);
}

fn error_of_the_system() {
    for number in [2, 13, 22] {
        let text = Error::from_raw_os_error(number).to_string();
        let end = format!(" (os error {number})");
        // What it says before that is the system's own.
        assert!(
            text.strip_suffix(&end).is_some_and(|text| !text.is_empty()),
            "{text}"
        );
    }
    std::fs::read("/no/such/file").expect_err("none");
    assert_eq!(Error::last_os_error().raw_os_error(), Some(2));
}

fn errors_are_told() {
    assert_eq!(
        Error::from(ErrorKind::NotFound).to_string(),
        "entity not found"
    );
    assert_eq!(
        format!("{:?}", Error::from(ErrorKind::TimedOut)),
        "Kind(TimedOut)"
    );
    assert_eq!(
        format!("{:?}", Error::other("why")),
        "Custom { kind: Other, error: \"why\" }"
    );
}

fn by_ref() {
    let mut reader = &b"abcdef"[..];
    let mut text = String::new();
    reader
        .by_ref()
        .take(2)
        .read_to_string(&mut text)
        .expect("text");
    reader.read_to_string(&mut text).expect("text");
    assert_eq!(text, "abcdef");
}

fn slices_read_and_write() {
    let mut room = [0; 3];
    let mut to = &mut room[..];
    assert_eq!(
        (
            to.write(b"ab").ok(),
            to.write(b"cd").ok(),
            to.write(b"e").ok()
        ),
        (Some(2), Some(1), Some(0))
    );
    assert_eq!(&room, b"abc");
}

fn read_buf_of_a_deque() {
    let mut deque = std::collections::VecDeque::from(*b"abcdef");
    deque.rotate_left(2);
    let mut bytes = [0; 4];
    deque.read_exact(&mut bytes).expect("four");
    assert_eq!((&bytes, deque.len()), (b"cdef", 2));
    deque.write_all(b"xyz").expect("room");
    assert_eq!(io::read_to_string(deque).ok().as_deref(), Some("abxyz"));
}

fn write_fmt_tells_errors() {
    struct Refuses;
    impl std::fmt::Display for Refuses {
        fn fmt(&self, _to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            Ok(())
        }
    }
    assert!(write!(&mut Vec::new(), "{Refuses}").is_ok());
    let mut none: &mut [u8] = &mut [];
    assert_eq!(
        write!(none, "x").map_err(|error| error.kind()),
        Err(ErrorKind::WriteZero)
    );
    none = &mut [];
    assert!(write!(none, "").is_ok());
}

fn stdout_takes_all() {
    let mut out = io::stdout().lock();
    out.write_all(b"a line of a test\n").expect("room");
    out.flush().expect("room");
}

fn stderr_takes_all() {
    io::stderr()
        .lock()
        .write_all(b"a line of a test\n")
        .expect("room");
}

fn pipes() {
    // Not there without a kernel: an error and no panic, or a pipe that works.
    match io::pipe() {
        Ok((mut reader, mut writer)) => {
            writer.write_all(b"x").expect("room");
            drop(writer);
            let mut all = Vec::new();
            reader.read_to_end(&mut all).expect("bytes");
            assert_eq!(all, b"x");
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::Unsupported),
    }
}
