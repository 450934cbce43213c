//! The day as it is written: who does what, and when. Times are minutes and seconds after it began.

use waba_gateway::twin::{Customer, FileKind};

use crate::media::file;

/// Messages that customers write in it.
pub const N_MESSAGES: usize = 200;

/// The shops of the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Shop {
    /// Answered by a bot, by rules when the bot fails or the shop is closed.
    Bot,
    /// Answered by rules, after a welcome; its webhooks are in the predecessor's dialect.
    Rules,
    /// Not active: nobody is ever answered.
    Inactive,
}

pub const SHOPS: [Shop; 3] = [Shop::Bot, Shop::Rules, Shop::Inactive];

/// Seconds after the beginning of the day.
pub type At = i64;

pub const fn at(minute: i64, second: i64) -> At {
    minute * 60 + second
}

/// When the first shop is closed.
pub const CLOSED: std::ops::Range<At> = at(20, 0)..at(28, 0);
pub const END: At = at(60, 0);
/// When the bot has failed and is left alone for half a minute: nobody passes by.
const QUIET: std::ops::Range<At> = at(14, 20)..at(15, 40);

const KINDS: [FileKind; 5] =
    [FileKind::Image, FileKind::Video, FileKind::Audio, FileKind::Document, FileKind::Sticker];

pub enum Act {
    /// A customer writes.
    Writes(Message),
    /// The session of the first shop goes down, or comes back.
    Session { is_up: bool },
    /// The bot answers 500 from now on, or answers again.
    Bot { fails: bool },
    /// The back end answers 503 from now on, or takes events again.
    BackEnd { is_down: bool },
    /// The gateway is stopped and started while the bot is thinking.
    Restart,
    /// The shopkeeper types on the phone.
    Types { to: &'static str, text: &'static str },
    /// A customer reacts to the latest message of the shop's.
    Reacts { who: &'static str, emoji: &'static str },
    /// A customer changes the message in which they wrote `was`.
    Edits { who: &'static str, was: &'static str, text: &'static str },
    /// A customer takes a message back.
    Deletes { who: &'static str, was: &'static str },
    /// The back end asks customers something, twice under one key.
    Polls { to: &'static str },
    /// A customer votes in it.
    Votes { who: &'static str, option: &'static str },
    /// Somebody who does not know the secret says to be Wasender.
    Stranger,
    /// A message of this morning arrives now.
    Stale { who: &'static str },
}

#[derive(Clone)]
pub struct Message {
    /// By which a reader finds it, from 1.
    pub n: usize,
    pub at: At,
    pub shop: Shop,
    pub who: &'static str,
    pub says: Says,
    /// How often its webhook comes.
    pub n_hooks: usize,
    pub is_in_group: bool,
}

#[derive(Clone)]
pub enum Says {
    Text(String),
    /// A text that quotes the shop's latest message to them.
    Quotes(String),
    File(FileKind, Vec<u8>, String),
    Location(String),
    Contact(String),
    Poll(String),
}

impl Says {
    /// What is to be read in it.
    pub fn text(&self) -> &str {
        match self {
            Self::Text(text)
            | Self::Quotes(text)
            | Self::File(_, _, text)
            | Self::Location(text)
            | Self::Contact(text)
            | Self::Poll(text) => text,
        }
    }

    /// As callers know it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::Quotes(_) => "text",
            Self::File(FileKind::Image, ..) => "image",
            Self::File(FileKind::Video, ..) => "video",
            Self::File(FileKind::Audio, ..) => "audio",
            Self::File(FileKind::Document, ..) => "document",
            Self::File(FileKind::Sticker, ..) => "sticker",
            Self::Location(_) => "location",
            Self::Contact(_) => "contact",
            Self::Poll(_) => "poll",
        }
    }
}

impl Message {
    /// `WhatsApp`'s id of it.
    pub fn key_id(&self) -> String {
        format!("3EB0DA1{:05}", self.n)
    }
}

const NAMES: [&str; 26] = [
    "Awa", "Binta", "Cheikh", "Demba", "Elimane", "Fatou", "Gora", "Hawa", "Idrissa", "Jean",
    "Khady", "Lamine", "Moussa", "Ndeye", "Ousmane", "Penda", "Rokhaya", "Samba", "Tidiane",
    "Umar", "Viviane", "Waly", "Yacine", "Zeynab", "Robot", "Marie",
];

/// Known to webhooks by LID alone; Wasender knows the number of the first two.
pub const BY_LID: [&str; 2] = ["Idrissa", "Jean"];
/// Known by LID alone, to everybody.
pub const NOBODY: &str = "Khady";

pub fn phone(who: &str) -> String {
    let n = NAMES.iter().position(|it| *it == who).expect("a name of the day");
    format!("+2217055510{n:02}")
}

pub fn lid(who: &str) -> String {
    format!("99{}", &phone(who)[1..])
}

/// The customer as their message's webhook tells them.
pub fn customer(it: &Message) -> Customer {
    // Jean's number is told from the twelfth minute on.
    let has_phone = it.who == "Jean" && it.at >= at(12, 0);
    let customer = match it.who {
        _ if has_phone => Customer::new(&phone(it.who)).with_lid(&lid(it.who)),
        who if BY_LID.contains(&who) || who == NOBODY => Customer::lid_only(&lid(who)),
        who => Customer::new(&phone(who)),
    };
    customer.named(it.who)
}

/// What passers-by ask for; they are told apart by their number.
const PHRASES: [&str; 10] = [
    "Bonjour, c'est ouvert ?",
    "Combien coûte la robe bleue",
    "Quels sont vos horaires",
    "Vous livrez à Pikine",
    "Le prix du tissu wax",
    "J'ai bien reçu, merci",
    "Je passe demain",
    "Avez-vous du 42",
    "Un reçu s'il vous plaît",
    "C'est possible à crédit",
];

/// A small generator (xorshift), so that a day is the same every day.
pub struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % n as u64).unwrap()
    }
}

