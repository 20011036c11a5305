//! Configurations of functions' URLs. What a URL answers is `url`'s.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Answer, Call, created,
    error::LambdaError,
    name::{Target, arn},
    no_content, ok, page_of,
    shapes::timestamp,
    url::path_of,
};
use crate::{
    catalog::ChangeError,
    model::{Cors, Function, FunctionId, FunctionUrl, Qualifier, UrlAuth},
    vm::Vms,
};

/// Entries of a list in CORS at most, as in Lambda.
const CORS_ENTRIES_MAX: usize = 100;
/// Methods in CORS at most.
const CORS_METHODS_MAX: usize = 6;
/// How long browsers may remember CORS at most, seconds.
const CORS_AGE_S_MAX: u32 = 86_400;
const CORS_METHODS: [&str; 7] = ["GET", "PUT", "HEAD", "POST", "PATCH", "DELETE", "*"];

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Wanted {
    auth_type: Option<String>,
    cors: Option<CorsDocument>,
}

impl Wanted {
    fn auth(&self) -> Result<Option<UrlAuth>, LambdaError> {
        let auth = self.auth_type.as_deref().map(|text| match text {
            "NONE" => Ok(UrlAuth::Anybody),
            "AWS_IAM" => Ok(UrlAuth::Signed),
            other => Err(LambdaError::invalid(format!(
                "AuthType is {other:?}: must be NONE or AWS_IAM"
            ))),
        });
        auth.transpose()
    }
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct CorsDocument {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    allow_credentials: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    allow_headers: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    allow_methods: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    allow_origins: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expose_headers: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_age: Option<u32>,
}

impl CorsDocument {
    fn cors(self) -> Result<Cors, LambdaError> {
        let cors = Cors {
            allow_credentials: self.allow_credentials,
            allow_headers: self.allow_headers.unwrap_or_default(),
            allow_methods: self.allow_methods.unwrap_or_default(),
            allow_origins: self.allow_origins.unwrap_or_default(),
            expose_headers: self.expose_headers.unwrap_or_default(),
            max_age_s: self.max_age,
        };
        for (name, list, len_max) in [
            ("AllowHeaders", &cors.allow_headers, CORS_ENTRIES_MAX),
            ("AllowMethods", &cors.allow_methods, CORS_METHODS_MAX),
            ("AllowOrigins", &cors.allow_origins, CORS_ENTRIES_MAX),
            ("ExposeHeaders", &cors.expose_headers, CORS_ENTRIES_MAX),
        ] {
            let is_text = |text: &String| {
                !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
            };
            if list.len() > len_max || !list.iter().all(is_text) {
                return Err(LambdaError::invalid(format!(
                    "Cors.{name} must be at most {len_max} texts without spaces"
                )));
            }
        }
        if let Some(method) = cors
            .allow_methods
            .iter()
            .find(|method| !CORS_METHODS.contains(&method.as_str()))
        {
            return Err(LambdaError::invalid(format!(
                "Cors.AllowMethods has {method:?}: must be of {}",
                CORS_METHODS.join(", ")
            )));
        }
        match cors.max_age_s {
            Some(age_s) if age_s > CORS_AGE_S_MAX => Err(LambdaError::invalid(format!(
                "Cors.MaxAge is {age_s}: must be at most {CORS_AGE_S_MAX}"
            ))),
            _ => Ok(cors),
        }
    }

    fn new(cors: Cors) -> Self {
        let list = |list: Vec<String>| (!list.is_empty()).then_some(list);
        Self {
            allow_credentials: cors.allow_credentials,
            allow_headers: list(cors.allow_headers),
            allow_methods: list(cors.allow_methods),
            allow_origins: list(cors.allow_origins),
            expose_headers: list(cors.expose_headers),
            max_age: cors.max_age_s,
        }
    }
}

impl<V: Vms> Call<'_, V> {
    fn url_document(&self, name: &FunctionId, qualifier: &str, url: &FunctionUrl) -> Value {
        let arn = arn(&self.service().config().lambda, name);
        let mut document = json!({
            "FunctionUrl": format!("http://{}{}", self.host(), path_of(name, qualifier)),
            "FunctionArn": match qualifier {
                "" => arn,
                alias => format!("{arn}:{alias}"),
            },
            "AuthType": url.auth,
            "CreationTime": timestamp(url.created_ms),
            "LastModifiedTime": timestamp(url.updated_ms),
            "InvokeMode": "BUFFERED",
        });
        if let Some(cors) = url.cors.clone() {
            document["Cors"] = json!(CorsDocument::new(cors));
        }
        document
    }

