//! The regions of the public clouds by their API names, at the metropolitan area that the provider names.
//!
//! Providers do not publish exact sites, and a region's zones are tens of kilometres apart.

/// Latitude and longitude of a region by its name in lower case.
pub(super) fn find(name: &str) -> Option<(f64, f64)> {
    let (latitude, longitude, _) =
        PLACES.iter().find(|(_, _, regions)| regions.split_ascii_whitespace().any(|region| region == name))?;
    Some((*latitude, *longitude))
}

/// Latitude, longitude and the regions there: AWS, then Google Cloud, then Azure.
#[rustfmt::skip]
const PLACES: &[(f64, f64, &str)] = &[
    // North America
    (39.0, -77.5, "us-east-1 us-east4 eastus usgovvirginia"), // Ashburn, Virginia
    (36.7, -78.4, "eastus2"), // Boydton, Virginia
    (40.0, -83.0, "us-east-2 us-gov-east-1 us-east5"), // Columbus, Ohio
    (33.2, -80.0, "us-east1"), // Moncks Corner, South Carolina
    (41.3, -95.9, "us-central1"), // Council Bluffs, Iowa
    (41.6, -93.6, "centralus"), // Des Moines, Iowa
    (41.9, -87.6, "northcentralus"), // Chicago
    (32.8, -96.8, "us-south1"), // Dallas
    (29.4, -98.5, "southcentralus usgovtexas"), // San Antonio, Texas
    (41.1, -104.8, "westcentralus"), // Cheyenne, Wyoming
    (40.8, -111.9, "us-west3"), // Salt Lake City
    (33.4, -112.1, "westus3 usgovarizona"), // Phoenix
    (36.2, -115.1, "us-west4"), // Las Vegas
    (34.1, -118.2, "us-west2"), // Los Angeles
    (37.4, -121.9, "us-west-1 westus"), // San Francisco Bay
    (45.8, -119.7, "us-west-2 us-gov-west-1"), // Boardman, Oregon
    (45.6, -121.2, "us-west1"), // The Dalles, Oregon
    (47.2, -119.9, "westus2"), // Quincy, Washington
    (45.5, -73.6, "ca-central-1 northamerica-northeast1"), // Montreal
    (46.8, -71.2, "canadaeast"), // Quebec
    (43.7, -79.4, "northamerica-northeast2 canadacentral"), // Toronto
    (51.0, -114.1, "ca-west-1"), // Calgary
    (20.6, -100.4, "mx-central-1 northamerica-south1 mexicocentral"), // Queretaro
    // South America
    (-23.5, -46.6, "sa-east-1 southamerica-east1 brazilsouth"), // Sao Paulo
    (-22.9, -43.2, "brazilsoutheast"), // Rio de Janeiro
    (-33.4, -70.7, "southamerica-west1 chilecentral"), // Santiago
    // Europe
    (53.3, -6.3, "eu-west-1 northeurope"), // Dublin
    (51.5, -0.1, "eu-west-2 europe-west2 uksouth"), // London
    (51.5, -3.2, "ukwest"), // Cardiff
    (48.9, 2.4, "eu-west-3 europe-west9 francecentral"), // Paris
    (43.3, 5.4, "francesouth"), // Marseille
    (50.4, 3.8, "europe-west1"), // Saint-Ghislain
    (50.8, 4.4, "belgiumcentral"), // Brussels
    (53.4, 6.8, "europe-west4"), // Eemshaven
    (52.4, 4.9, "westeurope"), // Amsterdam
    (50.1, 8.7, "eu-central-1 europe-west3 germanywestcentral"), // Frankfurt
    (52.5, 13.4, "europe-west10 germanynorth"), // Berlin
    (52.4, 13.1, "eusc-de-east-1"), // Potsdam, Brandenburg
    (47.4, 8.5, "eu-central-2 europe-west6 switzerlandnorth"), // Zurich
    (46.2, 6.1, "switzerlandwest"), // Geneva
    (48.2, 16.4, "austriaeast"), // Vienna
    (45.5, 9.2, "eu-south-1 europe-west8 italynorth"), // Milan
    (45.1, 7.7, "europe-west12"), // Turin
    (41.6, -0.9, "eu-south-2"), // Zaragoza, Aragon
    (40.4, -3.7, "europe-southwest1 spaincentral"), // Madrid
    (52.2, 21.0, "europe-central2 polandcentral"), // Warsaw
    (55.7, 12.6, "denmarkeast"), // Copenhagen
    (59.3, 18.1, "eu-north-1 europe-north2"), // Stockholm
    (60.7, 17.1, "swedencentral"), // Gavle
    (60.6, 27.2, "europe-north1"), // Hamina
    (59.9, 10.8, "norwayeast"), // Oslo
    (59.0, 5.7, "norwaywest"), // Stavanger
    // Africa and the Middle East
    (-33.9, 18.4, "af-south-1 southafricawest"), // Cape Town
    (-26.2, 28.0, "africa-south1 southafricanorth"), // Johannesburg
    (32.1, 34.8, "il-central-1 me-west1 israelcentral"), // Tel Aviv
    (26.2, 50.6, "me-south-1"), // Bahrain
    (25.3, 51.5, "me-central1 qatarcentral"), // Doha
    (26.4, 50.1, "me-central2"), // Dammam
    (25.2, 55.3, "me-central-1 uaenorth"), // Dubai
    (24.5, 54.4, "uaecentral"), // Abu Dhabi
    // Asia and the Pacific
    (19.1, 72.9, "ap-south-1 asia-south1 westindia"), // Mumbai
    (18.6, 73.9, "centralindia"), // Pune
    (17.4, 78.5, "ap-south-2"), // Hyderabad
    (13.0, 80.2, "southindia"), // Chennai
    (28.6, 77.2, "asia-south2"), // Delhi
    (21.1, 79.1, "jioindiacentral"), // Nagpur
    (22.5, 70.1, "jioindiawest"), // Jamnagar
    (1.3, 103.8, "ap-southeast-1 asia-southeast1 southeastasia"), // Singapore
    (-6.2, 106.8, "ap-southeast-3 asia-southeast2 indonesiacentral"), // Jakarta
    (3.1, 101.7, "ap-southeast-5 malaysiawest"), // Kuala Lumpur
    (13.8, 100.5, "ap-southeast-7"), // Bangkok
    (22.3, 114.2, "ap-east-1 asia-east2 eastasia"), // Hong Kong
    (25.0, 121.5, "ap-east-2"), // Taipei
    (24.1, 120.5, "asia-east1"), // Changhua
    (35.7, 139.7, "ap-northeast-1 asia-northeast1 japaneast"), // Tokyo
    (34.7, 135.5, "ap-northeast-3 asia-northeast2 japanwest"), // Osaka
    (37.6, 127.0, "ap-northeast-2 asia-northeast3 koreacentral"), // Seoul
    (35.2, 129.1, "koreasouth"), // Busan
    (39.9, 116.4, "cn-north-1 chinanorth chinanorth2"), // Beijing
    (37.5, 105.2, "cn-northwest-1"), // Zhongwei, Ningxia
    (31.2, 121.5, "chinaeast chinaeast2"), // Shanghai
    (-33.9, 151.2, "ap-southeast-2 australia-southeast1 australiaeast"), // Sydney
    (-37.8, 145.0, "ap-southeast-4 australia-southeast2 australiasoutheast"), // Melbourne
    (-35.3, 149.1, "australiacentral australiacentral2"), // Canberra
    (-36.8, 174.8, "ap-southeast-6 newzealandnorth"), // Auckland
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cloud_region_is_listed_once_with_valid_coordinates() {
        let mut seen = std::collections::BTreeSet::new();
        for (latitude, longitude, regions) in PLACES {
            assert!(latitude.abs() <= 90.0 && longitude.abs() <= 180.0, "{regions}");
            for region in regions.split_ascii_whitespace() {
                assert!(seen.insert(region), "{region} twice");
                assert_eq!(region, region.to_ascii_lowercase());
            }
        }
        assert!(seen.len() > 130, "{}", seen.len());
    }

    /// A sign or two numbers swapped would put a region on the wrong side of the Earth.
    #[test]
    fn continents_match_the_region_names() {
        for (prefix, latitudes, longitudes) in [
            ("us-", 29.0..48.0, -123.0..-77.0),
            ("eu-", 40.0..61.0, -7.0..19.0),
            ("europe-", 40.0..61.0, -7.0..28.0),
            ("sa-", -24.0..-23.0, -47.0..-46.0),
            ("ap-", -38.0..38.0, 72.0..175.0),
            ("asia-", -7.0..38.0, 72.0..140.0),
            ("australia", -38.0..-33.0, 144.0..152.0),
            ("me-", 24.0..33.0, 34.0..56.0),
        ] {
            for (latitude, longitude, regions) in PLACES {
                if regions.split_ascii_whitespace().any(|region| region.starts_with(prefix)) {
                    assert!(latitudes.contains(latitude) && longitudes.contains(longitude), "{regions}");
                }
            }
        }
    }
}
