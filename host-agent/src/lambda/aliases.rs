//! Aliases.

use axum::http::StatusCode;
use axum::response::IntoResponse;
use jiffy_model::Outcome;
use serde::Serialize;

use super::{
    Answer, Call,
    error::LambdaError,
    json,
    name::{Target, parameter},
    shapes::{AliasConfiguration, PutAlias, check_revision},
};
use crate::{
    catalog::AliasBefore,
    http::input::decode,
    model::{Alias, AliasName, Function},
    service::ChangeError,
    vm::Vms,
};

impl<V: Vms> Call<'_, V> {
    fn alias_configuration(
        &self,
        function: &Function,
        name: &AliasName,
        alias: &Alias,
    ) -> AliasConfiguration {
        let config = self.lambda.backend.service.config();
        AliasConfiguration::new(&config.lambda, function, name, alias)
    }

    fn find_alias(
        &self,
        name: &str,
        alias: &str,
    ) -> Result<(Function, AliasName, Alias), LambdaError> {
        let name = Target::unqualified(name)?;
        let mut function = self.lambda.backend.service.catalog.function(&name)?;
        let alias_name = alias_name(alias)?;
        let alias = function.aliases.remove(&alias_name).ok_or_else(|| {
            let message = format!("{name} has no alias {alias_name}");
            LambdaError::new(Outcome::NotFound, message)
        })?;
        Ok((function, alias_name, alias))
    }

    pub(super) async fn create_alias(self, name: &str) -> Answer {
        let name = Target::unqualified(name)?;
        let wanted: PutAlias = self.document()?;
        let alias = wanted
            .name
            .clone()
            .ok_or_else(|| LambdaError::new(Outcome::InvalidRequest, "Name is missing"))?;
        let alias = AliasName::try_from(alias)?;
        let (to, before) = (wanted.alias(None)?, AliasBefore::Absent);
        let service = &self.lambda.backend.service;
        let made = service
            .catalog
            .change_alias(&name, &alias, to.clone(), before);
        let function = made.await?;
        let configuration = self.alias_configuration(&function, &alias, &to);
        Ok(json(StatusCode::CREATED, &configuration))
    }

    pub(super) async fn update_alias(self, name: &str, alias: &str) -> Answer {
        let (function, alias, before) = self.find_alias(name, alias)?;
        let wanted: PutAlias = self.document()?;
        let found = self.alias_configuration(&function, &alias, &before);
        check_revision(wanted.revision_id.as_deref(), &found.revision_id)?;
        let to = wanted.alias(Some(before.clone()))?;
        let service = &self.lambda.backend.service;
        // The registry looks again, so that of two who have seen the same one is refused.
        let before = AliasBefore::Is(before);
        let changed = service
            .catalog
            .change_alias(&function.name, &alias, to.clone(), before);
        let function = changed.await?;
        let configuration = self.alias_configuration(&function, &alias, &to);
        Ok(json(StatusCode::OK, &configuration))
    }

    pub(super) fn get_alias(self, name: &str, alias: &str) -> Answer {
        let (function, name, alias) = self.find_alias(name, alias)?;
        let configuration = self.alias_configuration(&function, &name, &alias);
        Ok(json(StatusCode::OK, &configuration))
    }

    pub(super) async fn delete_alias(self, name: &str, alias: &str) -> Answer {
        let name = Target::unqualified(name)?;
        let alias = alias_name(alias)?;
        match self
            .lambda
            .backend
            .service
            .catalog
            .remove_alias(&name, &alias)
            .await
        {
            // As in Lambda: what is not there need not be deleted.
            Ok(_) | Err(ChangeError::NoAlias(..)) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(StatusCode::NO_CONTENT.into_response())
    }

    pub(super) fn list_aliases(self, name: &str) -> Answer {
        let name = Target::unqualified(name)?;
        let function = self.lambda.backend.service.catalog.function(&name)?;
        let page = self.page()?;
        let version = parameter(&self.parts.uri, "FunctionVersion");
        let is_behind = |name: &AliasName| {
            let marker = page.marker.as_deref();
            marker.is_none_or(|marker| name.as_ref() > marker)
        };
        let found = function.aliases.iter().filter(|(name, _)| is_behind(name));
        let configurations =
            found.map(|(name, alias)| self.alias_configuration(&function, name, alias));
        let mut aliases: Vec<_> = configurations
            .filter(|found| {
                version
                    .as_ref()
                    .is_none_or(|version| found.leads_to(version))
            })
            .take(page.len_max + 1)
            .collect();
        let next_marker = page.cut(&mut aliases, |alias| alias.name.to_string());
        let document = Aliases {
            aliases,
            next_marker,
        };
        Ok(json(StatusCode::OK, &document))
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Aliases {
    aliases: Vec<AliasConfiguration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
}

fn alias_name(segment: &str) -> Result<AliasName, LambdaError> {
    Ok(decode(segment).unwrap_or_default().parse()?)
}
