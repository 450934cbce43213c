//! A webhook hub's tables (`docs/CONTRACT.md` §5): each number, with its app's secrets and its
//! project's address, is a vendor here.

#[path = "hub/ends.rs"]
mod ends;

use std::collections::{BTreeMap, HashMap};

use anyhow::bail;
use waba_gateway::domain::{phone::PhoneNumber, waba::MetaAccount};

use super::super::{
    plan::good::{ACCESS_TOKEN, APP_SECRET, ENDPOINT, VERIFY_TOKEN},
    table::{Fault, META_ID, MetaRow, Row, Table, mark_twice_in},
};
use super::{
    Beside,
    sheet::{Form, Record, Sheet},
};

const ID: &str = "id";
const APP_ID: &str = "app_id";
const PROJECT_ID: &str = "project_id";
const BUSINESS_ID: &str = "business_id";
const NAME: &str = "name";
const TIMEZONE: &str = "timezone";
const NUMBER: &str = "phone_number";
const DISPLAY_NAME: &str = "display_name";
const DESCRIPTION: &str = "description";
const PRIORITY: &str = "priority";
const IS_ACTIVE: &str = "is_active";

const fn table(place: u8, name: &'static str) -> Table {
    Table { place, name, business_name: DISPLAY_NAME, phone_number: NUMBER }
}

static BUSINESSES: Table = table(0, "business accounts");
static APPS: Table = table(1, "apps");
static NUMBERS: Table = table(2, "phone numbers");
static PROJECTS: Table = table(3, "projects");
static MAPPINGS: Table = table(4, "mappings");

/// In the order in which a header is compared: a mapping may also have its project's columns.
pub static FORMS: [Form; 5] = [
    Form {
        table: &MAPPINGS,
        required: &[META_ID, PROJECT_ID],
        optional: &[ID, PRIORITY, IS_ACTIVE, "project_name", ENDPOINT, DESCRIPTION],
        aliases: &[],
    },
    Form {
        table: &NUMBERS,
        required: &[META_ID, APP_ID, NUMBER],
        optional: &[DISPLAY_NAME, "project_count"],
        aliases: &[],
    },
    Form {
        table: &APPS,
        required: &[ID, BUSINESS_ID, VERIFY_TOKEN],
        optional: &[NAME, ACCESS_TOKEN, APP_SECRET],
        aliases: &[(APP_ID, ID)],
    },
    Form {
        table: &PROJECTS,
        required: &[ID, ENDPOINT],
        optional: &[NAME, DESCRIPTION, IS_ACTIVE],
        aliases: &[(PROJECT_ID, ID)],
    },
    Form {
        table: &BUSINESSES,
        required: &[BUSINESS_ID, NAME],
        optional: &[TIMEZONE],
        aliases: &[],
    },
];

/// The tables, put together.
pub struct Hub {
    businesses: Vec<Row>,
    apps: Vec<Row>,
    numbers: Vec<Row>,
    projects: Vec<Row>,
    mappings: Vec<Row>,
    /// Each number's app.
    apps_of: Vec<Option<usize>>,
    /// Each mapping's ends.
    links: Vec<Link>,
    /// Where each number's events go.
    fates: Vec<Fate>,
}

/// What a mapping says; of a bad one, nothing.
#[derive(Clone, Copy, Default)]
struct Link {
    number: Option<usize>,
    project: Option<usize>,
    priority: i64,
    is_on: bool,
}

/// Where a number's events go.
#[derive(Clone, Copy)]
enum Fate {
    /// Nowhere.
    Nobody,
    /// To this mapping's project.
    One(usize),
    /// Nobody can tell: to so many projects.
    Several(usize),
}

struct App {
    id: Option<String>,
    account: MetaAccount,
}

struct Project {
    id: Option<String>,
    endpoint: Option<String>,
    is_on: bool,
}

