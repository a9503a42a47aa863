//! The hot path by itself: a frame becomes a line, a batch reaches a client's cursor.
//!
//! `cargo bench --bench hotpath`. What it costs with sockets and other processes around it,
//! `benches/fanout` shows.
#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use wsfan::{
    config::{Format, History},
    hub::{Ahead, Cursor, Data, Hub, MessageTopic},
};

/// So much is read before it is offered to the clients, in bytes of lines.
const BATCH_BYTES: usize = 160 << 10;

const SIZES: [usize; 4] = [100, 200, 1024, 16 << 10];

/// JSON of about `size` bytes, as a price feed may send it.
fn payload(size: usize) -> String {
    let head = r#"{"type":"trade","symbol":"BTC-USD","price":"97216.02","id":812345678901,"note":""#;
    format!("{head}{}\"}}", "x".repeat(size.saturating_sub(head.len() + 2)))
}

fn frame_to_line(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frame to line");
    for size in SIZES {
        let text = payload(size);
        let hub = Hub::new("bench".to_owned(), &History::default(), false);
        let (publisher, _commands) = hub.publisher().expect("there is no other link");
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_with_input(BenchmarkId::from_parameter(size), &text, |bencher, text| {
            let mut bytes = 0;
            bencher.iter(|| {
                publisher.publish(1_763_847_680_120_000, Data::Text(black_box(text)), &MessageTopic::None);
                bytes += text.len() + 70;
                if bytes >= BATCH_BYTES {
                    bytes = 0;
                    publisher.flush(); // as after each batch: what the limits don't allow leaves the log
                }
            });
        });
    }
    group.finish();
}

fn batch_to_client(criterion: &mut Criterion) {
    const BATCH: usize = 512;
    let mut group = criterion.benchmark_group("batch to client");
    for size in SIZES {
        let text = payload(size);
        let hub = Hub::new("bench".to_owned(), &History::default(), false);
        let (publisher, _commands) = hub.publisher().expect("there is no other link");
        for _ in 0..BATCH {
            publisher.publish(1_763_847_680_120_000, Data::Text(&text), &MessageTopic::None);
        }
        let reader = hub.reader();
        group.throughput(Throughput::Elements(BATCH as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| {
                let mut cursor = Cursor::new(Format::Envelope, 0);
                reader.with_log(|log| {
                    while let Ahead::Bytes(bytes) = cursor.ahead(log) {
                        let written = black_box(bytes).len();
                        cursor.wrote(log, written);
                    }
                });
            });
        });
    }
    group.finish();
}

criterion_group!(benches, frame_to_line, batch_to_client);
criterion_main!(benches);
