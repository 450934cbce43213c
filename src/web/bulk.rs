//! One message to many recipients.

mod lines;
mod views;

use axum::{
    Json as Answer,
    body::Body,
    extract::State,
    http::{
        HeaderMap, StatusCode,
        header::{CONTENT_TYPE, EXPECT},
    },
};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use self::{
    lines::{Form, Reader, Records},
    views::{BulkJobView, BulkJobsView, BulkProgressView, BulkTakenView},
};
use super::{
    Web,
    auth::ForVendor,
    error::ApiError,
    extract::{Path, Query},
    media::drain,
    new_message::NewMessage,
    send::idempotency_key,
};
use crate::{
    domain::{
        bulk::{BulkDeed, BulkId},
        id::{InstanceId, VendorId},
    },
    gateway::{AdminError, BulkIntake, BulkTaken, NewBulk, SendError},
};

/// Jobs on one page.
const PAGE_MAX: usize = 100;
const PAGE: usize = 20;
/// Fields of a message that a message to many does not have.
const NOT_OF_MANY: [&str; 4] = ["to", "replyTo", "sendAt", "provider"];

/// The first line of a job.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct BulkBody {
    /// What a message has, without `to` and `replyTo`; its texts may have `{{column}}` in them.
    #[schema(value_type = Object, example = json!({ "type": "text", "text": "Bonjour {{name}}" }))]
    message: Map<String, Value>,
    /// At most so many a minute, 1 to 6,000; without it, what the provider allows the number.
    #[schema(example = 60)]
    per_minute: Option<u32>,
}

/// A job in the path.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct BulkPath {
    /// The job's id.
    #[param(example = "bulk_0000000000000001")]
    job_id: String,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct BulkQuery {
    /// From the page before.
    cursor: Option<String>,
    /// Jobs on a page, at most 100.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<usize>,
}

pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::default()
        .routes(routes!(create, list))
        .routes(routes!(show))
        .routes(routes!(pause))
        .routes(routes!(resume))
        .routes(routes!(cancel))
}

/// Send one message to many
///
/// The first line of the body is the job as JSON (`BulkBody`). After it come the recipients, up to
/// 100,000: with `Content-Type: application/x-ndjson` a JSON object on each line, with `text/csv` a
/// header line and a line each. `to` is the number, as people write it; every other column fills
/// `{{column}}` in the message. If any line is wrong, nothing is kept. The vendor's answers go first.
#[utoipa::path(post, path = "/messages/bulk", tag = "Messages", operation_id = "sendBulk",
    params(("Idempotency-Key" = Option<String>, Header, example = "spring-sale",
        description = "The caller's own id for the job, 1 to 255 characters: the same body is one \
            job. Known for as long as the job is.")),
    request_body(content(
        (BulkBody = "application/x-ndjson"),
        (String = "text/csv"),
    ), description = "the job on the first line, then its recipients"),
    responses(
        (status = 202, description = "on disk, and running", body = BulkTakenView),
        (status = 408, description = "the body came too slowly"),
        (status = 409, description = "another job was sent with this Idempotency-Key, or 20 of \
            the vendor's have not ended"),
        (status = 413, description = "the body is larger than 64 MiB"),
        (status = 422, description = "a line is wrong: it and the field are named"),
        (status = 503, description = "too many jobs are coming in; nothing was kept"),
    ))]
pub(super) async fn create(
    State(web): State<Web>,
    ForVendor(vendor): ForVendor,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Answer<BulkTakenView>), ApiError> {
    let mut records = Records::new(body);
    match take(&web, &vendor, &headers, &mut records).await {
        Ok(intake) => {
            let BulkTaken { id, n_recipients, n_same } = intake.keep(records.hash()).await?;
            let view = BulkTakenView {
                success: true,
                job_id: id.to_string(),
                recipients: n_recipients,
                duplicates: n_same,
            };
            Ok((StatusCode::ACCEPTED, Answer(view)))
        }
        Err(error) => {
            // Who asks first whether to send it has not sent it.
            if !headers.contains_key(EXPECT) {
                drain(records.rest()).await;
            }
            Err(error)
        }
    }
}

/// List jobs
///
/// The newest first.
#[utoipa::path(get, path = "/messages/bulk", tag = "Messages", operation_id = "listBulk",
    params(BulkQuery),
    responses((status = 200, description = "some of them", body = BulkJobsView)))]
pub(super) async fn list(
    State(web): State<Web>,
    ForVendor(vendor): ForVendor,
    Query(query): Query<BulkQuery>,
) -> Result<Answer<BulkJobsView>, ApiError> {
    let before = query.cursor.map(|it| it.parse::<BulkId>()).transpose();
    let before = before.map_err(|_| ApiError::BadRequest("cursor: is none of ours".to_owned()))?;
    let limit = query.limit.unwrap_or(PAGE).clamp(1, PAGE_MAX);
    let jobs = web.gateway.bulk_jobs(&vendor, before, limit).await?;
    let last = jobs.last().filter(|_| jobs.len() == limit);
    let cursor = last.map(|it| it.id.to_string());
    Ok(Answer(BulkJobsView { jobs: jobs.iter().map(BulkJobView::of).collect(), cursor }))
}

