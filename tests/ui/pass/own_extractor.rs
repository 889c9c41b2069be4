use bgjob::{BoxError, Registry, extract::Needs, prelude::*};

struct Pool;

struct Connection(State<Pool>);

impl FromContext for Connection {
    type Error = BoxError;

    async fn from_context(ctx: &JobContext) -> Result<Self, BoxError> {
        Ok(Self(State::from_context(ctx).await?))
    }

    fn needs(needs: &mut Needs) {
        State::<Pool>::needs(needs);
    }
}

struct Tenant(String);

impl FromContext for Tenant {
    type Error = JobError;

    async fn from_context(ctx: &JobContext) -> Result<Self, JobError> {
        let tenant = ctx.headers().get("tenant");
        tenant
            .cloned()
            .map(Self)
            .ok_or_else(|| JobError::abort("no header `tenant`"))
    }
}

#[job]
async fn export(_: u64, db: Connection, (Tenant(tenant), again): (Tenant, Option<Connection>)) {
    drop((db.0, tenant, again));
}

fn main() {
    assert_eq!(Registry::new().with::<export>().len(), 1);
}
