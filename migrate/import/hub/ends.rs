//! What became of a hub's rows that make no number, once the numbers have come to an end.

use std::collections::HashMap;

use waba_gateway::domain::id::VendorId;

use super::super::super::{
    plan::{Action, Planned},
    table::Row,
};
use super::{Fate, Hub, Link, is_left_out, meta_id};

impl Hub {
    /// What became of everything but the numbers that came here.
    pub fn others(&self, numbers: &[Planned]) -> Vec<Planned> {
        let ended: HashMap<&str, &Planned> =
            numbers.iter().filter_map(|it| Some((meta_id(&it.row)?, it))).collect();
        let here = |at: usize| {
            let ended = ended.get(meta_id(&self.numbers[at])?)?;
            ended.row.vendor.as_ref().filter(|_| !ended.is_refused())
        };
        let mut others = Vec::new();
        let why = "here each number is a vendor, and there is nothing above";
        let of_business = |_| (Action::NotKept(why.to_owned()), None);
        others.extend(ends(&self.businesses, of_business));
        others.extend(ends(&self.apps, |at| (self.end_of_app(at, &here), None)));
        let left_out = |it: &(&Row, &Fate)| is_left_out(it.0, *it.1);
        others.extend(self.numbers.iter().zip(&self.fates).filter(left_out).map(|(row, fate)| {
            let mut row = row.clone();
            row.notes.clear();
            Planned::without_change(row, Action::LeftOut(too_many(*fate)))
        }));
        others.extend(ends(&self.projects, |at| (self.end_of_project(at, &here), None)));
        others.extend(ends(&self.mappings, |at| self.end_of_mapping(&self.links[at], at, &here)));
        others
    }

    fn end_of_app<'a>(&self, at: usize, here: &impl Fn(usize) -> Option<&'a VendorId>) -> Action {
        let of = self.apps_of.iter().enumerate().filter(|it| *it.1 == Some(at)).map(|it| it.0);
        let (here, away): (Vec<usize>, Vec<usize>) = of.partition(|it| here(*it).is_some());
        match (here.len(), away.len()) {
            (0, 0) => Action::NotKept("no number belongs to it".to_owned()),
            (0, _) => Action::LeftOut("none of its numbers is here".to_owned()),
            (n, _) => Action::Taken(format!("its secrets are in {}", numbers(n))),
        }
    }

    fn end_of_project<'a>(
        &self,
        at: usize,
        here: &impl Fn(usize) -> Option<&'a VendorId>,
    ) -> Action {
        let of: Vec<(usize, &Link)> =
            self.links.iter().enumerate().filter(|it| it.1.project == Some(at)).collect();
        let gets = |it: &&(usize, &Link)| self.vendor_of(it.1, it.0, here).is_some();
        let n = of.iter().filter(gets).count();
        if n > 0 {
            return Action::Taken(format!("it gets the events of {}", numbers(n)));
        }
        if of.iter().any(|it| it.1.is_on) {
            return Action::LeftOut("it gets no number's events: see its mappings".to_owned());
        }
        Action::NotKept("no number is mapped to it, or it is switched off".to_owned())
    }

    fn end_of_mapping<'a>(
        &self,
        link: &Link,
        at: usize,
        here: &impl Fn(usize) -> Option<&'a VendorId>,
    ) -> (Action, Option<VendorId>) {
        if let Some(vendor) = self.vendor_of(link, at, here) {
            return (
                Action::Taken("its project gets the number's events".to_owned()),
                Some(vendor.clone()),
            );
        }
        if !link.is_on {
            return (Action::NotKept("it or its project is switched off".to_owned()), None);
        }
        let fate = link.number.map(|it| (&self.numbers[it], self.fates[it]));
        let why = match fate {
            Some((number, _)) if !number.faults.is_empty() => {
                format!("its number, in line {}, is bad", number.line)
            }
            Some((_, fate @ Fate::Several(_))) => too_many(fate),
            Some((_, Fate::One(first))) if first != at => {
                let line = self.mappings[first].line;
                format!("the number's events go to the project of line {line} alone")
            }
            _ => "its number is not here".to_owned(),
        };
        (Action::LeftOut(why), None)
    }

    /// The vendor whose events go where this mapping says.
    fn vendor_of<'a>(
        &self,
        link: &Link,
        at: usize,
        here: &impl Fn(usize) -> Option<&'a VendorId>,
    ) -> Option<&'a VendorId> {
        let number = link.number?;
        here(number).filter(|_| matches!(self.fates[number], Fate::One(it) if it == at))
    }
}

/// The end of each row, a bad one's aside.
fn ends(
    rows: &[Row],
    end: impl Fn(usize) -> (Action, Option<VendorId>),
) -> impl Iterator<Item = Planned> {
    rows.iter().enumerate().map(move |(at, row)| {
        let mut row = row.clone();
        if !row.faults.is_empty() {
            let faults = row.faults.clone();
            return Planned::without_change(row, Action::Refused(faults));
        }
        let (action, vendor) = end(at);
        row.vendor = vendor;
        Planned::without_change(row, action)
    })
}

fn too_many(fate: Fate) -> String {
    let n = match fate {
        Fate::Several(n) => n,
        Fate::One(_) | Fate::Nobody => 0,
    };
    format!("the number has {n} active projects, and here a vendor's events go to one address")
}

fn numbers(n: usize) -> String {
    if n == 1 { "1 number".to_owned() } else { format!("{n} numbers") }
}