pub struct Day {
    pub acts: Vec<(At, Act)>,
    dice: Dice,
    n_messages: usize,
}

/// The whole day, in order.
pub fn day() -> Day {
    let mut day = Day { acts: Vec::new(), dice: Dice(0x00DA_7A11_0C0F_FEE5), n_messages: 0 };
    day.morning();
    day.trouble();
    day.afternoon();
    day.evening();
    day.passers_by();
    assert_eq!(day.n_messages, N_MESSAGES);
    // What happens in one second happens in the order in which it is written here.
    day.acts.sort_by_key(|it| it.0);
    day
}

impl Day {
    fn does(&mut self, at: At, act: Act) {
        self.acts.push((at, act));
    }

    fn writes(&mut self, at: At, shop: Shop, who: &'static str, says: Says) -> &mut Message {
        self.n_messages += 1;
        let n = self.n_messages;
        let message = Message { n, at, shop, who, says, n_hooks: 1, is_in_group: false };
        self.acts.push((at, Act::Writes(message)));
        match &mut self.acts.last_mut().unwrap().1 {
            Act::Writes(message) => message,
            _ => unreachable!("it was just pushed"),
        }
    }

    fn says(&mut self, at: At, who: &'static str, text: &str) -> &mut Message {
        self.writes(at, Shop::Bot, who, Says::Text(text.to_owned()))
    }

