//! Aliases.

use jiffy_model::Outcome;
use serde_json::Value;

use super::{
    Answer, Call, created,
    error::LambdaError,
    name::{Target, parameter},
    no_content, ok, page_of,
    shapes::{PutAlias, alias_document, alias_revision, check_revision, target_text},
};
use crate::{
    catalog::AliasBefore,
    http::input::decode,
    model::{Alias, AliasName, Function},
    service::ChangeError,
    vm::Vms,
};

impl<V: Vms> Call<'_, V> {
    fn alias_document(&self, function: &Function, name: &AliasName, alias: &Alias) -> Value {
        alias_document(&self.service().config().lambda, function, name, alias)
    }

    fn find_alias(
        &self,
        name: &str,
        alias: &str,
    ) -> Result<(Function, AliasName, Alias), LambdaError> {
        let name = Target::unqualified(name)?;
        let mut function = self.catalog().function(&name)?;
        let alias_name = alias_name(alias)?;
        let alias = function.aliases.remove(&alias_name).ok_or_else(|| {
            let message = format!("no alias {alias_name} of {name}: must be one that was created");
            LambdaError::new(Outcome::NotFound, message)
        })?;
        Ok((function, alias_name, alias))
    }

    pub(super) async fn create_alias(self, name: &str) -> Answer {
        let name = Target::unqualified(name)?;
        let wanted: PutAlias = self.document()?;
        let alias = wanted.name.clone();
        let alias = alias.ok_or_else(|| LambdaError::invalid("Name is missing"))?;
        let alias = AliasName::try_from(alias)?;
        let (to, before) = (wanted.alias(None)?, AliasBefore::Absent);
        let made = self
            .catalog()
            .change_alias(&name, &alias, to.clone(), before);
        created(self.alias_document(&made.await?, &alias, &to))
    }

    pub(super) async fn update_alias(self, name: &str, alias: &str) -> Answer {
        let (function, alias, before) = self.find_alias(name, alias)?;
        let wanted: PutAlias = self.document()?;
        let revision = alias_revision(&function, &alias, &before);
        check_revision(wanted.revision_id.as_deref(), &revision)?;
        let to = wanted.alias(Some(before.clone()))?;
        // The registry looks again, so that of two who have seen the same one is refused.
        let (name, before) = (&function.name, AliasBefore::Is(before));
        let changed = self
            .catalog()
            .change_alias(name, &alias, to.clone(), before);
        ok(self.alias_document(&changed.await?, &alias, &to))
    }

    pub(super) fn get_alias(self, name: &str, alias: &str) -> Answer {
        let (function, name, alias) = self.find_alias(name, alias)?;
        ok(self.alias_document(&function, &name, &alias))
    }

    pub(super) async fn delete_alias(self, name: &str, alias: &str) -> Answer {
        let name = Target::unqualified(name)?;
        let alias = alias_name(alias)?;
        match self.catalog().remove_alias(&name, &alias).await {
            // As in Lambda: what is not there need not be deleted.
            Ok(_) | Err(ChangeError::NoAlias(..)) => {}
            Err(error) => return Err(error.into()),
        }
        no_content()
    }

    pub(super) fn list_aliases(self, name: &str) -> Answer {
        let name = Target::unqualified(name)?;
        let function = self.catalog().function(&name)?;
        let page = self.page()?;
        let version = parameter(&self.parts.uri, "FunctionVersion");
        let is_wanted = |name: &AliasName, alias: &Alias| {
            let (after, version) = (page.marker.as_deref(), version.as_deref());
            after.is_none_or(|marker| name.as_ref() > marker)
                && version.is_none_or(|version| target_text(&alias.version) == version)
        };
        let aliases = function.aliases.iter();
        let wanted = aliases.filter(|(name, alias)| is_wanted(name, alias));
        let mut aliases: Vec<_> = wanted.take(page.len_max + 1).collect();
        let next_marker = page.cut(&mut aliases, |(name, _)| name.to_string());
        let aliases = aliases.into_iter();
        let documents = aliases.map(|(name, alias)| self.alias_document(&function, name, alias));
        page_of("Aliases", documents.collect::<Vec<_>>(), next_marker)
    }
}

fn alias_name(segment: &str) -> Result<AliasName, LambdaError> {
    Ok(decode(segment).unwrap_or_default().parse()?)
}
