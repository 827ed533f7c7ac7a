//! Layers over a snapshot, and views.

use super::*;
use crate::StoreId;
use crate::disk::OsDisk;
use crate::snapshot::{Draft, fill_from, save};
use crate::state::{Op, OpRef, State, end_of_prefix};
use proptest::prelude::*;
use std::collections::BTreeMap;

const ID: StoreId = StoreId(*b"sixteen bytes id");

fn map(entries: &[(&[u8], &[u8])]) -> Map {
    let map = Map::default();
    entries.iter().for_each(|&(key, value)| map.apply(OpRef { key, value: Some(value) }));
    map
}

fn saved(path: &Path, form: Form, entries: &[(&[u8], &[u8])]) -> Header {
    save(&OsDisk, path, Draft::new(form, ID, 7), fill_from(&map(entries))).unwrap()
}

fn written(layers: &MergeView, ops: &[Op]) {
    let mut body = Vec::new();
    ops.iter().for_each(|op| op.as_ref().encode(&mut body));
    layers.apply_write(&body);
}

fn all(layers: &MergeView) -> Vec<(Vec<u8>, Vec<u8>)> {
    let entries = layers.range(Bound::Unbounded, b"", usize::MAX).unwrap();
    entries.into_iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
}

/// Each layer hides those below, until a snapshot that holds all of them replaces them.
#[test]
fn the_last_write_is_seen_and_a_snapshot_replaces_the_layers_that_it_holds() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("snap");
    saved(&path, Form::Indexed, &[(b"a", b"base"), (b"b", b"base"), (b"c", b"base"), (b"d", b"base")]);
    let open = || Paged::open(OsDisk.open_read(&path).unwrap().unwrap(), &path, 0).unwrap();
    let layers = MergeView::over(open(), Map::default(), 0);
    written(&layers, &[Op::put(b"b", b"first"), Op::delete(b"c"), Op::put(b"e", b"first")]);
    layers.freeze(6);
    written(&layers, &[Op::delete(b"b"), Op::put(b"c", b"second")]);
    layers.freeze(7);
    written(&layers, &[Op::put(b"e", b"third"), Op::delete(b"nobody")]);
    let expected: [(&[u8], &[u8]); 4] = [(b"a", b"base"), (b"c", b"second"), (b"d", b"base"), (b"e", b"third")];
    let right = |at_most: u64| {
        assert!(all(&layers).iter().map(|(key, value)| (&key[..], &value[..])).eq(expected));
        assert_eq!(layers.count().unwrap(), 4);
        assert_eq!(layers.digest().unwrap(), map(&expected).digest());
        for key in [b"a", b"b", b"c", b"d", b"e", b"f"] {
            let value = expected.iter().find(|(known, _)| known == key).map(|(_, value)| *value);
            assert_eq!(layers.get(key).unwrap().as_deref(), value);
            assert_eq!(layers.with(key, <[u8]>::to_vec).unwrap().as_deref(), value);
        }
        for count in 0..5 {
            let some = layers.range(Bound::Excluded(b"a"), b"", count).unwrap();
            assert!(some.iter().map(|(key, value)| (&**key, &**value)).eq(expected[1..].iter().copied().take(count)));
        }
        assert_eq!(layers.at_most().0, at_most);
    };
    right(4 + 3 + 2 + 2);
    // The snapshot is missing, is another one, has no index, or is damaged: the layers stay.
    let header = saved(&path, Form::Indexed, &expected);
    for other in [dir.path().join("nowhere"), path.clone()] {
        layers.rebase(&OsDisk, &other, &Header { seq: 8, ..header });
        right(11);
    }
    let plain = saved(&path, Form::Plain, &[(b"x", b"wrong")]);
    layers.rebase(&OsDisk, &path, &plain);
    right(11);
    std::fs::write(&path, b"damage").unwrap();
    layers.rebase(&OsDisk, &path, &header);
    right(11);
    // The snapshot holds the frozen layers, and not the writes since.
    let frozen: [(&[u8], &[u8]); 4] = [(b"a", b"base"), (b"c", b"second"), (b"d", b"base"), (b"e", b"first")];
    let header = saved(&path, Form::Indexed, &frozen);
    layers.rebase(&OsDisk, &path, &header);
    right(4 + 2);
    // Each value in memory has a tag of one byte.
    assert_eq!(layers.at_most().1, header.data_len + "e.third".len() as u64 + "nobody.".len() as u64);
}

