//! Whose token it is.

use std::time::Duration;

use hermesh_istiod::ca::{AUDIENCE, ServiceAccount, SignedTokens, TokenReview};
use hermesh_runtime::os;

const HOUR: Duration = Duration::from_secs(3600);

async fn refusal(tokens: &SignedTokens, token: &str) -> String {
    tokens.review(token, AUDIENCE).await.unwrap_err().to_string()
}

#[tokio::test]
async fn a_token_proves_its_account_at_its_audience_while_it_lives() {
    let tokens = SignedTokens::new(&os::runtime(), b"secret");
    let account = ServiceAccount::new("echo", "default");
    let token = tokens.mint(&account, AUDIENCE, HOUR);
    assert_eq!(tokens.review(&token, AUDIENCE).await, Ok(account.clone()));
    let elsewhere = tokens.mint(&account, "vault", HOUR);
    assert_eq!(refusal(&tokens, &elsewhere).await, "token refused: meant for another audience");
    let over = tokens.mint(&account, AUDIENCE, Duration::ZERO);
    assert_eq!(refusal(&tokens, &over).await, "token refused: expired");
}

#[tokio::test]
async fn a_token_of_another_authority_is_refused() {
    let account = ServiceAccount::new("echo", "default");
    let token = SignedTokens::new(&os::runtime(), b"other secret").mint(&account, AUDIENCE, HOUR);
    let tokens = SignedTokens::new(&os::runtime(), b"secret");
    assert_eq!(refusal(&tokens, &token).await, "token refused: signature does not match");
}

#[tokio::test]
async fn no_part_of_a_token_can_be_changed() {
    let tokens = SignedTokens::new(&os::runtime(), b"secret");
    let token = tokens.mint(&ServiceAccount::new("echo", "default"), AUDIENCE, HOUR);
    for at in 0..token.len() {
        let mut changed = token.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert!(tokens.review(&changed, AUDIENCE).await.is_err(), "byte {at}");
    }
    for text in ["", ".", "..", "a.b.c", "eyJhbGciOiJub25lIn0.e30."] {
        assert!(tokens.review(text, AUDIENCE).await.is_err(), "{text}");
    }
}

#[tokio::test]
async fn a_refusal_never_shows_the_token() {
    let tokens = SignedTokens::new(&os::runtime(), b"secret");
    let token = SignedTokens::new(&os::runtime(), b"x").mint(&ServiceAccount::new("a", "b"), AUDIENCE, HOUR);
    assert!(!refusal(&tokens, &token).await.contains(&token[..20]));
    assert!(!format!("{tokens:?}").contains("secret"));
}
