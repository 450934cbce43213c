//! What must come of the day, computed from the script alone.

use std::collections::BTreeMap;

use super::{
    bot::{self, MENU, MENU_PROMPT, Saying},
    script::{Act, At, CLOSED, Day, Message, NOBODY, Shop, at},
};

/// Characters of one part of a long text.
const PART_CHARS: usize = 4_096;
/// How many equal answers in a row end a talk of two bots.
const EQUAL_MAX: usize = 3;
/// How long options may be chosen.
const CHOICE_LASTS: At = at(30, 0);

pub const WELCOME: &str = "Bienvenue au Salon Binta !";
pub const POLL: &str = "Quel jour vous convient ?";
pub const OPTIONS: [&str; 2] = ["samedi", "dimanche"];

/// Keywords and replies; the last is for all else.
pub type Rules = [(&'static str, &'static str); 3];
/// While the bot fails.
pub const FALLBACK: Rules =
    [("prix", "Nos prix sont affichés"), ("livrez", "Partout à Dakar"), ("", "Un instant")];
/// Out of hours.
pub const AT_LUNCH: Rules =
    [("livr", "Livraisons dès 15 h"), ("prix", "Prix à 15 h"), ("", "Fermé jusqu'à 15 h")];
pub const SALON: Rules =
    [("horaires", "de 8 h à 19 h"), ("prix", "de 500 à 3 000 F"), ("", "merci")];

/// A send: its kind, and its text or caption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub kind: &'static str,
    pub text: String,
}

/// What comes of one message.
#[derive(Clone, Debug, Default)]
pub struct Fate {
    /// Why it is not answered.
    pub reason: Option<&'static str>,
    /// The answer, as it is sent.
    pub sends: Vec<Sent>,
    /// The answer waits for somebody who knows the customer's number.
    pub is_parked: bool,
    /// How often the bot is asked about it.
    pub n_asked: (usize, usize),
    /// The option that it chooses.
    pub option: Option<&'static str>,
    pub escalates: bool,
}

