//! Whatever is lost and whoever dies: each send's fate is told once, none is written twice, and each client's order
//! holds.

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;

use super::world::{World, down, up};

const MS: Duration = Duration::from_millis(1);

fn day(seed: u64, outbox: usize) {
    let mut world = World::new(3, outbox, seed);
    let mut random = fastrand::Rng::with_seed(seed ^ 0xf0f0);
    let mut of = BTreeMap::new();
    let (mut term, mut is_up) = (0, false);
    for _ in 0..120 {
        match random.u32(0..20) {
            0 => (world.lost, world.doubled) = (random.u32(0..300), random.u32(0..100)),
            1 => (world.lost, world.doubled) = (0, 0),
            2 => world.delay = random.u32(1..80) * MS,
            3 | 4 if !world.leads.is_empty() => {
                is_up = !is_up;
                world.link(term, is_up);
                if random.bool() {
                    world.tell_all(if is_up { up(term) } else { down(term) });
                }
            }
            5 if !world.leads.is_empty() => world.kill(term),
            6 if !world.leads.is_empty() => world.resign(term),
            7 | 8 if world.leads.is_empty() => {
                term += 1;
                is_up = random.bool();
                world.lead(term, is_up);
            }
            9 | 10 => {
                // what each node knows comes when it comes
                let node = random.usize(0..3);
                let known = if world.leads.is_empty() {
                    None
                } else if is_up {
                    up(term)
                } else {
                    down(term)
                };
                world.tell(node, known);
            }
            11 => world.tell(random.usize(0..3), None),
            _ => {
                for _ in 0..random.usize(1..6) {
                    let (node, client) = (random.usize(0..3), random.u64(0..3));
                    let length = if random.u32(0..20) == 0 { 9_000 } else { random.usize(0..300) };
                    let number = world.send(node, client, length);
                    of.insert(number, 10 * node as u64 + client);
                }
            }
        }
        world.run(random.u32(0..60) * MS);
        world.check();
    }
    // the sun shines at last
    (world.lost, world.doubled, world.delay) = (0, 0, 2 * MS);
    if world.leads.is_empty() {
        term += 1;
        world.lead(term, true);
    }
    world.link(term, true);
    world.tell_all(up(term));
    world.run(30_000 * MS);
    world.check_end();
    world.check_order(&of);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn each_fate_is_told_once_and_nothing_is_written_twice(seed in any::<u64>(), has_outbox in any::<bool>()) {
        day(seed, if has_outbox { 30 } else { 0 });
    }
}