    /// Twenty minutes in which nearly everything goes well.
    fn morning(&mut self) {
        self.says(at(0, 10), "Awa", "Bonjour !");
        self.says(at(0, 10), "Awa", "Vous êtes là ?").n_hooks = 3;
        // Three choose from the menu: by number, by title, and too late.
        self.says(at(2, 0), "Awa", "le menu ?");
        self.says(at(2, 30), "Awa", "2.");
        self.says(at(3, 0), "Binta", "MENU").n_hooks = 2;
        self.says(at(3, 40), "Binta", "poulet YASSA");
        self.says(at(4, 0), "Cheikh", "Montrez-moi le menu");
        self.says(at(4, 30), "Cheikh", "non, attendez");
        self.says(at(5, 0), "Cheikh", "3");
        // What the bot says in more than one message, in few words, and not at all.
        self.says(at(6, 0), "Demba", "tout le catalogue");
        self.says(at(6, 10), "Demba", "c'est long");
        self.says(at(7, 0), "Elimane", "une photo ?");
        self.says(at(8, 0), "Fatou", "un conseiller, vite");
        self.says(at(9, 0), "Fatou", "il vient ?");
        self.says(at(9, 0), "Gora", "chut");
        self.says(at(9, 30), "Gora", "et maintenant ?");
        for (n, kind) in KINDS.into_iter().enumerate() {
            let bytes = file(kind, 3_000 + 7 * n);
            let has_text = matches!(kind, FileKind::Image | FileKind::Video | FileKind::Document);
            let caption = if has_text { format!("voici n° {n}") } else { String::new() };
            let second = i64::try_from(n).unwrap() * 5;
            self.writes(at(10, second), Shop::Bot, "Hawa", Says::File(kind, bytes, caption));
        }
        let place = Says::Location("Marché Sandaga".to_owned());
        self.writes(at(10, 40), Shop::Bot, "Hawa", place).n_hooks = 2;
        self.writes(at(10, 45), Shop::Bot, "Hawa", Says::Contact("Oumou Sy".to_owned()));
        self.writes(at(10, 50), Shop::Bot, "Hawa", Says::Poll("Samedi ou dimanche ?".to_owned()));
        self.writes(at(11, 0), Shop::Bot, "Awa", Says::Quotes("celui-là".to_owned()));
        self.writes(at(11, 20), Shop::Bot, "Binta", Says::Quotes("et celui-ci ?".to_owned()));
        // Nobody knows who Khady is.
        self.says(at(5, 30), NOBODY, "coucou");
        self.says(at(6, 30), NOBODY, "pourquoi personne ne répond");
        for (n, who) in ["Awa", "Lamine", "Binta", "Lamine"].into_iter().enumerate() {
            let text = format!("qui vient à la fête ? ({n})");
            self.says(at(7, 30) + 10 * i64::try_from(n).unwrap(), who, &text).is_in_group = true;
        }
        self.does(at(1, 0), Act::Stranger);
        self.does(at(1, 20), Act::Reacts { who: "Awa", emoji: "👍" });
        let (was, text) = ("c'est long", "c'est très long");
        self.does(at(6, 40), Act::Edits { who: "Demba", was, text });
        self.does(at(9, 40), Act::Deletes { who: "Gora", was: "et maintenant ?" });
        self.does(at(8, 20), Act::Polls { to: "Binta" });
        self.does(at(8, 50), Act::Votes { who: "Binta", option: "samedi" });
        self.does(at(9, 50), Act::Stale { who: "Elimane" });
    }

    /// The bot breaks, the shopkeeper steps in, two bots meet, and the shop closes for lunch.
    fn trouble(&mut self) {
        self.does(at(12, 0), Act::Bot { fails: true });
        for (n, who) in
            ["Awa", "Binta", "Cheikh", "Elimane", "Gora", "Awa", "Lamine"].into_iter().enumerate()
        {
            let text = format!("vous répondez ? ({n})");
            self.says(at(12, 10) + 20 * i64::try_from(n).unwrap(), who, &text);
        }
        self.does(at(15, 0), Act::Bot { fails: false });
        // The first to ask again is alone: while it is tried, others are answered without it.
        self.says(at(15, 20), "Awa", "ça remarche ?");
        self.does(at(16, 0), Act::Types { to: "Demba", text: "Bonjour Demba, c'est Awa." });
        self.says(at(16, 30), "Demba", "ah, une personne !");
        self.says(at(19, 0), "Demba", "je prends le rouge");
        for n in 0..6 {
            let text = Says::Text(format!("je suis un robot, {n}"));
            self.writes(at(18, 20 * n), Shop::Rules, "Robot", text);
        }
        self.says(at(21, 0), "Awa", "une livraison ce soir ?");
        self.says(at(22, 0), "Awa", "allô");
        self.says(at(23, 0), "Fatou", "toujours pas de conseiller");
        self.says(at(27, 59), "Binta", "le menu ?");
        self.says(at(28, 0), "Cheikh", "le menu ?");
        self.says(at(29, 0), "Cheikh", "1)");
    }