#[test]
fn ranges_over_layers_are_those_of_one_map() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("snap");
    let key = |n: u32| format!("{n:02}").into_bytes();
    let value = |n: u32, layer: u32| format!("{n} of {layer}").into_bytes();
    let mut expected = BTreeMap::new();
    // The second layer hides the even keys, the third one deletes the multiples of three.
    let base: Vec<_> = (0..60).map(|n| (key(n), value(n, 1))).collect();
    expected.extend(base.iter().cloned());
    saved(&path, Form::Indexed, &base.iter().map(|(key, value)| (&key[..], &value[..])).collect::<Vec<_>>());
    let base = Paged::open(OsDisk.open_read(&path).unwrap().unwrap(), &path, 0).unwrap();
    let layers = MergeView::over(base, Map::default(), 0);
    for n in (0..70).step_by(2) {
        written(&layers, &[Op::put(&key(n), &value(n, 2))]);
        expected.insert(key(n), value(n, 2));
    }
    layers.freeze(1);
    for n in (0..70).step_by(3) {
        written(&layers, &[Op::delete(&key(n))]);
        expected.remove(&key(n));
    }
    assert_eq!(layers.count().unwrap(), expected.len() as u64);
    for from in 0..70 {
        let at = key(from);
        for bound in [Bound::Included(&at[..]), Bound::Excluded(&at[..]), Bound::Unbounded] {
            // No caller asks for a range that begins before the prefix.
            let known = |prefix: &&[u8]| prefix.is_empty() || at[..] >= **prefix && bound != Bound::Unbounded;
            for prefix in [&b""[..], b"1", b"15", b"6", b"7"].into_iter().filter(known) {
                for count in [1, 2, 5, 30, usize::MAX] {
                    let listed = expected.range::<[u8], _>((bound, Bound::Unbounded));
                    let listed = listed.filter(|(key, _)| key.starts_with(prefix)).take(count);
                    let found = layers.range(bound, prefix, count).unwrap();
                    assert!(
                        found.iter().map(|(key, value)| (&**key, &**value)).eq(listed.map(|(key, value)| (&key[..], &value[..]))),
                        "{bound:?} {prefix:?} {count}"
                    );
                }
            }
        }
    }
}

fn bytes_of(found: Vec<(Key, Value)>) -> Vec<(Vec<u8>, Vec<u8>)> {
    found.into_iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
}

