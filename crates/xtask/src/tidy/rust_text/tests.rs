use super::{Place, RustText};

#[track_caller]
fn check(text: &str, expected: &[&str]) {
    let found: Vec<String> = RustText::of(text)
        .paths
        .iter()
        .map(|path| {
            let place = match path.place {
                Place::Import => "use ",
                Place::ReExport => "pub use ",
                Place::Code => "",
            };
            format!("{}: {place}{}", path.line, path.segments.join("::"))
        })
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn imports_are_taken_apart() {
    check("use std::fs;", &["1: use std::fs"]);
    check(
        "use a::{b, c::{self, d as e},\n    f::*};",
        &[
            "1: use a::b",
            "1: use a::c",
            "1: use a::c::d",
            "2: use a::f::*",
        ],
    );
    check(
        "pub(crate) use a::b;\npub use c;",
        &["1: pub use a::b", "2: pub use c"],
    );
    check("pub fn f() {}\nuse a::b;", &["2: use a::b"]);
    check("fn f() -> impl Iterator + use<'a> { a::b() }", &["1: a::b"]);
}

#[test]
fn paths_in_code_are_found() {
    check(
        "let x = std::fs::read(a::B::<C>::d);",
        &["1: std::fs::read", "1: a::B"],
    );
    check("x.y(z)", &[]);
}

#[test]
fn comments_and_literals_are_not_code() {
    check(
        "// std::fs\n/* a::b /* c::d */ e::f */\n/// g::h\nlet a = \"i::j\\\" k::l\";",
        &[],
    );
    check("let a = r#\"b::c \" d::e\"#; f::g();", &["1: f::g"]);
    check("let a = br\"\\\"; b::c();", &["1: b::c"]);
    check(
        "let a = ('\"', '\\'', '\\u{1F}', b'\"'); b::c(); let d = \"e::f\";",
        &["1: b::c"],
    );
    check("fn f<'a>(x: &'a str) { b::c('d') }", &["1: b::c"]);
    check("for_r\"x\"", &[]);
}

#[test]
fn lines_stay_where_they_are() {
    let text = "let a = \"one\ntwo\"; // three\nb";
    let rust = RustText::of(text);
    assert_eq!(rust.code, "let a =     \n    ;         \nb");
    assert_eq!(rust.comments.lines().nth(1), Some("      // three"));
}
