//! Configurations of functions' URLs. What a URL answers is `url`'s.

use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use jiffy_model::Outcome;
use serde::{Deserialize, Serialize};

use super::{
    Answer, Call,
    error::LambdaError,
    json,
    name::{Target, arn},
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
            other => Err(LambdaError::new(
                Outcome::InvalidRequest,
                format!("AuthType is {other:?}: must be NONE or AWS_IAM"),
            )),
        });
        auth.transpose()
    }
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct CorsDocument {
    #[serde(default)]
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
        let invalid = |message: String| LambdaError::new(Outcome::InvalidRequest, message);
        let cors = Cors {
            allow_credentials: self.allow_credentials.unwrap_or_default(),
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
                return Err(invalid(format!(
                    "Cors.{name} must be at most {len_max} texts without spaces"
                )));
            }
        }
        if let Some(method) = cors
            .allow_methods
            .iter()
            .find(|method| !CORS_METHODS.contains(&method.as_str()))
        {
            return Err(invalid(format!(
                "Cors.AllowMethods has {method:?}: must be of {}",
                CORS_METHODS.join(", ")
            )));
        }
        match cors.max_age_s {
            Some(age_s) if age_s > CORS_AGE_S_MAX => Err(invalid(format!(
                "Cors.MaxAge is {age_s}: must be at most {CORS_AGE_S_MAX}"
            ))),
            _ => Ok(cors),
        }
    }

    fn new(cors: Cors) -> Self {
        let list = |list: Vec<String>| (!list.is_empty()).then_some(list);
        Self {
            allow_credentials: Some(cors.allow_credentials),
            allow_headers: list(cors.allow_headers),
            allow_methods: list(cors.allow_methods),
            allow_origins: list(cors.allow_origins),
            expose_headers: list(cors.expose_headers),
            max_age: cors.max_age_s,
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct UrlConfiguration {
    function_url: String,
    function_arn: String,
    auth_type: UrlAuth,
    #[serde(skip_serializing_if = "Option::is_none")]
    cors: Option<CorsDocument>,
    creation_time: String,
    /// Not in the answer to its creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_modified_time: Option<String>,
    invoke_mode: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct UrlConfigurations {
    function_url_configs: Vec<UrlConfiguration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
}

impl<V: Vms> Call<'_, V> {
    fn url_configuration(
        &self,
        name: &FunctionId,
        qualifier: &str,
        url: FunctionUrl,
    ) -> UrlConfiguration {
        let config = self.lambda.backend.service.config();
        let host = self
            .parts
            .headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok());
        let listen = config.listen.to_string();
        let function_arn = arn(&config.lambda, name);
        UrlConfiguration {
            // By the name by which the client reaches the agent.
            function_url: format!(
                "http://{}{}",
                host.unwrap_or(&listen),
                path_of(name, qualifier)
            ),
            function_arn: match qualifier {
                "" => function_arn,
                alias => format!("{function_arn}:{alias}"),
            },
            auth_type: url.auth,
            cors: url.cors.map(CorsDocument::new),
            creation_time: timestamp(url.created_ms),
            last_modified_time: Some(timestamp(url.updated_ms)),
            invoke_mode: "BUFFERED",
        }
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
                return Err(LambdaError::new(Outcome::InvalidRequest, message));
            }
        };
        Ok((target.name, qualifier))
    }

    fn url_answer(&self, status: StatusCode, function: &Function, qualifier: &str) -> Answer {
        let url = function.attached.urls.get(qualifier).cloned();
        let url = url
            .ok_or_else(|| ChangeError::NoUrl(function.name.clone()))
            .map_err(LambdaError::from)?;
        let mut configuration = self.url_configuration(&function.name, qualifier, url);
        if status == StatusCode::CREATED {
            configuration.last_modified_time = None;
        }
        Ok(json(status, &configuration))
    }

    pub(super) async fn create_url(self, name: &str) -> Answer {
        let (name, qualifier) = self.url_target(name)?;
        let wanted: Wanted = self.document()?;
        let auth = wanted.auth()?.ok_or_else(|| {
            LambdaError::new(
                Outcome::InvalidRequest,
                "AuthType is missing: must be NONE or AWS_IAM",
            )
        })?;
        let cors = wanted.cors.map(CorsDocument::cors).transpose()?;
        let function_name = name.clone();
        let change = self.lambda.backend.service.catalog.change_url(
            &name,
            &qualifier,
            move |before, now_ms| match before {
                Some(_) => Err(ChangeError::UrlExists(function_name.clone())),
                None => Ok(Some(FunctionUrl {
                    auth,
                    cors: cors.clone(),
                    created_ms: now_ms,
                    updated_ms: now_ms,
                })),
            },
        );
        let function = change.await?;
        self.url_answer(StatusCode::CREATED, &function, &qualifier)
    }

    pub(super) async fn update_url(self, name: &str) -> Answer {
        let (name, qualifier) = self.url_target(name)?;
        let wanted: Wanted = self.document()?;
        let auth = wanted.auth()?;
        let cors = wanted.cors.map(CorsDocument::cors).transpose()?;
        let function_name = name.clone();
        let change = self.lambda.backend.service.catalog.change_url(
            &name,
            &qualifier,
            move |before, now_ms| {
                let before = before.cloned();
                let before = before.ok_or_else(|| ChangeError::NoUrl(function_name.clone()))?;
                Ok(Some(FunctionUrl {
                    auth: auth.unwrap_or(before.auth),
                    cors: cors.clone().or(before.cors),
                    updated_ms: now_ms,
                    ..before
                }))
            },
        );
        let function = change.await?;
        self.url_answer(StatusCode::OK, &function, &qualifier)
    }

    pub(super) async fn delete_url(self, name: &str) -> Answer {
        let (name, qualifier) = self.url_target(name)?;
        let function_name = name.clone();
        let change =
            self.lambda
                .backend
                .service
                .catalog
                .change_url(&name, &qualifier, move |before, _| match before {
                    Some(_) => Ok(None),
                    None => Err(ChangeError::NoUrl(function_name.clone())),
                });
        change.await?;
        Ok(StatusCode::NO_CONTENT.into_response())
    }

    pub(super) fn get_url(self, name: &str) -> Answer {
        let (name, qualifier) = self.url_target(name)?;
        let function = self.lambda.backend.service.catalog.function(&name)?;
        self.url_answer(StatusCode::OK, &function, &qualifier)
    }

    pub(super) fn list_urls(self, name: &str) -> Answer {
        let name = Target::unqualified(name)?;
        let function = self.lambda.backend.service.catalog.function(&name)?;
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
        let configurations = found
            .into_iter()
            .map(|(qualifier, url)| self.url_configuration(&name, qualifier, url.clone()));
        let document = UrlConfigurations {
            function_url_configs: configurations.collect(),
            next_marker,
        };
        Ok(json(StatusCode::OK, &document))
    }
}