/// Everything in an interval, in chunks.
fn in_chunks(
    keys: (Bound<&[u8]>, Bound<&[u8]>),
    backward: bool,
    most: usize,
    some: impl Fn(&Request<'_>) -> Result<Found>,
) -> Vec<(Vec<u8>, Vec<u8>)> {
    let (mut all, mut low, mut high) = (Vec::new(), keys.0.map(Key::from), keys.1.map(Key::from));
    loop {
        let keys = Interval { low: low.as_ref().map(|key| &**key), high: high.as_ref().map(|key| &**key) };
        let found = some(&Request { keys, backward, most: Most::entries(most) }).unwrap();
        all.extend(bytes_of(found.entries));
        match found.end {
            None => return all,
            Some(end) if backward => high = Bound::Excluded(end),
            Some(end) => low = Bound::Excluded(end),
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Write(Vec<(u8, Option<u8>)>),
    Open,
    Close(usize),
    Tidy,
    /// A checkpoint: a freeze, then more steps, then the new base.
    Freeze,
    Rebase,
}

fn step() -> impl Strategy<Value = Step> {
    let op = (0..24_u8, proptest::option::of(any::<u8>()));
    prop_oneof![
        8 => proptest::collection::vec(op, 1..5).prop_map(Step::Write),
        3 => Just(Step::Open),
        3 => any::<usize>().prop_map(Step::Close),
        1 => Just(Step::Tidy),
        1 => Just(Step::Freeze),
        1 => Just(Step::Rebase),
    ]
}

fn key_of(n: u8) -> Vec<u8> {
    // Some keys are prefixes of others, and some are long.
    match n % 4 {
        0 => vec![b'a' + n / 4],
        1 => vec![b'a' + n / 4, 0],
        2 => vec![b'a' + n / 4, b'z'],
        _ => vec![b'a' + n / 4; 30],
    }
}

/// Compares everything that can be asked of a view, or of the present state, with the model.
fn compare(model: &State, count: u64, some: impl Fn(&Request<'_>) -> Result<Found>, get: impl Fn(&[u8]) -> Option<Value>) {
    assert_eq!(count, model.len() as u64);
    for n in 0..25 {
        assert_eq!(get(&key_of(n)).as_ref(), model.get(&key_of(n)), "{n}");
    }
    let (b, c, end) = (b"b".as_slice(), b"c\0".as_slice(), end_of_prefix(b"d"));
    let end = end.as_ref().map(|key| &**key);
    let bounds = [
        (Bound::Unbounded, Bound::Unbounded),
        (Bound::Included(b), Bound::Excluded(c)),
        (Bound::Excluded(b), Bound::Included(c)),
        (Bound::Included(c), Bound::Included(b)),
        (Bound::Excluded(c), Bound::Excluded(c)),
        (Bound::Included(b"d".as_slice()), end),
    ];
    for keys in bounds {
        let interval = Interval { low: keys.0, high: keys.1 };
        let right: Vec<_> = model
            .range(Bound::Unbounded)
            .filter(|(key, _)| !interval.is_empty() && !interval.is_below(key) && !interval.is_above(key))
            .map(|(key, value)| (key.to_vec(), value.to_vec()))
            .collect();
        for most in [1, 2, 7, 1000] {
            assert_eq!(in_chunks(keys, false, most, &some), right, "{keys:?} {most}");
            let mut backward = in_chunks(keys, true, most, &some);
            backward.reverse();
            assert_eq!(backward, right, "{keys:?} {most} backward");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// In both forms: each view stays the state after its write, also when writes, freezes, merges and closes follow.
    #[test]
    fn views_do_not_change(on_disk in any::<bool>(), steps in proptest::collection::vec(step(), 1..60)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("snap");
        let views_of = if on_disk { MergeView::over(None, Map::default(), 1 << 20) } else { MergeView::of(Map::default()) };
        let (mut model, mut seq) = (State::default(), 0);
        let mut open: Vec<(ViewId, State)> = Vec::new();
        let mut checkpoint: Option<(u64, State)> = None;
        for step in steps {
            match step {
                Step::Write(ops) => {
                    let op = |&(n, value): &(u8, Option<u8>)| Op { key: key_of(n)[..].into(), value: value.map(|v| Value::from(&[v; 3][..])) };
                    let ops: Vec<Op> = ops.iter().map(op).collect();
                    written(&views_of, &ops);
                    ops.into_iter().for_each(|op| { model.apply(op); });
                    seq += 1;
                }
                Step::Open => {
                    let view = views_of.open_view(seq);
                    prop_assert_eq!(view.seq(), seq);
                    open.push((view, model.clone()));
                }
                Step::Close(n) if !open.is_empty() => {
                    let (view, _) = open.swap_remove(n % open.len());
                    views_of.close_view(&view);
                }
                Step::Close(_) => {}
                Step::Tidy => views_of.tidy(),
                Step::Freeze if checkpoint.is_none() => {
                    views_of.freeze(seq);
                    checkpoint = Some((seq, model.clone()));
                }
                Step::Freeze => {}
                Step::Rebase => if let Some((seq, state)) = checkpoint.take() {
                    let entries: Vec<_> = state.range(Bound::Unbounded).map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
                    let entries: Vec<(&[u8], &[u8])> = entries.iter().map(|(key, value)| (&key[..], &value[..])).collect();
                    let header = save(&OsDisk, &path, Draft::new(Form::Indexed, ID, seq), fill_from(&map(&entries))).unwrap();
                    views_of.rebase(&OsDisk, &path, &header);
                }
            }
        }
        compare(&model, views_of.count().unwrap(), |request| views_of.some(request), |key| views_of.get(key).unwrap());
        for (view, state) in &open {
            let count = views_of.count_in(view).unwrap();
            compare(state, count, |request| views_of.some_in(view, request), |key| views_of.get_in(view, key).unwrap());
            prop_assert_eq!(views_of.digest_in(view).unwrap(), state.digest());
        }
        for (view, _) in &open {
            views_of.close_view(view);
        }
        if let MergeView::Memory(_, images) = &views_of {
            prop_assert_eq!(images.sizes(), (0, 0), "nothing is left of views that are closed");
        }
        prop_assert_eq!(views_of.digest().unwrap(), model.digest());
    }
}

#[test]
fn many_views_leave_few_layers() {
    let layers = MergeView::over(None, Map::default(), 0);
    for n in 0..1000_u32 {
        written(&layers, &[Op::put(&n.to_be_bytes(), b"v")]);
        layers.open_view(u64::from(n) + 1);
        layers.tidy();
    }
    let MergeView::Stack(stacked) = &layers else { unreachable!() };
    assert!(stacked.now().layers() <= 11, "{}", stacked.now().layers());
    assert_eq!(layers.count().unwrap(), 1000);
}

/// Reading a view beside a writer: each reader sees exactly the state of its view, batches whole.
#[test]
fn readers_of_views_beside_a_writer_see_the_state_of_their_view() {
    const KEYS: u32 = 50;
    const WRITES: u64 = 3000;
    for on_disk in [false, true] {
        let state = if on_disk { MergeView::over(None, Map::default(), 0) } else { MergeView::of(Map::default()) };
        // The log's lock: the number of the last write. Write n puts n into all keys whose number it shares a remainder
        // with, and deletes one.
        let log = std::sync::Mutex::new(0_u64);
        let value_at = |seq: u64, key: u32| {
            let puts = |n: u64| n % 3 == u64::from(key % 3);
            let deletes = |n: u64| n % u64::from(KEYS) == u64::from(key);
            let last = (1..=seq).rev().find(|&n| puts(n) || deletes(n))?;
            (!deletes(last)).then_some(last)
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in 1..=WRITES {
                    let puts = (0..KEYS).filter(|key| n % 3 == u64::from(key % 3));
                    let mut ops: Vec<Op> = puts.map(|key| Op::put(&key.to_be_bytes(), &n.to_be_bytes())).collect();
                    ops.push(Op::delete(&u32::try_from(n % u64::from(KEYS)).unwrap().to_be_bytes()));
                    let mut last = log.lock().unwrap();
                    written(&state, &ops);
                    *last = n;
                }
            });
            for reader in 0..3_u32 {
                let (state, log) = (&state, &log);
                scope.spawn(move || {
                    for round in 0..150 {
                        let last = log.lock().unwrap();
                        let view = state.open_view(*last);
                        drop(last);
                        state.tidy();
                        let seq = view.seq();
                        let key = (round * 7 + reader) % KEYS;
                        let right = |key: u32| value_at(seq, key).map(|n| n.to_be_bytes().to_vec());
                        for key in [key, (key + 1) % KEYS, (key + 25) % KEYS] {
                            let found = state.get_in(&view, &key.to_be_bytes()).unwrap().map(|value| value.to_vec());
                            assert_eq!(found, right(key), "key {key} at {seq}");
                        }
                        let all = in_chunks((Bound::Unbounded, Bound::Unbounded), round % 2 == 0, 9, |request| {
                            state.some_in(&view, request)
                        });
                        let mut all = all;
                        all.sort_unstable();
                        let right: Vec<_> = (0..KEYS).filter_map(|key| Some((key.to_be_bytes().to_vec(), right(key)?))).collect();
                        assert_eq!(all, right, "at {seq}");
                        state.close_view(&view);
                    }
                });
            }
        });
    }
}
