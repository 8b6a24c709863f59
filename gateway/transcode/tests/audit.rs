//! What is wrong with http rules is said before the first request.
#![expect(clippy::unwrap_used, reason = "a test panics where it fails")]

use prost_reflect::DescriptorPool;
use protox::file::{
    ChainFileResolver, File, FileResolver, GoogleFileResolver, IncludeFileResolver,
};
use transcode::{Problem, ProblemKind, Schema};

/// One file from memory.
struct Source(String);

impl FileResolver for Source {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        if name != "audit.proto" {
            return Err(protox::Error::file_not_found(name));
        }
        File::from_source(name, &self.0)
    }
}

/// A service with these methods.
fn service(methods: &str) -> DescriptorPool {
    let source = format!(
        r#"syntax = "proto3"; package audit;
        import "google/api/annotations.proto";
        message Inner {{ string name = 1; Inner inner = 2; }}
        message In {{ string id = 1; Inner inner = 2; repeated string list = 3; map<string, string> map = 4;
            oneof pick {{ string a = 5; string b = 6; }} int32 number = 7; }}
        message Out {{ string id = 1; }}
        service S {{ {methods} }}"#
    );
    let mut resolver = ChainFileResolver::new();
    resolver.add(Source(source));
    resolver
        .add(IncludeFileResolver::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../proto").into()));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).open_file("audit.proto").unwrap();
    DescriptorPool::decode(&*compiler.encode_file_descriptor_set()).unwrap()
}

/// The problems of a service with these methods.
fn problems(methods: &str) -> Vec<Problem> {
    Schema::new(&service(methods)).err().unwrap_or_default()
}

fn rpc(name: &str, rule: &str) -> String {
    format!("rpc {name}(In) returns (Out) {{ option (google.api.http) = {{ {rule} }}; }}")
}

#[track_caller]
fn wrong(rule: &str, kind: ProblemKind, part: &str) {
    let found = problems(&rpc("M", rule));
    let [problem] = &*found else { panic!("{rule}: {found:?}") };
    assert_eq!(problem.kind, kind, "{problem}");
    assert!(problem.to_string().contains(part), "{problem}");
    assert!(problem.to_string().starts_with("audit.S.M"), "{problem}");
}

#[test]
fn right_rules_have_no_problems() {
    let methods = [
        rpc("A", r#"get: "/v1/{id}""#),
        rpc("B", r#"get: "/v1/{inner.name=x/*}/{number}""#),
        rpc("C", r#"patch: "/v1/{inner.name}" body: "inner" response_body: "id""#),
        rpc("D", r#"post: "/v1/{id}:go" body: "*""#),
        rpc("E", r#"get: "/v1/{id=**}" additional_bindings { get: "/v2/{id}" }"#),
        rpc("F", r#"custom { kind: "*" path: "/v3" }"#),
        rpc("G", r#"get: "/v3""#),
    ];
    assert_eq!(problems(&methods.concat()), []);
}

#[test]
fn templates_that_do_not_parse_are_named() {
    wrong(r#"get: "/v1/{id""#, ProblemKind::Template, "not closed");
    wrong(r#"get: "/v1/{id}ü""#, ProblemKind::Template, "a slash must follow");
    wrong(r#"get: "/v1/{id=**}/x""#, ProblemKind::Template, "nothing but a `:verb` may follow");
    wrong(r#"get: "/v1/x/""#, ProblemKind::Template, "empty segment");
    wrong(r#"get: "/v1/a%20b""#, ProblemKind::Template, "no path segment");
}

#[test]
fn variables_must_be_scalars_of_the_request() {
    wrong(r#"get: "/v1/{idd}""#, ProblemKind::Variable, "did you mean `id`?");
    wrong(r#"get: "/v1/{inner}""#, ProblemKind::Variable, "is a message");
    wrong(r#"get: "/v1/{list}""#, ProblemKind::Variable, "a list or map");
    wrong(r#"get: "/v1/{map}""#, ProblemKind::Variable, "a list or map");
    wrong(r#"get: "/v1/{id.x}""#, ProblemKind::Variable, "has no fields");
}

#[test]
fn fields_that_two_parts_would_set_are_named() {
    wrong(r#"get: "/v1/{id}/{id}""#, ProblemKind::Template, "twice");
    wrong(r#"get: "/v1/{a}/{b}""#, ProblemKind::Override, "of one oneof");
    wrong(r#"post: "/v1/{id}" body: "id""#, ProblemKind::Override, "path and body both set `id`");
    wrong(r#"post: "/v1/{a}" body: "b""#, ProblemKind::Override, "path and body");
}

#[test]
fn what_no_client_can_send_is_named() {
    wrong(r#"custom { kind: "get" path: "/v1" }"#, ProblemKind::Unreachable, "upper case");
    wrong(r#"get: "/v1/../x""#, ProblemKind::Unreachable, "resolve");
}

#[test]
fn bodies_must_be_fields() {
    wrong(r#"post: "/v1" body: "inne""#, ProblemKind::Body, "did you mean `inner`?");
    wrong(r#"post: "/v1" body: "inner.name""#, ProblemKind::Body, "no field of audit.In");
    wrong(r#"get: "/v1" response_body: "nope""#, ProblemKind::Body, "no field of audit.Out");
}

#[test]
fn rules_need_one_pattern_and_no_nested_bindings() {
    let found = problems(&rpc("M", r#"body: "*""#));
    assert_eq!(found[0].kind, ProblemKind::Rule);
    let nested = r#"get: "/a" additional_bindings { get: "/b" additional_bindings { get: "/c" } }"#;
    let found = problems(&rpc("M", nested));
    assert_eq!(found[0].kind, ProblemKind::Rule);
    let found = problems(&rpc("M", r#"custom { kind: "A B" path: "/x" }"#));
    assert_eq!(found[0].kind, ProblemKind::Rule);
}

#[test]
fn two_bindings_of_the_same_requests_are_both_named() {
    let found =
        problems(&[rpc("A", r#"get: "/v1/{id}""#), rpc("B", r#"get: "/v1/{number}""#)].concat());
    let [problem] = &*found else { panic!("{found:?}") };
    assert_eq!(problem.kind, ProblemKind::Ambiguous);
    assert_eq!(problem.places, ["audit.S.A (GET /v1/{id})", "audit.S.B (GET /v1/{number})"]);
    let found =
        problems(&rpc("A", r#"get: "/v1/{id}" additional_bindings { get: "/v1/{number}" }"#));
    assert_eq!(found[0].kind, ProblemKind::Ambiguous);
    let found = problems(&rpc("A", r#"post: "/audit.S/A" body: "*""#));
    assert_eq!(found[0].kind, ProblemKind::Ambiguous);
}

#[test]
fn a_rest_of_the_path_may_be_nothing_with_a_verb_and_without() {
    let methods = [
        rpc("A", r#"get: "/{id=**}""#),
        rpc("B", r#"get: "/{id=**}:go""#),
        rpc("C", r#"get: "/x/{id=**}:go""#),
    ];
    let schema = Schema::new(&service(&methods.concat())).unwrap();
    for (path, method) in
        [("/", "A"), ("/:go", "B"), ("/x:go", "C"), ("/a:go", "B"), ("/a/:go", "A")]
    {
        let found = schema.route("GET", path).map(|found| found.method().name().to_owned());
        assert_eq!(found.unwrap_or_default(), method, "{path}");
    }
}
