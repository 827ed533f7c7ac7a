//! Encoding records, and decoding and checking them.
#![allow(missing_docs, reason = "criterion's macros make functions")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

/// The module itself, because the library does not export it.
#[allow(dead_code, unreachable_pub, reason = "it is written for the library")]
#[path = "../src/record.rs"]
mod record;

use record::{Body, HEADER_BYTES, Kind, Place, check_body, decode_header, encode};

const SALT: u32 = 0x1234_5678;
const PLACE: Place = Place { salt: SALT, link: 1, seq: 7, durable: 6 };

fn codec(c: &mut Criterion) {
    for body_bytes in [125, 4096, 1 << 20] {
        let body = vec![b'b'; body_bytes];
        let mut frame = Vec::new();
        encode(&mut frame, PLACE, Kind::WRITE, &Body::new(&body, SALT));
        let mut group = c.benchmark_group(format!("codec/{body_bytes} B"));
        group.throughput(Throughput::Bytes(frame.len() as u64));
        let mut out = Vec::with_capacity(frame.len());
        group.bench_function("encode", |b| {
            b.iter(|| {
                out.clear();
                encode(&mut out, PLACE, Kind::WRITE, &Body::new(black_box(&body), SALT))
            });
        });
        group.bench_function("decode and check", |b| {
            b.iter(|| {
                let header = decode_header(black_box(&frame), SALT)?;
                check_body(&header, SALT, &frame[HEADER_BYTES..])?;
                Ok::<_, record::Fault>(header)
            });
        });
        group.finish();
    }
}

criterion_group!(benches, codec);
criterion_main!(benches);
