//! Serves the older pages of maintenance: `/maintenance/schedule`, `/maintenance/status`, `/machine/down`, `/machine/up`.
//! They say in JSON what the operator API says too.

use super::http::{MasterHttp, call};
use super::run::Reply;
use crate::wire::body::{self, Answer};
use crate::wire::content::{self, Encoding};
use crate::wire::reflect;
use http::{Method, Request};
use hyper::body::Incoming;
use operator_api::call::Type;
use operator_api::{Call, Response};
use proto::mesos::v1::master as operator_api;

impl MasterHttp {
    pub(super) async fn maintenance(
        &self,
        request: Request<Incoming>,
        path: &str,
    ) -> Result<Answer, content::Refusal> {
        if let Err(unauthorized) = self.operator_principal(request.headers()) {
            return Ok(*unauthorized);
        }
        let method = request.method().clone();
        if path == "/maintenance/status" || (path == "/maintenance/schedule" && method == Method::GET) {
            return self.maintenance_page(path).await;
        }
        if method != Method::POST {
            return Ok(body::wrong_method("POST", &method));
        }
        let body = body::read(request.into_body()).await?;
        let call =
            order(path, &body).map_err(|problem| (400, format!("Failed to parse the body: {problem}")))?;
        match self.ask(call).await? {
            Reply::Refused(status, text) => Err((status, text)),
            _ => Ok(body::empty(200)),
        }
    }

    async fn maintenance_page(&self, path: &str) -> Result<Answer, content::Refusal> {
        let status = path == "/maintenance/status";
        let kind = if status { Type::GetMaintenanceStatus } else { Type::GetMaintenanceSchedule };
        let response = match self.ask(call(kind)).await? {
            Reply::Response(response) => *response,
            _ => Response::default(),
        };
        let json = if status {
            let status = response.get_maintenance_status.unwrap_or_default().status;
            reflect::encode("mesos.v1.maintenance.ClusterStatus", Encoding::Json, &status)
        } else {
            let schedule = response.get_maintenance_schedule.unwrap_or_default().schedule;
            reflect::encode("mesos.v1.maintenance.Schedule", Encoding::Json, &schedule)
        };
        json.map(|json| body::encoded(Encoding::Json, json))
            .map_err(|problem| (500, format!("cannot encode the page: {problem}")))
    }
}

/// What the body of a page's form orders.
fn order(path: &str, body: &[u8]) -> Result<Call, String> {
    if path == "/maintenance/schedule" {
        let schedule = reflect::decode("mesos.v1.maintenance.Schedule", Encoding::Json, body)?;
        let update = operator_api::call::UpdateMaintenanceSchedule { schedule };
        return Ok(Call {
            update_maintenance_schedule: Some(update),
            ..call(Type::UpdateMaintenanceSchedule)
        });
    }
    // The body is the bare list of machines.
    let machines = [b"{\"machines\":", body, b"}"].concat();
    if path == "/machine/down" {
        let start = reflect::decode("mesos.v1.master.Call.StartMaintenance", Encoding::Json, &machines)?;
        return Ok(Call { start_maintenance: Some(start), ..call(Type::StartMaintenance) });
    }
    let stop = reflect::decode("mesos.v1.master.Call.StopMaintenance", Encoding::Json, &machines)?;
    Ok(Call { stop_maintenance: Some(stop), ..call(Type::StopMaintenance) })
}