/// Show a job and how far it is
#[utoipa::path(get, path = "/messages/bulk/{job_id}", tag = "Messages", operation_id = "getBulk",
    params(BulkPath),
    responses((status = 200, description = "it", body = BulkProgressView)))]
pub(super) async fn show(
    State(web): State<Web>,
    ForVendor(vendor): ForVendor,
    Path(path): Path<BulkPath>,
) -> Result<Answer<BulkProgressView>, ApiError> {
    let shown = web.gateway.bulk_job(&vendor, path.id()?).await?;
    Ok(Answer(BulkProgressView::of(&shown)))
}

macro_rules! deed {
    ($(#[doc = $doc:literal])+ $name:ident, $deed:ident, $path:literal, $id:literal,
        $ok:literal, $not:literal) => {
        $(#[doc = $doc])+
        #[utoipa::path(post, path = $path, tag = "Messages", operation_id = $id,
            params(BulkPath),
            responses(
                (status = 200, description = $ok, body = BulkProgressView),
                (status = 409, description = $not),
            ))]
        pub(super) async fn $name(
            web: State<Web>,
            vendor: ForVendor,
            path: Path<BulkPath>,
        ) -> Result<Answer<BulkProgressView>, ApiError> {
            change(web, vendor, path, BulkDeed::$deed).await
        }
    };
}

deed! {
    /// Pause a job
    ///
    /// Messages that are on their way still leave.
    pause, Pause, "/messages/bulk/{job_id}/pause", "pauseBulk", "it waits", "it has ended"
}
deed! {
    /// Let a paused job go on
    resume, Resume, "/messages/bulk/{job_id}/resume", "resumeBulk", "it runs", "it has ended"
}
deed! {
    /// End a job
    ///
    /// Who has not had their turn gets nothing. Messages that are on their way still leave.
    cancel, Cancel, "/messages/bulk/{job_id}/cancel", "cancelBulk", "it has ended",
    "everybody had had their turn"
}

async fn change(
    State(web): State<Web>,
    ForVendor(vendor): ForVendor,
    Path(path): Path<BulkPath>,
    deed: BulkDeed,
) -> Result<Answer<BulkProgressView>, ApiError> {
    let shown = web.gateway.change_bulk(&vendor, path.id()?, deed).await?;
    Ok(Answer(BulkProgressView::of(&shown)))
}

/// Takes everything in, up to the last recipient.
async fn take(
    web: &Web,
    vendor: &VendorId,
    headers: &HeaderMap,
    records: &mut Records,
) -> Result<BulkIntake, ApiError> {
    let key = idempotency_key(headers)?;
    let content_type = headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
    let form = content_type.and_then(Form::of).ok_or_else(|| {
        AdminError::Invalid("Content-Type: is application/x-ndjson or text/csv".to_owned())
    })?;
    let Some((line, first)) = records.next(false).await? else {
        return Err(AdminError::Invalid("line 1: the job is missing".to_owned()).into());
    };
    let mut intake = web
        .gateway
        .open_bulk(vendor, job(&first, key).map_err(at(line))?)
        .await
        .map_err(send_at(line))?;
    let is_csv = form == Form::Csv;
    let reader = if is_csv {
        let Some((line, header)) = records.next(true).await? else {
            return Err(AdminError::Invalid("line 2: the header is missing".to_owned()).into());
        };
        Reader::new(Some(&header), intake.variables()).map_err(|it| at(line)(invalid(it)))?
    } else {
        Reader::JsonLines
    };
    while let Some((line, record)) = records.next(is_csv).await? {
        let row = reader.read(&record).map_err(|it| at(line)(invalid(it)))?;
        intake.add(&row.to, &row.columns).await.map_err(send_at(line))?;
    }
    Ok(intake)
}

fn job(line: &[u8], idempotency_key: Option<String>) -> Result<NewBulk, ApiError> {
    let BulkBody { mut message, per_minute } = super::extract::parse(line)?;
    if let Some(field) = NOT_OF_MANY.iter().find(|it| message.contains_key(**it)) {
        return Err(invalid(format!("message.{field}: does not belong to a message to many")));
    }
    message.insert("to".to_owned(), Value::String(String::new()));
    let text = serde_json::to_vec(&message).map_err(|_| invalid("message".to_owned()))?;
    let mut message: NewMessage = super::extract::parse(&text)?;
    let content = message.content()?;
    let instance = message.waba_id.as_deref().map(InstanceId::parse).transpose();
    let instance = instance.map_err(|_| AdminError::NoInstance)?;
    Ok(NewBulk { content, instance, per_minute, idempotency_key })
}

/// Names the line of what is wrong.
fn at(line: usize) -> impl Fn(ApiError) -> ApiError {
    move |error| match error {
        ApiError::Admin(AdminError::Invalid(why)) | ApiError::BadRequest(why) => {
            invalid(format!("line {line}: {why}"))
        }
        error => error,
    }
}

fn send_at(line: usize) -> impl Fn(SendError) -> ApiError {
    move |error| at(line)(error.into())
}

fn invalid(why: String) -> ApiError {
    AdminError::Invalid(why).into()
}

impl BulkPath {
    fn id(&self) -> Result<BulkId, ApiError> {
        self.job_id.parse().map_err(|_| AdminError::NoJob.into())
    }
}
