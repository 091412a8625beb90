//! Locations of regions, distances, and the round-trip time of light.

mod clouds;

use std::time::Duration;

/// The mean radius of the Earth in metres: R1 of the IUGG (Moritz, Geodetic Reference System 1980).
const EARTH_RADIUS: f64 = 6_371_008.8;

/// The speed of light in metres per second, and the fraction of it in glass.
const LIGHT: f64 = 299_792_458.0;
const IN_GLASS: f64 = 2.0 / 3.0;

/// A point on Earth, in degrees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Location {
    /// -90 to 90, north positive.
    pub latitude: f64,
    /// -180 to 180, east positive.
    pub longitude: f64,
}

impl Location {
    /// Where a region of AWS, Google Cloud or Azure is, by the name that its API has; to about a tenth of a degree
    /// of its metropolitan area, as providers do not publish their sites. `None` for all other names.
    ///
    /// Case does not matter. The name may have a provider as a prefix (`aws-`, `gcp-`, `azure-`), and a zone as a suffix
    /// (`us-east-1a`, `us-east1-b`). Other providers reuse names of AWS for other places: set `location:` there.
    pub fn of_region(region: &str) -> Option<Self> {
        let name = region.to_ascii_lowercase();
        let name = ["aws-", "gcp-", "azure-"].iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(&name);
        let place = clouds::find(name).or_else(|| clouds::find(without_zone(name)?));
        place.map(|(latitude, longitude)| Self { latitude, longitude })
    }

    /// The great-circle distance in metres, by the haversine formula on a sphere: up to 0.6 % off the ellipsoid.
    pub fn distance_meters(self, other: Self) -> f64 {
        let (from, to) = (self.latitude.to_radians(), other.latitude.to_radians());
        let across = (other.longitude - self.longitude).to_radians();
        let half = ((to - from) / 2.0).sin().powi(2) + from.cos() * to.cos() * (across / 2.0).sin().powi(2);
        2.0 * EARTH_RADIUS * half.sqrt().min(1.0).asin()
    }
}

/// The shortest possible round trip over this many metres: a straight fiber without any equipment.
///
/// ```
/// use regionwatch::geography::{Location, light_round_trip};
///
/// let (dublin, ashburn) = (Location::of_region("eu-west-1").unwrap(), Location::of_region("us-east-1").unwrap());
/// let distance = dublin.distance_meters(ashburn);
/// assert_eq!(light_round_trip(distance).as_millis(), 54);
/// ```
pub fn light_round_trip(meters: f64) -> Duration {
    Duration::try_from_secs_f64(2.0 * meters / (IN_GLASS * LIGHT)).unwrap_or_default()
}

/// The name without the letter of a zone: `us-east-1a`, `europe-west1-b`.
fn without_zone(name: &str) -> Option<&str> {
    let rest = name.strip_suffix(|c: char| c.is_ascii_lowercase())?;
    let rest = rest.strip_suffix('-').unwrap_or(rest);
    rest.ends_with(|c: char| c.is_ascii_digit()).then_some(rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(name: &str) -> Option<Location> {
        Location::of_region(name)
    }

    fn kilometres(from: &str, to: &str) -> f64 {
        of(from).unwrap().distance_meters(of(to).unwrap()) / 1000.0
    }

    #[test]
    fn distances_between_regions_are_those_of_the_map() {
        for (from, to, expected) in [
            ("eu-west-1", "us-east-1", 5480.0),
            ("eu-west-1", "eu-central-1", 1090.0),
            ("eu-west-2", "eu-west-3", 343.0),
            ("us-east-1", "us-west-2", 3460.0),
            ("us-east4", "eastus", 20.0),
            ("ap-southeast-2", "sa-east-1", 13_390.0),
            ("ap-northeast-1", "us-west-1", 8_310.0),
            ("af-south-1", "eu-west-2", 9_670.0),
        ] {
            let found = kilometres(from, to);
            assert!((found - expected).abs() < 20.0 + expected * 0.01, "{from} to {to}: {found} km, not {expected}");
        }
    }

    #[test]
    fn the_formula_agrees_with_known_circles() {
        let point = |latitude, longitude| Location { latitude, longitude };
        let half = EARTH_RADIUS * std::f64::consts::PI;
        for (from, to, expected) in [
            (point(90.0, 0.0), point(-90.0, 0.0), half),
            (point(0.0, 0.0), point(0.0, 180.0), half),
            (point(0.0, 179.5), point(0.0, -179.5), half / 180.0),
            (point(0.0, 0.0), point(90.0, 77.0), half / 2.0),
            (point(12.0, 34.0), point(12.0, 34.0), 0.0),
        ] {
            let found = from.distance_meters(to);
            assert!((found - expected).abs() < 0.01, "{from:?} {to:?}: {found}, not {expected}");
        }
    }

    /// 5,480 km of fibre and back: no measurement can be below it.
    #[test]
    fn light_needs_ten_microseconds_per_kilometre() {
        assert_eq!(light_round_trip(5_480_000.0).as_micros(), 54_837);
        assert_eq!(light_round_trip(0.0), Duration::ZERO);
        for odd in [-1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(light_round_trip(odd), Duration::ZERO);
        }
    }

    #[test]
    fn names_are_known_in_any_case_with_provider_and_zone() {
        let dublin = of("eu-west-1").unwrap();
        for name in ["EU-West-1", "aws-eu-west-1", "eu-west-1a", "AWS-eu-west-1c", "azure-NorthEurope"] {
            assert_eq!(of(name), Some(dublin), "{name}");
        }
        assert_eq!(of("gcp-europe-west1-b"), of("europe-west1"));
        for name in ["", "eu", "dc1", "eu-west-", "eu-west-1-", "eu-west-9", "aws-", "westeurop", "alibaba-eu-west-1"] {
            assert_eq!(of(name), None, "{name}");
        }
    }

    fn location() -> impl Strategy<Value = Location> {
        (-90.0..=90.0, -180.0..=180.0).prop_map(|(latitude, longitude)| Location { latitude, longitude })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

        #[test]
        fn distances_are_symmetric_bounded_and_without_shortcuts(a in location(), b in location(), c in location()) {
            let (ab, ba, bc, ac) =
                (a.distance_meters(b), b.distance_meters(a), b.distance_meters(c), a.distance_meters(c));
            prop_assert!((ab - ba).abs() < 0.001);
            prop_assert!((0.0..=20_015_115.0).contains(&ab), "{ab}");
            prop_assert!(ac <= ab + bc + 0.1, "{ac} > {ab} + {bc}");
            prop_assert!(a.distance_meters(a) < 0.001);
        }
    }
}
