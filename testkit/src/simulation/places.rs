//! Where regions are, and how long a round trip between them takes.

/// Degrees of latitude and longitude near which public clouds have regions.
const PLACES: [(f64, f64); 25] = [
    (53.3, -6.3),
    (50.1, 8.7),
    (39.0, -77.5),
    (45.8, -119.7),
    (35.7, 139.7),
    (1.3, 103.8),
    (51.5, -0.1),
    (-33.9, 151.2),
    (19.1, 72.9),
    (-23.5, -46.6),
    (48.9, 2.4),
    (59.3, 18.1),
    (45.5, -73.6),
    (40.0, -83.0),
    (37.4, -121.9),
    (37.6, 126.9),
    (34.7, 135.5),
    (22.3, 114.2),
    (-6.2, 106.8),
    (26.1, 50.5),
    (-33.9, 18.4),
    (45.5, 9.2),
    (40.4, -3.7),
    (47.4, 8.5),
    (24.5, 54.4),
];

const EARTH_RADIUS_KM: f64 = 6371.0;
/// Light in fibre.
const KM_A_SECOND: f64 = 200_000.0;
/// Fibres go round corners.
const DETOUR: f64 = 1.5;

/// The same between all regions.
pub fn even(regions: usize, seconds: f64) -> Vec<Vec<f64>> {
    vec![vec![seconds; regions]; regions]
}

/// By distance, from 20 to 250 ms.
pub fn by_distance(regions: usize) -> Vec<Vec<f64>> {
    let place = |n: usize| PLACES[n % PLACES.len()];
    (0..regions).map(|a| (0..regions).map(|b| round_trip(place(a), place(b))).collect()).collect()
}

fn round_trip(a: (f64, f64), b: (f64, f64)) -> f64 {
    let (latitude, longitude) = ((b.0 - a.0).to_radians(), (b.1 - a.1).to_radians());
    let chord = (latitude / 2.0).sin().powi(2)
        + a.0.to_radians().cos() * b.0.to_radians().cos() * (longitude / 2.0).sin().powi(2);
    let distance = 2.0 * EARTH_RADIUS_KM * chord.sqrt().asin();
    (2.0 * distance * DETOUR / KM_A_SECOND).clamp(0.020, 0.250)
}
