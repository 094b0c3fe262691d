//! Which operation a request line names.

use super::head::Method;
use crate::lifecycle::AnswerKind;

const VERSION: &str = "/2018-06-01/";

/// An operation of the Runtime API.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// `GET …/ping`
    Ping,
    /// `GET …/runtime/invocation/next`
    Next,
    /// `POST …/runtime/invocation/{id}/response` and `…/error`
    Answer {
        /// The id in the path, as it stands there.
        request_id: String,
        /// Which of the two.
        kind: AnswerKind,
    },
    /// `POST …/runtime/init/error`
    InitError,
    /// `GET …/runtime/restore/next`
    RestoreNext,
    /// `POST …/runtime/restore/error`
    RestoreError,
    /// The path is an operation, with another method.
    WrongMethod,
    /// There is no such path.
    Unknown,
}

impl Route {
    /// The operation that `method` and `path` name.
    pub(super) fn of(method: Method, path: &str) -> Self {
        let path = path.split('?').next().unwrap_or_default();
        let Some(rest) = path.strip_prefix(VERSION) else { return Self::Unknown };
        let (expected, route) = match rest.split('/').collect::<Vec<_>>()[..] {
            ["ping"] => (Method::Get, Self::Ping),
            ["runtime", "invocation", "next"] => (Method::Get, Self::Next),
            ["runtime", "invocation", id, "response"] => (Method::Post, Self::answer(id, AnswerKind::Response)),
            ["runtime", "invocation", id, "error"] => (Method::Post, Self::answer(id, AnswerKind::Error)),
            ["runtime", "init", "error"] => (Method::Post, Self::InitError),
            ["runtime", "restore", "next"] => (Method::Get, Self::RestoreNext),
            ["runtime", "restore", "error"] => (Method::Post, Self::RestoreError),
            _ => return Self::Unknown,
        };
        if method == expected { route } else { Self::WrongMethod }
    }

    fn answer(id: &str, kind: AnswerKind) -> Self {
        Self::Answer { request_id: id.to_owned(), kind }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_methods_are_aws_s() {
        let get = |path| Route::of(Method::Get, path);
        let post = |path| Route::of(Method::Post, path);
        assert_eq!(get("/2018-06-01/ping"), Route::Ping);
        assert_eq!(get("/2018-06-01/runtime/invocation/next"), Route::Next);
        assert_eq!(post("/2018-06-01/runtime/invocation/next"), Route::WrongMethod);
        assert_eq!(post("/2018-06-01/runtime/invocation/i/error"), Route::answer("i", AnswerKind::Error));
        assert_eq!(post("/2018-06-01/runtime/invocation//response"), Route::answer("", AnswerKind::Response));
        assert_eq!(get("/2018-06-01/runtime/invocation/i/response"), Route::WrongMethod);
        assert_eq!(post("/2018-06-01/runtime/init/error"), Route::InitError);
        assert_eq!(get("/2018-06-01/runtime/restore/next"), Route::RestoreNext);
        assert_eq!(post("/2018-06-01/runtime/restore/error"), Route::RestoreError);
        assert_eq!(post("/2018-06-01/runtime/restore/next"), Route::WrongMethod);
        for path in ["/", "/2018-06-01", "/2018-06-01/runtime/invocation/i/response/x", "/2020-01-01/ping", ""] {
            assert_eq!(get(path), Route::Unknown, "{path}");
        }
    }
}
