//! Aliases.

use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde_json::json;

use super::{
    Answer, Call,
    error::{Exception, LambdaError},
    json,
    name::{Target, parameter},
    shapes::{AliasConfiguration, PutAlias, check_revision},
};
use crate::{
    api::input::decode,
    model::{Alias, AliasName, Function},
    vm::Vms,
};

impl<V: Vms> Call<'_, V> {
    fn alias_configuration(
        &self,
        function: &Function,
        name: &AliasName,
        alias: &Alias,
    ) -> AliasConfiguration {
        let config = self.api.service.config();
        AliasConfiguration::new(&config.lambda, function, name, alias)
    }

    fn find_alias(
        &self,
        name: &str,
        alias: &str,
    ) -> Result<(Function, AliasName, Alias), LambdaError> {
        let name = Target::unqualified(name)?;
        let mut function = self.api.service.function(&name)?;
        let alias_name = alias_name(alias)?;
        let alias = function.aliases.remove(&alias_name).ok_or_else(|| {
            let message = format!("{name} has no alias {alias_name}");
            LambdaError::new(Exception::ResourceNotFound, message)
        })?;
        Ok((function, alias_name, alias))
    }

    async fn put_alias(&self, function: &Function, name: &AliasName, to: Alias) -> Answer {
        let service = &self.api.service;
        let function = service.put_alias(&function.name, name, to.clone()).await?;
        let configuration = self.alias_configuration(&function, name, &to);
        let status = match self.parts.method {
            axum::http::Method::POST => StatusCode::CREATED,
            _ => StatusCode::OK,
        };
        Ok(json(status, &configuration))
    }

    pub(super) async fn create_alias(self, name: &str) -> Answer {
        let name = Target::unqualified(name)?;
        let function = self.api.service.function(&name)?;
        let wanted: PutAlias = self.document()?;
        let alias = wanted
            .name
            .clone()
            .ok_or_else(|| LambdaError::new(Exception::InvalidParameterValue, "Name is missing"))?;
        let alias = AliasName::try_from(alias)?;
        if function.aliases.contains_key(&alias) {
            let message = format!("Alias already exists: {alias}");
            return Err(LambdaError::new(Exception::ResourceConflict, message));
        }
        self.put_alias(&function, &alias, wanted.alias(None)?).await
    }

    pub(super) async fn update_alias(self, name: &str, alias: &str) -> Answer {
        let (function, alias, before) = self.find_alias(name, alias)?;
        let wanted: PutAlias = self.document()?;
        let found = self.alias_configuration(&function, &alias, &before);
        check_revision(wanted.revision_id.as_deref(), &found.revision_id)?;
        let to = wanted.alias(Some(before))?;
        self.put_alias(&function, &alias, to).await
    }

    pub(super) fn get_alias(self, name: &str, alias: &str) -> Answer {
        let (function, name, alias) = self.find_alias(name, alias)?;
        let configuration = self.alias_configuration(&function, &name, &alias);
        Ok(json(StatusCode::OK, &configuration))
    }

    pub(super) async fn delete_alias(self, name: &str, alias: &str) -> Answer {
        let name = Target::unqualified(name)?;
        let alias = alias_name(alias)?;
        self.api.service.remove_alias(&name, &alias).await?;
        Ok(StatusCode::NO_CONTENT.into_response())
    }

    pub(super) fn list_aliases(self, name: &str) -> Answer {
        let name = Target::unqualified(name)?;
        let function = self.api.service.function(&name)?;
        let (marker, limit) = self.page()?;
        let version = parameter(&self.parts.uri, "FunctionVersion")?;
        let wanted = |(name, alias): &(&AliasName, &Alias)| {
            marker
                .as_deref()
                .is_none_or(|marker| name.as_ref() > marker)
                && version
                    .as_ref()
                    .is_none_or(|version| alias.version.to_string() == *version)
        };
        let found = function.aliases.iter().filter(wanted).take(limit);
        let aliases: Vec<_> = found
            .map(|(name, alias)| self.alias_configuration(&function, name, alias))
            .collect();
        let next = aliases.last().filter(|_| aliases.len() == limit);
        let document = json!({
            "NextMarker": next.map(|alias| &alias.name),
            "Aliases": aliases,
        });
        Ok(json(StatusCode::OK, &document))
    }
}

fn alias_name(segment: &str) -> Result<AliasName, LambdaError> {
    Ok(decode(segment).unwrap_or_default().parse()?)
}
