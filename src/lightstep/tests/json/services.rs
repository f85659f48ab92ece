//! Which service a report names. What it refuses to know: whose it is.

use super::*;

#[test]
fn services_agree_or_are_ambiguous() {
    let reporter = |tags: &str| format!(r#"{{"reporter":{{"tags":[{tags}]}}}}"#);
    let named =
        |name: &str| format!(r#"{{"key":"lightstep.component_name","stringValue":"{name}"}}"#);
    let zipkin = |spans: &[&str]| {
        let spans: Vec<_> = spans
            .iter()
            .map(|rest| format!(r#"{{"traceId":"1","id":"1"{rest}}}"#))
            .collect();
        format!("[{}]", spans.join(","))
    };
    let endpoint = r#","localEndpoint":{"serviceName":"a"}"#;
    let component =
        r#","tags":{"lightstep.component_name":"b"},"localEndpoint":{"serviceName":"a"}"#;
    let numbers: Vec<String> = (0..65).map(|number| number.to_string()).collect();
    let spans: Vec<String> = numbers
        .iter()
        .map(|number| format!(r#","localEndpoint":{{"serviceName":"{number}"}}"#))
        .collect();
    let many: Vec<&str> = spans.iter().map(String::as_str).collect();
    let two = ["a".to_owned(), "b".to_owned()];
    let both = |tag: &str, endpoint: &str| {
        format!(
            r#","tags":{{"lightstep.component_name":{tag}}},"localEndpoint":{{"serviceName":{endpoint}}}"#
        )
    };
    let span = |name: &str, tag: &str| {
        let tags = format!(r#""spans":[{{"tags":[{tag}]}}]"#);
        format!(
            r#"{{{tags},"reporter":{{"tags":[{{"key":"lightstep.component_name","stringValue":"{name}"}}]}}}}"#
        )
    };
    let two_found = ["b".to_owned(), "a".to_owned()];
    let runtime = |name: &str, tag: &str| {
        format!(
            r#"{{"runtime":{{"group_name":{name},"attrs":[{{"Key":"lightstep.component_name","Value":{tag}}}]}}}}"#
        )
    };
    for (format, body, expected) in [
        (Format::ReportsJson, reporter(&named("a")), Service::Name("a")),
        (Format::ReportsJson, reporter(&[named("a"), named("a")].join(",")), Service::Name("a")),
        (Format::ReportsJson, reporter(&[named("a"), named("b")].join(",")), Service::Ambiguous),
        (Format::ReportsJson, reporter(r#"{"key":"lightstep.component_name","intValue":"1"}"#), Service::Ambiguous),
        (Format::ReportsJson, reporter(r#"{"key":"lightstep.component_name"}"#), Service::Ambiguous),
        (Format::ReportsJson, reporter(""), Service::Absent),
        (Format::ReportsJson, reporter(&named("")), Service::Absent),
        (Format::ReportsJson, reporter(&[named(""), named("a")].join(",")), Service::Ambiguous),
        (Format::ReportsJson, reporter(&[named("a"), named("")].join(",")), Service::Ambiguous),
        (Format::ReportsJson, span("a", &named("a")), Service::Name("a")),
        (Format::ReportsJson, span("a", &named("")), Service::Name("a")),
        (Format::ReportsJson, span("a", &named("b")), Service::Several(&two_found)),
        (Format::ReportsJson, span("a", r#"{"key":"lightstep.component_name","intValue":"1"}"#), Service::Ambiguous),
        (
            Format::ReportsJson,
            format!(r#"{{"spans":[{{"logs":[{{"fields":[{}]}}]}}]}}"#, named("a")),
            Service::Name("a"),
        ),
        (Format::ThriftJson, runtime(r#""a""#, r#""a""#), Service::Name("a")),
        (Format::ThriftJson, runtime("null", r#""a""#), Service::Name("a")),
        (Format::ThriftJson, runtime(r#""""#, r#""a""#), Service::Ambiguous),
        (Format::ThriftJson, runtime(r#""a""#, r#""""#), Service::Ambiguous),
        (Format::ThriftJson, runtime(r#""""#, r#""""#), Service::Absent),
        (
            Format::ThriftJson,
            r#"{"runtime":{"group_name":"a"},"span_records":[{"attributes":[{"Key":"lightstep.component_name","Value":"b"}]}]}"#
                .to_owned(),
            Service::Several(&two),
        ),
        (Format::ThriftJson, runtime(r#""a""#, r#""b""#), Service::Ambiguous),
        (Format::ThriftJson, runtime("1", r#""b""#), Service::Ambiguous),
        (Format::Zipkin, zipkin(&[endpoint]), Service::Name("a")),
        (Format::Zipkin, zipkin(&[component]), Service::Several(&two_found)),
        (Format::Zipkin, zipkin(&[component, component]), Service::Several(&two_found)),
        (Format::Zipkin, zipkin(&[&both(r#""a""#, r#""a""#)]), Service::Name("a")),
        (Format::Zipkin, zipkin(&[&both(r#""""#, r#""a""#)]), Service::Ambiguous),
        (Format::Zipkin, zipkin(&[&both(r#""a""#, r#""""#)]), Service::Ambiguous),
        (Format::Zipkin, zipkin(&[&both(r#""""#, r#""""#)]), Service::Absent),
        (Format::Zipkin, zipkin(&[&both(r#""a""#, "null")]), Service::Name("a")),
        (Format::Zipkin, zipkin(&[&both("null", r#""a""#)]), Service::Ambiguous),
        (Format::Zipkin, zipkin(&[r#","localEndpoint":{"ſervice_name":"a"}"#]), Service::Name("a")),
        (Format::Zipkin, zipkin(&[endpoint, component]), Service::Several(&two)),
        (Format::Zipkin, zipkin(&many[..64]), Service::Several(&numbers[..64])),
        (Format::Zipkin, zipkin(&many[..65]), Service::Ambiguous),
        (Format::Zipkin, zipkin(&[endpoint, ""]), Service::Name("a")),
        (Format::Zipkin, zipkin(&[""]), Service::Absent),
        (Format::Zipkin, zipkin(&[r#","tags":{"lightstep.component_name":1}"#]), Service::Ambiguous),
        (
            Format::Zipkin,
            zipkin(&[r#","tags":{"lightstep.component_name":"a","lightstep.component_name":"a"}"#]),
            Service::Ambiguous,
        ),
    ] {
        assert_eq!(read(format, body.as_bytes()).unwrap().service(), expected, "{body}");
    }
}

#[test]
fn services_of_a_document_agree_or_are_ambiguous() {
    let line = |document: &str| format!("{{\"create\":{{}}}}\n{document}\n");
    let two = ["a".to_owned(), "b".to_owned()];
    for (body, expected) in [
        (line("{}"), Service::Absent),
        (line("{\"service\":\"a\"}"), Service::Name("a")),
        (line("{\"service\":1}"), Service::Ambiguous),
        (line("{\"service\":null}"), Service::Absent),
        (
            line("{\"lightstep.component_name\":\"c\",\"service\":\"b\",\"service.name\":\"a\"}"),
            Service::Ambiguous,
        ),
        (
            line("{\"lightstep.component_name\":\"a\",\"service\":\"a\",\"service.name\":\"a\"}"),
            Service::Name("a"),
        ),
        (
            line("{\"service.name\":\"\",\"service\":\"a\"}"),
            Service::Ambiguous,
        ),
        (
            line("{\"service.name\":\"\",\"service\":{\"name\":\"a\"}}"),
            Service::Ambiguous,
        ),
        (
            line("{\"service\":\"a\",\"lightstep.component_name\":\"\"}"),
            Service::Ambiguous,
        ),
        (
            line("{\"service\":\"a\",\"service\":\"b\"}"),
            Service::Ambiguous,
        ),
        (
            line("{\"service.name\":\"a\",\"Service.Name\":\"b\"}"),
            Service::Ambiguous,
        ),
        (
            line("{\"\\u017fervice\":{\"Name\":\"a\"}}"),
            Service::Name("a"),
        ),
        (line("{\"service\":[{\"name\":\"a\"}]}"), Service::Ambiguous),
        (
            line("{\"lightstep\":{\"component_name\":\"a\"}}"),
            Service::Name("a"),
        ),
        (
            line("{\"lightstep\":[{\"component_name\":\"a\"}]}"),
            Service::Ambiguous,
        ),
        (line("{\"service.name\":\"\"}"), Service::Absent),
        (
            line("{\"service.name\":\"a\",\"service\":{\"name\":\"b\"}}"),
            Service::Ambiguous,
        ),
        (line("{\"service.name\":\"a\"}"), Service::Name("a")),
        (
            line("{\"service.name\":\"a\"}") + &line("{}"),
            Service::Name("a"),
        ),
        (
            line("{\"service.name\":\"a\"}") + &line("{\"service\": {\"name\":\"b\"}}"),
            Service::Several(&two),
        ),
        (line("{\"service.name\":[\"a\"]}"), Service::Ambiguous),
        (String::new(), Service::Absent),
    ] {
        assert_eq!(
            read(Format::Bulk, body.as_bytes()).unwrap().service(),
            expected,
            "{body}"
        );
    }
}