    /// A function and the qualifier of its URL: none, or an alias.
    fn url_target(&self, name: &str) -> Result<(FunctionId, String), LambdaError> {
        let target = Target::new(name, &self.parts.uri)?;
        let qualifier = match target.qualifier {
            Qualifier::Live => String::new(),
            Qualifier::Alias(alias) => alias.to_string(),
            Qualifier::Version(number) => {
                let message =
                    format!("Qualifier is {number}: must be an alias, as a version has no URL");
                return Err(LambdaError::invalid(message));
            }
        };
        Ok((target.name, qualifier))
    }

    fn url_of(&self, function: &Function, qualifier: &str) -> Result<Value, LambdaError> {
        let url = function.attached.urls.get(qualifier);
        let url = url.ok_or_else(|| ChangeError::NoUrl(function.name.clone()))?;
        Ok(self.url_document(&function.name, qualifier, url))
    }

    pub(super) async fn create_url(self, name: &str) -> Answer {
        let (name, qualifier) = self.url_target(name)?;
        let wanted: Wanted = self.document()?;
        let missing = || LambdaError::invalid("AuthType is missing: must be NONE or AWS_IAM");
        let auth = wanted.auth()?.ok_or_else(missing)?;
        let cors = wanted.cors.map(CorsDocument::cors).transpose()?;
        let taken = name.clone();
        let make = move |before: Option<&FunctionUrl>, now_ms| match before {
            Some(_) => Err(ChangeError::UrlExists(taken.clone())),
            None => Ok(Some(FunctionUrl {
                auth,
                cors: cors.clone(),
                created_ms: now_ms,
                updated_ms: now_ms,
            })),
        };
        let function = self.catalog().change_url(&name, &qualifier, make).await?;
        let mut document = self.url_of(&function, &qualifier)?;
        if let Some(members) = document.as_object_mut() {
            members.remove("LastModifiedTime");
        }
        created(document)
    }

    pub(super) async fn update_url(self, name: &str) -> Answer {
        let (name, qualifier) = self.url_target(name)?;
        let wanted: Wanted = self.document()?;
        let auth = wanted.auth()?;
        let cors = wanted.cors.map(CorsDocument::cors).transpose()?;
        let function = name.clone();
        let change = move |before: Option<&FunctionUrl>, now_ms| {
            let before = before.cloned();
            let before = before.ok_or_else(|| ChangeError::NoUrl(function.clone()))?;
            Ok(Some(FunctionUrl {
                auth: auth.unwrap_or(before.auth),
                cors: cors.clone().or(before.cors),
                updated_ms: now_ms,
                ..before
            }))
        };
        let function = self.catalog().change_url(&name, &qualifier, change).await?;
        ok(self.url_of(&function, &qualifier)?)
    }

    pub(super) async fn delete_url(self, name: &str) -> Answer {
        let (name, qualifier) = self.url_target(name)?;
        let function = name.clone();
        let remove = move |before: Option<&FunctionUrl>, _| match before {
            Some(_) => Ok(None),
            None => Err(ChangeError::NoUrl(function.clone())),
        };
        self.catalog().change_url(&name, &qualifier, remove).await?;
        no_content()
    }

    pub(super) fn get_url(self, name: &str) -> Answer {
        let (name, qualifier) = self.url_target(name)?;
        let function = self.catalog().function(&name)?;
        ok(self.url_of(&function, &qualifier)?)
    }

    pub(super) fn list_urls(self, name: &str) -> Answer {
        let name = Target::unqualified(name)?;
        let function = self.catalog().function(&name)?;
        let page = self.page()?;
        // The marker of the URL of `$LATEST` is the empty name with a colon before it.
        let after = page
            .marker
            .as_deref()
            .map(|marker| marker.trim_start_matches(':'));
        let urls = function.attached.urls.iter();
        let mut found: Vec<_> = urls
            .filter(|(qualifier, _)| after.is_none_or(|after| qualifier.as_str() > after))
            .take(page.len_max + 1)
            .collect();
        let next_marker = page.cut(&mut found, |(qualifier, _)| format!(":{qualifier}"));
        let found = found.into_iter();
        let documents = found.map(|(qualifier, url)| self.url_document(&name, qualifier, url));
        page_of(
            "FunctionUrlConfigs",
            documents.collect::<Vec<_>>(),
            next_marker,
        )
    }
}
