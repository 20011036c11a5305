//! `sync::mpsc`.

use std::{
    sync::mpsc::{
        self, RecvError, RecvTimeoutError, SendError, TryRecvError, TrySendError, channel,
        sync_channel,
    },
    thread,
    time::{Duration, Instant},
};

tests! {
    in_order many_senders receiver_is_gone senders_are_gone what_was_sent_is_received_after_the_sender try_recv
    recv_timeout_is_over recv_timeout_in_time recv_timeout_disconnected iterators try_iter bounded_waits_for_room
    bounded_is_full rendezvous rendezvous_has_no_room bounded_in_order drops_what_nobody_received errors_are_told
    channels_over_channels large_messages wakes_a_receiver_when_the_last_sender_goes oneshot_many_times
    bounded_sender_is_told_that_nobody_receives recv_timeout_of_nothing_and_of_much
}

const MS: Duration = Duration::from_millis(1);

fn in_order() {
    let (send, receive) = channel();
    let thread = thread::spawn(move || (0..1000).try_for_each(|number| send.send(number)));
    assert!(receive.iter().eq(0..1000));
    assert_eq!(thread.join().ok(), Some(Ok(())));
}

fn many_senders() {
    let (send, receive) = channel();
    for sender in 0..5 {
        let send = send.clone();
        thread::spawn(move || {
            for number in 0..100 {
                send.send((sender, number)).expect("somebody receives");
            }
        });
    }
    drop(send);
    let mut next = [0; 5];
    for (sender, number) in receive {
        assert_eq!(number, next[sender]);
        next[sender] += 1;
    }
    assert_eq!(next, [100; 5]);
}

fn receiver_is_gone() {
    let (send, receive) = channel();
    drop(receive);
    assert_eq!(send.send(7), Err(SendError(7)));
    let (send, receive) = sync_channel(1);
    drop(receive);
    assert_eq!(send.send(7), Err(SendError(7)));
    assert_eq!(send.try_send(8), Err(TrySendError::Disconnected(8)));
}

fn senders_are_gone() {
    let (send, receive) = channel::<u8>();
    let other = send.clone();
    drop(send);
    assert_eq!(receive.try_recv(), Err(TryRecvError::Empty));
    drop(other);
    assert_eq!(
        (receive.recv(), receive.try_recv()),
        (Err(RecvError), Err(TryRecvError::Disconnected))
    );
}

fn what_was_sent_is_received_after_the_sender() {
    let (send, receive) = channel();
    for number in 0..100 {
        send.send(number).expect("somebody receives");
    }
    drop(send);
    assert!(receive.iter().eq(0..100));
    assert_eq!(receive.recv(), Err(RecvError));
}

fn try_recv() {
    let (send, receive) = channel();
    assert_eq!(receive.try_recv(), Err(TryRecvError::Empty));
    send.send(1).expect("somebody receives");
    assert_eq!(
        (receive.try_recv(), receive.try_recv()),
        (Ok(1), Err(TryRecvError::Empty))
    );
}

fn recv_timeout_is_over() {
    let (_send, receive) = channel::<u8>();
    let start = Instant::now();
    assert_eq!(receive.recv_timeout(5 * MS), Err(RecvTimeoutError::Timeout));
    assert!(start.elapsed() >= 5 * MS);
}

fn recv_timeout_of_nothing_and_of_much() {
    let (send, receive) = channel();
    assert_eq!(
        receive.recv_timeout(Duration::ZERO),
        Err(RecvTimeoutError::Timeout)
    );
    send.send(1).expect("somebody receives");
    assert_eq!(receive.recv_timeout(Duration::MAX), Ok(1));
}

fn recv_timeout_in_time() {
    let (send, receive) = channel();
    thread::spawn(move || {
        thread::sleep(2 * MS);
        send.send(9).expect("somebody receives");
    });
    assert_eq!(receive.recv_timeout(Duration::from_secs(20)), Ok(9));
}

fn recv_timeout_disconnected() {
    let (send, receive) = channel::<u8>();
    thread::spawn(move || {
        thread::sleep(MS);
        drop(send);
    });
    assert_eq!(
        receive.recv_timeout(Duration::from_secs(20)),
        Err(RecvTimeoutError::Disconnected)
    );
}

fn iterators() {
    let (send, receive) = channel();
    thread::spawn(move || ["a", "b"].map(|text| send.send(text)));
    assert_eq!(receive.into_iter().collect::<String>(), "ab");
}