impl Hub {
    /// What the files say.
    pub fn read(
        sheets: &[Sheet],
        first_project: bool,
        beside: &Beside<'_>,
    ) -> anyhow::Result<Self> {
        let mut of: HashMap<&str, &Sheet> = HashMap::new();
        for sheet in sheets {
            if let Some(other) = of.insert(sheet.table.name, sheet) {
                let (table, one, two) = (sheet.table.name, &other.file, &sheet.file);
                bail!("both {} and {} have the table {table}", one.display(), two.display());
            }
        }
        for table in [&APPS, &NUMBERS, &PROJECTS, &MAPPINGS] {
            if !of.contains_key(table.name) {
                bail!("none of the files has the table {} (see --help)", table.name);
            }
        }
        let records = |table: &Table| of.get(table.name).into_iter().flat_map(|it| it.records());
        let (mut apps, app): (Vec<_>, Vec<_>) =
            records(&APPS).map(|it| read_app(it, beside)).unzip();
        let (mut projects, project): (Vec<_>, Vec<_>) =
            records(&PROJECTS).map(|it| read_project(it, beside)).unzip();
        let app_ids = index(&mut apps, ID, app.iter().map(|it| it.id.clone()));
        let project_ids = index(&mut projects, ID, project.iter().map(|it| it.id.clone()));
        let (mut numbers, apps_of): (Vec<_>, Vec<_>) =
            records(&NUMBERS).map(|it| read_number(it, beside, &app, &app_ids)).unzip();
        let ids: Vec<_> = numbers.iter().map(|it| meta_id(it).map(str::to_owned)).collect();
        let number_ids = index(&mut numbers, META_ID, ids.into_iter());
        mark_twice_in(&mut numbers, NUMBER, |it| it.phone_number.as_ref().map(PhoneNumber::alias));
        let (mut mappings, links): (Vec<_>, Vec<_>) =
            records(&MAPPINGS).map(|it| read_mapping(it, &number_ids, &project_ids)).unzip();
        let ends = links.iter().map(|it: &Link| Some(format!("{} {}", it.number?, it.project?)));
        let ends: Vec<_> = ends.collect();
        index(&mut mappings, PROJECT_ID, ends.into_iter());
        let businesses = records(&BUSINESSES).map(read_business).collect();
        let fates = Vec::new();
        let mut hub = Self { businesses, apps, numbers, projects, mappings, apps_of, links, fates };
        hub.settle(&project, first_project);
        Ok(hub)
    }

    /// The numbers that come here; the others are among [`Hub::others`].
    pub fn numbers(&self) -> Vec<Row> {
        let comes = |it: &(&Row, &Fate)| !is_left_out(it.0, *it.1);
        self.numbers.iter().zip(&self.fates).filter(comes).map(|it| it.0.clone()).collect()
    }

    /// Finds where each number's events go, and what of it cannot be told.
    fn settle(&mut self, projects: &[Project], first_project: bool) {
        for (link, mapping) in self.links.iter_mut().zip(&self.mappings) {
            link.is_on &=
                mapping.faults.is_empty() && link.project.is_some_and(|it| projects[it].is_on);
        }
        let mut links_of: HashMap<usize, Vec<usize>> = HashMap::new();
        for (at, link) in self.links.iter().enumerate() {
            if let Some(number) = link.number {
                links_of.entry(number).or_default().push(at);
            }
        }
        for at in 0..self.numbers.len() {
            let links = links_of.remove(&at).unwrap_or_default();
            let bad = self.bad_part(at, &links).map(|it| {
                let (table, line) = (it.table.name, it.line);
                let why = format!("{table} line {line}, which belongs to it, is bad");
                Fault::Bad { column: META_ID, why }
            });
            let fate = self.fate(&links, first_project);
            let endpoint = match fate {
                Fate::One(it) => self.links[it].project.map(|it| projects[it].endpoint.clone()),
                Fate::Nobody | Fate::Several(_) => None,
            };
            let number = &mut self.numbers[at];
            number.faults.extend(bad);
            if matches!(fate, Fate::Nobody) {
                number.notes.push("no active project: nobody is told of its events".to_owned());
            }
            if let Some(meta) = &mut number.meta {
                meta.forward_url = endpoint.flatten();
            }
            self.fates.push(fate);
        }
    }

    /// A row with faults that a number is made of, too.
    fn bad_part(&self, number: usize, links: &[usize]) -> Option<&Row> {
        let app = self.apps_of[number].map(|it| &self.apps[it]);
        let mappings = links.iter().map(|it| &self.mappings[*it]);
        let projects = links.iter().filter_map(|it| Some(&self.projects[self.links[*it].project?]));
        let mut parts = app.into_iter().chain(mappings).chain(projects);
        parts.find(|it| !it.faults.is_empty())
    }

    fn fate(&self, links: &[usize], first_project: bool) -> Fate {
        let mut on: Vec<usize> = links.iter().copied().filter(|it| self.links[*it].is_on).collect();
        let priority = |it: usize| self.links[it].priority;
        on.sort_by_key(|it| std::cmp::Reverse(priority(*it)));
        match on[..] {
            [] => Fate::Nobody,
            [only] => Fate::One(only),
            [first, second, ..] if first_project && priority(first) != priority(second) => {
                Fate::One(first)
            }
            _ => Fate::Several(on.len()),
        }
    }
}

fn is_left_out(number: &Row, fate: Fate) -> bool {
    number.faults.is_empty() && matches!(fate, Fate::Several(_))
}

