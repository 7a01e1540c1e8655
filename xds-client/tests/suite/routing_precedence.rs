//! Route matching against a model: the list is read from the top, and the first route that allows the RPC is taken.

use hermesh_runtime::Draws;
use hermesh_xds::resource::{
    HeaderMatcher, HeaderMatcherKind, PathMatcher, Route, RouteAction, RouteMatch, StringMatcher, StringMatcherKind,
};
use hermesh_xds::routing::{Metadata, find_route};
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

/// A route as a person would write it down.
#[derive(Clone, Debug)]
struct Rule {
    path: String,
    is_prefix: bool,
    /// Header, value, and whether the value must differ.
    header: Option<(&'static str, &'static str, bool)>,
}

impl Rule {
    fn allows(&self, path: &str, headers: &[(&str, &str)]) -> bool {
        let by_path = if self.is_prefix { path.starts_with(&self.path) } else { path == self.path };
        let by_header = match self.header {
            None => true,
            Some((name, wanted, differs)) => {
                let values: Vec<&str> = headers.iter().filter(|(it, _)| *it == name).map(|(_, value)| *value).collect();
                !values.is_empty() && (values.join(",") == wanted) != differs
            }
        };
        by_path && by_header
    }

    fn route(&self, index: usize) -> Route {
        let path = if self.is_prefix {
            PathMatcher::Prefix { prefix: self.path.clone(), ignore_case: false }
        } else {
            PathMatcher::Exact { path: self.path.clone(), ignore_case: false }
        };
        let headers = self.header.iter().map(|(name, wanted, differs)| HeaderMatcher {
            name: (*name).to_owned(),
            kind: HeaderMatcherKind::String(StringMatcher {
                kind: StringMatcherKind::Exact((*wanted).to_owned()),
                ignore_case: false,
            }),
            invert: *differs,
        });
        Route {
            name: index.to_string(),
            matches: RouteMatch { path, headers: headers.collect(), per_million: None },
            action: RouteAction::NonForwarding,
            overrides: [].into(),
        }
    }
}

const NAMES: [&str; 2] = ["x-a", "x-b"];
const VALUES: [&str; 3] = ["1", "2", "1,2"];

fn rule() -> impl Strategy<Value = Rule> {
    let header = (prop::sample::select(&NAMES), prop::sample::select(&VALUES), any::<bool>());
    ("/[ab]{0,2}", any::<bool>(), prop::option::of(header)).prop_map(|(path, is_prefix, header)| Rule {
        path,
        is_prefix,
        header,
    })
}

proptest! {
    #[test]
    fn the_first_route_that_allows_an_rpc_takes_it(
        rules in prop::collection::vec(rule(), 0..6),
        path in "/[ab]{0,3}",
        headers in prop::collection::vec((prop::sample::select(&NAMES), prop::sample::select(&VALUES[..2])), 0..3),
    ) {
        let routes: Vec<Route> = rules.iter().enumerate().map(|(index, rule)| rule.route(index)).collect();
        let mut map = HeaderMap::new();
        for (name, value) in &headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let mut draws = Draws::new(1, "test", 0);
        let found = find_route(&routes, &path, Metadata::new(&map), &mut draws).map(|route| route.name.clone());
        let expected = rules.iter().position(|rule| rule.allows(&path, &headers)).map(|index| index.to_string());
        prop_assert_eq!(found, expected);
        prop_assert_eq!(draws.index(), 0, "nothing is drawn where nothing is left to chance");
    }
}