/// A conversation: with whom of which shop.
pub type Talk = (Shop, &'static str);

#[derive(Default)]
struct State {
    /// The text that came last in each answer.
    answers: Vec<Sent>,
    is_paused: bool,
    /// The menu was the last thing said, at this time.
    offered: Option<At>,
}

#[derive(Default)]
pub struct Outcome {
    /// By the number of the message.
    pub fates: BTreeMap<usize, Fate>,
    /// What is sent in each conversation, in order, with the number of what it answers.
    pub sends: BTreeMap<Talk, Vec<(Option<usize>, Sent)>>,
    /// Messages and answers by shop and time, and whether it is from the customer.
    pub moments: Vec<(Shop, At, bool)>,
}

/// The outcome of the day.
pub fn outcome(day: &Day) -> Outcome {
    let mut outcome = Outcome::default();
    let mut talks: BTreeMap<Talk, State> = BTreeMap::new();
    let mut bot_fails = false;
    for (when, act) in &day.acts {
        match act {
            Act::Bot { fails } => bot_fails = *fails,
            Act::Types { to, .. } => {
                talks.entry((Shop::Bot, to)).or_default().is_paused = true;
                outcome.moments.push((Shop::Bot, *when, false));
            }
            Act::Polls { to } => {
                let poll = Sent { kind: "poll", text: String::new() };
                outcome.sends.entry((Shop::Bot, to)).or_default().push((None, poll));
                outcome.moments.push((Shop::Bot, *when, false));
            }
            Act::Stale { .. } => outcome.moments.push((Shop::Bot, *when, true)),
            Act::Writes(message) => {
                let state = talks.entry((message.shop, message.who)).or_default();
                let fate = fate(message, state, bot_fails);
                outcome.note(message, fate);
            }
            _ => {}
        }
    }
    outcome
}

impl Outcome {
    fn note(&mut self, message: &Message, fate: Fate) {
        self.moments.push((message.shop, message.at, true));
        for sent in &fate.sends {
            self.moments.push((message.shop, message.at, false));
            if !fate.is_parked {
                let talk = self.sends.entry((message.shop, message.who)).or_default();
                talk.push((Some(message.n), sent.clone()));
            }
        }
        self.fates.insert(message.n, fate);
    }

    pub fn n_sends(&self) -> usize {
        self.sends.values().map(Vec::len).sum()
    }
}

fn fate(message: &Message, state: &mut State, bot_fails: bool) -> Fate {
    let unanswered = |reason| Fate { reason: Some(reason), n_asked: (0, 0), ..Fate::default() };
    if message.is_in_group {
        return unanswered("not_private");
    }
    let option = state.offered.take().and_then(|it| chosen(message, it));
    match message.shop {
        Shop::Inactive => return unanswered("vendor_inactive"),
        _ if state.is_paused => return unanswered("paused"),
        Shop::Rules | Shop::Bot => {}
    }
    let is_open = message.shop == Shop::Rules || !CLOSED.contains(&message.at);
    let rules = match message.shop {
        Shop::Rules => Some((SALON, (0, 0))),
        _ if !is_open => Some((AT_LUNCH, (0, 0))),
        // When it has failed often enough it is not asked.
        _ if bot_fails => Some((FALLBACK, (0, 1))),
        _ => None,
    };
    if let Some((rules, n_asked)) = rules {
        let mut sends = vec![by_rules(&rules, option.map_or(message.says.text(), |it| it.1))];
        state.answered(&sends);
        if message.shop == Shop::Rules && state.answers.len() == 1 {
            sends.insert(0, text(WELCOME));
        }
        return Fate { sends, n_asked, ..Fate::default() };
    }
    by_bot(message, option, state)
}

fn by_bot(
    message: &Message,
    option: Option<(&'static str, &'static str)>,
    state: &mut State,
) -> Fate {
    let said = message.says.text();
    let (kind, said) = option.map_or((message.says.kind(), said), |it| ("option", it.1));
    let saying = bot::answer(kind, said, option.map(|it| it.0));
    let n = if said.starts_with("réfléchissez") { 2 } else { 1 };
    let mut fate = Fate { n_asked: (n, n), option: option.map(|it| it.0), ..Fate::default() };
    match saying {
        Saying::Nothing => fate.reason = Some("silence"),
        Saying::Text(long) => fate.sends = parts(&long),
        Saying::Menu => {
            state.offered = Some(message.at);
            let lines = MENU.iter().zip(1..).map(|((_, title), n)| format!("{n}. {title}"));
            let lines = lines.collect::<Vec<_>>().join("\n");
            fate.sends = vec![text(&format!("{MENU_PROMPT}\n\n{lines}"))];
        }
        Saying::Photo(caption, said) => {
            fate.sends = vec![Sent { kind: "image", text: caption.to_owned() }, text(&said)];
        }
        Saying::Human(said) => {
            fate.sends = vec![text(said)];
            fate.escalates = true;
        }
    }
    if !fate.sends.is_empty() && message.who != NOBODY {
        state.answered(&fate.sends);
    }
    state.is_paused |= fate.escalates;
    fate.is_parked = message.who == NOBODY;
    fate
}

impl State {
    /// The third equal answer in a row is the last.
    fn answered(&mut self, sends: &[Sent]) {
        self.answers.extend(sends.last().cloned());
        let last = self.answers.last().cloned();
        let n_equal = self.answers.iter().rev().take_while(|it| Some(*it) == last.as_ref()).count();
        self.is_paused |= n_equal == EQUAL_MAX;
    }
}

/// Which of the menu a customer means: id and title.
fn chosen(message: &Message, offered: At) -> Option<(&'static str, &'static str)> {
    let said = message.says.text().trim_end_matches(['.', ')']).to_lowercase();
    let is_next = message.says.kind() == "text" && message.at - offered <= CHOICE_LASTS;
    let is_meant = |n: usize, title: &str| said == n.to_string() || said == title.to_lowercase();
    let found = MENU.iter().zip(1..).find(|((_, title), n)| is_meant(*n, title));
    found.filter(|_| is_next).map(|it| *it.0)
}

fn by_rules(rules: &Rules, said: &str) -> Sent {
    let said = said.to_lowercase();
    let rule = rules.iter().find(|it| said.contains(it.0)).expect("the last is for all else");
    text(rule.1)
}

fn text(text: &str) -> Sent {
    Sent { kind: "text", text: text.to_owned() }
}

/// Cut between words.
fn parts(long: &str) -> Vec<Sent> {
    let mut parts: Vec<String> = Vec::new();
    for word in long.split(' ') {
        match parts.last_mut() {
            Some(part) if part.chars().count() + 1 + word.chars().count() <= PART_CHARS => {
                part.push(' ');
                part.push_str(word);
            }
            _ => parts.push(word.to_owned()),
        }
    }
    parts.iter().map(|it| text(it)).collect()
}