fn meta_id(number: &Row) -> Option<&str> {
    number.meta.as_ref().map(|it| it.account.phone_number_id.as_str())
}

/// Where each id is; one that is there twice is marked.
fn index(
    rows: &mut [Row],
    column: &'static str,
    ids: impl Iterator<Item = Option<String>>,
) -> BTreeMap<String, usize> {
    let ids: Vec<Option<String>> = ids.collect();
    let by_line: HashMap<usize, String> =
        rows.iter().zip(&ids).filter_map(|(row, id)| Some((row.line, id.clone()?))).collect();
    mark_twice_in(rows, column, |it| by_line.get(&it.line).cloned());
    ids.into_iter().enumerate().rev().filter_map(|(at, id)| Some((id?, at))).collect()
}

fn blank(it: &Record<'_>, table: &'static Table) -> Row {
    Row { table, ..Row::blank(it.line) }
}

fn read_business(mut it: Record<'_>) -> Row {
    let mut row = blank(&it, &BUSINESSES);
    it.filled(BUSINESS_ID);
    if it.short(TIMEZONE).is_some_and(|it| it != "UTC") {
        row.notes.push(format!("{TIMEZONE} is not kept"));
    }
    row.faults = it.faults;
    row
}

fn read_app(mut it: Record<'_>, beside: &Beside<'_>) -> (Row, App) {
    let mut row = blank(&it, &APPS);
    let id = it.filled(ID);
    let (own, verify_token) = (it.secret(APP_SECRET), it.secret(VERIFY_TOKEN));
    let account = MetaAccount {
        access_token: it.secret(ACCESS_TOKEN),
        app_secret: it.good(beside.app_secret(own)),
        verify_token: beside.verify_token(verify_token),
        ..MetaAccount::default()
    };
    row.faults = it.faults;
    (row, App { id, account })
}

fn read_project(mut it: Record<'_>, beside: &Beside<'_>) -> (Row, Project) {
    let mut row = blank(&it, &PROJECTS);
    let (id, is_on) = (it.filled(ID), it.is_on(IS_ACTIVE));
    let endpoint = it.text(ENDPOINT).map(|url| beside.endpoint(ENDPOINT, &url));
    let endpoint = match endpoint {
        // Nothing is sent to one that is switched off.
        Some(Err(_)) | None if !is_on => None,
        Some(end) => it.good(end),
        None => it.filled(ENDPOINT),
    };
    row.faults = it.faults;
    (row, Project { id, endpoint, is_on })
}

fn read_number(
    mut it: Record<'_>,
    beside: &Beside<'_>,
    apps: &[App],
    app_ids: &BTreeMap<String, usize>,
) -> (Row, Option<usize>) {
    let mut row = blank(&it, &NUMBERS);
    row.phone_number = it.number(NUMBER);
    row.business_name = it.name(DISPLAY_NAME);
    let id = it.meta_id(META_ID);
    let app = it.filled(APP_ID);
    let app = app.and_then(|id| it.good(known(APP_ID, &id, app_ids)));
    if let Some(phone_number_id) = id {
        row.vendor = it.good(beside.vendor(META_ID, &phone_number_id));
        let of_app = app.map(|it| apps[it].account.clone()).unwrap_or_default();
        if of_app.access_token.is_none() {
            row.notes.push("no access token: nothing can be sent".to_owned());
        }
        let account = MetaAccount { phone_number_id, ..of_app };
        let meta = MetaRow { account, is_answered_elsewhere: true, ..MetaRow::default() };
        row.meta = Some(Box::new(meta));
    }
    row.faults = it.faults;
    (row, app)
}

fn read_mapping(
    mut it: Record<'_>,
    numbers: &BTreeMap<String, usize>,
    projects: &BTreeMap<String, usize>,
) -> (Row, Link) {
    let mut row = blank(&it, &MAPPINGS);
    let number = it.filled(META_ID);
    let number = number.and_then(|id| it.good(known(META_ID, &id, numbers)));
    let project = it.filled(PROJECT_ID);
    let project = project.and_then(|id| it.good(known(PROJECT_ID, &id, projects)));
    let why = "is not a whole number".to_owned();
    let priority = it
        .short(PRIORITY)
        .map_or(Ok(0), |it| it.parse().map_err(|_| Fault::Bad { column: PRIORITY, why }));
    let priority = it.good(priority).unwrap_or_default();
    let is_on = it.is_on(IS_ACTIVE);
    row.faults = it.faults;
    (row, Link { number, project, priority, is_on })
}

fn known(column: &'static str, id: &str, ids: &BTreeMap<String, usize>) -> Result<usize, Fault> {
    let why = "is in none of the rows that it should name".to_owned();
    ids.get(id).copied().ok_or(Fault::Bad { column, why })
}
