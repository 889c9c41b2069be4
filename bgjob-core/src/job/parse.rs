//! Ids as texts. Here and not with the ids, because an error may name an id.

use std::str::FromStr;

use uuid::Uuid;

use super::JobId;
use crate::Error;

impl FromStr for JobId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Uuid::try_parse(text)
            .map(Self::from)
            .map_err(|e| Error::invalid("a job id is a UUID, like those bgjob prints").because(e))
    }
}