fn try_iter() {
    let (send, receive) = channel();
    send.send(1).expect("somebody receives");
    send.send(2).expect("somebody receives");
    assert_eq!(receive.try_iter().collect::<Vec<_>>(), [1, 2]);
    assert_eq!(receive.try_iter().next(), None);
}

fn bounded_waits_for_room() {
    let (send, receive) = sync_channel(2);
    let thread = thread::spawn(move || {
        for number in 0..50 {
            send.send(number).expect("somebody receives");
        }
    });
    thread::sleep(MS);
    assert!(!thread.is_finished());
    assert!(receive.iter().eq(0..50));
    thread.join().expect("ended");
}

fn bounded_is_full() {
    let (send, receive) = sync_channel(1);
    assert_eq!(send.try_send(1), Ok(()));
    assert_eq!(send.try_send(2), Err(TrySendError::Full(2)));
    assert_eq!(receive.recv(), Ok(1));
    assert_eq!(send.try_send(3), Ok(()));
}

fn rendezvous() {
    let (send, receive) = sync_channel(0);
    let thread = thread::spawn(move || {
        for number in 0..20 {
            send.send(number).expect("somebody receives");
        }
    });
    assert!(receive.iter().eq(0..20));
    thread.join().expect("ended");
}

fn rendezvous_has_no_room() {
    let (send, receive) = sync_channel(0);
    assert_eq!(send.try_send(1), Err(TrySendError::Full(1)));
    assert_eq!(receive.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(receive.recv_timeout(MS), Err(RecvTimeoutError::Timeout));
}

fn bounded_in_order() {
    for room in [1, 3, 16] {
        let (send, receive) = sync_channel(room);
        thread::spawn(move || (0..200).try_for_each(|number| send.send(number)));
        assert!(receive.iter().eq(0..200), "{room}");
    }
}

fn bounded_sender_is_told_that_nobody_receives() {
    let (send, receive) = sync_channel(0);
    let thread = thread::spawn(move || send.send(1));
    thread::sleep(MS);
    drop(receive);
    assert_eq!(thread.join().ok(), Some(Err(SendError(1))));
}

fn drops_what_nobody_received() {
    let shared = std::sync::Arc::new(());
    let (send, receive) = channel();
    for _ in 0..100 {
        send.send(std::sync::Arc::clone(&shared))
            .expect("somebody receives");
    }
    drop(receive.recv());
    assert_eq!(std::sync::Arc::strong_count(&shared), 100);
    drop(receive);
    assert_eq!(std::sync::Arc::strong_count(&shared), 1);
    drop(send);
}

fn errors_are_told() {
    assert_eq!(SendError(1).to_string(), "sending on a closed channel");
    assert_eq!(RecvError.to_string(), "receiving on a closed channel");
    assert_eq!(
        RecvTimeoutError::Timeout.to_string(),
        "timed out waiting on channel"
    );
    assert_eq!(
        TrySendError::Full(1).to_string(),
        "sending on a full channel"
    );
    assert_eq!(
        TryRecvError::Empty.to_string(),
        "receiving on an empty channel"
    );
}

fn channels_over_channels() {
    let (ask, asked) = channel::<(u32, mpsc::Sender<u32>)>();
    let server = thread::spawn(move || {
        asked
            .iter()
            .for_each(|(number, answer)| answer.send(number * 2).expect("somebody waits"))
    });
    for number in 0..50 {
        let (answer, answered) = channel();
        ask.send((number, answer)).expect("somebody answers");
        assert_eq!(answered.recv(), Ok(number * 2));
    }
    drop(ask);
    server.join().expect("ended");
}

fn large_messages() {
    let (send, receive) = channel::<[u64; 500]>();
    thread::spawn(move || (0..20).try_for_each(|number| send.send([number; 500])));
    assert!(
        receive
            .iter()
            .zip(0..)
            .all(|(message, number)| message == [number; 500])
    );
}

fn wakes_a_receiver_when_the_last_sender_goes() {
    let (send, receive) = channel::<u8>();
    let thread = thread::spawn(move || receive.recv());
    thread::sleep(MS);
    drop(send);
    assert_eq!(thread.join().ok(), Some(Err(RecvError)));
}

fn oneshot_many_times() {
    for number in 0..200 {
        let (send, receive) = channel();
        if number % 2 == 0 {
            send.send(number).expect("somebody receives");
            assert_eq!(receive.recv(), Ok(number));
        } else {
            let thread = thread::spawn(move || receive.recv());
            send.send(number).expect("somebody receives");
            assert_eq!(thread.join().ok(), Some(Ok(number)));
        }
    }
}
