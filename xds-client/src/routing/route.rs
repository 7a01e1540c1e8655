//! The choice of a route: the first whose path, headers and fraction all match (gRFC A28).

use hermesh_runtime::Draws;

use super::Metadata;
use crate::resource::Route;

/// The first route for a method such as `/echo.EchoService/Echo`. A draw is taken for each route with a runtime
/// fraction whose other parts match.
#[must_use]
pub fn find_route<'a>(routes: &'a [Route], path: &str, metadata: Metadata<'_>, draws: &mut Draws) -> Option<&'a Route> {
    routes.iter().find(|route| {
        let wanted = &route.matches;
        wanted.path.matches(path)
            && wanted.headers.iter().all(|header| header.matches(metadata.value(&header.name).as_deref()))
            && wanted.per_million.is_none_or(|per_million| draws.below(1_000_000) <= u64::from(per_million))
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::*;
    use crate::resource::{
        HeaderMatcher, HeaderMatcherKind, PathMatcher, RouteAction, RouteMatch, StringMatcher, StringMatcherKind,
    };

    fn route(name: &str, path: PathMatcher, headers: Vec<HeaderMatcher>, per_million: Option<u32>) -> Route {
        Route {
            name: name.to_owned(),
            matches: RouteMatch { path, headers, per_million },
            action: RouteAction::NonForwarding,
            overrides: [].into(),
        }
    }

    fn prefix(prefix: &str) -> PathMatcher {
        PathMatcher::Prefix { prefix: prefix.to_owned(), ignore_case: false }
    }

    fn exact(path: &str) -> PathMatcher {
        PathMatcher::Exact { path: path.to_owned(), ignore_case: false }
    }

    fn header(name: &str, value: &str, invert: bool) -> HeaderMatcher {
        let kind = StringMatcherKind::Exact(value.to_owned());
        let kind = HeaderMatcherKind::String(StringMatcher { kind, ignore_case: false });
        HeaderMatcher { name: name.to_owned(), kind, invert }
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    fn found<'a>(routes: &'a [Route], path: &str, headers: &HeaderMap) -> Option<&'a str> {
        find_route(routes, path, Metadata::new(headers), &mut Draws::new(1, "test", 0)).map(|route| route.name.as_str())
    }

    #[test]
    fn the_first_match_wins_even_if_a_later_one_is_more_specific() {
        let routes = [
            route("canary", prefix("/"), vec![header("x-canary", "yes", false)], None),
            route("prefix", prefix("/echo."), vec![], None),
            route("exact", exact("/echo.Echo/Echo"), vec![], None),
            route("rest", prefix(""), vec![], None),
        ];
        for (path, metadata, expected) in [
            ("/echo.Echo/Echo", headers(&[]), "prefix"),
            ("/echo.Echo/Echo", headers(&[("x-canary", "yes")]), "canary"),
            ("/echo.Echo/Echo", headers(&[("x-canary", "no")]), "prefix"),
            ("/other/Echo", headers(&[]), "rest"),
        ] {
            assert_eq!(found(&routes, path, &metadata), Some(expected), "{path} {metadata:?}");
        }
    }

    #[test]
    fn all_headers_must_match_and_a_missing_one_never_does() {
        let routes = [
            route("both", prefix(""), vec![header("a", "1", false), header("b", "2", false)], None),
            route("not", prefix(""), vec![header("c", "3", true)], None),
        ];
        assert_eq!(found(&routes, "/s/m", &headers(&[("a", "1"), ("b", "2")])), Some("both"));
        assert_eq!(found(&routes, "/s/m", &headers(&[("a", "1")])), None);
        assert_eq!(found(&routes, "/s/m", &headers(&[("c", "4")])), Some("not"));
    }

    #[test]
    fn a_fraction_takes_its_share_and_leaves_the_rest_to_later_routes() {
        let routes = [route("some", prefix(""), vec![], Some(250_000)), route("rest", prefix(""), vec![], None)];
        let mut draws = Draws::new(1, "test", 0);
        let none = HeaderMap::new();
        let some = (0..40_000)
            .filter(|_| find_route(&routes, "/s/m", Metadata::new(&none), &mut draws).unwrap().name == "some")
            .count();
        assert!((9_600..10_400).contains(&some), "{some}");
        assert_eq!(draws.index(), 40_000);
    }

    #[test]
    fn a_fraction_is_drawn_only_for_routes_that_otherwise_match() {
        let routes =
            [route("other", exact("/x"), vec![], Some(1_000_000)), route("all", prefix(""), vec![], Some(1_000_000))];
        let mut draws = Draws::new(1, "test", 0);
        let route = find_route(&routes, "/s/m", Metadata::new(&HeaderMap::new()), &mut draws);
        assert_eq!(route.unwrap().name, "all");
        assert_eq!(draws.index(), 1);
    }
}
