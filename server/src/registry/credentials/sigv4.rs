//! A request to AWS and a key in, the `Authorization` header that signs it out.
//!
//! [AWS Signature Version 4](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html),
//! for requests without a query, which is all that is asked here.

use std::fmt::Write as _;

use aws_lc_rs::{digest, hmac};
use time::OffsetDateTime;
use time::format_description::FormatItem;
use time::macros::format_description;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const DATE: &[FormatItem<'_>] = format_description!("[year][month][day]");
const DATE_TIME: &[FormatItem<'_>] =
    format_description!("[year][month][day]T[hour][minute][second]Z");

/// A request to sign.
pub(super) struct Signable<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    /// All headers to sign, in any order: names in lower case, `host` and `x-amz-date` among them.
    pub(super) headers: &'a [(&'a str, &'a str)],
    pub(super) body: &'a [u8],
}

/// For what a signature is good.
pub(super) struct Scope<'a> {
    pub(super) region: &'a str,
    pub(super) service: &'a str,
    pub(super) at: OffsetDateTime,
}

/// The value of `x-amz-date`. `None` in a year that it cannot hold.
pub(super) fn date_time(at: OffsetDateTime) -> Option<String> {
    at.format(DATE_TIME).ok()
}

/// The value of `Authorization`. `None` in a year that a date cannot hold.
pub(super) fn authorization(
    request: &Signable<'_>,
    scope: &Scope<'_>,
    key_id: &str,
    secret: &str,
) -> Option<String> {
    let date = scope.at.format(DATE).ok()?;
    let mut headers = request.headers.to_vec();
    headers.sort_unstable();
    let names: Vec<_> = headers.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let mut canonical = format!("{}\n{}\n\n", request.method, request.path);
    for (name, value) in &headers {
        let words: Vec<_> = value.split_ascii_whitespace().collect();
        writeln!(canonical, "{name}:{}", words.join(" ")).ok()?;
    }
    write!(canonical, "\n{names}\n{}", hash(request.body)).ok()?;

    let credential = format!("{date}/{}/{}/aws4_request", scope.region, scope.service);
    let hashed = hash(canonical.as_bytes());
    let to_sign = format!("{ALGORITHM}\n{}\n{credential}\n{hashed}", date_time(scope.at)?);
    let parts = [date.as_str(), scope.region, scope.service, "aws4_request"];
    let first = format!("AWS4{secret}").into_bytes();
    let key = parts.iter().fold(first, |key, part| sign(&key, part.as_bytes()));
    let signature = hex(&sign(&key, to_sign.as_bytes()));
    Some(format!(
        "{ALGORITHM} Credential={key_id}/{credential}, SignedHeaders={names}, Signature={signature}"
    ))
}

fn sign(key: &[u8], data: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data).as_ref().to_vec()
}

fn hash(data: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, data).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const HOST: (&str, &str) = ("host", "example.amazonaws.com");
    const TIME: (&str, &str) = ("x-amz-date", "20150830T123600Z");

    /// The values of AWS's published "Signature Version 4 test suite".
    #[track_caller]
    fn check(method: &str, headers: &[(&str, &str)], body: &str, signed: &str, signature: &str) {
        let request = Signable { method, path: "/", headers, body: body.as_bytes() };
        let at = datetime!(2015-08-30 12:36:00 UTC);
        let scope = Scope { region: "us-east-1", service: "service", at };
        let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        let value = authorization(&request, &scope, "AKIDEXAMPLE", secret).unwrap();
        assert_eq!(
            value,
            format!(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                 SignedHeaders={signed}, Signature={signature}"
            )
        );
    }

    #[test]
    fn get_vanilla() {
        let signature = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
        check("GET", &[HOST, TIME], "", "host;x-amz-date", signature);
    }

    #[test]
    fn post_vanilla() {
        let signature = "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b";
        check("POST", &[TIME, HOST], "", "host;x-amz-date", signature);
    }

    #[test]
    fn get_header_value_trim() {
        let headers = [HOST, ("my-header1", " value1"), ("my-header2", " \"a   b   c\""), TIME];
        let signature = "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736";
        check("GET", &headers, "", "host;my-header1;my-header2;x-amz-date", signature);
    }

    #[test]
    fn get_vanilla_with_session_token() {
        let token = "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267";
        let headers = [HOST, TIME, ("x-amz-security-token", token)];
        let signature = "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8";
        check("GET", &headers, "", "host;x-amz-date;x-amz-security-token", signature);
    }

    #[test]
    fn post_x_www_form_urlencoded() {
        let headers = [
            ("content-type", "application/x-www-form-urlencoded"),
            HOST,
            ("content-length", "13"),
            TIME,
            (
                "x-amz-content-sha256",
                "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e",
            ),
        ];
        check(
            "POST",
            &headers,
            "Param1=value1",
            "content-length;content-type;host;x-amz-content-sha256;x-amz-date",
            "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b",
        );
    }
}
