//! Web identity tokens in, keys of AWS for a while out: STS, and the agent of EKS Pod Identity.

use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::json;

use super::{Answer, Asked, Service};
use crate::TestkitError;

/// Who may have which key.
#[derive(Debug, Clone)]
pub struct Role {
    /// `arn:aws:iam::<account>:role/<name>`
    pub arn: String,
    /// The token that is trusted now.
    pub token: String,
    /// The key's name.
    pub key_id: String,
    /// The key's secret.
    pub secret: String,
    /// The session's token.
    pub session: String,
    /// When it ends, as RFC 3339 has it.
    pub expiration: String,
}

/// STS, and at `/v1/credentials` an agent beside a container.
#[derive(Debug)]
pub struct Sts {
    /// Where it is.
    pub service: Service,
    role: Arc<Mutex<Role>>,
}

impl Sts {
    /// Starts it.
    ///
    /// # Errors
    /// When no loopback port can be had.
    pub async fn start(role: Role) -> Result<Self, TestkitError> {
        let role = Arc::new(Mutex::new(role));
        let shared = Arc::clone(&role);
        let answer = move |asked: &Asked| {
            let role = shared.lock();
            if asked.path == "/v1/credentials" { agent(&role, asked) } else { assume(&role, asked) }
        };
        Ok(Self { service: Service::start(answer).await?, role })
    }

    /// Changes what it knows.
    pub fn change(&self, change: impl FnOnce(&mut Role)) {
        change(&mut self.role.lock());
    }
}

fn assume(role: &Role, asked: &Asked) -> Answer {
    let form = asked.form().unwrap_or_default();
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    if !asked.is("POST", "/") || !asked.query.is_empty() || asked.header("authorization").is_some()
    {
        return refused(403, "AccessDenied", "");
    }
    if field("Action") != "AssumeRoleWithWebIdentity" || field("Version") != "2011-06-15" {
        return refused(400, "InvalidAction", field("Action"));
    }
    let session = field("RoleSessionName");
    let named = |b: u8| b.is_ascii_alphanumeric() || b"_=,.@-".contains(&b);
    if !(2..=64).contains(&session.len()) || !session.bytes().all(named) || form.len() != 5 {
        return refused(400, "ValidationError", session);
    }
    if field("RoleArn") != role.arn {
        return refused(403, "AccessDenied", field("RoleArn"));
    }
    if field("WebIdentityToken") != role.token {
        return refused(400, "InvalidIdentityToken", field("WebIdentityToken"));
    }
    let Role { key_id, secret, session, expiration, .. } = role;
    let body = format!(
        "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\n  \
         <AssumeRoleWithWebIdentityResult>\n    <Credentials>\n      \
         <AccessKeyId>{key_id}</AccessKeyId>\n      \
         <SecretAccessKey>{secret}</SecretAccessKey>\n      \
         <SessionToken>{session}</SessionToken>\n      \
         <Expiration>{expiration}</Expiration>\n    </Credentials>\n    \
         <Provider>arn:aws:iam::1:oidc-provider/oidc.eks</Provider>\n  \
         </AssumeRoleWithWebIdentityResult>\n  \
         <ResponseMetadata><RequestId>c6104cbe</RequestId></ResponseMetadata>\n\
         </AssumeRoleWithWebIdentityResponse>\n"
    );
    Answer::new(200, "text/xml", body)
}

fn agent(role: &Role, asked: &Asked) -> Answer {
    if asked.method != "GET" || asked.header("authorization") != Some(&role.token) {
        let body =
            json!({"code": "AccessDeniedException", "message": asked.header("authorization")});
        return Answer::json(403, &body);
    }
    Answer::json(
        200,
        &json!({
            "AccessKeyId": role.key_id,
            "SecretAccessKey": role.secret,
            "Token": role.session,
            "AccountId": "123456789012",
            "Expiration": role.expiration,
        }),
    )
}

fn refused(status: u16, code: &str, what: &str) -> Answer {
    let body = format!(
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error>\
         <Type>Sender</Type><Code>{code}</Code><Message>not this one: {what}</Message></Error>\
         <RequestId>c6104cbe</RequestId></ErrorResponse>"
    );
    Answer::new(status, "text/xml", body)
}
