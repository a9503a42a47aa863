//! How long to wait before the next attempt. Pure; randomness is an argument.

use std::time::Duration;

use crate::config;

/// No wait is shorter, whatever is configured: every loop has a delay.
const MIN_DELAY: Duration = Duration::from_millis(1);

/// The delay before the attempt after the `attempt`-th failure in a row, which is counted from 1.
///
/// It is `initial_delay * multiplier^(attempt - 1)`, at most `max_delay`, of which the part `jitter`
/// is random, and never under a tenth. `random` is at least 0 and less than 1. `retry_after` is what
/// the server asked for: a lower bound, which may exceed `max_delay`, up to `max_retry_after`.
///
/// `down`: how long ago the stable connection was lost that this row of failures began with, if it did. No
/// delay is longer than that (but for `initial_delay`): a link that was stable is back within twice the time
/// that its server was away, and a longer row still has growing delays. A server that was never well isn't
/// asked more often for it.
pub(in crate::upstream) fn delay(
    settings: &config::Reconnect,
    attempt: u32,
    random: f64,
    down: Option<Duration>,
    retry_after: Option<Duration>,
) -> Duration {
    let full = full_delay(settings, attempt);
    let full = down.map_or(full, |down| full.min(down.max(settings.initial_delay)));
    let part = 1.0 - settings.jitter.clamp(0.0, 1.0) * (1.0 - random.clamp(0.0, 1.0));
    let jittered = full.mul_f64(part).max(full / 10).min(full);
    at_least(settings, jittered, retry_after)
}

/// A delay that doesn't grow, but for what the server asked for.
pub(in crate::upstream) fn at_least(
    settings: &config::Reconnect,
    delay: Duration,
    retry_after: Option<Duration>,
) -> Duration {
    delay.max(retry_after.unwrap_or_default().min(settings.max_retry_after)).max(MIN_DELAY)
}

/// The delay without jitter.
fn full_delay(settings: &config::Reconnect, attempt: u32) -> Duration {
    let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
    let seconds = settings.initial_delay.as_secs_f64() * settings.multiplier.max(1.0).powi(exponent);
    // beyond what a Duration holds, infinity included, it is the cap all the same
    let grown = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
    grown.min(settings.max_delay)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn settings(initial: u64, max: u64, multiplier: f64, jitter: f64) -> config::Reconnect {
        config::Reconnect {
            initial_delay: Duration::from_millis(initial),
            max_delay: Duration::from_millis(max),
            max_retry_after: Duration::from_secs(600),
            multiplier,
            jitter,
            max_attempts: 0,
            stable_after: Duration::from_secs(10),
            on_exhausted: config::OnExhausted::Wait,
            close_code: None,
            rules: Vec::new(),
        }
    }

    #[test]
    fn grows_up_to_the_cap() {
        let settings = settings(500, 30_000, 2.0, 0.0);
        let delays: Vec<_> = (1..=8).map(|n| delay(&settings, n, 0.5, None, None).as_millis()).collect();
        assert_eq!(delays, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
    }

    #[test]
    fn after_a_stable_connection_no_delay_is_longer_than_it_has_been_away() {
        let settings = settings(500, 30_000, 2.0, 0.0);
        let after = |down| delay(&settings, 7, 0.5, Some(Duration::from_millis(down)), None).as_millis();
        assert_eq!([0, 400, 5_000, 29_000, 600_000].map(after), [500, 500, 5_000, 29_000, 30_000]);
        assert_eq!(delay(&settings, 2, 0.5, Some(Duration::from_secs(60)), None), Duration::from_secs(1));
    }

    #[test]
    fn full_jitter_reaches_from_a_tenth_to_the_whole() {
        let settings = settings(1_000, 30_000, 2.0, 1.0);
        assert_eq!(delay(&settings, 1, 0.0, None, None), Duration::from_millis(100));
        assert_eq!(delay(&settings, 1, 0.5, None, None), Duration::from_millis(500));
        assert!(delay(&settings, 1, 0.999, None, None) > Duration::from_millis(990));
    }

    #[test]
    fn retry_after_is_a_lower_bound_with_a_cap_of_its_own() {
        let settings = settings(500, 30_000, 2.0, 1.0);
        assert_eq!(delay(&settings, 1, 0.9, None, Some(Duration::from_secs(120))), Duration::from_secs(120));
        assert_eq!(delay(&settings, 7, 0.9, None, Some(Duration::from_secs(1))), Duration::from_secs(27));
        assert_eq!(delay(&settings, 1, 0.9, None, Some(Duration::MAX)), settings.max_retry_after);
    }

    proptest! {
        #[test]
        fn a_link_that_was_stable_is_back_within_twice_the_outage_without_a_storm(
            outage in 1_u64..200_000,
            seed in any::<u64>(),
        ) {
            let settings = settings(500, 30_000, 2.0, 1.0);
            let outage = Duration::from_millis(outage);
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut down, mut attempts) = (Duration::ZERO, 0_u32);
            while attempts == 0 || down < outage {
                attempts += 1;
                let plain = full_delay(&settings, attempts);
                let next = delay(&settings, attempts, random.f64(), Some(down), None);
                prop_assert!(next <= plain && next <= down.max(settings.initial_delay));
                prop_assert!(next >= settings.initial_delay / 10);
                down += next;
            }
            prop_assert!(down <= outage * 2 + settings.initial_delay, "{down:?} for {outage:?}");
            // ten delays to 500 ms at most, a tenth more with each one up to 30 s, then one in 3 s
            prop_assert!(f64::from(attempts) <= 60.0 + outage.as_secs_f64() / 3.0, "{attempts} in {outage:?}");
        }

        #[test]
        fn stays_between_a_tenth_and_the_whole_of_a_simple_model(
            initial in 1_u64..10_000,
            max in 1_u64..100_000,
            multiplier in 1.0_f64..100.0,
            jitter in 0.0_f64..=1.0,
            random in 0.0_f64..1.0,
            attempt in any::<u32>(),
        ) {
            let settings = settings(initial, max, multiplier, jitter);
            let mut model = initial as f64;
            for _ in 1..attempt.min(100_000) {
                model = (model * multiplier).min(max as f64);
                if multiplier == 1.0 || model >= max as f64 { break; }
            }
            let model = model.min(max as f64) / 1_000.0;
            let delay = delay(&settings, attempt, random, None, None).as_secs_f64();
            prop_assert!(delay <= model.max(0.001) * 1.000_001, "{delay} > {model}");
            prop_assert!(delay >= model / 10.0 * 0.999_999, "{delay} < {model} / 10");
            prop_assert!(delay >= model * (1.0 - jitter) * 0.999_999);
        }
    }
}
