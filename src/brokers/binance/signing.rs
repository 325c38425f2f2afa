//! Signatures of requests: HMAC-SHA256 with a shared secret, or Ed25519 with a private key.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use ring::signature::Ed25519KeyPair;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;

use crate::brokers::binance::parameters::{Parameters, push_encoded};
use crate::domain::hex;

/// Why a key cannot sign. No variant holds any part of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The secret is empty.
    #[error("the secret of the API key is empty")]
    EmptySecret,
    /// The text is not a PEM file with a PKCS#8 private key.
    #[error("the private key is not a PEM file with a PKCS#8 key (\"BEGIN PRIVATE KEY\")")]
    NotPem,
    /// The key is not an Ed25519 key.
    #[error("the private key is not an Ed25519 key")]
    NotEd25519,
}

/// Signs requests. It never shows its key: neither `Debug` nor any error has a part of it.
pub struct RequestSigner(Key);

enum Key {
    Hmac(hmac::Key),
    Ed25519(Ed25519KeyPair),
}

impl RequestSigner {
    /// Returns the signer of a shared secret (HMAC-SHA256).
    ///
    /// # Errors
    /// When the secret is empty.
    pub fn from_secret(secret: &str) -> Result<Self, KeyError> {
        if secret.is_empty() {
            return Err(KeyError::EmptySecret);
        }
        Ok(Self(Key::Hmac(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()))))
    }

    /// Returns the signer of an Ed25519 private key in PEM, as `openssl genpkey -algorithm ed25519` writes it.
    ///
    /// # Errors
    /// When the text is not such a key.
    pub fn from_ed25519_pem(pem: &str) -> Result<Self, KeyError> {
        let key = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| KeyError::NotPem)?;
        // OpenSSL's PKCS#8 files have no public key, which the checked reader requires.
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(key.secret_pkcs8_der());
        Ok(Self(Key::Ed25519(pair.map_err(|_| KeyError::NotEd25519)?)))
    }

    /// Returns the signature of a text: 64 hex digits for HMAC, Base64 for Ed25519.
    pub fn sign(&self, text: &str) -> String {
        match &self.0 {
            Key::Hmac(key) => hex::encode(hmac::sign(key, text.as_bytes()).as_ref()),
            Key::Ed25519(pair) => STANDARD.encode(pair.sign(text.as_bytes())),
        }
    }

    /// Returns the query string of a signed REST request: the encoded parameters, and the signature of exactly that text,
    /// encoded too.
    pub fn sign_query(&self, parameters: &Parameters) -> String {
        let mut query = parameters.to_query();
        let signature = self.sign(&query);
        query.push_str("&signature=");
        push_encoded(&mut query, &signature);
        query
    }
}

impl fmt::Debug for RequestSigner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self.0 {
            Key::Hmac(_) => "RequestSigner(HMAC-SHA256, key hidden)",
            Key::Ed25519(_) => "RequestSigner(Ed25519, key hidden)",
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ring::rand::SystemRandom;
    use ring::signature::{ED25519, KeyPair, UnparsedPublicKey};

    use super::*;

    /// The secret of the venue's published signing example (`rest-api.md`, "SIGNED Endpoint Examples").
    const EXAMPLE_SECRET: &str = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j";

    fn pem(label: &str, der: &[u8]) -> String {
        format!(
            "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
            STANDARD.encode(der)
        )
    }

    #[test]
    fn hmac_gives_the_signature_of_the_published_example() {
        let parameters = Parameters::new()
            .with("symbol", "LTCBTC")
            .with("side", "BUY")
            .with("type", "LIMIT")
            .with("timeInForce", "GTC")
            .with("quantity", 1)
            .with("price", "0.1")
            .with("recvWindow", 5000)
            .with("timestamp", 1_499_827_319_559_i64);
        let query = RequestSigner::from_secret(EXAMPLE_SECRET)
            .unwrap()
            .sign_query(&parameters);
        assert_eq!(
            query,
            "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000\
             &timestamp=1499827319559\
             &signature=c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71"
        );
    }

    #[test]
    fn ed25519_gives_the_signature_of_rfc_8032() {
        // RFC 8032 §7.1, test 1: the empty message. The prefix is PKCS#8 without a public key, as OpenSSL writes it.
        let seed = hex::decode("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").unwrap();
        let der = [hex::decode("302e020100300506032b657004220420").unwrap(), seed].concat();
        let signer = RequestSigner::from_ed25519_pem(&pem("PRIVATE KEY", &der)).unwrap();
        let signature = STANDARD.decode(signer.sign("")).unwrap();
        assert_eq!(
            hex::encode(&signature),
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595b\
             be24655141438e7a100b"
        );
    }

    #[test]
    fn keys_that_cannot_sign_are_refused_without_showing_them() {
        assert_eq!(RequestSigner::from_secret("").unwrap_err(), KeyError::EmptySecret);
        for (text, expected) in [
            ("not a key".to_owned(), KeyError::NotPem),
            (pem("EC PRIVATE KEY", b"123"), KeyError::NotPem),
            (pem("PRIVATE KEY", b"123"), KeyError::NotEd25519),
        ] {
            assert_eq!(RequestSigner::from_ed25519_pem(&text).unwrap_err(), expected, "{text}");
        }
        let shown = format!("{:?}", RequestSigner::from_secret(EXAMPLE_SECRET).unwrap());
        assert!(!shown.contains(&EXAMPLE_SECRET[..8]), "{shown}");
    }

    proptest! {
        #[test]
        fn hmac_signs_the_encoded_text_that_is_sent(value in any::<String>(), secret in "[a-zA-Z0-9]{1,64}") {
            let query = RequestSigner::from_secret(&secret).unwrap().sign_query(&Parameters::new().with("note", &value));
            let (signed, signature) = query.rsplit_once("&signature=").unwrap();
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
            prop_assert!(hmac::verify(&key, signed.as_bytes(), &hex::decode(signature).unwrap()).is_ok());
        }

        #[test]
        fn ed25519_signatures_survive_the_encoding_of_the_query(value in any::<String>()) {
            let der = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
            let public = Ed25519KeyPair::from_pkcs8(der.as_ref()).unwrap();
            let signer = RequestSigner::from_ed25519_pem(&pem("PRIVATE KEY", der.as_ref())).unwrap();
            let query = signer.sign_query(&Parameters::new().with("note", &value));
            let (signed, signature) = query.rsplit_once("&signature=").unwrap();
            prop_assert!(!signature.contains(['+', '/', '=']), "{}", signature);
            let signature = signature.replace("%2B", "+").replace("%2F", "/").replace("%3D", "=");
            let key = UnparsedPublicKey::new(&ED25519, public.public_key().as_ref());
            prop_assert!(key.verify(signed.as_bytes(), &STANDARD.decode(signature).unwrap()).is_ok());
        }
    }
}