    /// The session goes down twice; in between the gateway is restarted and the back end is away.
    fn afternoon(&mut self) {
        self.does(at(30, 0), Act::Session { is_up: false });
        self.says(at(30, 20), "Awa", "premier pendant la panne");
        self.says(at(31, 0), "Awa", "deuxième pendant la panne");
        self.says(at(31, 30), "Elimane", "encore une photo ?");
        self.says(at(32, 0), "Gora", "le catalogue aussi");
        self.does(at(34, 0), Act::Session { is_up: true });
        for who in ["Awa", "Binta", "Gora"] {
            self.says(at(37, 0), who, &format!("réfléchissez bien, signé {who}"));
        }
        self.does(at(37, 0), Act::Restart);
        self.does(at(40, 0), Act::BackEnd { is_down: true });
        self.does(at(46, 0), Act::BackEnd { is_down: false });
        self.does(at(48, 0), Act::Session { is_up: false });
        self.says(at(48, 10), "Gora", "le menu, deuxième panne");
        self.says(at(50, 0), "Hawa", "et les photos ? une photo");
        let bytes = file(FileKind::Image, 5_000);
        let photo = Says::File(FileKind::Image, bytes, "comme celle-ci".to_owned());
        self.writes(at(50, 30), Shop::Bot, "Hawa", photo);
        self.does(at(52, 0), Act::Stranger);
        self.does(at(56, 0), Act::Session { is_up: true });
    }

    fn evening(&mut self) {
        self.says(at(58, 0), "Gora", "Thieboudienne");
        self.says(at(59, 0), "Awa", "bonne nuit");
        self.writes(at(59, 10), Shop::Bot, "Awa", Says::Quotes("à demain".to_owned())).n_hooks = 2;
        let photo = file(FileKind::Image, 4_000);
        let photo = Says::File(FileKind::Image, photo, "fermé ?".to_owned());
        self.writes(at(44, 0), Shop::Inactive, "Marie", photo);
    }

    /// Everybody else, all day long.
    fn passers_by(&mut self) {
        let bot = ["Moussa", "Ndeye", "Ousmane", "Penda", "Rokhaya", "Samba", "Idrissa", "Jean"];
        let rules = ["Awa", "Tidiane", "Umar", "Viviane", "Waly", "Yacine", "Zeynab", "Moussa"];
        for _ in 0..8 {
            self.passes_by(Shop::Inactive, &["Marie", "Awa", "Waly"]);
        }
        for _ in 0..36 {
            self.passes_by(Shop::Rules, &rules);
        }
        while self.n_messages < N_MESSAGES {
            self.passes_by(Shop::Bot, &bot);
        }
    }

    fn passes_by(&mut self, shop: Shop, who: &[&'static str]) {
        let mut second = QUIET.start;
        while QUIET.contains(&second) {
            second = at(0, 30) + 10 * i64::try_from(self.dice.below(354)).unwrap();
        }
        let who = who[self.dice.below(who.len())];
        let phrase = PHRASES[self.dice.below(PHRASES.len())];
        let text = format!("{phrase} (n° {})", self.n_messages + 1);
        let n_hooks = [1, 1, 1, 2, 3][self.dice.below(5)];
        let n_bytes = 2_000 + self.dice.below(3_000);
        let says = match self.dice.below(12) {
            0 => Says::File(FileKind::Image, file(FileKind::Image, n_bytes), text),
            1 if shop == Shop::Bot => Says::Location(text),
            2 if shop == Shop::Bot => {
                Says::File(FileKind::Document, file(FileKind::Document, n_bytes), text)
            }
            _ => Says::Text(text),
        };
        self.writes(second, shop, who, says).n_hooks = n_hooks;
    }
}
